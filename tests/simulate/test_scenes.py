"""Simulated scenes: physics, truth, reproducibility, and that the real line understands them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask import simulate
from xr_cloudmask.cube import bands, layout, reflectance
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.masks import coverage, schemes
from xr_cloudmask.simulate import clouds, ground, landscapes, render, scenes, spectra, thermal
from xr_cloudmask.simulate.light import WAVELENGTHS, Sky, air, response, two_stream

FOUR = ["blue", "green", "red", "nir"]


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return simulate.series(bands=FOUR, size=(240, 260), gsd=30)


@pytest.fixture(scope="module")
def seen(cube: xr.Dataset) -> xr.Dataset:
    return reflectance.to_reflectance(cube.drop_vars("truth"))


def test_same_seed_same_pixels_other_seed_other_pixels(cube: xr.Dataset) -> None:
    xr.testing.assert_identical(simulate.series(bands=FOUR, size=(240, 260), gsd=30), cube)
    assert (simulate.series(bands=FOUR, size=(240, 260), gsd=30, seed=1).B02 != cube.B02).mean() > 0.5


@given(st.fixed_dictionaries({"time": st.integers(1, 3), "y": st.integers(7, 40), "x": st.integers(7, 50)}))
def test_any_chunks_same_pixels(chunks: dict[str, int]) -> None:
    options = {"bands": ["red"], "dates": 2, "size": (40, 50), "gsd": 30}
    lazy = simulate.series(**options, chunks=chunks)
    assert lazy.B04.chunks is not None
    assert max(lazy.B04.chunksizes["x"]) == min(chunks["x"], 50)
    xr.testing.assert_identical(lazy.compute(), simulate.series(**options))


def test_a_lazy_series_simulates_nothing_until_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "layers", lambda *_: pytest.fail("simulated while building"))
    lazy = simulate.series(bands=FOUR, size=(64, 64), chunks={"time": 1})
    assert lazy.truth.data._meta.dtype == np.uint8
    assert lazy.B02.data._meta.dtype == np.uint16
    again = simulate.series(bands=FOUR, size=(64, 64), chunks={"time": 1})
    assert again.B02.data.name == lazy.B02.data.name


@pytest.mark.parametrize("sensor", sorted(name for name, table in sensors().items() if table.bands))
def test_every_sensor_is_recognised_and_calibrated_by_the_real_line(sensor: str) -> None:
    made = simulate.series(sensor=sensor, dates=2, size=(48, 52), cover=0.3)
    table = sensors()[sensor]
    reflective = [band for band in table.bands if band.kind == "reflectance"]
    described = bands.describe(layout.view(made))
    assert [band.name for band in described] == [band.name for band in reflective]
    assert [band.role for band in described] == [band.role for band in reflective]
    back = reflectance.to_reflectance(made)
    divisor = np.sin(np.radians(made["view:sun_elevation"])) if sensor.startswith("landsat") else 1.0
    name = reflective[-1].name
    expected = ((made[name] * 1e-4 - 0.1) / divisor).where(made[name] != 0)
    np.testing.assert_allclose(back[name], expected, atol=1e-6)
    assert back[name].attrs["level"] == "TOA"
    assert ground_of(layout.view(made)).gsd == pytest.approx(table.gsd, rel=1e-3)


def test_truth_is_a_mask_that_explains_itself(cube: xr.Dataset) -> None:
    assert cube.truth.dtype == np.uint8
    assert schemes.scheme_of(cube.truth).name == "cloudsen12"
    assert set(np.unique(cube.truth)) == {0, 1, 2, 3, 255}


def test_cloud_fractions_range_from_nearly_clear_to_overcast(cube: xr.Dataset) -> None:
    fraction = coverage.coverage(cube.truth).cloud_fraction.values
    assert fraction.min() < 0.1
    assert fraction.max() > 0.85
    assert ((fraction > 0.15) & (fraction < 0.8)).sum() >= 2


@given(st.floats(0.05, 1.0), st.integers(0, 1000))
def test_cover_is_the_share_of_low_cloud(cover: float, seed: int) -> None:
    (_, low), _ = clouds.layers(np.random.default_rng(seed), cover, (60, 64), 100.0)
    assert (low >= clouds.THIN - 1e-3).mean() == pytest.approx(cover, abs=2e-3)


def test_no_data_is_where_truth_says_so_and_only_on_every_other_date(cube: xr.Dataset) -> None:
    for name in ("B02", "B03", "B04", "B08"):
        np.testing.assert_array_equal(cube[name] == 0, cube.truth == 255)
    share = (cube.truth == 255).mean(("y", "x"))
    assert ((share[::2] > 0.04) & (share[::2] < 0.21)).all()
    assert (share[1::2] == 0).all()
    last = (cube.truth == 255).isel(time=0).any("y")
    assert bool(last[-1])
    assert not bool(last[0])


@given(st.floats(0, 360), st.floats(30, 70))
def test_shadows_fall_away_from_the_sun_at_the_cloud_height(azimuth: float, elevation: float) -> None:
    tau = np.zeros((121, 121), "float32")
    tau[57:64, 57:64] = 20
    flat = clouds.Clouds(cell=200, slope=4, billow=0, thickness=9, softness=1, base=1000, depth=0)
    shaded = clouds.shade(tau, flat, Sky(azimuth, elevation, 0.1, 2.0), 50.0)
    row, column = (np.average(axis, weights=shaded) - 60 for axis in np.indices(tau.shape))
    length = 1000 / np.tan(np.radians(elevation)) / 50
    # Rows grow southward, columns eastward.
    assert row == pytest.approx(length * np.cos(np.radians(azimuth)), abs=1)
    assert column == pytest.approx(-length * np.sin(np.radians(azimuth)), abs=1)


def test_shadows_of_a_series_lie_on_the_far_side_of_the_sun() -> None:
    made = simulate.series(bands=["nir"], dates=2, cover=0.12, size=(300, 300), gsd=30, seed=3).isel(time=1)
    azimuth = np.radians(made["view:sun_azimuth"].item())
    cloud, shadow = (made.truth.isin([1, 2]).values, (made.truth == 3).values)

    def overlap(distance: int) -> float:
        shift = round(distance * np.cos(azimuth)), round(-distance * np.sin(azimuth))
        return float((np.roll(cloud, shift, (0, 1)) & shadow).mean())

    away = max(overlap(d) for d in range(25, 75, 5))
    toward = max(overlap(-d) for d in range(25, 75, 5))
    assert away > 2 * toward


def test_clouds_are_bright_shadows_dark_and_bluish_and_haze_is_blue(cube: xr.Dataset, seen: xr.Dataset) -> None:
    by_class = {code: seen.where(cube.truth == code).median() for code in (0, 1, 2, 3)}
    for name in ("B02", "B03", "B04"):
        assert by_class[1][name] > by_class[2][name] > by_class[0][name] > by_class[3][name]
    ratio = {name: float(by_class[3][name] / by_class[0][name]) for name in ("B02", "B08")}
    assert ratio["B02"] > 1.2 * ratio["B08"]
    clear = simulate.series(bands=FOUR, size=(240, 260), gsd=30, cover=0)
    ground_truth = simulate.clear_surface(bands=FOUR, size=(240, 260))
    above = reflectance.to_reflectance(clear.drop_vars("truth")).median(("time", "y", "x"))
    haze = {name: float(above[name] - ground_truth.sel(band=name).median()) for name in ("B02", "B04", "B08")}
    assert haze["B02"] > 0.03
    assert haze["B02"] > haze["B04"] > haze["B08"]


def test_without_clouds_the_same_series_is_the_truth_for_composites(cube: xr.Dataset) -> None:
    clear = simulate.series(bands=FOUR, size=(240, 260), gsd=30, cover=0)
    assert set(np.unique(clear.truth)) == {0, 255}
    np.testing.assert_array_equal(clear["view:sun_elevation"], cube["view:sun_elevation"])
    # Where nothing clouds or shades a nearly clear date, only a little diffuse light differs.
    date = int(coverage.coverage(cube.truth).cloud_fraction.values.argmin())
    far = (cube.truth.isel(time=date) == 0).values
    difference = np.abs(cube.B04.isel(time=date).astype(int) - clear.B04.isel(time=date).astype(int)).values[far]
    assert np.median(difference) < 20


def test_cirrus_band_sees_hardly_any_ground() -> None:
    made = simulate.series(bands=["B10", "B04"], cover=0, dates=1, size=(64, 64))
    back = reflectance.to_reflectance(made.drop_vars("truth"))
    assert float(back.B10.median()) < 0.01 < float(back.B04.median())


@given(st.floats(0, 100), st.floats(1e-6, 0.4), st.sampled_from(["water", "ice"]))
def test_two_stream_conserves_energy(tau: float, absorbed: float, phase: str) -> None:
    bright, through = two_stream(np.array([[tau]]), np.full((1, 1, 1), absorbed), phase)
    assert bright.min() >= 0
    assert through.min() >= 0
    assert float((bright + through).max()) <= 1 + 1e-9


@given(st.floats(20, 80))
def test_air_is_brightest_in_the_blue(elevation: float) -> None:
    centres = np.array([450.0, 550.0, 650.0, 850.0])
    found = air(np.stack([centres - 10, centres + 10], axis=1), Sky(30.0, elevation, 0.1, 2.0))
    for part in (found.path, found.diffuse, found.strayed):
        assert (np.diff(part.ravel()) < 0).all()
    assert ((found.diffuse > 0) & (found.diffuse < 1)).all()
    np.testing.assert_allclose(found.seen.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("wavelength", [450.0, 555.0, 670.0, 860.0])
def test_rayleigh_scattering_agrees_with_hansen_and_travis(wavelength: float) -> None:
    """Optical depth after Hansen & Travis (1974), another fit than ours, https://doi.org/10.1007/BF00168069."""
    micrometres = wavelength / 1000
    depth = 0.008569 * micrometres**-4 * (1 + 0.0113 * micrometres**-2 + 0.00013 * micrometres**-4)
    found = air(np.array([[wavelength, wavelength]]), Sky(0, 90, aerosol=0, vapour=0))
    # Half of what is scattered goes on, and the light passes the air twice.
    assert 1 / float(found.scattering.squeeze()) - 1 == pytest.approx(depth, rel=0.03)


