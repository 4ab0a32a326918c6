"""Masks are eroded, opened, closed and cleaned as SciPy does it to the whole array, for every chunking."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xr_cloudmask import CloudMaskError
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs

HIGH, WIDE = 10.0, 5.0  # metres of a pixel
CHUNKS = st.none() | st.fixed_dictionaries({dim: st.integers(1, 9) for dim in ("y", "x")})
EIGHT = np.ones((3, 3))


def mask_of(codes, scheme="cloudsen12"):
    codes = np.asarray(codes, "uint8")
    dims = ("time", "y", "x")[-codes.ndim :]
    coords = {
        "y": ("y", -np.arange(codes.shape[-2]) * HIGH, {"units": "m"}),
        "x": ("x", np.arange(codes.shape[-1]) * WIDE, {"units": "m"}),
    }
    return xr.DataArray(codes, coords, dims, "cloud_mask", flag_attrs(SCHEMES[scheme]))


def disc(metres, reach=30):
    steps = np.arange(-reach, reach + 1)
    return np.hypot(*np.meshgrid(steps * HIGH, steps * WIDE, indexing="ij")) <= metres


def codes_of(seed, shares):
    """Return codes in clumps, as clouds are."""
    return np.random.default_rng(seed).choice(shares, (13, 17)).astype("uint8")


def around(cloudy, metres):
    return ndimage.binary_dilation(cloudy, disc(metres))


def nearest(codes, of):
    """Return which of some codes is nearest, the first of those equally near, by brute force."""
    out = np.full(codes.shape, of[0], "uint8")
    rows, columns = np.indices(codes.shape)
    for y, x in np.ndindex(codes.shape):
        away = np.round(np.hypot((rows - y) * HIGH, (columns - x) * WIDE), 6)
        found = [away[codes == code].min(initial=np.inf) for code in of]
        out[y, x] = of[int(np.argmin(found))]
    return out


def found(mask, method, limit, chunks):
    out = getattr((mask.chunk(chunks) if chunks else mask).cloudmask, method)(limit)["cloud_mask"]
    assert (out.chunks is not None) == bool(chunks)
    return out.values


SOME = [0] * 6 + [1, 2, 3, 255]
MANY = [1] * 5 + [2, 3, 3, 0, 255]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0, 5, 10, 15, 40, 500]), CHUNKS, st.sampled_from([SOME, MANY]))
def test_erosion(seed, metres, chunks, shares):
    codes = codes_of(seed, shares)
    taken = around(codes == 0, metres) & np.isin(codes, [1, 2, 3])
    np.testing.assert_array_equal(found(mask_of(codes), "erode", metres, chunks), np.where(taken, 0, codes))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0, 5, 10, 20]), CHUNKS, st.sampled_from([SOME, MANY]))
def test_opening_and_closing(seed, metres, chunks, shares):
    codes = codes_of(seed, shares)
    wide = np.pad(codes, 30, constant_values=255)  # what is beyond is unknown
    inner = np.s_[30:-30, 30:-30]
    opened = ndimage.binary_opening(wide != 0, disc(metres))[inner]
    expected = np.where(np.isin(codes, [1, 2, 3]) & ~opened, 0, codes)
    np.testing.assert_array_equal(found(mask_of(codes), "opening", metres, chunks), expected)

    open_sky = ndimage.binary_opening(~np.isin(wide, [1, 2, 3]), disc(metres))[inner]
    expected = np.where((codes == 0) & ~open_sky, nearest(codes, [1, 2, 3]), codes)
    np.testing.assert_array_equal(found(mask_of(codes), "closing", metres, chunks), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0, 50, 100, 150, 300, 500, 5000]), CHUNKS, st.sampled_from([SOME, MANY]))
def test_specks_and_holes(seed, area, chunks, shares):
    codes = codes_of(seed, shares)
    pixels = area / (HIGH * WIDE)

    def small(inside, neighbours):
        pieces, count = ndimage.label(inside, neighbours)
        edge = {*pieces[0], *pieces[-1], *pieces[:, 0], *pieces[:, -1]}
        return np.isin(pieces, [i for i in range(1, count + 1) if i not in edge and (pieces == i).sum() < pixels])

    specks = small(codes != 0, EIGHT) & np.isin(codes, [1, 2, 3])
    np.testing.assert_array_equal(found(mask_of(codes), "drop_specks", area, chunks), np.where(specks, 0, codes))
    holes = small(~np.isin(codes, [1, 2, 3]), None) & (codes == 0)
    expected = np.where(holes, nearest(codes, [1, 2, 3]), codes)
    np.testing.assert_array_equal(found(mask_of(codes), "fill_holes", area, chunks), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), CHUNKS, st.sampled_from(["dilate", "erode", "opening", "closing"]))
def test_classes_have_their_own_distances(seed, chunks, method):
    codes = codes_of(seed, SOME)
    out = found(mask_of(codes), method, {"thick_cloud": 10, "cloud_shadow": 20}, chunks)
    assert ((out == 2) >= (codes == 2)).all()
    whole = found(mask_of(codes), method, {"cloud_shadow": 20, "thick_cloud": 10}, None)
    np.testing.assert_array_equal(out, whole)
    if method == "dilate":
        expected = np.where(around(codes == 1, 10) & (codes == 0), 1, codes)
        expected = np.where(around(codes == 3, 20) & (expected == 0), 3, expected)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("names", [{"cloud": 5}, {"thick_cloud": 5}, {"thick_cloud": 5, "thin_cloud": 5}])
def test_words_of_other_schemes_are_understood(names):
    assert mask_of([[1, 0, 0]], "binary").cloudmask.dilate(names)["cloud_mask"].values.tolist() == [[1, 1, 0]]


def test_what_is_unknown_changes_nothing():
    codes = np.full((7, 7), 1)
    codes[3, 3] = 255
    for method in ("erode", "opening"):
        assert (found(mask_of(codes), method, 20, None) == codes).all()
    codes = np.zeros((7, 7))
    codes[0, 2], codes[3, 3] = 1, 1  # the first may be part of a cloud beyond the edge
    assert found(mask_of(codes), "drop_specks", 500, None).nonzero()[0].tolist() == [0]


def test_eroded_clouds_become_the_nearest_surface():
    codes = [[0, 4, 4, 4, 4, 2]]  # land, cloud, snow
    assert found(mask_of(codes, "sensei"), "erode", 10, None).tolist() == [[0, 0, 0, 2, 2, 2]]


@pytest.mark.parametrize("method", ["dilate", "erode", "opening", "closing", "drop_specks", "fill_holes"])
def test_nothing_is_computed_early(method):
    def refuse(*_, **__):
        raise AssertionError("computed")

    mask = mask_of(codes_of(0, SOME)).expand_dims(time=2)
    with dask.config.set(scheduler=refuse):
        out = getattr(mask.chunk(time=1, x=6, y=6).cloudmask, method)(20)
    xr.testing.assert_identical(out.compute().drop_attrs(), getattr(mask.cloudmask, method)(20).drop_attrs())


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"shade": 30}, "thick_cloud', 'thin_cloud', 'cloud_shadow"),
        ({"clear": 30}, "thick_cloud', 'thin_cloud', 'cloud_shadow"),
        ({"thick_cloud": 20, "cloud": 30}, "again"),
        ({"thick_cloud": -1}, "from 0"),
        ({3: 10}, "thick_cloud"),
    ],
    ids=range(5),
)
@pytest.mark.parametrize("method", ["dilate", "erode", "opening", "closing", "drop_specks", "fill_holes"])
def test_what_is_refused(limit, message, method):
    with pytest.raises(CloudMaskError, match=message):
        getattr(mask_of(np.zeros((4, 4))).cloudmask, method)(limit)


def test_a_radius_of_too_many_pixels_is_refused():
    with pytest.raises(CloudMaskError, match="at most 2000 pixels"):
        mask_of(np.zeros((4, 4))).cloudmask.opening(1e6)
