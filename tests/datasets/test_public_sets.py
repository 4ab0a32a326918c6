"""Public sets in miniature whose layouts are of their own: memory maps, netCDF, Landsat, points, 60 m maps."""

import numpy as np
import pytest
import xarray as xr
from products import make_safe, write_raster

from xr_cloudmask.datasets import SETS, scenes
from xr_cloudmask.datasets.points import OF_L8, OF_S2
from xr_cloudmask.errors import FileError
from xr_cloudmask.evaluation import benchmark

SIDE = 32


def image(count, dtype="uint16", low=6000, high=20000):
    return np.random.default_rng(0).integers(low, high, (count, SIDE, SIDE)).astype(dtype)


def cycled(*codes, side=SIDE):
    return np.resize(np.array(codes, "uint8"), (side, side))


def words(one, count):
    return ["/".join(one.meanings[place][0]) if place < 255 else "" for place in one.truth.ravel()[:count]]


def mtl(path, **fields):
    lines = "".join(f"    {name} = {value}\n" for name, value in {"SUN_ELEVATION": 40.0, **fields}.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"GROUP = L1_METADATA_FILE\n  GROUP = ALL\n{lines}  END_GROUP = ALL\nEND_GROUP = L1_METADATA_FILE\nEND\n"
    )


def test_memory_maps_of_cloudsen12(tmp_path):
    folder = tmp_path / "test"
    folder.mkdir()
    for number, band in enumerate(SETS["cloudsen12"].bands):
        np.full((2, 512, 512), 1000 + number, "<i2").tofile(folder / f"L1C_{band}.dat")
    cycled(0, 1, 2, 3, 99, side=512).reshape(1, 512, 512).repeat(2, 0).astype("i1").tofile(
        folder / "LABEL_manual_hq.dat"
    )
    first, second = scenes("cloudsen12", tmp_path)
    assert words(first, 5) == ["clear/land/water/snow", "thick_cloud", "thin_cloud", "cloud_shadow", ""]
    assert (first.name, second.name) == ("test/0", "test/1")
    assert [int(second.cube[band][0, 0]) for band in ("B1", "B8A", "B12")] == [1000, 1008, 1012]
    with (folder / "LABEL_manual_hq.dat").open("ab") as file:
        file.write(b"0")
    with pytest.raises(FileError, match="LABEL_manual_hq"):
        list(scenes("cloudsen12", tmp_path))


@pytest.mark.parametrize(("dtype", "scale"), [("uint16", 1e-4), ("float32", 6.5535)])
def test_kappaset(tmp_path, dtype, scale):
    bands = dict(
        zip(SETS["kappaset"].bands, image(13).astype(dtype) / (1 if dtype == "uint16" else 65535), strict=True)
    )
    data = {name: (("y", "x"), values.astype(dtype)) for name, values in bands.items()}
    xr.Dataset({**data, "Label": (("y", "x"), cycled(0, 1, 2, 3, 4, 5))}).to_netcdf(tmp_path / "a.nc")
    (one,) = scenes("kappaset", tmp_path)
    assert words(one, 6) == ["", "clear/land/water/snow", "cloud_shadow", "thin_cloud", "thick_cloud", ""]
    assert one.told["scale"] == scale


@pytest.mark.parametrize("coloured", [True, False])
def test_sparcs(tmp_path, coloured):
    codes = cycled(0, 1, 2, 3, 4, 5, 6)
    colours = np.array(
        [(0, 0, 0), (0, 0, 128), (0, 0, 255), (0, 255, 255), (128, 128, 128), (255, 255, 255), (128, 128, 0)], "uint8"
    )
    mask = np.moveaxis(colours[codes], 2, 0) if coloured else codes[None]
    write_raster(tmp_path / "LC8_1_data.tif", image(10), 30.0)
    write_raster(tmp_path / "LC8_1_mask.png", mask, driver="PNG")
    mtl(tmp_path / "LC8_1_mtl.txt")
    (one,) = scenes("sparcs", tmp_path)
    assert words(one, 7) == ["cloud_shadow", "cloud_shadow", "water", "snow", "land", "thick_cloud/thin_cloud", "land"]
    assert one.cube["view:sun_elevation"] == 40


