"""Carrying a mask, blanking out, filtering and compositing agree with their plain definitions."""

import math

import dask
import numpy as np
import pytest
import toys  # noqa: F401 - registers the toy model
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xr_cloudmask import BestPixel, CloudMaskError, predict
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
from xr_cloudmask.names import MASK_NAME

CODES = [0, 1, 2, 3, 255]
TIMES = np.datetime64("2024-01-01", "ns") + np.arange(4) * np.timedelta64(10, "D")
RNG = np.random.default_rng(5)


def cube(dtype="float32", dates=4, **attrs):
    values = (RNG.random((dates, 6, 7)) * 1000 + 1).astype(dtype)
    coords = {"time": TIMES[:dates], "y": -np.arange(6.0), "x": np.arange(7.0)}
    bands = {role: (("time", "y", "x"), values + i, attrs) for i, role in enumerate(["blue", "green", "red", "nir"])}
    return xr.Dataset(bands, coords=coords, attrs={"title": "kept"})


def mask_like(data, codes=None):
    codes = RNG.choice(CODES, (data.sizes["time"], 6, 7)) if codes is None else codes
    coords = {dim: data[dim] for dim in ("time", "y", "x")}
    attrs = flag_attrs(SCHEMES["cloudsen12"])
    return xr.DataArray(
        np.asarray(codes, "uint8"), dims=("time", "y", "x"), coords=coords, attrs=attrs, name="cloud_mask"
    )


def test_with_mask_carries_mask_and_coverage():
    data = (cube() / 1100).assign_attrs(level="TOA")
    out = predict(data, "toy")
    carried = data.cloudmask.with_mask("toy")
    xr.testing.assert_identical(
        carried["cloud_mask"].drop_vars(list(carried.coords)), out["cloud_mask"].drop_vars(list(out.coords))
    )
    np.testing.assert_array_equal(carried["cloud_fraction"], out["cloud_fraction"])
    blue = carried[["blue"]].drop_vars(set(carried.coords) - set(data.coords))
    assert blue["blue"].attrs.pop("ancillary_variables") == MASK_NAME
    xr.testing.assert_identical(blue, data[["blue"]])
    array = data.to_dataarray("band").assign_attrs(level="TOA").cloudmask.with_mask("toy")
    np.testing.assert_array_equal(array["cloud_mask"], out["cloud_mask"])
    assert array["cloud_mask"].attrs["scheme"] == "cloudsen12"


@pytest.mark.parametrize("lazy", [False, True])
def test_apply_blanks_what_is_not_clear(lazy):
    data, attrs = cube(), {"units": "1"}
    mask = mask_like(data)
    data["red"].attrs = attrs
    out = (data.chunk(x=3) if lazy else data).cloudmask.apply(mask)
    xr.testing.assert_allclose(out["red"].compute(), data["red"].where(mask == 0))
    assert out["red"].attrs == attrs
    assert out.attrs == data.attrs
    assert (out["red"].chunks is not None) == lazy


def test_apply_keeps_the_dtype_of_integers_with_declared_nodata():
    data = cube("uint16", _FillValue=0)
    mask = mask_like(data)
    out = data.cloudmask.apply(mask, keep=["clear", "thin_cloud"])
    assert out["nir"].dtype == np.uint16
    np.testing.assert_array_equal(out["nir"], np.where(np.isin(mask, [0, 2]), data["nir"], 0))
    plain = cube("uint16").cloudmask.apply(mask)["nir"]
    assert plain.dtype.kind == "f"
    assert np.isnan(plain.values[mask.values != 0]).all()


def test_apply_takes_predicts_dataset_a_mask_or_the_cubes_own():
    data = cube()
    mask = mask_like(data)
    expected = data.cloudmask.apply(mask)
    xr.testing.assert_identical(data.cloudmask.apply(mask.to_dataset()), expected)
    carried = data.assign(cloud_mask=mask)
    xr.testing.assert_identical(carried.cloudmask.apply()[["red"]], expected[["red"]])
    assert carried.cloudmask.apply()["cloud_mask"].identical(mask)
    array = data.to_dataarray("band")
    xr.testing.assert_allclose(array.cloudmask.apply(mask), expected.to_dataarray("band"))


def test_apply_without_any_mask_predicts():
    data = (cube() / 1100).assign_attrs(level="TOA")
    assert data.cloudmask.apply()["blue"].shape == data["blue"].shape


