"""All dates of a pixel together: one task per chunk of pixels takes the chunks of every date, none is joined first.

Chunks that only have to be read are read by that task itself: a worker holds the dates of the chunk that it is at, and
no chunk travels between workers. dask's own fusion stops at reductions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

# What a task is given of an array with dates: its blocks ``(date, y, x)``, one after the other along the dates.
Blocks = Sequence[np.ndarray[Any, Any]]


def reduce_dates(
    function: Callable[..., Any], dated: Sequence[Any], undated: Sequence[Any] = (), *, dtype: Any, layers: int = 0
) -> Any:
    """Reduce arrays with dates to one without.

    Parameters
    ----------
    function : callable
        ``function(*blocks of each dated array, *block of each undated array)``; returns ``(y, x)``, or
        ``(layer, y, x)`` where there are `layers`. Its options are a `functools.partial`'s, which dask can name.
    dated : sequence of arrays
        ``(date, y, x)`` each; NumPy arrays are reduced now, dask arrays when computed.
    undated : sequence of arrays
        ``(y, x)`` each.
    dtype : dtype
        Of the result.
    layers : int
        Length of the first axis of the result; 0 for a result without one.

    Returns
    -------
    array
        Lazy where one of the arrays is, with the chunks that suit all of them.
    """
    if all(isinstance(array, np.ndarray) for array in (*dated, *undated)):
        return function(*([array] for array in dated), *undated)
    import dask.array as da
    from dask.array.core import unify_chunks
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    axes = ["tyx"] * len(dated) + ["yx"] * len(undated)
    chunks, arrays = unify_chunks(*(part for pair in zip((*dated, *undated), axes, strict=True) for part in pair))
    called = function.func if isinstance(function, partial) else function
    name = f"{called.__name__}-{tokenize(function, [array.name for array in arrays], layers)}"
    first = ((layers,),) if layers else ()
    blocks = _blocks(name, function, arrays, len(dated), (0,) * len(first))
    graph = HighLevelGraph.from_collections(name, blocks, dependencies=arrays)
    meta = np.empty((0,) * (len(first) + 2), dtype)
    return da.Array(graph, name, (*first, chunks["y"], chunks["x"]), meta=meta)


def _blocks(
    name: str, function: Callable[..., Any], arrays: Sequence[Any], dated: int, before: tuple[int, ...]
) -> dict[Any, Any]:
    from dask._task_spec import List, Task

    sources = [_reading(array) for array in arrays]
    layer: dict[Any, Any] = {}
    for y, x in product(*map(range, arrays[0].numblocks[-2:])):
        stacks = [
            List(*(_block(array, source, (t, y, x)) for t in range(array.numblocks[0])))
            for array, source in zip(arrays[:dated], sources[:dated], strict=True)
        ]
        flat = [_block(*pair, (y, x)) for pair in zip(arrays[dated:], sources[dated:], strict=True)]
        key = (name, *before, y, x)
        layer[key] = Task(key, function, *stacks, *flat)
    return layer


def _block(array: Any, reading: Mapping[Any, Any], index: tuple[int, ...]) -> Any:
    """Return the task that reads a block, or where its result is found."""
    from dask._task_spec import TaskRef

    key = (array.name, *index)
    return reading[key] if key in reading else TaskRef(key)


def _reading(array: Any) -> Mapping[Any, Any]:
    """Return the tasks of an array of which each reads a block, or part of one; none of an array that is computed."""
    return _reading_layer(array.dask.layers, array.dask.dependencies, array.name)


def _reading_layer(layers: Mapping[str, Any], dependencies: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    from dask._task_spec import Alias, DataNode, Task
    from dask.blockwise import Blockwise

    layer, below = layers[name], tuple(dependencies[name])
    if isinstance(layer, Blockwise):
        reads = all(axes is None or source in layer.io_deps for source, axes in layer.indices)
        return layer if reads else {}
    sources = _reading_layer(layers, dependencies, below[0]) if len(below) == 1 else {}
    out = {}
    for key, task in layer.items() if sources else ():  # of slicing, as `filter` does
        read = [sources[one] for one in getattr(task, "dependencies", ()) if one in sources]
        if isinstance(task, Alias) and read:
            out[key] = read[0]
        elif isinstance(task, Task) and len(read) == 1:
            out[key] = Task.fuse(read[0], task, key=key)
        elif not isinstance(task, DataNode):
            return {}
    return out
