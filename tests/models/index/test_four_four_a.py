"""4-4A is the notebook's, pixel by pixel, for every chunking, dtype and scale."""

from dataclasses import replace
from itertools import pairwise

import dask
import notebook_44a as notebook
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_44a import SERIES, cube, stretched, with_gaps
from paths import LABELLED
from toy_cubes import chunked, refuse

from xr_cloudmask.errors import CloudMaskError, ModelError
from xr_cloudmask.models.index import statistics
from xr_cloudmask.models.index.four_four_a import FourFourAThresholds
from xr_cloudmask.models.index.statistics import Order, Wanted
from xr_cloudmask.prediction import predict

COEFFICIENTS = np.array(list(notebook.COEFFICIENTS.values()))
ROLES = ["blue", "green", "red", "nir"]


def predicted(bands, **keywords):
    return predict(cube(bands), "4-4A", **keywords)


def percentages(out):
    return [float(out[name]) for name in notebook.PERCENTAGES]


SCENES = {
    "uint16 digital numbers": (notebook.scene(1), notebook.UNITS),
    "nodata border": (notebook.scene(2, border=80), notebook.COEFFICIENTS),
    "radiance": (notebook.scene(3, border=40) * COEFFICIENTS[:, None, None], notebook.UNITS),
    "float32 reflectance": ((notebook.scene(4) / 1500).astype("float32"), notebook.UNITS),
}

# What the notebook's cells gave for these scenes: percentages of cloud, cloud shadow and water.
GOLDEN = {
    "uint16 digital numbers": [10.8145, 7.0080, 0.0125],
    "nodata border": [16.7666, 15.2910, 0.4413],
    "radiance": [17.8031, 10.3944, 1.9696],
    "float32 reflectance": [11.9140, 14.3500, 2.2693],
}
GOLDEN_PATCH = [13.9724, 9.4477, 0.0858]


@pytest.mark.parametrize("name", SCENES)
def test_equals_the_notebooks_own_cells(name):
    bands, coefficients = SCENES[name]
    mask, found = notebook.run(bands, coefficients)
    out = predicted(bands, scheme="4-4A")
    assert (out["cloud_mask"].values == mask).mean() >= 0.9999
    assert percentages(out) == pytest.approx([found[key] for key in notebook.PERCENTAGES], abs=0.01)
    assert bool(out["band_mismatch"]) == found["band_mismatch"]


@pytest.mark.parametrize("name", SCENES)
def test_golden_percentages(name):
    assert percentages(predicted(SCENES[name][0])) == pytest.approx(GOLDEN[name], abs=0.01)


def patch():
    if not LABELLED.exists():
        pytest.skip(f"the labelled Sentinel-2 patch is not at {LABELLED}")
    with np.load(LABELLED) as data:
        return data["img"][..., :4].transpose(2, 0, 1)


def test_the_real_patch():
    mask, found = notebook.run(patch())
    out = predicted(patch(), scheme="4-4A")
    assert (out["cloud_mask"].values == mask).mean() >= 0.9999
    assert percentages(out) == pytest.approx([found[key] for key in notebook.PERCENTAGES], abs=0.01)
    assert percentages(out) == pytest.approx(GOLDEN_PATCH, abs=0.01)


def test_nan_and_zero_pixels():
    bands = with_gaps()
    mask, _ = notebook.run(bands, normalize=stretched)
    equal = predicted(bands, scheme="4-4A")["cloud_mask"].values == mask
    assert equal[~np.isnan(bands[2]) | np.isnan(bands[0])].mean() >= 0.9999  # it calls some of half a pixel shadow
    codes = predicted(bands)["cloud_mask"].values
    assert (codes[100:140, 50:90] == 255).all()
    assert (codes[200:210, 200:240] == 255).all()
    assert (codes[250:260, 300:310] == 255).all()


EXPECTED = predicted(SERIES)


@settings(max_examples=25)
@given(st.data(), st.booleans())
def test_labels_and_statistics_are_the_same_bits_for_every_chunking(data, as_dataset):
    ragged = chunked(data.draw, cube(SERIES))
    out = predict(ragged.to_dataset("band") if as_dataset else ragged, "4-4A")
    assert out["cloud_mask"].chunks == tuple(ragged.chunksizes[dim] for dim in ("time", "y", "x"))
    with dask.config.set(scheduler="synchronous"):
        out = out.compute()
    for name in ("cloud_mask", "water", "scene_statistics", *notebook.PERCENTAGES):
        np.testing.assert_array_equal(out[name], EXPECTED[name])


@settings(max_examples=5)
@given(st.data())
def test_integers_too(data):
    numbers = notebook.scene(7, (120, 90), border=20)
    out = predict(chunked(data.draw, cube(numbers)), "4-4A").compute(scheduler="synchronous")
    xr.testing.assert_equal(out, predicted(numbers))


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_labels_are_the_same_for_every_scheduler(scheduler):
    out = predict(cube(SERIES).chunk(time=1, y=64, x=64), "4-4A").compute(scheduler=scheduler, num_workers=2)
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["cloud_mask"])


