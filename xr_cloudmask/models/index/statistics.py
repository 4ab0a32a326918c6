"""Exact statistics of a whole scene in few passes over its pixels, the same bits however the scene is cut.

1. *Extent*: the smallest and largest value of each band, and a thin sample of pixels.
2. *Distribution*: how many values there are, their extremes, the sums that make mean and standard deviation, and around
   each quantile the values themselves. The sample says where a quantile is to be expected; the values found there, and
   the number of those below, say exactly what it is.
3. Once more, where the sample misled, or where sums need the extremes first. For most scenes there is nothing to do.

Every pass is a sum, a minimum or a union, so partial results can be added in any order. Sums are free of rounding:
values are cut at a fixed binary place before they are added (Rump, Ogita & Oishi 2008, `ExtractVector`,
https://doi.org/10.1137/050645671; Demmel & Nguyen 2013, https://doi.org/10.1109/ARITH.2013.9).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import product
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Block = tuple[npt.NDArray[Any], ...]  # the pixels of each band, flat

BLOCK = 1 << 16  # pixels worked on at a time: some arrays of them fit the cache, and `cut_sum` allows for no more
SAMPLE = 1 << 16  # pixels of the thin sample, where the scene has as many
# Of all values, on either side of a quantile, that are kept: three standard errors of the sample's median.
REACH = 0.006
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Wanted:
    """What is to be known of one quantity.

    Attributes
    ----------
    name : str
    quantiles : tuple of float
    moments : bool
        Whether mean and standard deviation are wanted.
    largest : float or None
        What no value's magnitude exceeds, where that is known beforehand.
    """

    name: str
    quantiles: tuple[float, ...] = QUARTILES
    moments: bool = True
    largest: float | None = 1.0

    @property
    def summed_first(self) -> float | None:
        """What bounds the values whose sums the first look can make; None where it makes none."""
        return self.largest if self.moments else None


@dataclass(frozen=True)
class Extent:
    """What the first pass finds: extremes of the bands ``(band,)``, and the sample ``(band, pixel)``."""

    minimum: Floats
    maximum: Floats
    sample: npt.NDArray[Any]

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            np.fmin(self.minimum, other.minimum),
            np.fmax(self.maximum, other.maximum),
            np.concatenate([self.sample, other.sample], axis=1),
        )


@dataclass(frozen=True)
class Order:
    """What a pass looks for in one quantity.

    Attributes
    ----------
    brackets : tuple of tuple of float
        For each quantile, the smallest and largest value to keep.
    largest : float or None
        What no value's magnitude exceeds; None leaves sums to a later pass.
    """

    brackets: tuple[tuple[float, float], ...]
    largest: float | None


@dataclass(frozen=True)
class Kept:
    """Of one bracket: how many values are below it, the distinct values within it, and how many there are of each."""

    below: int
    values: Floats
    counts: npt.NDArray[np.int64]

    def __add__(self, other: Kept) -> Kept:
        values, where = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
        counts = np.zeros(values.size, np.int64)
        np.add.at(counts, where, np.concatenate([self.counts, other.counts]))
        return Kept(self.below + other.below, values, counts)

    @classmethod
    def of(cls, below: int, pieces: Sequence[Floats]) -> Kept:
        """Count the distinct values of some pieces."""
        values, counts = np.unique(np.concatenate([np.empty(0), *pieces]), return_counts=True)
        return cls(below, values, counts.astype(np.int64))

    def holds(self, count: int, quantile: float) -> bool:
        """Whether both neighbours in rank of a quantile are among the values."""
        low, high = _ranks(count, quantile)
        return self.below <= low and high < self.below + int(self.counts.sum())

    def quantile(self, count: int, quantile: float) -> float:
        """Interpolate linearly between the two neighbours in rank, as `numpy.quantile` does."""
        ranks = [rank - self.below for rank in _ranks(count, quantile)]
        low, high = self.values[np.searchsorted(self.counts.cumsum(), ranks, side="right")]
        share = (count - 1) * quantile % 1
        return float(low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share))


@dataclass(frozen=True)
class Distribution:
    """What a pass finds of one quantity."""

    count: int
    minimum: float
    maximum: float
    total: Fraction
    squares: Fraction
    kept: tuple[Kept, ...]

    def __add__(self, other: Distribution) -> Distribution:
        return Distribution(
            self.count + other.count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.total + other.total,
            self.squares + other.squares,
            tuple(map(add, self.kept, other.kept)),
        )


@dataclass(frozen=True)
class Summary:
    """The statistics of one quantity; NaN where there are no values, or where they were not wanted."""

    count: int
    minimum: float
    maximum: float
    mean: float
    std: float
    quantiles: tuple[float, ...]


NOTHING = Summary(0, *(math.nan,) * 4, quantiles=(math.nan,) * len(QUARTILES))


def merge(parts: Iterable[Any]) -> Any:
    """Add partial results, whatever they are."""
    return reduce(add, parts)


def blocks(bands: Sequence[npt.NDArray[Any]]) -> Iterator[tuple[tuple[slice, slice], Block]]:
    """Cut bands ``(y, x)`` into blocks of at most `BLOCK` pixels; yield where they are, and their pixels."""
    rows, columns = bands[0].shape
    width = min(columns, BLOCK)
    height = max(1, BLOCK // width)
    for y, x in product(range(0, rows, height), range(0, columns, width)):
        part = (slice(y, min(y + height, rows)), slice(x, min(x + width, columns)))
        yield part, tuple(band[part].ravel() for band in bands)


def extent(bands: Sequence[npt.NDArray[Any]], origin: tuple[int, int], shape: tuple[int, int]) -> Extent:
    """Return the extremes of the bands' finite values and the sample: every so many pixels of the *scene*.

    Parameters
    ----------
    bands : sequence of ndarray
        ``(y, x)`` each, a part of the scene.
    origin, shape : tuple of int
        Where the part begins in the scene, and ``(y, x)`` of the scene.
    """
    step = max(1, math.isqrt(shape[0] * shape[1] // SAMPLE))
    sample = np.stack([band[-origin[0] % step :: step, -origin[1] % step :: step].ravel() for band in bands])
    extremes = np.array([_extremes(band) for band in bands])
    return Extent(extremes[:, 0], extremes[:, 1], sample)


def _extremes(values: npt.NDArray[Any]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if not math.isnan(low):
        return low, high
    finite = values[~np.isnan(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)


def bracket(quantile: float, sample: Floats) -> tuple[float, float]:
    """Return between which values to look for a quantile; everywhere if the sample cannot tell."""
    if not sample.size:
        return -math.inf, math.inf
    low, high = np.quantile(sample, np.clip([quantile - REACH, quantile + REACH], 0, 1))
    return float(low), float(high)


def counted(values: Floats) -> Floats:
    """Return the values that statistics are made of: neither zero nor NaN."""
    lowest = values.min(initial=np.inf)
    if lowest > 0 or (lowest < 0 and not (values == 0).any()):  # mostly so, and NaN makes both false
        return values
    return np.asarray(values[(values != 0) & ~np.isnan(values)])


class Tally:
    """Gathers one quantity block by block."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._count, self._minimum, self._maximum = 0, math.inf, -math.inf
        self._sums: list[tuple[float, float]] = []
        self._below = [0] * len(order.brackets)
        self._pieces: list[list[Floats]] = [[] for _ in order.brackets]

    def add(self, values: Floats) -> None:
        """Take in a block of values; zero and NaN do not count."""
        values = counted(values)
        if not values.size:
            return
        self._count += values.size
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))
        for i, (low, high) in enumerate(self._order.brackets):
            below = values < low
            self._below[i] += int(np.count_nonzero(below))
            within = values <= high
            within ^= below  # those below are not above either
            self._pieces[i].append(values[within])
        largest = self._order.largest
        if largest is not None:
            self._sums.append((cut_sum(values, largest), cut_sum(np.square(values), largest**2)))

    def result(self) -> Distribution:
        """Return what was found."""
        total, squares = (sum((Fraction(pair[i]) for pair in self._sums), Fraction(0)) for i in range(2))
        kept = tuple(map(Kept.of, self._below, self._pieces))
        return Distribution(self._count, self._minimum, self._maximum, total, squares, kept)


