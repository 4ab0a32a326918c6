"""phicloudmask with seeded random weights, the judge of our networks, and checkpoints of every style."""

from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from xr_cloudmask import BandDescriptor

PHI_KINDS = {
    "TOA Reflectance": "reflectance",
    "TOA Normalised Brightness Temperature": "normalised_brightness_temperature",
}


def build_segformer(name, num_labels):
    """Stand in for ``from_pretrained``, which downloads."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    assert name == "nvidia/mit-b2"
    config = SegformerConfig(
        depths=[3, 4, 6, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768, num_labels=num_labels
    )
    return SegformerForSemanticSegmentation(config)


def cloud_mask(descriptors):
    """Return phicloudmask for descriptors, with the weights of `states`."""
    pytest.importorskip("phicloudmask")
    from phicloudmask.encoding import SEnSeIv2Encoding

    model = network()
    model.band_descriptor = SEnSeIv2Encoding(emb_size=74, N_embeddings=32)([descriptors])
    return model


@cache
def network():
    """Return phicloudmask; every weight, BatchNorm's statistics included, differs from its initial value."""
    phicloudmask = pytest.importorskip("phicloudmask")
    from transformers import SegformerForSemanticSegmentation

    generator = torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegformerForSemanticSegmentation, "from_pretrained", build_segformer)
        model = phicloudmask.CloudMask(sentinel2()).eval()
    for part in (model.embedding_model, model.cloud_model):
        disturb(part, generator)
    return model


def states():
    """Return the state dicts of embedding and segmenter."""
    return tuple(part.state_dict() for part in (network().embedding_model, network().cloud_model))


def disturb(network, generator):
    """Move every parameter and statistic; make the classifier decide."""
    with torch.no_grad():
        for name, value in (*network.named_parameters(), *network.named_buffers()):
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=generator), alpha=0.02)
            if name.endswith("classifier.weight"):
                value.mul_(8)


def sentinel2():
    pytest.importorskip("phicloudmask")
    from phicloudmask.constant import SENTINEL2_DESCRIPTORS

    return SENTINEL2_DESCRIPTORS


def inputs():
    """Return the descriptors of every supported kind of input, as phicloudmask takes them."""
    pytest.importorskip("phicloudmask")
    from phicloudmask.constant import LANDSAT89_DESCRIPTORS

    bands = sentinel2()
    other = [{"band_type": name} for name in ("SAR VV", "SAR VH", "SAR Angle", "DEM", "fill")]
    return {
        "sentinel-2": bands,
        "rgb": [bands[i] for i in (3, 2, 1)],
        "landsat": LANDSAT89_DESCRIPTORS,
        "radar": [*bands[:4], *other, {**bands[5], "multitemporal": True}],
    }


def ours(descriptors):
    """Return the same descriptors as ours, named by their position."""
    return [
        BandDescriptor(
            f"band{i}",
            None,
            entry.get("min_wavelength", 0.0),
            entry.get("max_wavelength", 0.0),
            PHI_KINDS.get(entry["band_type"], entry["band_type"]),
            entry.get("multitemporal", False),
        )
        for i, entry in enumerate(descriptors)
    ]


def reference(descriptors, windows):
    """Return phicloudmask's probabilities of windows, one by one: its batches mix them."""
    model = cloud_mask(descriptors)
    with torch.inference_mode():
        return np.stack([model(torch.from_numpy(window[None])).numpy() for window in windows])


def scene(shape, seed=0):
    """Return smooth values 0 to 1 with some noise, float32."""
    random = np.random.default_rng(seed)
    *outer, y, x = shape
    coarse = random.random((*outer, -(-y // 16), -(-x // 16)))
    smooth = coarse.repeat(16, axis=-2).repeat(16, axis=-1)[..., :y, :x]
    return (0.8 * smooth + 0.2 * random.random(shape)).astype("float32")


SENSEI_NAMES = {
    "fcl_block.": "senseiv2.blocks.1.",
    "attention_block.": "senseiv2.blocks.2.",
    "band_embedding.": "senseiv2.blocks.3.",
}


def checkpoint(folder, style, state=None):
    """Write a checkpoint: 'pair' as phicloudmask has them or 'single' as SEnSeIv2; '.pt' or '.safetensors'."""
    embedding, segmenter = states() if state is None else state
    kind, suffix = style.split(".")
    files = {"spectral_embedding": embedding, "cloudmask_weights": segmenter}
    if kind == "single":
        single = {new + k.removeprefix(old): v for old, new in SENSEI_NAMES.items() for k, v in embedding.items() if k.startswith(old)}  # fmt: skip  # noqa: E501
        single |= {f"segmenter.{k}": v for k, v in segmenter.items()}
        files = {"weights": {**single, "recovery_module.head.weight": torch.zeros(3)}}
    paths = []
    for name, content in files.items():
        path = folder / f"{name}.{suffix}"
        if suffix == "pt":
            torch.save(content, path)
        else:
            save_file({k: v.contiguous() for k, v in content.items()}, path)
        paths.append(path)
    return paths
