"""Search, load and screen against servers on 127.0.0.1: a real STAC API, and files with faults."""

from __future__ import annotations

import copy
import json
import re
import sys
import warnings
from pathlib import Path

import dask
import loaders
import numpy as np
import odc.geo.xr  # noqa: F401 - registers .odc
import pystac
import pytest
import rasterio
from paths import DOCS, SHARED
from products import cbers_xml
from scenes import COEFFICIENTS, COLLECTION, make_wpm
from stac_server import serve_api, serve_files

import xr_cloudmask
from xr_cloudmask import BandError, CloudMaskError, FileError, StacError
from xr_cloudmask.stac import http, load, screen, search

BRAZIL = "-60, -30, -40, -10"
REAL = SHARED / "data/bdc"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A dozen WPM scenes behind an API: more than a page of it."""
    folder = tmp_path_factory.mktemp("catalogue")
    with serve_files(folder / "files") as files:
        scenes = [
            make_wpm(folder / "files", files.url, i, size=(64, 64), cloud_cover=None if i == 1 else 12.0)
            for i in range(12)
        ]
        with serve_api([scene.item for scene in scenes], folder / "api") as api:
            yield files, api, scenes


@pytest.fixture(autouse=True)
def _well(request):
    """No fault of one test is left to the next."""
    if "catalogue" in request.fixturenames:
        for server in request.getfixturevalue("catalogue")[:2]:
            server.fail()
            server.forget()


@pytest.fixture
def quick(monkeypatch):
    """Do not wait long before a repetition."""
    monkeypatch.setattr(http, "PAUSES", (0.01,) * len(http.PAUSES))


def items_of(scenes, count=None):
    return [pystac.Item.from_dict(copy.deepcopy(scene.item)) for scene in scenes[:count]]


# Search --------------------------------------------------------------------------------------------------------------


def test_search_finds_all_pages_in_order(catalogue):
    _, api, scenes = catalogue
    found = search(api.url, COLLECTION, bbox=BRAZIL, datetime="2025-01-01/2025-01-31")
    assert [item.id for item in found] == [scene.item["id"] for scene in scenes]
    assert sum("/search" in request.path for request in api.log) == 2


def test_search_by_area_date_and_number(catalogue):
    _, api, scenes = catalogue
    west, south, east, north = scenes[3].item["bbox"]
    inside = {"type": "Point", "coordinates": [(west + east) / 2, (south + north) / 2]}
    assert [i.id for i in search(api.url, [COLLECTION], intersects=inside)] == [scenes[3].item["id"]]
    assert [i.id for i in search(api.url, datetime="2025-01-05")] == [scenes[4].item["id"]]
    assert len(search(api.url, COLLECTION, limit=2)) == 2
    assert search(api.url, COLLECTION, datetime="2031") == []


def test_search_outlasts_faults(catalogue, quick):
    _, api, scenes = catalogue
    api.fail("drop", 500, None, 429, "cut", 503, retry_after=0)
    assert len(search(api.url, COLLECTION)) == len(scenes)
    assert api.faults == 5


def test_search_heeds_retry_after(catalogue, quick):
    _, api, _ = catalogue
    waited = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.time, "sleep", waited.append)
        api.fail(429, retry_after=3)
        search(api.url, COLLECTION, limit=1)
    assert waited == [3.0]


def test_search_says_what_does_not_answer(catalogue, quick):
    files, api, _ = catalogue
    with pytest.raises(StacError, match=r"no items from http://127\.0\.0\.1:9"):
        search("http://127.0.0.1:9", COLLECTION)
    with pytest.raises(StacError, match="no items"):
        search(files.url, COLLECTION)  # not an API
    api.fail(*[500] * 20, path="search")
    with pytest.raises(StacError, match="no items"):
        search(api.url, COLLECTION)


def test_search_refuses_what_the_api_may_ignore(catalogue):
    _, api, _ = catalogue
    with pytest.raises(StacError, match="does not offer queries"):
        search(api.url, COLLECTION, query={"eo:cloud_cover": {"lt": 50}})
    with pytest.raises(StacError, match="west, south, east, north"):
        search(api.url, COLLECTION, bbox=(1, 2, 3))


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_query_goes_to_an_api_that_offers_queries(tmp_path, catalogue, method):
    scenes = catalogue[2]
    with serve_files(tmp_path) as api:
        conformance = [f"https://api.stacspec.org/v1.0.0/item-search{part}" for part in ("", "#query")]
        root = {
            "type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "api", "conformsTo": conformance,
            "links": [
                {"rel": "search", "href": f"{api.url}/search.json", "type": "application/geo+json", "method": method}
            ],
        }  # fmt: skip
        (tmp_path / "root.json").write_text(json.dumps(root))
        (tmp_path / "search.json").write_text(json.dumps({"features": [scene.item for scene in scenes[:2]]}))
        found = search(f"{api.url}/root.json", query={"eo:cloud_cover": {"lt": 50}})
        assert [item.id for item in found] == [scene.item["id"] for scene in scenes[:2]]
        assert api.log[-1].method == method


@pytest.mark.parametrize("text", ["'; DROP TABLE items; --", "../../etc/passwd", "%00", '" OR 1=1'])
def test_search_takes_any_text_as_text(catalogue, text):
    _, api, _ = catalogue
    assert search(api.url, text) == []


# Load: CBERS-4A WPM of the Brazil Data Cube --------------------------------------------------------------------------


def test_load_makes_a_lazy_cube_that_needs_no_argument(catalogue):
    files, api, scenes = catalogue
    found = search(api.url, COLLECTION, bbox=scenes[0].item["bbox"])
    with dask.config.set(scheduler=_no_scheduler):
        cube = load(found)
        out = cube.cloudmask.predict()
    # A header, for there is no projection, and an XML file: no pixel beyond what came with the header.
    assert {Path(request.path).name for request in files.log} == {
        f"{scenes[0].item['id']}_BAND1.tif",
        f"{scenes[0].item['id']}_BAND1.xml",
    }
    assert list(cube) == ["BAND1", "BAND2", "BAND3", "BAND4"]
    assert {band.dtype for band in cube.values()} == {np.dtype("uint16")}  # not int16, as the item has it
    assert out["cloud_mask"].attrs["level"] == "TOA"
    assert "0.29107 W m-2 sr-1 um-1 (cube)" in out["cloud_mask"].attrs["reflectance_provenance"]


def _no_scheduler(*_, **__):
    raise AssertionError("something was computed")


def test_loaded_pixels_and_masks_are_those_of_the_file(catalogue):
    _, _, scenes = catalogue
    cube = load(items_of(scenes, 1))
    for name, numbers in scenes[0].numbers.items():
        np.testing.assert_array_equal(cube[name].values[0], numbers.values)
    direct = xr_cloudmask.parse_cbers_metadata(cbers_xml(COEFFICIENTS, instrument="WPM", day="2025-01-01")).attach(
        scenes[0].numbers.assign_coords(x=cube["x"], y=cube["y"], spatial_ref=cube["spatial_ref"])
    )
    np.testing.assert_array_equal(
        cube.cloudmask.predict()["cloud_mask"].values[0], direct.cloudmask.predict()["cloud_mask"].values
    )


def test_grid_and_coordinates(catalogue):
    _, _, scenes = catalogue
    cube = load(items_of(scenes, 1))
    with rasterio.open(scenes[0].item["assets"]["BAND1"]["href"]) as file:
        assert cube.odc.geobox.transform == file.transform
        assert cube.odc.geobox.crs == file.crs
    assert cube["id"].values.tolist() == [scenes[0].item["id"]]
    assert cube["eo:cloud_cover"].values.tolist() == [12.0]
    assert cube["view:sun_elevation"].values.tolist() == [47.8578]
    assert str(cube["time"].values[0])[:19] == "2025-01-01T13:26:08"
    assert cube["BAND1"].attrs == {
        "common_name": "blue", "center_wavelength": 0.485, "full_width_half_max": 0.07, "nodata": 0.0
    }  # fmt: skip


def test_a_null_cloud_cover_is_nan(catalogue):
    _, _, scenes = catalogue
    cube = load(reversed(items_of(scenes, 2)))
    np.testing.assert_array_equal(cube["eo:cloud_cover"].values, [12.0, np.nan])
    assert (np.diff(cube["time"].values).astype(int) > 0).all()
    alone = load(items_of(scenes, 2)[1:])
    assert "eo:cloud_cover" not in alone.coords
    assert np.isfinite(alone.cloudmask.predict()["cloud_fraction"].values).all()


def test_bands_by_common_name(catalogue):
    _, _, scenes = catalogue
    cube = load(items_of(scenes, 1), ["nir", "BAND3"])
    assert list(cube) == ["nir", "BAND3"]
    np.testing.assert_array_equal(cube["nir"].values[0], scenes[0].numbers["BAND4"].values)
    assert cube.cloudmask.reflectance()["nir"].dtype == np.float32


def test_another_grid(catalogue):
    _, _, scenes = catalogue
    west, south, east, north = scenes[0].item["bbox"]
    half = load(items_of(scenes, 1), bbox=(west, south, (west + east) / 2, north))
    assert 30 <= half.sizes["x"] <= 34
    coarse = load(items_of(scenes, 1), crs="EPSG:4326", resolution=0.001)
    assert coarse.odc.geobox.crs.epsg == 4326
    same = load(items_of(scenes, 1), geobox=half.odc.geobox)
    assert same.odc.geobox == half.odc.geobox
    with pytest.raises(StacError, match="make no grid"):
        load(items_of(scenes, 1), geobox=half.odc.geobox, resolution=10)
    with pytest.raises(StacError, match="chunks of \\['time'\\]"):
        load(items_of(scenes, 1), chunks={"time": 4})


def test_files_in_rows_are_read_in_rows(tmp_path):
    (tmp_path / "striped").mkdir()
    striped = make_wpm(tmp_path / "striped", str(tmp_path / "striped"), size=(64, 64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[load.__module__], "CHUNK", 32)
        assert load(items_of([striped])).chunksizes["x"] == (64,)
        assert load(items_of([striped])).chunksizes["y"] == (16,) * 4
        assert load(items_of([striped]), chunks={"x": 16}).chunksizes["x"] == (16,) * 4


def test_equal_loads_have_equal_keys(catalogue):
    _, _, scenes = catalogue
    names = [load(items_of(scenes, 1))["BAND1"].data.name for _ in range(2)]
    assert names[0] == names[1]


def test_a_missing_band_is_named_with_its_item(catalogue):
    _, _, scenes = catalogue
    items = items_of(scenes, 2)
    del items[1].assets["BAND2"]
    with pytest.raises(BandError, match=f"{items[1].id}.*without band 'BAND2'"):
        load(items, ["BAND1", "BAND2"])
    assert list(load(items)) == ["BAND1", "BAND3", "BAND4"]


def test_xml_without_coefficients(tmp_path):
    old = make_wpm(tmp_path, str(tmp_path), coefficients={}, size=(64, 64))
    out = load(items_of([old])).cloudmask.predict()
    assert "assumed: cbers-4a-wpm table" in out["cloud_mask"].attrs["reflectance_provenance"]
    assert "the XML has no calibration coefficient" in out["cloud_mask"].attrs["reflectance_provenance"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"<prdf><image>", "cannot be parsed|not well-formed|XML"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><prdf>&b;</prdf>', "XML|entit"),
        (b"<html>Please log in</html>", "XML without satellite/name"),
    ],
    ids=["cut", "bomb", "portal"],
)
def test_xml_that_is_none_names_the_item(tmp_path, content, complaint):
    scene = make_wpm(tmp_path, str(tmp_path), size=(64, 64))
    for path in tmp_path.rglob("*.xml"):
        path.write_bytes(content)
    with pytest.raises(FileError, match=f"(?s)item '{scene.item['id']}'.*({complaint})"):
        load(items_of([scene]))


def test_reading_outlasts_faults(catalogue, quick):
    files, _, scenes = catalogue
    files.fail(share=0.2)
    cube = load(items_of(scenes, 6)).compute()
    assert files.faults >= 5
    for i, scene in enumerate(scenes[:6]):
        part = cube.isel(time=i).sel(x=_centres(scene), method="nearest")
        np.testing.assert_array_equal(part["BAND2"].values, scene.numbers["BAND2"].values)


def _centres(scene):
    with rasterio.open(scene.item["assets"]["BAND1"]["href"]) as file:
        return file.transform.c + 8 * (np.arange(file.width) + 0.5)


def test_a_file_that_is_not_there(catalogue, quick):
    files, _, scenes = catalogue
    item = items_of(scenes, 1)[0]
    item.assets["BAND1"].href = f"{files.url}/nothing.tif"
    with pytest.raises(FileError, match=r"nothing\.tif.*404"):
        load([item])
    item = items_of(scenes, 1)[0]
    item.assets["BAND1_xml"].href = f"{files.url}/nothing_BAND1.xml"
    with pytest.raises(FileError, match=r"item .*nothing_BAND1\.xml"):
        load([item])
    item.assets["BAND1_xml"].href = "s3://bucket/nothing_BAND1.xml"
    with pytest.raises(FileError, match="patch_url"):
        load([item])


def test_a_truncated_file_is_an_error_not_a_dark_scene(tmp_path):
    scene = make_wpm(tmp_path, str(tmp_path), size=(64, 64))
    path = Path(scene.item["assets"]["BAND3"]["href"])
    path.write_bytes(path.read_bytes()[:-4000])
    cube = load(items_of([scene]))
    with pytest.raises(rasterio.errors.RasterioIOError):
        cube.compute()


def test_addresses_are_patched(catalogue):
    files, _, scenes = catalogue
    items = items_of(scenes, 1)
    for asset in items[0].assets.values():
        asset.href = asset.href.replace(files.url, "s3://bucket")
    signed = []

    def sign(href):
        signed.append(href)
        return href.replace("s3://bucket", files.url) + "?token=1"

    load(items, patch_url=sign).compute()
    assert {"tif", "xml"} == {href[-3:] for href in signed}
    assert all(request.path.endswith("?token=1") for request in files.log)
    assert items[0].assets["BAND1"].href.startswith("s3://")


def test_the_planetary_computers_own_signer(catalogue, monkeypatch):
    """Its addresses get the token that it has for their container; all others stay."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        planetary_computer = pytest.importorskip("planetary_computer")
        from planetary_computer import sas
    files, _, scenes = catalogue
    host = "https://account.blob.core.windows.net/container"
    token = sas.SASToken(token="sig=secret", expiry="2100-01-01T00:00:00Z")
    monkeypatch.setitem(sas.TOKEN_CACHE, f"{sas.Settings.get().sas_url}/account/container", token)
    items = items_of(scenes, 1)
    for asset in items[0].assets.values():
        asset.href = asset.href.replace(files.url, host)

    def sign(href):
        return planetary_computer.sign(href).replace(host, files.url)  # the test has no Azure

    cube = load(items, patch_url=sign).compute()
    np.testing.assert_array_equal(cube["BAND1"].values[0], scenes[0].numbers["BAND1"].values)
    assert files.log
    assert all(request.path.endswith("?sig=secret") for request in files.log)
    assert load(items_of(scenes, 1), patch_url=planetary_computer.sign)["BAND1"].any().compute()