def cut_sum(values: Floats, largest: float) -> float:
    """Add at most 2**16 values without rounding, each of them cut to a multiple of 2**-37 of the largest.

    A double has 53 bits: 37 of each value leave 16 for the sum to grow into, in whatever order it is made.

    Examples
    --------
    >>> values = np.array([0.1, 0.2, 0.3])
    >>> cut_sum(values, 1.0) == cut_sum(values[::-1], 1.0)
    True
    >>> round(cut_sum(values, 1.0), 10)
    0.6
    """
    place = math.ldexp(1.5, math.frexp(largest)[1] + 15)
    cut = values + place
    cut -= place
    return float(cut.sum())


def _ranks(count: int, quantile: float) -> tuple[int, int]:
    low = math.floor((count - 1) * quantile)
    return low, min(low + 1, count - 1)


def reorder(found: Distribution, order: Order, wanted: Wanted) -> Order | None:
    """Return what a further pass has to look for; None where there is nothing."""
    if not found.count:
        return None
    missed = [not kept.holds(found.count, q) for kept, q in zip(found.kept, wanted.quantiles, strict=True)]
    unsummed = wanted.moments and order.largest is None
    if not (unsummed or any(missed)):
        return None
    brackets = tuple(map(_corrected, [found.count] * len(missed), wanted.quantiles, found.kept, order.brackets))
    return Order(brackets, max(-found.minimum, found.maximum) if unsummed else order.largest)


def _corrected(count: int, quantile: float, kept: Kept, tried: tuple[float, float]) -> tuple[float, float]:
    if kept.holds(count, quantile):
        return tried
    return (-math.inf, tried[1]) if _ranks(count, quantile)[0] < kept.below else (tried[0], math.inf)


def summarise(found: Distribution, wanted: Wanted) -> Summary:
    """Return the statistics of a quantity; their definitions are those of NumPy's functions of the same names."""
    if not found.count:
        return NOTHING
    mean = std = math.nan
    if wanted.moments:
        average = found.total / found.count
        mean = float(average)
        std = math.sqrt(max(found.squares / found.count - average**2, Fraction(0)))
    quantiles = tuple(kept.quantile(found.count, q) for kept, q in zip(found.kept, wanted.quantiles, strict=True))
    return Summary(found.count, found.minimum, found.maximum, mean, std, quantiles)