@given(st.lists(st.tuples(st.floats(350, 2500), st.floats(0, 400)), min_size=1, max_size=13))
def test_a_response_is_a_mean_over_its_band(bands: list[tuple[float, float]]) -> None:
    limits = np.array([(low, low + width) for low, width in bands])
    weights = response(limits)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    for (low, high), share in zip(limits, weights, strict=True):
        seen = WAVELENGTHS[share > 0]
        assert seen.min() >= min(max(low, 400), 2400) - 2.5
        assert seen.max() <= min(max(high, 400), 2400) + 2.5


@pytest.mark.parametrize("name", sorted(spectra.MATERIALS))
@pytest.mark.parametrize("held_out", [False, True])
def test_spectra_are_reflectance_and_never_twice_the_same(name: str, held_out: bool) -> None:
    rng = np.random.default_rng(3)
    drawn = np.stack([spectra.MATERIALS[name](rng, held_out) for _ in range(40)])
    assert drawn.shape == (40, len(WAVELENGTHS))
    assert drawn.min() >= 0
    assert drawn.max() < 1.1
    assert drawn.std(axis=0).min() > 0


def test_spectra_look_like_what_they_are() -> None:
    rng = np.random.default_rng(1)
    at = {nm: int((nm - 400) / 5) for nm in (480, 560, 665, 840, 1610, 2200)}
    mean = {name: np.mean([make(rng, False) for _ in range(60)], axis=0) for name, make in spectra.MATERIALS.items()}
    green = mean["vegetation"]
    assert green[at[840]] > 2.5 * green[at[665]]
    assert green[at[560]] > green[at[480]]
    assert mean["forest"][at[840]] < green[at[840]]
    assert mean["water"][at[840]] < 0.5 * mean["water"][at[560]]
    assert mean["snow"][at[560]] > 0.5 > 0.3 > mean["snow"][at[1610]]
    assert mean["soil"][at[1610]] > mean["soil"][at[665]] > mean["soil"][at[480]]
    assert mean["burnt"].max() < 0.12


