"""Clouds and shadows grow by metres, for every chunking."""

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from scipy import ndimage

from xr_cloudmask import CloudMaskError
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
from xr_cloudmask.masks.windows import NEARLY

GSD = 10.0


def mask_of(codes, scheme="cloudsen12"):
    codes = np.asarray(codes, "uint8")
    dims = ("time", "y", "x")[-codes.ndim :]
    coords = {
        "y": ("y", -np.arange(codes.shape[-2]) * GSD, {"units": "m"}),
        "x": ("x", np.arange(codes.shape[-1]) * GSD, {"units": "m"}),
    }
    return xr.DataArray(codes, coords, dims, "cloud_mask", flag_attrs(SCHEMES[scheme]) | {"model": "kept"})


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    dates=st.integers(0, 3),  # 0: no time
    metres=st.sampled_from([0, 9, 10, 15, 30, 45, 500]),
    chunks=st.none() | st.fixed_dictionaries({dim: st.integers(1, 9) for dim in ("time", "y", "x")}),
)
def test_every_class_grows_by_a_disc(seed, dates, metres, chunks):
    rng = np.random.default_rng(seed)
    shape = (dates, 9, 11) if dates else (9, 11)
    codes = rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 255], shape).astype("uint8")
    mask = mask_of(codes)
    if chunks:
        mask = mask.chunk({dim: size for dim, size in chunks.items() if dim in mask.dims})
    out = mask.cloudmask.dilate(metres)["cloud_mask"]
    assert (out.chunks is not None) == bool(chunks)

    steps = np.arange(-11, 12)
    disc = np.hypot(*np.meshgrid(steps, steps)) * GSD <= metres
    expected = codes.copy()
    for before, after in zip(codes.reshape(-1, 9, 11), expected.reshape(-1, 9, 11), strict=True):
        for code in (1, 2, 3):
            after[ndimage.binary_dilation(before == code, disc) & (after == 0)] = code
    np.testing.assert_array_equal(out, expected)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    latitude=st.sampled_from([-75, -30, 0, 60, 80]),
    metres=st.sampled_from([0, 12, 30, 47.5, 200]),
    chunks=st.none() | st.fixed_dictionaries({dim: st.integers(1, 9) for dim in ("lat", "lon")}),
)
def test_on_pixels_that_are_no_squares_classes_grow_by_metres(seed, latitude, metres, chunks):
    codes = np.random.default_rng(seed).choice([0] * 12 + [1, 3, 255], (9, 15)).astype("uint8")
    lat, lon = latitude - 1e-4 * np.arange(9), 1e-4 * np.arange(15)
    mask = xr.DataArray(
        codes, {"lat": lat, "lon": lon}, ("lat", "lon"), "cloud_mask", flag_attrs(SCHEMES["cloudsen12"])
    )
    out = (mask.chunk(chunks) if chunks else mask).cloudmask.dilate(metres)["cloud_mask"]

    geod = Geod(ellps="WGS84")
    height, width = (abs(geod.inv(0, lat[4], *to)[2]) for to in ((0, lat[5]), (1e-4, lat[4])))
    rows, columns = np.meshgrid(np.arange(-9, 10) * height, np.arange(-15, 16) * width, indexing="ij")
    disc = np.hypot(rows, columns) <= metres * NEARLY
    expected = codes.copy()
    for code in (1, 3):
        expected[ndimage.binary_dilation(codes == code, disc) & (expected == 0)] = code
    np.testing.assert_array_equal(out, expected)


def test_what_is_as_far_on_the_map_is_far_enough():
    """10 m of UTM are 10.004 m on the ground in the middle of a zone, and 9.99 m at its edge."""
    codes = np.zeros((1, 9), "uint8")
    codes[0, 4] = 1
    for easting in (166_000, 500_000):
        mask = mask_of(codes).drop_attrs(deep=True).assign_attrs(mask_of(codes).attrs)
        mask = mask.assign_coords(y=[4e6], x=easting + 10.0 * np.arange(9)).rio.write_crs(32632)
        assert (mask.cloudmask.dilate(30)["cloud_mask"] == 1).values[0].tolist() == [False] + [True] * 7 + [False]


