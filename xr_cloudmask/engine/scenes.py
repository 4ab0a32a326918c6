"""How a scene-context pipeline meets a chunked array: pass after pass over a scene, scene by scene.

A chunk of dates is a scene (or several) of its own. In each pass a task per chunk measures, the results are added in a
tree, and what they tell is known to the next pass. Each pass reads its chunks anew: were they shared between passes,
dask would have to hold a whole scene in memory until the last one is done. That is why the cube's own tasks are in this
graph once per pass, each of them waiting for the pass before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.engine.lazy import bounds_of
from xr_cloudmask.models import registry
from xr_cloudmask.models.base import ModelSpec, ScenePipeline

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
    """

    spec: ModelSpec
    nodata: tuple[tuple[float, ...], ...]
    shape: tuple[int, int]

    def pipeline(self) -> ScenePipeline:
        """Return this process's copy of the pipeline."""
        return registry.load_pipeline(self.spec)


@dataclass(frozen=True)
class SceneResult:
    """What a pipeline finds in a cube.

    Attributes
    ----------
    layers : array
        ``(date, layer, y, x)``: what `ScenePipeline.classify` returns.
    statistics : array
        float64 ``(date, statistic)``.
    """

    layers: Any
    statistics: Any


def examine(job: SceneJob, bands: Sequence[Any]) -> SceneResult:
    """Run a scene-context pipeline over every date of a cube.

    Parameters
    ----------
    job : SceneJob
    bands : sequence of dask arrays
        ``(date, y, x)`` each, in the model's order; `chunked` makes them of any arrays.

    Returns
    -------
    SceneResult
        Lazy, with the chunks of the bands.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    pipeline = job.pipeline()
    chunks = bands[0].chunks
    token = tokenize(job, [band.name for band in bands])
    source = _Source.of(bands)
    layer: dict[Any, Any] = {f"scene-job-{token}": job}
    for t in range(len(chunks[0])):
        _add_dates(layer, source, chunks, t, token=token, passes=pipeline.passes)

    def array(name: str, middle: int, dtype: str, tail: tuple[tuple[int, ...], ...]) -> Any:
        whole = (chunks[0], (middle,), *tail)
        graph = HighLevelGraph.from_collections(f"{name}-{token}", layer)
        return da.Array(graph, f"{name}-{token}", whole, meta=np.empty((0,) * len(whole), dtype))

    statistics = array("scene-statistics", len(pipeline.statistics), "float64", ())
    layers = array("scene-layers", len(pipeline.layers), pipeline.dtype, chunks[1:])
    return SceneResult(layers, statistics)


def chunked(bands: Sequence[Any]) -> list[Any]:
    """Return bands as dask arrays with the same chunks: the first one's, or strips where all are in memory."""
    import dask.array as da

    chunks = next((band.chunks for band in bands if hasattr(band, "chunks")), None)
    # A name for good takes reading the whole array; where all is in memory, nothing outlives the prediction.
    name = False if chunks is None else None
    if chunks is None:
        shape = bands[0].shape
        chunks = da.core.normalize_chunks((1, max(1, STRIP // shape[2]), shape[2]), shape)
    return [
        da.from_array(band, chunks=chunks, name=name) if isinstance(band, np.ndarray) else band.rechunk(chunks)
        for band in bands
    ]


def _add_dates(
    layer: dict[Any, Any],
    source: _Source,
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
    needed = source.needed(blocks)

    def inputs(step: int, block: tuple[int, int, int]) -> list[Any]:
        return [_renamed((name, *block), f"{t}-{step}-{token}") for name in source.names]

    for step in range(passes):
        layer |= _copies(needed, f"{t}-{step}-{token}", known)
        parts = []
        for block in blocks:
            key = (f"scene-measure-{step}-{token}", *block)
            origin = (starts[0][block[1]], starts[1][block[2]])
            layer[key] = (_measure, job_key, inputs(step, block), known, origin)
            parts.append(key)
        merged = _add_merges(layer, parts, f"scene-merge-{step}-{token}", t)
        concluded = (f"scene-known-{step}-{token}", t)
        layer[concluded] = (_conclude, job_key, merged, known)
        known = concluded
    layer |= _copies(needed, f"{t}-{passes}-{token}", known)
    for block in blocks:
        layer[f"scene-layers-{token}", t, 0, *block[1:]] = (_classify, job_key, inputs(passes, block), known)
    layer[f"scene-statistics-{token}", t, 0] = (_tabulate, job_key, known)


@dataclass(frozen=True)
class _Source:
    """The cube's own tasks, fused as dask would fuse them, and the names of its bands."""

    graph: Mapping[Any, Any]
    names: tuple[str, ...]

    @classmethod
    def of(cls, bands: Sequence[Any]) -> _Source:
        from dask.base import optimize

        fused = optimize(*bands)
        graph = {key: task for band in fused for key, task in band.__dask_graph__().items()}
        return cls(graph, tuple(band.name for band in fused))

    def needed(self, chunks: Iterable[tuple[int, ...]]) -> dict[Any, Any]:
        """Return the tasks that chunks ``(t, y, x)`` of all bands come from."""
        waiting: list[Any] = [(name, *chunk) for chunk in chunks for name in self.names]
        found: dict[Any, Any] = {}
        while waiting:
            key = waiting.pop()
            if key not in found and key in self.graph:
                found[key] = self.graph[key]
                waiting.extend(found[key].dependencies)
        return found


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


def _tabulate(job: SceneJob, known: list[Any]) -> npt.NDArray[np.float64]:
    return np.stack([job.pipeline().table(scene) for scene in known])


def _classify(job: SceneJob, blocks: Sequence[npt.NDArray[Any]], known: list[Any]) -> npt.NDArray[Any]:
    pipeline = job.pipeline()
    return np.stack([pipeline.classify(bands, one) for bands, one in zip(_dates(job, blocks), known, strict=True)])


def _dates(job: SceneJob, blocks: Sequence[npt.NDArray[Any]]) -> list[tuple[npt.NDArray[Any], ...]]:
    """Return the bands of each date, with NaN where there are no data."""
    bands = [_with_nan(np.asarray(block), nodata) for block, nodata in zip(blocks, job.nodata, strict=True)]
    return list(zip(*bands, strict=True))


def _with_nan(values: npt.NDArray[Any], nodata: Sequence[float]) -> npt.NDArray[Any]:
    missing = np.isinf(values) if values.dtype.kind == "f" else np.zeros((), bool)
    for number in nodata:
        missing = missing | (values == number)
    values = np.where(missing, np.nan, values) if missing.any() else values
    # Compiled code knows numbers in the machine's own byte order, of single precision at least.
    return values if values.dtype.isnative and values.dtype != np.float16 else values.astype("float64")
