"""Many narrow bands as few wide ones: which are merged, what their mean is, and that more bands make no worse mask."""

from __future__ import annotations

import warnings
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask import models, simulate
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.errors import ModelError
from xr_cloudmask.models import registry
from xr_cloudmask.models.merging import Group, merge, summary
from xr_cloudmask.models.universal import FORMER, GROUPS, KNOWN, MOST_BANDS, SPEC
from xr_cloudmask.names import MASK_NAME
from xr_cloudmask.prediction import predict

SIX = {"blue": 482.0, "green": 561.0, "red": 655.0, "nir": 865.0, "swir16": 1609.0, "swir22": 2201.0}
FULL_RANGE = np.arange(400.0, 2451.0, 7.2)  # 285 bands
DEEP_VAPOUR = ((1330.0, 1500.0), (1780.0, 2030.0))


def narrow(*centres, width=10.0):
    return [BandDescriptor(f"{nm:g}", None, nm - width / 2, nm + width / 2) for nm in centres]


def spectra(wavelengths, size=(96, 96)):
    """Return a cube ``(wavelength, y, x)`` of a simulated scene: six bands, interpolated; and those six."""
    scene = simulate.scene(sensor="landsat-8-9", size=size, cover=0.4, seed=3)
    six = scene.cloudmask.reflectance()[["B2", "B3", "B4", "B5", "B6", "B7"]].to_array("band")
    six = six.drop_vars([name for name in six.coords if name not in ("y", "x")]).drop_attrs().fillna(0.1)
    along = six.assign_coords(band=list(SIX.values())).interp(band=np.clip(wavelengths, 482, 2201))
    cube = along.rename(band="wavelength").assign_coords(wavelength=("wavelength", wavelengths, {"units": "nm"}))
    cube = cube.assign_coords(fwhm=("wavelength", np.full(len(wavelengths), 10.0))).astype("float32")
    return cube, six.assign_coords(band=list(SIX)).astype("float32")


def labels(cube, **options):
    return predict(cube, "universal", resolution="native", scale=1.0, **options)[MASK_NAME]


# Which bands are merged ---------------------------------------------------------------------------------------------


def test_few_bands_stay_as_they_are():
    bands = narrow(490, 560, 665, 705, 740, 783, 842, 865, 945, 1375, 1610, 2190)
    assert SPEC.inputs(bands) == tuple(bands)
    assert [one.positions for one in SPEC.merged(bands)] == [(i,) for i in range(len(bands))]


def test_many_bands_become_the_six_the_network_has_seen_most():
    bands = narrow(*FULL_RANGE)
    used, merged = SPEC.inputs(bands), SPEC.merged(bands)
    assert [one.descriptor.role for one in merged] == list(SIX)
    assert len(merged) <= MOST_BANDS < len(used) < len(bands)
    for one, group in zip(merged, GROUPS, strict=True):
        members = [used[i] for i in one.positions]
        assert all(group.core[0] <= float(band.name) < group.core[1] for band in members)
        assert one.descriptor.min_wavelength == min(band.min_wavelength for band in members)
        assert one.descriptor.max_wavelength == max(band.max_wavelength for band in members)


@pytest.mark.parametrize("centre", [350, 1100, 1340, 1450, 1900, 2000, 2450])
@pytest.mark.parametrize("count", [3, 40])
def test_bands_in_which_the_air_is_dark_are_left_out(centre, count):
    bands = [*narrow(*np.linspace(450, 900, count)), *narrow(centre)]
    assert str(centre) not in {band.name for band in SPEC.inputs(bands)}


def test_what_a_network_knows_has_no_deep_vapour_band():
    assert not any(low < end and begin < high for low, high in KNOWN if low != 1360 for begin, end in DEEP_VAPOUR)


def test_where_a_group_has_no_band_the_nearest_around_it_serve():
    bands = narrow(*np.linspace(400, 440, 10), *np.linspace(700, 715, 10))
    merged = SPEC.merged(bands)
    assert [one.descriptor.role for one in merged] == ["blue", "red"]
    assert [len(one.positions) for one in merged] == [10, 10]


def test_a_wide_band_is_in_no_group():
    bands = [*narrow(*np.arange(450, 700, 10)), BandDescriptor("pan", "pan", 450.0, 900.0)]
    assert "pan" not in {band.name for band in SPEC.inputs(bands)}