def test_l7_irish(tmp_path):
    folder = tmp_path / "p1_r1"
    write_raster(folder / "L71001001_00120010101.TIF", image(9, "uint8", 20, 200), 30.0)
    write_raster(folder / "L7_p1_r1_newmask2015.TIF", cycled(0, 64, 128, 192, 255)[None], 30.0)
    limits = {f"L{end}_BAND{band}": value for band in "123457" for end, value in (("MAX", 200.0), ("MIN", -5.0))}
    mtl(folder / "L71001001_00120010101_MTL.txt", ACQUISITION_DATE="2001-01-01", **limits)
    (one,) = scenes("l7irish", tmp_path)
    assert words(one, 5) == ["", "cloud_shadow", "clear/land/water/snow", "thin_cloud", "thick_cloud"]
    gain = np.pi * 0.98331**2 / 1970.0 * 205 / 254  # the Earth is nearest to the sun in the first days of January
    assert one.cube["B1"].attrs["scale_factor"] == pytest.approx(gain, rel=2e-3)
    folder.joinpath("L7_p1_r1_newmask2015.TIF").rename(folder / "L7_p1_r1_mask.TIF")
    with pytest.raises(FileError, match="newmask2015"):
        list(scenes("l7irish", tmp_path))


def table(path, product, columns):
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    lines = [f"{product},{number},0,{','.join(map(str, row))}" for number, row in enumerate(rows)]
    path.write_text("\n".join([f"PRODUCT_ID,PIXEL_X,PIXEL_Y,{','.join(names)}", *lines]))


def test_points_of_landsat(tmp_path):
    product, name = next(iter(OF_L8.items()))
    for band in SETS["pixbox-l8"].bands:
        write_raster(tmp_path / f"Landsat8_L1/{name}/{name}_{band}.TIF", image(1), 30.0)
    mtl(tmp_path / f"Landsat8_L1/{name}/{name}_MTL.txt")
    asked = {"PIXEL_SURFACE_TYPE_ID": (0, 1, 5, 1, 5), "CLOUD_SHADOW_ID": (0, 0, 1, 1, 0)}
    table(tmp_path / "pixbox_landsat8_cmix_20150527.csv", product, asked)
    (one,) = scenes("pixbox-l8", tmp_path)
    assert [place.tolist() for place in one.points] == [[0] * 5, [0, 1, 2, 3, 4]]
    assert len(set(one.truth[:2].tolist())) == 1
    assert len(set(one.truth.tolist())) == 4
    report = benchmark("pixbox-l8", tmp_path, ["universal"], output=tmp_path / "out")
    assert report.scores["universal"].counts.sum() > 0


def test_points_of_sentinel_2(tmp_path):
    product, name = next(iter(OF_S2.items()))
    make_safe(tmp_path / "Sentinel-2_L1C")
    (made,) = (tmp_path / "Sentinel-2_L1C").glob("*.SAFE")
    made.rename(made.with_name(f"{name}.SAFE"))
    asked = {"CLOUD_CHARACTERISTICS_ID": (2, 0, 0, 8, 0), "SHADOW_ID": (0, 3, 0, 3, 7)}
    table(tmp_path / "pixbox_sentinel2_cmix_20180425.csv", product, asked)
    (one,) = scenes("pixbox-s2", tmp_path)
    assert one.points[1].tolist() == [0, 1, 2, 3]  # the last is in none of the classes
    assert len(set(one.truth.tolist())) == 4


@pytest.mark.parametrize("name", ["cesbio", "hollstein"])
def test_maps_of_60_m(tmp_path, name):
    make_safe(tmp_path)
    folder = tmp_path / SETS[name].folder / "Narni_T32TQM_20220811"
    (product,) = tmp_path.glob("*.SAFE")
    side = xr.open_dataset(next(product.rglob("*_B02.jp2")), engine="rasterio").sizes["y"] // 6
    write_raster(folder / "Classification/classification_map.tif", cycled(0, 2, 3, 4, 5, 6, 7, side=side)[None], 60.0)
    (one,) = scenes(name, tmp_path)
    assert one.truth.shape == (one.cube.sizes["y"], one.cube.sizes["x"])
    cells = one.truth[::6, ::6].ravel()[:7]
    found = ["/".join(one.meanings[place][0]) if place < 255 else "" for place in cells]
    assert found == ["", "thick_cloud/thin_cloud", "thick_cloud/thin_cloud", "cloud_shadow", "land", "water", "snow"]
