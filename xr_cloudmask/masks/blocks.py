"""Confusion matrices of square blocks of pixels: what intervals are drawn from, the same for all chunks."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 64  # pixels of a block's side
LARGEST = 1 << 15  # whose pixels can be counted in int32


def of_blocks(
    reference: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8], size: tuple[int, int], block: int = BLOCK
) -> npt.NDArray[np.int32]:
    """Count the pairs of classes in every block.

    Parameters
    ----------
    reference, found : ndarray
        uint8 ``(date, y, x)``; places in some classes. What lies beyond `size` in either is left out.
    size : tuple of int
        How many classes the reference and the mask have.
    block : int
        Pixels of a block's side.

    Returns
    -------
    ndarray
        int32 ``(date, block along y, block along x, class of the reference × class found)``.
    """
    rows, columns = size
    dates, height, width = reference.shape
    across = -(-width // block)
    counts = np.zeros((dates, -(-height // block), across, rows * columns), "int32")
    column = np.arange(width) // block * (rows * columns)
    for date in range(dates):
        for row, top in enumerate(range(0, height, block)):  # strips fit the cache
            strip = np.s_[date, top : top + block]
            both = (reference[strip] < rows) & (found[strip] < columns)
            pairs = reference[strip].astype("int64") * columns + found[strip] + column
            drawn = np.bincount(pairs[both], minlength=across * rows * columns)
            counts[date, row] = drawn.reshape(across, rows * columns)
    return counts


def counted(reference: Any, found: Any, size: tuple[int, int], block: int) -> Any:
    """Return `of_blocks` of two arrays, lazily where one of them is."""
    if isinstance(reference, np.ndarray) and isinstance(found, np.ndarray):
        return of_blocks(reference, found, size, block)
    import dask.array as da

    reference, found = da.asarray(reference), da.asarray(found)
    chunks = (found.chunks[0], *(_whole(along, block) for along in found.chunks[1:]))
    pair = [each.rechunk(chunks) for each in (reference, found)]
    made = (chunks[0], *(tuple(-(-length // block) for length in along) for along in chunks[1:]), (size[0] * size[1],))
    count = partial(_block_of, size=size, block=block)
    return da.map_blocks(count, *pair, dtype="int32", chunks=made, new_axis=3, meta=np.empty((0,) * 4, "int32"))


def _block_of(reference: Any, found: Any, *, size: tuple[int, int], block: int) -> npt.NDArray[np.int32]:
    return of_blocks(reference, found, size, block)


def _whole(chunks: tuple[int, ...], block: int) -> tuple[int, ...]:
    """Return chunks that end where blocks do, about as large as they were."""
    length, step = sum(chunks), max(1, round(max(chunks) / block)) * block
    return tuple(min(step, length - start) for start in range(0, length, step))
