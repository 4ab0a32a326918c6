"""Trees of LightGBM's text say what a walk by hand says, and what is no such text is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask import WeightsError
from xr_cloudmask.models.boosted import FEATURES, Forest, sortable

HEAD = "tree\nversion=v2\nnum_class=1\nmax_feature_idx={last}\nobjective=binary sigmoid:1\n"


def tree_text(number, feature, limit, left, right, leaves):
    lines = {
        "num_leaves": [len(leaves)],
        "num_cat": [0],
        "split_feature": feature,
        "threshold": [repr(float(one)) for one in limit],
        "decision_type": [2] * len(limit),
        "left_child": left,
        "right_child": right,
        "leaf_value": [repr(float(one)) for one in leaves],
    }
    return f"\nTree={number}\n" + "\n".join(f"{name}={' '.join(map(str, part))}" for name, part in lines.items())


def random_tree(random, features, inner):
    """Grow a tree leaf by leaf, as LightGBM numbers it."""
    left, right, open_leaves = [], [], [(None, None)]
    for node in range(inner):
        parent, side = open_leaves.pop(random.integers(len(open_leaves)))
        if parent is not None:
            (left, right)[side][parent] = node
        left.append(None)
        right.append(None)
        open_leaves += [(node, 0), (node, 1)]
    for leaf, (parent, side) in enumerate(open_leaves):
        (left, right)[side][parent] = ~leaf
    limit = random.normal(size=inner)
    return random.integers(features, size=inner), limit, left, right, random.normal(size=inner + 1)


def forest_text(trees, features):
    parts = [tree_text(i, *tree) for i, tree in enumerate(trees)]
    return HEAD.format(last=features - 1) + "".join(parts) + "\n\nend of trees\n\nparameters:\n[x: 1]"


def by_hand(trees, pixel):
    odds = 0.0
    for feature, limit, left, right, leaves in trees:
        node = 0
        while node >= 0:
            value = np.nan_to_num(float(pixel[feature[node]]), nan=0.0)
            node = (left if value <= limit[node] else right)[node]
        odds += leaves[~node]
    return 1 / (1 + np.exp(-odds))


@given(st.integers(0, 2**32 - 1), st.integers(1, FEATURES), st.integers(1, 5))
def test_every_pixel_walks_as_by_hand(seed, features, count):
    random = np.random.default_rng(seed)
    trees = [random_tree(random, features, random.integers(1, 30)) for _ in range(count)]
    pixels = random.normal(size=(features, 23)).astype("float32")
    pixels[:, ::7] = np.float32(trees[0][1][0])  # at a limit, where the float32 may be on either side of it
    pixels[0, 3] = np.nan
    found = Forest.read(forest_text(trees, features)).probabilities(pixels)
    np.testing.assert_allclose(found, [by_hand(trees, pixel) for pixel in pixels.T], rtol=1e-12)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=20))
def test_keys_are_in_the_order_of_the_numbers(numbers):
    values = np.float32(numbers)
    keys = sortable(values)
    assert ((keys[:, None] < keys) == (values[:, None] < values)).all()


GOOD = forest_text([([0], [0.5], [-1], [-2], [-1.0, 1.0])], 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("binary sigmoid:1", "multiclass"),
        ("num_cat=0", "num_cat=1"),
        ("decision_type=2", "decision_type=10"),
        ("right_child=-2", "right_child=-9"),
        ("right_child=-2", "right_child=0"),  # would walk for ever
        ("split_feature=0", "split_feature=7"),
        ("split_feature=0", "split_feature=-1"),
        ("max_feature_idx=1", "max_feature_idx=99"),
        ("leaf_value=-1.0 1.0", "leaf_value=-1.0"),
        ("threshold=0.5", "threshold=x"),
        ("Tree=0", "No=0"),
    ],
)
def test_what_these_trees_do_not_know_is_refused(old, new):
    assert Forest.read(GOOD).features == 2
    assert old in GOOD
    with pytest.raises(WeightsError):
        Forest.read(GOOD.replace(old, new))


def test_lightgbm_says_the_same():
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    random = np.random.default_rng(0)
    pixels = random.random((2000, 10)).astype("float32")
    data = lightgbm.Dataset(pixels, pixels[:, 0] + pixels[:, 7] > 1)
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1, "use_missing": False}, data, 20)
    found = Forest.read(booster.model_to_string()).probabilities(pixels.T)
    np.testing.assert_allclose(found, booster.predict(pixels), rtol=1e-12)
