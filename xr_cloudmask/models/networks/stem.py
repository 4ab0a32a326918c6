"""The first convolution of model universal in NumPy: its kernels out of wavelengths, and what enters it.

The same as `networks.universal.SpectralStem`, which learns; this one predicts, for one set of bands, without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from xr_cloudmask.models.base import FloatArray
from xr_cloudmask.models.networks.architecture import (
    BRIGHTEST,
    KELVIN_SPAN,
    LONGEST,
    MEAN_KELVIN,
    OCTAVES,
    SHORTEST,
    SQUEEZE_OFFSET,
    TYPICAL_BANDS,
    WARMTH,
)

State = Mapping[str, FloatArray]  # float32 weights by name
NORM_EPSILON = np.float32(1e-5)  # of torch's BatchNorm


def convolution_for(state: State, limits: Sequence[tuple[float, float]]) -> tuple[FloatArray, FloatArray]:
    """Generate the first convolution for a set of bands, BatchNorm in it.

    Parameters
    ----------
    state : mapping of str to ndarray
        float32 weights of the network.
    limits : sequence of pairs of float
        Shortest and longest wavelength of each band, nanometres; thermal bands last.

    Returns
    -------
    kernels : ndarray
        float32 ``(output, band + 1, 3, 3)``, the last for the validity.
    bias : ndarray
        float32 ``(output,)``
    """
    valid = state["stem.valid"]
    warm = thermal_among(limits)
    count = len(limits) - warm
    described = _network(state, "stem.describe", _waves(np.asarray(limits[:count], "float32")))
    together = described.mean(axis=0, keepdims=True)
    number = np.full((count, 1), math.log(count / TYPICAL_BANDS), "float32")
    entering = np.concatenate([described, np.broadcast_to(together, described.shape), number], axis=1)
    kernels = _network(state, "stem.generate", entering) / np.float32(math.sqrt(count))
    kernels = kernels.reshape(count, len(valid), 3, 3).swapaxes(0, 1)
    bias = _network(state, "stem.bias", together)[0]
    if warm:
        kernel, shift = (state.get(f"stem.{name}", np.float32(0)) for name in ("warm", "warm_bias"))
        each = np.broadcast_to(kernel / np.float32(warm), valid[:, 0].shape)
        kernels, bias = np.concatenate([kernels, *[each[:, None]] * warm], axis=1), bias + shift
    return with_norm(state, "stem.norm", np.concatenate([kernels, valid], axis=1), bias)


def thermal_among(limits: Sequence[tuple[float, float]]) -> int:
    """Return how many of some bands are thermal."""
    return sum(low > WARMTH for low, _ in limits)


def with_norm(state: State, norm: str, weight: FloatArray, bias: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Put what BatchNorm has learnt into the convolution before it."""
    factor = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + NORM_EPSILON)
    shift: FloatArray = (bias - state[f"{norm}.running_mean"]) * factor + state[f"{norm}.bias"]
    return weight * factor[:, None, None, None], shift


def entering(bands: FloatArray, thermal: int = 0) -> FloatArray:
    """Return bands ``(window, band, y, x)`` as they enter the stem: squeezed, no data 0, and the validity.

    The last `thermal` ones are kelvin, the others reflectance.
    """
    windows, number, *size = bands.shape
    values = np.empty((windows, number + 1, *size), "float32")
    for window, into in zip(bands, values, strict=True):  # plane by plane, which stay in the cache
        total = into[number]
        with np.errstate(invalid="ignore", over="ignore"):
            np.sum(window, axis=0, out=total)
        np.isfinite(total, out=total)  # where one band has no data, the sum has none
        for i, (band, plane) in enumerate(zip(window, into[:number], strict=True)):
            (_squeeze if i < number - thermal else _warmth)(band, plane)
    return values


def _warmth(kelvin: FloatArray, out: FloatArray) -> None:
    """Scale temperatures to about -4 to 3; no data become 0."""
    np.subtract(kelvin, np.float32(MEAN_KELVIN), out=out)
    out /= np.float32(KELVIN_SPAN)
    np.clip(out, -4, 4, out=out)
    np.copyto(out, 0, where=np.isnan(out))


def _squeeze(reflectance: FloatArray, out: FloatArray) -> None:
    """Compress reflectance to about -1.6 to 3; no data become 0."""
    np.clip(reflectance, 0, BRIGHTEST, out=out)
    out += np.float32(SQUEEZE_OFFSET)
    np.sqrt(out, out=out)
    out *= 4
    out -= 2
    np.copyto(out, 0, where=np.isnan(out))


def _waves(wavelengths: FloatArray) -> FloatArray:
    """Describe bands ``(band, 2)`` by sines and cosines of the logarithm of their wavelengths."""
    position = np.log(wavelengths / np.float32(SHORTEST)) / np.float32(math.log(LONGEST / SHORTEST))
    octaves = np.exp2(np.arange(OCTAVES, dtype="float32")) * np.float32(math.pi / 2)
    angles = (position[..., None] * octaves).reshape(len(position), -1)
    return np.concatenate([np.sin(angles), np.cos(angles), position], axis=1)


def _network(state: State, name: str, x: FloatArray) -> FloatArray:
    """Return linear → GELU → linear of ``(row, number)``."""
    hidden = _gelu(x @ state[f"{name}.0.weight"].T + state[f"{name}.0.bias"])
    out: FloatArray = hidden @ state[f"{name}.2.weight"].T + state[f"{name}.2.bias"]
    return out


def _gelu(x: FloatArray) -> FloatArray:
    from scipy.special import erf

    out: FloatArray = x * np.float32(0.5) * (1 + erf(x * np.float32(math.sqrt(0.5))))
    return out