@pytest.mark.parametrize("name", sorted(landscapes.LANDSCAPES))
def test_surfaces_share_the_ground_among_their_materials(name: str) -> None:
    surface = landscapes.surface(np.random.default_rng(2), name, (96, 128))
    assert surface.share.shape == (len(surface.materials), 96, 128)
    assert surface.share.min() >= 0
    np.testing.assert_allclose(surface.share.sum(axis=0), 1, atol=1e-4)
    values = surface.reflectance(np.random.default_rng(2), response(np.array([[450.0, 520.0], [770.0, 890.0]])))
    assert values.shape == (2, 96, 128)
    assert values.min() > 0
    assert values.max() < 1.4
    level = surface.facing(Sky(120.0, 90.0, 0.1, 1.0))
    assert level.max() <= 1 + 1e-6


@given(st.floats(0, 360), st.floats(20, 80), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_slopes_are_lit_as_the_sun_stands(azimuth: float, elevation: float, southward: float, eastward: float) -> None:
    slope = np.broadcast_to(np.array([southward, eastward])[:, None, None], (2, 3, 3))
    flat = np.zeros((3, 3))
    surface = landscapes.Surface(("soil",), np.ones((1, 3, 3)), flat, slope, flat)
    # East, north and up: the sun, and the normal of a plane that rises southward and eastward.
    a, e = np.radians([azimuth, elevation])
    sun = np.array([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)])
    normal = np.array([-eastward, southward, 1]) / np.sqrt(1 + eastward**2 + southward**2)
    expected = max(float(normal @ sun), 0) / np.sin(e)
    np.testing.assert_allclose(surface.facing(Sky(azimuth, elevation, 0, 0)), expected, atol=1e-6)


