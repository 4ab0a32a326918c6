"""Composites agree with plain NumPy for every method, dtype, form of cube and chunking."""

import math
from collections import Counter

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, optimize

from xr_cloudmask import BestPixel, CloudMaskError
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
from xr_cloudmask.series import kernels
from xr_cloudmask.series.best import nearness
from xr_cloudmask.series.composite import METHODS

CLEAR, NO_DATA = 0, 255
ROLES = ("blue", "green", "red", "nir")
SHAPE = (4, 5)
GSD = 30.0
# The options that each method needs, as its reference below takes them.
OPTIONS = {"percentile": {"percentile": 30.0}, "best": {"target": "2024-02-01", "scoring": BestPixel(reach=70.0)}}


def cube_of(seed, dates, dtype="float32", nodata=None, months=1):
    """Return distinct values, so that no two dates are equally good, on dates that are out of order."""
    rng = np.random.default_rng(seed)
    values = rng.permuted(np.arange(1, 1 + dates * 4 * math.prod(SHAPE)).reshape(4, -1), axis=None).reshape(
        4, dates, *SHAPE
    )
    values = values.astype(dtype)
    attrs = {"units": "1"} | ({} if nodata is None else {"_FillValue": nodata})
    if nodata is not None:
        values[rng.random(values.shape) < 0.1] = nodata
    times = pd.date_range("2024-01-03", periods=dates, freq=f"{7 * months}D").to_numpy()
    coords = {
        "time": rng.permutation(times),
        "y": ("y", -np.arange(4.0) * GSD, {"units": "m"}),
        "x": ("x", np.arange(5.0) * GSD, {"units": "m"}),
    }
    bands = {role: (("time", "y", "x"), band, attrs) for role, band in zip(ROLES, values, strict=True)}
    return xr.Dataset(bands, coords, {"title": "kept"})


def mask_of(cube, seed):
    codes = np.random.default_rng(seed).choice([0, 0, 0, 1, 3, 255], (cube.sizes["time"], *SHAPE)).astype("uint8")
    coords = {dim: cube[dim] for dim in ("time", "y", "x")}
    mask = xr.DataArray(codes, coords, ("time", "y", "x"), "cloud_mask", flag_attrs(SCHEMES["cloudsen12"]))
    mask[:, 0, 0] = 1  # never clear
    mask[:, 0, 1] = 255  # never seen
    return mask


KINDS = (("float32", None), ("float64", None), ("uint16", 0), ("int16", -1), ("uint16", None), (">i2", 0))


# What each method is, pixel by pixel.


def summed_distances(point, others):
    return np.sqrt(((others - point) ** 2).sum(axis=-1)).sum()


def reference(cube, mask, method, percentile=None, target=None, scoring=None, nodata=None):
    """Return bands and the index of the chosen date, NaN and -1 where there is none."""
    values = cube.to_dataarray().values.astype("float64")
    if nodata is not None:
        values[values == nodata] = np.nan
    clear = mask.values == CLEAR
    out, chosen = np.full((4, *SHAPE), np.nan), np.full(SHAPE, -1)
    scores = None if method != "best" else scored(cube, mask, target, scoring)
    for y, x in np.ndindex(*SHAPE):
        dates = values[:, :, y, x].T
        whole = np.flatnonzero(clear[:, y, x] & np.isfinite(dates).all(axis=1))
        seen = np.flatnonzero(clear[:, y, x])
        if method in ("median", "mean", "percentile"):
            for band in range(4):
                kept = dates[clear[:, y, x] & np.isfinite(dates[:, band]), band]
                share = {"median": 50, "percentile": percentile}.get(method)
                if kept.size:
                    out[band, y, x] = kept.mean() if method == "mean" else np.percentile(kept, share)
        elif method == "medoid" and whole.size:
            sums = {date: summed_distances(dates[date], dates[whole]) for date in whole}
            least = [date for date in whole if sums[date] <= min(sums.values())]
            chosen[y, x] = max(least, key=cube.time.values.__getitem__)  # the later one of equals
        elif method == "latest" and seen.size:
            chosen[y, x] = max(seen, key=cube.time.values.__getitem__)
        elif method == "best" and seen.size:
            chosen[y, x] = max(seen, key=lambda date, at=(y, x): (scores[date][at], cube.time.values[date]))
        if chosen[y, x] >= 0:
            out[:, y, x] = dates[chosen[y, x]]
    return out, chosen


