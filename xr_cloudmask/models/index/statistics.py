"""Exact statistics of a whole scene in few passes over its pixels, the same bits however the scene is cut.

1. *Extent*: the smallest and largest value of each band, and a thin sample of pixels.
2. *Distribution*: how many values there are, their extremes, the sums that make mean and standard deviation, and around
   each quantile the values themselves. The sample says where a quantile is to be expected; the values found there, and
   the number of those below, say exactly what it is.
3. Once more, where the sample misled, or where sums need the extremes first. For most scenes there is nothing to do.

Every pass is a sum, a minimum or a union, so partial results can be added in any order. Sums are free of rounding:
values are cut at a fixed binary place (Rump, Ogita & Oishi 2008, `ExtractVector`, https://doi.org/10.1137/050645671;
Demmel & Nguyen 2013, https://doi.org/10.1109/ARITH.2013.9), and added as integers. The loops are in `kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import add
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xr_cloudmask.arrays import Doubles

Block = tuple[npt.NDArray[Any], ...]  # the pixels of each band, flat

BLOCK = 1 << 14  # pixels worked on at a time: all quantities of them fit the cache
STRIP = 1 << 18  # pixels copied at a time, where they do not lie one after the other
HELD = 1 << 18  # values gathered at a time
SAMPLE = 1 << 16  # pixels of the thin sample, where the scene has as many
REACH = 4.0  # standard errors of a quantile of the sample, on either side of which values are kept
GOLDEN = (math.sqrt(5) - 1) / 2
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

    minimum: Doubles
    maximum: Doubles
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
    values: Doubles
    counts: npt.NDArray[np.int64]

    def __add__(self, other: Kept) -> Kept:
        from xr_cloudmask.models.index import kernels

        merged = kernels.merge(self.values, self.counts, other.values, other.counts)
        return Kept(self.below + other.below, *map(np.copy, merged))  # views of arrays for the worst case

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


def blocks(bands: Sequence[npt.NDArray[Any]], size: int) -> Iterator[tuple[slice, Block]]:
    """Yield the pixels of bands ``(y, x)`` in blocks of at most `size`, and where they are among all; mostly views."""
    rows, columns = bands[0].shape
    height = max(1, STRIP // max(1, columns))
    for y in range(0, rows, height):
        strip = tuple(band[y : y + height].ravel() for band in bands)
        for begin in range(0, strip[0].size, size):
            block = tuple(band[begin : begin + size] for band in strip)
            first = y * columns + begin
            yield slice(first, first + block[0].size), block


def extent(bands: Sequence[npt.NDArray[Any]], origin: tuple[int, int], shape: tuple[int, int]) -> Extent:
    """Return the extremes of the bands' finite values and the sample: every so many pixels of the *scene*.

    Each row of the sample begins at another column, by the golden ratio: what repeats itself along the rows of a scene
    (stripes, orchards) cannot hide from the sample.

    Parameters
    ----------
    bands : sequence of ndarray
        ``(y, x)`` each, a part of the scene.
    origin, shape : tuple of int
        Where the part begins in the scene, and ``(y, x)`` of the scene.
    """
    step = max(1, math.isqrt(shape[0] * shape[1] // SAMPLE))
    rows = np.arange(-origin[0] % step, bands[0].shape[0], step)
    begins = ((origin[0] + rows) // step * GOLDEN % 1 * step).astype(int)
    columns = ((begins - origin[1]) % step)[:, None] + np.arange(0, bands[0].shape[1], step)
    inside = columns < bands[0].shape[1]
    at = np.broadcast_to(rows[:, None], columns.shape)[inside], columns[inside]
    extremes = np.array([_extremes(band) for band in bands])
    return Extent(extremes[:, 0], extremes[:, 1], np.stack([band[at] for band in bands]))


def _extremes(values: npt.NDArray[Any]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if not math.isnan(low):
        return low, high
    finite = values[~np.isnan(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)


def bracket(quantile: float, sample: Doubles) -> tuple[float, float]:
    """Return between which values to look for a quantile; everywhere if the sample cannot tell."""
    if not sample.size:
        return -math.inf, math.inf
    reach = REACH * math.sqrt(quantile * (1 - quantile) / sample.size)
    low, high = np.quantile(sample, np.clip([quantile - reach, quantile + reach], 0, 1))
    return float(low), float(high)


def counted(values: Doubles) -> Doubles:
    """Return the values that statistics are made of: neither zero nor NaN."""
    return np.asarray(values[(values != 0) & ~np.isnan(values)])


class Sought(NamedTuple):
    """The orders of some quantities, for compiled code.

    Attributes
    ----------
    brackets : ndarray
        ``(bracket, 2)``, those of all quantities.
    first : ndarray
        ``(quantity + 1,)``, the first bracket of each.
    places : ndarray
        ``(quantity, 2)``: what is added to a value, and to its square, to cut it; NaN where no sums are made.
    """

    brackets: Doubles
    first: npt.NDArray[np.int64]
    places: Doubles


class Gathered(NamedTuple):
    """What compiled code has found: an entry, or one for minimum and maximum, per quantity or per bracket."""

    counts: npt.NDArray[np.int64]
    extremes: Doubles
    sums: npt.NDArray[np.int64]  # of values, and of their squares, in units of the last bit of `Sought.places`
    below: npt.NDArray[np.int64]
    filled: npt.NDArray[np.int64]  # how many values are kept
    kept: Doubles


class Tally:
    """Gathers quantities block by block, with one order for each.

    A value that is summed is cut to a multiple of 2**-37 of the largest: added to 1.5 * 2**15 times the power of two
    above that, a double has no bits left for more. As integers of 38 bits, 2**25 of them are added without overflow.
    """

    def __init__(self, *orders: Order) -> None:
        brackets = [bracket for order in orders for bracket in order.brackets]
        first = np.cumsum([0, *(len(order.brackets) for order in orders)])
        places = np.array([_places(order.largest) for order in orders]).reshape(-1, 2)
        self._sought = Sought(np.array(brackets, "float64").reshape(-1, 2), first, places)
        self._found = Gathered(
            counts=np.zeros(len(orders), np.int64),
            extremes=np.array([[np.inf, -np.inf]] * len(orders)),
            sums=np.zeros((len(orders), 2), np.int64),
            below=np.zeros(len(brackets), np.int64),
            filled=np.zeros(len(brackets), np.int64),
            kept=np.empty((len(brackets), HELD)),
        )
        self._held = 0
        self._sums = self._found.sums.astype(object)
        self._pieces: list[list[Doubles]] = [[] for _ in brackets]

    def add(self, values: Doubles) -> None:
        """Take in a block of at most `HELD` values ``(quantity, pixel)``; zero and NaN do not count."""
        from xr_cloudmask.models.index import kernels

        values = np.atleast_2d(values)
        if self._held + values.shape[1] > HELD:
            self._empty()
        kernels.tally(values, self._sought, self._found)
        self._held += values.shape[1]

    def _empty(self) -> None:
        """Set aside what would not fit with more."""
        for pieces, kept, filled in zip(self._pieces, self._found.kept, self._found.filled, strict=True):
            pieces.append(kept[:filled].copy())
        self._sums += self._found.sums
        self._found.filled[:], self._found.sums[:], self._held = 0, 0, 0

    def result(self, quantity: int = 0) -> Distribution:
        """Return what was found of a quantity."""
        self._empty()
        low, high = map(float, self._found.extremes[quantity])
        total, squares = map(_in_units, self._sums[quantity], self._sought.places[quantity])
        kept = tuple(self._of_bracket(i) for i in range(*self._sought.first[quantity : quantity + 2]))
        return Distribution(int(self._found.counts[quantity]), low, high, total, squares, kept)

    def _of_bracket(self, i: int) -> Kept:
        from xr_cloudmask.models.index import kernels

        found = kernels.distinct(np.concatenate(self._pieces[i]))
        return Kept(int(self._found.below[i]), *map(np.copy, found))


def _places(largest: float | None) -> tuple[float, float]:
    if largest is None:
        return math.nan, math.nan
    one, two = (math.ldexp(1.5, math.frexp(limit)[1] + 15) for limit in (largest, largest**2))
    return one, two


def _in_units(count: int, place: float) -> Fraction:
    return Fraction(0) if math.isnan(place) else count * Fraction(math.ulp(place))


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
    low, high = _ranks(count, quantile)  # of a few values, both can be missed
    return (
        -math.inf if low < kept.below else tried[0],
        math.inf if high >= kept.below + int(kept.counts.sum()) else tried[1],
    )


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
