"""What loaders drop comes back: cubes of odc-stac, stackstac and cubo need no argument, and are right date by date."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import warnings
from types import SimpleNamespace

import dask
import loaders
import numpy as np
import odc.stac
import pandas as pd
import providers
import pystac
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from paths import DOCS, SHARED
from products import cbers_xml
from providers import EPSG, NORTH, PIXEL, PROVIDERS, SIDE, WEST, reflectance
from scenes import make_wpm
from stac_server import serve_api, serve_files

import xr_cloudmask
from xr_cloudmask import CloudMaskError, FileError, StacError
from xr_cloudmask.cube import remedies
from xr_cloudmask.cube.described import DescribedCube
from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.stac import attach, load, matching, search

BOUNDS = (WEST, NORTH - PIXEL * SIDE, WEST + PIXEL * SIDE, NORTH)
HALVES = (slice(0, SIDE // 2), slice(SIDE // 2, SIDE))
REAL = SHARED / "data/bdc/stac"


def made(folder, name, **options):
    return [pystac.Item.from_dict(item) for item in providers.items(folder, name, **options)]


def with_odc(items, provider, **options):
    return odc.stac.load(items, bands=list(provider.assets), chunks={}, **options)


def with_stackstac(items, provider, **options):
    return loaders._stack(items, assets=list(provider.assets), bounds=BOUNDS, **options)


def integers(provider):
    return {"dtype": provider.dtype, "nodata": provider.nodata}


def unscaled(provider):
    return {"rescale": False, "dtype": provider.dtype, "fill_value": np.dtype(provider.dtype).type(provider.nodata)}


LOADERS = {
    "odc-stac": lambda items, provider: with_odc(items, provider, groupby="solar_day"),
    "odc-stac integers": lambda items, provider: with_odc(items, provider, **integers(provider)),
    "odc-stac floats in memory": lambda items, provider: with_odc(items, provider, dtype="float32").compute(),
    "odc-stac as an array": lambda items, provider: with_odc(items, provider).to_array("band"),
    "stackstac": with_stackstac,
    "stackstac integers": lambda items, provider: with_stackstac(items, provider, **unscaled(provider)),
    "stackstac in memory": lambda items, provider: with_stackstac(items, provider).compute(),
    "stackstac as a Dataset": lambda items, provider: with_stackstac(items, provider).to_dataset("band"),
}


def values_of(cube):
    """Return reflectance, dims ``(time, band, y, x)``."""
    found = cube.cloudmask.reflectance()
    found = (
        found if isinstance(found, xr.DataArray) else found.drop_vars("spatial_ref", errors="ignore").to_array("band")
    )
    return found.transpose(..., "band", "y", "x").values


def truth(provider, count):
    return np.stack([reflectance(i)[: len(provider.assets)] for i in range(count)])


def no_scheduler(*_, **__):
    raise AssertionError("something was computed")


# Providers and loaders -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Items of every provider, and the masks of `load`; made when they are asked for."""
    kept = {}

    def of(name):
        if name not in kept:
            items = made(tmp_path_factory.mktemp(name), name)
            kept[name] = items, load(items, list(PROVIDERS[name].assets)).cloudmask.predict()["cloud_mask"].compute()
        return kept[name]

    return of


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_no_argument_is_needed(loaded, name, loader):
    provider = PROVIDERS[name]
    items, expected = loaded(name)
    cube = LOADERS[loader](items, provider)
    with dask.config.set(scheduler=no_scheduler):
        attached = attach(cube, items)
        lazy = attached.cloudmask.predict()["cloud_mask"]
    found = values_of(attached)
    np.testing.assert_allclose(found, truth(provider, len(items)), atol=6e-5)  # NaN where there is no data
    assert lazy.attrs["level"] == provider.level
    np.testing.assert_array_equal(lazy.values, expected.values)
    assert [item.id for item in items] == attached["id"].values.tolist()


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """An API of three providers, and the files behind it."""
    folder = tmp_path_factory.mktemp("attach")
    with serve_files(folder / "files") as files:
        served = [
            item
            for name in ("earth-search-v1", "landsat-mpc", "hls-l30")
            for item in providers.items(folder / "files" / name, name, root=f"{files.url}/{name}")
        ]
        with serve_api(served, folder / "api") as api:
            yield api


@pytest.mark.parametrize("name", ["earth-search-v1", "landsat-mpc", "hls-l30"])
def test_items_of_an_api(catalogue, name):
    provider = PROVIDERS[name]
    items = search(catalogue.url, provider.collection)
    expected = truth(provider, len(items))
    np.testing.assert_allclose(values_of(attach(with_odc(items, provider), items)), expected, atol=6e-5)
    np.testing.assert_allclose(values_of(attach(with_stackstac(items, provider), items)), expected, atol=6e-5)


@pytest.mark.parametrize("dataset", [False, True])
def test_cubo(catalogue, dataset):
    cubo = loaders.quiet(pytest.importorskip)("cubo")
    provider = PROVIDERS["earth-search-v1"]
    cube = loaders.quiet(cubo.create)(
        lat=45.15, lon=15.0041, collection=provider.collection, bands=list(provider.assets), start_date="2022-08-01",
        end_date="2022-08-30", edge_size=SIDE // 2, resolution=PIXEL, stac=catalogue.url, dataset=dataset,
    )  # fmt: skip
    items = search(catalogue.url, provider.collection)
    found = attach(cube, items).cloudmask.reflectance()
    red = found["red"] if dataset else found.sel(band="red")
    place = {
        "y": [round((NORTH - y) / PIXEL) for y in red["y"].values],
        "x": [round((x - WEST) / PIXEL) for x in red["x"].values],
    }
    whole = xr.DataArray(truth(provider, 3)[:, 2], dims=("time", "y", "x"))
    np.testing.assert_allclose(red.values, whole.isel(place).values, atol=6e-5)
    assert attach(cube, items).cloudmask.predict()["cloud_mask"].attrs["level"] == "BOA"


