"""Images as cubes: masks, alpha and no data of files, colours as names, palettes, wavelengths."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import rasterio
from products import NORTH, WEST, numbers, write_raster
from rasterio.enums import ColorInterp

from xr_cloudmask.cli import main
from xr_cloudmask.errors import FileError
from xr_cloudmask.files import open_cube
from xr_cloudmask.names import MASK_NAME

SIDE = 48
NAMES = ("blue", "green", "red", "nir")
RGB = ("red", "green", "blue")
HIDDEN = np.zeros((SIDE, SIDE), bool)
HIDDEN[5:20, 9:33] = True
GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "int32": "Int32", "float32": "Float32"}
UNSEEN = np.where(HIDDEN, 0, 255).astype("uint8")


def values(count=4, dtype="uint8", seed=3):
    """Return numbers that are never no data, 0 among them; nothing tells those of hidden pixels."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 250, (count, SIDE, SIDE))
    return (numbers / 250).astype(dtype) if np.dtype(dtype).kind == "f" else numbers.astype(dtype)


def internal(path, bands):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_raster(path, bands, names=NAMES, photometric="minisblack")
        with rasterio.open(path, "r+") as file:
            file.write_mask(UNSEEN)
    assert not path.with_suffix(".tif.msk").exists()


def sidecar(path, bands):
    write_raster(path, bands, names=NAMES, photometric="minisblack")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(UNSEEN)
    assert Path(f"{path}.msk").exists()


def alpha(path, bands, **profile):
    opaque = 1 if bands.dtype.kind == "f" else np.iinfo(bands.dtype).max
    layers = np.concatenate([bands, np.where(HIDDEN, 0, opaque)[None].astype(bands.dtype)])
    write_raster(path, layers, names=(*NAMES, ""), photometric="minisblack", **profile)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:4], ColorInterp.alpha]


def described_alpha(path, bands):
    alpha(path, bands)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * 4]
        file.set_band_description(5, "Alpha")


def alpha_beside_nodata(path, bands):
    alpha(path, bands, nodata=251)


def no_data_values(path, bands):
    """Hide pixels by a no-data colour: NODATA_VALUES."""
    bands[:, HIDDEN] = np.array([7, 8, 9, 10])[:, None]
    write_raster(path, bands, names=NAMES, photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="7 8 9 10")


def masks_of_bands(path, bands):
    """Hide pixels of one band alone, as only virtual rasters can."""
    write_raster(path.with_suffix(".a.tif"), bands, names=NAMES, photometric="minisblack")
    write_raster(path.with_suffix(".b.tif"), UNSEEN[None])
    mask = (
        f"<MaskBand><VRTRasterBand dataType='Byte'><SimpleSource><SourceFilename>{path.with_suffix('.b.tif')}"
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
    )
    layers = "".join(
        f"<VRTRasterBand dataType='{GDAL_TYPES[bands.dtype.name]}' band='{i}'><Description>{name}"
        f"</Description><SimpleSource><SourceFilename>{path.with_suffix('.a.tif')}</SourceFilename><SourceBand>{i}"
        f"</SourceBand></SimpleSource>{mask if i == 2 else ''}</VRTRasterBand>"
        for i, name in enumerate(NAMES, 1)
    )
    path.write_text(
        f"<VRTDataset rasterXSize='{SIDE}' rasterYSize='{SIDE}'><SRS>EPSG:32632</SRS>"
        f"<GeoTransform>{WEST}, 10, 0, {NORTH}, 0, -10</GeoTransform>{layers}</VRTDataset>"
    )


WAYS = (internal, sidecar, alpha, described_alpha, alpha_beside_nodata, no_data_values, masks_of_bands)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_a_file_hides_is_no_data_and_nothing_else_is(tmp_path, way, dtype):
    if way is no_data_values and dtype == "float32":
        pytest.skip("a no-data colour is of numbers")
    bands = values(dtype=dtype)
    if way is alpha_beside_nodata:
        bands[0, 0, 0] = 251
    way(tmp_path / "cube.tif", bands)
    cube = open_cube(tmp_path / "cube.tif", chunks=16)
    assert list(cube.data_vars) == list(NAMES)
    assert all(band.dtype == dtype and isinstance(band.data, da.Array) for band in cube.values())
    seen = cube.cloudmask.reflectance(scale=1.0 if dtype == "float32" else 1 / 255)
    for i, name in enumerate(NAMES):
        expected = HIDDEN if way is not masks_of_bands or name == "green" else np.zeros_like(HIDDEN)
        if way is alpha_beside_nodata and name == "blue":
            expected = expected | (bands[0] == 251)
        np.testing.assert_array_equal(np.isnan(seen[name]), expected, err_msg=name)
        off = np.abs(cube[name].values.astype("float64") - bands[i])[~expected]
        assert off.max() <= (bands.dtype.kind == "u")  # 0 that is data


