"""Fractions agree with the plain definition for every chunking, and are honest where nothing is valid."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xr_cloudmask.masks.coverage import coverage
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs, scheme_for
from xr_cloudmask.names import FRACTIONS

CODES = np.uint8([0, 1, 2, 3, 255])
cubes = hnp.arrays(
    "uint8", hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.sampled_from(CODES.tolist())
)


def mask(values, scheme="cloudsen12"):
    dims = ("time", "y", "x")[-values.ndim :]
    return xr.DataArray(values, dims=dims, attrs=flag_attrs(SCHEMES[scheme]), name="cloud_mask")


def brute_force(date):
    valid = date[date != 255]
    counts = [np.isin(valid, codes).sum() / valid.size if valid.size else np.nan for codes in ([1, 2], [2], [3], [0])]
    return [*counts, valid.size / date.size]


@given(cubes, st.data())
def test_fractions_are_the_plain_definition_for_any_chunks(values, data):
    chunks = {dim: data.draw(st.integers(1, size)) for dim, size in zip(("time", "y", "x"), values.shape, strict=True)}
    expected = np.array([brute_force(date) for date in values])
    for out in (coverage(mask(values)), coverage(mask(values).chunk(chunks))):
        assert list(out) == list(FRACTIONS)
        table = np.stack([out[name].values for name in FRACTIONS], axis=1)
        np.testing.assert_allclose(table, expected, equal_nan=True)


def test_coverage_stays_lazy_and_keeps_the_dates():
    times = np.array(["2024-01-01", "2024-01-11"], "datetime64[ns]")
    out = coverage(mask(np.zeros((2, 4, 4), "uint8")).assign_coords(time=times).chunk(x=2))
    assert all(value.chunks is not None for value in out.values())
    np.testing.assert_array_equal(out.time, times)


def test_meta_is_what_computing_gives():
    out = coverage(mask(np.zeros((2, 4, 4), "uint8")).chunk(time=1, x=2))
    for value in out.values():
        computed = value.data.compute()
        assert computed.dtype == value.dtype
        assert computed.shape == value.shape


def test_without_time_fractions_are_scalars():
    out = coverage(mask(np.uint8([[0, 1], [3, 255]])))
    assert out["cloud_fraction"].shape == ()
    assert float(out["cloud_fraction"]) == pytest.approx(1 / 3)
    assert float(out["valid_fraction"]) == 0.75
    assert out["cloud_fraction"].attrs["units"] == "1"


def test_no_valid_pixel_is_not_clear():
    out = coverage(mask(np.full((1, 2, 2), 255, "uint8")))
    assert float(out["valid_fraction"][0]) == 0
    assert np.isnan(out["cloud_fraction"].values).all()


@pytest.mark.parametrize(
    ("scheme", "told"),
    [
        ("cloudsen12", set(FRACTIONS)),
        ("sensei", set(FRACTIONS)),
        ("binary", {"cloud_fraction", "valid_fraction"}),
        ("validity", {"clear_fraction", "valid_fraction"}),
    ],
)
def test_a_scheme_tells_only_what_it_can(scheme, told):
    assert set(coverage(mask(np.zeros((1, 2, 2), "uint8"), scheme))) == told


def test_native_scheme():
    attrs = flag_attrs(scheme_for("native", ("clear", "thick_cloud", "cloud_shadow")))
    out = coverage(xr.DataArray(np.uint8([[0, 1], [2, 2]]), dims=("y", "x"), attrs=attrs))
    assert float(out["cloud_shadow_fraction"]) == 0.5


def test_any_order_of_dimensions():
    values = np.random.default_rng(0).choice(CODES, (3, 4, 5))
    expected = coverage(mask(values))
    out = coverage(mask(values).transpose("x", "time", "y").chunk(x=2))
    xr.testing.assert_allclose(out.compute(), expected)
