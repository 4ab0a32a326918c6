"""Any cube is understood: names and order of dimensions, Datasets and DataArrays, with and without time."""

import re

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.layout import (
    X_NAMES,
    Y_NAMES,
    require_real_numbers,
    view,
)
from xr_cloudmask.errors import CloudMaskError, CubeError

BANDS = ["blue", "green", "red"]


def array(dims=("time", "band", "y", "x"), sizes=None, **coords):
    sizes = {"time": 2, "band": 3, "y": 4, "x": 5} | (sizes or {})
    values = np.arange(np.prod([sizes[d] for d in dims]), dtype="float32").reshape([sizes[d] for d in dims])
    return xr.DataArray(values, dims=dims, coords={"band": BANDS} if "band" in dims else None).assign_coords(coords)


@given(st.permutations(["time", "band", "y", "x"]))
def test_every_order_of_dimensions_gives_the_same_view(order):
    cube = array()
    seen = view(cube.transpose(*order))
    assert list(seen.bands) == BANDS
    for i, name in enumerate(BANDS):
        assert seen.bands[name].dims == ("time", "y", "x")
        np.testing.assert_array_equal(seen.bands[name], cube.isel(band=i))


@pytest.mark.parametrize(("y", "x"), list(zip(Y_NAMES[:7], X_NAMES[:7], strict=True)))
def test_usual_spatial_names(y, x):
    seen = view(array().rename({"y": y, "x": x}))
    assert (seen.y, seen.x, seen.time, seen.band) == (y, x, "time", "band")


@pytest.mark.parametrize(
    ("y", "x", "band"),
    [
        ("YDim", "XDim", "Band"),
        ("YDim:MOD_Grid_500m_Surface_Reflectance", "XDim:MOD_Grid_500m_Surface_Reflectance", "band"),  # HDF-EOS
        ("downtrack", "crosstrack", "wavelengths"),  # EMIT
        ("number_of_lines", "number_of_pixels", "number_of_bands"),  # VIIRS
        ("number_of_lines", "pixels_per_line", "wavelength_3d"),  # PACE
        ("Along-Track", "Across Track", "Spectral Bands"),
        ("Latitude", "Longitude", "Wavelength"),
        ("ny", "nx", "CHANNELS"),
        ("lines", "samples", "bands"),
        ("ROW", "COL", "BAND"),
        ("j", "i", "spectral_band"),
    ],
)
def test_names_of_dimensions_that_products_have(y, x, band):
    for cube in (array(), array().to_dataset(name="reflectance")):
        seen = view(cube.rename({"y": y, "x": x, "band": band}))
        assert (seen.y, seen.x, seen.time, seen.band) == (y, x, "time", band)
        assert list(seen.bands) == BANDS


@given(st.sampled_from(Y_NAMES), st.sampled_from(X_NAMES), st.sampled_from([str.upper, str.lower, str.title, str]))
def test_case_of_dimensions_does_not_matter(y, x, spell):
    seen = view(array().rename({"y": spell(y), "x": spell(x)}))
    assert (seen.y, seen.x) == (spell(y), spell(x))


def test_cf_attributes_name_dimensions_that_have_other_names():
    cube = array().rename({"y": "j", "x": "i", "time": "when"})
    cube = cube.assign_coords(
        j=("j", np.arange(4.0), {"standard_name": "projection_y_coordinate"}),
        i=("i", np.arange(5.0), {"axis": "X"}),
        when=("when", np.array(["2024-01-01", "2024-01-11"], "datetime64[ns]")),
    )
    seen = view(cube)
    assert (seen.y, seen.x, seen.time) == ("j", "i", "when")


def test_dataset_of_bands_and_band_dimension_agree():
    cube = array()
    seen = view(cube.to_dataset("band"))
    assert seen.band is None
    assert list(seen.bands) == BANDS
    np.testing.assert_array_equal(seen.bands["red"], cube.sel(band="red"))


def test_dataset_with_one_banded_variable():
    seen = view(array().to_dataset(name="reflectance"))
    assert list(seen.bands) == BANDS


def test_without_time_and_without_band():
    seen = view(array(dims=("y", "x")).rename("red"))
    assert seen.time is None
    assert seen.dates == 1
    assert list(seen.bands) == ["red"]