@pytest.mark.parametrize("way", [internal, alpha], ids=["internal", "alpha"])
def test_labels_have_no_data_where_a_file_hides_pixels(tmp_path, way):
    way(tmp_path / "cube.tif", values()[[0, 1, 2, 3]])
    options = {"scale": "display", "level": "TOA", "resolution": "native"}
    whole = open_cube(tmp_path / "cube.tif").cloudmask.predict("universal", **options)[MASK_NAME]
    np.testing.assert_array_equal(whole == 255, HIDDEN)
    pieces = open_cube(tmp_path / "cube.tif", chunks=13).cloudmask.predict("universal", **options)[MASK_NAME]
    np.testing.assert_array_equal(pieces, whole)


def test_what_is_hidden_is_read_late_and_in_windows(tmp_path, monkeypatch):
    internal(tmp_path / "cube.tif", values())
    expected = open_cube(tmp_path / "cube.tif").compute()
    read = []
    whole = rasterio.open

    def watched(*args, **kwargs):
        read.append(args)
        return whole(*args, **kwargs)

    cube = open_cube(tmp_path / "cube.tif", chunks=16)
    monkeypatch.setattr("rasterio.open", watched)
    part = cube.isel(y=slice(3, 11), x=slice(20, 30))
    assert not read
    np.testing.assert_array_equal(part["red"], expected["red"][3:11, 20:30])
    assert len(read) <= 2  # blocks of the mask


def test_a_file_written_anew_is_another_one(tmp_path):
    internal(tmp_path / "cube.tif", values())
    first = open_cube(tmp_path / "cube.tif")["red"].data.name
    assert open_cube(tmp_path / "cube.tif")["red"].data.name == first
    internal(tmp_path / "cube.tif", values(seed=4))
    assert open_cube(tmp_path / "cube.tif")["red"].data.name != first


def test_what_shows_through_a_little_is_seen(tmp_path):
    bands = values(3)
    opacity = np.full((SIDE, SIDE), 255, "uint8")
    opacity[0], opacity[1] = 0, 1
    write_raster(tmp_path / "rgba.tif", np.concatenate([bands, opacity[None]]))
    red = open_cube(tmp_path / "rgba.tif").cloudmask.reflectance(scale=1 / 255)["red"]
    assert np.isnan(red[0]).all()
    assert not np.isnan(red[1:]).any()