def scored(cube, mask, target, scoring):
    scores = []
    for date, codes in zip(cube.time.values, mask.values, strict=True):
        free = ~np.isin(codes, [1, 2, 3])
        apart = np.full(SHAPE, np.inf) if free.all() else ndimage.distance_transform_edt(free, sampling=GSD)
        near = 1 / (1 + np.exp(-0.2 / 30 * (np.minimum(apart, scoring.reach) - scoring.reach / 2)))
        days = (date - np.datetime64(target)) / np.timedelta64(1, "D")
        scores.append((near + np.exp(-0.5 * (days / scoring.days) ** 2)).astype("float32"))
    return scores


def as_array(cube):
    return cube.to_dataarray("band").assign_attrs(cube["red"].attrs)


FORMS = {
    "dataset": lambda cube: cube,
    "array": lambda cube: as_array(cube).transpose("time", "y", "band", "x"),
    "variable": lambda cube: as_array(cube).to_dataset(name="reflectance"),
}


@pytest.mark.parametrize("method", sorted({*METHODS} - {"geomedian"}))
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    dates=st.integers(1, 9),
    kind=st.sampled_from(KINDS),
    form=st.sampled_from(sorted(FORMS)),
    chunks=st.none() | st.fixed_dictionaries({dim: st.integers(1, 5) for dim in ("time", "y", "x")}),
)
def test_every_method_is_its_definition(method, seed, dates, kind, form, chunks):
    dtype, nodata = kind
    cube = cube_of(seed, dates, dtype, nodata)
    mask, options = mask_of(cube, seed), OPTIONS.get(method, {})
    given_cube = FORMS[form](cube)
    if chunks:
        given_cube, mask = given_cube.chunk(chunks), mask.chunk(time=chunks["time"])
    out = given_cube.cloudmask.composite(method, mask=mask, **options)
    assert (out.chunks not in (None, {})) == bool(chunks)
    expected, chosen = reference(cube, mask, method, nodata=nodata, **options)
    found = {
        "dataset": lambda: out[list(ROLES)].to_dataarray("band"),
        "array": lambda: out.transpose("band", "y", "x"),
        "variable": lambda: out["reflectance"],
    }[form]()
    if nodata is None:
        assert found.dtype == ("float64" if dtype == "float64" else "float32")
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    else:
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        whole = np.where(np.isnan(expected), nodata, np.rint(expected))
        # Halves may be rounded either way by what a double is short of.
        np.testing.assert_allclose(found, whole, atol=1 if method in ("percentile", "mean") else 0)
        np.testing.assert_array_equal(found == nodata, whole == nodata)
    np.testing.assert_array_equal(out["clear_count"], (mask == CLEAR).sum("time"))
    np.testing.assert_array_equal(out["valid_count"], (mask != NO_DATA).sum("time"))
    assert out["clear_count"].dtype == out["valid_count"].dtype == np.uint16
    if (chosen >= 0).any():
        times = np.append(cube.time.values, np.datetime64("NaT", "ns"))
        np.testing.assert_array_equal(out["chosen_date"], times[chosen])
    assert "time" not in out.dims


@pytest.mark.parametrize("method", METHODS)
def test_metadata_and_laziness(method):
    cube = cube_of(3, 5, "uint16", 0).assign(dem=(("y", "x"), np.ones(SHAPE)))
    cube["red"].encoding = {"grid_mapping": "spatial_ref", "zlib": True}
    cube = cube.assign_coords(spatial_ref=0, cloud_fraction=("time", np.zeros(5)))
    mask, options = mask_of(cube, 3), OPTIONS.get(method, {})

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        out = cube.chunk(time=2, x=4).cloudmask.composite(method, mask=mask.chunk(time=1), **options)
    assert out.attrs == {"title": "kept"}
    assert out["red"].attrs == cube["red"].attrs
    assert out["red"].encoding == {"grid_mapping": "spatial_ref"}
    assert {"dem", "spatial_ref", "clear_count", "valid_count"} <= set(out.variables)
    assert not {"time", "cloud_fraction", "cloud_mask"} & set(out.variables)
    for name, variable in out.variables.items():
        assert variable.dtype == out.compute()[name].dtype
    assert out["red"].data._meta.ndim == 2