def test_long_name_names_numbered_bands_as_rioxarray_leaves_them():
    cube = array(dims=("band", "y", "x")).assign_coords(band=[1, 2, 3])
    assert list(view(cube).bands) == ["1", "2", "3"]
    assert list(view(cube.assign_attrs(long_name=("blue", "green", "red"))).bands) == BANDS


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pd.CategoricalIndex(["red", "blue", "nir"]), ["red", "blue", "nir"]),
        (np.array([b"red", b"blue", b"nir"]), ["red", "blue", "nir"]),
        (np.array([4, 3, 2], "uint8"), ["4", "3", "2"]),
        (pd.Index(["red", "blue", "nir"], dtype="string"), ["red", "blue", "nir"]),
    ],
)
def test_labels_of_any_type_are_names(labels, names):
    cube = array(dims=("band", "y", "x")).drop_vars("band").assign_coords(band=("band", labels))
    assert list(view(cube).bands) == names
    assert view(cube).time is None


def test_descriptions_that_name_some_bands_or_the_only_one():
    cube = array(dims=("band", "y", "x")).assign_coords(band=[1, 2, 3])
    assert list(view(cube.assign_attrs(long_name=("blue", None, ""))).bands) == ["blue", "2", "3"]
    single = cube.isel(band=[0])
    assert list(view(single.assign_attrs(long_name="Blue")).bands) == ["Blue"]
    assert list(view(single.assign_attrs(long_name="surface reflectance of a field")).bands) == ["1"]


def test_coordinates_of_bands_are_read_once():
    along = {"common_name": ("band", BANDS), "fwhm": ("band", [65.0, 35.0, 30.0]), "platform": "sentinel-2a"}
    seen = view(array(**along))
    assert seen.coords_of_bands["green"] == {"common_name": "green", "fwhm": 35.0, "platform": "sentinel-2a"} | {
        "band": "green"
    }
    assert seen.coords_of_bands is seen.coords_of_bands
    assert view(array(platform="x").to_dataset("band")).coords_of_bands["red"] == {"platform": "x"}


@pytest.mark.parametrize(
    ("cube", "works"),
    [
        (array().rename(time="scene"), "cube.rename({'scene': 'time'})"),
        (array().rename(time="month"), "cube.rename({'month': 'time'})"),
        (array().to_dataset("band").rename(time="scene"), "cube.rename({'scene': 'time'})"),
        (array(dims=("time", "y", "x")).rename(time="layer"), "cube.rename({'layer': 'band'})"),
        (array().expand_dims(member=2), "cube.isel({'member': 0})"),
    ],
)
def test_what_a_message_about_dimensions_says_to_type_works(cube, works):
    with pytest.raises(CubeError) as error:
        view(cube)
    assert works in error.value.remedy
    assert "'band': 'band'" not in error.value.remedy
    for remedy in re.findall(r"cube\.\w+\(\{[^)]*\}\)", error.value.remedy):
        view(eval(remedy, {"cube": cube}))
    if "time" in cube.dims:
        assert "'time'" not in error.value.remedy


def test_several_variables_with_a_band_dimension():
    cube = array().to_dataset(name="reflectance").assign(uncertainty=array())
    with pytest.raises(CubeError, match="'reflectance', 'uncertainty'") as error:
        view(cube)
    assert list(view(eval(error.value.remedy, {"cube": cube})).bands) == BANDS


def test_a_tree_names_a_group_to_take():
    tree = xr.DataTree.from_dict({"/r10m": array().to_dataset("band"), "/r20m": array().to_dataset("band")})
    with pytest.raises(CubeError, match="type DataTree") as error:
        view(tree)
    typed = error.value.remedy.partition(", one of")[0]
    assert list(view(eval(typed, {"tree": tree})).bands) == BANDS


def test_messages_list_no_hundreds_of_names():
    cube = xr.Dataset({f"layer{number}": ("time", [1.0]) for number in range(285)}).assign_coords(y=[1, 2], x=[1, 2])
    with pytest.raises(CubeError, match="and 275 more") as error:
        view(cube)
    assert len(str(error.value)) < 600


def test_a_static_band_is_repeated_along_time():
    cube = array().to_dataset("band").assign(dem=(("y", "x"), np.ones((4, 5))))
    assert view(cube).bands["dem"].shape == (2, 4, 5)


