"""What can be reflectance: refuse scales, offsets and values that no calibration can mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xr_cloudmask.errors import ReflectanceError

# Medians of reflectance are within these, medians of digital numbers above them.
LOWEST_TYPICAL_REFLECTANCE, LARGEST_TYPICAL_REFLECTANCE = -0.5, 2.0
LOWEST_REFLECTANCE = -0.9  # below are fill values, -9999 * 0.0001 among them
NEGLIGIBLE = 1e-4  # share of pixels that may be below: defects
SMALLEST_SCALE_OF_REFLECTANCE = 0.1  # 1, or up to about 10 over the sine of a low sun
LARGEST_SCALE_OF_NUMBERS = 0.0099  # 8-bit radiance under a low sun; 0.01 is percent
SAMPLE = 4096


def require_plausible_rule(name: str, dtype: np.dtype[Any], scale: float | None, offset: float | None) -> None:
    """Refuse a scale or an offset of a band that no reflectance can come of; None leaves one open."""
    is_integer = dtype.kind != "f"
    if scale is not None and (scale <= 0 or (is_integer and scale >= SMALLEST_SCALE_OF_REFLECTANCE)):
        raise ReflectanceError(
            f"scale {scale:g} for band {name!r} of dtype {dtype}",
            "reflectance = digital number * scale + offset, with a scale above 0, and far below 1 for integers",
            "scale=0.0001, or the product's own",
        )
    if offset is not None and abs(offset) > LARGEST_TYPICAL_REFLECTANCE:
        raise ReflectanceError(
            f"offset {offset:g} for band {name!r}",
            f"an offset in reflectance, not in digital numbers: within ±{LARGEST_TYPICAL_REFLECTANCE:g}",
            f"offset={offset * (scale or 1e-4):g}, the offset in digital numbers times the scale",
        )


def require_reflectance(dn: np.ndarray, reflectance: np.ndarray, scale: float) -> None:
    """Refuse values that cannot be reflectance. Medians decide: single pixels may be saturated or defective.

    Parameters
    ----------
    dn : ndarray
        The values as they were, any shape.
    reflectance : ndarray of float
        What `scale` and an offset made of them, same shape, NaN where no data.
    scale : float
        Tells digital numbers (small) from reflectance.

    Raises
    ------
    ReflectanceError
        Digital numbers taken for reflectance, reflectance taken for digital numbers, or fill taken for data.
    """
    numbers, values = _data(dn, reflectance)
    if scale <= LARGEST_SCALE_OF_NUMBERS and _are_fractions(numbers):
        raise ReflectanceError(
            f"fractions of about {np.median(numbers):.2g} where digital numbers were expected (scale {scale:g})",
            "digital numbers, not yet scaled",
            "scale=1 if the values are reflectance; with stackstac, rescale=False and dtype='uint16'",
        )
    typical = float(np.median(values)) if values.size else 0.0
    if typical > LARGEST_TYPICAL_REFLECTANCE:
        raise not_reflectance(float(np.median(numbers)), dn.dtype, scale)
    low = _count_low(dn, reflectance) / max(reflectance.size, 1)
    if low > NEGLIGIBLE or typical < LOWEST_TYPICAL_REFLECTANCE:
        number = f"{dn[np.isfinite(reflectance)].min():.9g}"
        raise ReflectanceError(
            f"values down to {number}, reflectance below {LOWEST_REFLECTANCE} in {low:.1%} of the pixels",
            "reflectance from 0 to 1, with every fill value declared",
            f"nodata={number} if that marks missing pixels; otherwise the product's own scale= and offset=",
        )


def not_reflectance(typical: float, dtype: np.dtype[Any], scale: float = 1.0) -> ReflectanceError:
    """Return the error for digital numbers that `scale` leaves too large."""
    kind = "floating-point" if dtype.kind == "f" else "integer"
    with_scale = "" if scale == 1 else f" with scale {scale:g}"
    return ReflectanceError(
        f"{kind} values of about {typical:.0f} where reflectance was expected{with_scale}",
        "reflectance from 0 to 1",
        "scale=0.0001 (or the product's own) if these are digital numbers, scale=0.01 if percent",
    )


def typical_of(values: Any) -> float:
    """Return the median of a sample of a band (an `xarray.Variable` that is not dask), zero and NaN left out."""
    step = max(1, math.isqrt(max(values.size // SAMPLE, 1)))
    sample = values.isel(dict.fromkeys(values.dims[-2:], slice(None, None, step))).values
    data = sample[np.isfinite(sample) & (sample != 0)]
    return float(np.median(data)) if data.size else 0.0


def countable(dn: np.ndarray) -> np.ndarray:
    """Return numbers as compiled code takes them: in this machine's byte order, of 32 bits at least if they are floats.

    Examples
    --------
    >>> countable(np.array([1, 2], ">f2")).dtype
    dtype('float32')
    """
    dtype = np.result_type(dn.dtype, "float32") if dn.dtype.kind == "f" else dn.dtype.newbyteorder("=")
    return dn.astype(dtype, copy=False)


def _count_low(dn: np.ndarray, reflectance: np.ndarray) -> int:
    from xr_cloudmask.cube import kernels

    below: int = kernels.count_below(np.float32(LOWEST_REFLECTANCE), reflectance.reshape(-1), countable(dn).reshape(-1))
    return below


def _data(dn: np.ndarray, reflectance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a regular sample of both where there is data, neither zero nor saturated."""
    step = max(1, math.isqrt(dn.size // SAMPLE))
    numbers, values = (np.atleast_2d(array)[..., ::step, ::step] for array in (dn, reflectance))
    is_data = np.isfinite(values) & (numbers != 0)
    if dn.dtype.kind != "f":
        is_data &= numbers != np.iinfo(dn.dtype).max
    return numbers[is_data], values[is_data]


def _are_fractions(numbers: np.ndarray) -> bool:
    if not numbers.size or np.median(np.abs(numbers)) > LARGEST_TYPICAL_REFLECTANCE:
        return False
    return bool(np.mean(numbers % 1 != 0) > 0.5)
