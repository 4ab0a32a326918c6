"""Networks of others: a torch module or an ONNX file behind a ModelSpec, run by the same engine.

A network takes float32 ``(window, band, y, x)`` with the bands of the spec in its order, reflectance 0 to 1 and 0 where
there are no data, and returns ``(window, class, y, x)`` at the same resolution.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.errors import ModelError, refusing
from xr_cloudmask.models import csmask, weights
from xr_cloudmask.models.base import FloatArray, ModelSpec
from xr_cloudmask.models.fingerprint import fingerprint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xr_cloudmask.models.networks.runner import Runner

    Network: TypeAlias = "str | os.PathLike[str] | nn.Module"

BYTES_PER_PIXEL = 4000  # of a window, on a GPU: an assumption; what does not fit is halved

_MODULES: dict[str, Any] = {}  # by fingerprint; only in the process that registered them
FOUR = 4  # dimensions of windows: window, band, y, x


def bound(spec: ModelSpec, network: Network) -> ModelSpec:
    """Return a spec that loads a network: an ONNX file wherever its path is seen, a torch module in this process.

    Raises
    ------
    ModelError
        It is neither.
    WeightsError
        There is no such file.
    """
    if isinstance(network, str | os.PathLike) and Path(network).suffix == ".onnx":
        file = weights.WeightsFile.of(network)
        return replace(spec, loader=f"{__name__}:load_onnx", weights=(file,), sha256=file.sha256)
    if "torch" in sys.modules and isinstance(network, sys.modules["torch"].nn.Module):
        sha256 = fingerprint(network)
        if sha256 not in _MODULES:
            _MODULES[sha256] = copy.deepcopy(network).cpu().eval().requires_grad_(False)
        return replace(spec, loader=f"{__name__}:load_module", sha256=sha256, precisions=("fp32", "bf16"))
    raise ModelError(
        f"network={network!r}", "a torch.nn.Module or the path of an .onnx file", "register_model(spec, network=module)"
    )


@dataclass(frozen=True)
class TorchModel:
    """A torch module on a device."""

    module: Any
    runner: Runner
    logits: bool
    batch_size: int

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:  # noqa: ARG002
        """Return the module's output, through softmax where it is logits."""

        def network(bands: Tensor) -> Tensor:
            out: Tensor = self.module(bands).float()
            return out.softmax(dim=1) if self.logits else out

        return self.runner(network, np.nan_to_num(windows, nan=0.0))


def load_module(spec: ModelSpec, device: str | None) -> TorchModel:
    """Put a copy of a registered module on a device."""
    from xr_cloudmask.models.networks import runner

    if spec.sha256 not in _MODULES:
        raise ModelError(
            f"model {spec.name!r}, whose torch module was registered in another process",
            "a network that this process can find",
            "register_model(spec, network='network.onnx'), a spec whose loader= names a function that workers can "
            "import, or threads: compute(scheduler='threads')",
        )
    place = runner.device_named(device)
    run = runner.Runner(place, runner.uses_bf16(spec.precision, place.type))
    size = runner.batch_size(place, BYTES_PER_PIXEL * spec.window**2)
    return TorchModel(copy.deepcopy(_MODULES[spec.sha256]).to(place), run, spec.logits, size)


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX network in an onnxruntime session."""

    session: Any
    logits: bool
    batch_size: int

    def probabilities(self, windows: FloatArray, descriptors: Sequence[BandDescriptor]) -> FloatArray:  # noqa: ARG002
        """Return the network's first output, through softmax where it is logits."""
        values = np.nan_to_num(windows, nan=0.0)
        entry = self.session.get_inputs()[0]
        step = entry.shape[0] if isinstance(entry.shape[0], int) else len(values)
        parts = [self.session.run(None, {entry.name: values[i : i + step]})[0] for i in range(0, len(values), step)]
        out: FloatArray = np.concatenate(parts)
        return csmask.softmax(out) if self.logits else out


def load_onnx(spec: ModelSpec, device: str | None) -> OnnxModel:
    """Compare an ONNX file with its checksum and start its session.

    Raises
    ------
    ModelError
        It is no network, or takes or returns something else than windows.
    """
    (file,) = spec.weights
    weights.verify(file)
    with refusing(
        ModelError,
        f"model {spec.name!r}, whose file {file.path!r} onnxruntime cannot load",
        "a whole ONNX network",
        f"python -m onnx.checker {file.path}; export it again where it comes from",
    ):
        session, size = csmask.session(Path(file.path).read_bytes(), device)
        ends = session.get_inputs(), session.get_outputs()
        windows = [
            [end.shape for end in side if end.type == "tensor(float)" and len(end.shape) == FOUR] for side in ends
        ]
    if len(ends[0]) != 1 or not windows[0] or not ends[1] or ends[1][0].shape not in windows[1]:
        said = ["; ".join(f"{end.name} {end.type} {end.shape}" for end in side) or "nothing" for side in ends]
        raise ModelError(
            f"model {spec.name!r}, whose file takes {said[0]} and returns {said[1]}",
            "one input and a first output of float32 (window, band or class, y, x)",
            "torch.onnx.export(module, torch.zeros(1, bands, 64, 64), 'network.onnx') of such a module",
        )
    return OnnxModel(session, spec.logits, size)
