"""Items that are none, and answers that are no search answer: one StacError each."""

from __future__ import annotations

import copy
import datetime as dt
import json
from contextlib import suppress

import numpy as np
import pytest
import xarray as xr
from pystac import Item
from stac_server import serve_files

from xr_cloudmask import CloudMaskError, StacError
from xr_cloudmask.stac import attach, load, screen, search

ITEM = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "stac_extensions": [],
    "id": "one",
    "collection": "any",
    "bbox": [10, 45, 11, 46],
    "geometry": {"type": "Polygon", "coordinates": [[[10, 45], [11, 45], [11, 46], [10, 46], [10, 45]]]},
    "properties": {"datetime": "2022-08-11T10:15:59Z", "platform": "sentinel-2a"},
    "links": [],
    "assets": {
        "red": {
            "href": "/nowhere/red.tif",
            "eo:bands": [{"name": "B04", "common_name": "red"}],
            "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4}],
            "proj:epsg": 32632,
            "proj:shape": [4, 4],
            "proj:transform": [10, 0, 6e5, 0, -10, 5e6],
        }
    },
}
CUBE = xr.Dataset(
    {"red": (("time", "y", "x"), np.full((1, 4, 4), 3000, "uint16"))},
    {"time": np.array(["2022-08-11T10:15:59"], "datetime64[ns]")},
)


def odd(**fields):
    return copy.deepcopy(ITEM) | fields


ODD_JSON = {
    "assets are null": odd(assets=None),
    "properties are null": odd(properties=None),
    "no date": odd(properties={"datetime": None}),
    "date is a number": odd(properties={"datetime": 5}),
    "date is none": odd(properties={"datetime": "yesterday"}),
    "range is none": odd(properties={"datetime": None, "start_datetime": "x", "end_datetime": []}),
    "assets are a list": odd(assets=["red"]),
    "asset is null": odd(assets={"red": None}),
    "asset without a place": odd(assets={"red": {}}),
    "place is null": odd(assets={"red": {"href": None}}),
    "no item": {"a": 1},
    "links are null": odd(links=None),
    "links are texts": odd(links=["self"]),
    "id is a list": odd(id=[1]),
    "version is null": odd(stac_version=None),
    "box of three": odd(bbox=[1, 2, 3]),
    "box of texts": odd(bbox=["a"] * 4),
    "box of mappings": odd(bbox=[{}, {}, {}, {}]),
    "box of infinities": odd(bbox=[float("inf")] * 4),
    "geometry is a text": odd(geometry="here"),
}


@pytest.mark.parametrize("item", ODD_JSON.values(), ids=ODD_JSON)
def test_items_that_are_none(item):
    with pytest.raises(StacError):
        attach(CUBE, item)


def changed(field, value, place=lambda item: item):
    item = Item.from_dict(copy.deepcopy(ITEM))
    setattr(place(item), field, value)
    return item


def red(item):
    return item.assets["red"]


ODD_ITEMS = {
    "assets": changed("assets", None),
    "properties": changed("properties", None),
    "datetime": changed("datetime", "2022"),
    "id": changed("id", None),
    "collection": changed("collection_id", ["a"]),
    "bbox": changed("bbox", "here"),
    "geometry": changed("geometry", [1]),
    "an asset": changed("assets", {"red": {"href": "x"}}),
    "href": changed("href", None, red),
    "fields": changed("extra_fields", None, red),
    "roles": changed("roles", 5, red),
    "nan": changed("bbox", [float("nan")] * 4),
}


@pytest.mark.parametrize("use", [load, screen, lambda items: attach(CUBE, items)], ids=["load", "screen", "attach"])
@pytest.mark.parametrize("item", ODD_ITEMS.values(), ids=ODD_ITEMS)
def test_objects_whose_fields_became_odd(item, use):
    with pytest.raises(StacError):
        use([item])


@pytest.mark.parametrize("items", [[None], [5], ["item"], [ITEM]], ids=["null", "number", "text", "JSON"])
def test_what_is_no_item(items):
    for use in (load, screen):
        with pytest.raises(StacError, match="type"):
            use(items)


