"""How a scene-context pipeline meets a chunked array: pass after pass over a scene, scene by scene.

A chunk of dates is a scene (or several) of its own. In each pass a task per chunk measures, the results are added in a
tree, and what they tell is known to the next pass. Each pass reads its chunks anew: were they shared between passes,
dask would have to hold a whole scene in memory until the last one is done. That is why the cube's own tasks are in this
graph once per pass, each of them waiting for the pass before. Chunks that are in memory are shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add, getitem
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.nodata import FULL, NUMBERS, fill_of_all
from xr_cloudmask.engine.lazy import bounds_of
from xr_cloudmask.models import registry
from xr_cloudmask.models.base import ModelSpec, ScenePipeline

BELOW_ZERO = -1e-30  # the pipelines know of zeros themselves
MERGED = 8  # partial results added by one task
STRIP = 1 << 21  # pixels of a task, where the cube is in memory


@dataclass(frozen=True)
class SceneJob:
    """Everything that the tasks of one prediction share.

    Attributes
    ----------
    spec : ModelSpec
        Of a pipeline with ``context="scene"``.
    nodata : tuple of tuple of float
        For each band, in the model's order, the values that mark missing pixels; NaN and infinities always do.
    shape : tuple of int
        ``(y, x)`` of the cube.
    codes : tuple of int
        What stands in the mask for each of the spec's classes, and for no data; for pipelines that have classes.
    """

    spec: ModelSpec
    nodata: tuple[tuple[float, ...], ...]
    shape: tuple[int, int]
    codes: tuple[int, ...] = ()

    def pipeline(self) -> ScenePipeline:
        """Return this process's copy of the pipeline."""
        return registry.load_pipeline(self.spec)


@dataclass(frozen=True)
class SceneResult:
    """What a pipeline finds in a cube.

    Attributes
    ----------
    layers : mapping of str to array
        ``(date, y, x)`` each: what `ScenePipeline.classify` returns.
    counts : array
        int64 ``(date, count)``: what it counts.
    statistics : array
        float64 ``(date, statistic)``.
    """

    layers: Mapping[str, Any]
    counts: Any
    statistics: Any


