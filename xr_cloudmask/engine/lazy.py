"""Windows over a chunked array: one task per tile, one per chunk of the result. `scenes` is its sibling for scenes.

A tile task takes the cube's own chunks, so that neither a rechunk nor an overlap layer stands between the data and the
model; a second task per output chunk cuts the tiles back to the cube's chunks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.engine.lattice import tiles
from xr_cloudmask.engine.tile import DROPPED, NO_VOTES, Job, Tile, predict_tile, reads, writes
from xr_cloudmask.names import AGREEMENT_NAME, CLASS_NAME, DROPPED_FRACTION, MASK_NAME, PROBABILITY_NAME

MOST_WINDOWS = 3  # per tile and axis: bounds the float32 a task holds where a cube has huge chunks or none

Grid = tuple[tuple[tuple[int, int], ...], ...]  # window ranges of the tiles along rows and columns
Bounds = tuple[int, ...]  # where the chunks of an axis begin, and its length
Blocks = tuple[Any, Any | None, Any, Any | None]  # labels, probabilities, counts of what was dropped, votes


@dataclass(frozen=True)
class _Cut:
    """The part of joined chunks that is wanted."""

    rows: slice
    columns: slice


@dataclass(frozen=True)
class _Work:
    """A tile, and where its pixels lie within the chunks of each band."""

    tile: Tile
    cuts: tuple[_Cut, ...]
    probabilities: bool


def predict_blocks(
    job: Job, bands: Sequence[Any], probabilities: bool, cache: str | os.PathLike[str] | None = None
) -> Blocks:
    """Predict a cube: labels ``(date, y, x)`` and, if asked for, probabilities ``(date, class, y, x)``.

    Parameters
    ----------
    job : Job
    bands : sequence of arrays
        ``(date, y, x)`` each, in the job's order. NumPy arrays are predicted now, dask arrays when computed; bands
        may have chunks of their own.
    probabilities : bool
    cache : path, optional
        Address of a Zarr store that keeps every chunk as it is made.

    Returns
    -------
    labels : array
        uint8; for dask input with the chunks of the first band, made regular for a cache.
    probabilities : array or None
        float32, NaN where no data.
    dropped : array
        int64 ``(date,)``: pixels whose values can be no measurement, and became no data.
    votes : array or None
        uint8 ``(date, y, x)``: networks of an ensemble that agree with the label, where the job asks; `NO_VOTES` where
        no data.
    """
    if not all(isinstance(band, np.ndarray) for band in bands):
        return _predict_later(job, bands, probabilities, cache)
    if cache is None:
        return _predict_now(job, bands, probabilities)
    import dask.array as da

    dates = [da.from_array(band, chunks=(1, *band.shape[1:])) for band in bands]
    labels, chances, dropped, votes = da.compute(*_predict_later(job, dates, probabilities, cache), scheduler="threads")
    return labels, chances, dropped, votes


def _predict_now(job: Job, bands: Sequence[npt.NDArray[Any]], probabilities: bool) -> Blocks:
    dates, *shape = bands[0].shape
    labels = np.empty((dates, *shape), "uint8")
    chances = np.empty((dates, len(job.to_labels.names), *shape), "float32") if probabilities else None
    votes = np.empty((dates, *shape), "uint8") if job.judged else None
    rows, columns = (pairwise(tiles(axis, job.factor, (), MOST_WINDOWS)) for axis in (job.rows, job.columns))
    for date, row, column in product(range(dates), list(rows), list(columns)):
        tile = Tile(date, row, column)
        part = [band[date : date + 1, *reads(job, tile)] for band in bands]
        target = (slice(date, date + 1), *writes(job, tile))
        labels[target], some, said = predict_tile(job, tile, part, probabilities)
        if chances is not None:
            chances[target[0], :, *target[1:]] = some
        if votes is not None:
            votes[target] = said
    return _labels(labels, job.to_labels.no_data), chances, _dropped(labels)[:, 0, 0], votes


def _predict_later(job: Job, bands: Sequence[Any], probabilities: bool, cache: str | os.PathLike[str] | None) -> Blocks:
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    chunks = next(band.chunks for band in bands if hasattr(band, "chunks"))
    if cache is not None:
        from xr_cloudmask.engine import cache as store

        url, chunks = store.url_of(cache), store.regular(chunks)
    # Bands share the chunks of dates; in space the tiles cope with whatever each band has.
    bands = [_as_dask(band, chunks) for band in bands]
    names = [band.name for band in bands]
    token = tokenize(job, names, probabilities, chunks, None if cache is None else url)
    tile_name, job_name = f"predict-tile-{token}", f"predict-job-{token}"
    grid = _tile_grid(job, chunks)
    layer = _tile_layer(job, bands, grid, name=tile_name, job_name=job_name, probabilities=probabilities)
    graph = HighLevelGraph.from_collections(tile_name, layer, dependencies=bands)

    def output(name: str, dims: tuple[str, ...], whole: Any, tasks: Any, *, dtype: str, fill: float) -> Any:
        key = f"{name}-{token}"
        outer: Any = {(key, *index): task for index, task in tasks.items()}
        if cache is not None:
            # Labels depend neither on the batches nor on the device.
            made = tokenize(replace(job, batch_size=None, device=None), names, probabilities, chunks)
            group = f"{made}-{version('xr-cloudmask')}"
            outer = store.KeptLayer(
                outer, store.KeptArray(url, group, name, dims, whole, dtype, fill), array_of(key, outer, whole, dtype)
            )
        return array_of(key, outer, whole, dtype)

    def array_of(key: str, outer: Any, whole: Any, dtype: str) -> Any:
        layers, dependencies = {**graph.layers, key: outer}, {**graph.dependencies, key: {tile_name}}
        return da.Array(HighLevelGraph(layers, dependencies), key, whole, meta=np.empty((0,) * len(whole), dtype))

    parts, laid = _Parts(job, grid, chunks, tile_name), ("time", "y", "x")
    coded, no_data = parts.cut(0, ()), job.to_labels.no_data
    if cache is None:
        labels = output(MASK_NAME, laid, chunks, _each(coded, _labels, no_data), dtype="uint8", fill=no_data)
        ones = (chunks[0], *((1,) * len(sizes) for sizes in chunks[1:]))
        counts = output(DROPPED_FRACTION, laid, ones, _each(coded, _dropped), dtype="int64", fill=0)
    else:  # what is kept tells both
        kept = output(MASK_NAME, laid, chunks, coded, dtype="uint8", fill=no_data)
        labels, counts = _mapped(kept, _labels, no_data), _mapped(kept, _dropped)
    dropped = counts.sum(axis=(1, 2), split_every=8)
    votes = None
    if job.judged:
        votes = output(AGREEMENT_NAME, laid, chunks, parts.cut(2, ()), dtype="uint8", fill=NO_VOTES)
    if not probabilities:
        return labels, None, dropped, votes
    whole, dims = (chunks[0], (len(job.to_labels.names),), *chunks[1:]), ("time", CLASS_NAME, "y", "x")
    chances = output(PROBABILITY_NAME, dims, whole, parts.cut(1, (0,)), dtype="float32", fill=np.nan)
    return labels, chances, dropped, votes


def _each(tasks: dict[Any, Any], function: Callable[..., Any], *arguments: Any) -> dict[Any, Any]:
    return {index: (function, task, *arguments) for index, task in tasks.items()}


def _mapped(coded: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Apply `_labels` or `_dropped` to every chunk of an array."""
    made = function(np.empty((1, 2, 2), "uint8"), *arguments)
    ones = (coded.chunks[0], *((1,) * count for count in coded.numblocks[1:]))
    chunks = coded.chunks if made.shape == (1, 2, 2) else ones
    return coded.map_blocks(function, *arguments, dtype=made.dtype, chunks=chunks, meta=made[:0, :0, :0])


