"""Per-pixel loops of composites, compiled; imported late, for numba is slow to import.

Dates come first and pixels last where a loop does the same to many pixels at once, and the other way round where it
goes its own way for each.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xr_cloudmask.arrays import Doubles, Flags
from xr_cloudmask.compiled import compiled
from xr_cloudmask.cube.nodata import NUMBERS

if TYPE_CHECKING:
    from xr_cloudmask.series.refine import CorrectionRule

LOWEST, HIGHEST = NUMBERS
FEW = 3  # dates: fewer are no evidence of the ground


@cache
def comparators(size: int) -> npt.NDArray[np.int32]:
    """Return the pairs ``(pair, 2)`` of a network that sorts `size` values, whatever they are.

    Source: Batcher (1968), odd-even merge sort, https://doi.org/10.1145/1468075.1468121.

    Examples
    --------
    >>> comparators(3).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    pairs: list[tuple[int, int]] = []
    for run in (1 << i for i in range((size - 1).bit_length())):
        for step in (run >> i for i in range(run.bit_length())):
            firsts = range(step % run, size - step, 2 * step)
            lows = [low for first in firsts for low in range(first, min(first + step, size - step))]
            pairs += [(low, low + step) for low in lows if low // (2 * run) == (low + step) // (2 * run)]
    return np.array(pairs, np.int32).reshape(-1, 2)


@compiled
def blank(values: npt.NDArray[Any], kept: Flags, filler: float) -> None:
    """Overwrite ``(date, pixel)`` where it is not kept; NumPy takes fifty times as long."""
    for date in range(len(values)):
        for pixel in range(values.shape[1]):
            values[date, pixel] = values[date, pixel] if kept[date, pixel] else filler


@compiled
def among(labels: npt.NDArray[np.uint8], codes: npt.NDArray[np.uint8], out: Flags) -> None:
    """Say of every pixel whether its label is one of some codes."""
    out[:] = False
    for code in codes:
        for pixel in range(labels.size):
            out[pixel] |= labels[pixel] == code


@compiled
def gather(values: npt.NDArray[Any], missing: npt.NDArray[Any], out: npt.NDArray[Any], kept: Flags) -> None:
    """Copy the pixels of a date; what is no data, or the number of no product, is no longer kept."""
    for pixel in range(values.size):
        out[pixel] = values[pixel]
        number = float(values[pixel])
        kept[pixel] &= (number > LOWEST) & (number < HIGHEST)
    for number in missing:
        for pixel in range(values.size):
            kept[pixel] &= values[pixel] != number


@compiled
def put(
    values: npt.NDArray[Any], chosen: npt.NDArray[np.int16], date: int, missing: npt.NDArray[Any], out: npt.NDArray[Any]
) -> None:
    """Copy the pixels for which a date was chosen; no data is NaN."""
    for pixel in range(out.size):
        out[pixel] = values[pixel] if chosen[pixel] == date else out[pixel]
    for number in missing:
        for pixel in range(out.size):
            out[pixel] = np.nan if (chosen[pixel] == date) & (values[pixel] == number) else out[pixel]


@compiled
def sort_dates(values: npt.NDArray[Any], pairs: npt.NDArray[np.int32]) -> None:
    """Sort ``(date, pixel)`` along the dates: each comparison is made for all pixels, many at once."""
    for k in range(len(pairs)):
        low, high = values[pairs[k, 0]], values[pairs[k, 1]]
        for pixel in range(low.size):
            a, b = low[pixel], high[pixel]
            low[pixel] = a if a < b else b
            high[pixel] = b if a < b else a


@compiled
def quantile(ordered: npt.NDArray[Any], count: npt.NDArray[np.uint16], share: float, out: Doubles) -> None:
    """Interpolate linearly between the two ranks next to a quantile, as `numpy.quantile` does; NaN of nothing."""
    for pixel in range(count.size):
        last = int(count[pixel]) - 1
        if last < 0:
            out[pixel] = np.nan
            continue
        rank = share * last
        low = int(rank)
        below, above = float(ordered[low, pixel]), float(ordered[min(low + 1, last), pixel])
        out[pixel] = below + (above - below) * (rank - low)


@compiled
def geometric_median(values: Doubles, kept: Flags, tolerance: float, most: int, out: Doubles) -> None:
    """Find the point with the least sum of distances to ``values (pixel, date, band)``; NaN of nothing.

    Weiszfeld's iteration from the mean, which does not get stuck at a date. It ends when a step is less than
    `tolerance` of the mean distance.

    Source: Vardi & Zhang (2000), https://doi.org/10.1073/pnas.97.4.1423.
    """
    towards = np.empty(values.shape[2])
    for pixel in range(len(values)):
        dates, point = values[pixel][kept[pixel]], out[pixel]
        for band in range(point.size):
            point[band] = dates[:, band].sum() / len(dates) if len(dates) else np.nan
        for _ in range(most if len(dates) > 1 else 0):
            here, pull, distance = _attraction(dates, point, towards)
            if here >= pull:  # a date that lies here is the median, or all of them lie here
                break
            moved = 0.0
            for band in range(point.size):
                step = (towards[band] - point[band]) * (1.0 - here / pull)
                point[band] += step
                moved += step**2
            if np.sqrt(moved) < tolerance * distance:
                break


@compiled
def _attraction(dates: Doubles, point: Doubles, towards: Doubles) -> tuple[float, float, float]:
    """Write where dates draw a point; return how many lie on it, how strongly the others draw, how far all are."""
    here = weights = distances = pull = 0.0
    towards[:] = 0.0
    for date in dates:
        distance = _distance(date, point)
        distances += distance
        if distance == 0.0:
            here += 1.0
            continue
        weights += 1.0 / distance
        for band in range(point.size):
            towards[band] += date[band] / distance
    if weights > 0.0:
        for band in range(point.size):
            towards[band] /= weights
        pull = _distance(towards, point) * weights
    return here, pull, distances / len(dates)


@compiled
def _distance(one: Doubles, other: Doubles) -> float:
    total = 0.0
    for band in range(one.size):
        total += (one[band] - other[band]) ** 2
    return np.sqrt(total)  # type: ignore[no-any-return]


@compiled
def medoid(values: Doubles, kept: Flags, order: npt.NDArray[np.int64], out: npt.NDArray[np.int16]) -> None:
    """Find the date with the least sum of distances to the others in ``values (pixel, date, band)``; -1 of nothing.

    Source: Flood (2013), https://doi.org/10.3390/rs5126481.
    """
    sums = np.empty(values.shape[1])
    for pixel in range(len(values)):
        dates = order[kept[pixel][order]]
        sums[:] = 0.0
        for i in range(dates.size):
            for j in range(i + 1, dates.size):
                distance = _distance(values[pixel, dates[i]], values[pixel, dates[j]])
                sums[dates[i]] += distance
                sums[dates[j]] += distance
        out[pixel] = -1
        for date in dates:
            if out[pixel] < 0 or sums[date] <= sums[out[pixel]]:
                out[pixel] = date


class _Pixel(NamedTuple):
    """Reflectance ``(date, band)``, the days of the dates, and reflectance of the ground ``(band,)``."""

    seen: npt.NDArray[np.float32]
    days: Doubles
    ground: npt.NDArray[np.float32]


@compiled
def refine(codes: npt.NDArray[np.uint8], values: npt.NDArray[np.float32], days: Doubles, rule: CorrectionRule) -> None:
    """Correct codes ``(pixel, date)``, dates in their order, by reflectance ``(pixel, date, band)``, NaN for none."""
    dates, bands = values.shape[1:]
    ground, ordered = np.empty(bands, np.float32), np.empty(dates, np.float32)
    here, bare, covered = np.empty(dates, np.bool_), np.empty(dates, np.bool_), np.empty(dates, np.bool_)
    for index in range(len(codes)):
        labels, pixel = codes[index], _Pixel(values[index], days, ground)
        for date in range(dates):
            here[date] = labels[date] != rule.no_data and np.isfinite(pixel.seen[date].sum())
            bare[date] = here[date] and labels[date] == rule.clear
            covered[date] = here[date] and labels[date] in rule.cloudy
        total = here.sum()
        if total < rule.dates:
            continue
        is_seen = bare.sum() >= FEW
        _find_ground(pixel, bare if is_seen else here, 0.5 if is_seen else 0.25, ordered)
        if covered.sum() >= rule.persistent * total:
            _uncover(labels, pixel, covered, rule)
        if not is_seen:
            for date in range(dates):
                bare[date] = here[date] and labels[date] == rule.clear
            _find_ground(pixel, bare, 0.5, ordered)
        _despike(labels, pixel, here, rule, False)
        if rule.shadow >= 0 and rule.infrared > 0:
            _despike(labels, pixel, here, rule, True)


@compiled
def _find_ground(pixel: _Pixel, kept: Flags, share: float, ordered: npt.NDArray[np.float32]) -> None:
    """Take a quantile of some dates, the lower one of two, for the ground; few values are sorted best by insertion."""
    for band in range(len(pixel.ground)):
        number = 0
        for date in range(len(kept)):
            if kept[date]:
                value, place = pixel.seen[date, band], number
                while place > 0 and ordered[place - 1] > value:
                    ordered[place] = ordered[place - 1]
                    place -= 1
                ordered[place] = value
                number += 1
        if number:
            pixel.ground[band] = ordered[int(share * (number - 1))]


@compiled
def _uncover(labels: npt.NDArray[np.uint8], pixel: _Pixel, covered: Flags, rule: CorrectionRule) -> None:
    """Clear the clouds that look like the ground in every band, where enough of them do."""
    like = covered.copy()
    for date in range(len(like)):
        for band in range(len(pixel.ground)):
            like[date] &= abs(pixel.seen[date, band] - pixel.ground[band]) <= rule.difference
    if like.sum() >= max(FEW, rule.alike * covered.sum()):
        for date in range(len(like)):
            labels[date] = rule.clear if like[date] else labels[date]


@compiled
def _despike(labels: npt.NDArray[np.uint8], pixel: _Pixel, here: Flags, rule: CorrectionRule, is_dark: bool) -> None:
    """Call the clear dates that stand out from those next to them cloud or shadow, one by one, the furthest first."""
    at = np.flatnonzero(here & (labels == rule.clear))
    while at.size > 1:
        worst, furthest = -1, 0.0
        for place in range(at.size):
            out = _darkness(pixel, at, place, rule) if is_dark else _brightness(pixel, at, place, rule)
            if out > furthest:
                worst, furthest = place, out
        if worst < 0:
            return
        labels[at[worst]] = rule.shadow if is_dark else rule.cloud
        at = np.concatenate((at[:worst], at[worst + 1 :]))


@compiled
def _brightness(pixel: _Pixel, at: npt.NDArray[np.intp], place: int, rule: CorrectionRule) -> Any:
    """Return by how much a date is too bright in the visible to be clear; 0 or less if it is not."""
    date, last = at[place], at.size - 1
    here, ground = pixel.seen[date], pixel.ground
    above = here[0] - ground[0] - rule.difference
    if above <= 0.0 or (rule.swir > 0 and here[rule.swir] < ground[rule.swir] - rule.difference):
        return 0.0  # no brighter than the ground, or snow: it is dark in the shortwave infrared
    if 0 < place < last:
        before, after = pixel.seen[at[place - 1], 0], pixel.seen[at[place + 1], 0]
        return min(above, here[0] - max(before, after) - rule.difference)
    other = at[1] if place == 0 else at[last - 1]
    rise = here[0] - pixel.seen[other, 0]
    if rule.red > 0 and here[rule.red] - pixel.seen[other, rule.red] > 1.5 * rise:
        return 0.0  # soil, bare after a harvest
    return min(above, rise - rule.difference * (1.0 + abs(pixel.days[date] - pixel.days[other]) / 30.0))


@compiled
def _darkness(pixel: _Pixel, at: npt.NDArray[np.intp], place: int, rule: CorrectionRule) -> Any:
    """Return by how much a date between others is too dark in the infrared to be clear; 0 or less if it is not."""
    if not 0 < place < at.size - 1:
        return 0.0
    before, here, after = pixel.seen[at[place - 1]], pixel.seen[at[place]], pixel.seen[at[place + 1]]
    out = np.inf
    for band in range(rule.infrared, len(here)):
        out = min(out, min(before[band], after[band], pixel.ground[band]) - here[band] - rule.difference)
    return out