def examine(job: SceneJob, bands: Sequence[Any]) -> SceneResult:
    """Run a scene-context pipeline over every date of a cube.

    Parameters
    ----------
    job : SceneJob
    bands : sequence of dask arrays
        ``(date, y, x)`` or ``(y, x)`` each, in the model's order; `chunked` makes them of any arrays.

    Returns
    -------
    SceneResult
        Lazy, with the chunks of the bands.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    source = _CubeTasks.of(bands)
    chunks = ((1,), *bands[0].chunks)[-3:]
    token = tokenize(job, [band.name for band in bands])
    pipeline = job.pipeline()
    statistics, counted = pipeline.statistics, pipeline.counted
    layer: dict[Any, Any] = {f"scene-job-{token}": job}
    for t in range(len(chunks[0])):
        _add_dates(layer, source, chunks, t, token=token, passes=pipeline.passes)
    found = f"scene-found-{token}"
    dates, blocks = range(len(chunks[0])), list(product(*(range(len(sizes)) for sizes in chunks)))

    def array(name: str, tasks: dict[Any, Any], dtype: str, *tail: tuple[int, ...]) -> Any:
        tasks = {(f"{name}-{token}", *key): task for key, task in tasks.items()}
        graph = HighLevelGraph({found: layer, f"{name}-{token}": tasks}, {found: set(), f"{name}-{token}": {found}})
        whole = (chunks[0], *tail)
        return da.Array(graph, f"{name}-{token}", whole, meta=np.empty((0,) * len(whole), dtype))

    def table(name: str, width: int, dtype: str) -> Any:
        return array(name, {(t, 0): (np.stack, (f"{name}-of-date-{token}", t)) for t in dates}, dtype, (width,))

    return SceneResult(
        {
            name: array(f"scene-{name}", {at: (getitem, (found, *at), i) for at in blocks}, pipeline.dtype, *chunks[1:])
            for i, name in enumerate(pipeline.layers)
        },
        counts=table("scene-counts", len(counted), "int64"),
        statistics=table("scene-statistics", len(statistics), "float64"),
    )


def chunked(bands: Sequence[Any]) -> list[Any]:
    """Return bands as dask arrays with the same chunks: the first one's, or strips where all are in memory."""
    import dask.array as da

    chunks = next((band.chunks for band in bands if hasattr(band, "chunks")), None)
    if chunks is None:
        *dates, _, columns = bands[0].shape
        chunks = da.core.normalize_chunks((*(1 for _ in dates), max(1, STRIP // columns), columns), bands[0].shape)
        return [_views(band, chunks) for band in bands]
    return [
        da.from_array(band, chunks=chunks) if isinstance(band, np.ndarray) else band.rechunk(chunks) for band in bands
    ]


def _views(band: npt.NDArray[Any], chunks: tuple[tuple[int, ...], ...]) -> Any:
    """Return a dask array of an array that stays what it is while it is needed, without copying or hashing it."""
    import dask.array as da

    name = f"scene-band-{uuid4().hex}"
    at = product(*(range(len(sizes)) for sizes in chunks))
    parts = (band[part] for part in da.core.slices_from_chunks(chunks))
    return da.Array({(name, *key): part for key, part in zip(at, parts, strict=True)}, name, chunks, band.dtype)


def _add_dates(
    layer: dict[Any, Any],
    source: _CubeTasks,
    chunks: tuple[tuple[int, ...], ...],
    t: int,
    *,
    token: str,
    passes: int,
) -> None:
    """Add every pass over one chunk of dates, and what comes of them."""
    job_key, known = f"scene-job-{token}", None
    starts = [bounds_of(sizes)[:-1] for sizes in chunks[1:]]
    blocks = [(t, i, j) for i in range(len(starts[0])) for j in range(len(starts[1]))]
    reading, held = source.needed(blocks)
    layer |= held

    def inputs(step: int) -> Iterator[tuple[tuple[int, int, int], list[Any]]]:
        """Read the scene once more; yield its blocks, and where their bands are."""
        suffix = f"{t}-{step}-{token}"
        layer.update(_copies(reading, suffix, known))
        for block in blocks:
            keys = source.keys(block)
            yield block, [_renamed(key, suffix) if key in reading else key for key in keys]

    for step in range(passes):
        parts = []
        for block, bands in inputs(step):
            key = (f"scene-measure-{step}-{token}", *block)
            origin = (starts[0][block[1]], starts[1][block[2]])
            layer[key] = (_measure, job_key, bands, known, origin)
            parts.append(key)
        merged = _add_merges(layer, parts, f"scene-merge-{step}-{token}", t)
        concluded = (f"scene-known-{step}-{token}", t)
        layer[concluded] = (_conclude, job_key, merged, known)
        known = concluded
    parts = []
    for block, bands in inputs(passes):
        found, counts = (f"scene-found-{token}", *block), (f"scene-count-{token}", *block)
        layer[found] = (_classify, job_key, bands, known)
        layer[counts] = (getitem, found, -1)  # by itself: what is added later holds no layers
        parts.append(counts)
    layer[f"scene-counts-of-date-{token}", t] = _add_merges(layer, parts, f"scene-merge-counts-{token}", t)
    layer[f"scene-statistics-of-date-{token}", t] = (_tabulate, job_key, known)


@dataclass(frozen=True)
class _CubeTasks:
    """The cube's own tasks, fused as dask would fuse them, and the names of its bands."""

    graph: Mapping[Any, Any]
    names: tuple[str, ...]
    dims: int

    @classmethod
    def of(cls, bands: Sequence[Any]) -> _CubeTasks:
        from dask.base import optimize

        fused = optimize(*bands)
        graph = {key: task for band in fused for key, task in band.__dask_graph__().items()}
        return cls(graph, tuple(band.name for band in fused), fused[0].ndim)

    def keys(self, chunk: tuple[int, int, int]) -> list[Any]:
        """Return where the bands of a chunk ``(t, y, x)`` are."""
        return [(name, *chunk[-self.dims :]) for name in self.names]

    def needed(self, chunks: Iterable[tuple[int, int, int]]) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Return the tasks that chunks of all bands come from, and the data among them, which nobody has to read."""
        from dask._task_spec import DataNode

        waiting: list[Any] = [key for chunk in chunks for key in self.keys(chunk)]
        found: dict[Any, Any] = {}
        while waiting:
            key = waiting.pop()
            if key not in found and key in self.graph:
                found[key] = self.graph[key]
                waiting.extend(found[key].dependencies)
        held = {key: task for key, task in found.items() if isinstance(task, DataNode)}
        return {key: task for key, task in found.items() if key not in held}, held


def _copies(tasks: Mapping[Any, Any], suffix: str, after: Any) -> dict[Any, Any]:
    """Return tasks under other names; those that wait for no other one wait for `after`."""
    renamed = {key: _renamed(key, suffix) for key in tasks}
    copies = {}
    for key, task in tasks.items():
        copy = task.substitute(renamed, key=renamed[key])
        is_root = not any(dependency in tasks for dependency in task.dependencies)
        copies[renamed[key]] = (_when, after, copy) if is_root and after is not None else copy
    return copies


def _renamed(key: Any, suffix: str) -> Any:
    return (f"{key[0]}-{suffix}", *key[1:]) if isinstance(key, tuple) else f"{key}-{suffix}"


def _when(after: Any, value: Any) -> Any:  # noqa: ARG001 - waiting is all it is there for
    return value


def _add_merges(layer: dict[Any, Any], parts: list[Any], name: str, t: int) -> Any:
    """Add partial results in a tree; return the key of the root."""
    level = 0
    while len(parts) > 1 or level == 0:
        groups = [parts[i : i + MERGED] for i in range(0, len(parts), MERGED)]
        keys = [(name, t, level, i) for i in range(len(groups))]
        layer |= {key: (_merge, group) for key, group in zip(keys, groups, strict=True)}
        parts, level = keys, level + 1
    return parts[0]


# What the tasks do. Partial results and what is known are lists, an entry per date of the chunk.


def _measure(job: SceneJob, blocks: Sequence[npt.NDArray[Any]], known: Any, origin: tuple[int, int]) -> list[Any]:
    pipeline = job.pipeline()
    dates = _dates(job, blocks)
    before = known or [None] * len(dates)
    return [pipeline.measure(bands, one, origin, job.shape) for bands, one in zip(dates, before, strict=True)]


def _merge(parts: Sequence[list[Any]]) -> list[Any]:
    return [reduce(add, of_date) for of_date in zip(*parts, strict=True)]


def _conclude(job: SceneJob, merged: list[Any], known: Any) -> list[Any]:
    before = known or [None] * len(merged)
    return [job.pipeline().conclude(*pair) for pair in zip(merged, before, strict=True)]


def _tabulate(job: SceneJob, known: list[Any]) -> list[npt.NDArray[np.float64]]:
    return [job.pipeline().table(scene) for scene in known]


def _classify(job: SceneJob, blocks: Sequence[npt.NDArray[Any]], known: list[Any]) -> tuple[Any, ...]:
    """Return the layers ``(date, y, x)``, and the counts of each date."""
    pipeline = job.pipeline()
    of_dates = [pipeline.classify(bands, one, job.codes) for bands, one in zip(_dates(job, blocks), known, strict=True)]
    layers, counts = zip(*of_dates, strict=True)
    return *map(np.stack, zip(*layers, strict=True)), list(counts)


def _dates(job: SceneJob, blocks: Sequence[npt.NDArray[Any]]) -> list[tuple[npt.NDArray[Any], ...]]:
    """Return the bands of each date, with NaN where there are no data."""
    dated = [block.reshape(-1, *block.shape[-2:]) for block in map(np.asarray, blocks)]
    fill = fill_of_all(dated, FULL, BELOW_ZERO)
    bands = [_with_nan(block, nodata, fill) for block, nodata in zip(dated, job.nodata, strict=True)]
    return list(zip(*bands, strict=True))


def _with_nan(
    values: npt.NDArray[Any], nodata: Sequence[float], fill: npt.NDArray[np.bool_] | None
) -> npt.NDArray[Any]:
    missing = np.zeros((), bool) if fill is None else fill
    low, high = map(np.float64, NUMBERS)
    if values.dtype.kind != "u" and not (values.min() > low and values.max() < high):  # NaN, too
        missing = missing | ~((values > low) & (values < high))
    for number in nodata:
        missing = missing | (values == number)
    values = np.where(missing, np.nan, values) if missing.any() else values
    # Compiled code knows numbers in the machine's own byte order, of single precision at least.
    return values if values.dtype.isnative and values.dtype != np.float16 else values.astype("float64")
