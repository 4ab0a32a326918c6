"""Temperatures of probabilities: what they are, and that labels stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xr_cloudmask.models import universal
from xr_cloudmask.models.networks.universal import UniversalNetwork
from xr_cloudmask.training import Recipe, calibration
from xr_cloudmask.training.samples import Patch
from xr_cloudmask.training.state import TrainingState

LIMITS = np.array([[450.0, 520.0], [630.0, 690.0]], "float32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    run = TrainingState(replace(Recipe.packaged(), widths=(8, 8), dilations=(2,), seed=3), torch.device("cpu"))
    torch.nn.init.normal_(run.average.trunk.head.weight, std=3)
    path = tmp_path_factory.mktemp("weights") / "universal.safetensors"
    run.export(path)
    return path


def network(path):
    architecture = universal.architecture_of(path)
    made = UniversalNetwork(architecture).eval()
    made.load_state_dict({n: torch.from_numpy(a) for n, a in universal.arrays_of(path, architecture).items()})
    return made


def logits(made, patch):
    with torch.inference_mode():
        return made(*(torch.from_numpy(part)[None] for part in (patch.values, LIMITS, np.ones(2, "float32"))))[0]


def patches(made, sharpness, count=6):
    """Patches whose truth is drawn from the network's own probabilities, of logits times `sharpness`."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        patch = Patch(rng.random((2, 64, 64), dtype="float32"), LIMITS, np.zeros((64, 64), "uint8"))
        chances = (logits(made, patch) * sharpness).softmax(dim=0).numpy().cumsum(axis=0)
        drawn = (rng.random((64, 64)) > chances).sum(axis=0).clip(0, 5)
        yield patch._replace(truth=(1 << drawn).astype("uint8"))


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_the_temperature_is_found_that_made_the_truth(weights, sharpness):
    made = network(weights)
    assert calibration.temperature(made, patches(made, sharpness)) == pytest.approx(1 / sharpness, rel=0.1)


def test_calibrated_weights_give_the_same_labels_less_surely(weights, tmp_path):
    before, out = network(weights), tmp_path / "calibrated.safetensors"
    found = calibration.calibrate(weights, out, patches(before, 0.5))
    after = network(out)
    patch = next(iter(patches(before, 1.0)))
    torch.testing.assert_close(logits(after, patch), logits(before, patch) / found, rtol=0.01, atol=0.02)
    assert float(universal.facts_of(out)["temperature"]) == pytest.approx(found, abs=1e-3)
    assert universal.facts_of(out)["architecture"] == universal.facts_of(weights)["architecture"]
