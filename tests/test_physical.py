"""Absolute tests: no cap, honest without the sun, exact for every chunking, measured on a real patch."""

import heapq
from dataclasses import replace

import notebook_44a as notebook
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import chunked

from xr_cloudmask import simulate
from xr_cloudmask.cube import layout, sun
from xr_cloudmask.errors import ModelError
from xr_cloudmask.models.index import physical
from xr_cloudmask.models.index.physical import Thresholds, cast, flooded, shifted
from xr_cloudmask.predict import predict

ROLES = ["blue", "green", "red", "nir", "swir16", "swir22"]


def mask_of(cube, **keywords):
    return predict(cube, "physical", **keywords)


def patch(bands):
    if not notebook.PATCH.exists():
        pytest.skip(f"the labelled Sentinel-2 patch is not at {notebook.PATCH}")
    with np.load(notebook.PATCH) as data:
        img, codes = data["img"], data["msk"][..., 0]
    variables = {role: (("y", "x"), img[..., i]) for i, role in enumerate(ROLES[:bands])}
    return xr.Dataset(variables, attrs={"level": "TOA"}), codes


def iou(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize(("bands", "cloud", "shadow"), [(4, 0.82, 0.74), (6, 0.825, 0.78)])
def test_agreement_with_a_real_labelled_patch(bands, cloud, shadow):
    cube, codes = patch(bands)
    found = mask_of(cube)["cloudmask"].values
    assert iou(np.isin(found, (1, 2)), codes == 4) > cloud
    assert iou(found == 3, codes == 0) > shadow


def test_a_scene_may_be_all_cloud_or_have_none():
    cloudy = simulate.scene(cover=1.0, size=(300, 300))
    covered = np.isin(cloudy["truth"], (1, 2))
    found = np.isin(mask_of(cloudy.drop_vars("truth"))["cloudmask"], (1, 2))
    assert found[covered].mean() >= 0.95
    assert mask_of(simulate.scene(cover=0.0, size=(300, 300)).drop_vars("truth"))["cloud_fraction"] <= 0.02


@pytest.mark.parametrize("sensor", ["cbers-4a-wpm", "amazonia-1-wfi", "planetscope-4", "landsat-8-9", "sentinel-2"])
def test_every_sensor_is_served_with_the_bands_it_has(sensor):
    cube = simulate.scene(cover=0.4, sensor=sensor, size=(200, 200)).drop_vars("truth")
    attrs = mask_of(cube)["cloudmask"].attrs
    assert attrs["model_variant"].startswith("4b")
    assert ("swir" in attrs["model_variant"]) == (sensor in ("landsat-8-9", "sentinel-2"))


SERIES = simulate.series(dates=2, size=(150, 203), seed=3).drop_vars("truth")[["B02", "B03", "B04", "B08"]]
OPTIONS = {"resolution": "native", "window": 64, "halo": 12}
EXPECTED = mask_of(SERIES, **OPTIONS)


@settings(max_examples=8)
@given(st.data())
def test_labels_are_the_same_for_every_chunking(data):
    out = mask_of(chunked(data.draw, SERIES), **OPTIONS)
    np.testing.assert_array_equal(out["cloudmask"].compute(scheduler="synchronous"), EXPECTED["cloudmask"])


def test_where_shadows_were_looked_for_is_written_down():
    assert EXPECTED["cloudmask"].attrs["shadows_looked_for"] == "along the sun's direction"
    blind = mask_of(SERIES.drop_vars(["view:sun_azimuth", "view:sun_elevation"]), **OPTIONS)
    assert blind["cloudmask"].attrs["shadows_looked_for"].startswith("on all sides of clouds: 1 of 1 sun directions")


def test_the_sun_casts_shadows_to_the_other_side():
    cube = SERIES.isel(time=0, drop=True).assign_coords({"view:sun_azimuth": 225.0, "view:sun_elevation": 45.0})
    (shift,) = sun.shadow_shifts(layout.view(cube))
    assert shift == pytest.approx((-np.sqrt(0.5), np.sqrt(0.5)))  # up and to the right: north-east
    (turned,) = sun.shadow_shifts(layout.view(cube.isel(y=slice(None, None, -1))))
    assert turned == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))


def test_shadows_lie_where_clouds_of_any_height_can_cast_them():
    cloud = np.zeros((60, 60), bool)
    cloud[30, 30] = True
    reached = cast(cloud, Thresholds(height=(500, 1000)), (0.0, 0.02))
    assert reached[30, 40:51].all()
    assert not reached[30, :37].any()
    assert not reached[30, 53:].any()
    around = cast(cloud, Thresholds(reach=300), None)
    assert around.sum() == pytest.approx(np.pi * 10**2, rel=0.05)
    assert not cast(np.zeros((5, 5), bool), Thresholds(), None).any()


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
    out = mask_of(holed, **OPTIONS)["cloudmask"].values
    assert (out[80:] == 255).all()
    assert (out[:80] != 255).mean() > 0.5


def test_thin_clouds_are_those_that_cirrus_alone_shows():
    bands = {role: (("y", "x"), np.full((40, 40), 0.1)) for role in ROLES[:4]}
    cube = xr.Dataset(bands, attrs={"level": "TOA"})
    cube["cirrus"] = (("y", "x"), np.where(np.indices((40, 40))[1] > 20, 0.02, 0.001))
    np.testing.assert_array_equal(mask_of(cube)["cloudmask"], np.where(np.indices((40, 40))[1] > 20, 2, 0))


def test_warm_pixels_are_no_cloud():
    bands = {role: (("y", "x"), np.full((40, 40), 0.5)) for role in ROLES[:4]}
    cube = xr.Dataset(bands, attrs={"level": "TOA"})
    attrs = {"units": "K", "common_name": "lwir11"}
    cube["lwir11"] = (("y", "x"), np.where(np.indices((40, 40))[1] > 20, 310.0, 280.0), attrs)
    out = mask_of(cube)["cloudmask"]
    assert out.attrs["model_variant"] == "4b+thermal"
    assert (out[:, :20] == 1).all()
    assert (out[:, 21:] == 0).all()


def test_thresholds_can_be_changed():
    strict = mask_of(SERIES, thresholds=replace(Thresholds(), hot=0.3), **OPTIONS)
    assert strict["cloud_fraction"].mean() < EXPECTED["cloud_fraction"].mean()
    assert "hot=0.3" in strict["cloudmask"].attrs["thresholds"]


def test_what_it_cannot_work_with_is_refused():
    with pytest.raises(ModelError, match="lack nir"):
        mask_of(SERIES.drop_vars("B08"))
    with pytest.raises(ModelError, match="level"):
        mask_of(SERIES.cloudmask.reflectance().drop_attrs().assign_attrs(collection="sentinel-2"), level="BOA", scale=1)


def test_variants_cover_every_combination_of_bands():
    assert len({spec.variant for spec in physical.SPECS}) == 8
    assert physical.SPECS[0].variant == "4b+swir+cirrus+thermal"
    assert physical.SPECS[-1].variant == "4b"
