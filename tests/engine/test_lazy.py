"""The engine is exact for every chunking, lazy until the end, and honest about missing data."""

import pickle
from dataclasses import replace

import dask
import numpy as np
import pytest
import toys
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TESTS
from scipy import ndimage
from toy_cubes import RNG, ROLES, SCENE, chunked, cube, refuse

from xr_cloudmask.engine.lattice import fit
from xr_cloudmask.engine.tile import block_mean, interpolate
from xr_cloudmask.models import registry
from xr_cloudmask.prediction import predict


def toy(data, **keywords):
    return predict(data, "toy", probabilities=True, **keywords)


EXPECTED = {resolution: toy(cube(), resolution=resolution) for resolution in ("native", "auto")}


@settings(max_examples=40)
@given(st.data(), st.sampled_from(["native", "auto"]), st.booleans(), st.sampled_from([None, 1, 5]))
def test_labels_are_the_same_for_every_chunking(data, resolution, as_dataset, batch_size):
    ragged = chunked(data.draw, cube())
    options = {} if batch_size is None else {"batch_size": batch_size}
    out = toy(ragged.to_dataset("band") if as_dataset else ragged, resolution=resolution, **options)
    mask = out["cloud_mask"]
    assert mask.chunks == tuple(ragged.chunksizes[dim] for dim in ("time", "y", "x"))
    with dask.config.set(scheduler="synchronous"):
        out = out.compute()
    expected = EXPECTED[resolution]
    np.testing.assert_array_equal(out["cloud_mask"], expected["cloud_mask"])
    np.testing.assert_allclose(out["probability"], expected["probability"], atol=1e-5, rtol=0)
    for name in ("cloud_fraction", "valid_fraction"):
        np.testing.assert_allclose(out[name], expected[name])


@settings(max_examples=10)
@given(st.data())
def test_bands_may_have_chunks_of_their_own(data):
    bands = {role: chunked(data.draw, cube().sel(band=role, drop=True)) for role in ROLES}
    out = toy(xr.Dataset(bands).assign_attrs(cube().attrs), resolution="auto").compute(scheduler="synchronous")
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["auto"]["cloud_mask"])


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_labels_are_the_same_for_every_scheduler(scheduler, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    out = toy(cube().chunk(time=1, y=64, x=64), resolution="native")
    out = out.compute(scheduler=scheduler, num_workers=2)
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["native"]["cloud_mask"])


def test_labels_are_the_same_on_a_cluster_which_loads_one_model_per_worker():
    from distributed import Client

    toys.LOADS.clear()
    registry._LOADED.clear()
    with Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"):
        out = toy(cube().chunk(time=1, y=50, x=64), resolution="native").compute()
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["native"]["cloud_mask"])
    assert toys.LOADS == ["toy"]


def test_every_order_of_dimensions_gives_the_same_mask():
    out = toy(cube().transpose("x", "band", "y", "time").chunk(x=100), resolution="native")
    assert out["cloud_mask"].dims == ("time", "y", "x")
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["native"]["cloud_mask"])


def test_without_time_the_mask_is_that_of_the_date():
    out = toy(cube().isel(time=0).chunk(y=70), resolution="native")
    assert out["cloud_mask"].dims == ("y", "x")
    assert out["probability"].dims == ("class", "y", "x")
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["native"]["cloud_mask"].isel(time=0))
    assert out["cloud_fraction"].shape == ()


def test_building_a_prediction_computes_and_loads_nothing(monkeypatch):
    monkeypatch.setattr(registry, "load", refuse)
    reads = []

    def source(block):
        reads.append(block.shape)
        return block

    lazy = cube().chunk(time=1, y=64)
    lazy = lazy.copy(data=lazy.data.map_blocks(source, meta=np.empty((0,) * 4, "float32")))
    with dask.config.set(scheduler=refuse):
        out = toy(lazy).isel(time=0).cloudmask.clear()
        binary = predict(lazy, "toy").cloudmask.to_scheme("binary")
        carried = lazy.cloudmask.with_mask("toy")
        composed = lazy.cloudmask.composite(mask=predict(lazy, "toy"))
    assert not reads
    assert all(part.chunks is not None for part in (out, binary, carried, composed))


def test_equal_work_has_equal_names_and_other_work_has_others():
    lazy = cube().chunk(y=64)
    first, again = (predict(lazy, "toy")["cloud_mask"].data.name for _ in range(2))
    assert first == again
    others = [
        predict(lazy, "toy", **options)["cloud_mask"].data.name
        for options in ({"halo": 4}, {"resolution": "native"}, {"scheme": "binary"}, {"nodata": 0.5}, {"batch_size": 2})
    ]
    assert len({first, *others}) == 6
    assert predict((lazy + 1).assign_attrs(lazy.attrs), "toy")["cloud_mask"].data.name != first


def test_the_graph_carries_no_weights_and_few_tasks():
    lazy = cube().chunk(time=1, y=64, x=64).to_dataset("band")
    out = predict(lazy, "csmask", resolution="native")["cloud_mask"]
    source = {key for band in ROLES for key in lazy[band].data.__dask_graph__()}
    (fused,) = dask.optimize(out.data)
    graph = {key: task for key, task in fused.__dask_graph__().items() if key not in source}
    assert len(pickle.dumps(graph)) < 100_000
    assert len(graph) <= 2 * out.data.npartitions + 1


