"""Scores of masks against counts by hand and for any chunks; what cannot be compared is refused."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks.judging import most_probable
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs

CODES = {"cloudsen12": (0, 1, 2, 3, 255), "binary": (0, 1, 255)}


def mask(codes, scheme="cloudsen12", **coords):
    codes = np.asarray(codes, "uint8")
    coords = {"y": -10.0 * np.arange(codes.shape[0]), "x": 10.0 * np.arange(codes.shape[1]), **coords}
    return xr.DataArray(codes, coords, ("y", "x"), "cloud_mask", flag_attrs(SCHEMES[scheme]))


def drawn(seed, scheme="cloudsen12", size=(40, 50)):
    return mask(np.random.default_rng(seed).choice(CODES[scheme], size), scheme)


def counted(reference, found, groups):
    """Return recall, precision, F1, IoU and balanced accuracy of each group of codes, one against the rest."""
    known = (reference != 255) & (found != 255)
    out = {}
    for name, codes in groups.items():
        true, said = np.isin(reference[known], codes), np.isin(found[known], codes)
        hit, missed, wrong, rest = ((true == a) & (said == b) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0)))
        hit, missed, wrong, rest = (
            int((part & (true == t)).sum()) for part, t in ((hit, 1), (missed, 1), (wrong, 0), (rest, 0))
        )
        recall, precision = hit / (hit + missed), hit / (hit + wrong)
        out[name] = {
            "recall": recall,
            "precision": precision,
            "F1": 2 * precision * recall / (precision + recall),
            "IoU": hit / (hit + missed + wrong),
            "balanced accuracy": (recall + rest / (rest + wrong)) / 2,
        }
    return out


def test_scores_are_those_of_counting():
    found, reference = drawn(1), drawn(2)
    table = found.cloudmask.score(reference).table()
    groups = {"clear": [0], "cloud": [1, 2], "cloud_shadow": [3]}
    for name, scores in counted(reference.values, found.values, groups).items():
        assert table.loc[name].to_dict() == pytest.approx(scores)


def test_a_reference_of_clouds_alone_judges_clouds_alone():
    found, reference = drawn(1), drawn(2, "binary")
    table = found.cloudmask.score(reference).table()
    assert "cloud_shadow" not in table.index
    known = (found.values != 255) & (reference.values != 255)
    said, true = np.isin(found.values, (1, 2))[known], (reference.values == 1)[known]
    assert table.loc["cloud", "recall"] == pytest.approx((said & true).sum() / true.sum())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50))
def test_any_chunks_give_the_same(y, x):
    found, reference = drawn(1), drawn(2)
    whole, parts = found.cloudmask.score(reference), found.chunk(y=y, x=x).cloudmask.score(reference.chunk(x=x))
    np.testing.assert_array_equal(whole.counts, parts.counts)
    assert whole.to_dict() == parts.to_dict()
    one, other = found.cloudmask.compare(reference), found.chunk(y=y, x=x).cloudmask.compare(reference).compute()
    xr.testing.assert_identical(one.compute().map.load(), other.map.load())


def test_intervals_hold_the_score_and_are_drawn_from_a_seed():
    found = drawn(1, size=(256, 256))
    reference = found.copy(
        data=np.where(np.random.default_rng(3).random((256, 256)) < 0.1, 0, found.values).astype("uint8")
    )
    one, again, other = (found.cloudmask.score(reference, seed=seed) for seed in (0, 0, 1))
    assert one.to_dict() == again.to_dict() != other.to_dict()
    low, high = one.intervals()["kappa"].ravel()
    assert low < one.kappa < high


@pytest.mark.parametrize(
    "other",
    [
        lambda reference: reference.isel(x=slice(1, None)),
        lambda reference: reference.assign_coords(x=reference.x + 10),
        lambda reference: reference.astype("float32"),
        lambda reference: reference.drop_attrs(),
    ],
)
@pytest.mark.parametrize("how", ["score", "compare"])
def test_what_cannot_be_compared_is_refused(other, how):
    with pytest.raises(CloudMaskError):
        getattr(drawn(1).cloudmask, how)(other(drawn(2)))


def chances(found, **chunks):
    values = np.random.default_rng(4).dirichlet(np.ones(4), found.shape).astype("float32")
    names = ["clear", "thick_cloud", "thin_cloud", "cloud_shadow"]
    layer = xr.DataArray(np.moveaxis(values, -1, 0), {"class": names, **found.coords}, ("class", "y", "x"))
    both = xr.Dataset({"cloud_mask": found, "probability": layer.where(found != 255)})
    return both.chunk(chunks) if chunks else both


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_threshold_decides_what_is_cloud(threshold):
    found, reference = drawn(1), drawn(2)
    both = chances(found)
    cloud = both["probability"].sel({"class": ["thick_cloud", "thin_cloud"]}).sum("class") >= threshold
    table = both.cloudmask.score(reference, threshold=threshold).table()
    known = (found.values != 255) & (reference.values != 255)
    true = np.isin(reference.values, (1, 2))[known]
    assert table.loc["cloud", "recall"] == pytest.approx((cloud.values[known] & true).sum() / true.sum())
    parts = chances(found, y=7, x=11, **{"class": 1}).cloudmask.score(reference, threshold=threshold)
    np.testing.assert_array_equal(parts.counts, both.cloudmask.score(reference, threshold=threshold).counts)


def test_places_of_lazy_probabilities_are_lazy():
    lazy = most_probable(chances(drawn(1), y=8)["probability"])
    assert lazy.chunks == ((8,) * 5, (50,))
    np.testing.assert_array_equal(lazy.compute(), most_probable(chances(drawn(1))["probability"]))


def test_a_mask_of_floats_is_refused():
    with pytest.raises(CloudMaskError, match="uint8"):
        drawn(1).astype("float32").assign_attrs(drawn(1).attrs).cloudmask.score(drawn(2))


def test_a_threshold_needs_probabilities():
    with pytest.raises(CloudMaskError, match="probabilit"):
        drawn(1).cloudmask.score(drawn(2), threshold=0.5)


@pytest.mark.parametrize(
    "asked",
    [{"by": "month"}, {"block": 0}, {"block": True}, {"seed": "a"}, {"seed": -1}, {"seed": 0.5}, {"classes": "x"}],
)
def test_what_cannot_be_asked_is_refused(asked):
    with pytest.raises(CloudMaskError, match=f"{next(iter(asked))}="):
        drawn(1).cloudmask.score(drawn(2), **asked)