@pytest.mark.parametrize("method", ["median", "latest"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("groupby", "dim"), [("month", "month"), ("season", "season"), ("MS", "time"), ("QS-DEC", "time"), ("30D", "time")]
)
def test_groups_are_composites_of_their_dates(method, form, lazy, groupby, dim):
    cube = cube_of(5, 9, months=6)
    mask = mask_of(cube, 5)
    data = FORMS[form](cube)
    data = data.chunk(time=1) if lazy else data
    out = data.cloudmask.composite(method, mask=mask, groupby=groupby)
    if dim == "time":
        groups = {
            pd.Timestamp(k).to_datetime64(): list(v.time.values)
            for k, v in cube.time.sortby("time").resample(time=groupby)
            if v.size
        }
    else:
        groups = {k: list(v.time.values) for k, v in cube.time.groupby(f"time.{groupby}")}
    assert set(out[dim].values.tolist()) == {np.asarray(k, out[dim].dtype).tolist() for k in groups}
    if dim == "season":
        assert list(out.season.values) == [s for s in ("DJF", "MAM", "JJA", "SON") if s in groups]
    for name, times in groups.items():
        one = data.sel(time=times).cloudmask.composite(method, mask=mask)
        xr.testing.assert_equal(out.sel({dim: name}, drop=True).compute(), one.compute())
    expected = [dim if d == "time" else d for d in FORMS[form](cube).dims]
    assert list((out if form == "array" else next(iter(out.data_vars.values()))).dims) == expected or form != "array"
    if lazy:
        assert out.chunks


def test_best_takes_the_probability_that_the_mask_has():
    cube = cube_of(1, 3)
    mask = mask_of(cube, 1)
    mask[:] = CLEAR
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(4), (3, *SHAPE)).astype("float32").transpose(0, 3, 1, 2)
    classes = ["clear", "thick_cloud", "thin_cloud", "cloud_shadow"]
    predicted = (
        mask.to_dataset().assign(probability=(("time", "class", "y", "x"), chances)).assign_coords({"class": classes})
    )
    expected = cube.time.values[chances[:, 0].argmax(axis=0)]
    for data, given_mask in (
        (cube, predicted),
        (cube.assign(predicted.variables), None),
        (cube.chunk(x=2), predicted.chunk(y=3)),
    ):
        out = data.cloudmask.composite("best", mask=given_mask, scoring=BestPixel(distance=0))
        np.testing.assert_array_equal(out["chosen_date"], expected)
    # Without any score all dates are equally good.
    out = cube.cloudmask.composite("best", mask=predicted, scoring=BestPixel(probability=0, distance=0))
    assert (out["chosen_date"] == cube.time.max()).all()
    # After a filter the mask may have more dates than the cube.
    fewer = cube.isel(time=[0, 2])
    out = fewer.cloudmask.composite("best", mask=predicted, scoring=BestPixel(distance=0))
    np.testing.assert_array_equal(out["chosen_date"], fewer.time.values[chances[[0, 2], 0].argmax(axis=0)])


@pytest.mark.parametrize("chunks", [None, {"y": 3, "x": 2}])
def test_distance_is_in_metres_along_both_axes(chunks):
    """At 60° N a pixel of a grid in degrees is half as wide as it is high."""
    codes = np.zeros((1, 9, 9), "uint8")
    codes[0, 4, 4] = 1
    codes = codes if chunks is None else dask.array.from_array(codes, (1, *chunks.values()))
    score = np.asarray(nearness(codes, (1,), (11.14, 5.58), 200.0))[0]
    apart = np.hypot(11.14 * (np.arange(9)[:, None] - 4), 5.58 * (np.arange(9) - 4))
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-(0.2 / 30) * (apart - 100))), rtol=1e-6)


def test_distance_does_not_depend_on_chunks_smaller_than_its_reach():
    cube = cube_of(2, 2)
    mask = mask_of(cube, 9)
    scoring = BestPixel(reach=150.0)
    whole = cube.cloudmask.composite("best", mask=mask, scoring=scoring)
    parts = cube.chunk(y=2, x=1).cloudmask.composite("best", mask=mask.chunk(y=2, x=1), scoring=scoring)
    xr.testing.assert_equal(whole, parts.compute())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("mode", {}, "'geomedian'"),
        ("median", {"percentile": 3}, "for 'percentile' alone"),
        ("latest", {"target": "2024-01-01"}, "for 'best' alone"),
        ("percentile", {}, "a number from 0 to 100"),
        ("percentile", {"percentile": 101}, "a number from 0 to 100"),
        ("best", {"target": "soon"}, "a date"),
        ("best", {"target": ""}, "a date"),
        ("best", {"target": 20240701}, "a date"),
        ("median", {"groupby": "fortnight"}, "'month', 'season' or a frequency"),
    ],
)
def test_what_is_refused(method, options, message):
    cube = cube_of(0, 2)
    with pytest.raises(CloudMaskError, match=message):
        cube.cloudmask.composite(method, mask=mask_of(cube, 0), **options)


