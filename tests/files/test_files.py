"""Files and product folders as cubes: what is read, what is kept, and what is said of files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from products import (
    METADATA,
    NORTH,
    S2_RESOLUTIONS,
    SIDE,
    SUN_ELEVATION,
    WEST,
    make_landsat,
    make_safe,
    numbers,
    write_raster,
)

from xr_cloudmask.cube import reflectance
from xr_cloudmask.errors import FileError
from xr_cloudmask.files import open_cube


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_safe_folder_is_a_cube_with_its_metadata(tmp_path, level):
    cube = open_cube(make_safe(tmp_path, level))
    assert set(S2_RESOLUTIONS) - set(cube.data_vars) == ({"B10"} if level == "L2A" else set())
    assert ("SCL" in cube) == (level == "L2A")
    assert dict(cube.sizes) == {"y": SIDE, "x": SIDE}
    assert all(band.chunks and band.dtype == ("uint8" if name == "SCL" else "uint16") for name, band in cube.items())
    assert cube["B02"].attrs["scale_factor"] == pytest.approx(1e-4)
    assert cube["B02"].attrs["add_offset"] == pytest.approx(-0.1)
    assert cube["B02"].attrs["_FillValue"] == 0
    assert cube["platform"].item() == "sentinel-2a"
    assert cube["s2:processing_baseline"].item() == "04.00"
    assert cube["processing:level"].item() == level
    assert cube["view:sun_elevation"].item() == pytest.approx(56.5)
    assert cube["time"].values == np.datetime64("2022-08-11T10:15:59.024", "ns")
    assert cube.rio.crs.to_epsg() == 32632
    assert cube.rio.bounds() == (WEST, NORTH - 10 * SIDE, WEST + 10 * SIDE, NORTH)


def test_coarse_bands_are_repeated_onto_the_10_m_grid(tmp_path):
    cube = open_cube(make_safe(tmp_path))
    for band, resolution in S2_RESOLUTIONS.items():
        factor = resolution // 10
        stored = numbers(SIDE // factor, list(S2_RESOLUTIONS).index(band))
        np.testing.assert_array_equal(cube[band], stored.repeat(factor, 0).repeat(factor, 1))
        assert cube[band].chunks == cube["B02"].chunks


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_safe_reflectance_is_what_its_metadata_say(tmp_path, level):
    cube = open_cube(make_safe(tmp_path, level), bands=["B02", "B03", "B04", "B08"])
    got = reflectance.to_reflectance(cube)
    np.testing.assert_allclose(got["B04"], (cube["B04"].astype("float64") - 1000) / 10000, atol=1e-6)
    assert got.attrs["level"] == {"L1C": "TOA", "L2A": "BOA"}[level]


def test_old_baseline_has_no_offset(tmp_path):
    cube = open_cube(make_safe(tmp_path, baseline="02.09", offset=None))
    assert cube["B02"].attrs["add_offset"] == 0


def test_new_baseline_without_offsets_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"04\.00 without RADIO_ADD_OFFSET"):
        open_cube(make_safe(tmp_path, offset=None))


def test_several_safe_folders_are_dates(tmp_path):
    new, old = make_safe(tmp_path), make_safe(tmp_path, baseline="02.09", day="20210811", offset=None, sun=False)
    cube = open_cube([new, old], bands=["B02", "B03", "B04", "B08"])
    assert cube["B02"].dims == ("time", "y", "x")
    assert list(cube["s2:processing_baseline"].values) == ["02.09", "04.00"]
    assert "view:sun_elevation" not in cube.coords  # one of them does not know it
    assert not {"scale_factor", "add_offset"} & set(cube["B02"].attrs)
    got = reflectance.to_reflectance(cube)
    raw = cube["B02"].astype("float64")
    np.testing.assert_allclose(got["B02"], (raw - [[[0]], [[1000]]]) / 10000, atol=1e-6)


def test_scenes_of_two_tiles_are_refused(tmp_path):
    folders = [make_safe(tmp_path), make_safe(tmp_path, day="20220816", west=WEST + 100_000)]
    with pytest.raises(FileError, match="different grids"):
        open_cube(folders)


def test_missing_band_file_is_named_and_can_be_left_out(tmp_path):
    folder = make_safe(tmp_path)
    next(folder.rglob("*_B11.jp2")).unlink()
    with pytest.raises(FileError, match="B11") as raised:
        open_cube(folder)
    assert "B12" in raised.value.remedy
    assert "B11" not in raised.value.remedy
    assert list(open_cube(folder, bands=["B02", "B04"]).data_vars) == ["B02", "B04"]


def test_safe_without_or_with_damaged_metadata(tmp_path):
    folder = make_safe(tmp_path)
    metadata = folder / "MTD_MSIL1C.xml"
    text = metadata.read_text()
    metadata.write_text(text[:400])
    with pytest.raises(FileError, match="no readable XML"):
        open_cube(folder)
    metadata.write_text('<!DOCTYPE a [<!ENTITY e "b">]><a>&e;</a>')
    with pytest.raises(FileError, match="no readable XML"):
        open_cube(folder)
    metadata.write_text(text.replace("PROCESSING_BASELINE", "OTHER"))
    with pytest.raises(FileError, match="PROCESSING_BASELINE"):
        open_cube(folder)
    metadata.unlink()
    with pytest.raises(FileError, match=r"MTD_MSIL1C\.xml or MTD_MSIL2A\.xml"):
        open_cube(folder)


# Landsat ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", METADATA)
@pytest.mark.parametrize("level", ["L1", "L2"])
def test_landsat_folder_is_a_cube_with_its_metadata(tmp_path, level, kind):
    cube = open_cube(make_landsat(tmp_path, level, [kind]))
    prefix = {"L1": "B", "L2": "SR_B"}[level]
    expected = [f"{prefix}{n}" for n in (*range(1, 8), *((9,) if level == "L1" else ()))]
    assert sorted(cube.data_vars) == sorted([*expected, "QA_PIXEL"])
    assert dict(cube.sizes) == {"y": 40, "x": 40}  # 30 m: the 15 m panchromatic band is left out
    assert cube["platform"].item() == "landsat-9"
    assert cube["view:sun_elevation"].item() == SUN_ELEVATION
    assert cube["processing:level"].item() == level
    assert cube["time"].values == np.datetime64("2022-08-11T10:03:21.123456", "ns")
    assert "scale_factor" not in cube["QA_PIXEL"].attrs


@pytest.mark.parametrize(
    ("level", "scale", "offset", "sun"),
    [("L1", 2e-5, -0.1, np.sin(np.radians(SUN_ELEVATION))), ("L2", 2.75e-5, -0.2, 1.0)],
)
def test_landsat_reflectance_is_what_its_metadata_say(tmp_path, level, scale, offset, sun):
    cube = open_cube(make_landsat(tmp_path, level))
    name = "B4" if level == "L1" else "SR_B4"
    got = reflectance.to_reflectance(cube)
    np.testing.assert_allclose(got[name], (cube[name].astype("float64") * scale + offset) / sun, atol=1e-5)
    assert got.attrs["level"] == {"L1": "TOA", "L2": "BOA"}[level]


def test_landsat_collection_1_and_damaged_metadata(tmp_path):
    folder = make_landsat(tmp_path, kinds=["json"])
    metadata = next(folder.glob("*_MTL.json"))
    metadata.write_text(json.dumps({"L1_METADATA_FILE": {}}))
    with pytest.raises(FileError, match="cannot be read"):
        open_cube(folder)
    metadata.write_text(metadata.read_text()[:10])
    with pytest.raises(FileError, match="cannot be read"):
        open_cube(folder)
    metadata.with_suffix(".txt").write_text("GROUP = L1_METADATA_FILE\nEND")
    with pytest.raises(FileError, match="PROCESSING_LEVEL"):
        open_cube(folder)
    (folder / metadata.with_suffix(".txt").name).write_text("GROUP = PRODUCT_CONTENTS\nPROCESSING_LEVEL = L2SP\nEND")
    with pytest.raises(FileError, match="LEVEL2_SURFACE_REFLECTANCE_PARAMETERS/REFLECTANCE_MULT_BAND_2"):
        open_cube(folder)


# Rasters ------------------------------------------------------------------------------------------------------------

BANDS = np.stack([numbers(seed=i) for i in range(4)])
NAMES = ("blue", "green", "red", "nir")


def test_multi_band_raster_keeps_numbers_and_declarations(tmp_path):
    path = write_raster(tmp_path / "cube.tif", BANDS, names=NAMES, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4, 1e-4, 1e-4, 2e-4), (-0.1,) * 4
        file.update_tags(platform="Sentinel-2A")
    cube = open_cube(path, chunks=32)
    assert list(cube.data_vars) == list(NAMES)
    assert cube["blue"].chunks == ((32, 28), (32, 28))
    assert cube["nir"].attrs["scale_factor"] == pytest.approx(2e-4)
    assert cube["nir"].attrs["_FillValue"] == 0
    assert cube.attrs["platform"] == "Sentinel-2A"
    np.testing.assert_array_equal(cube["red"], BANDS[2])
    assert cube["red"].dtype == "uint16"


def test_scale_one_and_offset_zero_are_no_declaration(tmp_path):
    cube = open_cube(write_raster(tmp_path / "cube.tif", BANDS, names=NAMES))
    assert not {"scale_factor", "add_offset"} & set(cube["blue"].attrs)


def test_unnamed_bands_are_asked_for(tmp_path):
    path = write_raster(tmp_path / "cube.tif", BANDS)
    with pytest.raises(FileError, match="4 bands that have neither"):
        open_cube(path)
    with pytest.raises(FileError, match="3 names for 4 bands"):
        open_cube(path, bands=NAMES[:3])
    assert list(open_cube(path, bands=NAMES).data_vars) == list(NAMES)


def test_a_file_per_band_is_named_by_its_file(tmp_path):
    paths = [
        write_raster(tmp_path / "T32TQM_20220811T101559_B02_10m.tif", BANDS[:1]),
        write_raster(tmp_path / "T32TQM_20220811T101559_B11_20m.tif", numbers(SIDE // 2)[None], 20),
        write_raster(tmp_path / "CBERS_4A_WPM_20200730_209_139_L4_BAND4.tif", BANDS[3:]),
    ]
    cube = open_cube([str(path) for path in paths])
    assert list(cube.data_vars) == ["B02_10m", "B11_20m", "BAND4"]
    assert set(cube.sizes.values()) == {SIDE}


def test_repeated_names_are_refused(tmp_path):
    paths = [write_raster(tmp_path / f"{day}_B02.tif", BANDS[:1]) for day in ("20220811", "20220816")]
    with pytest.raises(FileError, match="repeat"):
        open_cube(paths)


@pytest.mark.parametrize(
    "other",
    [
        {"west": WEST + 5},
        {"crs": "EPSG:32633"},
        {"pixel": 15.0},
        {"pixel": 5.0},
    ],
)
def test_grids_that_do_not_fit_are_refused(tmp_path, other):
    paths = [write_raster(tmp_path / "B02.tif", BANDS[:1]), write_raster(tmp_path / "B03.tif", BANDS[1:2], **other)]
    with pytest.raises(FileError, match="another grid") as raised:
        open_cube(paths)
    assert "gdalwarp" in raised.value.remedy


def test_truncated_pixels_are_told_at_once(tmp_path):
    path = write_raster(tmp_path / "cube.tif", BANDS, names=NAMES)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileError, match=r"cube\.tif"):
        open_cube(path)
    image = next(make_safe(tmp_path).rglob("*_B03.jp2"))
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with pytest.raises(FileError, match="B03"):
        open_cube(next(tmp_path.glob("*.SAFE")))


def test_opening_reads_no_pixels(tmp_path, monkeypatch):
    folder = make_safe(tmp_path)

    def read(*args, **kwargs):
        raise AssertionError("pixels were read")

    monkeypatch.setattr("rioxarray._io.RasterioArrayWrapper.__getitem__", read)
    assert len(open_cube(folder).data_vars) == 13


# netCDF and Zarr ----------------------------------------------------------------------------------------------------


def packed_cube():
    coords = {
        "time": np.array(["2022-08-11", "2022-08-16"], "M8[ns]"),
        "y": 10.0 * np.arange(SIDE)[::-1],
        "x": 10.0 * np.arange(SIDE),
    }
    attrs = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": np.uint16(0)}
    bands = {name: (("time", "y", "x"), np.stack([BANDS[i]] * 2), attrs) for i, name in enumerate(NAMES)}
    cube = xr.Dataset(
        bands, coords | {"s2:processing_baseline": ("time", ["04.00", "05.09"]), "platform": "sentinel-2a"}
    )
    return cube.rio.write_crs("EPSG:32632")


def save(cube, path):
    if path.suffix == ".nc":
        cube.to_netcdf(path)
    else:
        cube.chunk(time=1).to_zarr(path, zarr_format=2)
    return path


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_stores_stay_packed_and_lazy(tmp_path, suffix):
    cube = open_cube(save(packed_cube(), tmp_path / f"cube{suffix}"), chunks=32)
    assert set(cube.data_vars) == set(NAMES)
    assert cube["red"].dtype == "uint16"
    assert cube["red"].chunks is not None
    assert cube["red"].chunksizes["time"] == (1, 1)
    assert cube["red"].attrs["scale_factor"] == pytest.approx(1e-4)
    assert cube["red"].attrs["_FillValue"] == 0
    assert cube["s2:processing_baseline"].chunks is None
    assert cube.rio.crs.to_epsg() == 32632
    np.testing.assert_array_equal(cube["red"][1], BANDS[2])
    got = reflectance.to_reflectance(cube, level="TOA")
    np.testing.assert_allclose(got["red"][0], BANDS[2] * 1e-4 - 0.1, atol=1e-6)


def test_packed_coordinates_are_decoded(tmp_path):
    cube = packed_cube()
    cube["x"].encoding = {"dtype": "int16", "scale_factor": 10.0, "_FillValue": -1}
    np.testing.assert_allclose(open_cube(save(cube, tmp_path / "cube.nc"))["x"], cube["x"])


def test_bands_of_a_store_are_chosen(tmp_path):
    path = save(packed_cube(), tmp_path / "cube.nc")
    assert list(open_cube(path, bands=["red"]).data_vars) == ["red"]
    with pytest.raises(FileError, match="no variables \\['purple'\\]"):
        open_cube(path, bands=["purple"])
    with pytest.raises(FileError, match="2 stores"):
        open_cube([path, path])


# What cannot be read ------------------------------------------------------------------------------------------------


def test_missing_path_and_folder_without_metadata(tmp_path):
    with pytest.raises(FileError, match="no file or folder"):
        open_cube(tmp_path / "nothing.tif")
    with pytest.raises(FileError, match="without product metadata"):
        open_cube(tmp_path)
    with pytest.raises(FileError, match="0 kinds"):
        open_cube([])


def test_inputs_of_two_kinds_are_refused(tmp_path):
    paths = [write_raster(tmp_path / "B02.tif", BANDS[:1]), save(packed_cube(), tmp_path / "cube.nc")]
    with pytest.raises(FileError, match="2 kinds"):
        open_cube(paths)


@pytest.mark.parametrize("name", ["cube.tif", "cube.nc", "cube.txt", "cube.jp2"])
@pytest.mark.parametrize("content", [b"", b"not a raster at all", b"II*\x00\x08\x00\x00\x00", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_raster_is_a_file_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError) as raised:
        open_cube(path)
    assert name in raised.value.found
    assert raised.value.remedy


@pytest.mark.parametrize("suffix", [".tif", ".nc"])
def test_truncated_header_is_a_file_error(tmp_path, suffix):
    path = tmp_path / f"cube{suffix}"
    if suffix == ".nc":
        save(packed_cube(), path)
    else:
        write_raster(path, BANDS, names=NAMES)
    Path(path).write_bytes(Path(path).read_bytes()[:3000])
    with pytest.raises(FileError, match=path.name):
        open_cube(path)