def test_labels_are_the_same_on_a_cluster_also_of_what_it_holds():
    from distributed import Client

    with Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"):
        lazy = cube(SERIES).chunk(time=1, y=50, x=64)
        for data in (lazy, (lazy + 0).persist()):
            np.testing.assert_array_equal(predict(data, "4-4A")["cloud_mask"], EXPECTED["cloud_mask"])


def test_statistics_are_numpys():
    bands = SERIES[1]
    table = predicted(bands)["scene_statistics"]
    blue, green, red, nir = (stretched(band) for band in bands)
    inside = (blue != 0) & (green != 0) & (red != 0) & (nir != 0)
    with np.errstate(invalid="ignore"):
        ndvi = (nir - red) / (nir + red) * inside
    ndvi = ndvi[(ndvi != 0) & ~np.isnan(ndvi)]
    expected = {"min": ndvi.min(), "max": ndvi.max(), "mean": ndvi.mean(), "std": ndvi.std(), "median": np.median(ndvi)}
    expected |= {"q25": np.percentile(ndvi, 25), "q75": np.percentile(ndvi, 75)}
    for name, value in expected.items():
        assert float(table.sel(statistic=f"ndvi_{name}")) == pytest.approx(value, rel=1e-10), name
    assert int(table.sel(statistic="footprint_pixels")) == inside.sum()


def test_a_sample_that_misleads_costs_a_pass_and_changes_nothing(monkeypatch):
    honest = predicted(SERIES[1])
    monkeypatch.setattr(statistics, "SAMPLE", 4)
    xr.testing.assert_equal(predicted(SERIES[1]), honest)


def test_dates_with_a_handful_of_pixels_are_counted_too():
    some = np.random.default_rng(0).random((4, 100))
    bands = np.full((99, 4, 40, 40), np.nan)
    for date, count in enumerate(range(2, 101)):
        bands[date].reshape(4, -1)[:, 7 : 7 + 11 * count : 11] = some[:, :count]
    out = predicted(bands)
    for date in (5, 40, 98):
        values = stretched(bands[date, 1])
        values = values[(values != 0) & ~np.isnan(values)]
        q25 = float(out["scene_statistics"].sel(statistic="green_q25")[date])
        assert q25 == pytest.approx(np.quantile(values, 0.25), rel=1e-12)


def test_both_sides_of_a_quantile_can_be_missed():
    """The sample of a sparse date can lie between the two neighbours in rank of a quantile."""
    values = np.arange(1.0, 11)
    for wanted in (Wanted("green", (0.25, 0.5, 0.75), largest=10.0), Wanted("green", (0.5,), moments=False)):
        order = Order(tuple((5.3, 5.6) for _ in wanted.quantiles), wanted.summed_first)
        first = statistics.Tally(order)
        first.add(values)
        again = statistics.reorder(first.result(), order, wanted)
        second = statistics.Tally(again)
        second.add(values)
        assert statistics.reorder(second.result(), again, wanted) is None
        found = statistics.summarise(second.result(), wanted).quantiles
        assert found == pytest.approx(np.quantile(values, wanted.quantiles))


def test_the_sample_sees_every_column_of_a_periodic_scene():
    rows, columns = np.indices((2048, 2048))
    step = 8  # of the sample, in a scene of this size
    stripes = (columns % step).astype("float64")
    whole = statistics.extent([stripes], (0, 0), stripes.shape).sample[0]
    shares = np.bincount(whole.astype(int), minlength=step) / whole.size
    assert shares == pytest.approx(np.full(step, 1 / step), abs=0.01)
    position = (rows * 2048 + columns).astype("float64")
    parts = [
        statistics.extent([position[y : y + 700, x : x + 300]], (y, x), position.shape).sample[0]
        for y in range(0, 2048, 700)
        for x in range(0, 2048, 300)
    ]
    expected = statistics.extent([position], (0, 0), position.shape).sample[0]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(expected))


@pytest.mark.parametrize("factor", [0.25, 4])
def test_any_scale_gives_the_same_mask(factor):
    bands = notebook.scene(8)
    xr.testing.assert_equal(predicted(bands * factor)["cloud_mask"], predicted(bands)["cloud_mask"])


@pytest.mark.parametrize("dtype", ["int16", "uint32", ">u2", "float32", ">f8", "float16"])
def test_any_kind_of_number(dtype):
    numbers = notebook.scene(8, (60, 80))
    out = predicted(numbers.astype(dtype))["cloud_mask"]
    assert (out == predicted(numbers)["cloud_mask"]).mean() > (0.9 if dtype == "float16" else 0.9999)


def test_neither_level_nor_calibration_is_asked_for():
    out = predict(cube(notebook.scene(1)), "4-4A")
    assert "level" not in out["cloud_mask"].attrs
    assert out["cloud_mask"].attrs["scheme"] == "cloudsen12"


def test_building_computes_nothing_and_equal_work_has_equal_names():
    lazy = cube(SERIES).chunk(time=1, y=64)
    with dask.config.set(scheduler=refuse):
        names = [predict(lazy, "4-4A")["cloud_mask"].data.name for _ in range(2)]
        other = predict(lazy, "4-4A", thresholds=FourFourAThresholds(dark_nir=2.0))["cloud_mask"].data.name
    assert names[0] == names[1] != other