@given(st.floats(0, 360))
def test_flanks_of_clouds_that_face_the_sun_are_bright(azimuth: float) -> None:
    rows, columns = np.indices((41, 41)) - 20
    dome = np.clip(20 - 0.05 * (rows**2 + columns**2), 0, None).astype("float32")
    sky = Sky(azimuth, 40.0, 0, 0)
    bright = clouds.relief(dome, sky, 30.0)
    toward = -(rows * sky.away[0] + columns * sky.away[1])
    assert np.corrcoef(toward[dome > 1], bright[dome > 1])[0, 1] > 0.5


def test_thick_cloud_blurs_the_ground_before_it_hides_it() -> None:
    ground = np.where(np.indices((64, 64)).sum(axis=0) % 2, 0.4, 0.1)[None].astype("float32")
    around = air(np.array([[650.0, 680.0]]), Sky(0, 60, 0.0, 1.0))
    none = np.zeros((64, 64), "float32")
    contrast = [
        float(render.toa(ground, around, [render.Layer(1000.0, "water", none + tau, none)], gsd=30.0).std())
        for tau in (0.0, 0.6, 3.0, 10.0)
    ]
    assert contrast[0] > contrast[1] > contrast[2] > contrast[3]
    assert contrast[2] < 0.6 * contrast[0]
    assert contrast[3] < 0.25 * contrast[0]


# Spectral albedo of snow of 50, 200 and 1000 µm: Wiscombe & Warren (1980), figure 8, read off to 0.05.
ALBEDO = [(50, 860, 0.92), (200, 860, 0.85), (1000, 860, 0.69), (50, 1300, 0.62), (200, 1300, 0.39), (50, 1610, 0.18),
          (200, 1610, 0.06), (1000, 1610, 0.02), (1000, 1030, 0.37)]  # fmt: skip


@pytest.mark.parametrize(("radius", "wavelength", "albedo"), ALBEDO)
def test_snow_is_as_bright_as_its_grains_are_fine(radius: float, wavelength: float, albedo: float) -> None:
    found = spectra.snow_of(radius)[np.abs(WAVELENGTHS - wavelength).argmin()]
    assert found == pytest.approx(albedo, abs=0.05)


def test_soot_darkens_snow_where_it_is_bright() -> None:
    clean, dirty = spectra.snow_of(200), spectra.snow_of(200, 1e-3)
    assert (clean - dirty)[WAVELENGTHS < 700].min() > 0.1
    assert (clean - dirty)[WAVELENGTHS > 1500].max() < 0.02


@pytest.mark.parametrize(("crystals", "low", "high"), [(0.5, 0.4, 0.55), (1.0, 0.3, 0.42), (4.5, 0.1, 0.2)])
def test_ice_cloud_is_bright_but_for_the_short_wave_infrared(crystals: float, low: float, high: float) -> None:
    """Cold cloud tops seen by Landsat have 0.14 at 1.6 µm and 0.9 at 0.5 µm; small crystals have up to 0.5."""
    bands = np.array([[500.0, 520.0], [1570.0, 1650.0], [2100.0, 2290.0]])
    around = air(bands, Sky(0, 50, 0.1, 1.0), crystals=crystals)
    bright, _ = two_stream(np.full((1, 1), 40.0), around.absorbed["ice"], "ice")
    assert bright[0] > 0.8
    assert low < bright[1] < high
    water, _ = two_stream(np.full((1, 1), 40.0), around.absorbed["water"], "water")
    assert water[1] > 0.5 > 0.3 > abs(water[0] - bright[0])


