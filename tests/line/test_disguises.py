"""The same scene in disguise gives the same mask, or one clear error; never anything else."""

from __future__ import annotations

import disguises
import numpy as np
import pytest
import toys  # noqa: F401 - registers the toy model
import xarray as xr
from disguises import DISGUISES, ERROR, GAP, LEVEL, ODD, SIZE, Disguise
from hypothesis import given, settings
from hypothesis import strategies as st

from xr_cloudmask import CloudMaskError, predict

VALUES = disguises.scene()
INSIDE = np.zeros((SIZE, SIZE), bool)
INSIDE[GAP] = True


@pytest.fixture(scope="module")
def plain() -> dict[bool, np.ndarray]:
    """Return the mask of the scene as it is, with the gap and without."""
    gaps = {True: np.nan, False: None}
    return {gap: predict(disguises.cube(VALUES, gap=fill), **LEVEL)["cloud_mask"].values for gap, fill in gaps.items()}


@pytest.mark.filterwarnings("ignore:scale=:UserWarning")  # an estimate says what it took
@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda disguise: disguise.name)
def test_disguise(disguise: Disguise, plain):
    cube = disguise.make(VALUES)
    kept = cube.copy(deep=True)
    if disguise.outcome == ERROR:
        with pytest.raises(CloudMaskError) as error:
            predict(cube, **disguise.told).compute()
        assert all((error.value.found, error.value.expected, error.value.remedy))
        return
    out = predict(cube, **disguise.told)
    xr.testing.assert_identical(cube, kept)
    y, x = (dim for dim in out["cloud_mask"].dims if dim != "time") if "time" in out.dims else out["cloud_mask"].dims
    mask = out["cloud_mask"].transpose(..., *(("y", "x") if {"y", "x"} <= {y, x} else (y, x))).values
    for date in mask.reshape(-1, SIZE, SIZE):
        same = date == plain[disguise.gap]
        outside = ~INSIDE if disguise.gap else np.ones_like(INSIDE)
        if not disguise.gap:
            outside[ODD] = False
        assert same[outside].mean() >= disguise.agree
        assert (date[outside] != 255).all()
        if disguise.gap:
            assert (date[INSIDE] == 255).all()


def test_an_odd_pixel_changes_labels_nowhere_but_at_itself(plain):
    masks = []
    for number in (np.nan, 6.5535, 65535.0, 1e20, -9999.0):
        masks.append(predict(disguises.odd(VALUES, number), **LEVEL)["cloud_mask"].values)
        np.testing.assert_array_equal(masks[-1], masks[0])  # whatever the number, it is no data
    same = masks[0] == plain[False]
    same[ODD] = True
    assert same.mean() > 0.999  # networks look around: a pixel without data is none to them either


chunks = st.lists(st.integers(1, 200), min_size=1, max_size=6).map(
    lambda sizes: tuple(np.diff([0, *sorted({min(SIZE, total) for total in np.cumsum(sizes)} | {SIZE})]).tolist())
)


@settings(max_examples=50)
@given(y=chunks, x=chunks, fault=st.sampled_from(["fill", "few", "many", "numbers"]))
def test_outcome_is_the_same_for_every_chunking(y, x, fault):
    """What is dropped, counted or refused depends on values alone."""
    values = VALUES[:4].copy()
    random = np.random.default_rng(3)
    if fault == "fill":
        values[:, *GAP] = -9999
    elif fault == "numbers":
        values = np.round(values * 1e4)
    else:
        share = 1e-4 if fault == "few" else 0.3
        where = random.random((SIZE, SIZE)) < share
        values[:, where] = random.uniform(5, 100, (4, where.sum()))
    cube = xr.Dataset({role: (("y", "x"), band) for role, band in zip(disguises.ROLES, values, strict=False)})
    outcomes = []
    for one in (cube, cube.chunk(y=y, x=x)):
        try:
            outcomes.append(predict(one, "toy", level="TOA", window=64, halo=8).compute())
        except CloudMaskError as error:
            outcomes.append(str(error))
    if isinstance(outcomes[0], str):
        assert outcomes[0] == outcomes[1]
        assert fault in ("many", "numbers")
    else:
        xr.testing.assert_identical(outcomes[0].drop_attrs(), outcomes[1].drop_attrs())
        assert fault in ("fill", "few")
        assert float(outcomes[0]["dropped_fraction"]) > 0