def test_without_it_the_cube_asks(loaded):
    items, _ = loaded("planetary-computer")
    cube = with_odc(items, PROVIDERS["planetary-computer"], **integers(PROVIDERS["planetary-computer"]))
    with pytest.raises(CloudMaskError):
        cube.cloudmask.predict()
    assert eval(remedies.ATTACH).cloudmask.predict().sizes["time"] == len(items)


def test_thermal_bands_become_kelvin(tmp_path):
    thermal = {"scale": 0.00341802, "offset": 149.0}
    provider = PROVIDERS["landsat-mpc"]
    items = made(tmp_path, "landsat-mpc")
    for item in items:
        path = loaders.geotiff(tmp_path / f"{item.id}_lwir11.tif", 41000)
        fields = {"proj:shape": [8, 8], "proj:transform": list(loaders.TRANSFORM)}
        fields["raster:bands"] = [{"data_type": "uint16", "nodata": 0, "unit": "kelvin", **thermal}]
        fields["eo:bands"] = [{"name": "TIRS_B10", "common_name": "lwir11", "center_wavelength": 10.9}]
        item.add_asset("lwir11", pystac.Asset(str(path), extra_fields=fields))
    expected = 41000 * thermal["scale"] + thermal["offset"]
    for cube in (
        odc.stac.load(items, bands=[*provider.assets, "lwir11"], chunks={}),
        odc.stac.load(items, bands=[*provider.assets, "lwir11"], dtype="float32").drop_attrs(),
        loaders._stack(items, assets=[*provider.assets, "lwir11"], bounds=BOUNDS),
    ):
        described = DescribedCube.of(attach(cube, items))
        rule = described.calibrated()["lwir11"]
        raw = float(described.view.bands["lwir11"].isel(time=0).max())
        assert raw * rule.scale[0] + rule.offset[0] == pytest.approx(expected)


