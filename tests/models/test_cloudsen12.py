"""cloudsen12 opens one file only, says its licence, and is what the file says; sentle itself is not imported."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import xarray as xr

from xr_cloudmask import ModelError, WeightsError, extras, models, predict
from xr_cloudmask.models import cloudsen12, registry
from xr_cloudmask.names import MASK_NAME, PROBABILITY_NAME

BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
LICENCE = "CC-BY-NC-4.0"
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


def cube(level="BOA"):
    values = np.random.default_rng(3).random((12, 96, 80)).astype("float32") * 0.6
    values[3, :20, :30] = np.nan
    bands = {name: (("y", "x"), band) for name, band in zip(BANDS, values, strict=True)}
    attrs = {"platform": "Sentinel-2A", "level": level, "reflectance_provenance": "made for this test"}
    return xr.Dataset(bands, attrs=attrs)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Stand for the package: a scripted convolution in its folder."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    network = torch.nn.Conv2d(12, 4, 3, padding=1)
    package = tmp_path / "small_sentle"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('nobody imports it')")
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 12, 32, 32)), package / cloudsen12.FILE)
    content = (package / cloudsen12.FILE).read_bytes()
    spec = replace(cloudsen12.SPEC, requires=("small_sentle",), sha256=sha256(content).hexdigest())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry._SPECS, "cloudsen12", (spec,))
    return package, network


def test_probabilities_are_those_of_the_file(small):
    import torch

    _, network = small
    with pytest.warns(UserWarning, match=LICENCE):
        out = predict(cube(), "cloudsen12", probabilities=True)
    values = np.nan_to_num(np.stack([cube()[name].values for name in BANDS]))
    with torch.no_grad():
        expected = network(torch.from_numpy(values)[None]).softmax(dim=1)[0].numpy()
    found = out[PROBABILITY_NAME].values
    np.testing.assert_allclose(found[:, 1:95, 31:79], expected[:, 1:95, 31:79], atol=1e-5)
    assert (out[MASK_NAME].values[:20, :30] == 255).all()
    assert out[MASK_NAME].attrs["model_licence"] == LICENCE
    assert LICENCE in out[MASK_NAME].attrs["model_note"]
    with pytest.warns(UserWarning, match=LICENCE):
        lazy = predict(cube().chunk(y=31, x=50), "cloudsen12", probabilities=True)
    xr.testing.assert_equal(lazy.compute(), out)


def test_another_file_is_never_opened(small, monkeypatch):
    import torch

    package, _ = small
    (package / cloudsen12.FILE).write_bytes(b"code")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(WeightsError, match="sha256"):
        cloudsen12.load(registry._SPECS["cloudsen12"][0], "cpu")


def test_it_is_listed_with_its_licence():
    row = models().loc[("cloudsen12", "12b_l2a")]
    assert row["licence"] == LICENCE
    assert row["runs here"] or row["what to type"] == "pip install 'xr-cloudmask[cloudsen12]'"


def test_top_of_atmosphere_is_refused():
    with pytest.raises(ModelError, match="Level-2A"):
        predict(cube("TOA"), "cloudsen12")


@pytest.mark.skipif(not extras.has("sentle"), reason="sentle is not installed")
def test_the_network_of_sentle_loads():
    loaded = cloudsen12.load(cloudsen12.SPEC, "cpu")
    chances = loaded.probabilities(np.full((1, 12, 64, 64), 0.8, "float32"), ())
    assert chances.shape == (1, 4, 64, 64)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-5)
