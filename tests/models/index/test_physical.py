"""Absolute tests: no cap, honest without the sun, exact for every chunking, measured on a real patch."""

import heapq
import threading
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import LABELLED
from scipy import ndimage
from toy_cubes import chunked

from xr_cloudmask import simulate
from xr_cloudmask.cube import layout, sun
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.sun import Sun, SunPosition
from xr_cloudmask.engine import tile
from xr_cloudmask.errors import ModelError
from xr_cloudmask.models.index import physical
from xr_cloudmask.models.index.physical import PhysicalThresholds, cast, flooded, shifted
from xr_cloudmask.prediction import predict

ROLES = ["blue", "green", "red", "nir", "swir16", "swir22"]


def mask_of(cube, **keywords):
    return predict(cube, "physical", **keywords)


def patch(bands):
    if not LABELLED.exists():
        pytest.skip(f"the labelled Sentinel-2 patch is not at {LABELLED}")
    with np.load(LABELLED) as data:
        img, codes = data["img"], data["msk"][..., 0]
    variables = {role: (("y", "x"), img[..., i]) for i, role in enumerate(ROLES[:bands])}
    return xr.Dataset(variables, attrs={"level": "TOA"}), codes


def iou(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize(("bands", "cloud", "shadow"), [(4, 0.78, 0.735), (6, 0.785, 0.78)])
def test_agreement_with_a_real_labelled_patch(bands, cloud, shadow):
    cube, codes = patch(bands)
    found = mask_of(cube)["cloud_mask"].values
    assert iou(np.isin(found, (1, 2)), codes == 4) > cloud
    assert iou(found == 3, codes == 0) > shadow


LAND = ("temperate", "farmland", "forest", "steppe", "city")


@cache
def scenes(cover):
    """Return simulated scenes of five landscapes."""
    surfaces = [
        simulate.clear_surface(bands=ROLES, size=(200, 200), landscape=landscape, seed=seed)
        for seed, landscape in enumerate(LAND * 2, start=50)
    ]
    return [simulate.scene(surface, cover=cover, gsd=30, seed=seed) for seed, surface in enumerate(surfaces, start=50)]


def masks_of(cover, bands):
    return [mask_of(scene[list(scene.data_vars)[:bands]]) for scene in scenes(cover)]


@pytest.mark.parametrize("bands", [4, 6])
def test_a_scene_may_be_all_cloud_or_have_none(bands):
    assert min(mask["cloud_fraction"] for mask in masks_of(1.0, bands)) >= 0.95
    assert np.mean([mask["cloud_fraction"] for mask in masks_of(0.0, bands)]) <= 0.02


@pytest.mark.parametrize(("bands", "agreement", "found_of_it"), [(4, 0.75, 0.84), (6, 0.82, 0.88)])
def test_partly_cloudy_scenes_keep_their_clouds(bands, agreement, found_of_it):
    masks = np.stack([mask["cloud_mask"].values for mask in masks_of(0.35, bands)])
    truths = np.stack([scene["truth"].values for scene in scenes(0.35)])
    found, cloud = (np.isin(codes[truths != 255], (1, 2)) for codes in (masks, truths))
    assert iou(found, cloud) > agreement
    assert found[cloud].mean() > found_of_it


def test_haze_is_cloud_only_close_to_what_certainly_is():
    """HOT is 0.04 in the haze, and 0.17 in a cloud of which 13 pixels are no speck."""
    cube = land(80, 30, (40, 10, 5), (0, 0, 0))
    haze = np.zeros((80, 80), bool)
    haze[30:55, 8:70] = True
    cube = xr.where(haze & (cube["blue"] < 0.4), xr.full_like(cube, 0.24), cube, keep_attrs=True)
    found = mask_of(cube, thresholds=PhysicalThresholds(rim=150))["cloud_mask"].values == 1
    rows, columns = np.indices(haze.shape)
    np.testing.assert_array_equal(found, haze & (abs(rows - 42) + abs(columns - 12) <= 2 + 150 / 30))
    assert (mask_of(cube, thresholds=PhysicalThresholds(rim=0))["cloud_mask"] == 1).sum() == 13
    assert (mask_of(cube.where(cube["blue"] < 0.4, 0.24))["cloud_mask"] != 1).all()


def test_clouds_do_not_depend_on_the_window():
    few, many = (mask_of(SERIES, **options)["cloud_mask"] == 1 for options in ({"resolution": "native"}, OPTIONS))
    np.testing.assert_array_equal(few, many)


@pytest.mark.parametrize("sensor", ["cbers-4a-wpm", "amazonia-1-wfi", "planetscope-4", "landsat-8-9", "sentinel-2"])
def test_every_sensor_is_served_with_the_bands_it_has(sensor):
    cube = simulate.scene(cover=0.4, sensor=sensor, size=(200, 200)).drop_vars("truth")
    attrs = mask_of(cube)["cloud_mask"].attrs
    assert attrs["model_variant"].startswith("4b")
    assert ("swir" in attrs["model_variant"]) == (sensor in ("landsat-8-9", "sentinel-2"))


SERIES = simulate.series(dates=2, size=(150, 203), seed=3).drop_vars("truth")[["B02", "B03", "B04", "B08"]]
OPTIONS = {"resolution": "native", "window": 136, "halo": 54}
EXPECTED = mask_of(SERIES, **OPTIONS)


@settings(max_examples=8)
@given(st.data())
def test_labels_are_the_same_for_every_chunking(data):
    out = mask_of(chunked(data.draw, SERIES), **OPTIONS)
    np.testing.assert_array_equal(out["cloud_mask"].compute(scheduler="synchronous"), EXPECTED["cloud_mask"])


def test_where_shadows_were_looked_for_is_written_down():
    alone = SERIES.isel(time=0, drop=True).assign_coords({"view:sun_azimuth": 90.0, "view:sun_elevation": 45.0})

    def where(cube, **options):
        return mask_of(cube, **options)["cloud_mask"].attrs["shadows_looked_for"]

    assert where(alone) == "along the sun's direction, of clouds up to 3800 m"
    assert where(alone, **OPTIONS) == "along the sun's direction, of clouds up to 330 m"
    blind = SERIES.drop_vars(["view:sun_azimuth", "view:sun_elevation"])
    assert where(blind, **OPTIONS).endswith("up to 330 m from them: 1 of 1 sun directions are unknown")
    nowhere = blind.drop_vars(["y", "x", "spatial_ref"])
    assert where(nowhere).endswith("up to 1500 m from them: the pixel size is unknown, and taken for 30 m")


def test_the_distance_from_the_zenith_tells_the_elevation():
    angles = {"s2:mean_solar_azimuth": ("time", [90.0, 90.0]), "s2:mean_solar_zenith": ("time", [45.0, 0.0])}
    cube = SERIES.drop_vars(["view:sun_azimuth", "view:sun_elevation"]).assign_coords(angles)
    assert sun.sun_positions(layout.view(cube)) == (SunPosition(90, 45), SunPosition(90, 90))


def land(size, pixel, cloud, shadow, **attrs):
    """Flat land with a cloud and a shadow, squares ``(row, column, width)`` in pixels of some metres."""
    bands = {role: np.full((size, size), value) for role, value in zip(ROLES[:4], (0.06, 0.08, 0.07, 0.3), strict=True)}
    for band in bands.values():
        for (row, column, width), value in ((cloud, 0.5), (shadow, 0.05)):
            band[row : row + width, column : column + width] = value
    bands["nir"][shadow[0] : shadow[0] + shadow[2], shadow[1] : shadow[1] + shadow[2]] = 0.12
    metres = np.arange(size) * float(pixel)
    coords = {"y": ("y", -metres, {"units": "m"}), "x": ("x", metres, {"units": "m"})}
    return xr.Dataset({role: (("y", "x"), band) for role, band in bands.items()}, coords, {"level": "TOA", **attrs})


@pytest.mark.parametrize("pixel", [8, 64])
def test_reach_is_in_metres_whatever_the_pixel_size(pixel):
    for distance, expected in ((800, 3), (1800, 0)):
        away = round(distance / pixel)
        cube = land(300, pixel, (40, 40, 10), (40, 49 + away, 4))
        found = mask_of(cube, resolution="native")["cloud_mask"].values
        assert (found[41, 41], found[41, 50 + away]) == (1, expected)


@pytest.mark.parametrize("away", [20, 60])
def test_shadows_do_not_depend_on_where_windows_end(away):
    """A cloud's shadow is found wherever the cloud lies, or nowhere, where the halo is too small for it."""
    low = {"view:sun_azimuth": 270.0, "view:sun_elevation": 20.0}
    found = set()
    for column in range(60, 200, 9):
        cube = land(300, 30, (100, column, 8), (100, column + away, 8), **low)
        mask = mask_of(cube, window=156, halo=54)["cloud_mask"].values
        found.add(int((mask[:, column + away : column + away + 8] == 3).sum()))
    assert len(found) == 1
    assert (found != {0}) == (away < 40)


def test_thresholds_have_to_make_sense():
    for wrong in (
        {"hot": "high"},
        {"height": 300.0},
        {"background": 2.0},
        {"height": (900.0, 200.0)},
        {"ndvi": np.nan},
    ):
        with pytest.raises(ModelError, match=next(iter(wrong))):
            PhysicalThresholds(**wrong)
    with pytest.raises(ModelError, match=r"from xr_cloudmask\.models\.index\.physical import PhysicalThresholds"):
        mask_of(SERIES, thresholds=0.3)


def test_the_sun_casts_shadows_to_the_other_side():
    cube = SERIES.isel(time=0, drop=True).assign_coords({"view:sun_azimuth": 225.0, "view:sun_elevation": 45.0})
    for turned, sign in ((cube, -1), (cube.isel(y=slice(None, None, -1)), 1)):
        view = layout.view(turned)
        (position,) = sun.sun_positions(view)
        rows, columns = np.multiply(position.shift(ground_of(view)), 10)
        assert (rows, columns) == pytest.approx((sign * np.sqrt(0.5), np.sqrt(0.5)), abs=0.02)  # to the north-east


def test_shadows_lie_where_clouds_of_any_height_can_cast_them():
    cloud = np.zeros((60, 60), bool)
    cloud[30, 30] = True
    reached = cast(cloud, PhysicalThresholds(height=(500, 1000)), Sun((0.0, 0.02), (30.0, 30.0)))
    assert reached[30, 40:51].all()
    assert not reached[30, :37].any()
    assert not reached[30, 53:].any()
    around = cast(cloud, PhysicalThresholds(reach=300), Sun(None, (30.0, 30.0)))
    assert around.sum() == pytest.approx(np.pi * 10**2, rel=0.05)
    narrow = cast(cloud, PhysicalThresholds(reach=300), Sun(None, (30.0, 15.0)))
    assert (narrow.any(axis=1).sum(), narrow.any(axis=0).sum()) == (21, 41)
    assert not cast(np.zeros((5, 5), bool), PhysicalThresholds(), Sun(None, (30.0, 30.0))).any()


@given(st.integers(-7, 7), st.integers(-7, 7))
def test_shifted_is_roll_without_coming_back(rows, columns):
    mask = np.random.default_rng(0).random((5, 6)) > 0.5
    padded = np.pad(mask, 8)
    np.testing.assert_array_equal(shifted(mask, rows, columns), np.roll(padded, (rows, columns), (0, 1))[8:-8, 8:-8])


def flooded_by_queue(ground, beyond):
    """The textbook flood: take the lowest pixel that water can leave by, until none is left."""
    ground = np.pad(ground, 1, constant_values=beyond)
    level = np.full_like(ground, np.inf)
    level[[0, -1]] = level[:, [0, -1]] = beyond
    queue = [(level[y, x], y, x) for y, x in np.argwhere(np.isfinite(level))]
    while queue:
        height, y, x = heapq.heappop(queue)
        for i, j in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= i < ground.shape[0] and 0 <= j < ground.shape[1]
            if inside and level[i, j] == np.inf:
                level[i, j] = max(ground[i, j], height)
                heapq.heappush(queue, (level[i, j], i, j))
    return level[1:-1, 1:-1]


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20))
def test_the_flood_is_the_textbooks(seed, rows, columns):
    ground = np.random.default_rng(seed).random((rows, columns)).astype("float32").round(1)
    none = np.zeros(ground.shape, bool)
    beyond = np.float32(np.quantile(ground, 0.175))
    np.testing.assert_array_equal(flooded(ground, none, 0.175), flooded_by_queue(ground, beyond))