def test_every_line_of_the_page(catalogue, tmp_path):
    page = (DOCS / "loaders.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "stac.attach(" in block]
    assert len(blocks) == 2
    items = search(catalogue.url, PROVIDERS["earth-search-v1"].collection)
    for block in blocks:
        names = {"items": items, "odc": odc, "xr_cloudmask": xr_cloudmask}
        names["stackstac"] = SimpleNamespace(stack=lambda items, epsg, **options: loaders._stack(items, **options))
        exec(block, names)
        assert names["out"]["cloud_mask"].attrs["level"] == "BOA"
        assert names["out"].sizes["time"] == len(items)


# What is attached ----------------------------------------------------------------------------------------------------


def test_what_differs_is_along_time_and_what_does_not_is_scalar(loaded):
    items, _ = loaded("earth-search-v1")
    cube = attach(with_odc(items, PROVIDERS["earth-search-v1"]), items)
    assert cube["s2:processing_baseline"].dims == ("time",)
    assert cube["s2:processing_baseline"].values.tolist() == ["02.14", "05.09", "04.00"]
    assert cube["earthsearch:boa_offset_applied"].values.tolist() == [False, True, False]
    assert cube["platform"].item() == "sentinel-2b"
    assert cube["instruments"].item() == "msi"
    assert cube["collection"].item() == "sentinel-2-l2a"
    assert cube["view:sun_elevation"].item() == 50.1
    assert cube["view:sun_azimuth"].item() == 160.2
    assert cube["eo:cloud_cover"].item() == 35.0
    assert cube["add_offset:red"].values.tolist() == [0, -0.1, -0.1]
    assert cube["red"].attrs == {
        "common_name": "red", "center_wavelength": 0.665, "full_width_half_max": 0.038, "nodata": 0
    }  # fmt: skip


def test_scale_that_all_dates_share_is_an_attribute(loaded):
    items, _ = loaded("landsat-mpc")
    cube = attach(with_odc(items, PROVIDERS["landsat-mpc"]), items)
    assert cube["red"].attrs["scale_factor"] == 2.75e-5
    assert cube["red"].attrs["add_offset"] == -0.2
    stack = attach(with_stackstac(items, PROVIDERS["landsat-mpc"]), items)
    assert stack["applied_scale"].dims == ("band",)
    assert set(stack["applied_offset"].values) == {-0.2}


def test_what_a_date_lacks_is_empty(loaded):
    items = copy.deepcopy(loaded("planetary-computer")[0])
    del items[1].properties["platform"]
    items[0].properties["eo:cloud_cover"] = 5
    cube = attach(with_odc(items, PROVIDERS["planetary-computer"]), items)
    assert cube["platform"].values.tolist() == ["Sentinel-2B", ""]
    np.testing.assert_array_equal(cube["eo:cloud_cover"].values, [5, np.nan])


@pytest.mark.parametrize("loader", ["odc-stac", "stackstac", "stackstac as a Dataset"])
def test_nothing_is_modified_and_twice_is_once(loaded, loader):
    items, _ = loaded("earth-search-v1")
    cube = LOADERS[loader](items, PROVIDERS["earth-search-v1"])
    before, said = cube.copy(deep=True), json.dumps([item.to_dict() for item in items])
    once = attach(cube, items)
    xr.testing.assert_identical(cube.drop_attrs(deep=False), before.drop_attrs(deep=False))
    assert set(cube.coords) == set(before.coords)
    assert json.dumps([item.to_dict() for item in items]) == said
    np.testing.assert_array_equal(values_of(attach(once, items)), values_of(once))
    for name in set(once.coords) - {"time"}:
        assert str(attach(once, items)[name].values) == str(once[name].values)


def test_values_and_chunks_stay(loaded):
    items, _ = loaded("earth-search-v1")
    cube = with_odc(items, PROVIDERS["earth-search-v1"]).chunk(y=16)
    attached = attach(cube, items)
    assert attached.chunks == cube.chunks
    assert attached["red"].data.name == cube["red"].data.name
    assert attached["red"].encoding == cube["red"].encoding


@pytest.mark.parametrize("loader", ["odc-stac", "stackstac integers", "stackstac"])
def test_the_cube_goes_through_a_file(loaded, loader, tmp_path):
    items, _ = loaded("earth-search-v1")
    cube = attach(LOADERS[loader](items, PROVIDERS["earth-search-v1"]), items)
    expected = values_of(cube)
    objects = [name for name, coord in cube.coords.items() if coord.dtype == object and name not in ("common_name",)]
    plain = cube.drop_vars(objects)
    if isinstance(plain, xr.DataArray):
        plain = plain.assign_attrs(spec="", transform="").rename("values")
        plain = plain.assign_coords(
            {"common_name": plain["common_name"].astype(str)} if "common_name" in plain.coords else {}
        )
    plain.to_netcdf(tmp_path / "cube.nc")
    again = xr.open_dataset(tmp_path / "cube.nc", mask_and_scale=False)
    again = again if loader == "odc-stac" else again["values"]
    np.testing.assert_allclose(values_of(again), expected, atol=1e-6)


def test_reflectance_forgets_how_the_numbers_were_converted(loaded):
    items, _ = loaded("earth-search-v1")
    for loader in ("odc-stac", "stackstac"):
        done = attach(LOADERS[loader](items, PROVIDERS["earth-search-v1"]), items).cloudmask.reflectance()
        left = [
            name for name in done.coords if str(name).split(":")[0] in calibration_keys() and done[name].notnull().any()
        ]
        assert left == []
    bare = attach(with_odc(items, PROVIDERS["earth-search-v1"]), items).cloudmask.reflectance()
    np.testing.assert_array_equal(values_of(bare.drop_attrs().compute()), values_of(bare))


def calibration_keys():
    return ("scale_factor", "add_offset", "applied_scale", "applied_offset")


def test_names_of_dimensions_and_variables_stay(loaded):
    """WRS rows and paths are properties of items, and ``row`` is a name of a dimension."""
    items = copy.deepcopy(loaded("landsat-mpc")[0])
    for item in items:
        item.properties |= {"row": 28, "path": 193, "title": "Landsat"}
    cube = with_odc(items, PROVIDERS["landsat-mpc"]).rename(y="row", x="col").assign(path=7)
    attached = attach(cube, items)
    np.testing.assert_array_equal(attached["row"].values, cube["row"].values)
    assert attached["path"].item() == 7
    assert "path" in attached.data_vars
    assert attached["title"].item() == "Landsat"


def test_bands_that_items_do_not_have_stay_as_they_are(loaded):
    items, _ = loaded("earth-search-v1")
    cube = with_odc(items, PROVIDERS["earth-search-v1"])
    cube = cube.assign(ndvi=(cube["nir"] - cube["red"]) / (cube["nir"] + cube["red"] + 1.0))
    attached = attach(cube, items)
    assert attached["ndvi"].identical(cube["ndvi"].assign_coords(attached.coords))
    scl = attach(odc.stac.load(items, bands=["red", "scl"], dtype="float32", chunks={}), items)["scl"]
    assert not {"units", *calibration_keys()} & set(scl.attrs)


def test_an_array_of_floats_with_a_quality_band(loaded):
    items, _ = loaded("planetary-computer")
    provider = PROVIDERS["planetary-computer"]
    cube = odc.stac.load(items, bands=[*provider.assets, "SCL"], chunks={}).to_array("band")
    attached = attach(cube, items)
    found = attached.cloudmask.reflectance().sel(band=list(provider.assets)).transpose("time", ...)
    np.testing.assert_allclose(found.values, truth(provider, 2), atol=6e-5)
    np.testing.assert_array_equal(attached.sel(band="SCL").values, cube.sel(band="SCL").values)


def test_bands_called_by_common_name_or_by_the_name_in_eo_bands(loaded):
    items, _ = loaded("planetary-computer")
    by_role = odc.stac.load(items, bands=["blue", "green", "red", "nir"], chunks={})
    np.testing.assert_allclose(
        values_of(attach(by_role, items)), truth(PROVIDERS["planetary-computer"], 2)[:, :4], atol=6e-5
    )
    modern, _ = loaded("copernicus")
    by_name = with_odc(modern, PROVIDERS["copernicus"]).rename(
        {f"{name}_10m": name for name in ("B02", "B03", "B04", "B08")}
    )
    by_name = by_name[["B02", "B03", "B04", "B08"]]
    assert attach(by_name, modern)["B02"].attrs["common_name"] == "blue"
    np.testing.assert_allclose(values_of(attach(by_name, modern)), truth(PROVIDERS["copernicus"], 2)[:, :4], atol=6e-5)


@pytest.mark.parametrize("load_as", ["odc-stac", "stackstac", "load"])
@pytest.mark.parametrize("name", ["copernicus", "landsat-usgs"])
def test_widths_that_cannot_be_are_the_tables(loaded, name, load_as):
    """The Copernicus Data Space states half of the wavelength, the U.S. Geological Survey no width."""
    items, _ = loaded(name)
    items = copy.deepcopy(items)
    for item in items:
        for asset in item.assets.values() if name == "landsat-usgs" else ():
            for band in asset.extra_fields.get("eo:bands", ()):
                del band["full_width_half_max"]
    provider = PROVIDERS[name]
    cube = load(items, list(provider.assets)) if load_as == "load" else attach(LOADERS[load_as](items, provider), items)
    table = sensors()["sentinel-2" if name == "copernicus" else "landsat-8-9"]
    for band in DescribedCube.of(cube).descriptors:
        known = table.band(band.name)
        assert (band.min_wavelength, band.max_wavelength) == (known.min_wavelength, known.max_wavelength)


def test_bands_of_one_file(tmp_path):
    """Aerial images are one asset of four bands; odc-stac calls them by their common names."""
    names = ("blue", "green", "red", "nir")
    said = [{"name": name.title(), "common_name": name} for name in names]
    path = loaders.geotiff(tmp_path / "naip.tif", 100, bands=names)
    fields = {"eo:bands": said, "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 0.002}] * 4}
    fields |= {"proj:shape": [8, 8], "proj:transform": list(loaders.TRANSFORM)}
    item = pystac.Item("naip", None, [15, 45, 15.1, 45.2], dt.datetime(2022, 8, 1, tzinfo=dt.UTC), {"proj:epsg": EPSG})
    item.add_asset("image", pystac.Asset(str(path), extra_fields=fields))
    cube = xr.Dataset({name: (("y", "x"), np.full((2, 2), 100, "uint16")) for name in names})
    np.testing.assert_allclose(values_of(attach(cube, item)), 0.2, rtol=1e-6)


# Forms of items ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        list, tuple, iter, pystac.ItemCollection, lambda items: items[::-1], lambda items: items * 2,
        lambda items: (item.to_dict() for item in items),
        lambda items: pystac.ItemCollection(items).to_dict(),
        lambda items: {item.id: item for item in items}.values(),
    ],
    ids=["list", "tuple", "iterator", "collection", "reversed", "twice", "dicts", "feature collection", "values"],
)  # fmt: skip
def test_items_of_any_form(loaded, form):
    items, _ = loaded("planetary-computer")
    cube = with_odc(items, PROVIDERS["planetary-computer"])
    attached = attach(cube, form(items))
    assert attached["s2:processing_baseline"].values.tolist() == ["02.12", "05.09"]
    np.testing.assert_allclose(values_of(attached), truth(PROVIDERS["planetary-computer"], 2), atol=6e-5)


@pytest.mark.parametrize("form", [lambda item: item, lambda item: item.to_dict(), lambda item: [item]])
def test_one_item(loaded, form):
    items, _ = loaded("planetary-computer")
    cube = with_odc(items[1:], PROVIDERS["planetary-computer"])
    attached = attach(cube, form(items[1]))
    assert attached["s2:processing_baseline"].item() == "05.09"
    assert attached["id"].values.tolist() == [items[1].id]


@pytest.mark.parametrize("items", [[], None, "items.json", [1, 2], [None], {"id": "x"}, {"features": []}, 5])
def test_what_are_no_items(loaded, items):
    cube = with_odc(loaded("planetary-computer")[0], PROVIDERS["planetary-computer"])
    with pytest.raises(StacError, match=r"no items|which are none"):
        attach(cube, items)


# Dates ---------------------------------------------------------------------------------------------------------------


def midnight(cube):
    return cube.assign_coords(time=cube["time"].dt.floor("D"))


def calendar(cube):
    return cube.groupby("time.date").first()


def spelt(cube):
    return cube.assign_coords(time=[str(time)[:19] + "Z" for time in cube["time"].values])


def aware(cube):
    times = pd.DatetimeIndex(cube["time"].values).tz_localize("UTC").tz_convert("America/Sao_Paulo")
    return cube.assign_coords(time=np.array(times.to_pydatetime(), object))


def with_cftime(cube):
    import cftime

    parts = [pd.Timestamp(time) for time in cube["time"].values]
    return cube.assign_coords(
        time=[cftime.DatetimeGregorian(t.year, t.month, t.day, t.hour, t.minute, t.second) for t in parts]
    )


TIMES = {
    "floored": midnight,
    "calendar days": calendar,
    "text": spelt,
    "zoned": aware,
    "cftime": with_cftime,
    "seconds": lambda cube: cube.assign_coords(time=cube["time"].dt.round("s")),
    "minutes": lambda cube: cube.assign_coords(time=cube["time"].dt.floor("min")),
    "coarse unit": lambda cube: cube.assign_coords(time=cube["time"].values.astype("datetime64[s]")),
    "fine unit": lambda cube: cube.assign_coords(time=cube["time"].values.astype("datetime64[us]")),
    "noon": lambda cube: cube.assign_coords(time=cube["time"].dt.floor("D") + np.timedelta64(12, "h")),
    "renamed": lambda cube: cube.rename(time="date"),
    "backwards": lambda cube: cube.isel(time=[2, 1, 0]),
    "some": lambda cube: cube.isel(time=[0, 2]),
    "twice": lambda cube: cube.isel(time=[0, 0, 2]),
    "one": lambda cube: cube.isel(time=1),
}


@pytest.mark.parametrize("form", TIMES)
@pytest.mark.parametrize("loader", ["odc-stac", "stackstac integers"])
def test_dates_of_any_form(loaded, loader, form):
    items, _ = loaded("earth-search-v1")
    cube = LOADERS[loader](items, PROVIDERS["earth-search-v1"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube = TIMES[form](cube)
    attached = attach(cube.drop_vars("id", errors="ignore"), items)
    order = {"backwards": [2, 1, 0], "some": [0, 2], "twice": [0, 0, 2], "one": [1]}.get(form, [0, 1, 2])
    assert np.atleast_1d(attached["s2:processing_baseline"].values).tolist() == [
        items[i].properties["s2:processing_baseline"] for i in order
    ]
    assert np.atleast_1d(attached["id"].values).tolist() == [items[i].id for i in order]
    expected = truth(PROVIDERS["earth-search-v1"], 3)[order]
    np.testing.assert_allclose(values_of(attached).reshape(expected.shape), expected, atol=6e-5)


@pytest.mark.parametrize("keeps", ["nothing", "a date"])
def test_without_time(loaded, keeps):
    items, _ = loaded("earth-search-v1")
    cube = with_odc(items[1:2], PROVIDERS["earth-search-v1"]).squeeze("time", drop=keeps == "nothing")
    attached = attach(cube, items[1])
    assert attached["time"].values == np.datetime64("2022-08-06T10:05:01.024")
    assert attached["id"].item() == items[1].id
    np.testing.assert_allclose(values_of(attached), reflectance(0 + 1), atol=6e-5)
    if keeps == "nothing":  # nothing tells which of them it is, and they differ
        with pytest.raises(StacError, match="items of one date differ"):
            attach(cube, items)
    else:
        assert attach(cube, items)["id"].item() == items[1].id


def test_dates_without_labels(loaded):
    items, _ = loaded("planetary-computer")
    cube = with_odc(items, PROVIDERS["planetary-computer"])
    for unlabelled in (
        cube.drop_vars("time"),
        cube.assign_coords(time=["first", "second"]),
        cube.assign_coords(time=[1, 2]),
    ):
        with pytest.raises(StacError, match="2 dates, of which time has") as error:
            attach(unlabelled, items)
        again = eval(error.value.remedy, {"cube": unlabelled, "items": items})
        assert attach(again, items)["id"].values.tolist() == [item.id for item in items]
    missing = cube.assign_coords(time=np.array(["2022-08-01T10:05", "NaT"], "datetime64[ns]"))
    with pytest.raises(StacError, match="NaT"):
        attach(missing, items)


def test_dates_without_an_item_are_named(loaded):
    items, _ = loaded("earth-search-v1")
    cube = with_odc(items, PROVIDERS["earth-search-v1"])
    with pytest.raises(StacError, match="1 of 3 dates without an item: 2022-08-06T10:05:01") as error:
        attach(cube, [items[0], items[2]])
    assert "2022-08-06" in error.value.remedy
    with pytest.raises(StacError, match="3 of 3 dates without an item"):
        attach(cube.assign_coords(time=cube["time"] + np.timedelta64(365, "D")), items)
    with pytest.raises(StacError, match="1 of 1 dates"):
        attach(cube.isel(time=0), items[1:])
    many = xr.concat([cube] * 30, "time").assign_coords(time=pd.date_range("2010", periods=90))
    with pytest.raises(StacError) as error:
        attach(many, items)
    assert len(str(error.value)) < 500


def test_further_items_do_no_harm(loaded):
    items, _ = loaded("planetary-computer")
    others = [item.clone() for item in items for _ in range(20)]
    for i, other in enumerate(others):
        other.id = f"other{i}"
        other.properties["s2:processing_baseline"] = "99.99"
        other.set_datetime(dt.datetime(2022, 9, 1, tzinfo=dt.UTC) + dt.timedelta(days=i))
    cube = with_odc(items, PROVIDERS["planetary-computer"])
    assert attach(cube, [*others, *items])["id"].values.tolist() == [item.id for item in items]


def test_ids_win_over_times(loaded):
    """Two tiles of one second, which stackstac keeps apart."""
    items = copy.deepcopy(loaded("planetary-computer")[0])
    for item in items:
        item.set_datetime(dt.datetime(2022, 8, 1, 10, 0, tzinfo=dt.UTC))
    cube = with_stackstac(items, PROVIDERS["planetary-computer"])
    for order in (items, items[::-1]):
        attached = attach(cube, order)
        np.testing.assert_allclose(values_of(attached), truth(PROVIDERS["planetary-computer"], 2), atol=6e-5)
    apart = with_odc(items, PROVIDERS["planetary-computer"], groupby="id")
    np.testing.assert_allclose(values_of(attach(apart, items)), truth(PROVIDERS["planetary-computer"], 2), atol=6e-5)
    with pytest.raises(StacError, match="items of one date differ"):
        attach(with_odc(items, PROVIDERS["planetary-computer"]), items)


def test_ids_that_are_not_given(loaded):
    """As where items of level 1 are given for a cube of level 2: the times would match."""
    items, _ = loaded("earth-search-v1")
    cube = with_stackstac(items, PROVIDERS["earth-search-v1"])
    others = [item.clone() for item in items]
    for other in others[1:]:
        other.id = other.id.replace("L2A", "L1C")
    with pytest.raises(StacError, match=rf"items that are not given: {items[1].id}, {items[2].id}") as error:
        attach(cube, others)
    assert "cube.drop_vars('id')" in error.value.remedy
    by_time = attach(cube.drop_vars("id"), others)
    assert by_time["id"].values.tolist() == [other.id for other in others]
    numbered = cube.assign_coords(id=("time", [1, 2, 3]))
    assert attach(numbered, items)["id"].values.tolist() == [item.id for item in items]


# Several items in one date -------------------------------------------------------------------------------------------


def mosaic(folder, name, *scenes, apart=14):
    """Two halves of every scene, some seconds apart, and two dates."""
    scenes = scenes or PROVIDERS[name].scenes[-1:] * 2
    days = [dt.datetime(2022, 8, day, 10, 5, tzinfo=dt.UTC) for day in (1, 6)]
    times = [
        (day + dt.timedelta(seconds=apart * half)).strftime("%Y-%m-%dT%H:%M:%SZ") for day in days for half in (0, 1)
    ]
    return made(folder, name, scenes=[*scenes] * 2, times=times, columns=HALVES * 2)


def whole(provider):
    """What the mosaic of both halves shows on both dates."""
    one, two, three, four = (reflectance(i)[: len(provider.assets)] for i in range(4))
    return np.stack(
        [
            np.concatenate(pair, -1)
            for pair in ((one[..., HALVES[0]], two[..., HALVES[1]]), (three[..., HALVES[0]], four[..., HALVES[1]]))
        ]
    )


@pytest.mark.parametrize("apart", [0, 14])
@pytest.mark.parametrize("name", ["earth-search-v1", "planetary-computer", "landsat-mpc", "brazil-data-cube"])
def test_mosaics_of_a_solar_day(tmp_path, name, apart):
    items = mosaic(tmp_path, name, apart=apart)
    cube = with_odc(items, PROVIDERS[name], groupby="solar_day")
    assert cube.sizes["time"] == 2
    attached = attach(cube, items)
    assert attached["id"].values.tolist() == [f"{a.id}, {b.id}" for a, b in (items[:2], items[2:])]
    np.testing.assert_allclose(values_of(attached), whole(PROVIDERS[name]), atol=6e-5)
    assert attached.cloudmask.predict()["cloud_mask"].attrs["level"] == PROVIDERS[name].level
    assert attach(midnight(attached.drop_vars("id")), items)["id"].values.tolist() == attached["id"].values.tolist()
    np.testing.assert_array_equal(values_of(attach(attached, items)), values_of(attached))


def test_mosaics_of_stackstac(tmp_path):
    stackstac = pytest.importorskip("stackstac")
    items = mosaic(tmp_path, "earth-search-v1")
    stack = with_stackstac(items, PROVIDERS["earth-search-v1"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube = stack.groupby("time.date").map(stackstac.mosaic)
    assert cube.sizes["date"] == 2
    np.testing.assert_allclose(values_of(attach(cube, items)), whole(PROVIDERS["earth-search-v1"]), atol=6e-5)


def test_items_of_one_date_may_differ_without_consequence(tmp_path):
    scene = PROVIDERS["earth-search-v1"].scenes[1]
    older = providers.saying(
        scene, properties={
            **scene.properties, "s2:processing_baseline": "05.00", "platform": "sentinel-2a", "eo:cloud_cover": 45.0,
            "view:sun_elevation": 51.1, "view:sun_azimuth": 20.0,
        },
    )  # fmt: skip
    scene = providers.saying(scene, properties={**scene.properties, "view:sun_azimuth": 350.0})
    items = mosaic(tmp_path, "earth-search-v1", scene, older)
    attached = attach(with_odc(items, PROVIDERS["earth-search-v1"], groupby="solar_day"), items)
    assert attached["eo:cloud_cover"].item() == 40.0
    assert attached["view:sun_elevation"].item() == pytest.approx(50.6)
    assert attached["view:sun_azimuth"].item() == pytest.approx(5.0)
    assert attached["platform"].item() == "sentinel-2b"
    np.testing.assert_allclose(values_of(attached), whole(PROVIDERS["earth-search-v1"]), atol=6e-5)


def test_flag_and_old_baseline_mean_the_same(tmp_path):
    old, applied, _ = PROVIDERS["earth-search-v1"].scenes
    items = mosaic(tmp_path, "earth-search-v1", old, applied)
    cube = with_odc(items, PROVIDERS["earth-search-v1"], groupby="solar_day")
    np.testing.assert_allclose(values_of(attach(cube, items)), whole(PROVIDERS["earth-search-v1"]), atol=6e-5)
    # stackstac subtracts what is stated, 0.1 from one half and nothing from the other: no rule mends the mosaic.
    stack = with_stackstac(items, PROVIDERS["earth-search-v1"]).groupby("time.date").max()
    with pytest.raises(StacError, match="items of one date differ"):
        attach(stack, items)


@pytest.mark.parametrize(
    ("name", "scenes", "found"),
    [
        (
            "planetary-computer",
            PROVIDERS["planetary-computer"].scenes,
            r"B02 = 0.0001 \* number \+ 0 in .* - ?0?.1|-0.1",
        ),
        ("earth-search-v1", PROVIDERS["earth-search-v1"].scenes[1:], "-0.1"),
        ("earth-search-v0", PROVIDERS["earth-search-v0"].scenes[1:], "-0.1"),
        ("landsat-level-1", PROVIDERS["landsat-level-1"].scenes, "blue"),
    ],
)
def test_items_of_one_date_that_differ_are_refused(tmp_path, name, scenes, found):
    items = mosaic(tmp_path, name, *scenes)
    cube = with_odc(items, PROVIDERS[name], groupby="solar_day")
    with (
        dask.config.set(scheduler=no_scheduler),
        pytest.raises(StacError, match=f"items of one date differ: .*{found}") as error,
    ):
        attach(cube, items)
    assert items[0].id in error.value.found
    assert items[1].id in error.value.found
    command = error.value.remedy.split(",")[0]
    apart = eval(command, {"xr_cloudmask": xr_cloudmask, "items": items})
    assert apart.sizes["time"] == 4
    assert apart.cloudmask.predict().sizes["time"] == 4


def test_items_of_one_date_that_differ_and_say_too_little(tmp_path):
    """Then their own words are compared: here a mosaic of two levels."""
    scene = PROVIDERS["landsat-usgs"].scenes[0]
    raw = providers.saying(scene, properties={**scene.properties, "landsat:correction": "L1TP"})
    items = mosaic(tmp_path, "landsat-usgs", scene, raw)
    cube = with_odc(items, PROVIDERS["landsat-usgs"], groupby="solar_day")
    with pytest.raises(StacError, match=r"landsat:correction = L2SP in .*, L1TP in"):
        attach(cube, items)


def test_scenes_of_one_pass_may_have_another_sun(tmp_path):
    low, high = (
        providers.saying(scene, properties={**scene.properties, "view:sun_elevation": elevation})
        for scene, elevation in zip(PROVIDERS["landsat-level-1"].scenes, (30.0, 30.6), strict=True)
    )
    items = mosaic(tmp_path, "landsat-level-1", low, high)
    attached = attach(with_odc(items, PROVIDERS["landsat-level-1"], groupby="solar_day"), items)
    assert attached["view:sun_elevation"].item() == pytest.approx(30.3)


# Numbers that differ by date -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", [*LOADERS, "load"])
def test_scales_that_differ_by_date(tmp_path, loader):
    """Of Landsat, which has no baselines to go by."""
    provider = PROVIDERS["landsat-mpc"]
    first, second = provider.scenes
    second = providers.saying(second, scale=5e-5, offset=-0.15, raster={"scale": 5e-5, "offset": -0.15})
    items = made(tmp_path, "landsat-mpc", scenes=[first, second])
    cube = load(items, list(provider.assets)) if loader == "load" else attach(LOADERS[loader](items, provider), items)
    np.testing.assert_allclose(values_of(cube), truth(provider, 2), atol=6e-5)
    for i in range(2):
        np.testing.assert_allclose(values_of(cube.isel(time=[i])), truth(provider, 2)[i : i + 1], atol=6e-5)
        np.testing.assert_allclose(values_of(cube.isel(time=i)), truth(provider, 2)[i], atol=6e-5)


@pytest.mark.parametrize("loader", ["odc-stac", "stackstac integers", "load"])
def test_a_scale_of_some_dates_only_is_refused(tmp_path, loader):
    provider = PROVIDERS["landsat-mpc"]
    first, second = provider.scenes
    items = made(tmp_path, "landsat-mpc", scenes=[first, providers.saying(second, raster={})])
    with pytest.raises(StacError, match="some state a scale of band 'blue' and others none"):
        load(items, list(provider.assets)) if loader == "load" else attach(LOADERS[loader](items, provider), items)


def test_floats_that_stackstac_rescaled_in_part_are_refused(tmp_path):
    provider = PROVIDERS["earth-search-v1"]
    old, *_ = provider.scenes
    items = made(tmp_path, "earth-search-v1", scenes=[old, providers.saying(old, raster={})])
    with pytest.raises(StacError, match="rescaled band 'blue' on some dates") as error:
        attach(with_stackstac(items, provider), items)
    assert "fill_value=numpy.uint16(0)" in error.value.remedy
    namespace = {"stackstac": SimpleNamespace(stack=lambda items, **o: with_stackstac(items, provider, **o))}
    cube = eval(error.value.remedy, namespace | {"items": items, "numpy": np})
    assert cube.dtype == np.uint16


def test_offsets_stated_on_some_dates_are_left_to_the_baselines(tmp_path):
    provider = PROVIDERS["earth-search-c1"]
    scene = provider.scenes[0]
    items = made(tmp_path, "earth-search-c1", scenes=[scene, providers.saying(scene, raster={"scale": 1e-4})])
    np.testing.assert_allclose(values_of(attach(with_odc(items, provider), items)), truth(provider, 2), atol=6e-5)


@pytest.mark.parametrize("loader", ["odc-stac", "stackstac"])
def test_floats_that_are_reflectance_already(loaded, loader):
    """In memory a sample tells; lazy ones are marked, have units, or end in an error, never in darkness."""
    items, _ = loaded("planetary-computer")
    provider = PROVIDERS["planetary-computer"]
    numbers = attach(LOADERS[loader](items, provider), items)
    expected = values_of(numbers)
    marked = numbers.cloudmask.reflectance()
    np.testing.assert_array_equal(values_of(attach(marked, items)), expected)
    bare = (
        marked.drop_attrs()
        if loader == "odc-stac"
        else marked.drop_attrs().drop_vars(["raster:bands"], errors="ignore")
    )
    np.testing.assert_array_equal(values_of(attach(bare.compute(), items)), expected)
    with pytest.raises(CloudMaskError, match="fractions"):
        values_of(attach(bare, items))
    if loader == "odc-stac":
        with_units = bare.assign({name: band.assign_attrs(units="1") for name, band in bare.items()})
        np.testing.assert_array_equal(values_of(attach(with_units, items)), expected)


def test_floats_that_xarray_decoded(loaded, tmp_path):
    items, _ = loaded("landsat-mpc")
    provider = PROVIDERS["landsat-mpc"]
    raw = with_odc(items, provider)
    packing = {"scale_factor": 2.75e-5, "add_offset": -0.2, "_FillValue": 0, "dtype": "uint16"}
    reflectances = attach(raw, items).cloudmask.reflectance().drop_attrs()
    reflectances.to_netcdf(tmp_path / "packed.nc", encoding=dict.fromkeys(provider.assets, packing))
    for options in ({}, {"chunks": {}}):
        with xr.open_dataset(tmp_path / "packed.nc", **options) as cube:
            np.testing.assert_allclose(values_of(attach(cube, items)), truth(provider, 2), atol=6e-5)


def test_stackstac_floats_that_were_not_rescaled(loaded):
    """Lazy ones look like the rescaled: an error once they are computed. In memory they are recognised."""
    items, _ = loaded("earth-search-v1")
    cube = with_stackstac(items, PROVIDERS["earth-search-v1"], rescale=False)
    with pytest.raises(CloudMaskError, match="where reflectance was expected"):
        values_of(attach(cube, items))
    expected = truth(PROVIDERS["earth-search-v1"], 3)
    np.testing.assert_allclose(values_of(attach(cube.compute(), items)), expected, atol=6e-5)


def test_no_data_value_of_the_cube_wins(loaded):
    items, _ = loaded("hls-l30")
    cube = with_odc(items, PROVIDERS["hls-l30"], dtype="int32", nodata=-1)
    attached = attach(cube, items)
    assert attached["B02"].attrs["nodata"] == -1
    np.testing.assert_allclose(values_of(attached), truth(PROVIDERS["hls-l30"], 2), atol=6e-5)
    bare = cube.where(cube >= 0, -9999).astype("int16").drop_attrs()
    assert attach(bare, items)["B02"].attrs["nodata"] == -9999
    assert "nodata" not in attach(bare.astype("uint16"), items)["B02"].attrs


# INPE ----------------------------------------------------------------------------------------------------------------


def test_digital_numbers_of_cbers(tmp_path):
    """Neither projection nor sun in the items: the XML beside the bands says what makes reflectance of them."""
    scenes = [make_wpm(tmp_path, str(tmp_path), i, size=(64, 64)) for i in (0, 0 + 1)]
    items = [pystac.Item.from_dict(scene.item) for scene in scenes]
    names = [f"BAND{i}" for i in range(1, 5)]
    cube = odc.stac.load(items, bands=names, crs=32722, resolution=8, chunks={}, dtype="uint16", nodata=0)
    attached = attach(cube, items)
    assert attached["view:sun_elevation"].item() == 47.8578
    assert attached["calibration_coefficient:BAND1"].item() == 0.29107
    direct = load(items, names, geobox=cube.odc.geobox)
    np.testing.assert_array_equal(values_of(attached), values_of(direct))
    for path in tmp_path.rglob("*.xml"):
        path.unlink()
    with pytest.raises(FileError, match=items[0].id):
        attach(cube, items)


def test_addresses_of_xml_files_are_patched(tmp_path):
    scene = make_wpm(tmp_path, "s3://bucket", size=(64, 64))
    item = pystac.Item.from_dict(scene.item)
    cube = scene.numbers.expand_dims(time=[np.datetime64("2025-01-01T13:26:08", "ns")])
    attached = attach(cube, item, patch_url=lambda href: href.replace("s3://bucket", str(tmp_path)))
    assert attached["platform"].item() == "cbers-4a"
    assert cbers_xml


@pytest.mark.skipif(not REAL.exists(), reason="no shared data beside the repository")
def test_real_bands_of_amazonia():
    said = json.loads((REAL / "bdc_AMZ1-WFI-L4-SR-1_eo_bands.json").read_text())["eo:bands"]
    item = pystac.Item(
        "AMAZONIA_1_WFI_20220811_036_018_L4", None, None, dt.datetime(2022, 8, 11, 14, 1, 37, tzinfo=dt.UTC), {},
        collection="AMZ1-WFI-L4-SR-1",
    )  # fmt: skip
    for band in said:
        item.add_asset(band["name"], pystac.Asset(f"/{band['name']}.tif", extra_fields={"eo:bands": [band]}))
    cube = xr.Dataset({band["name"]: (("y", "x"), np.array([[-9999, 2500]], "int16")) for band in said})
    attached = attach(cube, item)
    np.testing.assert_allclose(values_of(attached)[:, 0], [[np.nan, 0.25]] * 4)
    assert attached.cloudmask.predict()["cloud_mask"].attrs["level"] == "BOA"


@pytest.mark.skipif(not REAL.exists(), reason="no shared data beside the repository")
@pytest.mark.parametrize("name", ["AMAZONIA_1_WFI_20220811_036_018_L4", "CBERS_4A_MUX_20200808_201_137_L4"])
def test_real_items_of_inpe(name):
    said = json.loads((REAL / f"cbers-2-stac_ref_{name}.json").read_text())
    del said["assets"]["metadata"]  # on S3
    names = [key for key in said["assets"] if key != "thumbnail"]
    cube = xr.Dataset({key: (("y", "x"), np.full((2, 2), 300, "uint16")) for key in names})
    attached = attach(cube, said)
    assert attached["platform"].item() == said["properties"]["platform"]
    assert attached["view:sun_elevation"].item() == said["properties"]["view:sun_elevation"]
    assert attached["time"].values == np.datetime64(said["properties"]["datetime"].removesuffix("Z"))


# Which items lie behind which date, for any times --------------------------------------------------------------------

HOUR = np.timedelta64(1, "h")
LONGITUDES = st.floats(-180, 180)
PASSES = st.lists(st.integers(0, 400), min_size=1, max_size=8, unique=True)


def acquired(days, longitude, seconds=0):
    """Half past ten in the morning, by the sun, as ``datetime64[ns]`` in UTC."""
    noon = np.datetime64("2021-01-01T10:30", "ns") - np.timedelta64(round(longitude * 240), "s")
    return noon + np.array(days, "timedelta64[D]") + np.array(seconds, "timedelta64[s]")


@given(days=PASSES, longitude=LONGITUDES, unit=st.sampled_from(["ns", "us", "ms", "s"]), data=st.data())
def test_times_find_their_items_in_any_order(days, longitude, unit, data):
    nanoseconds = data.draw(st.lists(st.integers(0, 10**9 - 1), min_size=len(days), max_size=len(days)))
    moments = acquired(days, longitude) + np.array(nanoseconds, "timedelta64[ns]")
    times = moments.astype(f"datetime64[{unit}]").astype("datetime64[ns]")
    order = data.draw(st.permutations(range(len(days))))
    groups = matching.by_time(times, moments[order], np.full(len(days), longitude))
    assert [order[i] for (i,) in groups] == list(range(len(days)))


@given(days=PASSES, longitude=LONGITUDES, tiles=st.integers(1, 4), data=st.data())
def test_mosaics_find_the_items_of_their_solar_day(days, longitude, tiles, data):
    """odc-stac's date is the time of its first item; tiles lie some seconds and degrees apart."""
    kept = data.draw(st.lists(st.sampled_from(days), min_size=1, unique=True))
    moments = np.concatenate([acquired(days, longitude, 14 * tile) for tile in range(tiles)])
    places = np.repeat(np.clip(longitude + np.arange(tiles), -180, 180), len(days))
    groups = matching.by_time(acquired(kept, longitude), moments, places)
    for day, group in zip(kept, groups, strict=True):
        assert sorted(group) == [days.index(day) + len(days) * tile for tile in range(tiles)]


@given(days=PASSES, longitude=st.floats(-150, 150), data=st.data())
def test_days_without_time_of_day(days, longitude, data):
    moments = acquired(days, longitude)
    times = moments.astype("datetime64[D]").astype("datetime64[ns]")
    kept = data.draw(st.lists(st.sampled_from(range(len(days))), min_size=1, unique=True))
    assert matching.by_time(times[kept], moments, np.full(len(days), longitude)) == tuple((i,) for i in kept)


@given(days=st.lists(st.integers(0, 80), min_size=1, max_size=8, unique=True), longitude=LONGITUDES)
def test_solar_days_without_time_of_day(days, longitude):
    """Every fifth day, as of Sentinel-2: the day in UTC is another one near 180° E."""
    days = [5 * day for day in days]
    solar = np.datetime64("2021-01-01", "ns") + np.array(days, "timedelta64[D]")
    groups = matching.by_time(solar, acquired(days, longitude)[::-1], np.full(len(days), longitude))
    assert groups == tuple((i,) for i in range(len(days)))[::-1]


@given(days=PASSES, missing=st.integers(0, 7), longitude=LONGITUDES)
def test_a_date_whose_item_is_missing_takes_no_other(days, missing, longitude):
    missing %= len(days)
    moments = acquired(days, longitude)
    groups = matching.by_time(moments, np.delete(moments, missing), np.full(len(days) - 1, longitude))
    assert [bool(group) for group in groups] == [i != missing for i in range(len(days))]


@given(count=st.integers(1, 5), dates=st.integers(1, 3))
def test_dates_of_one_time_share_their_items(count, dates):
    """Unless there are as many, in order."""
    times, moments = np.repeat(acquired([0], 0.0), dates), np.repeat(acquired([0], 0.0), count)
    groups = matching.by_time(times, moments, np.zeros(count))
    assert groups == (tuple((i,) for i in range(count)) if count == dates else (tuple(range(count)),) * dates)


def test_longitudes():
    def at(bbox):
        return matching.longitude(SimpleNamespace(bbox=bbox))

    assert at(None) == 0
    assert at([10, 45, 12, 46]) == 11
    assert at([10, 45, 0, 12, 46, 3000]) == 11
    assert at([179, 45, -179, 46]) == 180