def _labels(coded: npt.NDArray[np.uint8], no_data: int) -> npt.NDArray[np.uint8]:
    beyond = coded == DROPPED
    return np.where(beyond, np.uint8(no_data), coded) if beyond.any() else coded


def _dropped(coded: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    return np.asarray(np.sum(coded == DROPPED, axis=(1, 2), keepdims=True), "int64")


def _as_dask(band: Any, chunks: tuple[tuple[int, ...], ...]) -> Any:
    import dask.array as da

    if isinstance(band, np.ndarray):
        return da.from_array(band, chunks=chunks)
    return band if band.chunks[0] == chunks[0] else band.rechunk({0: chunks[0]})


def _tile_grid(job: Job, chunks: tuple[tuple[int, ...], ...]) -> Grid:
    """Return the window ranges of the tiles along rows and columns."""
    return tuple(
        tuple(pairwise(tiles(axis, job.factor, tuple(accumulate(sizes))[:-1], MOST_WINDOWS)))
        for axis, sizes in zip((job.rows, job.columns), chunks[1:], strict=True)
    )


def _tile_layer(
    job: Job,
    bands: Sequence[Any],
    grid: Grid,
    *,
    name: str,
    job_name: str,
    probabilities: bool,
) -> dict[Any, Any]:
    layer: dict[Any, Any] = {job_name: job}
    first_dates = bounds_of(bands[0].chunks[0])
    bounds = [(bounds_of(band.chunks[1]), bounds_of(band.chunks[2])) for band in bands]
    for (i, row), (j, column) in product(enumerate(grid[0]), enumerate(grid[1])):
        read = reads(job, Tile(0, row, column))
        covers = [tuple(_cover(b, part) for b, part in zip(band, read, strict=True)) for band in bounds]
        cuts = tuple(_Cut(rows[1], columns[1]) for rows, columns in covers)
        for t, date in enumerate(first_dates[:-1]):
            blocks = [
                [[(band.name, t, y, x) for x in columns[0]] for y in rows[0]]
                for band, (rows, columns) in zip(bands, covers, strict=True)
            ]
            work = _Work(Tile(date, row, column), cuts, probabilities)
            layer[name, t, i, j] = (_run_tile, job_name, work, blocks)
    return layer


def _run_tile(job: Job, work: _Work, blocks: Any) -> Any:
    bands = [_joined(block, cut) for block, cut in zip(blocks, work.cuts, strict=True)]
    return predict_tile(job, work.tile, bands, work.probabilities)


def _joined(blocks: list[list[npt.NDArray[Any]]], cut: _Cut) -> npt.NDArray[Any]:
    """Return a part of a grid of blocks ``(..., y, x)``: a view of one, else a copy of what is wanted alone."""
    if len(blocks) == len(blocks[0]) == 1:
        return np.asarray(blocks[0][0])[..., cut.rows, cut.columns]
    rows = _meeting(cut.rows, [row[0].shape[-2] for row in blocks])
    columns = _meeting(cut.columns, [block.shape[-1] for block in blocks[0]])
    first = blocks[0][0]
    shape = (*first.shape[:-2], cut.rows.stop - cut.rows.start, cut.columns.stop - cut.columns.start)
    out = np.empty(shape, first.dtype)
    for row, (from_rows, to_rows) in zip(blocks, rows, strict=True):
        for block, (from_columns, to_columns) in zip(row, columns, strict=True):
            out[..., to_rows, to_columns] = block[..., from_rows, from_columns]
    return out


def _meeting(wanted: slice, sizes: Sequence[int]) -> list[tuple[slice, slice]]:
    """Return, for each block along an axis, what is wanted of it and where that lies in what is wanted."""
    out = []
    for begin, end in pairwise(bounds_of(sizes)):
        low, high = max(begin, wanted.start), min(end, wanted.stop)
        out.append((slice(low - begin, high - begin), slice(low - wanted.start, high - wanted.start)))
    return out


@dataclass(frozen=True)
class _Parts:
    """The tiles, and how what they make is put together: tasks by the index of a chunk."""

    job: Job
    grid: Grid
    chunks: tuple[tuple[int, ...], ...]
    tile_name: str

    def cut(self, index: int, middle: tuple[int, ...]) -> dict[Any, Any]:
        """Cut the tiles back to the cube's chunks."""
        lines = [
            _bounds_of_tiles(axis.edges, self.job.factor, size, ranges)
            for axis, ranges, size in zip((self.job.rows, self.job.columns), self.grid, self.job.shape, strict=True)
        ]
        rows, columns = (
            [_cover(line, slice(a, b)) for a, b in pairwise(bounds_of(sizes))]
            for line, sizes in zip(lines, self.chunks[1:], strict=True)
        )
        tasks: dict[Any, Any] = {}
        for (y, (tile_rows, row_cut)), (x, (tile_columns, column_cut)) in product(enumerate(rows), enumerate(columns)):
            cut = _Cut(row_cut, column_cut)
            for t in range(len(self.chunks[0])):
                parts = [[(self.tile_name, t, i, j) for j in tile_columns] for i in tile_rows]
                tasks[t, *middle, y, x] = (_assemble, parts, index, cut)
        return tasks


def _assemble(parts: list[list[Any]], index: int, cut: _Cut) -> npt.NDArray[Any]:
    # A view would keep the whole tile alive for as long as the chunk lives.
    return np.ascontiguousarray(_joined([[result[index] for result in row] for row in parts], cut))


def bounds_of(sizes: Sequence[int]) -> Bounds:
    """Return where the chunks of an axis begin, and its length."""
    return (0, *accumulate(sizes))


def _bounds_of_tiles(edges: Sequence[int], factor: int, size: int, ranges: Sequence[tuple[int, int]]) -> Bounds:
    return (0, *(min(edges[last] * factor, size) for _, last in ranges))


def _cover(bounds: Bounds, part: slice) -> tuple[range, slice]:
    """Return the chunks that hold a stretch of pixels, and where it lies within them."""
    first = max(i for i, begin in enumerate(bounds[:-1]) if begin <= part.start)
    last = min(i for i, end in enumerate(bounds) if end >= part.stop)
    return range(first, last), slice(part.start - bounds[first], part.stop - bounds[first])