def test_items_are_not_modified(catalogue):
    _, _, scenes = catalogue
    items = items_of(scenes, 1)
    before = json.dumps(items[0].to_dict(transform_hrefs=False))
    load(items)
    assert json.dumps(items[0].to_dict(transform_hrefs=False)) == before


def test_nothing_to_load():
    with pytest.raises(StacError, match="no items"):
        load([])


@pytest.mark.skipif(not REAL.exists(), reason="no shared data beside the repository")
def test_real_item_and_xml(tmp_path):
    """INPE's own XML, and an item as the server's code makes it; only the pixels are ours."""
    made = make_wpm(tmp_path, str(tmp_path), size=(64, 64))
    text = (REAL / "stac/synthetic_item_CB4A-WPM-L4-DN-1.json").read_text()
    item = json.loads(text.replace("{ASSET_ROOT}", str(tmp_path)))
    item["properties"]["datetime"] = "2020-07-30T13:51:24Z"
    for key, asset in item["assets"].items():
        source = made.item["assets"].get(key)
        if source is not None:
            asset["href"] = source["href"]
    del item["assets"]["BAND0"], item["assets"]["BAND0_xml"]
    for path in tmp_path.rglob("*.xml"):
        path.write_bytes((REAL / "xml/Stars_CBERS_4A_WPM_20200730_209_139_L4_BAND2.xml").read_bytes())
    cube = load([pystac.Item.from_dict(item)])
    assert cube["platform"].values.tolist() == ["cbers-4a"]
    assert "assumed" in cube.cloudmask.predict()["cloud_mask"].attrs["reflectance_provenance"]


