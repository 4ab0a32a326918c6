"""The coverage of lazy masks: counted once, and remembered for as long as what they are made of is in use."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.masks import schemes
from xr_cloudmask.masks.coverage import coverage

MOST_TABLES = 256


@dataclass(frozen=True)
class Counted:
    """What was counted of a mask.

    Attributes
    ----------
    sources : mapping of str to weakref
        The layers of dask's graph that depend on no other, by name. A store that was opened anew is another source,
        though dask may name it alike.
    table : Dataset
        The coverage, without coordinates.
    labels : dask array or None
        The labels, compressed in memory.
    """

    sources: Mapping[str, weakref.ref[Any]]
    table: xr.Dataset
    labels: Any = None

    def is_of(self, mask: xr.DataArray) -> bool:
        """Whether the mask is made of the very sources that were counted."""
        here = _sources(mask)
        return self.sources.keys() == here.keys() and all(self.sources[name]() is here[name] for name in here)


# By the name of their arrays, which dask gives to equal work, and by what else the numbers depend on.
_COUNTED: dict[tuple[Any, ...], Counted] = {}


def count(mask: xr.DataArray) -> xr.Dataset:
    """Return the coverage of a mask, computed once for each lazy array."""
    if mask.chunks is None:
        return coverage(mask)
    found = _recalled(mask)
    table = remember(mask, coverage(mask).compute()) if found is None else found.table
    return table.assign_coords({dim: mask.coords[dim].variable for dim in table.dims if dim in mask.coords})


def kept(mask: xr.DataArray) -> xr.DataArray:
    """Return a mask whose labels are in memory, compressed, so that they are predicted once; and count them.

    Parameters
    ----------
    mask : DataArray
        uint8. One in memory is returned as it is.

    Returns
    -------
    DataArray
        With dask's chunks where the mask has them: a few per cent of a byte for each pixel.
    """
    if mask.chunks is None:
        return mask
    found = _recalled(mask)
    if found is None or found.labels is None:
        import dask.base

        blocks, table = dask.base.compute(_packed(mask.data), coverage(mask))
        labels = _unpacked(blocks, mask.data)
        remember(mask, table, labels)
        remember(mask.copy(data=labels), table)
    else:
        labels = found.labels
    return mask.copy(data=labels)


def remember(mask: xr.DataArray, table: xr.Dataset, labels: Any = None) -> xr.Dataset:
    """Keep what was counted of a mask; return it, without coordinates."""
    bare = table.drop_vars(list(table.coords))
    if mask.chunks is not None:
        for key in [key for key, counted in _COUNTED.items() if any(ref() is None for ref in counted.sources.values())]:
            _COUNTED.pop(key, None)
        while len(_COUNTED) >= MOST_TABLES:
            _COUNTED.pop(next(iter(_COUNTED)), None)  # the oldest
        sources = {name: weakref.ref(layer) for name, layer in _sources(mask).items()}
        _COUNTED[_key(mask)] = Counted(sources, bare, labels)
    return bare


def _recalled(mask: xr.DataArray) -> Counted | None:
    found = _COUNTED.get(_key(mask))
    return found if found is not None and found.is_of(mask) else None


def _key(mask: xr.DataArray) -> tuple[Any, ...]:
    return mask.data.name, mask.dims, schemes.scheme_of(mask)


def _sources(mask: xr.DataArray) -> dict[str, Any]:
    graph = mask.data.dask
    return {name: layer for name, layer in graph.layers.items() if not graph.dependencies[name]}


def _packed(labels: Any) -> Any:
    """Return the chunks of labels as compressed bytes, one a chunk: clouds are large, and few codes are in use."""
    ones = tuple((1,) * count for count in labels.numblocks)
    return labels.map_blocks(_pack, dtype=object, chunks=ones, meta=np.empty((0,) * labels.ndim, object))


def _pack(block: npt.NDArray[np.uint8]) -> npt.NDArray[np.object_]:
    out = np.empty((1,) * block.ndim, object)
    out[(0,) * block.ndim] = (block.shape, zlib.compress(block.tobytes(), 1))
    return out


def _unpacked(blocks: npt.NDArray[np.object_], labels: Any) -> Any:
    """Return labels of the same chunks that are no more than their compressed bytes."""
    import dask.array as da

    meta = np.empty((0,) * labels.ndim, "uint8")
    return da.from_array(blocks, chunks=1, name=False).map_blocks(
        _unpack, dtype="uint8", chunks=labels.chunks, meta=meta
    )


def _unpack(block: npt.NDArray[np.object_]) -> npt.NDArray[np.uint8]:
    shape, packed = block.item()
    return np.frombuffer(zlib.decompress(packed), "uint8").reshape(shape)