def test_bands_of_other_kinds_are_no_part_of_it():
    bands = [*narrow(*np.arange(450, 900, 10)), BandDescriptor("T", "lwir", 10000.0, 11000.0, "brightness_temperature")]
    assert all(band.kind == "reflectance" for band in FORMER.inputs(bands))
    (thermal,) = (one for one in SPEC.merged(bands) if one.descriptor.kind == "brightness_temperature")
    assert [SPEC.inputs(bands)[i].name for i in thermal.positions] == ["T"]


def test_what_lies_where_nothing_is_known_is_not_enough():
    bands = narrow(1900, 1950, 1100)
    with pytest.raises(ModelError, match="400-1000") as raised:
        registry.choose("universal", bands, None)
    assert "visible" in raised.value.found


def test_models_of_other_kinds_of_bands_merge_nothing():
    for spec in registry.variants("sensei"):
        radar = [BandDescriptor(name, None, kind=name) for name in ("SAR VV", "SAR VH")]
        used = spec.inputs([*radar, *narrow(490, 560)])
        assert [one.positions for one in spec.merged([*radar, *narrow(490, 560)])] == [(i,) for i in range(len(used))]
    csmask = registry.variants("csmask")[0]
    described = [BandDescriptor(role, role, nm - 20, nm + 20) for role, nm in reversed(SIX.items())]
    assert [one.descriptor for one in csmask.merged(described)] == list(csmask.inputs(described))


@given(st.permutations(range(40)))
def test_the_order_of_bands_does_not_matter_for_what_is_merged(order):
    bands = narrow(*np.linspace(450, 2300, 40))
    shuffled = [bands[i] for i in order]

    def named(given):
        used = SPEC.inputs(given)
        return [(one.descriptor, [used[i].name for i in one.positions]) for one in SPEC.merged(given)]

    assert named(shuffled) == named(bands)


@given(st.lists(st.integers(38, 250).map(lambda tens: tens * 10.0), min_size=2, max_size=60))
def test_every_position_is_one_of_a_band_and_used_once(centres):
    bands = [replace(band, name=str(i)) for i, band in enumerate(narrow(*centres))]
    used, merged = SPEC.inputs(bands), SPEC.merged(bands)
    assert sorted(i for one in merged for i in one.positions) == list(range(len(used)))
    assert len(set(used)) == len(used)
    assert len(merged) <= MOST_BANDS


def test_the_summary_never_lists_many_names():
    bands = narrow(*FULL_RANGE)
    text = summary(SPEC.inputs(bands), SPEC.merged(bands))
    assert text.startswith("114 bands in 6 groups: 445.4-520.2, ")
    assert len(text) < 120
    assert summary(bands[:2], merge(bands[:2], 2, ())) == "400 407.2"


def test_groups_are_part_of_what_a_model_says_of_itself():
    assert hash(SPEC) == hash(replace(SPEC, groups=(*SPEC.groups,)))
    assert replace(SPEC, groups=(Group("blue", (450, 520), (450, 520)),)) != SPEC
    assert models().loc[("universal", "v2"), "needs"].startswith(SPEC.needs)


# What is made of their pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [13, 30, 60, 179, 285])
def test_more_bands_make_no_worse_mask(number):
    wavelengths = FULL_RANGE[np.unique(np.linspace(0, len(FULL_RANGE) - 1, number).round().astype(int))]
    cube, six = spectra(wavelengths)
    expected = labels(six)
    assert 0.2 < (expected == 0).mean() < 0.8
    found = labels(cube)
    assert float((found == expected).mean()) > (0.9 if number < 20 else 0.94)
    assert len(found.attrs["bands"]) < 200


@pytest.mark.parametrize("times", [2, 10])
def test_repeated_bands_change_nothing(times):
    _, six = spectra(FULL_RANGE[:2])
    repeated = xr.concat([six] * times, "band")
    names = [f"{name}-{i}" for i in range(times) for name in SIX]
    limits = {name: (nm - 20, nm + 20) for name, nm in SIX.items()}
    described = [BandDescriptor(name, None, *limits[name.split("-")[0]]) for name in names]
    alone = [BandDescriptor(name, name, *limits[name]) for name in SIX]
    found = labels(repeated.assign_coords(band=names), descriptors=described)
    expected = labels(six, descriptors=alone)
    assert float((found == expected).mean()) > 0.999