# Load: other catalogues ----------------------------------------------------------------------------------------------


def check(cube, level, source):
    attrs = cube.cloudmask.predict()["cloud_mask"].attrs
    assert attrs["level"] == level
    assert source in attrs["reflectance_provenance"]
    assert {band.dtype for band in cube.values()} == {np.dtype("uint16")}


def test_earth_search_says_that_the_offset_is_applied(tmp_path):
    cube = load(loaders.earth_search_items(tmp_path))
    assert list(cube) == list(loaders.EARTH_SEARCH)
    check(cube, "BOA", "offset 0 (offset applied by the provider)")
    np.testing.assert_allclose(cube.cloudmask.reflectance()["red"].values[:, 1, 1], 0.3, rtol=1e-6)
    check(load(loaders.earth_search_items(tmp_path, applied=False)), "BOA", "offset -0.1 (declared)")


def test_planetary_computer_has_baselines_and_no_types(tmp_path):
    cube = load(loaders.planetary_computer_items(tmp_path))
    assert list(cube) == list(loaders.SENTINEL_2)
    check(cube, "BOA", "offset 0 on 1 dates and -0.1 on 1 dates")
    np.testing.assert_allclose(cube.cloudmask.reflectance()["B04"].values[:, 1, 1], [0.3, 0.2], rtol=1e-6)


