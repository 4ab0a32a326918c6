"""Our torch modules give the numbers of phicloudmask and of transformers, from the same state dicts."""

import numpy as np
import oracle
import pytest
import torch

from xr_cloudmask import BandDescriptor, BandError, ModelError
from xr_cloudmask.cube.bands import KINDS
from xr_cloudmask.models.networks import embedding, encoding, runner, segformer

pytest.importorskip("phicloudmask")

INPUTS = ("sentinel-2", "rgb", "landsat", "radar")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.fixture(scope="module")
def networks():
    ours = embedding.SpectralEmbedding().eval(), segformer.Segformer(segformer.CONFIGS["B2"], 32, 7).eval()
    for network, state in zip(ours, oracle.states(), strict=True):
        network.load_state_dict(state, strict=True)
    return ours


@pytest.mark.parametrize("name", INPUTS)
def test_descriptors_are_encoded_to_the_last_bit(name):
    from phicloudmask.encoding import SEnSeIv2Encoding

    descriptors = oracle.inputs()[name]
    expected = SEnSeIv2Encoding(emb_size=74, N_embeddings=32)([descriptors])[0]
    np.testing.assert_array_equal(encoding.encode(oracle.ours(descriptors)), expected)


def test_every_kind_of_band_has_its_encoding():
    assert set(encoding.FLAGS) == set(KINDS)
    kelvin, normalised = (
        encoding.encode([BandDescriptor("t", "lwir11", 10600.0, 11190.0, kind)])
        for kind in ("brightness_temperature", "normalised_brightness_temperature")
    )
    np.testing.assert_array_equal(kelvin, normalised)


def test_an_unknown_kind_of_band_is_refused():
    with pytest.raises(BandError, match="'SAR VV'"):
        BandDescriptor("vv", None, kind="SAR HH")


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("name", INPUTS)
def test_probabilities_are_phicloudmasks(networks, name, size):
    descriptors = oracle.inputs()[name]
    bands = torch.from_numpy(oracle.scene((1, len(descriptors), size, size)))
    reference = oracle.cloud_mask(descriptors)
    described = torch.from_numpy(encoding.encode(oracle.ours(descriptors)))
    with torch.inference_mode():
        embedded = networks[0](bands, described)
        expected = reference.embedding_model(bands, reference.band_descriptor)
        torch.testing.assert_close(embedded, expected, atol=1e-5, rtol=1e-5)
        probabilities = networks[1](embedded).softmax(dim=1)[0]
        torch.testing.assert_close(probabilities, reference(bands), atol=1e-5, rtol=0)


def test_the_oracle_tells_pixels_apart():
    expected = oracle.reference(oracle.inputs()["rgb"], oracle.scene((1, 3, 256, 256)))[0]
    assert len(np.unique(expected.argmax(axis=0))) > 1
    assert expected.std(axis=(1, 2)).max() > 0.02


def of_transformers(config):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    sizes = {"depths": config.depths, "hidden_sizes": config.widths}
    shape = {name: list(value) for name, value in sizes.items()} | {"decoder_hidden_size": config.head}
    return SegformerForSemanticSegmentation(SegformerConfig(num_channels=5, num_labels=3, **shape)).eval()


@pytest.mark.parametrize("config", segformer.CONFIGS.values(), ids=list(segformer.CONFIGS))
def test_state_dicts_are_those_of_transformers(config):
    with torch.device("meta"):
        expected = {name: value.shape for name, value in of_transformers(config).state_dict().items()}
        ours = segformer.Segformer(config, 5, 3).state_dict()
    assert {name: value.shape for name, value in ours.items()} == expected
    assert segformer.config_of(ours) == config


@pytest.mark.parametrize("name", ["B0", "B1", "B3"])
def test_logits_are_those_of_transformers(name):
    config = segformer.CONFIGS[name]
    reference = of_transformers(config)
    oracle.disturb(reference, torch.manual_seed(2))
    ours = segformer.Segformer(config, 5, 3).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    images = torch.from_numpy(oracle.scene((2, 5, 64, 96)))
    with torch.inference_mode():
        logits = torch.nn.functional.interpolate(reference(images).logits, (64, 96), mode="bilinear", antialias=True)
        torch.testing.assert_close(ours(images), logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours.freeze()(images), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (64, 64)])
