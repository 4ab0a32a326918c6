"""Pixels in true metres and the direction of north, against pyproj's own geodesics and scale factors."""

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Proj, Transformer

from xr_cloudmask import CloudMaskError
from xr_cloudmask.cube import layout
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.sun import SunPosition, sun_positions

WGS84 = Geod(ellps="WGS84")
UTM32 = CRS.from_epsg(32632)
N = 64
STEPS = np.arange(N) - (N - 1) / 2
GOES = CRS.from_user_input("+proj=geos +lon_0=-75 +h=35786023 +sweep=x +ellps=GRS80")
HEIGHT = 35786023.0


def cube_of(y=None, x=None, crs=None, units=None, dims=("y", "x"), shape=(N, N)):
    shape = tuple(size if axis is None else np.size(axis) for size, axis in zip(shape, (y, x), strict=True))
    attrs = {} if units is None else {"units": units}
    coords = {dim: (dim, axis, attrs) for dim, axis in zip(dims, (y, x), strict=True) if axis is not None}
    cube = xr.DataArray(np.zeros(shape, "uint8"), coords, dims)
    return cube if crs is None else cube.rio.write_crs(crs)


def around(crs, longitude, latitude, step, units=1.0):
    """Return y and x of rows that run down and columns that run up, around a place."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(longitude, latitude)
    return (y - step * STEPS) / units, (x + step * STEPS) / units


def ground(*args, **keywords):
    return ground_of(layout.view(cube_of(*args, **keywords)))


def utm(step=30.0, **keywords):
    return around(UTM32, 9.0, 47.0, step, **keywords)


# Sizes.


def test_a_degree_at_60_north_is_what_tables_of_the_ellipsoid_say():
    """111.412 km of latitude and 55.800 km of longitude."""
    for crs, dims in ((4326, ("y", "x")), (None, ("lat", "lon")), (None, ("latitude", "longitude"))):
        found = ground(60 - 1e-4 * STEPS, 10 + 1e-4 * STEPS, crs, dims=dims)
        assert found.pixel == pytest.approx((11.1412, 5.5800), rel=1e-4)
        assert found.gsd == max(found.pixel)
        assert str(found) == "11.1 x 5.58 m"


def test_web_mercator_is_stretched():
    sine2, e2 = np.sin(np.pi / 3) ** 2, 0.00669437999014
    east = 20 * 0.5 / np.sqrt(1 - e2 * sine2)  # Mercator of a sphere, over the radii of the ellipsoid
    north = 20 * 0.5 * (1 - e2) / (1 - e2 * sine2) ** 1.5
    assert ground(*around(3857, 10, 60, 20.0), 3857).pixel == pytest.approx((north, east), rel=1e-5)
    assert ground(*around(3857, 10, 0.0, 20.0), 3857).pixel == pytest.approx((20 * (1 - e2), 20), rel=1e-5)


@pytest.mark.parametrize(
    ("epsg", "longitude", "latitude"),
    [
        (32632, 9.0, 47.0), (32632, 12.0, 60.0), (32632, 6.0, 3.0), (32723, -45.0, -23.0),
        (3031, 0.0, -75.0), (3031, 90.0, -75.0), (3031, 180.0, -70.0), (3031, -120.0, -82.0),
        (3413, -45.0, 70.0), (3413, 0.0, 75.0), (3413, 135.0, 80.0), (3995, 60.0, 66.0), (27700, -2.0, 54.0),
    ],
)  # fmt: skip
def test_conformal_maps_have_the_scale_and_convergence_that_pyproj_says(epsg, longitude, latitude):
    crs = CRS.from_epsg(epsg)
    step = 30.0
    factors = Proj(crs).get_factors(longitude, latitude)
    found = ground(*around(crs, longitude, latitude, step), crs)
    size = step / factors.meridional_scale
    assert found.pixel == pytest.approx((size, size), rel=1e-4)
    # Grid convergence: how far true north is to the left of the map's.
    turned = np.radians(factors.meridian_convergence)
    assert found.pixels(north=size, east=0.0) == pytest.approx((-np.cos(turned), -np.sin(turned)), abs=2e-4)


@pytest.mark.parametrize(("longitude", "northwards"), [(0, (-1, 0)), (90, (0, 1)), (180, (1, 0)), (-90, (0, -1))])
def test_north_is_away_from_the_south_pole(longitude, northwards):
    found = ground(*around(3031, longitude, -71.0, 30.0), 3031)
    assert found.pixel == pytest.approx((30, 30), rel=1e-4)  # the standard parallel
    assert found.pixels(north=30.0, east=0.0) == pytest.approx(northwards, abs=1e-3)


ANYWHERE = {
    "EPSG:32632": ((3, 15), (-20, 80)),
    "EPSG:3857": ((-179, 179), (-80, 80)),
    "EPSG:3031": ((-180, 180), (-89, -60)),
    "EPSG:3413": ((-180, 180), (60, 89)),
    "EPSG:3035": ((-10, 40), (35, 70)),  # equal area
    "EPSG:5070": ((-125, -68), (25, 48)),
    "EPSG:8857": ((-170, 170), (-80, 80)),
    "EPSG:2193": ((167, 178), (-47, -35)),
    "+proj=sinu +R=6371007.181": ((-60, 60), (-70, 70)),
    "+proj=geos +lon_0=-75 +h=35786023 +sweep=x +ellps=GRS80": ((-110, -40), (-45, 45)),
    "+proj=laea +lat_0=-12 +lon_0=-54 +ellps=GRS80 +units=km": ((-75, -34), (-34, 6)),
    "EPSG:4326": ((-180, 180), (-89, 89)),
}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_way_on_the_ground_ends_where_the_pixels_say(data):
    """Whatever the CRS, the place, the size of the pixels and the direction of the axes."""
    name = data.draw(st.sampled_from(sorted(ANYWHERE)))
    place = [data.draw(st.floats(*bounds)) for bounds in ANYWHERE[name]]
    crs = CRS.from_user_input(name)
    unit = 1 / crs.axis_info[0].unit_conversion_factor / (6.4e6 if crs.is_geographic else 1)
    steps = [data.draw(st.floats(5, 900)) * unit * data.draw(st.sampled_from([-1, 1])) for _ in range(2)]
    to_map = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    x0, y0 = to_map.transform(*place)
    found = ground(y0 + steps[0] * np.arange(-2, 3), x0 + steps[1] * np.arange(-2, 3), name)

    geod, away = crs.get_geod(), min(found.pixel) / 2
    for azimuth in data.draw(st.lists(st.floats(0, 360), min_size=2, max_size=2)):
        bearing = np.radians(azimuth)
        rows, columns = found.pixels(north=away * np.cos(bearing), east=away * np.sin(bearing))
        x, y = x0 + columns * steps[1], y0 + rows * steps[0]
        reached = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
        forward, _, distance = geod.inv(*place, *reached)
        assert distance == pytest.approx(away, rel=5e-3, abs=1e-5)
        assert abs((forward - azimuth + 180) % 360 - 180) < 0.5


# Units, and what coordinates cannot be.


@pytest.mark.parametrize(
    ("units", "metres"),
    [("m", 1), ("metre", 1), ("km", 1000), ("kilometers", 1000), ("ft", 0.3048), ("US survey foot", 1200 / 3937)],
)
def test_units_of_coordinates_win_over_the_crs(units, metres):
    expected = ground(*utm(), 32632).pixel
    assert ground(*utm(units=metres), 32632, units).pixel == pytest.approx(expected, rel=1e-6)
    plain = ground(*utm(units=metres), None, units)
    assert plain.pixel == pytest.approx((30, 30), rel=1e-9)
    assert plain.pixels(north=30, east=60) == pytest.approx((-1, 2))
    # Metres beside latitude and longitude are no degrees.
    assert ground(*utm(units=metres), 4326, units).pixel == pytest.approx((30, 30), rel=1e-9)


def test_a_map_in_feet():
    feet = CRS.from_epsg(2263)
    assert ground(*around(feet, -74, 40.7, 100.0), feet).pixel == pytest.approx((30.48, 30.48), rel=1e-4)
    metres = around(feet, -74, 40.7, 100.0, units=3937 / 1200)
    assert ground(*metres, feet, "m").pixel == pytest.approx((30.48, 30.48), rel=1e-4)


@pytest.mark.parametrize("crs", [None, 4326, 32632, 3857, 4807])
@pytest.mark.parametrize("units", ["degrees", "degree_north", "rad"])
def test_angles_beside_any_crs_are_latitude_and_longitude(crs, units):
    y, x = 47 - 1e-4 * STEPS, 9 + 1e-4 * STEPS
    if units == "rad":
        y, x = np.radians(y), np.radians(x)
    found = ground(y, x, crs, units, ("lat", "lon"))
    assert found.pixel == pytest.approx((11.1173, 7.6057), rel=3e-4)
    if units != "rad":
        assert ground(y, x, crs, units).pixel == found.pixel


@pytest.mark.parametrize(
    ("coords", "reason"),
    [
        ((None, None, 32632), "no coordinates"),
        ((utm()[0], utm()[1]), "without a unit or a CRS"),
        ((np.arange(N), np.arange(N), 32632), "positions of pixels"),
        ((np.arange(N) + 0.5, np.arange(N) + 0.5, 32632, "m"), "positions of pixels"),
        ((np.arange(N)[::-1], np.arange(N) + 1000, 3857), "positions of pixels"),
        ((np.arange(N), np.arange(N), 4326), "positions of pixels"),
        ((*utm(), 32632, "pixel"), "positions of pixels"),
        ((47 - 1e-4 * STEPS, 9 + 1e-4 * STEPS, 32632), "no place on the ground"),  # degrees, and nothing says so
        ((5e6 + 30 * STEPS, 5e5 + 30 * STEPS, 4326), "no place on the ground"),  # metres, and nothing says so
        ((utm()[0], np.full(N, np.nan), 32632), "missing"),
        ((utm()[0], np.full(N, 5e5), 32632), "all the same"),
        ((1e-4 * STEPS, 1e-4 * STEPS, None, "rad"), "without a geostationary CRS"),
        (([5e6], [5e5], 32632), "a single pixel"),
        ((np.array(["a", "b"]), np.array(["a", "b"]), 32632), "no coordinates"),
    ],
)
def test_what_cannot_be_coordinates_is_unknown(coords, reason):
    found = ground(*coords)
    assert (found.steps, found.pixel, found.gsd, str(found)) == (None, None, None, "unknown")
    assert reason in found.source
    with pytest.raises(CloudMaskError, match="pixel size is unknown") as caught:
        found.known("cube")
    assert caught.value.remedy == "cube.rio.write_crs('EPSG:32723') with y and x coordinates"


def test_metres_without_a_crs_may_be_one_metre_apart():
    assert ground(np.arange(N), np.arange(N), None, "m").pixel == (1, 1)
    assert ground(-80 + np.arange(N), np.arange(N), None, None, ("lat", "lon")).pixel[0] == pytest.approx(
        111e3, rel=0.01
    )


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_coordinates_of_other_types(dtype):
    y, x = (np.round(axis).astype(dtype) for axis in utm())
    assert ground(y, x, 32632).pixel == pytest.approx((30.012, 30.012), rel=1e-4)


def test_integers_of_a_file_are_decoded():
    step = 5.6e-5
    coords = {
        "y": ("y", np.arange(300, 300 - N, -1, "int16"), {"units": "rad", "scale_factor": step, "add_offset": 0.01}),
        "x": ("x", np.arange(-300, -300 + N, 1, "int16"), {"units": "rad", "scale_factor": step}),
    }
    cube = xr.DataArray(np.zeros((N, N)), coords, ("y", "x")).rio.write_crs(GOES)
    assert ground_of(layout.view(cube)).pixel == pytest.approx((2010, 2010), rel=0.02)


# The globe.


@pytest.mark.parametrize(
    ("units", "unit"), [("rad", 1.0), ("microradian", 1e-6), ("m", 1 / HEIGHT), ("km", 1e3 / HEIGHT)]
)
def test_a_full_disk_of_goes_has_two_kilometres_below_the_satellite(units, unit):
    angles = 5.6e-5 * (np.arange(5424) - 2711.5)
    found = ground(-angles / unit, angles / unit, GOES, units)
    assert found.pixel == pytest.approx((5.6e-5 * HEIGHT,) * 2, rel=1e-3)
    assert found.pixels(north=2004.0, east=0.0) == pytest.approx((-1, 0), abs=1e-3)


def test_towards_the_limb_pixels_grow_and_beyond_it_they_are_unknown():
    angles = 5.6e-5 * np.arange(1000)
    limb = ground(0.13 - angles, -0.14 + angles, GOES, "rad")  # the middle of this corner is not on the disk
    assert min(limb.pixel) > 3000
    assert ground(0.151 - angles[:N], -0.151 + angles[:N], GOES, "rad").pixel is None


def test_across_the_antimeridian_the_step_is_the_short_way_round():
    longitude = (179.96 + 1e-3 * np.arange(N) + 180) % 360 - 180
    expected = ground(-17 - 1e-3 * STEPS, 100 + 1e-3 * STEPS, 4326).pixel
    for crs, dims in ((None, ("lat", "lon")), (4326, ("y", "x"))):
        assert ground(-17 - 1e-3 * STEPS, longitude, crs, dims=dims).pixel == pytest.approx(expected, rel=1e-9)


def test_at_the_pole_itself_pixels_have_a_size():
    assert ground(30 * STEPS[:-1], 30 * STEPS[:-1], 3031).pixel == pytest.approx((30.85, 30.85), rel=1e-3)


def test_missing_coordinates_do_not_count():
    y, x = utm()
    expected = ground(y, x, 32632).pixel
    gaps = np.delete(x, slice(20, 40))
    assert ground(y, gaps, 32632).pixel == pytest.approx(expected, rel=1e-4)
    x[[0, 31, 32]] = np.nan
    assert ground(y, x, 32632).pixel == pytest.approx(expected, rel=1e-4)


def test_a_single_row_is_as_high_as_its_pixels_are_wide():
    y, x = around(3413, 0, 75, 30.0)
    whole = ground(y, x, 3413)
    for cut in (ground(y[:1], x, 3413), ground(y, x[:1], 3413)):
        np.testing.assert_allclose(cut.steps, whole.steps, rtol=1e-3)
    assert ground([0.0], np.arange(N) * 10.0, None, "m").steps == ((-10, 0), (0, 10))


# What stands for coordinates.


TRANSFORMS = {
    "GeoTransform": {"GeoTransform": "500000.0 30.0 0.0 5200000.0 0.0 -20.0"},
    "proj:transform": {"proj:transform": [30.0, 0, 5e5, 0, -20.0, 5.2e6, 0, 0, 1]},
    "spatial:transform": {"spatial:transform": np.array([30.0, 0, 5e5, 0, -20.0, 5.2e6])},
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("coords", [None, np.arange(N), np.arange(N) + 0.5])
def test_an_affine_transform_tells_where_coordinates_do_not(name, coords):
    attrs = {"crs_wkt": UTM32.to_wkt()} | (TRANSFORMS[name] if name == "GeoTransform" else {})
    cube = cube_of(coords, coords).assign_coords(spatial_ref=((), 0, attrs))
    if name != "GeoTransform":
        cube = cube.assign_attrs(TRANSFORMS[name])
    found = ground_of(layout.view(cube))
    assert found.pixel == pytest.approx((20, 30), rel=1e-3)
    assert "affine" in found.source
    real = cube.assign_coords(dict(zip("yx", utm(10.0), strict=True)))
    assert ground_of(layout.view(real)).pixel == pytest.approx((10, 10), rel=1e-3)  # a transform may be stale


def test_rows_of_a_turned_image():
    cube = cube_of().rio.write_crs(32632)
    cube.spatial_ref.attrs["GeoTransform"] = "500000 20 10 5200000 10 -20"
    found = ground_of(layout.view(cube))
    assert found.pixel == pytest.approx((np.hypot(20, 10),) * 2, rel=1e-3)
    assert found.pixels(north=20.0, east=-10.0) == pytest.approx((-1, 0), abs=1e-3)


@pytest.mark.parametrize("transform", ["0 1 0 0 0 1", "0 1 0 0 0 -1", "", "a b c", "1 2 3", None, 7, [1, 2]])
def test_transforms_that_tell_nothing(transform):
    cube = cube_of().assign_coords(
        spatial_ref=((), 0, {"crs_wkt": UTM32.to_wkt()} | ({} if transform is None else {"GeoTransform": transform}))
    )
    assert ground_of(layout.view(cube)).pixel is None


def test_latitude_and_longitude_of_every_pixel():
    latitude, longitude = np.meshgrid(60 - 1e-4 * STEPS, 10 + 1e-4 * STEPS, indexing="ij")
    cube = cube_of().assign_coords(lat=(("y", "x"), latitude), lon=(("y", "x"), longitude))
    assert ground_of(layout.view(cube)).pixel == pytest.approx((11.1412, 5.5800), rel=1e-4)
    counted = cube.assign_coords(y=np.arange(N), x=np.arange(N))
    assert ground_of(layout.view(counted)).pixel == pytest.approx((11.1412, 5.5800), rel=1e-4)
    assert ground_of(layout.view(cube.chunk(y=8))).pixel is None  # it would compute them
    assert ground_of(layout.view(cube.isel(y=[0], x=[0]))).pixel is None


def test_indexes_that_make_their_coordinates():
    from xarray.indexes import RangeIndex

    cube = xr.DataArray(np.zeros((N, N)), dims=("y", "x"))
    for dim, start, step in (("y", 5.2e6, -30.0), ("x", 5e5, 30.0)):
        index = RangeIndex.arange(start, start + N * step, step, dim=dim)
        cube = cube.assign_coords(xr.Coordinates.from_xindex(index))
    assert ground_of(layout.view(cube.rio.write_crs(32632))).pixel == pytest.approx((30.012, 30.012), rel=1e-4)


# The CRS.


class WithWkt:
    def to_wkt(self, *_):
        return UTM32.to_wkt()


@pytest.mark.parametrize(
    "attrs",
    [
        {"spatial_ref": "EPSG:32632"},
        {"crs_wkt": "  " + UTM32.to_wkt()},
        {"crs_wkt": "+proj=utm +zone=32 +datum=WGS84"},
        {"crs_wkt": "", "spatial_ref": UTM32.to_wkt()},
        {"crs_wkt": "nonsense", **UTM32.to_cf(), "spatial_ref": ""} | {"crs_wkt": "nonsense"},
        {"proj4": "+init=epsg:32632"},
    ],
)
def test_grid_mappings_are_read_however_they_are_spelt(attrs):
    for name in ("spatial_ref", "crs", "transverse_mercator"):
        cube = cube_of(*utm()).assign_coords({name: ((), 0, attrs)})
        assert ground_of(layout.view(cube)).pixel == pytest.approx((30.012, 30.012), rel=1e-4)
        assert ground_of(layout.view(cube)).crs.to_epsg(20) == 32632


@pytest.mark.parametrize("name", ["epsg", "proj:epsg", "proj:code", "crs", "proj:wkt2"])
@pytest.mark.parametrize(
    "value", [32632, "32632", "EPSG:32632", np.int32(32632), 32632.0, np.str_("epsg:32632"), UTM32.to_wkt(), UTM32]
)
def test_properties_are_read_however_they_are_spelt(name, value):
    for cube in (cube_of(*utm()).assign_attrs({name: value}), cube_of(*utm()).assign_coords({name: value})):
        assert ground_of(layout.view(cube)).crs == UTM32
    assert ground_of(layout.view(cube_of(*utm()).assign_attrs({name: WithWkt()}))).crs == UTM32
    dated = cube_of(*utm()).expand_dims(time=2).assign_coords({name: ("time", [value, value])})
    assert ground_of(layout.view(dated)).crs == UTM32


UNREADABLE = st.one_of(
    st.sampled_from(
        ["", " ", "nonsense", "EPSG:", "EPSG:999999", "None", 0, -1, 10**30, np.nan, np.inf, None, b"\xff"]
    ),
    st.text(max_size=8),
    st.integers(max_value=1000),
    st.floats(),
    st.lists(st.floats(), max_size=7),
    st.dictionaries(st.sampled_from(["grid_mapping_name", "crs_wkt", "proj"]), st.text(max_size=5)),
)


GRID_MAPPING = ["crs_wkt", "spatial_ref", "grid_mapping_name", "GeoTransform", "proj4", "epsg_code"]
PROPERTIES = ["epsg", "crs", "proj:code", "proj:transform", "proj:epsg", "transform", "grid_mapping"]


@settings(max_examples=60, deadline=None)
@given(
    attrs=st.dictionaries(st.sampled_from(GRID_MAPPING), UNREADABLE),
    properties=st.dictionaries(st.sampled_from(PROPERTIES), UNREADABLE),
    units=UNREADABLE,
    values=st.lists(st.floats(width=32), min_size=1, max_size=5),
)
def test_whatever_a_cube_holds_is_no_traceback(attrs, properties, units, values):
    cube = cube_of(np.array(values), np.array(values)).assign_coords(spatial_ref=((), 0, attrs))
    cube = cube.assign_attrs(properties)
    cube.y.attrs["units"] = cube.x.attrs["units"] = units
    found = ground_of(layout.view(cube))
    assert found.source
    assert found.pixel is None or all(0 < size < np.inf for size in found.pixel)


def test_several_grids_have_no_crs_in_common():
    cube = cube_of(*utm()).expand_dims(time=2).assign_coords(epsg=("time", [32632, 32633]))
    assert ground_of(layout.view(cube)).crs is None


def test_a_height_is_no_place():
    assert ground_of(layout.view(cube_of(*utm()).assign_attrs({"crs": "EPSG:5714"}))).crs is None


def test_a_local_grid_has_the_unit_that_it_states():
    local = 'LOCAL_CS["site",LOCAL_DATUM["site",0],UNIT["foot",0.3048],AXIS["x",EAST],AXIS["y",NORTH]]'
    cube = cube_of(-100.0 * np.arange(N), 100.0 * np.arange(N)).assign_attrs(crs=local)
    assert ground_of(layout.view(cube)).pixel == pytest.approx((30.48, 30.48))


def test_a_rotated_pole():
    rotated = CRS.from_cf({
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 39.25, "grid_north_pole_longitude": -162.0,
    })  # fmt: skip
    cube = cube_of(0.1 - 1e-3 * STEPS, 20 + 1e-3 * STEPS, units="degrees").assign_attrs(crs=rotated.to_wkt())
    found = ground_of(layout.view(cube))
    place = Transformer.from_crs(rotated, 4326, always_xy=True).transform([20, 20], [0.1, 0.101])
    azimuth, _, distance = WGS84.inv(place[0][0], place[1][0], place[0][1], place[1][1])
    assert found.pixel[0] == pytest.approx(distance, rel=1e-4)
    assert found.steps[0] == pytest.approx(
        (-distance * np.cos(np.radians(azimuth)), -distance * np.sin(np.radians(azimuth))), rel=1e-3
    )


def test_nothing_is_computed():
    def refuse(*_, **__):
        raise AssertionError("computed")

    cube = cube_of(*utm(), 32632).chunk(y=8)
    with dask.config.set(scheduler=refuse):
        assert ground_of(layout.view(cube)).gsd == pytest.approx(30.012, rel=1e-4)


# The sun.


@pytest.mark.parametrize("place", [(3031, 90, -75), (3031, 180, -80), (3413, 10, 70), (32632, 12, 70), (4326, 10, 60)])
@pytest.mark.parametrize("azimuth", [0, 90, 200])
@pytest.mark.parametrize("flipped", [False, True])
def test_shadows_lie_away_from_the_sun_on_the_ground(place, azimuth, flipped):
    crs, longitude, latitude = place
    step = 1e-4 if crs == 4326 else 10.0
    y, x = around(crs, longitude, latitude, step)
    y = y[::-1] if flipped else y
    found = ground(y, x, crs)
    rows, columns = SunPosition(azimuth, 45.0).shift(found)  # a shadow is as far away as the cloud is high
    height = 100.0
    place = [np.interp(31.5 + height * shift, np.arange(N), axis) for shift, axis in ((columns, x), (rows, y))]
    reached = Transformer.from_crs(crs, 4326, always_xy=True).transform(*place)
    forward, _, distance = WGS84.inv(longitude, latitude, *reached)
    assert distance == pytest.approx(height, rel=1e-3)
    assert abs((forward - azimuth) % 360 - 180) < 0.1


def test_where_the_sun_stands():
    cube = cube_of(*utm(), 32632).expand_dims(time=3)
    angles = {"view:sun_azimuth": ("time", [90.0, np.nan, 10.0]), "view:sun_elevation": ("time", [45.0, 45.0, -1.0])}
    assert sun_positions(layout.view(cube.assign_coords(angles))) == (SunPosition(90, 45), None, None)
    zenith = cube.assign_attrs({"s2:mean_solar_azimuth": 30.0, "s2:mean_solar_zenith": 20.0})
    assert sun_positions(layout.view(zenith)) == (SunPosition(30, 70),)
    assert sun_positions(layout.view(cube)) == (None,)
    assert SunPosition(90, 45).shift(ground()) is None