def test_probabilities_of_an_earlier_prediction_are_no_band():
    cube = array().to_dataset("band").assign(probability=(("time", "class", "y", "x"), np.ones((2, 3, 4, 5))))
    assert list(view(cube).bands) == BANDS


def test_the_view_stays_lazy():
    cube = array().to_dataset("band").chunk(x=2)
    assert all(band.chunks is not None for band in view(cube).bands.values())


def test_coordinates_and_grid_mapping_survive():
    cube = array(time=("time", np.array(["2024-01-01", "2024-01-11"], "datetime64[ns]")), platform="sentinel-2a")
    cube = cube.assign_coords(common_name=("band", BANDS), spatial_ref=0)
    seen = view(cube)
    assert set(seen.coords) == {"time", "platform", "spatial_ref"}
    assert seen.grid_mapping == "spatial_ref"


@pytest.mark.parametrize(
    ("cube", "message"),
    [
        (np.zeros((3, 4)), "type ndarray"),
        (xr.DataArray(np.zeros((3, 4)), dims=("u", "v")), "spatial dimensions"),
        (xr.Dataset(), "spatial dimensions"),
        (array().expand_dims("member"), "'member'"),
        (array(sizes={"x": 0}).to_dataset("band"), "is empty"),
        (array(sizes={"time": 0}), "is empty"),
        (array().assign_coords(band=["red", "green", "red"]), "duplicate band names 'red'"),
        (
            xr.Dataset({"B02": (("y", "x"), np.zeros((4, 4))), "B11": (("y_20m", "x_20m"), np.zeros((2, 2)))}),
            "every band on one grid",
        ),
        (xr.Dataset({"a": ("time", [1.0])}).assign_coords(y=[1, 2], x=[1, 2]), "a variable per band"),
    ],
)
def test_what_is_no_cube_is_refused_with_a_remedy(cube, message):
    with pytest.raises(CubeError, match=message) as caught:
        view(cube)
    assert caught.value.remedy
    assert isinstance(caught.value, CloudMaskError)


@pytest.mark.parametrize("dtype", ["complex64", "bool", "datetime64[ns]", "U3"])
def test_values_that_are_no_real_numbers_are_refused(dtype):
    with pytest.raises(CubeError, match="integer digital numbers"):
        require_real_numbers("red", xr.DataArray(np.zeros((2, 2), dtype), dims=("y", "x")))


def test_coordinates_of_an_earlier_prediction_do_not_come_through():
    fractions = dict.fromkeys(("cloud_fraction", "valid_fraction"), ("time", [0.1, 0.2]))
    mask = {"cloud_mask": (("time", "y", "x"), np.zeros((2, 4, 5), "uint8")), "class": ["clear", "cloud"]}
    cube = array(spatial_ref=0).to_dataset("band").assign_coords(**fractions, **mask)
    assert set(view(cube).coords) == {"spatial_ref"}
    assert set(view(cube.drop_dims("class").to_array("band")).coords) == {"spatial_ref"}


def test_grid_mapping_that_xarray_left_among_the_variables(tmp_path):
    cube = array().assign_coords(y=np.arange(4) * -10.0, x=np.arange(5) * 10.0).to_dataset("band")
    cube.rio.write_crs("EPSG:32723").to_netcdf(tmp_path / "cube.nc")
    with xr.open_dataset(tmp_path / "cube.nc") as opened:
        assert "spatial_ref" in opened.data_vars
        seen = view(opened)
        assert seen.grid_mapping == "spatial_ref"
        assert xr.Dataset(coords=seen.coords).rio.crs.to_epsg() == 32723
        assert ground_of(seen).crs.to_epsg() == 32723


def test_bands_on_another_grid_can_be_dropped_as_the_message_says():
    other = {f"B{number}": (("y_20m", "x_20m"), np.zeros((2, 2))) for number in range(11, 80)}
    cube = array().to_dataset("band").assign(other)
    with pytest.raises(CubeError, match="every band on one grid") as error:
        view(cube)
    assert len(str(error.value)) < 600
    assert list(view(eval(error.value.remedy.rpartition(": ")[2], {"cube": cube})).bands) == BANDS


def test_cf_bounds_are_no_band_and_no_other_grid():
    bounds = {"time_bnds": (("time", "nv"), np.zeros((2, 2))), "y_bnds": (("y", "nv"), np.zeros((4, 2)))}
    assert list(view(array().to_dataset("band").assign(bounds)).bands) == BANDS
