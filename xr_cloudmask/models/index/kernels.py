"""The per-pixel loops of 4-4A, compiled: one pass over the bands instead of one per operation, by several threads.

Compiling is worth its dependency: NumPy takes ten times as long for `quantities`, and five times for `classes`, because
it writes and reads every intermediate array. The formulas are those of `formulas`; rounding is that of IEEE doubles, no
operation is merged with another, so results are the same on every machine. numba is imported with this module, late.

Loops run over positions and have no branches, so that several pixels are worked on at once. What floating-point numbers
forbid there, a sum or a minimum in any order, is done with the integers that have the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.arrays import Doubles
from xr_cloudmask.compiled import compiled
from xr_cloudmask.models.index import formulas

if TYPE_CHECKING:
    from xr_cloudmask.models.index.four_four_a import SceneLimits
    from xr_cloudmask.models.index.statistics import Gathered, Sought

Bands = tuple[npt.NDArray[Any], ...]  # blue, green, red, nir
Numbers = npt.NDArray[np.int64]
Layer = npt.NDArray[np.uint8]

_ndvi, _whiteness, _hot, _cloud_index, _nscd = (
    compiled(formula)
    for formula in (formulas.ndvi, formulas.whiteness, formulas.hot, formulas.cloud_index, formulas.nscd)
)
PAN = formulas.PAN
NO_DATA = 255
BUT_SIGN = np.int64(np.iinfo(np.int64).max)  # every bit of a double but its sign
RADIX_BITS = 11
DIGIT = np.uint64((1 << RADIX_BITS) - 1)


@compiled
def quantities(bands: Bands, low: Doubles, span: Doubles, out: Doubles) -> tuple[int, int]:
    """Write what statistics are made of, ``(quantity, pixel)``; return the sizes of footprint and mismatch.

    Outside the footprint, where a normalised band is 0, NDVI and cloud index are 0 and NSCD lacks its nir term;
    whiteness and HOT do not know of it.
    """
    blue, green, red, nir = bands
    footprint = mismatch = 0
    for i in range(blue.size):
        b, g = (blue[i] - low[0]) / span[0], (green[i] - low[1]) / span[1]
        r, n = (red[i] - low[2]) / span[2], (nir[i] - low[3]) / span[3]
        inside = b != 0 and g != 0 and r != 0 and n != 0
        out[0, i] = _ndvi(r, n) if inside else 0.0
        out[1, i] = _whiteness(b, g, r, PAN)
        out[2, i] = _hot(b, r, 0.45)
        out[3, i] = _cloud_index(b, g, r, n) if inside else 0.0
        out[4, i] = _nscd(b, r, n if inside else 0.0)
        out[5, i] = g
        out[6, i] = n
        footprint += b > 0 and g > 0 and r > 0 and n > 0
        mismatch += ((b != 0) != (g != 0)) or ((g != 0) != (r != 0))
    return footprint, mismatch


@compiled
def tally(values: Doubles, sought: Sought, found: Gathered) -> None:
    """Take in quantities ``(quantity, pixel)``; see `statistics.Tally`."""
    room, inside = np.empty(values.shape[1]), np.zeros(values.shape[1] + 7, np.bool_)
    for q in range(len(values)):
        counted = _counted(values[q], room)
        if not counted.size:
            continue
        found.counts[q] += counted.size
        _extend(counted, found.extremes[q])
        if sought.places[q, 0] > 0:
            _add(counted, sought.places[q], found.sums[q])
        for b in range(sought.first[q], sought.first[q + 1]):
            below, filled = _within(counted, sought.brackets[b], inside, found.kept[b, found.filled[b] :])
            found.below[b] += below
            found.filled[b] += filled


@compiled
def _counted(values: Doubles, room: Doubles) -> Doubles:
    """Return the values that are neither zero nor NaN; mostly these are all."""
    count = 0
    for i in range(values.size):
        count += (values[i] != 0) & (values[i] == values[i])
    if count == values.size:
        return values
    count = 0
    for i in range(values.size):
        room[count] = values[i]
        count += (values[i] != 0) & (values[i] == values[i])
    return room[:count]


@compiled
def _ordered(bits: np.int64) -> np.int64:
    """Turn the bits of doubles into integers in the same order, and back."""
    return bits ^ ((bits >> 63) & BUT_SIGN)


@compiled
def _extend(values: Doubles, extremes: Doubles) -> None:
    found, bits = extremes.view(np.int64), values.view(np.int64)
    low, high = _ordered(found[0]), _ordered(found[1])
    for i in range(bits.size):
        low, high = min(low, _ordered(bits[i])), max(high, _ordered(bits[i]))
    found[0], found[1] = _ordered(low), _ordered(high)


@compiled
def _add(values: Doubles, places: Doubles, sums: Numbers) -> None:
    """Add values and squares, cut at a binary place: what is added to that place shows in its last bits."""
    total = squares = 0
    place, of_squares = places
    zero, zero_squared = places.view(np.int64)
    for i in range(values.size):
        total += np.float64(values[i] + place).view(np.int64) - zero
        squares += np.float64(values[i] * values[i] + of_squares).view(np.int64) - zero_squared
    sums[0] += total
    sums[1] += squares


@compiled
def _within(values: Doubles, bracket: Doubles, inside: npt.NDArray[np.bool_], out: Doubles) -> tuple[int, int]:
    """Write the values of a bracket, few of many; return how many are below it, and how many within."""
    low, high = bracket
    below = filled = 0
    for i in range(values.size):
        inside[i] = (values[i] >= low) & (values[i] <= high)
        below += values[i] < low
    inside[values.size : values.size + 7] = False
    for word, some in enumerate(inside[: (values.size + 7) // 8 * 8].view(np.uint64)):
        if some:  # eight at a time are none
            for i in range(8 * word, 8 * word + 8):
                if inside[i]:
                    out[filled] = values[i]
                    filled += 1
    return below, filled


@compiled
def distinct(values: Doubles) -> tuple[Doubles, Numbers]:
    """Return the distinct values, ascending, and how many there are of each: a radix sort, faster than NumPy's.

    Values of a bracket have most of their leading bits in common; what they differ by is sorted, some bits at a time.
    """
    if not values.size:
        return np.empty(0), np.empty(0, np.int64)
    bits = values.view(np.int64)
    low = high = _ordered(bits[0])
    for i in range(bits.size):
        low, high = min(low, _ordered(bits[i])), max(high, _ordered(bits[i]))
    keys, room = np.empty(bits.size, np.uint64), np.empty(bits.size, np.uint64)
    for i in range(bits.size):
        keys[i] = np.uint64(_ordered(bits[i]) - low)
    for first in range(0, 64, RADIX_BITS):
        shift = np.uint64(first)
        if not np.uint64(high - low) >> shift:
            break
        ends = np.zeros(1 << RADIX_BITS, np.int64)
        for i in range(keys.size):
            ends[keys[i] >> shift & DIGIT] += 1
        for i in range(1, ends.size):
            ends[i] += ends[i - 1]
        for i in range(keys.size - 1, -1, -1):
            digit = keys[i] >> shift & DIGIT
            ends[digit] -= 1
            room[ends[digit]] = keys[i]
        keys, room = room, keys
    found, counts, size = np.empty(keys.size, np.int64), np.zeros(keys.size, np.int64), 0
    for i in range(keys.size):
        if i == 0 or keys[i] != keys[i - 1]:
            found[size] = _ordered(np.int64(keys[i]) + low)
            size += 1
        counts[size - 1] += 1
    return found[:size].view(np.float64), counts[:size]


@compiled
def merge(values: Doubles, counts: Numbers, others: Doubles, of_others: Numbers) -> tuple[Doubles, Numbers]:
    """Merge ascending values, and how many there are of each."""
    merged, numbers = np.empty(values.size + others.size), np.empty(values.size + others.size, np.int64)
    i = j = size = 0
    while i < values.size or j < others.size:
        one = j == others.size or (i < values.size and values[i] <= others[j])
        other = i == values.size or (j < others.size and others[j] <= values[i])
        merged[size] = values[i] if one else others[j]
        numbers[size] = (counts[i] if one else 0) + (of_others[j] if other else 0)
        i, j, size = i + one, j + other, size + 1
    return merged[:size], numbers[:size]


@compiled
def classes(  # noqa: PLR0917 - compiled functions have no other arguments
    bands: Bands, low: Doubles, span: Doubles, limits: SceneLimits, codes: Layer, out: tuple[Layer, Layer]
) -> tuple[int, int, int, int, int, int]:
    """Write the code of each pixel's class (clear, cloud, shadow, no data), and whether it is water.

    Shadow wins over cloud. Return how many pixels have each of the codes, are cloud in shadow or not, and water.
    """
    blue, green, red, nir = bands
    clear_code, cloud_code, shadow_code, no_data = codes
    mask, waters = out
    valid = seen = shaded = cloudy = wet = 0
    for i in range(blue.size):
        b, g = (blue[i] - low[0]) / span[0], (green[i] - low[1]) / span[1]
        r, n = (red[i] - low[2]) / span[2], (nir[i] - low[3]) / span[3]
        ndvi = _ndvi(r, n)
        # NaN fails every test.
        inside = (b > 0) & (g > 0) & (r > 0) & (n > 0)
        cloud = inside & (limits.ndvi_low < ndvi) & (ndvi < limits.ndvi_high)
        cloud &= (_whiteness(b, g, r, PAN) < limits.whiteness) & (_hot(b, r, 0.45) > limits.hot)
        cloud &= (_cloud_index(b, g, r, n) < limits.cloud_index) & (_nscd(b, r, n) > limits.nscd)
        water = (ndvi < limits.clear_water_ndvi) & (n < limits.clear_water_nir)
        water |= (ndvi < limits.turbid_water_ndvi) & (n < limits.turbid_water_nir)
        water &= inside
        shadow = inside & (g < limits.green) & (n < limits.nir) & (not water)
        mask[i] = (shadow_code if shadow else cloud_code if cloud else clear_code) if inside else no_data
        waters[i] = water if inside else NO_DATA
        valid += inside
        seen += cloud & (not shadow)
        shaded += shadow
        cloudy += cloud
        wet += water
    return valid - seen - shaded, seen, shaded, blue.size - valid, cloudy, wet