@pytest.mark.parametrize(
    "order", [("thick_cloud", "thin_cloud", "cloud_shadow"), ("cloud_shadow", "thin_cloud", "thick_cloud")]
)
@pytest.mark.parametrize("names", [{}, {"thick_cloud": "opaque_cloud", "cloud_shadow": "shadow"}])
def test_a_cloud_comes_before_a_shadow_whatever_their_codes(order, names):
    meanings = ["clear", *(names.get(name, name) for name in order)]
    attrs = {"flag_values": np.arange(4, dtype="uint8"), "flag_meanings": " ".join(meanings)}
    thick, thin, shadow = (order.index(name) + 1 for name in ("thick_cloud", "thin_cloud", "cloud_shadow"))
    for first, second in (
        ((thick, shadow), (thin, shadow)) if names else ((thick, shadow), (thin, shadow), (thick, thin))
    ):
        mask = mask_of([[first, 0, second]]).drop_attrs(deep=False).assign_attrs(attrs)
        codes = {thick: 1, thin: 2, shadow: 3} if names else {i: i for i in range(4)}  # another's words are read
        expected = [[codes[first], codes[first], codes[second]]]
        assert mask.cloudmask.dilate(10)["cloud_mask"].values.tolist() == expected


def test_a_dilated_mask_is_like_a_prediction():
    codes = np.zeros((2, 6, 8), "uint8")
    codes[0, 2, 2] = 1
    mask = mask_of(codes)
    mask = mask.assign_coords(mask.cloudmask.coverage().data_vars)

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        out = mask.chunk(time=1, x=4).cloudmask.dilate(10)
    assert out["cloud_mask"].attrs == mask.attrs
    assert out["cloud_mask"].dtype == out["cloud_mask"].data._meta.dtype == np.uint8
    np.testing.assert_allclose(out["cloud_fraction"], [5 / 48, 0])
    xr.testing.assert_identical(out.compute(), mask.to_dataset().cloudmask.dilate(10))
    alone = mask.isel(time=0, drop=True).cloudmask.dilate(10)["cloud_mask"]
    assert alone.attrs["cloud_fraction"] == 5 / 48


def test_shadow_is_what_a_mask_has_of_it():
    codes = np.uint8([[[0, 0, 1, 0]]])
    assert mask_of(codes, "validity").cloudmask.dilate(10)["cloud_mask"].values.tolist() == [[[0, 1, 1, 1]]]
    sensei = np.uint8([[[0, 2, 1, 5]]])  # land, snow, water, shadow
    assert mask_of(sensei, "sensei").cloudmask.dilate(20)["cloud_mask"].values.tolist() == [[[0, 5, 5, 5]]]


@pytest.mark.parametrize(
    ("mask", "metres", "message"),
    [
        (mask_of(np.zeros((1, 2, 2))), -1, "from 0"),
        (mask_of(np.zeros((1, 2, 2))), np.nan, "from 0"),
        (mask_of(np.zeros((1, 2, 2))), np.inf, "from 0"),
        (mask_of(np.zeros((1, 2, 2))), "30", "from 0"),
        (mask_of(np.zeros((1, 2, 2))), None, "from 0"),
        (mask_of(np.zeros((1, 2, 2))), [30], "from 0"),
        (mask_of(np.zeros((1, 2, 2)), "4-4A"), 30, "none of whose classes is clear"),
        (mask_of(np.zeros((1, 2, 2))).drop_vars(["y", "x"]), 30, "pixel size is unknown"),
    ],
)
def test_what_is_refused(mask, metres, message):
    with pytest.raises(CloudMaskError, match=message):
        mask.cloudmask.dilate(metres)