def test_quantiles_are_numpys(shape):
    bands = oracle.scene((2, 3, *shape))
    expected = np.quantile(bands, embedding.QUANTILES, axis=(2, 3))
    np.testing.assert_allclose(embedding.quantiles(torch.from_numpy(bands)), np.moveaxis(expected, 0, -1), atol=1e-6)


def test_the_embedding_does_not_depend_on_its_blocks(networks, monkeypatch):
    bands = torch.from_numpy(oracle.scene((1, 3, 40, 50)))
    described = torch.from_numpy(encoding.encode(oracle.ours(oracle.inputs()["rgb"])))
    with torch.inference_mode():
        expected = networks[0](bands, described)
        monkeypatch.setattr(embedding, "CPU_BLOCK", 17)
        torch.testing.assert_close(networks[0](bands, described), expected, atol=1e-6, rtol=0)
        monkeypatch.setattr(embedding, "_fill_on_cpu", embedding._fill)  # what a GPU runs
        torch.testing.assert_close(networks[0](bands, described), expected, atol=1e-5, rtol=0)


def test_the_head_does_not_depend_on_its_strips(networks, monkeypatch):
    image = torch.from_numpy(oracle.scene((2, 32, 96, 64)))
    with torch.inference_mode():
        expected = networks[1](image)
        monkeypatch.setattr(segformer, "CPU_STRIP", 5)
        torch.testing.assert_close(networks[1](image), expected, atol=1e-5, rtol=0)


def exhausted(most):
    """Return a network that has memory for so many windows, and the batches it saw."""
    seen = []

    def network(bands):
        seen.append(len(bands))
        if len(bands) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return bands + 1

    return network, seen


def test_a_batch_that_does_not_fit_is_halved():
    network, seen = exhausted(most=2)
    windows = oracle.scene((7, 1, 4, 4))
    run = runner.Runner(torch.device("cpu"), bf16=False)
    np.testing.assert_array_equal(run._run_backing_off(network, windows), windows + 1)
    assert seen == [7, 3, 1, 2, 4, 2, 2]


def test_a_window_that_does_not_fit_is_an_error():
    network, _ = exhausted(most=0)
    with pytest.raises(ModelError, match="4 x 4 pixels") as caught:
        runner.Runner(torch.device("cpu"), bf16=False)._run_backing_off(network, oracle.scene((2, 1, 4, 4)))
    assert "window=" in caught.value.remedy


def test_devices_by_name():
    best = "cuda" if torch.cuda.is_available() else "cpu"
    assert runner.device_named(None).type == runner.device_named("auto").type == best
    for name in ("quantum", "cuda:99"):
        with pytest.raises(ModelError, match="'cpu'"):
            runner.device_named(name)


def test_precision_is_as_asked_or_as_the_hardware_has_it(monkeypatch):
    assert runner.uses_bf16("bf16", "cpu")
    assert not runner.uses_bf16("fp32", "cpu")
    for has in (True, False):
        monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda has=has: {"avx512bf16": has, "avx2": True})
        assert runner.uses_bf16("auto", "cpu") == has


def test_torch_agrees_on_what_the_processor_has():
    told = torch.cpu.get_capabilities()
    assert runner.uses_bf16("auto", "cpu") == any(told.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def test_torch_is_not_asked_for_a_gpu_where_there_is_no_driver(monkeypatch):
    monkeypatch.setattr(runner, "_has_gpu_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked"))
    assert runner.kind_of(None) == runner.kind_of("auto") == runner.kind_of("cpu") == "cpu"
    with pytest.raises(ModelError, match="quantum"):
        runner.kind_of("quantum")


@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_sized_to_the_device(device):
    size = runner.batch_size(torch.device(device), 1 << 30)
    assert size == 1 if device == "cpu" else size >= 1