def test_masks_of_several_files_are_each_its_own(tmp_path):
    internal(tmp_path / "a.tif", values())
    write_raster(tmp_path / "swir16.tif", numbers(SIDE // 2)[None], 20)
    with rasterio.open(tmp_path / "swir16.tif", "r+") as file:
        file.write_mask(np.where(np.arange(SIDE // 2)[:, None] < 2, 0, 255).astype("uint8").repeat(SIDE // 2, axis=1))
    cube = open_cube([tmp_path / "a.tif", tmp_path / "swir16.tif"])
    seen = cube.cloudmask.reflectance(scale=1 / 255)
    np.testing.assert_array_equal(np.isnan(seen["red"]), HIDDEN)
    rows = np.isnan(cube["swir16"].where(cube["swir16"] != cube["swir16"].attrs["_FillValue"]))
    assert rows[:4].all()
    assert not rows[4:].any()


def test_a_declaration_of_one_band_is_not_that_of_another(tmp_path):
    write_raster(tmp_path / "B02.tif", numbers(SIDE)[None], nodata=0)
    write_raster(tmp_path / "swir16.tif", numbers(SIDE // 2)[None], 20)
    assert "_FillValue" not in open_cube([tmp_path / "B02.tif", tmp_path / "swir16.tif"])["swir16"].attrs


def test_quality_bands_keep_their_codes(tmp_path):
    internal(tmp_path / "a.tif", values())
    cube = open_cube(tmp_path / "a.tif", bands=["B02", "B03", "B04", "SCL"])
    np.testing.assert_array_equal(cube["SCL"], values()[3])
    assert "_FillValue" not in cube["SCL"].attrs


# Names --------------------------------------------------------------------------------------------------------------


def coloured(path, colours, descriptions=(), dtype="uint8"):
    write_raster(path, values(len(colours), dtype), names=descriptions, photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp[colour] for colour in colours]
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("colours", "names"),
    [
        (["red", "green", "blue"], ["red", "green", "blue"]),
        (["red", "green", "blue", "alpha"], ["red", "green", "blue"]),
        (["blue", "green", "red", "nir"], ["blue", "green", "red", "nir"]),
        (["red", "green", "blue", "nir", "alpha"], ["red", "green", "blue", "nir"]),
        (["coastal", "blue", "green", "red", "rededge", "nir"], ["coastal", "blue", "green", "red", "rededge", "nir"]),
    ],
)
def test_colours_name_bands(tmp_path, colours, names, dtype):
    assert list(open_cube(coloured(tmp_path / "image.tif", colours, dtype=dtype)).data_vars) == names


@pytest.mark.parametrize("descriptions", [(), ("Band 1", "Band 2", "Band 3"), ("1", "2", "3"), ("band_1", "", "")])
def test_numbers_are_no_descriptions(tmp_path, descriptions):
    path = coloured(tmp_path / "image.tif", ["blue", "red", "nir"], descriptions)
    assert list(open_cube(path).data_vars) == ["blue", "red", "nir"]


def test_descriptions_win_over_colours(tmp_path):
    path = write_raster(tmp_path / "image.tif", values(4), names=NAMES)  # red, green, blue and alpha to GDAL
    cube = open_cube(path)
    assert list(cube.data_vars) == list(NAMES)
    np.testing.assert_array_equal(cube["nir"], values(4)[3])


def test_a_name_for_every_band_leaves_no_alpha(tmp_path):
    path = write_raster(tmp_path / "image.tif", values(4))
    assert list(open_cube(path).data_vars) == list(RGB)
    assert list(open_cube(path, bands=["a", "b", "c"]).data_vars) == ["a", "b", "c"]
    cube = open_cube(path, bands=NAMES)
    np.testing.assert_array_equal(cube["nir"], values(4)[3])
    assert "_FillValue" not in cube["blue"].attrs


@pytest.mark.parametrize(
    ("colours", "found", "names"),
    [
        (["red", "green", "blue", "undefined"], "of which 4", ["red", "green", "blue", "nir"]),
        (["red", "green", "blue", "undefined", "alpha"], "of which 4", ["red", "green", "blue", "nir"]),
        (["gray", "undefined", "undefined"], "that have neither", ["red", "green", "blue"]),
        (["gray"] + ["undefined"] * 3, "that have neither", ["blue", "green", "red", "nir"]),
        (["undefined"] * 7, "that have neither", ["blue", "green", "red", "nir", "swir16", "swir22", "band_1"]),
    ],
)
def test_what_is_advised_for_bands_without_names_can_be_typed(tmp_path, colours, found, names):
    path = coloured(tmp_path / "image.tif", colours)
    with pytest.raises(FileError, match=found) as raised:
        open_cube(path)
    assert f"bands={names}" in raised.value.remedy
    assert list(open_cube(path, bands=names).data_vars) == names


def test_a_file_of_one_band_is_named_by_its_name_or_colour(tmp_path):
    assert list(open_cube(coloured(tmp_path / "x_B04.tif", ["gray"])).data_vars) == ["B04"]
    assert list(open_cube(coloured(tmp_path / "orthophoto.tif", ["pan"])).data_vars) == ["pan"]
    assert list(open_cube(coloured(tmp_path / "field.tif", ["gray"])).data_vars) == ["field"]


def test_alpha_in_a_file_of_its_own_hides_nothing_of_others(tmp_path):
    path = coloured(tmp_path / "a.tif", ["alpha"])
    with pytest.raises(FileError, match="nothing but alpha"):
        open_cube(path)
    assert list(open_cube(path, bands=["red"]).data_vars) == ["red"]


# What is no light ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [{"photometric": "palette"}, {"nbits": 1}])
def test_palettes_are_refused(tmp_path, profile):
    path = write_raster(tmp_path / "image.tif", (values(1) % 2).astype("uint8"), **profile)
    if "nbits" not in profile:
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {i: (i, 0, 255 - i, 255) for i in range(256)})
    with pytest.raises(FileError, match="palette") as raised:
        open_cube(path)
    assert "-expand rgb" in raised.value.remedy
    assert list(open_cube(path, bands=["SCL"]).data_vars) == ["SCL"]


def test_complex_numbers_are_refused(tmp_path):
    path = write_raster(tmp_path / "slc.tif", values(3).astype("complex64"))
    with pytest.raises(ValueError, match="complex64"):
        open_cube(path, bands=RGB).cloudmask.predict()


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64"])
def test_unusual_integers_are_numbers_like_others(tmp_path, dtype):
    path = write_raster(tmp_path / "image.tif", (values(3) // 2).astype(dtype))
    cube = open_cube(path, bands=RGB)
    assert cube["red"].dtype == dtype
    seen = cube.cloudmask.reflectance(scale=1 / 127, offset=0)
    np.testing.assert_allclose(seen["red"], values(3)[0] // 2 / 127, atol=1e-6)


# What else files say ------------------------------------------------------------------------------------------------


def test_wavelengths_of_gdal_describe_bands(tmp_path):
    path = coloured(tmp_path / "image.tif", ["undefined"] * 3)
    with rasterio.open(path, "r+") as file:
        for band, centre in enumerate((0.48, 0.56, 1.61), 1):
            file.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(centre), FWHM_UM="0.02")
    cube = open_cube(path)
    assert list(cube.data_vars) == ["480 nm", "560 nm", "1610 nm"]
    described = {band.role: (band.min_wavelength, band.max_wavelength) for band in cube.cloudmask.descriptors()}
    assert described == {"blue": (470, 490), "green": (550, 570), "swir16": (1600, 1620)}


def test_files_beside_are_seen_whatever_a_loader_told_gdal(tmp_path):
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(tmp_path / "image.tif", "w", driver="GTiff", width=32, height=32, count=3, dtype="uint8") as file,
    ):
        file.write(np.full((3, 32, 32), 90, "uint8"))
        file.write_mask(np.arange(1024).reshape(32, 32) >= 512)
    assert (tmp_path / "image.tif.msk").exists()
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        cube = open_cube(tmp_path / "image.tif", bands=["red", "green", "blue"])
        found = cube.cloudmask.reflectance(scale="display").red.compute(scheduler="sync")
    assert np.isnan(found).sum() == 512


def test_envi_says_which_bands_are_bad_and_how_reflectance_is_scaled(tmp_path):
    path = write_raster(tmp_path / "cube.img", values(4, "uint16"), driver="ENVI")
    header = path.with_suffix(".hdr")
    lines = header.read_text().split("band names")[0]
    header.write_text(
        f"{lines}\nwavelength units = Nanometers\nwavelength = {{450, 550, 650, 1400}}\nfwhm = {{10, 10, 10, 10}}\n"
        "bbl = {1, 1, 1, 0}\nreflectance scale factor = 10000\n"
    )
    cube = open_cube(path)
    described = cube.cloudmask.descriptors()
    assert [(band.min_wavelength, band.max_wavelength) for band in described] == [(445, 455), (545, 555), (645, 655)]
    first = next(iter(cube.data_vars))
    # rioxarray opens files as they are read; odc-stac tells GDAL, for the rest of a thread, not to look beside them.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="FALSE"):
        found = cube.cloudmask.reflectance()[first].compute(scheduler="sync")
    np.testing.assert_allclose(found, values(4)[0] * 1e-4, atol=1e-6)


# Command line -------------------------------------------------------------------------------------------------------


def test_command_line_knows_colours_and_alpha(tmp_path, capsys):
    layers = np.concatenate([values(3), UNSEEN[None]])
    path, out = write_raster(tmp_path / "drone.tif", layers), tmp_path / "mask.tif"
    assert main(["predict", str(path), "-o", str(out), "--quiet"]) != 0
    assert "--scale display" in capsys.readouterr().err
    run = ["predict", str(path), "-o", str(out), "--scale", "display", "--resolution", "native", "--quiet"]
    assert main(run) == 0
    with rasterio.open(out) as mask:
        np.testing.assert_array_equal(mask.read(1) == 255, HIDDEN)


@pytest.mark.parametrize("options", [{}, {"masked": True}, {"mask_and_scale": True}])
def test_white_is_that_of_the_file_however_it_was_opened(tmp_path, options):
    import rioxarray

    path = write_raster(tmp_path / "image.tif", values(3))
    opened = rioxarray.open_rasterio(path, chunks=16, **options).assign_coords(band=list(RGB))
    expected = open_cube(path).cloudmask.reflectance(scale="display")["red"]
    np.testing.assert_array_equal(opened.cloudmask.reflectance(scale="display").sel(band="red"), expected)
