"""s2cloudless here is s2cloudless: its trees, average, threshold and dilation, for every chunking; no data stays so."""

import sys
import warnings
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import test_boosted
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xr_cloudmask import ModelError, WeightsError, evaluation, extras, models, predict
from xr_cloudmask.datasets.labelled import CLOUD, NO_CLOUD, coded
from xr_cloudmask.errors import MissingError
from xr_cloudmask.models import auto, ensemble, registry, s2cloudless
from xr_cloudmask.models.s2cloudless import S2cloudlessThresholds, averaged, disk
from xr_cloudmask.names import MASK_NAME, PROBABILITY_NAME

BANDS = ["B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12"]
LIMITS = [S2cloudlessThresholds(), S2cloudlessThresholds(0.5, 4, 2), S2cloudlessThresholds(0.3, 0, 0)]
INSTALLED = extras.has("s2cloudless")
NEEDS = pytest.mark.skipif(not INSTALLED, reason="s2cloudless is not installed")


def cube(size=96, level="TOA", gap=False):
    random = np.random.default_rng(3)
    cloud = ndimage.gaussian_filter(random.random((2, size, size)), (0, 4, 4))
    cloud = (cloud - cloud.min()) / (cloud.max() - cloud.min())
    seen = [cloud * share for share in (0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.3, 0.02, 0.4, 0.3)]
    values = [np.clip(band + random.normal(0, 0.01, band.shape), 1e-3, 1).astype("float32") for band in seen]
    if gap:
        values[4][:, 20:40, 30:50] = np.nan
    bands = {name: (("time", "y", "x"), band) for name, band in zip(BANDS, values, strict=True)}
    attrs = {"platform": "Sentinel-2A", "level": level, "reflectance_provenance": "made for this test"}
    return xr.Dataset(bands, attrs=attrs)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Stand for the package: a few random trees in its folder."""
    random = np.random.default_rng(5)
    trees = [test_boosted.random_tree(random, 10, 12) for _ in range(3)]
    text = test_boosted.forest_text([(f, np.abs(t) * 0.3, a, b, v * 3) for f, t, a, b, v in trees], 10)
    package = tmp_path / "small_s2cloudless"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('nobody imports it')")
    (package / s2cloudless.FILE).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = replace(s2cloudless.SPEC, requires=("small_s2cloudless",), sha256=sha256(text.encode()).hexdigest())
    monkeypatch.setitem(registry._SPECS, "s2cloudless", (spec,))
    return package


@pytest.mark.usefixtures("small")
@settings(max_examples=15, deadline=None)
@given(st.integers(7, 96), st.integers(7, 96), st.sampled_from(LIMITS))
def test_every_layer_is_the_same_for_every_chunking(rows, columns, limits):
    options = {"thresholds": limits, "probabilities": True, "window": 48}
    whole = predict(cube(gap=True), "s2cloudless", **options)
    lazy = predict(cube(gap=True).chunk(time=1, y=rows, x=columns), "s2cloudless", **options)
    assert lazy[MASK_NAME].chunks is not None
    xr.testing.assert_equal(lazy.compute(), whole)
    # A window sees as far as disks reach.
    xr.testing.assert_equal(predict(cube(gap=True), "s2cloudless", **options | {"window": 96}), whole)


@pytest.mark.usefixtures("small")
def test_no_data_is_no_data_and_does_not_grow():
    whole, gap = (predict(cube(gap=has_gap), "s2cloudless")[MASK_NAME].values for has_gap in (False, True))
    assert (gap[:, 20:40, 30:50] == 255).all()
    beyond = np.ones(gap.shape, bool)
    beyond[:, 18:42, 28:52] = False
    np.testing.assert_array_equal(gap[beyond], whole[beyond])
    assert {0, 1} <= set(np.unique(gap))


@pytest.mark.usefixtures("small")
def test_the_mask_says_how_it_was_made():
    attrs = predict(cube(), "s2cloudless", thresholds=LIMITS[1])[MASK_NAME].attrs
    assert attrs["model_licence"] == "CC-BY-SA-4.0"
    assert attrs["thresholds"] == "S2cloudlessThresholds(threshold=0.5, average_over=4, dilation_size=2)"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("limits", LIMITS)
def test_what_is_scored_is_the_label(limits):
    """Its threshold is below one half: the most probable class would be another mask."""
    scene = cube(gap=True)
    mask = predict(scene, "s2cloudless", thresholds=limits)[MASK_NAME]
    truth, meanings = coded(mask.values, {0: NO_CLOUD, 1: CLOUD})
    score = evaluation.evaluate(evaluation.Labelled("labels", scene, truth, meanings), "s2cloudless", thresholds=limits)
    assert score.overall()["overall accuracy"] == 1
    assert score.counts.sum() == (mask != 255).sum()


def test_an_average_leaves_out_what_has_no_data():
    seen = np.ones((5, 5), bool)
    seen[2, 2] = False
    smooth = averaged(np.full((5, 5), 0.7, "float32"), seen, S2cloudlessThresholds())
    np.testing.assert_allclose(smooth[seen], 0.7, rtol=1e-6)


def test_another_file_is_refused(small):
    (small / s2cloudless.FILE).write_text("tree")
    with pytest.raises(WeightsError, match="sha256"):
        s2cloudless.load(registry._SPECS["s2cloudless"][0], None)
    (small / s2cloudless.FILE).unlink()
    with pytest.raises(WeightsError, match=r"pip install 'xr-cloudmask\[s2cloudless\]'"):
        s2cloudless.load(registry._SPECS["s2cloudless"][0], None)


@pytest.mark.parametrize("has_cirrus", [True, False])
def test_surface_reflectance_is_refused_in_the_words_of_the_field(has_cirrus):
    bands = cube(level="BOA") if has_cirrus else cube(level="BOA").drop_vars("B10")
    with pytest.raises(ModelError, match="level BOA") as caught:
        predict(bands, "s2cloudless")
    assert "Sentinel-2 Level-1C" in str(caught.value)
    assert has_cirrus or "cirrus" in str(caught.value)


def test_a_missing_package_says_what_to_type(monkeypatch):
    spec = replace(s2cloudless.SPEC, requires=("no_such_package",))
    monkeypatch.setitem(registry._SPECS, "s2cloudless", (spec,))
    row = models().loc[("s2cloudless", "10b_l1c")]
    assert not row["runs here"]
    assert row["what to type"] == "pip install 'xr-cloudmask[s2cloudless]'"
    with pytest.raises(MissingError, match=r"pip install 'xr-cloudmask\[s2cloudless\]'"):
        predict(cube(), "s2cloudless")


def test_an_ensemble_does_without_it_and_auto_never_takes_it():
    with pytest.raises(ModelError, match="in an ensemble"):
        ensemble.of("both", [s2cloudless.SPEC])
    with pytest.raises(ModelError, match="in an ensemble"):
        predict(cube(), ["csmask", "s2cloudless"])
    assert not {"s2cloudless", "cloudsen12"} & {choice.model for choice in auto.CHOICES}


@pytest.mark.parametrize(
    "given", [{"threshold": 2}, {"average_over": -1}, {"average_over": 65}, {"dilation_size": 1.5}]
)
def test_settings_that_make_no_sense_are_refused(given):
    with pytest.raises(ModelError):
        S2cloudlessThresholds(**given)


@pytest.mark.parametrize("radius", [1, 2, 7, 22, 64])
def test_disks_are_those_of_opencv(radius):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    drawn = cv2.circle(np.zeros((2 * radius + 1,) * 2, "uint8"), (radius, radius), radius, color=1, thickness=-1)
    np.testing.assert_array_equal(disk(radius), drawn)


@NEEDS
def test_nothing_of_the_package_is_imported():
    before = "s2cloudless" in sys.modules
    predict(cube().isel(time=0), "s2cloudless")
    assert ("s2cloudless" in sys.modules) == before


@NEEDS
@pytest.mark.parametrize("limits", [*LIMITS, S2cloudlessThresholds(0.4, 22, 11)], ids=range(4))
def test_labels_and_probabilities_are_its_own(limits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("s2cloudless", reason="what s2cloudless needs is not installed")
    detector = package.S2PixelCloudDetector(
        threshold=limits.threshold, average_over=limits.average_over, dilation_size=limits.dilation_size
    )
    image = np.stack([cube()[name].values for name in BANDS], axis=-1)
    out = predict(cube(), "s2cloudless", thresholds=limits, probabilities=True)
    np.testing.assert_array_equal(out[MASK_NAME].values, detector.get_cloud_masks(image))
    np.testing.assert_allclose(
        out[PROBABILITY_NAME].sel({"class": "thick_cloud"}), detector.get_cloud_probability_maps(image), atol=1e-6
    )