def test_scenes_run_one_after_the_other():
    """Every reading of a date ends before the second next one begins: what workers hold is all there is in memory."""
    reads = []

    def source(block, block_info=None):
        reads.append(block_info[0]["array-location"][0][0])
        return block

    lazy = cube(np.repeat(SERIES[1:, :, :60, :60], 24, axis=0)).chunk(time=1, band=4, y=30)
    lazy = lazy.copy(data=lazy.data.map_blocks(source, dtype=lazy.dtype))
    predict(lazy, "4-4A")["cloud_mask"].compute(scheduler="synchronous")
    passes = 4
    assert len(reads) % (24 * 2 * passes) == 0
    first, last = ([f(i for i, date in enumerate(reads) if date == d) for d in range(24)] for f in (min, max))
    ended = sorted(zip(first, last, strict=True))
    assert all(before[1] < after[0] for before, after in pairwise(ended))


def test_a_date_without_data_is_no_data_and_the_others_are_what_they_were():
    bands = SERIES.copy()
    bands[0] = 0
    for data in (cube(bands), cube(bands).chunk(y=40)):
        out = predict(data, "4-4A").compute()
        assert (out["cloud_mask"][0] == 255).all()
        assert out["valid_fraction"][0] == 0
        assert np.isnan(out["cloud_fraction"][0])
        assert np.isnan(out["scene_statistics"].sel(statistic="ndvi_std")[0])
        np.testing.assert_array_equal(out["cloud_mask"][1], EXPECTED["cloud_mask"][1])


def test_declared_no_data_is_no_data():
    numbers = notebook.scene(9).astype("int32")
    expected = predicted(np.where(numbers[0] > 500, np.nan, numbers))
    marked = cube(np.where(numbers[0] > 500, -9999, numbers), _FillValue=-9999)
    xr.testing.assert_equal(predict(marked, "4-4A")["cloud_mask"], expected["cloud_mask"])


def test_scheme_4_4a_tells_no_data_from_nothing():
    out = predicted(notebook.scene(2, border=80), scheme="4-4A")
    assert out["cloud_mask"].attrs["flag_meanings"] == "clear_or_no_data cloud_shadow cloud"
    with pytest.raises(CloudMaskError, match="none of whose classes is clear"):
        out["cloud_mask"].cloudmask.clear()
    with pytest.raises(CloudMaskError, match="both clear and no data"):
        out["cloud_mask"].cloudmask.coverage()


def test_schemes_translate_into_it():
    full = predicted(notebook.scene(2, border=80))["cloud_mask"]
    xr.testing.assert_equal(
        full.cloudmask.to_scheme("4-4A"), predicted(notebook.scene(2, border=80), scheme="4-4A")["cloud_mask"]
    )


def test_water_travels_with_the_cube():
    carried = cube(SERIES).to_dataset("band").cloudmask.with_mask("4-4A")
    assert carried["water"].attrs["flag_meanings"] == "no_water water no_data"
    assert carried["water_fraction"].dims == ("time",)
    xr.testing.assert_equal(carried.cloudmask.predict("4-4A")["cloud_mask"], EXPECTED["cloud_mask"])


KEYWORDS = [{"probabilities": True}, {"window": 64}, {"resolution": 30}, {"halo": 0}, {"decision": "nonsense"}]
KEYWORDS += [{"scale": 0.5}, {"offset": 0}, {"device": "cpu"}, {"decision": "argmax"}]


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_what_it_cannot_do_is_refused(keywords):
    with pytest.raises(CloudMaskError, match=next(iter(keywords))):
        predicted(notebook.scene(1), **keywords)


def test_the_water_layer_is_no_cloud_mask():
    out = predicted(SERIES)
    assert out["water"].attrs["long_name"] == "water"
    with pytest.raises(CloudMaskError, match="says nothing of clouds"):
        out["water"].cloudmask.coverage()


def test_a_crop_does_not_keep_what_holds_for_the_whole_scene():
    crop = predicted(SERIES)["cloud_mask"].isel(y=slice(20))
    assert "water_fraction" in crop.coords
    assert not {"water_fraction", *notebook.PERCENTAGES} & set(crop.cloudmask.coverage().coords)


def test_three_bands_are_too_few():
    with pytest.raises(ModelError, match="lack nir"):
        predict(cube(notebook.scene(1)).isel(band=slice(3)), "4-4A")


def test_thresholds_of_another_model_are_refused():
    with pytest.raises(ModelError, match="four_four_a import FourFourAThresholds"):
        predicted(notebook.scene(1), thresholds=3)
    with pytest.raises(ModelError, match="cloud_ndvi"):
        FourFourAThresholds(cloud_ndvi=1.0)
    changed = predicted(notebook.scene(1), thresholds=replace(FourFourAThresholds(), dark_nir=3.0))
    assert changed["cloud_shadow_fraction"] > predicted(notebook.scene(1))["cloud_shadow_fraction"]
