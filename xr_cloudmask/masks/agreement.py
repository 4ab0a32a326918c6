"""How well a mask agrees with a reference: counts of classes, scores, and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.errors import CloudMaskError, is_one_of
from xr_cloudmask.masks import blocks
from xr_cloudmask.masks.aligned import on_one_grid
from xr_cloudmask.masks.judging import (
    JUDGED,
    JUDGINGS,
    gathered,
    judging_for,
    most_probable,
    table_of,
)
from xr_cloudmask.masks.labels import mask_of
from xr_cloudmask.masks.schemes import scheme_of
from xr_cloudmask.names import CLASS_NAME, MASK_NAME, PROBABILITY_NAME

if TYPE_CHECKING:
    import pandas as pd

WAYS = ("block", "scene")  # by which intervals are drawn
DRAWS, AT_ONCE = 1000, 50
LIMITS = (2.5, 97.5)  # percentiles: 95 % of the draws are between
OF_CLASSES = ("IoU", "recall", "precision", "F1", "balanced accuracy")
OVERALL = ("kappa", "overall accuracy", "mIoU")


@dataclass(frozen=True, repr=False, eq=False)
class Agreement:
    """A confusion matrix, and what follows from it. It shows itself as text, and as a table in notebooks.

    Attributes
    ----------
    counts : ndarray
        int64 ``(class of the reference, class found)``: pixels.
    classes : tuple of str
        That were found.
    rows : tuple of tuple of str
        What each row of `counts` is: a class, or several that a pixel is at once, as cloud and shadow on it. By
        default the classes.
    scenes : tuple of ndarray
        int64 ``(block, class of the reference, class found)`` of each scene: what intervals are drawn from.
    by : {'block', 'scene'}
        How: blocks of pixels of each scene, or whole scenes.
    seed : int
        Of the draws.

    Examples
    --------
    >>> agreement = Agreement.of(np.uint8([0, 0, 1, 1, 255]), np.uint8([0, 1, 1, 1, 0]))
    >>> round(agreement.kappa, 2)
    0.5
    >>> agreement.table().loc["cloud", "recall"]
    np.float64(1.0)
    """

    counts: npt.NDArray[np.int64]
    classes: tuple[str, ...] = tuple(JUDGED)
    rows: tuple[tuple[str, ...], ...] = ()
    scenes: tuple[npt.NDArray[np.int64], ...] = ()
    by: str = "block"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.rows:
            object.__setattr__(self, "rows", tuple((name,) for name in self.classes))
        if not is_one_of(self.by, WAYS):
            raise CloudMaskError(f"by={self.by!r}", f"one of {list(WAYS)}", "by='block'")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise CloudMaskError(f"seed={self.seed!r}", "a whole number from 0", "seed=0")

    @classmethod
    def of(cls, reference: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8], **what: Any) -> Agreement:
        """Compare codes, which are places in classes; pixels of any other code, in either, are left out.

        Parameters
        ----------
        reference, found : ndarray
            uint8, of one shape: points, ``(y, x)`` or ``(date, y, x)``.
        **what
            ``classes``, ``rows``, ``by`` and ``seed``; `JUDGED` by default.
        """
        names = what.get("classes", tuple(JUDGED))
        size = len(what.get("rows") or names), len(names)
        flat = reference.ndim < 2
        shape = (1, 1, reference.size) if flat else (-1, *reference.shape[-2:])
        block = max(reference.size, 1) if flat else blocks.BLOCK
        counts = blocks.of_blocks(reference.reshape(shape), found.reshape(shape), size, block)
        return cls.pooled(list(counts.reshape(len(counts), -1, *size)), **what)

    @classmethod
    def pooled(cls, scenes: Sequence[npt.NDArray[Any]], **what: Any) -> Agreement:
        """Return the agreement over scenes, given the confusion matrices of their blocks."""
        counts = np.sum([scene.sum(axis=0, dtype="int64") for scene in scenes], axis=0)
        judged = tuple(scene[scene.any(axis=(1, 2))].astype("int64") for scene in scenes)
        return cls(counts, scenes=tuple(scene for scene in judged if len(scene)), **what)

    def __add__(self, other: Agreement) -> Agreement:
        """Pool the pixels of two comparisons."""
        if (self.classes, self.rows) != (other.classes, other.rows):
            raise CloudMaskError(
                f"scores of {list(self.classes)} and of {list(other.classes)}", "scores of one set of classes",
                "score(reference, classes='binary') for both",
            )  # fmt: skip
        scenes = (*self.scenes, *other.scenes)
        return Agreement(self.counts + other.counts, self.classes, self.rows, scenes, self.by, self.seed)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: 1 for full agreement, 0 for as much as chance gives; NaN where only one class is.

        Source: Cohen (1960), https://doi.org/10.1177/001316446002000104
        """
        return float(self._measured(self.counts)["kappa"])

    def table(self) -> pd.DataFrame:
        """Return the scores of every class; NaN where there is nothing to count.

        IoU is intersection over union, recall is also called producer's, precision user's accuracy; balanced accuracy
        is that of one class against the rest: the mean of recall and of the share of the rest that is not called so.
        """
        import pandas as pd

        found = self._measured(self.counts)
        return pd.DataFrame({name: found[name] for name in OF_CLASSES}, index=list(self.classes))

    def overall(self) -> dict[str, float]:
        """Return kappa, the share of pixels that agree, and the mean IoU of the classes that there are."""
        found = self._measured(self.counts)
        return {name: float(found[name]) for name in OVERALL}

    def confusion(self) -> pd.DataFrame:
        """Return the counts: a row for each class of the reference, a column for each that was found."""
        import pandas as pd

        rows = pd.Index([" and ".join(names) for names in self.rows], name="reference")
        table = pd.DataFrame(self.counts, rows, pd.Index(list(self.classes), name="found"))
        return table.groupby(level=0, sort=False).sum()

    def intervals(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the 95 % interval of every score ``(2, class)``, or ``(2,)``; NaN where there is one unit to draw.

        Blocks, or scenes, are drawn again as many times as there are, 1000 times, always from the same seed.
        """
        rng = np.random.default_rng(self.seed)
        drawn = [self._measured(self._drawn(rng)) for _ in range(DRAWS // AT_ONCE)]
        return {name: _limits(np.concatenate([one[name] for one in drawn])) for name in (*OF_CLASSES, *OVERALL)}

    def _drawn(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        whole = [np.stack([scene.sum(axis=0) for scene in self.scenes])] if self.scenes else []
        groups = whole if self.by == "scene" else self.scenes
        if sum(map(len, groups)) < 2:
            return np.zeros((AT_ONCE, *self.counts.shape), "int64")
        chances = [(len(group), np.full(len(group), 1 / len(group))) for group in groups]
        weights = [rng.multinomial(count, chance, size=AT_ONCE) for count, chance in chances]
        return reduce(add, (np.tensordot(w, group, 1) for w, group in zip(weights, groups, strict=True)))

    def _measured(self, counts: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
        """Return all scores of confusion matrices ``(…, class of the reference, class found)``."""
        is_class = np.array([[name in names for name in self.classes] for names in self.rows])
        total = counts.sum(axis=(-2, -1))
        hits = (counts * is_class).sum(axis=-2)
        reference, found = counts.sum(axis=-1) @ is_class, counts.sum(axis=-2)
        rest = total[..., None] - reference
        alone = is_class & (is_class.sum(axis=1) == 1)[:, None]  # kappa knows no pixel of two classes
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, recall, precision = hits / (reference + found - hits), hits / reference, hits / found
            return {
                "IoU": iou,
                "recall": recall,
                "precision": precision,
                "F1": 2 * hits / (reference + found),
                "balanced accuracy": (recall + (rest - found + hits) / rest) / 2,
                "kappa": _kappa(alone.T.astype("int64") @ counts),
                "overall accuracy": hits.sum(axis=-1) / total,
                "mIoU": _mean(iou),
            }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it: null for what there is nothing to count of."""
        limits = self.intervals()
        scores: dict[str, Any] = {name: _plain(value) for name, value in self.overall().items()}
        between: dict[str, Any] = {name: _plain(limits[name]) for name in OVERALL}
        for place, name in enumerate(self.classes):
            scores[name] = {each: _plain(value) for each, value in self.table().loc[name].items()}
            between[name] = {each: _plain(limits[each][:, place]) for each in OF_CLASSES}
        rows = self.confusion().to_dict("index")
        drawn = {"by": self.by, "draws": DRAWS, "seed": self.seed, "percentiles": list(LIMITS)}
        return scores | {
            "pixels": int(self.counts.sum()),
            "scenes": len(self.scenes),
            "confusion": {str(name): {str(key): int(n) for key, n in row.items()} for name, row in rows.items()},
            "intervals": between | {"drawn": drawn},
        }

    def shown(self) -> pd.DataFrame:
        """Return the scores with their intervals as text: a row for each class, and one for all."""
        import pandas as pd

        limits, table, overall = self.intervals(), self.table(), self.overall()
        rows = {
            name: {each: text_of(float(table[each].to_numpy()[i]), limits[each][:, i]) for each in OF_CLASSES}
            for i, name in enumerate(self.classes)
        }
        rows["all"] = {name: text_of(overall[name], limits[name]) for name in OVERALL}
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def to_markdown(self) -> str:
        """Return the scores with their intervals as a table in Markdown."""
        return markdown(self.shown())

    def __repr__(self) -> str:
        return f"{self.title()}\n{self.shown().to_string()}\n\n{self.confusion().to_string()}"

    def _repr_html_(self) -> str:
        return f"<p>{self.title()}</p>{self.shown().to_html()}{self.confusion().to_html()}"

    def title(self) -> str:
        """Say what was counted."""
        return f"{self.counts.sum()} pixels of {len(self.scenes)} scene(s); 95 % intervals by {self.by}"


def _kappa(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    share = counts / counts.sum(axis=(-2, -1), keepdims=True)
    chance = (share.sum(axis=-2) * share.sum(axis=-1)).sum(axis=-1)
    return np.asarray((np.trace(share, axis1=-2, axis2=-1) - chance) / (1 - chance))


def _mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    there = ~np.isnan(values)
    return np.asarray(np.where(there, values, 0).sum(axis=-1) / there.sum(axis=-1))


def _limits(draws: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    there = np.isfinite(draws)
    known = np.where(there.any(axis=0), np.where(there, draws, np.nan), -1.0)  # of nothing, a percentile warns
    return np.where(there.any(axis=0), np.nanpercentile(known, LIMITS, axis=0), np.nan)


def _plain(value: Any) -> Any:
    numbers = np.asarray(value, "float64")
    if numbers.ndim:
        return [_plain(each) for each in numbers]
    return float(numbers) if np.isfinite(numbers) else None


def text_of(value: float, limits: npt.NDArray[np.float64]) -> str:
    """Write a score and its interval.

    Examples
    --------
    >>> text_of(0.8125, np.array([0.5, 0.9])), text_of(float("nan"), np.array([np.nan, np.nan]))
    ('0.812 (0.500–0.900)', '–')
    """
    if np.isnan(value):
        return "–"
    return f"{value:.3f}" + ("" if np.isnan(limits).any() else f" ({limits[0]:.3f}–{limits[1]:.3f})")


def markdown(table: pd.DataFrame) -> str:
    """Write a table of texts in Markdown."""
    lines = [["", *map(str, table.columns)], ["---"] * (len(table.columns) + 1)]
    lines += [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def score(
    mask: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    *,
    classes: str | None = None,
    threshold: float | None = None,
    by: str = "block",
    block: int = blocks.BLOCK,
    seed: int = 0,
) -> Agreement:
    """Score a mask by a reference that is taken for true; computes both.

    Parameters
    ----------
    mask : Dataset or DataArray
        Predict's Dataset or its ``cloud_mask``, uint8 ``(time, y, x)`` or ``(y, x)``.
    reference : Dataset or DataArray
        A mask or a quality band on the same pixels and dates, its dimensions in any order.
    classes : str, optional
        What they are judged by: ``'clouds_and_shadows'`` (clear, cloud, cloud shadow), ``'binary'`` (cloud or not),
        ``'validity'``, ``'cloudsen12'``, ``'sensei'``. By default the first of the first three that both tell apart:
        a reference without shadows judges clouds alone.
    threshold : float, optional
        Cloud is what is cloud with at least this probability, which the mask must have. By default the mask's labels.
    by : {'block', 'scene'}
        What 95 % intervals are drawn from: blocks of pixels of each date, or whole dates.
    block : int
        Side of a block in pixels. Clouds are as large as a block at least; larger ones give wider intervals.
    seed : int
        Of the draws.

    Returns
    -------
    Agreement
        Computed. Pixels without data in either are left out.

    Raises
    ------
    CloudMaskError
        Other pixels, dates or reference systems; classes that either puts together; a threshold without probabilities.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(dates=1, size=(64, 64))
    >>> score(cube.truth, cube.truth).overall()["mIoU"]
    1.0
    """
    if isinstance(block, bool) or not isinstance(block, int | np.integer) or not 1 <= block <= blocks.LARGEST:
        raise CloudMaskError(f"block={block!r}", f"whole pixels, 1 to {blocks.LARGEST}", f"block={blocks.BLOCK}")
    ours, true = mask_of(mask), mask_of(reference)
    true = on_one_grid(ours, true)
    schemes = scheme_of(ours), scheme_of(true)
    chances = None if threshold is None else _probabilities(mask)
    name = judging_for([*gathered(schemes[0]), *gathered(schemes[1])], classes)
    judging = JUDGINGS[name]
    dims = ordered(ours)
    if chances is None:
        found = stacked(looked_up(ours.transpose(*dims), table_of(schemes[0], judging)))
    else:
        words = {entry.name: entry.gathers for entry in schemes[0].classes}
        found = stacked(most_probable(chances.transpose(CLASS_NAME, *dims), judging, threshold, words))
    truth = stacked(looked_up(true.transpose(*dims), table_of(schemes[1], judging)))
    size = len(judging), len(judging)
    counts = np.asarray(blocks.counted(truth, found, size, int(block)))
    return Agreement.pooled(list(counts.reshape(len(counts), -1, *size)), classes=tuple(judging), by=by, seed=seed)


def judged(mask: xr.DataArray) -> npt.NDArray[np.uint8]:
    """Return the place in `JUDGED` of every pixel; `NOT_JUDGED` where there are no data."""
    codes: npt.NDArray[np.uint8] = table_of(scheme_of(mask), JUDGED)[mask.values]
    return codes


def _probabilities(mask: xr.Dataset | xr.DataArray) -> xr.DataArray:
    if not isinstance(mask, xr.Dataset) or PROBABILITY_NAME not in mask:
        raise CloudMaskError(
            "a threshold for a mask without probabilities",
            f"predict's Dataset with {PROBABILITY_NAME!r}",
            "cube.cloudmask.predict(probabilities=True).cloudmask.score(reference, threshold=0.5)",
        )
    return mask[PROBABILITY_NAME]


def ordered(mask: xr.DataArray) -> tuple[Any, ...]:
    """Return the dimensions of a mask with y and x last."""
    view = layout.view(mask.rename(MASK_NAME))
    return (*(dim for dim in mask.dims if dim not in (view.y, view.x)), view.y, view.x)


def looked_up(mask: xr.DataArray, table: npt.NDArray[np.uint8]) -> Any:
    """Return what a table has for the codes of a mask, lazily where it is."""
    data = mask.variable.data
    if mask.chunks is None:
        return table[mask.values]
    return data.map_blocks(table.__getitem__, dtype="uint8", meta=np.empty((0,) * mask.ndim, "uint8"))


def stacked(data: Any) -> Any:
    """Return an array ``(y, x)`` or ``(time, y, x)`` with dates."""
    return data.reshape(-1, *data.shape[-2:])
