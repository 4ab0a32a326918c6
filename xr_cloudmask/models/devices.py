"""Where a network runs and how precisely, decided before torch is imported and where there is none.

A prediction says its precision, and is the same on every machine that works on it: ``precision="auto"`` is settled
where the prediction is built.
"""

from __future__ import annotations

from dataclasses import replace

from xr_cloudmask.errors import MissingError, ModelError
from xr_cloudmask.extras import INSTALL_TORCH, TORCH, has
from xr_cloudmask.models.base import ModelSpec

SINGLE, HALF = "fp32", "bf16"


def settled(spec: ModelSpec, device: str | None) -> ModelSpec:
    """Return a variant with the precision that ``'auto'`` is here: bfloat16 where torch and the device have it."""
    if spec.precision != "auto":
        return spec
    return replace(spec, precision=HALF if HALF in spec.precisions and _has_bf16(device) else SINGLE)


def _has_bf16(device: str | None) -> bool:
    if not has(TORCH):
        return False
    from xr_cloudmask.models.networks import runner

    try:
        return runner.uses_bf16("auto", runner.kind_of(device))
    except ModelError:  # a device that only the workers have
        return False


def runs_without_torch(spec: ModelSpec, device: str | None) -> bool:
    """Say whether a network that onnxruntime can run is run there: in float32, on a CPU.

    Raises
    ------
    MissingError
        Something else was asked for, and there is no torch.
    """
    if not has(TORCH):
        if spec.precision == HALF or device not in (None, "auto", "cpu"):
            asked = f"precision={spec.precision!r}" if spec.precision == HALF else f"device={device!r}"
            raise MissingError(
                f"{asked} for model {spec.name!r}, and no package {TORCH!r}",
                "torch, or float32 on a CPU",
                f"{INSTALL_TORCH}, or predict(precision={SINGLE!r}, device='cpu')",
            )
        return True
    from xr_cloudmask.models.networks import runner

    kind = runner.kind_of(device)
    return kind == "cpu" and not runner.uses_bf16(spec.precision, kind)
