"""The window lattice: which windows cover an axis, and which pixels of the result each of them decides.

It depends on the size of the whole array alone, never on its chunks: that is what makes masks chunk-exact. All windows
lie inside the array, so only an array smaller than a window is ever padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xr_cloudmask.errors import ModelError


@dataclass(frozen=True)
class Axis:
    """The windows along one axis, in model pixels.

    Attributes
    ----------
    size : int
        Length of the axis.
    window : int
        Length of every window; more than `size` where the axis is shorter than the smallest window.
    starts : tuple of int
        First pixel of every window.
    edges : tuple of int
        Window ``i`` decides pixels ``edges[i]`` to ``edges[i + 1]``.
    """

    size: int
    window: int
    starts: tuple[int, ...]
    edges: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Return the pixels that windows ``first`` to ``last`` (exclusive) see."""
        return self.starts[first], min(self.starts[last - 1] + self.window, self.size)


def fit(size: int, window: int, halo: int, multiple: int) -> Axis:
    """Cover an axis with the fewest windows, and make those no larger than they need to be.

    Parameters
    ----------
    size : int
        Length of the axis, at least 1.
    window : int
        Largest window allowed.
    halo : int
        Margin of a window whose result is discarded, except at the ends of the axis.
    multiple : int
        The window's length is a multiple of this.

    Examples
    --------
    >>> fit(1000, window=512, halo=32, multiple=32)
    Axis(size=1000, window=384, starts=(0, 320, 616), edges=(0, 352, 672, 1000))
    >>> fit(5, window=512, halo=32, multiple=32)
    Axis(size=5, window=32, starts=(0,), edges=(0, 5))
    """
    if not (window >= multiple and window % multiple == 0 and 0 <= 2 * halo < window):
        raise ModelError(
            f"window={window}, halo={halo}",
            f"a window that is a multiple of {multiple}, and a halo from 0 to less than half of it",
            f"predict(window={max(multiple, round(window / multiple) * multiple)}, halo={min(32, multiple // 4)})",
        )
    if size <= window:
        return Axis(size, _round_up(size, multiple), (0,), (0, size))
    inner = size - 2 * halo  # the first and the last window also decide the margins at the ends
    count = -(-inner // (window - 2 * halo))
    window = min(window, _round_up(-(-inner // count) + 2 * halo, multiple))
    stride = window - 2 * halo
    starts = tuple(min(i * stride, size - window) for i in range(count))
    edges = (0, *(halo + i * stride for i in range(1, count)), size)
    return Axis(size, window, starts, edges)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def tiles(axis: Axis, factor: int, boundaries: Sequence[int], most: int) -> tuple[int, ...]:
    """Group the windows of an axis into the tiles that tasks work on.

    Parameters
    ----------
    axis : Axis
    factor : int
        Cube pixels per model pixel.
    boundaries : sequence of int
        Where the cube's chunks end, in cube pixels. Tiles end at the window edges nearest to them, so that every
        window is predicted exactly once and a tile reads little besides its own chunk.
    most : int
        Windows per tile at most.

    Returns
    -------
    tuple of int
        Positions among the windows where tiles begin, and the number of windows.

    Examples
    --------
    >>> tiles(fit(4000, 512, 32, 32), 1, [2048, 4000], most=4)
    (0, 4, 8, 9)
    """
    count = len(axis.starts)
    begins = {min(range(count + 1), key=lambda i: abs(axis.edges[i] * factor - end)) for end in boundaries}
    begins |= {0, count}
    ordered = sorted(begins)
    out = {i for a, b in pairwise(ordered) for i in range(a, b, most)}
    return (*sorted(out), count)


def batches(rows: range, columns: range, size: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the windows of a tile, row by row, `size` at a time."""
    windows = [(i, j) for i in rows for j in columns]
    for begin in range(0, len(windows), size):
        yield windows[begin : begin + size]
