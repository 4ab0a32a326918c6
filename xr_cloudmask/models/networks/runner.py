"""How a torch network meets a device: where it runs, how precisely, and how many windows at once.

Torch is imported when something runs, not before: a prediction is built without it.
"""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from xr_cloudmask.errors import ModelError
from xr_cloudmask.models.base import FloatArray
from xr_cloudmask.models.csmask import threads_of_this_worker

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Network: TypeAlias = "Callable[[Tensor], Tensor]"

MEMORY_SHARE = 0.7  # of the memory that is free on a GPU when the model is loaded
LARGEST_BATCH = 64
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of NVIDIA, AMD, and Windows' Linux
BF16 = ("avx512bf16", "amx-bf16", "bf16")  # what LLVM calls it


@dataclass(frozen=True)
class Runner:
    """Runs windows through a network.

    Attributes
    ----------
    device : torch.device
    bf16 : bool
        Whether to multiply in bfloat16.
    """

    device: torch.device
    bf16: bool

    def __call__(self, network: Network, windows: FloatArray) -> FloatArray:
        """Run windows; on a CPU one by one, which is fastest and gives a window the same bits in any batch.

        Parameters
        ----------
        network : callable
            Tensor ``(window, band, y, x)`` on the device → tensor ``(window, class, y, x)`` there.
        windows : ndarray
            float32 ``(window, band, y, x)``.
        """
        import torch

        with torch.inference_mode(), self._precision():
            if self.device.type != "cpu":
                return self._run_backing_off(network, windows)
            torch.set_num_threads(min(torch.get_num_threads(), threads_of_this_worker()))
            return np.concatenate([self._run(network, windows[i : i + 1]) for i in range(len(windows))])

    def _run(self, network: Network, windows: FloatArray) -> FloatArray:
        import torch

        result = network(torch.from_numpy(windows).to(self.device, non_blocking=True))
        array: FloatArray = result.float().cpu().numpy()
        return array

    def _run_backing_off(self, network: Network, windows: FloatArray) -> FloatArray:
        """Halve a batch that does not fit into the device's memory, until a single window does not."""
        import torch

        try:
            return self._run(network, windows)
        except torch.OutOfMemoryError as error:
            if len(windows) == 1:
                size = f"{windows.shape[-2]} x {windows.shape[-1]}"
                raise ModelError(
                    f"a window of {size} pixels and {windows.shape[1]} bands that does not fit into the memory of "
                    f"{self.device}",
                    "a smaller window, or a device with more free memory",
                    f"predict(window={windows.shape[-1] // 2}), or predict(device='cpu')",
                ) from error
        torch.cuda.empty_cache()
        middle = len(windows) // 2
        halves = windows[:middle], windows[middle:]
        return np.concatenate([self._run_backing_off(network, half) for half in halves])

    def _precision(self) -> AbstractContextManager[object]:
        import torch

        if self.bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        # Convolutions on a GPU otherwise drop half of float32's digits.
        return (
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if self.device.type == "cuda" else nullcontext()
        )


def device_named(name: str | None) -> torch.device:
    """Return a device; a GPU where there is one for None and ``'auto'``.

    Raises
    ------
    ModelError
        There is no such device here.

    Examples
    --------
    >>> device_named("cpu")
    device(type='cpu')
    """
    import torch

    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(name))
        torch.empty(0, device=device)
    # torch says it in several ways: RuntimeError for unknown names, AssertionError for what it was built without.
    except Exception as error:
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ModelError(f"device {name!r}", f"'auto' or one of {here}", "predict(device='cpu')") from error
    return device


def kind_of(name: str | None) -> str:
    """Return the kind of a device, ``'cpu'`` or ``'cuda'``; asks torch only where there may be another than the CPU.

    Raises
    ------
    ModelError
        There is no such device here.
    """
    on_cpu = name == "cpu" or (name in (None, "auto") and not _has_gpu_driver())
    return "cpu" if on_cpu else device_named(name).type


def _has_gpu_driver() -> bool:
    return any(map(Path.exists, map(Path, DRIVERS))) or (os.name == "nt" and bool(ctypes.util.find_library("nvcuda")))


def uses_bf16(precision: str, kind: str) -> bool:
    """Say whether to multiply in bfloat16: as asked, or where that kind of device does so in hardware."""
    if precision != "auto":
        return precision == "bf16"
    if kind == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    return any(features.get(name, False) for name in BF16)


def batch_size(device: torch.device, window_bytes: int) -> int:
    """Return how many windows fit into the device at once; 1 on a CPU."""
    if device.type != "cuda":
        return 1
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(min(max(free * MEMORY_SHARE // window_bytes, 1), LARGEST_BATCH))
