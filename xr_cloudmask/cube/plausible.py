"""What can be reflectance: refuse scales, offsets and values that no calibration can mean.

Values are judged in windows of a fixed lattice, so that what is refused does not depend on chunks; the messages name
limits rather than what one window happened to show, for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.remedies import ATTACH
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    from xr_cloudmask.cube.calibration import Calibration

# Reflectance that can be measured: what lies beyond is fill, or a defect. Over the sine of the sun elevation.
LOWEST, HIGHEST = -0.4, 3.0
COLDEST, HOTTEST = 100.0, 400.0  # kelvin
LARGEST_TYPICAL = 2.0  # median of reflectance, bright snow under a low sun; medians of digital numbers are above
DARKEST_VISIBLE = -0.03  # medians of visible bands: aerosol corrections overshoot by less over dark water
BRIGHTEST_OF_NOTHING, OF_PERCENT = 5e-4, 0.012  # the largest numbers of all bands are above, over dark water too
BRIGHTEST = 99.9  # percentile: what is the brightest, single defects left out
LEAST_WHITE = 0.3  # of the largest number of a dtype: with less, clouds would be dark
MANY = 0.05  # share of values beyond the limits, no two of which are alike, that is neither a defect nor an edge
ENOUGH = 0.01  # share of a window with data that tells something
ALIKE = 0.05  # share of values beyond the limits that are one number: fill
SMALLEST_SCALE_OF_REFLECTANCE = 0.1  # 1, or up to about 10 over the sine of a low sun
LARGEST_SCALE_OF_NUMBERS = 0.0099  # 8-bit radiance under a low sun; 0.01 is percent
PERCENT = 0.01
SAMPLE = 4096  # values of a band that are judged in a window
FEWEST = 16  # that tell something


def require_plausible_rule(name: str, dtype: np.dtype[Any], scale: float | None, offset: float | None) -> None:
    """Refuse a scale or an offset of a band that no reflectance can come of; None leaves one open."""
    is_integer = dtype.kind != "f"
    if scale is not None and (scale <= 0 or (is_integer and scale >= SMALLEST_SCALE_OF_REFLECTANCE)):
        raise ReflectanceError(
            f"scale {scale:g} for band {name!r} of dtype {dtype}",
            "reflectance = digital number * scale + offset, with a scale above 0, and far below 1 for integers",
            f"{_usual(dtype)}, or the product's own",
        )
    if offset is not None and abs(offset) > LARGEST_TYPICAL:
        raise ReflectanceError(
            f"offset {offset:g} for band {name!r}",
            f"an offset in reflectance, not in digital numbers: within ±{LARGEST_TYPICAL:g}",
            f"offset={offset * (scale or 1e-4):g}, the offset in digital numbers times the scale",
        )
    white = np.iinfo(dtype).max * scale + (offset or 0.0) if is_integer and scale is not None else math.inf
    if white < LEAST_WHITE:
        raise ReflectanceError(
            f"scale {scale:g} and offset {offset or 0:g} for band {name!r} of dtype {dtype}: "
            f"its largest number would be reflectance {white:.3g}",
            f"a scale with which the largest number is bright, at least {LEAST_WHITE:g}",
            f"{_usual(dtype)}, or the product's own",
        )


def _usual(dtype: np.dtype[Any]) -> str:
    return "scale='display' or scale=1/255" if dtype.itemsize == 1 else "scale=0.0001"


@dataclass(frozen=True)
class Band:
    """What a sample of one band shows: its numbers, and the reflectance that they would be."""

    numbers: np.ndarray
    values: np.ndarray
    scale: float
    impossible: float


def require_plausible(
    numbers: Sequence[np.ndarray],
    calibrations: Sequence[Calibration],
    visible: Sequence[bool],
    date: int,
    size: int | None = None,
) -> None:
    """Refuse a window whose values cannot be what the calibrations make of them.

    Fill that nobody declared is no data, and few defects are none: they are dropped elsewhere, pixel by pixel.

    Parameters
    ----------
    numbers : sequence of ndarray
        A sample of the values of each band of the window, as they are; all of one shape.
    calibrations : sequence of Calibration
    visible : sequence of bool
        Whether a band is visible light.
    date : int
        Position of the date in the cube.
    size : int, optional
        How many values were sampled of each band, where those that are fill in all bands are left out.

    Raises
    ------
    ReflectanceError
        Digital numbers taken for reflectance, or the reverse; a scale or an offset applied twice; no temperatures.
    """
    size = numbers[0].size if size is None else size
    solar, shown = [], []
    for sample, calibration, is_visible in zip(numbers, calibrations, visible, strict=True):
        if calibration.kind == "brightness_temperature" and calibration.planck is None:
            _require_kelvin(sample, calibration, date)
        if calibration.kind == "reflectance":
            band = _judged(sample, calibration, date, size)
            solar.append(band)
            shown += [band] * is_visible
    enough = [band for band in solar if band.values.size >= max(FEWEST, size * ENOUGH)]
    for band in enough:
        _require_range(band)
    if enough:
        _require_light(enough, [band for band in shown if any(band is one for one in enough)])


def _judged(sample: np.ndarray, calibration: Calibration, date: int, size: int) -> Band:
    """Return what there is to judge of a band: neither no data, nor saturated, nor one number beyond the limits.

    What is impossible counts as a share of the whole window: where fill was resampled, a window may show little else.
    """
    scale, offset = calibration.linear(date)
    low, high = calibration.limits(date)
    is_data = np.isfinite(sample) & (sample != calibration.zero[date % len(calibration.zero)]) & (sample != 0)
    for number in calibration.nodata:
        is_data &= sample != number
    if sample.dtype.kind != "f":
        is_data &= sample != np.iinfo(sample.dtype).max
    numbers = sample[is_data]
    values = numbers * scale + offset
    beyond = (values < low) | (values > high)
    if beyond.any():
        found, counts = np.unique(numbers[beyond], return_counts=True)
        fill = found[(counts >= ALIKE * counts.sum()) & (counts > 1)]
        kept = ~np.isin(numbers, fill)
        numbers, values, beyond = numbers[kept], values[kept], beyond[kept]
    return Band(numbers, values, scale, beyond.sum() / size)


def _require_range(band: Band) -> None:
    if band.scale <= LARGEST_SCALE_OF_NUMBERS and _are_fractions(band.numbers):
        raise scaled_already(band.scale)
    if np.median(band.values) > LARGEST_TYPICAL:
        raise not_reflectance(band.numbers.dtype, band.scale)
    if band.impossible > MANY:
        raise ReflectanceError(
            f"more than {MANY:.0%} of the values of a band below reflectance {LOWEST:g} or above {HIGHEST:g}, with "
            f"scale {band.scale:g}, and no single number that marks missing pixels",
            "reflectance from 0 to 1",
            "the product's own scale= and offset=; nodata=[...] for the numbers that mark missing pixels",
        )


def _require_light(solar: Sequence[Band], shown: Sequence[Band]) -> None:
    if shown and max(float(np.median(band.values)) for band in shown) < DARKEST_VISIBLE:
        raise ReflectanceError(
            f"reflectance that is negative in most pixels of every visible band, with scale {shown[0].scale:g}",
            "reflectance from 0 to 1: an offset that the values have already, or that is not theirs, makes them dark",
            "offset=0; scale=1 if the values are reflectance already; or the product's own scale= and offset=",
        )
    is_percent = all(band.scale == PERCENT for band in solar)
    brightest = max(float(np.percentile(np.abs(band.values), BRIGHTEST)) for band in solar)
    if brightest < (OF_PERCENT if is_percent else BRIGHTEST_OF_NOTHING):
        said = "units of percent" if is_percent else f"scale {solar[0].scale:g}"
        raise ReflectanceError(
            f"values that {said} would make black in all bands",
            "reflectance from 0 to 1: a scale is applied once",
            "scale=1 if the values are reflectance already (units that arithmetic has outlived say otherwise)",
        )


def _require_kelvin(sample: np.ndarray, calibration: Calibration, date: int) -> None:
    scale, offset = calibration.linear(date)
    data = sample[np.isfinite(sample) & (sample != 0) & ~np.isin(sample, calibration.nodata)] * scale + offset
    if data.size >= FEWEST and not COLDEST <= float(np.median(data)) <= HOTTEST:
        raise ReflectanceError(
            "a thermal band whose values are no temperatures",
            f"brightness temperature in kelvin, {COLDEST:g} to {HOTTEST:g}",
            "digital numbers as integers; scale= and offset= to kelvin; or "
            "BandDescriptor(..., kind='normalised_brightness_temperature') where it is 0 to 1",
        )


def require_some(numbers: np.ndarray, values: np.ndarray, scale: float) -> None:
    """Refuse a block that is nothing but numbers which cannot be what its calibration says.

    For what looks at pixels one by one, without windows: only what every part of such an array shows is refused.

    Parameters
    ----------
    numbers : ndarray
        The values of a band as they were, any shape.
    values : ndarray of float32
        What came of them, same shape; infinite where that is beyond the limits.
    scale : float
    """
    step = max(1, numbers.size // SAMPLE)
    sample, became = numbers.reshape(-1)[::step], values.reshape(-1)[::step]
    is_data = ~np.isnan(became) & (sample != 0)
    if is_data.sum() < FEWEST:
        return
    sample, became = sample[is_data], became[is_data]
    if scale <= LARGEST_SCALE_OF_NUMBERS and _are_fractions(sample):
        raise scaled_already(scale)
    if np.mean(np.isinf(became)) > 1 - ENOUGH and np.ptp(sample[np.isinf(became)]) > 0:
        raise not_reflectance(numbers.dtype, scale)


def scaled_already(scale: float) -> ReflectanceError:
    """Return the error for fractions that would be scaled once more."""
    return ReflectanceError(
        f"fractions from 0 to 1 where digital numbers were expected (scale {scale:g})",
        "digital numbers, not yet scaled",
        "scale=1 if the values are reflectance; with stackstac, rescale=False and dtype='uint16'",
        {"scale": 1},
    )


def not_reflectance(dtype: np.dtype[Any], scale: float = 1.0) -> ReflectanceError:
    """Return the error for digital numbers that `scale` leaves too large."""
    kind = "floating-point" if dtype.kind == "f" else "integer"
    with_scale = "" if scale == 1 else f" with scale {scale:g}"
    image = "scale=0.4/255" if dtype.kind == "f" else "scale='display'"  # floats do not tell their white
    return ReflectanceError(
        f"{kind} values that are above {LARGEST_TYPICAL:g} in most pixels where reflectance was expected{with_scale}",
        "reflectance from 0 to 1",
        f"scale=0.0001 (or the product's own) if these are digital numbers, scale=0.01 if percent, {image} if they are "
        f"the 0 to 255 of an image; {ATTACH} where the cube was loaded from STAC items",
    )


def countable(dn: np.ndarray) -> np.ndarray:
    """Return numbers as compiled code takes them: in this machine's byte order, floats of 32 or 64 bits.

    Examples
    --------
    >>> countable(np.array([1, 2], ">f2")).dtype
    dtype('float32')
    """
    dtype = dn.dtype.newbyteorder("=")
    if dtype.kind == "f":
        dtype = np.dtype("float32" if dtype.itemsize < 8 else "float64")
    return dn.astype(dtype, copy=False)


def _are_fractions(numbers: np.ndarray) -> bool:
    if not numbers.size or np.median(np.abs(numbers)) > LARGEST_TYPICAL:
        return False
    return bool(np.mean(numbers % 1 != 0) > 0.5)