@settings(max_examples=30)
@given(st.data(), st.floats(0, 1), st.floats(0, 1) | st.none(), st.floats(0, 1) | st.none())
def test_filter_is_its_definition(data, max_cloud, max_shadow, min_valid):
    codes = np.array(data.draw(st.lists(st.sampled_from(CODES), min_size=168, max_size=168))).reshape(4, 6, 7)
    stack = cube()
    mask = mask_like(stack, codes)
    kept = []
    for i, date in enumerate(codes):
        valid = date[date != 255]
        fits = valid.size > 0 or min_valid == 0
        fits = fits and not (valid.size and np.isin(valid, [1, 2]).mean() > max_cloud)
        fits = fits and not (max_shadow is not None and valid.size and (valid == 3).mean() > max_shadow)
        fits = fits and (min_valid is None or valid.size / date.size >= min_valid)
        kept += [i] * bool(fits)
    out = stack.cloudmask.filter(max_cloud=max_cloud, max_shadow=max_shadow, min_valid=min_valid, mask=mask)
    np.testing.assert_array_equal(out.time, stack.time[kept])
    lazy = stack.chunk(time=1).cloudmask.filter(max_cloud, max_shadow, min_valid, mask.chunk(x=2))
    np.testing.assert_array_equal(lazy.time, out.time)
    assert lazy["red"].chunks is not None


def test_filter_computes_the_coverage_and_nothing_else():
    data = cube().chunk(time=1)
    seen = []

    def spy(block):
        seen.append(block.shape)
        return block

    data = data.map_blocks(lambda d: d).assign(
        {n: d.copy(data=d.data.map_blocks(spy, meta=d.data._meta)) for n, d in data.items()}
    )
    out = data.cloudmask.filter(max_cloud=0.5, mask=mask_like(cube()).chunk(time=1))
    assert not seen
    assert out.sizes["time"] <= 4


def test_filter_says_what_it_dropped_and_carries_the_coverage(capsys):
    data, codes = cube(), np.zeros((4, 6, 7))
    codes[1], codes[2], codes[3, :3] = 1, 255, 3
    mask = mask_like(data, codes)
    out = data.cloudmask.filter(max_cloud=0.5, max_shadow=0.4, mask=mask, verbose=True)
    dropped = "2024-01-11T00:00 (cloud_fraction 1.00); 2024-01-21T00:00 (no valid pixels)"
    assert out.attrs == {"title": "kept", "dropped_dates": f"{dropped}; 2024-01-31T00:00 (cloud_shadow_fraction 0.50)"}
    printed = capsys.readouterr().out
    assert printed.count("2024-01-") == 4
    assert "no valid pixels" in printed
    assert out["clear_fraction"].dims == ("time",)
    assert out["clear_fraction"].values == 1
    kept = data.cloudmask.filter(max_cloud=0.5, min_valid=0, mask=mask)
    np.testing.assert_array_equal(kept.time, data.time[[0, 2, 3]])
    array = data.to_dataarray("band").cloudmask.filter(max_cloud=0.5, mask=mask)
    assert array["cloud_fraction"].dims == ("time",)
    nowhere = data.drop_vars("time").cloudmask.filter(max_cloud=0.5, mask=mask.drop_vars("time"))
    assert nowhere.attrs["dropped_dates"] == "1 (cloud_fraction 1.00); 2 (no valid pixels)"


@pytest.mark.parametrize("carried", [True, False])
def test_filter_remembers_the_coverage(carried):
    data = (cube() / 1100).assign_attrs(level="TOA").chunk(time=1)
    out = predict(data, "toy")
    used = data.cloudmask.with_mask("toy") if carried else data
    given = {} if carried else {"mask": out}
    first = used.cloudmask.filter(max_cloud=1.0, **given)
    smallest = float(first.cloud_fraction.min())

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        second = used.cloudmask.filter(max_cloud=smallest, **given)
        third = second.cloudmask.filter(max_cloud=smallest, max_shadow=1.0, **given)
        fourth = first.cloudmask.filter(max_cloud=smallest, **given)
    assert 4 >= second.sizes["time"] == third.sizes["time"] == fourth.sizes["time"] > 0
    with dask.config.set(scheduler=refuse), pytest.raises(AssertionError, match="computed"):
        predict(data + 0.01, "toy").cloudmask.coverage().compute()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "no limit"),
        ({"max_cloud": 30}, r"found: max_cloud=30\nexpected: a fraction from 0 to 1\ntry: max_cloud=0.3$"),
        ({"max_cloud": 0.3, "max_shadow": -1}, "max_shadow=-1"),
        ({"max_cloud": math.nan}, "from 0 to 1"),
        ({"max_cloud": "15%"}, "from 0 to 1"),
    ],
)
def test_filter_refuses_bad_limits(keywords, message):
    data = cube()
    with pytest.raises(CloudMaskError, match=message):
        data.cloudmask.filter(**keywords, mask=mask_like(data))


