"""Masks as files: what a COG, a netCDF and a Zarr store keep, and what is said when they cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from xr_cloudmask import export
from xr_cloudmask.errors import CloudMaskError, FileError
from xr_cloudmask.masks.coverage import with_coverage
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
from xr_cloudmask.names import FRACTIONS

SUFFIXES = (".tif", ".nc", ".zarr")
DATES = np.array(["2024-06-01T13:10", "2024-06-11T13:10", "2024-06-11T13:25"], "M8[ns]")


def make_mask(labels, scheme="cloudsen12", chunks=None, ascending=False):
    """A Dataset as predict makes it: labels (time, y, x) or (y, x), CRS, provenance, coverage."""
    rows, columns = labels.shape[-2:]
    y = 7_600_000.0 - 10 * np.arange(rows) - 5
    coords = {"y": y[::-1] if ascending else y, "x": 600_005.0 + 10 * np.arange(columns), "platform": "sentinel-2a"}
    dims = ("time", "y", "x")[-labels.ndim :]
    coords |= {"time": DATES[: len(labels)]} if labels.ndim == 3 else {"time": DATES[0]}
    data = labels if chunks is None else da.from_array(labels, chunks=chunks)
    attrs = flag_attrs(SCHEMES[scheme]) | {"model": "csmask", "model_version": "1.0", "level": "TOA"}
    dataset = xr.DataArray(data, coords, dims, "cloud_mask", attrs).rio.write_crs("EPSG:32723").to_dataset()
    dataset["cloud_mask"].encoding["grid_mapping"] = "spatial_ref"
    return with_coverage(dataset["cloud_mask"], dataset)


def random_labels(*shape, scheme="cloudsen12", seed=0):
    table = SCHEMES[scheme]
    codes = np.array([*(entry.code for entry in table.classes), table.no_data], "uint8")
    return np.random.default_rng(seed).choice(codes, shape)


LABELS = random_labels(60, 70)


def assert_same_mask(got, expected, labels):
    assert got["cloud_mask"].dtype == "uint8"
    np.testing.assert_array_equal(got["cloud_mask"], labels)
    flags = expected["cloud_mask"].attrs["flag_values"]
    assert got["cloud_mask"].attrs["flag_values"].dtype == flags.dtype
    np.testing.assert_array_equal(got["cloud_mask"].attrs["flag_values"], flags)
    for key in ("flag_meanings", "flag_colors", "standard_name", "scheme", "model", "model_version", "level"):
        assert got["cloud_mask"].attrs[key] == expected["cloud_mask"].attrs[key]
    for name in set(FRACTIONS) & set(expected.coords):
        np.testing.assert_allclose(got.coords[name], expected.coords[name])
        assert got.coords[name].attrs["units"] == "1"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("chunks", [None, (7, 70), ((20, 40), (33, 3, 34))])
def test_round_trip_of_one_date(tmp_path, suffix, chunks):
    mask = make_mask(LABELS, chunks=chunks)
    (written,) = export.to_file(mask, tmp_path / f"mask{suffix}")
    got = export.open_mask(written)
    assert got["cloud_mask"].chunks is not None
    assert_same_mask(got, mask, LABELS)
    assert got["time"].values == DATES[0]
    assert got.rio.crs.to_epsg() == 32723
    assert got.rio.transform() == mask.rio.transform()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("chunks", [None, ((1, 2), (20, 40), (33, 3, 34))])
def test_round_trip_of_several_dates(tmp_path, suffix, chunks):
    labels = random_labels(3, 60, 70)
    mask = make_mask(labels, chunks=chunks)
    (written,) = export.to_file(mask, tmp_path / f"mask{suffix}")
    got = export.open_mask(written)
    assert_same_mask(got, mask, labels)
    np.testing.assert_array_equal(got["time"], DATES)
    assert all(got[name].chunks is None for name in FRACTIONS)


def test_cogs_of_several_dates_carry_them_in_their_names(tmp_path):
    labels = random_labels(3, 60, 70)
    mask = make_mask(labels, chunks=(1, 30, 70))
    days = export.to_file(mask.isel(time=[0, 1]), tmp_path / "mask.tif")
    assert [path.name for path in days] == ["mask_20240601.tif", "mask_20240611.tif"]
    times = export.to_file(mask, tmp_path / "mask.tif")
    assert [path.name for path in times][1:] == ["mask_20240611T131000.tif", "mask_20240611T132500.tif"]
    for i, path in enumerate(times):
        assert_same_mask(export.open_mask(path), mask.isel(time=i), labels[i])
    (single,) = export.to_file(mask.isel(time=[0]), tmp_path / "one.tif")
    assert single.name == "one.tif"
    with pytest.raises(FileError, match="dates that repeat"):
        export.to_file(mask.isel(time=[0, 0]), tmp_path / "mask.tif")


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if SCHEMES[name].tells_no_data])
def test_cog_shows_itself(tmp_path, scheme):
    table = SCHEMES[scheme]
    labels = random_labels(600, 700, scheme=scheme)
    (path,) = export.to_cog(make_mask(labels, scheme, chunks=200), tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.colorinterp == (ColorInterp.palette,)
        colors = file.colormap(1)
        for entry in table.classes:
            assert "#{:02x}{:02x}{:02x}".format(*colors[entry.code][:3]) == entry.color
        assert file.nodata == table.no_data
        assert colors[table.no_data][3] == 0
        assert file.descriptions == ("cloud_mask",)
        assert file.crs.to_epsg() == 32723
        assert file.tags()["flag_meanings"].endswith("no_data")
        assert float(file.tags()["valid_fraction"]) == pytest.approx((labels != table.no_data).mean())
        assert file.overviews(1)
        assert set(np.unique(file.read(1, out_shape=(300, 350)))) <= set(np.unique(labels))  # no mixed codes
    names = path.with_name("mask.tif.aux.xml").read_text()
    assert all(f"<Category>{entry.name}</Category>" for entry in table.classes)
    assert names.count("<Category>") + names.count("<Category/>") + names.count("<Category />") == 1 + max(
        table.no_data, *(entry.code for entry in table.classes)
    )
    assert "<Category>no_data</Category>" in names


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_cf_xarray_reads_the_flags(tmp_path, suffix):
    import cf_xarray  # noqa: F401 - registers .cf

    (path,) = export.to_file(make_mask(LABELS), tmp_path / f"mask{suffix}")
    mask = (xr.open_zarr(path) if suffix == ".zarr" else xr.open_dataset(path))["cloud_mask"]
    assert mask.dtype == "uint8"
    np.testing.assert_array_equal(mask.cf == "cloud_shadow", LABELS == 3)
    np.testing.assert_array_equal(mask.cf.isin(["thick_cloud", "thin_cloud"]), np.isin(LABELS, (1, 2)))
    mask.close()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_probabilities_go_with_the_labels(tmp_path, suffix):
    mask = make_mask(LABELS)
    chances = np.random.default_rng(0).random((4, 60, 70), dtype="float32")
    names = ["clear", "thick_cloud", "thin_cloud", "cloud_shadow"]
    mask = mask.assign(probability=(("class", "y", "x"), chances)).assign_coords({"class": names})
    with pytest.raises(FileError, match="probability"):
        export.to_file(mask, tmp_path / "mask.tif")
    (path,) = export.to_file(mask, tmp_path / f"mask{suffix}")
    got = export.open_mask(path)
    np.testing.assert_array_equal(got["probability"], chances)
    assert list(got["class"].values) == names


def test_a_bare_mask_array_gets_its_coverage(tmp_path):
    array = xr.DataArray(LABELS, dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    for suffix in SUFFIXES:
        (path,) = export.to_file(array, tmp_path / f"mask{suffix}")
        assert export.open_mask(path).coords["valid_fraction"] == pytest.approx((LABELS != 255).mean())
    assert "cloud_fraction" not in array.coords


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("chunks", [None, 20])
def test_coverage_is_that_of_the_pixels_written(tmp_path, suffix, chunks):
    cut = make_mask(LABELS, chunks=chunks).isel(y=slice(0, 5))
    (path,) = export.to_file(cut, tmp_path / f"mask{suffix}")
    assert export.open_mask(path).coords["valid_fraction"] == pytest.approx((LABELS[:5] != 255).mean())


@pytest.mark.parametrize("reverse", [["y"], ["x"], ["y", "x"]])
def test_masks_that_stand_upside_down_are_written_north_up_and_come_back_as_they_were(tmp_path, reverse):
    mask = make_mask(LABELS).drop_vars("platform")
    turned = mask.isel(dict.fromkeys(reverse, slice(None, None, -1)))
    (path,) = export.to_cog(turned, tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        assert file.transform[:6] == (10, 0, 600_000, 0, -10, 7_600_000)
        np.testing.assert_array_equal(file.read(1), LABELS)
    got = export.open_mask(path)
    xr.testing.assert_equal(got["cloud_mask"].drop_vars("spatial_ref"), turned["cloud_mask"].drop_vars("spatial_ref"))
    assert got.rio.transform() == turned.rio.transform()


def in_degrees(names=("latitude", "longitude"), units=(None, None)):
    """A mask on latitude and longitude, without a CRS."""
    mask = make_mask(LABELS).drop_vars("spatial_ref").rename(dict(zip("yx", names, strict=True)))
    mask = mask.assign_coords(dict(zip(names, (np.linspace(-20, -21, 60), np.linspace(5, 6, 70)), strict=True)))
    for name, unit in zip(names, units, strict=True):
        mask[name].attrs |= {} if unit is None else {"units": unit}
    return mask


@pytest.mark.parametrize(
    ("names", "units"),
    [
        (("latitude", "longitude"), (None, None)),
        (("lat", "lon"), ("degrees", "degrees")),
        (("y", "x"), ("degrees_north", "degrees_east")),
        (("y", "x"), ("degreeN", "degreesE")),
    ],
)
def test_latitude_and_longitude_are_wgs_84_and_keep_their_names(tmp_path, names, units):
    mask = in_degrees(names, units)
    (path,) = export.to_cog(mask, tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 4326
    got = export.open_mask(path)
    assert got["cloud_mask"].dims == names
    assert got.rio.crs.to_epsg() == 4326
    for name in names:
        np.testing.assert_allclose(got[name], mask[name], rtol=1e-14)


@pytest.mark.parametrize(
    ("names", "units"), [(("y", "x"), (None, None)), (("lat", "lon"), ("m", "m")), (("y", "x"), ("degrees", "degrees"))]
)
def test_what_may_be_no_latitude_gets_no_crs(tmp_path, names, units):
    (path,) = export.to_cog(in_degrees(names, units), tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        assert file.crs is None


def test_other_dimension_names_and_degrees(tmp_path):
    mask = make_mask(LABELS).rename(y="latitude", x="longitude")
    mask = mask.assign_coords(latitude=np.linspace(1, 0, 60), longitude=np.linspace(5, 6, 70)).rio.write_crs(4326)
    (path,) = export.to_cog(mask, tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 4326
        assert file.bounds.left == pytest.approx(5 - 0.5 / 69)


def test_a_single_row_is_placed_and_a_single_pixel_refused(tmp_path):
    (path,) = export.to_cog(make_mask(LABELS[:1]), tmp_path / "row.tif")
    with rasterio.open(path) as file:
        assert file.transform[:6] == (10, 0, 600_000, 0, -10, 7_600_000)
    with pytest.raises(FileError, match="one pixel"):
        export.to_cog(make_mask(LABELS[:1, :1]), tmp_path / "pixel.tif")
    declared = make_mask(LABELS[:1, :1])
    declared["spatial_ref"].attrs["GeoTransform"] = "600000.0 10.0 0.0 7600000.0 0.0 -20.0"
    (path,) = export.to_cog(declared, tmp_path / "declared.tif")
    with rasterio.open(path) as file:
        assert file.transform[:6] == (10, 0, 600_000, 0, -20, 7_600_005)
    (path,) = export.to_file(make_mask(LABELS[:1, :1]), tmp_path / "pixel.nc")
    np.testing.assert_array_equal(export.open_mask(path)["cloud_mask"], LABELS[:1, :1])


@pytest.mark.parametrize(
    "x", [[5.0, 15, 25, 45], [5.0, 5, 5, 5], [5.0, 15, np.nan, 35], 10 + np.array([0, 1e-3, 3e-3, 4e-3])]
)
def test_uneven_coordinates_are_refused_in_a_geotiff_only(tmp_path, x):
    mask = make_mask(LABELS[:4, :4]).assign_coords(x=x)
    with pytest.raises(FileError, match="unevenly spaced coordinate 'x'"):
        export.to_cog(mask, tmp_path / "mask.tif")
    assert not list(tmp_path.iterdir())
    (path,) = export.to_file(mask, tmp_path / "mask.nc")
    np.testing.assert_array_equal(export.open_mask(path)["x"], x)


@pytest.mark.parametrize(("start", "step"), [(600_005, 10), (-122.123456, 1e-4)])
def test_coordinates_that_are_even_but_for_rounding_are_written(tmp_path, start, step):
    x = (start + step * np.arange(70)).astype("float32")
    (path,) = export.to_cog(make_mask(LABELS).assign_coords(x=x), tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        assert file.transform.a == pytest.approx(step, rel=1e-2)
        assert file.bounds.right == pytest.approx(start + 69.5 * step, abs=step / 10)


def test_dates_without_a_gregorian_calendar_are_written(tmp_path):
    mask = make_mask(random_labels(2, 60, 70))
    cases = {
        "none": mask.drop_vars("time"),
        "numbers": mask.assign_coords(time=[7, 8]),
        "calendar": mask.assign_coords(
            time=xr.date_range("2024-02-29", periods=2, calendar="360_day", use_cftime=True)
        ),
    }
    stamps = {"none": ("000", "001"), "numbers": ("000", "001"), "calendar": ("20240229", "20240230")}
    for name, case in cases.items():
        paths = export.to_cog(case, tmp_path / f"{name}.tif")
        assert [path.name for path in paths] == [f"{name}_{stamp}.tif" for stamp in stamps[name]]
        for i, path in enumerate(paths):
            got = export.open_mask(path)
            np.testing.assert_array_equal(got["cloud_mask"], mask["cloud_mask"][i])
            assert ("time" in got.coords) == ("time" in case.coords)
            if "time" in case.coords:
                assert got["time"].item() == case["time"][i].item()
        (path,) = export.to_file(case, tmp_path / f"{name}.nc")
        assert export.open_mask(path)["cloud_mask"].coords.keys() == case["cloud_mask"].coords.keys()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_data_stays_a_code_whatever_reads_the_file(tmp_path, suffix):
    mask = make_mask(LABELS)
    mask["cloud_mask"].attrs |= {"nodata": 255, "_FillValue": np.uint8(255)}
    (path,) = export.to_file(mask, tmp_path / f"mask{suffix}")
    got = export.open_mask(path)["cloud_mask"]
    assert got.attrs["nodata"] == 255
    assert "_FillValue" not in got.attrs
    assert got.rio.nodata == 255
    np.testing.assert_array_equal(got, LABELS)
    if suffix != ".tif":
        with xr.open_dataset(path, engine="zarr" if suffix == ".zarr" else "netcdf4") as plain:
            assert plain["cloud_mask"].dtype == "uint8"


def test_dates_without_data_keep_nan(tmp_path):
    labels = np.full((8, 8), 255, "uint8")
    for suffix in SUFFIXES:
        (path,) = export.to_file(make_mask(labels), tmp_path / f"mask{suffix}")
        got = export.open_mask(path)
        assert got["valid_fraction"] == 0
        assert np.isnan(got["cloud_fraction"])


def test_catalogue_objects_are_left_out(tmp_path):
    items = np.empty((), dtype=object)
    items[()] = {"href": "…"}
    mask = make_mask(LABELS).assign_coords(item=((), items), title=((), np.array("tile", dtype=object)))
    for suffix in (".nc", ".zarr"):
        (path,) = export.to_file(mask, tmp_path / f"mask{suffix}")
        got = export.open_mask(path)
        assert "item" not in got.coords
        assert got["title"].item() == "tile"


@settings(max_examples=15)
@given(data=st.data(), suffix=st.sampled_from(SUFFIXES))
def test_any_chunks_give_the_same_file(tmp_path_factory, data, suffix):
    sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)
    rows, columns = data.draw(sizes), data.draw(sizes.filter(lambda chunks: sum(chunks) > 1))
    labels = random_labels(sum(rows), sum(columns), seed=sum(rows))
    mask = make_mask(labels, chunks=(tuple(rows), tuple(columns)))
    (path,) = export.to_file(mask, tmp_path_factory.mktemp("masks") / f"mask{suffix}")
    assert_same_mask(export.open_mask(path), mask.compute(), labels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_block_is_computed_once(tmp_path, suffix):
    computed = []

    def count(block):
        computed.append(block.shape)
        return block

    lazy = da.from_array(LABELS, chunks=20).map_blocks(count, meta=np.empty((0, 0), "uint8"))
    mask = make_mask(LABELS, chunks=20)
    mask = mask.drop_vars(FRACTIONS).assign(cloud_mask=mask["cloud_mask"].copy(data=lazy))
    export.to_file(with_coverage(mask["cloud_mask"], mask), tmp_path / f"mask{suffix}")
    assert len(computed) == lazy.npartitions


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [OSError("disk"), RuntimeError("NetCDF: HDF error")])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, suffix, error):
    def fail(block):
        raise error

    target = tmp_path / f"mask{suffix}"
    export.to_file(make_mask(LABELS), target)
    before = sorted(tmp_path.iterdir())
    mask = make_mask(LABELS, chunks=20)
    broken = da.from_array(LABELS, chunks=20).map_blocks(fail, meta=np.empty((0, 0), "uint8"))
    mask = mask.assign(cloud_mask=mask["cloud_mask"].copy(data=broken))
    with pytest.raises(FileError, match=str(error)) as raised:
        export.to_file(mask, target)
    assert raised.value.__cause__ is error
    assert sorted(tmp_path.iterdir()) == before
    np.testing.assert_array_equal(export.open_mask(target)["cloud_mask"], LABELS)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_older_mask_is_replaced(tmp_path, suffix):
    target = tmp_path / f"mask{suffix}"
    export.to_file(make_mask(LABELS), target)
    export.to_file(make_mask(LABELS[:30]), target)
    assert export.open_mask(target)["cloud_mask"].shape == (30, 70)


def test_errors_of_our_own_pass_through(tmp_path):
    def fail(block):
        raise CloudMaskError("a", "b", "c")

    mask = make_mask(LABELS, chunks=20)
    broken = da.from_array(LABELS, chunks=20).map_blocks(fail, meta=np.empty((0, 0), "uint8"))
    with pytest.raises(CloudMaskError, match="found: a"):
        export.to_file(mask.assign(cloud_mask=mask["cloud_mask"].copy(data=broken)), tmp_path / "mask.tif")


def test_names_that_cannot_be_written(tmp_path):
    mask = make_mask(LABELS)
    with pytest.raises(FileError, match=r"ends in .tif, .tiff, .nc, .zarr"):
        export.to_file(mask, tmp_path / "mask.png")
    with pytest.raises(FileError, match=r"ends in .tif"):
        export.to_cog(mask, tmp_path / "mask.nc")
    with pytest.raises(FileError, match="mkdir -p"):
        export.to_file(mask, tmp_path / "nowhere" / "mask.tif")
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(FileError, match="no Zarr store"):
        export.to_file(mask, tmp_path / "folder.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.zarr"]


def test_what_is_no_mask_is_not_opened(tmp_path):
    path = tmp_path / "cube.nc"
    xr.Dataset({"red": (("y", "x"), np.zeros((2, 2)))}).to_netcdf(path)
    with pytest.raises(FileError, match="without flags"):
        export.open_mask(path)
    with pytest.raises(FileError, match="cannot read"):
        export.open_mask(tmp_path / "nothing.tif")


def test_opening_a_mask_computes_nothing(tmp_path):
    paths = [export.to_file(make_mask(LABELS), tmp_path / f"mask{suffix}")[0] for suffix in (".tif", ".nc")]

    def scheduler(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=scheduler):
        for path in paths:
            assert export.open_mask(path)["cloud_mask"].chunks is not None


def test_a_mask_is_not_changed_by_writing_it(tmp_path):
    mask = make_mask(LABELS)
    mask["y"].encoding["chunksizes"] = (1,)
    before = {name: dict(variable.encoding) for name, variable in mask.variables.items()}
    expected = mask.copy(deep=True)
    for suffix in SUFFIXES:
        export.to_file(mask, tmp_path / f"mask{suffix}")
    xr.testing.assert_identical(mask, expected)
    assert before == {name: dict(variable.encoding) for name, variable in mask.variables.items()}


def test_cog_in_the_codes_of_4_4a(tmp_path):
    labels = np.uint8([[0, 100], [200, 0]])
    (path,) = export.to_cog(make_mask(labels, "4-4A", chunks=1), tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), labels)
        assert file.nodata == 0
        assert "valid_fraction" not in file.tags()


@pytest.mark.parametrize("name", [".", "", "/", "..", "a folder", "mask", "mask.", "mask.png", "a\0b.tif", None, 5])
def test_outputs_without_a_name_or_format(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()
    mask = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    for write in (export.to_file, export.to_cog):
        with pytest.raises(FileError) as caught:
            write(mask, name)
        suggested = caught.value.remedy.strip("'")
        assert suggested.endswith(".tif")
        if Path(suggested).parent.is_dir() and os.access(Path(suggested).parent, os.W_OK) and suggested[0] != "/":
            assert write(mask, suggested)  # what it says to type works


FULL_DISK = """
import resource, signal, sys, warnings
from pathlib import Path
import dask, numpy as np, xarray as xr
warnings.simplefilter("ignore")
dask.config.set(scheduler="synchronous")  # or what other threads write at that moment may be left
from xr_cloudmask import FileError, export
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
labels = np.random.default_rng(0).integers(0, 4, (600, 600), dtype="uint8")
whole = xr.DataArray(labels, dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 100, 2000, 20_000, 60_000):
    for mask in (whole, whole.chunk(x=200)):
        for suffix in (".tif", ".nc", ".zarr"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                export.to_file(mask, f"mask{suffix}")
                said = "written"
            except FileError as error:
                said = "refused" if "df" in error.remedy else str(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print(limit, suffix, said, [path.name for path in Path().iterdir()], flush=True)
            if said == "written":
                sys.exit()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk; in a process of its own, for it holds for all threads."""
    command = [sys.executable, "-c", FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) >= 24, done.stderr[-2000:]
    assert [line for line in lines[:24] if not line.endswith("refused []")] == []
