"""The four U-Nets inside the ukis-csmask wheel (German Aerospace Center, Apache-2.0), run by our own engine.

Six or four bands, top or bottom of atmosphere, trained at about 30 m on SPARCS and CloudSEN12+. Only the network
files are used: windows, halo, batches and no-data handling are the engine's. Their single cloud class is thick_cloud
here; thin cloud that they see is in it.

Source: Wieland, Li & Martinis (2019), https://doi.org/10.1016/j.rse.2019.05.022
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.errors import ModelError, WeightsError
from xr_cloudmask.models.base import FloatArray, ModelSpec

VISIBLE_NIR = (("blue",), ("green",), ("red",), ("nir", "nir08"))
SWIR = (("swir16",), ("swir22",))
# Trained on 256 pixels; up to 1056 the labels agree with simulated truth as well or better, and 768 wastes least time.
WINDOW, HALO = 768, 32
PRODUCT_LEVEL = {"TOA": "l1c", "BOA": "l2a"}
# Trained on reflectance of about 0 to 1: beyond 1.2, four standard deviations above the mean of its training data, lies
# next to nothing of it. To clip there leaves every figure on labelled patches as it was, and one pixel in a thousand
# that is far too bright spoils less of its window; to clip at 0.9 loses more than half of an overcast sky.
DARKEST, BRIGHTEST = np.float32(0), np.float32(1.2)

SHA256 = {
    "6b_l1c": "aa79e9a0f02ff8e0243d93771d1daf6a8d1166b7ac06c3771560b83367c6c573",
    "6b_l2a": "d11c530978637ca420eedc40791c62bf78997dd39e1201777e2527e4bd94904e",
    "4b_l1c": "81611f290adc315b86bb7e7c69b0f2496b3abe0390c2a5c8e9e9da9622e8a0c8",
    "4b_l2a": "3884d75ca497ec59d8335973477bd31eb038857007bbb36fb2aba1ad375ee043",
}


def _spec(bands: tuple[tuple[str, ...], ...], level: str) -> ModelSpec:
    variant = f"{len(bands)}b_{PRODUCT_LEVEL[level]}"
    return ModelSpec(
        name="csmask",
        variant=variant,
        version="1.0.0",
        bands=bands,
        level=level,
        classes=("clear", "thick_cloud", "cloud_shadow"),
        window=WINDOW,
        halo=HALO,
        multiple=32,
        gsd=30.0,
        loader="xr_cloudmask.models.csmask:load",
        requires=("ukis_csmask", "onnxruntime", "onnx"),
        install="pip install 'ukis-csmask>=1.0,<1.1' onnxruntime onnx",
        licence="Apache-2.0",
        citation="Wieland, Li & Martinis (2019), doi:10.1016/j.rse.2019.05.022",
        sha256=SHA256[variant],
    )


SPECS = tuple(_spec(bands, level) for bands in (VISIBLE_NIR + SWIR, VISIBLE_NIR) for level in ("TOA", "BOA"))

# On a CPU one window at a time is fastest: its activations stay in the cache.
CPU_BATCH, GPU_BATCH = 1, 8
GPU_PROVIDERS = ("CUDA", "Tensorrt", "NvTensorRTRTX", "ROCM", "MIGraphX", "Dml", "CoreML")


class CsmaskNetwork:
    """One of the four networks in an onnxruntime session.

    onnxruntime gives a window the same bits whatever its batch and thread count, so the engine is exact.
    """

    def __init__(self, session: Any, batch_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self._session = session
        self._mean = np.asarray(mean, dtype="float32")[:, None, None]
        self._inverse_std = np.float32(1) / np.asarray(std, dtype="float32")[:, None, None]
        self.batch_size = batch_size

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:  # noqa: ARG002
        """Return softmax probabilities of clear, cloud and shadow.

        Reflectance is clipped to what the networks were trained on; no data enters as the training mean of its band.
        """
        normalised = np.clip(windows, DARKEST, BRIGHTEST)
        normalised -= self._mean
        normalised *= self._inverse_std
        normalised[np.isnan(normalised)] = 0
        (logits,) = self._session.run(None, {"input": normalised})
        return softmax(logits)


def softmax(logits: FloatArray) -> FloatArray:
    """Turn logits ``(window, class, y, x)`` into probabilities, in place."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def load(spec: ModelSpec, device: str | None) -> CsmaskNetwork:
    """Read a network from the installed wheel, check it and start its session."""
    folder = files("ukis_csmask")
    weights = folder.joinpath(f"model_{spec.variant}.onnx").read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    if found != spec.sha256:
        raise WeightsError(
            f"{spec.name} {spec.variant} with sha256 {found}", f"sha256 {spec.sha256} (ukis-csmask 1.0)", spec.install
        )
    statistics = json.loads(folder.joinpath(f"model_{spec.variant}.json").read_text())["data"]["dataset_statistics"]
    mean, std = statistics["img"]
    return CsmaskNetwork(*session(_any_window_size(weights), device), mean, std)


def _any_window_size(weights: bytes) -> bytes:
    """Make height and width symbolic: the files declare 256 × 256, the graph takes every multiple of 32."""
    import onnx

    network = onnx.load_from_string(weights)
    for value in (*network.graph.input, *network.graph.output):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del network.graph.value_info[:]
    return bytes(network.SerializeToString())


def session(weights: bytes, device: str | None) -> tuple[Any, int]:
    """Start an onnxruntime session; return it with the windows per call that suit its device."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_of_this_worker()
    started = onnxruntime.InferenceSession(weights, options, providers=_providers(device))
    on_gpu = started.get_providers()[0].startswith(GPU_PROVIDERS)
    return started, GPU_BATCH if on_gpu else CPU_BATCH


def _providers(device: str | None) -> list[str]:
    """Return the execution providers to try, best first; ``None`` takes whatever is installed."""
    import onnxruntime

    # Azure's provider calls a remote endpoint: it never runs a local file.
    installed = [name for name in onnxruntime.get_available_providers() if name != "AzureExecutionProvider"]
    if device in (None, "auto"):
        return installed
    wanted = [name for name in installed if name.lower().startswith(str(device).lower())]
    if not wanted:
        names = [name.removesuffix("ExecutionProvider").lower() for name in installed]
        raise ModelError(
            f"device {device!r}",
            f"'auto' or one of the installed onnxruntime providers: {names}",
            "predict(device='cpu'), or pip install onnxruntime-gpu for device='cuda'",
        )
    return wanted


def threads_of_this_worker() -> int:
    """Return the threads this process may use: a dask worker's share, else every core it may run on."""
    import os
    import sys

    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            return int(get_worker().state.nthreads)
        except ValueError:  # not on a worker
            pass
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