def test_filter_refuses_what_a_scheme_cannot_tell_and_cubes_without_time():
    data = cube()
    with pytest.raises(CloudMaskError, match="cloud_shadow_fraction"):
        data.cloudmask.filter(max_shadow=0.5, mask=mask_like(data).cloudmask.to_scheme("binary"))
    with pytest.raises(CloudMaskError, match="time dimension"):
        data.isel(time=0).cloudmask.filter(max_cloud=0.5, mask=mask_like(data).isel(time=0))


@settings(max_examples=30)
@given(st.data(), st.integers(1, 4), st.sampled_from(["float32", "float64", "uint16"]), st.booleans(), st.booleans())
def test_median_is_numpys(data, dates, dtype, lazy, declared):
    stack = cube(dtype, dates, **({"_FillValue": 0} if declared and dtype == "uint16" else {}))
    codes = np.array(data.draw(st.lists(st.sampled_from([0, 0, 1, 3]), min_size=42 * dates, max_size=42 * dates)))
    mask = mask_like(stack, codes.reshape(dates, 6, 7))
    out = (stack.chunk(time=1, x=3) if lazy else stack).cloudmask.composite("median", mask=mask)
    for name, band in stack.items():
        values = np.where(mask == 0, band, np.nan)
        expected = np.full((6, 7), np.nan)
        some = (mask == 0).any("time").values
        expected[some] = np.nanmedian(values[:, some], axis=0)
        if declared and dtype == "uint16":
            expected = np.nan_to_num(np.rint(expected), nan=0)
        np.testing.assert_allclose(out[name], expected, rtol=1e-6)
        assert out[name].dtype == (dtype if declared or dtype != "uint16" else "float32")
        assert (out[name].chunks is not None) == lazy
    np.testing.assert_array_equal(out["clear_count"], (mask == 0).sum("time"))
    assert "time" not in out.dims
    assert "time" not in out.coords


def test_composite_ignores_missing_values_that_the_mask_calls_clear():
    data = cube()
    data["red"][0, 0, 0] = np.nan
    mask = mask_like(data, np.zeros((4, 6, 7)))
    out = data.cloudmask.composite(mask=mask)
    assert float(out["red"][0, 0]) == pytest.approx(float(np.nanmedian(data["red"][:, 0, 0])))


def test_composite_of_an_array_and_of_a_cube_with_its_mask():
    data = cube()
    mask = mask_like(data)
    expected = data.cloudmask.composite(mask=mask)
    array = data.to_dataarray("band").transpose("time", "y", "band", "x")
    out = array.cloudmask.composite(mask=mask)
    assert out.dims == ("y", "band", "x")
    np.testing.assert_allclose(out.sel(band="red"), expected["red"])
    np.testing.assert_array_equal(out["clear_count"], expected["clear_count"])
    carried = data.assign(cloud_mask=mask).assign_coords(cloud_fraction=("time", np.zeros(4)))
    out = carried.cloudmask.composite()
    assert "cloud_mask" not in out
    assert "cloud_fraction" not in out.coords
    xr.testing.assert_allclose(out["red"], expected["red"])


def test_the_whole_chain_is_lazy_until_the_filter():
    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    data = (cube() / 1100).assign_attrs(level="TOA").chunk(time=1)
    with dask.config.set(scheduler=refuse):
        out = predict(data, "toy")
        data.cloudmask.apply(out).cloudmask.composite(mask=out)
        with pytest.raises(AssertionError, match="computed"):
            data.cloudmask.filter(max_cloud=0.3, mask=out)


def test_composite_refuses_unknown_methods_and_cubes_without_time():
    data = cube()
    with pytest.raises(CloudMaskError, match="'median'"):
        data.cloudmask.composite("mode", mask=mask_like(data))
    with pytest.raises(CloudMaskError, match="time dimension"):
        data.isel(time=0).cloudmask.composite(mask=mask_like(data).isel(time=0))


