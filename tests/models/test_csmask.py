"""csmask's networks through our engine: the numbers of their own files, and their accuracy on real data."""

import hashlib
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import xarray as xr
from paths import LABELLED

from xr_cloudmask.errors import ModelError, WeightsError
from xr_cloudmask.models import csmask, registry
from xr_cloudmask.models.csmask import SPECS
from xr_cloudmask.prediction import predict

ROLES = ["blue", "green", "red", "nir", "swir16", "swir22"]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.variant)
def test_probabilities_are_those_of_the_untouched_file(spec):
    import onnxruntime

    model = registry.load(spec)
    windows = np.random.default_rng(0).random((2, len(spec.bands), 256, 256), dtype="float32")
    path = files("ukis_csmask").joinpath(f"model_{spec.variant}.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    normalised = (windows - model._mean) * model._inverse_std
    logits = session.run(None, {"input": normalised})[0]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.probabilities(windows, ()), expected, atol=1e-5)


def test_a_window_does_not_depend_on_its_batch():
    model = registry.load(SPECS[0])
    windows = np.random.default_rng(1).random((3, 6, 96, 64), dtype="float32")
    alone = np.concatenate([model.probabilities(window[None], ()) for window in windows])
    np.testing.assert_array_equal(model.probabilities(windows, ()), alone)


def test_missing_pixels_get_finite_probabilities():
    windows = np.full((1, 6, 32, 32), np.nan, "float32")
    assert np.isfinite(registry.load(SPECS[0]).probabilities(windows, ())).all()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.variant)
def test_what_it_was_not_trained_on_enters_as_the_brightest_and_darkest_it_was(spec):
    model = registry.load(spec)
    windows = np.random.default_rng(2).random((1, len(spec.bands), 64, 64), dtype="float32")
    beyond = windows.copy()
    windows[..., 3, 5], beyond[..., 3, 5] = 1.2, 30.0
    windows[..., 40, 9], beyond[..., 40, 9] = 0.0, -0.2
    np.testing.assert_array_equal(model.probabilities(beyond, ()), model.probabilities(windows, ()))


def test_the_input_is_not_changed():
    windows = np.full((1, 4, 32, 32), np.nan, "float32")
    windows[:, :, :16] = 0.3
    before = windows.copy()
    registry.load(SPECS[2]).probabilities(windows, ())
    np.testing.assert_array_equal(windows, before)


def test_flipped_bytes_are_refused():
    spec = replace(SPECS[0], sha256=hashlib.sha256(b"other").hexdigest())
    with pytest.raises(WeightsError, match="sha256") as caught:
        csmask.load(spec, None)
    assert "pip install" in caught.value.remedy


def test_a_device_that_is_not_installed_is_refused():
    with pytest.raises(ModelError, match="'cpu'"):
        csmask.load(SPECS[0], "quantum")


def test_every_device_spelling_of_the_cpu():
    assert csmask._providers("cpu") == ["CPUExecutionProvider"]
    assert "CPUExecutionProvider" in csmask._providers("auto")
    assert csmask._providers(None) == csmask._providers("auto")


@pytest.fixture(scope="module")
def patch():
    if not LABELLED.exists():
        pytest.skip("the labelled Sentinel-2 patch is not beside this checkout (../shared/data)")
    with np.load(LABELLED) as data:
        return data["img"], data["msk"][..., 0]


def as_dataset(img):
    return xr.Dataset({role: (("y", "x"), img[..., i].copy()) for i, role in enumerate(ROLES[: img.shape[-1]])})


def as_array(img):
    names = ["B02", "B03", "B04", "B08", "B11", "B12"][: img.shape[-1]]
    coords = {"band": names, "common_name": ("band", ROLES[: len(names)])}
    return xr.DataArray(img, dims=("y", "x", "band"), coords=coords)


def kappa(truth, labels):
    """Cohen's kappa over clear, cloud and shadow."""
    table = np.histogram2d(truth.ravel(), labels.ravel(), bins=(3, 3), range=((0, 3), (0, 3)))[0] / truth.size
    expected = (table.sum(axis=0) * table.sum(axis=1)).sum()
    return (np.trace(table) - expected) / (1 - expected)


@pytest.mark.parametrize(("bands", "least"), [(6, 0.80), (4, 0.84)])
def test_accuracy_on_the_real_patch(patch, bands, least):
    from ukis_csmask.mask import CSmask

    img, codes = patch
    img = np.ascontiguousarray(img[..., :bands])
    truth = np.select([codes == 4, codes == 0], [1, 2], 0)
    peer = CSmask(img, ROLES[:bands], product_level="l1c", batch_size=4).csm[..., 0]
    cubes = [as_dataset(img), as_array(img), as_dataset(img).chunk(y=200, x=300), as_array(img).chunk(y=100, band=1)]
    masks = [predict(cube, level="TOA", scheme="native", resolution="native")["cloud_mask"].values for cube in cubes]
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    ours = kappa(truth, masks[0])
    assert ours >= least
    assert ours >= kappa(truth, peer) - 0.01


def test_chunk_exact_with_the_real_network():
    from xr_cloudmask import simulate

    cube = simulate.series(dates=1, size=(200, 250), seed=2)
    whole = predict(cube, resolution="native", window=128, probabilities=True)
    for chunks in ({"y": 61, "x": 250}, {"y": 200, "x": 40}, {"y": (3, 150, 47), "x": 99}):
        out = predict(cube.chunk(chunks), resolution="native", window=128, probabilities=True).compute()
        np.testing.assert_array_equal(out["cloud_mask"], whole["cloud_mask"])
        np.testing.assert_allclose(out["probability"], whole["probability"], atol=1e-5, rtol=0)