def test_brazil_data_cube_surface_reflectance(tmp_path):
    cube = load(loaders.bdc_items(tmp_path))
    assert list(cube) == ["BAND1", "BAND2", "BAND3", "BAND4"]  # not the mask beside them
    assert cube["BAND1"].attrs["nodata"] == 0  # the file's: -9999 is no number of its type
    check(cube, "BOA", "DN * 0.0001")


def test_landsat_level_2(tmp_path):
    names = {name: name for name in ("blue", "green", "red", "nir08", "swir16", "swir22")}
    items = landsat_items(tmp_path, names)
    cube = load(items)
    check(cube, "BOA", "DN * 2.75e-05, offset -0.2")
    assert cube["view:sun_elevation"].values.tolist() == [50.0]
    np.testing.assert_allclose(cube.cloudmask.reflectance()["red"].values[0, 1, 1], 20000 * 2.75e-5 - 0.2, rtol=1e-6)


def landsat_items(folder, names):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaders, "CENTRES", dict.fromkeys(names, 0.5) | loaders.CENTRES | {"nir08": 0.87})
        patch.setattr(loaders, "WIDTHS", dict.fromkeys(names, 0.03) | loaders.WIDTHS)
        properties = {"platform": "landsat-8", "instruments": ["oli", "tirs"], "view:sun_elevation": 50.0}
        return loaders.stac_items(
            folder, names | {"qa_pixel": None}, [properties | {"landsat:correction": "L2SP"}], values=20000,
            collection="landsat-c2-l2", ids=["LC08_L2SP_193028_20230910_02_T1"],
            raster_band={"scale": 2.75e-05, "offset": -0.2},
        )  # fmt: skip