def test_the_chain_of_the_readme_takes_one_mask_for_all_steps():
    data = cube()
    codes = np.zeros((4, 6, 7))
    codes[1] = 1
    mask = mask_like(data, codes)
    kept = data.cloudmask.filter(max_cloud=0.5, mask=mask)
    assert kept.sizes["time"] == 3
    out = kept.cloudmask.composite(mask=mask)
    np.testing.assert_allclose(out["red"], data["red"].isel(time=[0, 2, 3]).median("time"), rtol=1e-6)
    xr.testing.assert_allclose(kept.cloudmask.apply(mask)["red"], kept["red"])


@pytest.mark.parametrize("other", [{"time": [0, 0, 1, 2]}, {"x": slice(3)}, {"time": slice(2)}])
def test_a_mask_of_another_cube_is_refused(other):
    data = cube()
    with pytest.raises(CloudMaskError, match="differs from the cube's"):
        data.cloudmask.apply(mask_like(data).isel(other))
    shifted = mask_like(data).assign_coords(x=np.arange(7.0) + 100)
    with pytest.raises(CloudMaskError, match=r"\['x'\]"):
        data.cloudmask.composite(mask=shifted)


def test_a_composite_of_digital_numbers_can_still_become_reflectance():
    data = cube("uint16", _FillValue=0, scale_factor=1e-4, add_offset=0.0)
    out = data.cloudmask.composite(mask=mask_like(data, np.zeros((4, 6, 7))))
    assert out["red"].dtype == np.uint16
    xr.testing.assert_allclose(out.cloudmask.reflectance()["red"], out["red"] * np.float32(1e-4))


@pytest.mark.parametrize(
    "broken",
    [lambda mask: (mask == 0).assign_attrs(mask.attrs), lambda mask: mask.where(mask < 255), lambda mask: mask.values],
)
def test_what_only_looks_like_a_mask_is_refused(broken):
    data = cube()
    with pytest.raises(CloudMaskError, match=r"uint8|type ndarray"):
        data.cloudmask.apply(broken(mask_like(data)))


def test_blanked_integers_survive_a_file(tmp_path):
    data = cube("uint16")
    mask = mask_like(data)
    for name in data:
        data[name].encoding = {"dtype": "uint16", "scale_factor": 2.0, "zlib": True}
    data.cloudmask.apply(mask).to_netcdf(tmp_path / "applied.nc")
    with xr.open_dataset(tmp_path / "applied.nc") as read:
        np.testing.assert_array_equal(np.isnan(read["red"]), mask != 0)


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", -9999), ("int16", 65535), ("uint16", 0.5)])
def test_a_nodata_value_that_the_dtype_cannot_hold_is_not_written(dtype, nodata):
    data = cube(dtype, nodata=nodata)
    mask = mask_like(data)
    for out in (data.cloudmask.apply(mask), data.cloudmask.composite(mask=mask)):
        assert out["red"].dtype == np.float32


def test_composite_leaves_out_what_a_band_declares_missing():
    data = cube("uint16", nodata=0)
    data["blue"][:2] = 0
    data["blue"][2:] = 1800
    out = data.cloudmask.composite(mask=mask_like(data, np.zeros((4, 6, 7))))
    assert (out["blue"] == 1800).all()


def test_composite_refuses_numbers_of_different_calibrations():
    data = cube("uint16", nodata=0).assign_attrs(platform="sentinel-2a", collection="sentinel-2-l2a")
    mixed = data.assign_coords({"s2:processing_baseline": ("time", ["03.00", "04.00", "05.09", "05.09"])})
    mask = mask_like(data, np.zeros((4, 6, 7)))
    with pytest.raises(CloudMaskError, match="differs between dates"):
        mixed.cloudmask.composite(mask=mask)
    assert mixed.cloudmask.reflectance().cloudmask.composite(mask=mask)["red"].dtype == np.float32
    same = data.assign_coords({"s2:processing_baseline": ("time", ["05.09"] * 4)})
    out = same.cloudmask.composite(mask=mask)
    assert out["s2:processing_baseline"].item() == "05.09"
    assert out.cloudmask.reflectance()["red"].attrs["level"] == "BOA"


def test_classes_and_static_layers_are_left_alone():
    data = cube().assign(
        SCL=(("time", "y", "x"), RNG.integers(0, 11, (4, 6, 7)).astype("uint8")),
        dem=(("y", "x"), np.ones((6, 7))),
        ndvi=(("time", "y", "x"), RNG.random((4, 6, 7))),
    )
    mask = mask_like(data)
    applied = data.cloudmask.apply(mask)
    xr.testing.assert_identical(applied[["SCL", "dem"]], data[["SCL", "dem"]])
    assert np.isnan(applied["ndvi"].values[mask.values != 0]).all()
    out = data.cloudmask.composite(mask=mask)
    assert "SCL" not in out
    assert out["dem"].reset_coords(drop=True).identical(data["dem"])
    assert out["ndvi"].dims == ("y", "x")