def test_missing_pixels_are_no_data_and_raise_nothing():
    cube = SERIES.isel(time=0).cloudmask.reflectance()
    holed = cube.where(np.indices((150, 203))[0] < 80)
    out = mask_of(holed, **OPTIONS)["cloud_mask"].values
    assert (out[80:] == 255).all()
    assert (out[:80] != 255).mean() > 0.5


def test_thin_clouds_are_those_that_cirrus_alone_shows():
    bands = {role: (("y", "x"), np.full((40, 40), 0.1)) for role in ROLES[:4]}
    cube = xr.Dataset(bands, attrs={"level": "TOA"})
    cube["cirrus"] = (("y", "x"), np.where(np.indices((40, 40))[1] > 20, 0.02, 0.001))
    np.testing.assert_array_equal(mask_of(cube)["cloud_mask"], np.where(np.indices((40, 40))[1] > 20, 2, 0))


def flat(**values):
    """Return a scene of 40 x 40 pixels, of one number or of arrays for each band."""
    kelvin = {"units": "K", "common_name": "lwir11"}
    bands = {
        name: (("y", "x"), np.broadcast_to(np.float32(value), (40, 40)), kelvin if name == "lwir11" else {})
        for name, value in values.items()
    }
    return xr.Dataset(bands, attrs={"level": "TOA"})