def test_bands_of_stac_1_1(tmp_path):
    """As on the Copernicus Data Space: ``bands``, fields of the asset, and each band at several resolutions."""
    item = loaders.planetary_computer_items(tmp_path)[1]
    for name, common in loaders.SENTINEL_2.items():
        asset = item.assets.pop(name)
        fields = asset.extra_fields
        band = {"name": name, "eo:common_name": common, "eo:center_wavelength": loaders.CENTRES[common]}
        asset.extra_fields = {
            "bands": [band], "data_type": "uint16", "nodata": 0, "raster:scale": 0.0001, "raster:offset": -0.1,
            "proj:code": f"EPSG:{loaders.EPSG}", "proj:shape": fields["proj:shape"],
            "proj:transform": fields["proj:transform"],
        }  # fmt: skip
        for gsd in (20, 10):
            copied = copy.deepcopy(asset)
            copied.extra_fields["gsd"] = gsd
            item.add_asset(f"{name}_{gsd}m", copied)
    item.properties.pop("proj:epsg", None)
    item.properties.pop("proj:code", None)
    cube = load([item])
    assert list(cube) == [f"{name}_10m" for name in loaders.SENTINEL_2]
    check(cube, "BOA", "offset -0.1 (declared)")
    assert list(load([item], ["red"])) == ["red"]