def test_a_mask_may_have_dimensions_of_one_that_the_cube_lacks():
    data = cube()
    mask = mask_like(data)
    expected = data.isel(time=0).cloudmask.apply(mask.isel(time=0))
    xr.testing.assert_equal(data.isel(time=0).cloudmask.apply(mask.isel(time=[0]).expand_dims("band")), expected)


def test_probabilities_need_a_dataset():
    data = (cube() / 1100).assign_attrs(level="TOA")
    with pytest.raises(CloudMaskError, match="to_dataset"):
        data.to_dataarray("band").assign_attrs(level="TOA").cloudmask.with_mask("toy", probabilities=True)
    assert "probability" in data.cloudmask.with_mask("toy", probabilities=True)


def test_predicting_a_cube_that_carries_a_mask():
    data = (cube() / 1100).assign_attrs(level="TOA")
    for carried in (
        data.cloudmask.with_mask("toy"),
        data.to_dataarray("band").assign_attrs(level="TOA").cloudmask.with_mask("toy"),
    ):
        again = carried.cloudmask.predict("toy")
        np.testing.assert_array_equal(again["cloud_mask"], carried["cloud_mask"])


def test_lazy_results_can_be_pickled():
    import pickle

    data = (cube() / 1100).assign_attrs(level="TOA").chunk(time=1)
    out = predict(data, "toy")
    composed = data.cloudmask.composite(mask=out)
    for lazy in (out, composed, data.cloudmask.apply(out)):
        xr.testing.assert_equal(pickle.loads(pickle.dumps(lazy)).compute(), lazy.compute())


def test_counting_and_compositing_need_little_memory():
    import tracemalloc

    mask = xr.DataArray(
        np.zeros((1, 3000, 3000), "uint8"), dims=("time", "y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"])
    )
    tracemalloc.start()
    mask.cloudmask.coverage()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * mask.nbytes


def test_a_mask_from_a_file_fits_its_cube(tmp_path):
    from xr_cloudmask import export

    data = cube(dates=1).isel(time=0, drop=True).rename(y="lat", x="lon")
    data = data.assign_coords(lat=-3.1 - np.arange(6) / 3700, lon=1 / 3 + np.arange(7) / 3700)
    codes = RNG.choice(CODES[:4], (6, 7)).astype("uint8")
    coords = {"lat": data.lat, "lon": data.lon}
    mask = xr.DataArray(
        codes, dims=("lat", "lon"), coords=coords, attrs=flag_attrs(SCHEMES["cloudsen12"]), name="cloud_mask"
    )
    expected = data.cloudmask.apply(mask)
    mask.cloudmask.to_cog(tmp_path / "mask.tif")
    xr.testing.assert_identical(data.cloudmask.apply(export.open_mask(tmp_path / "mask.tif"))["red"], expected["red"])


def test_coordinates_that_are_the_same_on_every_date_survive_a_composite():
    shared, varying = np.empty(4, object), np.empty(4, object)
    shared[:], varying[:] = [[10, 0, 5]] * 4, [[10, 0, i] for i in range(4)]
    data = cube().assign_coords({"proj:transform": ("time", shared), "proj:bbox": ("time", varying)})
    out = data.cloudmask.composite(mask=mask_like(data))
    assert out["proj:transform"].item() == [10, 0, 5]
    assert "proj:bbox" not in out.coords


def test_what_filter_remembers_is_of_the_same_scheme_and_dates():
    """An array is not all that coverage depends on."""
    data = (cube() / 1100).assign_attrs(level="TOA").chunk(time=1)
    mask = predict(data, "toy")["cloud_mask"]
    clear = data.cloudmask.filter(max_cloud=1.0, mask=mask)["clear_fraction"]
    meanings = "thick_cloud clear thin_cloud cloud_shadow no_data"
    other = mask.assign_attrs(scheme="native", flag_meanings=meanings)
    np.testing.assert_array_equal(data.cloudmask.filter(max_cloud=1.0, mask=other)["cloud_fraction"] >= clear, True)
    later = data.assign_coords(time=data.time + np.timedelta64(365, "D"))
    kept = later.cloudmask.filter(max_cloud=-0.0, mask=mask.assign_coords(time=later.time))
    assert "2024-01" not in kept.attrs["dropped_dates"]
    renamed = data.rename(time="t").cloudmask.filter(max_cloud=1.0, mask=mask.rename(time="t"))
    assert renamed["cloud_fraction"].dims == ("t",)


