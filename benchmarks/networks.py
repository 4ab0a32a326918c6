"""Networks beside others of their kind: universal and csmask, sensei and phicloudmask."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROLES, part, peak_gigabytes, row, scene, seconds

UNIVERSAL_WINDOW = 768
SENSEI_BANDS, SENSEI_WINDOW = 13, 512


def universal() -> None:
    """Speed beside csmask's bare network, on windows of one size."""
    from dataclasses import replace

    from xr_cloudmask import BandDescriptor
    from xr_cloudmask.cube.sensors import sensors
    from xr_cloudmask.models import csmask, registry
    from xr_cloudmask.models.universal import SPEC

    table = {band.role: band for band in sensors()["sentinel-2"].bands}
    limits = [(table[role].min_wavelength, table[role].max_wavelength) for role in ROLES]
    descriptors = [BandDescriptor(role, role, *pair) for role, pair in zip(ROLES, limits, strict=True)]
    window = np.ascontiguousarray(scene(UNIVERSAL_WINDOW, len(ROLES)))[None]
    session = registry.load(csmask.SPECS[0])._session
    models = {precision: registry.load(replace(SPEC, precision=precision), "cpu") for precision in SPEC.precisions}
    runs: dict[str, Callable[[], object]] = {"csmask's bare network": lambda: session.run(None, {"input": window})}
    runs |= {f"universal, {name}": partial(model.probabilities, window, descriptors) for name, model in models.items()}
    # One after the other: threads that wait for work, as onnxruntime's do for a while, slow what runs beside them.
    durations = {}
    for name, function in runs.items():
        function()
        durations[name] = seconds(function, 9)
        time.sleep(1)
    bare = durations["csmask's bare network"]
    megapixels = UNIVERSAL_WINDOW**2 / 1e6
    for name, duration in durations.items():
        row(
            f"{name}, 6 × {UNIVERSAL_WINDOW}²",
            f"{megapixels / duration:.2f} megapixels/s, {bare / duration:.1f} × csmask's",
        )


def sensei() -> None:
    """13 bands × 512 × 512: ours and phicloudmask in turns, and the memory of each in a process of its own."""
    import torch

    ours = {precision: _our_sensei(precision) for precision in ("fp32", "bf16")}
    peer = _phicloudmask()
    window = np.ascontiguousarray(scene(SENSEI_WINDOW, SENSEI_BANDS))[None]
    model, descriptors = ours["fp32"]
    bands, described = torch.from_numpy(window), torch.from_numpy(_encoded(descriptors))
    runs = {
        "phicloudmask": lambda: peer(bands),
        "fp32": lambda: model.probabilities(window, descriptors),
        "bf16": lambda: ours["bf16"][0].probabilities(window, descriptors),
        "its embedding": lambda: peer.embedding_model(bands, peer.band_descriptor),
        "our embedding": lambda: model.embedding(bands, described),
    }
    with torch.inference_mode():
        for function in runs.values():
            function()
        turns = [[seconds(function, 1) for function in runs.values()] for _ in range(7)]
    # The best of several in turns: another process on the machine slows any of them, and short operations most.
    durations = dict(zip(runs, np.min(turns, axis=0), strict=True))
    megapixels = SENSEI_WINDOW**2 / 1e6
    other = durations["phicloudmask"]
    share = durations["its embedding"] / other
    row("phicloudmask, 13 × 512², batch 1, fp32", f"{other:.2f} s, {share:.0%} of it in the embedding")
    for precision in ours:
        own = durations[precision]
        share = durations["our embedding"] / own
        figures = f"{own:.2f} s, {megapixels / own:.2f} megapixels/s, {other / own:.1f} × phicloudmask, "
        row(f"sensei, 13 × 512², batch 1, {precision}", figures + f"{share:.0%} of it in the embedding")
    memory = {name: _memory_of(name) for name in ("phicloudmask", *ours)}
    loaded, peak = memory["phicloudmask"]
    row("phicloudmask, memory", f"peak {peak:.2f} GB, {peak - loaded:.2f} GB more than with the model loaded")
    for name in ours:
        before, most = memory[name]
        ratio = (most - before) / (peak - loaded)
        row(
            f"sensei, memory, {name}",
            f"peak {most:.2f} GB ({most / peak:.2f} of phicloudmask's), "
            f"{most - before:.2f} GB more than with the model loaded ({ratio:.2f} of phicloudmask's)",
        )


def _our_sensei(precision: str) -> tuple[Any, Any]:
    """Return the model with random weights: what they are does not matter for speed."""
    import torch

    from xr_cloudmask import BandDescriptor
    from xr_cloudmask.models.networks import embedding, runner, segformer
    from xr_cloudmask.models.sensei import SenseiNetwork

    torch.manual_seed(0)
    networks = embedding.SpectralEmbedding(), segformer.Segformer(segformer.CONFIGS["B2"], embedding.CHANNELS, 7)
    for network in networks:
        network.eval().requires_grad_(False)
    networks[1].freeze()
    device = runner.device_named("cpu")
    model = SenseiNetwork(*networks, runner.Runner(device, bf16=precision == "bf16"), batch_size=1)
    return model, [BandDescriptor(f"b{i}", None, 400.0 + i, 500.0 + i) for i in range(SENSEI_BANDS)]


def _encoded(descriptors: Any) -> np.ndarray:
    from xr_cloudmask.models.networks.encoding import encode

    return encode(descriptors)


def _phicloudmask() -> Any:
    """Return phicloudmask with random weights; its constructor would download some to throw them away."""
    import phicloudmask
    from phicloudmask.constant import SENTINEL2_DESCRIPTORS
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    def build(_: str, num_labels: int) -> Any:
        sizes = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
        return SegformerForSemanticSegmentation(SegformerConfig(num_labels=num_labels, **sizes))

    SegformerForSemanticSegmentation.from_pretrained = build
    return phicloudmask.CloudMask(SENTINEL2_DESCRIPTORS).eval()


def _memory_of(name: str) -> list[float]:
    """Return gigabytes with the model loaded, and at the peak of its first window."""
    return [float(number) for number in part(print_memory, name).split()]


def print_memory(name: str) -> None:
    """Print these for one of the models."""
    import psutil
    import torch

    window = np.ascontiguousarray(scene(SENSEI_WINDOW, SENSEI_BANDS))[None]
    with torch.inference_mode():
        if name == "phicloudmask":
            peer = _phicloudmask()
            run = partial(peer, torch.from_numpy(window))
        else:
            model, descriptors = _our_sensei(name)
            run = partial(model.probabilities, window, descriptors)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
        print(psutil.Process().memory_info().rss / 1e9)
        run()
        print(peak_gigabytes())