SNOW = {"blue": 0.82, "green": 0.8, "red": 0.8, "nir": 0.78, "swir16": 0.1, "swir22": 0.08}
ICE_CLOUD = {"blue": 0.95, "green": 0.9, "red": 0.92, "nir": 0.93, "swir16": 0.14, "swir22": 0.16}
BARE = {"blue": 0.12, "green": 0.15, "red": 0.2, "nir": 0.3, "swir16": 0.35, "swir22": 0.3}
RIGHT = np.indices((40, 40))[1] > 20


@pytest.mark.parametrize("kelvin", [None, 237.0, 255.0])
def test_cold_dry_snow_is_no_cirrus(kelvin):
    """Through the little air above a high, cold place, snow itself is seen at 1.38 µm."""
    scene = SNOW | ({} if kelvin is None else {"lwir11": kelvin})
    assert (mask_of(flat(**scene, cirrus=0.18))["cloud_mask"] == 0).all()
    over_snow = mask_of(flat(**scene, cirrus=np.where(RIGHT, 0.21, 0.18)))["cloud_mask"]
    np.testing.assert_array_equal(over_snow, np.where(RIGHT, 2, 0))


def test_snow_under_moist_air_does_not_shine_at_138():
    assert (mask_of(flat(**SNOW, cirrus=0.18, lwir11=271.0))["cloud_mask"] == 2).all()