def test_a_second_filter_says_what_both_dropped():
    data, codes = cube(), np.zeros((4, 6, 7))
    codes[1], codes[2, :3] = 1, 1
    mask = mask_like(data, codes)
    once = data.cloudmask.filter(max_cloud=0.8, mask=mask)
    twice = once.cloudmask.filter(max_cloud=0.2, mask=mask)
    assert (
        twice.attrs["dropped_dates"] == "2024-01-11T00:00 (cloud_fraction 1.00); 2024-01-21T00:00 (cloud_fraction 0.50)"
    )
    again = twice.cloudmask.filter(max_cloud=0.2, mask=mask)
    assert again.attrs == twice.attrs


@pytest.mark.parametrize("layer", ["4-4A", "water"])
def test_a_mask_that_does_not_tell_what_is_clear_is_refused(layer):
    data = cube("uint16")
    out = predict(data, "4-4A", scheme="4-4A")
    mask = out["cloud_mask"] if layer == "4-4A" else out["water"]
    for use in (data.cloudmask.composite, data.cloudmask.apply):
        with pytest.raises(CloudMaskError, match="none of whose classes is clear"):
            use(mask=mask)


def test_a_composite_is_a_cube_again():
    data = cube("uint16", _FillValue=0)
    mask = mask_like(data, np.zeros((4, 6, 7)))
    monthly = data.cloudmask.composite("latest", mask=mask, groupby="20D")
    clear = xr.zeros_like(monthly["red"], dtype="uint8").assign_attrs(flag_attrs(SCHEMES["cloudsen12"]))
    out = monthly.cloudmask.composite("geomedian", mask=clear)
    assert set(out.data_vars) == {"blue", "green", "red", "nir"}
    assert {"clear_count", "valid_count"} <= set(out.coords)
    assert (out["clear_count"] == monthly.sizes["time"]).all()
    assert "chosen_date" not in monthly.cloudmask.apply(clear).cloudmask.composite(mask=clear)


def test_composites_keep_how_no_data_is_declared_and_where_they_are():
    data = cube("uint16").rename(time="date")
    data["red"].encoding = {"_FillValue": 0, "grid_mapping": "crs", "zlib": True}
    data = data.assign_coords(crs=((), 0, {"grid_mapping_name": "latitude_longitude"}), red_like=0)
    data.date.attrs = {"standard_name": "time"}
    codes = np.zeros((4, 6, 7))
    codes[:, 0, 0] = 1
    mask = mask_like(cube(), codes).rename(time="date")
    out = data.cloudmask.composite("latest", mask=mask)
    assert out["red"].encoding == {"_FillValue": 0, "grid_mapping": "crs"}
    assert (out["red"].dtype, int(out["red"][0, 0])) == (np.uint16, 0)
    assert out["clear_count"].encoding == out["chosen_date"].encoding == {"grid_mapping": "crs"}
    array = data.to_dataarray("band").assign_coords(cube=3).cloudmask.composite(mask=mask)
    assert array["cube"] == 3
    periods = data.rename(date="time").cloudmask.composite(mask=mask.rename(date="time"), groupby="MS")
    assert periods.time.attrs == {"standard_name": "time"}


def test_small_floats_have_no_data_too():
    data = (cube() / 1100).astype("float16").assign_attrs(level="TOA")
    data["red"][0] = -9999
    data = data.assign({name: band.assign_attrs(_FillValue=-9999.0) for name, band in data.items()})
    mask = mask_like(data, np.zeros((4, 6, 7)))
    out = data.cloudmask.composite("percentile", mask=mask, percentile=0)
    assert float(out["red"].min()) > 0
    reflectance = data.cloudmask.reflectance(scale=1.0, offset=0.0)
    assert bool(np.isnan(reflectance["red"][0]).all())


def test_probabilities_of_a_scheme_that_calls_clear_valid():
    data = (cube() / 1100).assign_attrs(level="TOA")
    found = []
    for scheme in ("cloudsen12", "validity"):
        out = predict(data, "toy", probabilities=True, scheme=scheme)
        out["cloud_mask"][:] = 0
        found.append(data.cloudmask.composite("best", mask=out, scoring=BestPixel(distance=0))["chosen_date"])
    assert len(np.unique(found[0])) > 1
    xr.testing.assert_equal(*found)