def test_scales_that_differ_by_date_are_left_to_the_baselines(tmp_path):
    items = loaders.earth_search_items(tmp_path, applied=False)
    items[0].properties["s2:processing_baseline"] = "03.01"
    for asset in items[0].assets.values():
        asset.extra_fields["raster:bands"][0] |= {"offset": 0}
    cube = load(items)
    assert "add_offset" not in cube["red"].attrs
    np.testing.assert_allclose(cube.cloudmask.reflectance()["red"].values[:, 1, 1], [0.3, 0.2], rtol=1e-6)


def test_assets_of_several_bands_are_refused(tmp_path):
    item = loaders.earth_search_items(tmp_path)[0]
    item.add_asset("visual", copy.deepcopy(item.assets["red"]))
    item.assets["visual"].extra_fields["eo:bands"] *= 3
    assert "visual" not in load([item])
    with pytest.raises(BandError, match=r"'visual' of item .* with 3 bands"):
        load([item], ["visual"])


def test_items_without_spectral_bands():
    item = pystac.Item("dem", None, None, loaders.dt.datetime(2020, 1, 1, tzinfo=loaders.dt.UTC), {})
    item.add_asset("elevation", pystac.Asset("/elevation.tif"))
    with pytest.raises(BandError, match="no spectral band"):
        load([item])