@pytest.mark.parametrize(("kelvin", "code"), [(230.0, 1), (240.0, 0)])
def test_what_is_colder_than_snow_can_be_is_cloud(kelvin, code):
    assert (mask_of(flat(**ICE_CLOUD, lwir11=kelvin))["cloud_mask"] == code).all()
    warm = mask_of(flat(**BARE, lwir11=kelvin))["cloud_mask"]
    assert (warm == 0).all()  # cold alone is no cloud: it is neither white nor hazy


@pytest.mark.parametrize(("seen", "code"), [(0.005, 0), (0.02, 0), (0.04, 2)])
def test_an_overcast_of_cirrus_is_not_taken_for_the_ground(seen, code):
    """High, dry ground may show; more than a twentieth of it never does."""
    assert (mask_of(flat(**BARE, cirrus=seen))["cloud_mask"] == code).all()


def test_cirrus_is_brighter_than_the_ground_of_its_window():
    found = mask_of(flat(**BARE, cirrus=np.where(RIGHT, 0.03, 0.012)))["cloud_mask"]
    np.testing.assert_array_equal(found, np.where(RIGHT, 2, 0))


def test_cirrus_may_lack_data():
    seen = np.where(RIGHT, np.nan, 0.001)
    found = mask_of(flat(**BARE, cirrus=seen))["cloud_mask"]
    np.testing.assert_array_equal(found, np.where(RIGHT, 255, 0))


