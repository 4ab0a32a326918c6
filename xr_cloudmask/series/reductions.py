"""What becomes of the dates of a pixel: plain NumPy on the blocks that one task is given.

Every function takes the blocks ``(date, y, x)`` of the mask's codes, of bands, or of scores, and works on strips of
pixels that fit the cache: the dates of a strip are the only copy that is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xr_cloudmask.arrays import Doubles, Flags
from xr_cloudmask.cube.plausible import countable
from xr_cloudmask.engine.stacks import Blocks

Strip: TypeAlias = tuple[slice, Doubles, Flags]  # its pixels, ``(pixel, date, band)``, ``(pixel, date)``
# (date, pixel) and which of them count -> (pixel,); NaN of nothing. The values may be overwritten.
Statistic: TypeAlias = Callable[[npt.NDArray[Any], Flags], Doubles]

STRIP = 1 << 19  # bytes of all dates of a strip of pixels: they fit the cache of a core
# At most: what is made of a strip stays below 128 KiB, where memory is had from the system and given back each time.
# That takes longer than a median, and dask's workers do so for everything above.
LONGEST = 12 << 10
NONE = -1  # the index of a date where there is none
TOLERANCE, MOST_STEPS = 1e-5, 200  # of the geometric median: a step, in terms of the mean distance; and how many


@dataclass(frozen=True)
class ReductionRule:
    """Which values of a band count, and what becomes of the result.

    Attributes
    ----------
    clear : tuple of int
        The mask's codes of pixels that count.
    nodata : tuple of float
        Values of the band that do not, besides NaN.
    dtype : str
        Of the result; integers are rounded.
    filler : float or None
        What the result is where nothing counts; None for NaN.
    """

    clear: tuple[int, ...]
    nodata: tuple[float, ...]
    dtype: str
    filler: float | None

    def missing(self, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return the no-data values as compiled code compares them with numbers of a dtype."""
        return np.array(self.nodata, dtype if dtype.kind == "f" else "float64")

    def finished(self, result: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a result, NaN where nothing counts, in the dtype it is to have."""
        if self.filler is not None:
            result = np.where(np.isnan(result), self.filler, result)
        dtype = np.dtype(self.dtype)
        return (np.rint(result) if dtype.kind != "f" else result).astype(dtype)


def count_dates(codes: Blocks, *, clear: Sequence[int], no_data: int) -> npt.NDArray[np.uint16]:
    """Count the dates with a clear pixel, and those with data: ``(2, y, x)``."""
    dates = _flat(codes)
    counts = np.zeros((2, dates[0].size), "uint16")
    for part in _parts(dates[0].size):
        for date in dates:
            counts[0, part] += _among(date[part], clear)
            counts[1, part] += date[part] != no_data
    return counts.reshape(2, *codes[0].shape[1:])


def reduce_band(values: Blocks, codes: Blocks, *, statistic: Statistic, rule: ReductionRule) -> npt.NDArray[Any]:
    """Reduce a band by itself."""
    dates, labels = [countable(date) for date in _flat(values)], _flat(codes)
    out = np.empty(dates[0].size, rule.dtype)
    whole = _Stack.of(dates, labels, rule)
    for part in _parts(out.size, len(dates) * dates[0].itemsize):
        out[part] = rule.finished(statistic(*whole.at(part)))
    return out.reshape(values[0].shape[1:])


@dataclass(frozen=True)
class _Stack:
    """The dates of a band, a strip at a time, in memory that is used again."""

    dates: Sequence[npt.NDArray[Any]]
    labels: Sequence[npt.NDArray[Any]]
    rule: ReductionRule
    values: npt.NDArray[Any]
    kept: Flags

    @classmethod
    def of(cls, dates: Sequence[npt.NDArray[Any]], labels: Sequence[npt.NDArray[Any]], rule: ReductionRule) -> _Stack:
        shape = (len(dates), LONGEST)
        return cls(dates, labels, rule, np.empty(shape, dates[0].dtype), np.empty(shape, bool))

    def at(self, part: slice) -> tuple[npt.NDArray[Any], Flags]:
        """Return the dates of a strip ``(date, pixel)``, and which of them count."""
        from xr_cloudmask.series import kernels

        length = part.stop - part.start
        # Of a length of its own, so that the dates lie one after the other.
        values = self.values.reshape(-1)[: len(self.dates) * length].reshape(-1, length)
        kept = self.kept.reshape(-1)[: len(self.dates) * length].reshape(-1, length)
        clear, missing = np.array(self.rule.clear, "uint8"), self.rule.missing(self.values.dtype)
        for date, codes, row, counts in zip(self.dates, self.labels, values, kept, strict=True):
            kernels.among(codes[part], clear, counts)
            kernels.gather(date[part], missing, row, counts)
        return values, kept


def mean(values: npt.NDArray[Any], kept: Flags) -> Doubles:
    """Return the mean over the dates."""
    from xr_cloudmask.series import kernels

    kernels.blank(values, kept, values.dtype.type(0))
    with np.errstate(invalid="ignore"):
        out: Doubles = values.sum(axis=0, dtype="float64") / _count(kept)
    return out


def quantile(values: npt.NDArray[Any], kept: Flags, *, share: float) -> Doubles:
    """Return a quantile over the dates, interpolated linearly between neighbours in rank."""
    from xr_cloudmask.series import kernels

    last = np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    kernels.blank(values, kept, values.dtype.type(last))  # sorted behind everything that counts
    kernels.sort_dates(values, kernels.comparators(len(values)))
    out = np.empty(values.shape[1])
    kernels.quantile(values, _count(kept), share, out)
    return out


def geometric_median(*blocks: Blocks, rules: Sequence[ReductionRule]) -> npt.NDArray[np.float64]:
    """Reduce bands together, blocks of each and then the mask's codes, to ``(band, y, x)``; NaN of nothing."""
    from xr_cloudmask.series import kernels

    *bands, codes = blocks
    out = np.empty((len(bands), bands[0][0][0].size))
    for part, values, kept in _together(bands, codes, rules):
        found = np.empty((len(values), len(bands)))
        kernels.geometric_median(values, kept, TOLERANCE, MOST_STEPS, found)
        out[:, part] = found.T
    return out.reshape(len(bands), *bands[0][0].shape[1:])


def medoid(*blocks: Blocks, rules: Sequence[ReductionRule], order: Sequence[int]) -> npt.NDArray[np.int16]:
    """Return the date, by its index, that is nearest to the others in all bands; blocks as `geometric_median`.

    Of equals, as any two dates are, the last in `order` is chosen.
    """
    from xr_cloudmask.series import kernels

    *bands, codes = blocks
    out = np.empty(bands[0][0][0].size, "int16")
    for part, values, kept in _together(bands, codes, rules):
        kernels.medoid(values, kept, np.array(order), out[part])
    return out.reshape(bands[0][0].shape[1:])


def latest(codes: Blocks, *, clear: Sequence[int], order: Sequence[int]) -> npt.NDArray[np.int16]:
    """Return the last clear date, by its index; `order` are the indices from first to last."""
    dates, by_rank = _flat(codes), np.array([NONE, *order], "int16")
    chosen = np.empty(dates[0].size, "int16")
    for part in _parts(chosen.size):
        rank = np.zeros(part.stop - part.start, "int16")
        for place, date in enumerate(order, start=1):
            np.maximum(rank, _among(dates[date][part], clear) * np.int16(place), out=rank)
        chosen[part] = by_rank[rank]
    return chosen.reshape(codes[0].shape[1:])


def best(
    codes: Blocks,
    *terms: Blocks,
    clear: Sequence[int],
    order: Sequence[int],
    weights: Sequence[float],
    dated: Sequence[float],
) -> npt.NDArray[np.int16]:
    """Return the clear date with the largest score, by its index; the later one of equals.

    The score is the sum of `dated`, a number for each date, and of the `terms`, each times its weight.
    """
    labels, scores = _flat(codes), [_flat(term) for term in terms]
    chosen = np.full(labels[0].size, NONE, "int16")
    for part in _parts(chosen.size):
        highest = np.full(part.stop - part.start, -np.inf, "float32")
        for date in order:
            score = np.full(highest.size, dated[date], "float32")
            for weight, term in zip(weights, scores, strict=True):
                score += np.float32(weight) * term[date][part]
            better = _among(labels[date][part], clear) & (score >= highest)
            chosen[part][better], highest[better] = date, score[better]
    return chosen.reshape(codes[0].shape[1:])


def pick(values: Blocks, chosen: npt.NDArray[np.int16], *, rule: ReductionRule) -> npt.NDArray[Any]:
    """Return the values of the chosen dates."""
    from xr_cloudmask.series import kernels

    dates, indices = [countable(date) for date in _flat(values)], chosen.reshape(-1)
    out = np.empty(indices.size, rule.dtype)
    missing = rule.missing(dates[0].dtype)
    for part in _parts(out.size):
        found = np.full(part.stop - part.start, np.nan, np.result_type(dates[0].dtype, "float32"))
        for index, date in enumerate(dates):
            kernels.put(date[part], indices[part], index, missing, found)
        out[part] = rule.finished(found)
    return out.reshape(chosen.shape)


def when(chosen: npt.NDArray[np.int16], *, times: Sequence[np.datetime64]) -> npt.NDArray[np.datetime64]:
    """Return the times of the chosen dates; NaT where there is none."""
    return np.array([*times, np.datetime64("NaT", "ns")], "datetime64[ns]")[chosen]  # NONE is the last


def _flat(blocks: Blocks) -> list[npt.NDArray[Any]]:
    """Return the pixels of every date."""
    return [date.reshape(-1) for block in blocks for date in block]


def _parts(pixels: int, bytes_of_a_pixel: int = 1) -> Iterator[slice]:
    step = min(max(512, STRIP // bytes_of_a_pixel), LONGEST)
    return (slice(begin, min(begin + step, pixels)) for begin in range(0, pixels, step))


def _count(kept: Flags) -> npt.NDArray[np.uint16]:
    count: npt.NDArray[np.uint16] = kept.sum(axis=0, dtype="uint16")
    return count


def _among(labels: npt.NDArray[Any], codes: Sequence[int]) -> Flags:
    """Return which labels are one of a few codes; a third of the time of `numpy.isin`."""
    found = np.zeros(labels.shape, bool)
    for code in codes:
        found |= labels == code
    return found


def _together(bands: Sequence[Blocks], codes: Blocks, rules: Sequence[ReductionRule]) -> Iterator[Strip]:
    """Yield strips of pixels, ``(pixel, date, band)`` and where all bands count ``(pixel, date)``; used again."""
    from xr_cloudmask.series import kernels

    dates, labels = [[countable(date) for date in _flat(band)] for band in bands], _flat(codes)
    length = max(64, STRIP // (len(labels) * len(bands) * 8))
    values, kept = np.empty((length, len(labels), len(bands))), np.empty((length, len(labels)), bool)
    for begin in range(0, labels[0].size, length):
        part = slice(begin, min(begin + length, labels[0].size))
        size = part.stop - part.start
        for date, codes_of_date in enumerate(labels):
            kernels.among(codes_of_date[part], np.array(rules[0].clear, "uint8"), kept[:size, date])
        for band, (of_band, rule) in enumerate(zip(dates, rules, strict=True)):
            missing = rule.missing(of_band[0].dtype)
            for date, pixels in enumerate(of_band):
                kernels.gather(pixels[part], missing, values[:size, date, band], kept[:size, date])
        yield part, values[:size], kept[:size]