ODD_FIELDS = {
    "bands": [
        ("eo:bands", None),
        ("eo:bands", "red"),
        ("eo:bands", [None]),
        ("raster:bands", 5),
        ("raster:bands", [[]]),
        ("raster:bands", {"scale": []}),
    ],
    "grid": [
        ("proj:shape", "4"),
        ("proj:shape", [4]),
        ("proj:transform", [1]),
        ("proj:transform", "x"),
        ("proj:epsg", -1),
        ("proj:epsg", {}),
        ("proj:shape", [float("nan"), 1]),
        ("proj:shape", [-4, 4]),
    ],
}


@pytest.mark.parametrize(("field", "value"), [pair for pairs in ODD_FIELDS.values() for pair in pairs], ids=repr)
def test_fields_of_an_asset(field, value):
    item = Item.from_dict(copy.deepcopy(ITEM))
    item.assets["red"].extra_fields[field] = value
    for use in (load, lambda items: attach(CUBE, items)):
        try:
            use([item])
        except CloudMaskError:
            continue


@pytest.mark.parametrize(
    "value",
    [[], {}, {"a": [1]}, [[1], [2, 3]], True, 10**400, float("nan"), "ü\0", None],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("name", ["platform", "eo:cloud_cover", "view:sun_elevation", "s2:processing_baseline", "gsd"])
def test_properties_of_odd_types_change_no_pixel(name, value):
    item = odd(properties=ITEM["properties"] | {name: value})
    found = attach(CUBE, item)
    np.testing.assert_array_equal(found["red"], CUBE["red"])
    repr(found.cloudmask.describe())


# Answers --------------------------------------------------------------------------------------------------------------

ANSWERS = {
    "list": [],
    "text": "x",
    "null": None,
    "number": 5,
    "empty": {},
    "features are null": {"features": None},
    "features are texts": {"features": ["a"]},
    "feature is null": {"features": [None]},
    "no items": {"features": [{"a": 1}]},
    "assets are null": {"features": [odd(assets=None)]},
    "no date": {"features": [odd(properties={"datetime": None})]},
}


@pytest.fixture
def api(tmp_path):
    """A server of files: the answer to a search is one of them."""
    with serve_files(tmp_path) as server:
        root = server.url
        links = [
            {"rel": "search", "href": f"{root}/search.json", "method": "GET", "type": "application/geo+json"},
            {"rel": "root", "href": f"{root}/api.json"},
        ]
        conforms = [f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search")]
        said = {
            "type": "Catalog",
            "id": "api",
            "description": "",
            "stac_version": "1.0.0",
            "links": links,
            "conformsTo": conforms,
        }
        (tmp_path / "api.json").write_text(json.dumps(said))
        yield tmp_path, f"{root}/api.json"


def test_an_answer_is_read(api):
    folder, url = api
    (folder / "search.json").write_text(json.dumps({"type": "FeatureCollection", "features": [ITEM], "links": []}))
    assert [item.id for item in search(url)] == ["one"]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_that_are_no_search_answer(api, answer):
    folder, url = api
    (folder / "search.json").write_text(json.dumps(answer))
    with suppress(StacError):
        assert search(url) == []  # an answer without features has none


@pytest.mark.parametrize("text", ["", "<html></html>", "[" * 100_000, "{", "\0", '"' + "x" * 100_000])
@pytest.mark.parametrize("name", ["api.json", "search.json"])
def test_answers_that_are_no_json(api, name, text):
    folder, url = api
    (folder / name).write_text(text)
    with pytest.raises(StacError):
        search(url)


@pytest.mark.parametrize("root", [[], None, 5, {}, {"type": "Collection"}, {"type": "Feature", "assets": None}])
def test_roots_that_are_no_api(api, root):
    folder, url = api
    (folder / "api.json").write_text(json.dumps(root))
    with pytest.raises(StacError):
        search(url)


def test_dates_stay_what_they_are():
    item = Item.from_dict(copy.deepcopy(ITEM))
    assert isinstance(item.datetime, dt.datetime)
    assert attach(CUBE, [item])["id"].values.tolist() == ["one"]