def test_dates_and_pixel_sizes_are_asked_for_only_where_they_matter():
    cube = cube_of(0, 2).drop_vars(["time", "y", "x"])
    mask = mask_of(cube_of(0, 2), 0).drop_vars(["time", "y", "x"])
    assert cube.cloudmask.composite("geomedian", mask=mask)["red"].shape == SHAPE
    with pytest.raises(CloudMaskError, match="without dates"):
        cube.cloudmask.composite("medoid", mask=mask)
    with pytest.raises(CloudMaskError, match="pixel size is unknown"):
        cube.assign_coords(time=cube_of(0, 2).time).cloudmask.composite("best", mask=mask)


@pytest.mark.parametrize("wrong", [
        {"probability": -1}, {"reach": 0}, {"days": 0.0}, {"date": np.inf}, {"date": np.nan}, {"reach": np.nan},
        {"distance": "2"}, {"reach": None}, {"days": True},
    ],
)  # fmt: skip
def test_scores_that_make_no_sense_are_refused(wrong):
    with pytest.raises(CloudMaskError, match="weights from 0"):
        BestPixel(**wrong)


@pytest.mark.parametrize("size", range(1, 13))
def test_the_network_sorts(size):
    """By the 0-1 principle: a network that sorts all zeros and ones sorts everything (Knuth, 5.3.4, theorem Z)."""
    values = (np.arange(2**size) >> np.arange(size)[:, None] & 1).astype("uint8")
    expected = np.sort(values, axis=0)
    kernels.sort_dates(values, kernels.comparators(size))
    np.testing.assert_array_equal(values, expected)


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 9), st.sampled_from(KINDS[:3]))
def test_no_point_is_nearer_to_all_dates_than_their_geometric_median(seed, dates, kind):
    cube = cube_of(seed, dates, *kind)
    mask = mask_of(cube, seed)
    out = cube.cloudmask.composite("geomedian", mask=mask)
    parts = cube.chunk(time=1, x=2).cloudmask.composite("geomedian", mask=mask.chunk(y=3))
    xr.testing.assert_equal(out, parts.compute())
    values, found = (data[list(ROLES)].to_dataarray().values.astype("float64") for data in (cube, out))
    rounding = 0.0 if kind[1] is None else 1.0  # a half in each of four bands
    for y, x in np.ndindex(*SHAPE):
        kept = values[:, (mask.values[:, y, x] == CLEAR) & (values[:, :, y, x] != kind[1]).all(axis=0), y, x].T
        if not len(kept):
            missing = np.isnan(found[:, y, x]) if kind[1] is None else found[:, y, x] == kind[1]
            assert missing.all()
            continue
        least = min(summed_distances(point, kept) for point in (*kept, kept.mean(axis=0), np.median(kept, axis=0)))
        least = min(least, optimize.minimize(summed_distances, kept.mean(axis=0) + 0.1, kept).fun)
        assert summed_distances(found[:, y, x], kept) <= least * (1 + 1e-4) + rounding * len(kept)


def test_the_geometric_median_may_be_a_date():
    """A date that the others cannot pull away is the median; the iteration must not stop beside it."""
    dates = np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [0.0, 0.0]]])
    out = np.empty((1, 2))
    kernels.geometric_median(dates, np.ones((1, 5), bool), 1e-9, 500, out)
    np.testing.assert_allclose(out, 0, atol=1e-9)


def tasks_of(array):
    """Return how many tasks of each kind are left to compute an array."""
    graph = dask.optimize(array)[0].__dask_graph__()
    return Counter(str(key[0]).rpartition("-")[0] for key in graph if isinstance(key, tuple))


def test_chunks_that_are_only_read_are_read_by_the_task_that_needs_them(tmp_path):
    cube = cube_of(4, 6)
    mask = mask_of(cube, 4).chunk(time=1)
    cube.chunk(time=1, y=2).drop_encoding().to_zarr(tmp_path / "cube.zarr", zarr_format=2)
    stored = xr.open_zarr(tmp_path / "cube.zarr", chunks={})
    kept = np.array([True, False, True, True, False, True])
    expected = cube.isel(time=kept).cloudmask.composite(mask=mask)
    for data in (stored.isel(time=kept), stored.isel(time=[0, 2, 3, 5]), stored.isel(time=kept).isel(time=slice(None))):
        out = data.cloudmask.composite(mask=mask)
        assert tasks_of(out["red"].data)["reduce_band"] == 2
        assert not any("open_dataset" in name for name in tasks_of(out["red"].data))
        xr.testing.assert_equal(out.compute(), expected)
    computed = (stored * 2).isel(time=kept).cloudmask.composite(mask=mask)
    assert tasks_of(computed["red"].data)["mul"] == 8  # a chunk that is computed is computed once
    xr.testing.assert_allclose(computed["red"].compute(), 2 * expected["red"])
