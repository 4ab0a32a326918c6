"""Gradient-boosted trees from LightGBM's text format, for compiled code.

The text is parsed, and nothing of it is run. A tree is an array of nodes, 64 bits each: the limit, where the walk goes
on above and below it, and the feature. A leaf leads to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.errors import WeightsError, refusing

FEATURES = 16  # slots of a pixel: as many as four bits tell apart
MOST_NODES = 1 << 14
NUMERICAL = 2  # LightGBM's ``decision_type`` of ``value <= limit`` without a rule of its own for missing values
SORTED_BY, COARSE = 5, 20  # features that are used most, and the bits of them that do not matter for the order


@dataclass(frozen=True)
class Forest:
    """Trees whose sum is the log odds of a class.

    Attributes
    ----------
    nodes : ndarray
        uint64 ``(tree, node)``; inner nodes first.
    values : ndarray
        float64 ``(tree, leaf)``.
    features : int
        Numbers per pixel.
    used_most : tuple of int
        The features that most nodes ask for, the first the most.
    """

    nodes: npt.NDArray[np.uint64]
    values: npt.NDArray[np.float64]
    features: int
    used_most: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> Forest:
        """Parse a binary classifier that LightGBM saved as text.

        Raises
        ------
        WeightsError
            It is no such text, or asks for what these trees do not know: categories, missing values, many classes.
        """
        with refusing(WeightsError, "a text that is no model of LightGBM", "the text of a binary classifier", REMEDY):
            head, *parts = text.partition("end of trees")[0].split("\nTree=")
            said = _fields(head)
            if said["objective"] != "binary sigmoid:1" or said["num_class"] != "1":
                raise ValueError(said["objective"])
            features = int(said["max_feature_idx"]) + 1
            trees = [_fields(part) for part in parts]
            asked = np.bincount(np.concatenate([_numbers(tree, "split_feature", "i8") for tree in trees]))
            if not trees or features > FEATURES or len(asked) > features:
                raise ValueError(f"{len(trees)} trees of {features} features")
            inner = max(len(_numbers(tree, "threshold", "f8")) for tree in trees)
            packed = [_packed(tree, inner) for tree in trees]
        used = tuple(int(i) for i in np.argsort(-asked, kind="stable")[:SORTED_BY])
        return cls(np.stack([nodes for nodes, _ in packed]), np.stack([leaves for _, leaves in packed]), features, used)

    def probabilities(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the probability of pixels ``(feature, pixel)``, float32; NaN counts as 0, as in LightGBM.

        Pixels are walked in the order of what they look like, which is several times faster; it changes no digit.
        """
        from xr_cloudmask.models import kernels

        keys = sortable(np.nan_to_num(pixels, nan=0.0))
        look = np.zeros(pixels.shape[1], "uint64")
        for feature in self.used_most:
            look = (look << np.uint64(32 - COARSE)) | (keys[feature] >> np.uint32(COARSE))
        order = np.argsort(look)
        slots = np.zeros((pixels.shape[1], FEATURES), "uint32")
        slots[:, : self.features] = keys[:, order].T
        odds = np.zeros(len(slots), "float64")
        kernels.walk(slots.reshape(-1), self.nodes, self.values, odds)
        out = np.empty_like(odds)
        out[order] = 1 / (1 + np.exp(-odds))
        return out


REMEDY = "the file as its package ships it"


def sortable(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Return whole numbers in the order of the floats, which compare faster.

    Examples
    --------
    >>> keys = sortable(np.float32([-1.5, -0.0, 0.0, 2e-9, 1.5]))
    >>> (np.diff(keys.astype("int64")) > 0).tolist()
    [True, False, True, True]
    """
    bits = (values.astype("float32") + np.float32(0)).view("uint32")  # one zero, not two
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _numbers(tree: dict[str, str], name: str, dtype: str) -> npt.NDArray[Any]:
    return np.array(tree[name].split(), dtype)


def _packed(tree: dict[str, str], inner: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]:
    """Return the nodes of a tree, `inner` inner ones and a leaf more, and the values of its leaves."""
    feature, limit = _numbers(tree, "split_feature", "u8"), _numbers(tree, "threshold", "f8")
    kinds, leaves = _numbers(tree, "decision_type", "i8"), _numbers(tree, "leaf_value", "f8")
    children = [_numbers(tree, name, "i8") for name in ("left_child", "right_child")]
    count = len(limit)
    sizes = {len(part) for part in (feature, kinds, *children)}
    if tree["num_cat"] != "0" or set(kinds) != {NUMERICAL} or sizes != {count} or len(leaves) != count + 1:
        raise ValueError("a tree with categories, missing values or nodes that lack something")
    if 2 * inner + 1 > MOST_NODES or any(child.min() < ~count or child.max() >= count for child in children):
        raise ValueError("nodes that lead nowhere")
    if any((child[child >= 0] <= np.flatnonzero(child >= 0)).any() for child in children):
        raise ValueError("nodes that lead back")
    below, above = (np.where(child >= 0, child, inner + ~child).astype("u8") for child in children)
    nodes = np.zeros(2 * inner + 1, "u8")
    itself = np.arange(inner, 2 * inner + 1, dtype="u8")
    nodes[inner:] = (itself << np.uint64(18)) | (itself << np.uint64(4))
    limits = sortable(_float32_below(limit)).astype("u8")
    nodes[:count] = (limits << np.uint64(32)) | (above << np.uint64(18)) | (below << np.uint64(4)) | feature
    return nodes, np.concatenate([leaves, np.zeros(inner - count)])


def _float32_below(limits: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the largest float32 up to each limit: no float32 lies between them."""
    near = limits.astype("float32")
    return np.where(near > limits, np.nextafter(near, np.float32(-np.inf)), near)