def test_meta_is_what_computing_gives():
    out = toy(cube().chunk(y=64))
    for name in ("cloud_mask", "probability"):
        computed = out[name].data.compute()
        assert (computed.dtype, computed.shape) == (out[name].dtype, out[name].shape)
        assert out[name].data._meta.dtype == computed.dtype


def test_every_window_is_predicted_once(tmp_path):
    spec = replace(toys.COUNTING, citation=str(tmp_path / "log"), name="counting-here")
    registry._SPECS[spec.name] = (spec,)
    whole = SCENE[:1]
    out = predict(cube(whole).chunk(y=50, x=30), spec.name, resolution="native", probabilities=True)
    out.compute()
    windows = len((tmp_path / "log").read_text().splitlines())
    del registry._SPECS[spec.name]
    assert windows == len(fit(150, 64, 8, 8)) * len(fit(203, 64, 8, 8))


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (5, 7), (64, 64), (65, 64)])
@pytest.mark.parametrize("resolution", ["native", "auto"])
def test_arrays_of_any_size(shape, resolution):
    small = cube(SCENE[:, :, : shape[0], : shape[1]])
    out = toy(small, resolution=resolution)
    lazy = toy(small.chunk(y=3, x=3), resolution=resolution)
    assert out["cloud_mask"].shape == (3, *shape)
    assert np.isfinite(out["probability"].isel(time=0)).all()
    np.testing.assert_array_equal(out["cloud_mask"], lazy["cloud_mask"])


def test_missing_data_is_never_clear():
    values = SCENE.copy()
    values[0, 2, 10, 10] = np.nan  # one band is enough
    values[0, :, 30, 30] = 0  # fill at the edge of a swath
    values[0, :3, 40, 40] = 0  # dark in three bands is data
    values[2] = np.nan  # a date without data
    values[1, :, 50, :] = -0.5
    for data in (cube(values), cube(values).chunk(y=40)):
        out = toy(data, resolution="native", nodata=-0.5).compute()
        codes = out["cloud_mask"].values
        assert codes[0, 10, 10] == codes[0, 30, 30] == 255
        assert codes[0, 40, 40] != 255
        assert (codes[1, 20:90, :60] == 255).all()
        assert (codes[1, 50] == 255).all()
        assert (codes[2] == 255).all()
        assert out["valid_fraction"][2] == 0
        assert np.isnan(out["cloud_fraction"][2])
        assert np.isnan(out["probability"].values[0, :, 10, 10]).all()
        chances = out["probability"].transpose("time", "y", "x", "class").values
        np.testing.assert_allclose(chances[codes != 255].sum(axis=-1), 1, atol=1e-5)


def test_integers_with_declared_nodata():
    numbers = np.nan_to_num(SCENE * 10000, nan=7).astype("uint16")
    data = (
        cube(numbers).drop_attrs(deep=False).assign_attrs(scale_factor=1e-4, add_offset=0.0, _FillValue=7, level="TOA")
    )
    out = toy(data, resolution="native")
    agree = out["cloud_mask"] == EXPECTED["native"]["cloud_mask"]
    assert float(agree.mean()) > 0.999  # rounding to digital numbers moves a few pixels on the edge
    assert (out["cloud_mask"].values[1, 20:90, :60] == 255).all()


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.data())
def test_block_mean_is_xarrays_coarsen(factor, y, x, data):
    values = data.draw(
        st.lists(st.floats(0, 1, width=32) | st.just(np.nan), min_size=y * x, max_size=y * x).map(
            lambda v: np.float32(v).reshape(y, x)
        )
    )
    padded = np.pad(values, ((0, -y % factor), (0, -x % factor)), constant_values=np.nan)
    expected = xr.DataArray(padded, dims=("y", "x")).coarsen(y=factor, x=factor).mean()
    valid, dropped = np.ones((y, x), bool), np.zeros((y, x), bool)
    beyond = np.where(np.isnan(values) & (np.arange(x) % 2 == 0), np.float32(np.inf), values)
    found = block_mean(beyond, np.zeros((y, x), bool), factor, valid, dropped)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(valid, np.isfinite(values))
    np.testing.assert_array_equal(dropped, np.isnan(values) & (np.arange(x) % 2 == 0))
    everything = np.ones((y, x), bool)
    assert np.isnan(block_mean(values.copy(), everything, factor, valid, dropped)).all()
    assert not valid.any()


def test_interpolation_is_scipys():
    values = RNG.random((2, 6, 7)).astype("float32")
    core = (slice(1, 5), slice(2, 6))
    rows = (np.arange(3, 15) + 0.5) / 3 - 0.5
    columns = (np.arange(6, 18) + 0.5) / 3 - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    expected = np.stack([ndimage.map_coordinates(band, grid, order=1, mode="nearest") for band in values])
    np.testing.assert_allclose(interpolate(values, core, 3), expected, atol=1e-6)