def test_bad_bands_drop_out_and_a_pixel_that_no_band_of_a_group_has_is_no_data():
    cube, _ = spectra(np.arange(400.0, 2451.0, 10.0))
    expected = labels(cube)
    bad = cube.wavelength.isin([500, 510, 860, 1700, 2450])
    found = labels(cube.where(~bad))
    assert (found != 255).all()
    assert float((found == expected).mean()) > 0.97
    hole = cube.copy()
    hole.loc[{"wavelength": slice(450, 520), "x": cube.x[:10], "y": cube.y[:10]}] = np.nan
    some = cube.copy()
    some.loc[{"wavelength": slice(450, 500), "x": cube.x[:10], "y": cube.y[:10]}] = np.nan
    assert (labels(hole) == 255).sum() == 100
    assert (labels(some) != 255).all()


def test_zeros_are_no_data_beside_a_bad_band_too():
    cube, _ = spectra(np.arange(400.0, 2451.0, 10.0), size=(32, 32))
    cube[{"y": slice(10), "x": slice(10)}] = 0
    found = labels(cube.where(cube.wavelength != 500))
    assert (found[:10, :10] == 255).all()
    assert (found == 255).sum() == 100


@pytest.mark.parametrize("factor", [1, 3])
def test_the_mean_of_bands_is_that_of_the_data(factor):
    from xr_cloudmask.cube.calibration import Calibration
    from xr_cloudmask.engine.tile import model_pixels

    rng = np.random.default_rng(5)
    numbers = rng.integers(1, 10000, (4, 7, 8)).astype("uint16")
    numbers[0, :3, :3] = 0  # declared no data of one band
    numbers[:2, 3:6, 3:6] = 0  # of both bands of a group
    rules = [Calibration((1e-4,), (0.0,), (0,))] * 4
    (merged, alone, other), valid, _ = model_pixels(list(numbers), rules, factor, 0, [(0, 1), (2,), (3,)])
    values = np.where(numbers == 0, np.nan, numbers * 1e-4)
    missing = np.isnan(values[:2]).all(axis=0)
    np.testing.assert_array_equal(valid, ~missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
        expected = np.nanmean([blocks(band, factor) for band in values[:2]], axis=0)
    np.testing.assert_allclose(merged, expected, rtol=1e-5)
    np.testing.assert_allclose(alone, blocks(values[2], factor), rtol=1e-5)
    np.testing.assert_allclose(other, blocks(values[3], factor), rtol=1e-5)


def blocks(values, factor):
    padded = np.pad(values, [(0, -size % factor) for size in values.shape], constant_values=np.nan)
    return np.nanmean(padded.reshape(len(padded) // factor, factor, -1, factor), axis=(1, 3))


@pytest.mark.parametrize("chunks", [(96, 96, 40), (31, 50, 1), (17, 96, 205)])
def test_labels_do_not_depend_on_chunks_or_the_order_of_bands(chunks):
    cube, _ = spectra(np.arange(400.0, 2451.0, 10.0))
    cube = cube.where(cube.wavelength != 500)
    options = {"window": 64, "halo": 16}
    expected = labels(cube, **options)
    order = np.random.default_rng(1).permutation(cube.sizes["wavelength"])
    y, x, wavelength = chunks
    lazy = cube.isel(wavelength=order).chunk(y=y, x=x, wavelength=wavelength)
    found = labels(lazy, **options)
    assert isinstance(found.data, da.Array)
    np.testing.assert_array_equal(found, expected)


def test_bands_that_are_not_used_are_not_read():
    cube, _ = spectra(np.arange(400.0, 2451.0, 10.0), size=(32, 32))

    def read(block, nm):
        assert any(group.core[0] <= nm < group.core[1] for group in GROUPS), f"{nm} nm was read"
        return block

    bands = [
        da.from_array(cube.sel(wavelength=nm).values).map_blocks(read, nm=nm, dtype="float32", meta=np.empty((0, 0)))
        for nm in cube.wavelength.values
    ]
    assert (labels(cube.copy(data=da.stack(bands))).compute() != 255).all()
