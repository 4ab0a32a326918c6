"""What a task does to every pixel of the cube, compiled; imported late. NumPy takes five times as long."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xr_cloudmask.compiled import compiled

NAN, INF, ZERO, ONE = (np.float32(number) for number in (np.nan, np.inf, 0, 1))


@compiled
def mark(
    values: npt.NDArray[np.float32],
    blank: npt.NDArray[np.bool_],
    valid: npt.NDArray[np.bool_],
    dropped: npt.NDArray[np.bool_],
) -> None:
    """Make flat values NaN where they are blank or not finite; those pixels are not valid, infinite ones dropped."""
    for i in range(values.size):
        beyond = abs(values[i]) == INF
        missing = blank[i] | beyond | (values[i] != values[i])
        values[i] = NAN if missing else values[i]
        valid[i] &= not missing
        dropped[i] |= beyond


@compiled
def block_mean(values: npt.NDArray[np.float32], factor: int, out: npt.NDArray[np.float32]) -> None:
    """Average blocks of ``factor × factor`` pixels ``(y, x)``, leaving out NaN; the mean of nothing is NaN."""
    rows, columns = values.shape
    total, count = np.empty(out.shape[1], np.float32), np.empty(out.shape[1], np.float32)
    for row in range(len(out)):
        total[:] = ZERO
        count[:] = ZERO
        for y in range(row * factor, min((row + 1) * factor, rows)):
            line = values[y]
            for first in range(min(factor, columns)):
                for column in range((columns - first + factor - 1) // factor):
                    value = line[column * factor + first]
                    there = abs(value) < INF
                    total[column] += value if there else ZERO
                    count[column] += ONE if there else ZERO
        for column in range(out.shape[1]):
            out[row, column] = total[column] / count[column]


@compiled
def add(values: npt.NDArray[np.float32], total: npt.NDArray[np.float32], count: npt.NDArray[np.float32]) -> None:
    """Add flat values to `total`, and 1 to `count`, where they are finite."""
    for i in range(values.size):
        there = abs(values[i]) < INF
        total[i] += values[i] if there else ZERO
        count[i] += ONE if there else ZERO