STRIP = (slice(None), slice(0, 30))


@pytest.mark.parametrize("fill", [-0.2, -0.0999, -0.0123, -9999.0, 6.5535, 0.0, np.nan])
@pytest.mark.parametrize("edge", [False, True], ids=["sharp", "resampled"])
def test_fill_may_be_most_of_a_scene(fill: float, edge: bool):
    """A strip of data beside fill is labelled as it is beside NaN; what resampling left between is no calibration."""
    masks = []
    for number in (np.nan, fill):
        values = np.full_like(VALUES, number)
        values[:, *STRIP] = VALUES[:, *STRIP]
        if edge:
            between = np.nan if np.isnan(number) or abs(number) < 1 else number * 0.7
            values[:, :, 28:30] = between * np.random.default_rng(1).uniform(0.9, 1.1, (len(values), SIZE, 2))
        masks.append(predict(disguises.cube(values), **LEVEL)["cloud_mask"].values)
    np.testing.assert_array_equal(masks[0] == 255, masks[1] == 255)
    assert (masks[0] == masks[1])[STRIP].mean() > 0.999


@pytest.mark.parametrize("darkness", [(0.012, 0.006, 0.002, 0.0), (-0.018, -0.019, -0.02, -0.009)])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-4, -0.1), (2.75e-5, -0.2)])
def test_dark_water_is_no_error(darkness, scale, offset):
    """Aerosol corrections overshoot over water, in all bands at once."""
    noise = np.random.default_rng(2).normal(0, 0.002, (4, SIZE, SIZE))
    values = (noise + np.reshape(darkness, (4, 1, 1)) - offset) / scale
    numbers = values.astype("float32") if scale == 1 else np.round(values).astype("uint16")
    cube = xr.Dataset({role: (("y", "x"), band) for role, band in zip(disguises.ROLES, numbers, strict=False)})
    mask = predict(cube, level="BOA", scale=scale, offset=offset)["cloud_mask"]
    assert (mask != 255).all()


def test_declared_fill_is_not_counted_as_dropped():
    for attrs, counted in (({}, True), ({"_FillValue": -9999}, False)):
        cube = disguises.numbers(VALUES, "int16", -9999, **attrs)
        assert (float(predict(cube, **disguises.DN)["dropped_fraction"]) > 0) == counted


@pytest.mark.parametrize("stated", ["n/a", [-1000, 0], {"B02": -1000}])
def test_an_offset_that_is_no_number_is_none(stated):
    cube = disguises.numbers(VALUES, "uint16", 0).rename(dict(zip(disguises.ROLES, disguises.SENTINEL, strict=True)))
    with pytest.raises(CloudMaskError, match="unknown processing baseline"):
        predict(cube.assign_attrs(platform="sentinel-2a", RADIO_ADD_OFFSET=stated), **LEVEL)
    shared = cube.assign_attrs(platform="sentinel-2a", RADIO_ADD_OFFSET=[0, 0])
    assert "product metadata" in shared.cloudmask.describe(**LEVEL).cube.provenance


def test_an_offset_above_zero_leaves_no_number_for_black():
    """No number of an unsigned integer is reflectance 0 then."""
    cube = disguises.numbers(VALUES + 0.05, "uint16", 65535, offset=0.02)
    mask = predict(cube, level="TOA", scale=1e-4, offset=0.02)["cloud_mask"].values
    np.testing.assert_array_equal(mask == 255, INSIDE)