@pytest.mark.parametrize("elevation", [5.0, 8.0, 12.0])
def test_air_under_a_low_sun_is_bright_but_no_brighter_than_cloud(elevation: float) -> None:
    found = air(np.array([[450.0, 520.0]]), Sky(0, elevation, 0.05, 0.5))
    assert 0.1 < float(found.path.squeeze()) < 0.35
    assert 0.3 < float(found.scattering.squeeze()) < 0.75


def test_a_mountain_before_the_sun_shades_what_lies_behind_it() -> None:
    height = np.zeros((48, 48), "float32")
    height[:, 20:23] = 6.0
    flat = np.zeros((2, 48, 48), "float32")
    surface = landscapes.Surface(("soil",), np.ones((1, 48, 48)), height, flat, height)
    lit = surface.facing(Sky(270.0, 30.0, 0.1, 1.0))[24]  # from the west: the shadow reaches ten pixels eastward
    assert (lit[24:30] == 0).all()
    assert (lit[:20] == 1).all()
    assert (lit[36:] == 1).all()


def warmth(layers: list[render.Layer], materials: tuple[str, ...] = ("soil", "soil"), near_ground: float = 290.0):
    shape = (32, 32)
    share = np.stack([np.full(shape, 0.5, "float32")] * 2)
    flat = np.zeros(shape, "float32")
    surface = landscapes.Surface(materials, share, flat, np.zeros((2, *shape), "float32"), flat)
    made = [thermal.temperature(np.random.default_rng(i), surface, layers, Sky(0, 30, 0.1, 0.5), near_ground)
            for i in range(12)]  # fmt: skip
    return float(np.mean(made))


def test_high_clouds_are_cold_and_thin_ones_less() -> None:
    none = np.zeros((32, 32), "float32")
    layers = {base: render.Layer(base, "ice", none + 20, none) for base in (1000.0, 5000.0, 8800.0)}
    found = [warmth([layer]) for layer in layers.values()]
    # Of the standard atmosphere from 290 K: 283.5, 257.5 and 232.8 K.
    np.testing.assert_allclose(found, [283.5, 257.5, 232.8], atol=2)
    thin = warmth([render.Layer(8800.0, "ice", none + 1, none)])
    assert found[-1] + 15 < thin < warmth([]) - 10


def test_snow_is_colder_than_the_air_and_low_cloud_above_it_may_be_warmer() -> None:
    none = np.zeros((32, 32), "float32")
    snow = warmth([], ("snow", "snow"), 240.0)
    assert 225 < snow < 240
    assert warmth([render.Layer(300.0, "water", none + 20, none)], ("snow", "snow"), 240.0) > snow
    assert warmth([], ("snow", "snow"), 290.0) < 274


def test_contrails_are_thin_straight_and_high() -> None:
    kind, tau = clouds.contrails(np.random.default_rng(5), (256, 256), 30.0)
    assert kind.phase == "ice"
    assert kind.base > 8000
    assert 0 < (tau > clouds.THIN).mean() < 0.5


@given(st.sampled_from(sorted(clouds.FAMILIES)), st.integers(0, 99))
def test_families_of_clouds_keep_their_limits(name: str, seed: int) -> None:
    family = clouds.FAMILIES[name]
    kind, tau = clouds.layer(np.random.default_rng(seed), name, (64, 64), 100.0)
    assert family.base[0] <= kind.base <= family.base[1]
    assert tau.min() >= 0
    assert tau.max() <= clouds.MOST
    low, high = family.cover
    covered = (tau >= clouds.THIN - 1e-3).mean()
    assert covered <= high + 2e-3
    assert covered >= (low - 2e-3 if low < 1 else 0.9)  # the unevenest overcast sky is translucent here and there


def test_stray_light_blurs_the_ground_but_adds_none() -> None:
    ground = np.full((1, 64, 64), 0.05, "float32")
    ground[:, :, 32:] = 0.6
    clear = render.toa(ground, air(np.array([[450.0, 520.0]]), Sky(0, 60, 0.4, 1.0)), [], gsd=30.0)
    even = render.toa(ground, air(np.array([[2100.0, 2300.0]]), Sky(0, 60, 0.0, 1.0)), [], gsd=30.0)
    assert clear[0, 32, 30] > clear[0, 32, 2] + 0.005
    assert even[0, 32, 30] == pytest.approx(even[0, 32, 2], abs=1e-3)