def test_the_cube_goes_through_a_file(catalogue, tmp_path):
    _, _, scenes = catalogue
    cube = load(items_of(scenes, 2)).isel(x=slice(0, 64))
    cube.to_netcdf(tmp_path / "cube.nc")
    again = xr_cloudmask.files.open_cube(tmp_path / "cube.nc")
    for one, other in zip(cube.cloudmask.reflectance().values(), again.cloudmask.reflectance().values(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


# Screen --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def optimised(tmp_path_factory):
    """Three scenes with overviews: nearly clear, half cloudy, overcast."""
    folder = tmp_path_factory.mktemp("optimised")
    with serve_files(folder) as files:
        yield (
            files,
            [
                make_wpm(folder, files.url, i, size=(1024, 1024), cover=cover, overviews=True)
                for i, cover in enumerate((0.03, 0.4, 0.9))
            ],
        )


def test_screening_reads_little_and_comes_close(optimised):
    files, scenes = optimised
    files.forget()
    found = screen(items_of(scenes), max_cloud=0.2)
    read = files.sent
    files.forget()
    full = [load([item]).cloudmask.predict()["cloud_fraction"].compute().item() for item in items_of(scenes)]
    assert read <= 0.05 * files.sent
    assert np.abs(found.table["cloud_fraction"] - full).mean() <= 0.05
    assert [item.id for item in found] == [scenes[0].item["id"]]
    assert found.table["keep"].tolist() == [True, False, False]
    assert "1 of 3 items worth loading" in repr(found)
    assert scenes[2].item["id"] in found._repr_html_()
    assert load(found).sizes["time"] == 1


def test_screening_an_area(optimised):
    _, scenes = optimised
    west, south, east, north = scenes[1].item["bbox"]
    middle = (west + east) / 2
    quarter = (west, (south + north) / 2, middle, north)
    triangle = {"type": "Polygon", "coordinates": [[[west, south], [west, north], [east, north], [west, south]]]}
    for area, part in ((quarter, "box"), (triangle, "triangle")):
        row = screen(items_of(scenes[1:2]), max_cloud=1, area=area).table.iloc[0]
        mask = load(items_of(scenes[1:2])).cloudmask.predict()["cloud_mask"].isel(time=0).compute()
        rows, columns = np.indices(mask.shape)
        inside = (rows < 512) & (columns < 512) if part == "box" else columns + rows < 1024
        counted = mask.values[inside & (mask.values != 255)]
        assert abs(row["cloud_fraction"] - np.isin(counted, (1, 2)).mean()) < 0.08
        assert row["valid_fraction"] == pytest.approx((mask.values[inside] != 255).mean(), abs=0.03)


def test_items_beside_the_area_are_not_worth_loading(optimised):
    _, scenes = optimised
    found = screen(items_of(scenes), max_cloud=1, area=scenes[0].item["bbox"])
    assert [item.id for item in found] == [scenes[0].item["id"]]
    assert found.table["valid_fraction"].tolist()[1:] == [0, 0]


def test_one_bad_item_does_not_end_a_screening(catalogue, quick):
    files, _, scenes = catalogue
    items = items_of(scenes, 3)
    items[1].assets["BAND1"].href = f"{files.url}/nothing.tif"
    found = screen(items, max_cloud=1)
    assert [item.id for item in found] == [items[0].id, items[2].id]
    assert "404" in found.table.loc[items[1].id, "error"]
    assert "1 could not be read" in repr(found)
    with pytest.raises(FileError, match="404"):
        screen(items[1:2])
    with pytest.raises(CloudMaskError, match="unknown keyword"):
        screen(items[:1], windows=3)
    with pytest.raises(CloudMaskError, match="fraction"):
        screen(items, max_cloud=15)
    for area in ((1, 2, 3), "Brazil", {"type": "FeatureCollection", "features": []}):
        with pytest.raises(StacError, match="area="):
            screen(items, area=area)


def test_screening_leaves_no_warning(catalogue):
    _, _, scenes = catalogue
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        screen(items_of(scenes, 4), resolution=32)
    assert [str(w.message) for w in caught if "geotransform" in str(w.message)] == []


# The page ------------------------------------------------------------------------------------------------------------


def test_every_block_of_the_page(catalogue):
    _, api, scenes = catalogue
    page = (DOCS / "stac.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    names = {}
    exec(code.replace("https://data.inpe.br/bdc/stac/v1/", api.url), names)
    assert len(names["items"]) == len(scenes)
    assert set(names["out"]["cloud_mask"].values.ravel()) <= {0, 1, 2, 3, 255}
    assert names["found"].table["valid_fraction"].gt(0).sum() >= 2
