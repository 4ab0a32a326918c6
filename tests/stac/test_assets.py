"""STAC's band metadata: every version of it, one order of precedence, for cubes and for items."""

from __future__ import annotations

import datetime as dt
from itertools import permutations
from typing import Any

import numpy as np
import pystac
import pytest
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.bands import describe
from xr_cloudmask.cube.metadata import band_field, band_fields
from xr_cloudmask.stac.assets import default_bands, source

EVERY = {
    "bands": [{"name": "B04", "eo:common_name": "red", "raster:scale": 0.0002}],
    "eo:bands": [{"name": "old", "common_name": "nir", "center_wavelength": 0.665, "scale": 0.0003}],
    "raster:bands": [{"scale": 0.0004, "offset": -0.1, "nodata": 0, "center_wavelength": 0.9}],
}
EXPECTED = {
    "name": "B04",
    "common_name": "red",
    "scale": 0.0002,
    "center_wavelength": 0.665,
    "offset": -0.1,
    "nodata": 0,
}


@pytest.mark.parametrize("order", list(permutations(EVERY)))
def test_bands_wins_over_eo_wins_over_raster_in_whatever_order_they_come(order):
    fields = {key: EVERY[key] for key in order}
    assert band_fields(fields) == [EXPECTED]
    assert band_field(fields, 0, 1) == EXPECTED


@pytest.mark.parametrize("key", list(EVERY))
def test_each_list_alone(key):
    (found,) = band_fields({key: EVERY[key]})
    assert found == {name.partition(":")[2] or name: value for name, value in EVERY[key][0].items()}


def test_null_is_no_statement():
    fields = {"bands": [{"scale": None}], "eo:bands": [{"scale": 0.5, "common_name": None}]}
    assert band_fields(fields) == [{"scale": 0.5}]


def test_what_is_said_of_the_asset_holds_for_its_bands():
    fields = {
        "eo:common_name": "red",
        "gsd": 10,
        "data_type": "uint16",
        "bands": [{"name": "a"}, {"name": "b", "gsd": 20}],
    }
    shared = {"common_name": "red", "data_type": "uint16"}
    assert band_fields(fields) == [{"name": "a", "gsd": 10} | shared, {"name": "b", "gsd": 20} | shared]


@pytest.mark.parametrize(
    "kept",
    [EVERY["eo:bands"], EVERY["eo:bands"][0], tuple(EVERY["eo:bands"]), np.array(EVERY["eo:bands"], object)],
)
def test_lists_however_a_loader_keeps_them(kept):
    assert band_field({"eo:bands": kept}, 0, 4)["common_name"] == "nir"


@pytest.mark.parametrize("kept", [None, 3, "text", [], [None], [3, 4]])
def test_what_is_no_list_of_bands_says_nothing(kept):
    assert band_field({"eo:bands": kept}, 0, 4) == {}


def cube_of(attrs: list[dict[str, Any]]) -> xr.Dataset:
    bands = {f"v{i}": (("y", "x"), np.ones((2, 2)), said) for i, said in enumerate(attrs)}
    return xr.Dataset(bands)


def test_a_cube_and_an_item_say_the_same():
    view = layout.view(cube_of([EVERY]))
    assert view.metadata["v0"].stac == EXPECTED
    item = pystac.Item("a", None, None, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), {})
    item.add_asset("x", pystac.Asset("https://example.org/x.tif", extra_fields=EVERY))
    said = source(item, "x")
    assert (said.attrs["common_name"], said.attrs["scale_factor"], said.attrs["add_offset"]) == ("red", 0.0002, -0.1)
    assert said.nodata == 0


def test_a_list_for_all_bands_of_an_array():
    bands = [{"name": name, "eo:common_name": role} for name, role in (("one", "red"), ("two", "nir"))]
    cube = xr.DataArray(
        np.ones((2, 2, 2)), dims=("band", "y", "x"), coords={"band": ["p", "q"]}, attrs={"bands": bands}
    )
    assert [band.role for band in describe(layout.view(cube))] == ["red", "nir"]
    assert layout.view(cube).metadata["q"].stac == {"name": "two", "common_name": "nir"}


def test_fields_of_an_asset_with_prefix():
    attrs = {"eo:common_name": "red", "eo:center_wavelength": 0.665, "eo:full_width_half_max": 0.03}
    view = layout.view(cube_of([attrs]))
    assert view.metadata["v0"].said["common_name"] == "red"
    (band,) = describe(view)
    assert (band.role, band.min_wavelength, band.max_wavelength) == ("red", 650, 680)


@pytest.mark.parametrize(
    "keys", [["blue", "blue-jp2", "red", "red-jp2", "scl-jp2"], ["B02", "B04", "visual"], ["B02.tif", "B04.tif"]]
)
def test_a_band_in_two_formats_is_one_band(keys):
    item = pystac.Item("a", None, None, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), {})
    for key in keys:
        item.add_asset(key, pystac.Asset(f"https://example.org/{key}"))
    assert default_bands([item]) == [key for key in keys if "jp2" not in key and key != "visual"]