@settings(max_examples=15)
@given(st.data())
def test_labels_with_cirrus_and_thermal_are_the_same_for_every_chunking(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    smooth = ndimage.gaussian_filter(rng.random((8, 1, 90, 110)), (0, 0, 4, 4)).astype("float32")
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    bands = dict(zip(ROLES, smooth, strict=False)) | {"cirrus": smooth[6] / 20, "lwir11": 220 + 80 * smooth[7]}
    coords = {"y": -30.0 * np.arange(90), "x": 30.0 * np.arange(110)}
    cube = xr.Dataset({name: (("time", "y", "x"), values) for name, values in bands.items()}, coords, {"level": "TOA"})
    cube["lwir11"].attrs = {"units": "K", "common_name": "lwir11"}
    options = {"window": 64, "halo": 24}
    expected = mask_of(cube, **options)["cloud_mask"]
    np.testing.assert_array_equal(mask_of(chunked(data.draw, cube), **options)["cloud_mask"], expected)


def test_windows_need_not_take_turns():
    """The tests use one thread: they would wait for ever for a lock that somebody holds."""
    with tile._INFERENCE:
        waiting = threading.Thread(target=mask_of, args=(SERIES,), daemon=True)
        waiting.start()
        waiting.join(timeout=30)
        assert not waiting.is_alive()


def test_specks_of_thin_cloud_are_dropped_too():
    bands = {role: (("y", "x"), np.full((40, 40), 0.1)) for role in ROLES[:4]}
    cube = xr.Dataset(bands, attrs={"level": "TOA"})
    cube["cirrus"] = (("y", "x"), np.pad([[0.05]], ((20, 19), (20, 19))))
    assert (mask_of(cube)["cloud_mask"] == 0).all()


def test_warm_pixels_are_no_cloud():
    bands = {role: (("y", "x"), np.full((40, 40), 0.5)) for role in ROLES[:4]}
    cube = xr.Dataset(bands, attrs={"level": "TOA"})
    attrs = {"units": "K", "common_name": "lwir11"}
    cube["lwir11"] = (("y", "x"), np.where(np.indices((40, 40))[1] > 20, 310.0, 280.0), attrs)
    out = mask_of(cube)["cloud_mask"]
    assert out.attrs["model_variant"] == "4b+thermal"
    assert (out[:, :20] == 1).all()
    assert (out[:, 21:] == 0).all()


def test_thresholds_can_be_changed():
    strict = mask_of(SERIES, thresholds=replace(PhysicalThresholds(), hot=0.3), **OPTIONS)
    assert strict["cloud_fraction"].mean() < EXPECTED["cloud_fraction"].mean()
    assert "hot=0.3" in strict["cloud_mask"].attrs["thresholds"]


def test_what_it_cannot_work_with_is_refused():
    with pytest.raises(ModelError, match="lack nir"):
        mask_of(SERIES.drop_vars("B08"))
    with pytest.raises(ModelError, match="level"):
        mask_of(SERIES.cloudmask.reflectance().drop_attrs().assign_attrs(collection="sentinel-2"), level="BOA", scale=1)


def test_variants_cover_every_combination_of_bands():
    assert len({spec.variant for spec in physical.SPECS}) == 8
    assert physical.SPECS[0].variant == "4b+swir+cirrus+thermal"
    assert physical.SPECS[-1].variant == "4b"
