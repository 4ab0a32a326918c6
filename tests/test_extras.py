"""What is missing is said, with what to type; the main line needs no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from paths import ROOT

import xr_cloudmask
from xr_cloudmask import Catalog, extras, plot, simulate
from xr_cloudmask.errors import CloudMaskError, MissingError, WeightsError
from xr_cloudmask.models import devices, hub, registry, state_dicts, universal, weights

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RGB = ("blue", "green", "red")


def cube(bands=RGB, size=64):
    return simulate.series(bands=list(bands), dates=1, size=(size, size)).drop_vars("truth")


def name_of(requirement):
    return re.match(r"[\w-]+", requirement)[0]


def test_few_packages_come_along():
    assert len(PROJECT["dependencies"]) < 20


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("matplotlib", "plot", lambda folder: plot.overview(cube(), xr.DataArray(np.zeros((1, 64, 64), "uint8")))),
        ("matplotlib.figure", "plot", lambda folder: cube().cloudmask.predict().cloudmask.plot()),
        ("spyndex", "indices", lambda folder: cube().cloudmask.indices("NGRDI", of="reflectance")),
        ("geopandas", "catalog", lambda folder: Catalog(folder / "scenes.db").to_dataframe()),
        ("filelock", "catalog", lambda folder: Catalog(folder / "scenes.db").run([], "csmask", progress=False)),
        ("huggingface_hub", "weights", lambda folder: hub.fetch("some")),
        ("platformdirs", "weights", lambda folder: weights.cache_folder()),
        ("yaml", "weights", lambda folder: state_dicts.read_config(_with_config(folder))),
        ("safetensors.torch", "weights", lambda folder: state_dicts.read_state(universal.packaged())),
    ],
)
def test_what_is_missing_says_what_to_type(module, extra, call, monkeypatch, tmp_path):
    monkeypatch.delenv(weights.CACHE_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match=re.escape(f"pip install 'xr-cloudmask[{extra}]'")) as caught:
        call(tmp_path)
    assert isinstance(caught.value, CloudMaskError)
    assert isinstance(caught.value, ImportError)
    brought = {name_of(one).replace("pyyaml", "yaml") for one in PROJECT["optional-dependencies"][extra]}
    assert module.partition(".")[0] in brought


def _with_config(folder):
    (folder / "config.yaml").write_text("CLASSES: 7")
    return folder / "weights.pt"


def test_every_extra_is_in_all():
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert everything == "xr-cloudmask[plot,catalog,database,indices,weights,train]"


def test_what_is_broken_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "half_there.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        extras.require("half_there", "plot", "pictures")
    assert not isinstance(caught.value, CloudMaskError)


def test_a_model_says_which_package_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    spec = replace(universal.SPEC, precision="fp32", citation="not loaded yet")
    with pytest.raises(MissingError, match="no package onnx"):
        registry.load(spec, "cpu")
    table = xr_cloudmask.models()
    assert table.loc[("universal", "v1"), "what to type"] == "pip install onnxruntime onnx"


def test_weights_of_others_are_found_without_a_cache(monkeypatch, tmp_path):
    monkeypatch.delenv(weights.CACHE_VARIABLE, raising=False)
    monkeypatch.delenv(weights.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    (tmp_path / "weights.pt").write_bytes(b"")
    assert weights.resolve("sensei", tmp_path / "weights.pt")[0].path == str(tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match=re.escape("pip install 'xr-cloudmask[weights]', and xr-cloudmask weights")):
        weights.resolve("sensei")


# Torch.

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails, as where there is none
import json
import xr_cloudmask
found = {}
for bands, model in ((["blue", "green", "red", "nir"], "auto"), (["blue", "green", "red"], "auto")):
    cube = xr_cloudmask.simulate.series(bands=bands, dates=1, size=(96, 96), chunks={"y": 40}).drop_vars("truth")
    mask = cube.cloudmask.predict(model).compute()["cloud_mask"]
    found[mask.attrs["model"]] = [mask.attrs["precision"], mask.values.tolist()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def without_torch():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("model", "bands"), [("csmask", (*RGB, "nir")), ("universal", RGB)])
def test_the_main_line_needs_no_torch(without_torch, model, bands):
    precision, values = without_torch[model]
    expected = cube(bands, 96).cloudmask.predict(model, precision="fp32", device="cpu")["cloud_mask"]
    assert precision == "fp32"
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("device", ["", ", device='cpu'"])
def test_single_precision_on_a_cpu_leaves_torch_alone(device):
    code = (
        "import sys, xr_cloudmask; cube = xr_cloudmask.simulate.series(bands=['red', 'nir'], dates=1, size=(64, 64));"
        f"cube.cloudmask.predict('universal', precision='fp32'{device});"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("asked", [{"precision": "bf16"}, {"precision": "fp32", "device": "cuda"}])
def test_what_needs_torch_says_so(monkeypatch, asked):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(registry, "_LOADED", {})
    with pytest.raises(MissingError, match="pip install torch"):
        cube().cloudmask.predict("universal", **asked)


def test_training_needs_torch():
    code = "import sys; sys.modules['torch'] = None; import xr_cloudmask.training"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert "MissingError" in done.stderr
    assert "pip install torch" in done.stderr


@pytest.mark.parametrize("hardware", [True, False])
def test_a_prediction_says_which_precision_auto_is(monkeypatch, hardware):
    from xr_cloudmask.models.networks import runner

    monkeypatch.setattr(runner, "uses_bf16", lambda precision, device: hardware if precision == "auto" else False)
    lazy = cube().chunk(y=32)
    assert lazy.cloudmask.predict("universal")["cloud_mask"].attrs["precision"] == ("bf16" if hardware else "fp32")
    assert lazy.cloudmask.predict("universal", device="no-such-device")["cloud_mask"].attrs["precision"] == "fp32"


def test_precision_that_was_asked_for_stays():
    spec = replace(universal.SPEC, precision="bf16")
    assert devices.settled(spec, "cpu") is spec