def test_a_surface_of_the_users_own_keeps_its_bands_and_pixels() -> None:
    own = xr.Dataset(
        {name: (("y", "x"), np.full((50, 60), value, "float32")) for name, value in (("nir", 0.4), ("red", 0.1))},
        {"y": ("y", np.arange(50) * -20.0, {"units": "m"}), "x": ("x", np.arange(60) * 20.0, {"units": "m"})},
    )
    made = simulate.series(own, dates=2, cover=0)
    assert list(made.data_vars) == ["B08", "B04", "truth"]
    assert made.B08.shape == (2, 50, 60)
    assert float(made.x[1] - made.x[0]) == 20
    assert float(made.y[1] - made.y[0]) == -20
    back = reflectance.to_reflectance(made.drop_vars("truth"))
    assert float(back.B08.mean()) == pytest.approx(0.4, abs=0.06)


def test_a_surface_is_cropped_or_quilted_to_any_size() -> None:
    own = simulate.clear_surface(bands=FOUR, size=(40, 50))
    view, table = layout.view(own), sensors()["sentinel-2"]
    _, cropped = ground.fitted(view, table, None, (30, 20), seed=0)
    np.testing.assert_array_equal(cropped, own.values[:, :30, :20])
    _, larger = ground.fitted(view, table, None, (95, 130), seed=0)
    assert larger.shape == (4, 95, 130)
    pixels = {tuple(pixel) for pixel in own.values.reshape(4, -1).T}
    assert {tuple(pixel) for pixel in larger.reshape(4, -1).T} <= pixels


def test_the_grid_is_understood_by_others(cube: xr.Dataset) -> None:
    import odc.geo.xr
    import rioxarray

    assert odc.geo.xr
    assert rioxarray
    assert cube.rio.crs.to_epsg() == 32723
    assert cube.rio.resolution() == (30.0, -30.0)
    assert cube.odc.geobox.crs.epsg == 32723


def test_a_scene_is_one_date_without_time() -> None:
    scene = simulate.scene(bands=FOUR, size=(96, 96), gsd=30, cover=0.4)
    assert scene.B02.dims == ("y", "x")
    assert scene.time.ndim == 0
    expected = simulate.series(bands=FOUR, size=(96, 96), gsd=30, cover=0.4, dates=1).isel(time=0)
    xr.testing.assert_identical(scene, expected)


def test_netcdf_round_trip(cube: xr.Dataset, tmp_path: object) -> None:
    cube.to_netcdf(f"{tmp_path}/cube.nc")
    with xr.open_dataset(f"{tmp_path}/cube.nc", decode_coords="all") as read:
        back = reflectance.to_reflectance(read.load())
    expected = reflectance.to_reflectance(cube)
    np.testing.assert_allclose(back.B04, expected.B04, atol=1e-6)
    np.testing.assert_array_equal(back.truth, cube.truth)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"bands": ["purple"]}, BandError, "purple"),
        ({"sensor": "sentinel-99"}, BandError, "sentinel-99"),
        ({"sensor": "landsat-8-9", "bands": ["lwir11"]}, BandError, "lwir11"),
        ({"sensor": "emit"}, BandError, "wavelengths every product states"),
        ({"sensor": "CBERS-4A"}, BandError, "several"),
        ({"cover": 1.5}, CloudMaskError, "1.5"),
        ({"cover": [0.1, 0.2]}, CloudMaskError, "6 dates"),
        ({"dates": 0}, CloudMaskError, "0 dates"),
        ({"size": (1, 50)}, CloudMaskError, "1, 50"),
        ({"surface": xr.Dataset({"red": (("y", "x"), np.full((9, 9), 3000))})}, CloudMaskError, "3000"),
        ({"surface": simulate.clear_surface(bands=["red"], size=(9, 9)), "bands": ["nir"]}, BandError, "B08"),
    ],
)
def test_bad_input_says_what_to_type(options: dict[str, object], error: type[CloudMaskError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        simulate.series(**options)
    assert caught.value.remedy


def test_dates_are_ten_days_apart(cube: xr.Dataset) -> None:
    assert (np.diff(cube.time.values) == scenes.REVISIT).all()
    assert cube.indexes["time"].is_monotonic_increasing
