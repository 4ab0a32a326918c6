"""Masks that are kept in a Zarr store, chunk by chunk: what is there is read, the rest is predicted and written.

One store holds any number of predictions, each in a group named by what it is made of: input, model, options and
version of the package. Whether a chunk is there is asked when a graph is computed, not when it is built, so that one
lazy mask that is computed again finds what was kept the first time. Imported late, as dask and zarr are.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from dask.highlevelgraph import MaterializedLayer
from zarr.codecs import ZstdCodec
from zarr.core.sync import sync
from zarr.errors import ContainsArrayError, ContainsGroupError

from xr_cloudmask.errors import CloudMaskError

Chunks = tuple[tuple[int, ...], ...]
Index = tuple[int, ...]  # of a chunk, along each axis


def url_of(given: str | os.PathLike[str]) -> str:
    """Return a store's address: an absolute path, or a URL as it is.

    Raises
    ------
    CloudMaskError
        It is no path, or that of a file.
    """
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise CloudMaskError(f"cache={given!r}", "the path of a Zarr store", "predict(cache='masks.zarr')")
    if "://" in os.fspath(given):
        return os.fspath(given)
    path = Path(given).expanduser().absolute()
    if path.is_file():
        raise CloudMaskError(
            f"cache={os.fspath(given)!r}, a file", "the folder of a Zarr store, or a new name", "cache='masks.zarr'"
        )
    return str(path)


def regular(chunks: Chunks) -> Chunks:
    """Return chunks that Zarr can have: all of an axis as large as the largest, but for the last.

    Examples
    --------
    >>> regular(((2, 3, 1), (4, 4, 1)))
    ((3, 3), (4, 4, 1))
    """
    return tuple(_regular(sizes) for sizes in chunks)


def _regular(sizes: Sequence[int]) -> tuple[int, ...]:
    most, total = max(sizes), sum(sizes)
    return (most,) * (total // most) + ((total % most,) if total % most else ())


@dataclass(frozen=True)
class KeptArray:
    """An array of a store, whose chunks are kept as they are made. Travels in dask graphs.

    Attributes
    ----------
    url : str
        Of the store.
    group, name : str
        Of the prediction, and of the array in it.
    dims : tuple of str
    chunks : tuple of tuple of int
        Regular, as `regular` returns them.
    dtype : str
    fill : float
        Of pixels without data.
    """

    url: str
    group: str
    name: str
    dims: tuple[str, ...]
    chunks: Chunks
    dtype: str
    fill: float

    def present(self) -> set[Index]:
        """Return the chunks that are there."""
        try:
            place = self.open("r").store_path
        except FileNotFoundError:
            return set()
        return sync(_indices(place.store, f"{place.path}/c/"))

    def open(self, mode: Any) -> zarr.Array[Any]:
        """Open the array, as Zarr does."""
        array = zarr.open_array(self.url, path=f"{self.group}/{self.name}", mode=mode)
        return array.with_config({"write_empty_chunks": True})  # or a chunk without data would seem missing

    def made(self) -> zarr.Array[Any]:
        """Open the array to write, made where there is none; several processes may do so at once."""
        with suppress(FileNotFoundError):
            return self.open("r+")
        with suppress(ContainsGroupError):  # as below: another process was quicker
            zarr.open_group(self.url, path=self.group, mode="a", zarr_format=3)
        with suppress(ContainsArrayError):
            zarr.create_array(
                self.url,
                name=f"{self.group}/{self.name}",
                shape=tuple(map(sum, self.chunks)),
                chunks=tuple(sizes[0] for sizes in self.chunks),
                dtype=self.dtype,
                fill_value=self.fill,
                compressors=[ZstdCodec(level=1, checksum=True)],
                dimension_names=self.dims,
            )
        return self.open("r+")


async def _indices(store: Any, prefix: str) -> set[Index]:
    names = [key.removeprefix(prefix).split("/") async for key in store.list_prefix(prefix)]
    return {tuple(map(int, name)) for name in names if all(map(str.isdecimal, name))}  # others are half-written


@dataclass(frozen=True)
class KeptChunk:
    """A chunk of an array of a store."""

    array: KeptArray
    index: Index

    @property
    def region(self) -> tuple[slice, ...]:
        """The pixels of the chunk."""
        pairs = zip(self.index, self.array.chunks, strict=True)
        return tuple(slice(i * sizes[0], i * sizes[0] + sizes[i]) for i, sizes in pairs)


class KeptLayer(MaterializedLayer):
    """Tasks that make and keep the chunks of an array; those of chunks that are there read them instead.

    dask culls a graph before it computes it: that is when the store is asked.
    """

    def __init__(self, tasks: Mapping[Any, Any], array: KeptArray) -> None:
        super().__init__({key: (_store_chunk, KeptChunk(array, key[1:]), task) for key, task in tasks.items()})
        self._array = array

    def cull(self, keys: set[Any], all_hlg_keys: Collection[Any]) -> Any:
        """Return the tasks of some chunks, and what they depend on."""
        present = self._array.present()
        wanted = {key: self.mapping[key] for key in keys if key in self.mapping}
        tasks = {
            key: (_read, KeptChunk(self._array, key[1:])) if key[1:] in present else task
            for key, task in wanted.items()
        }
        return MaterializedLayer(tasks, annotations=self.annotations).cull(set(tasks), all_hlg_keys)


def _store_chunk(chunk: KeptChunk, block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    chunk.array.made()[chunk.region] = block
    return block


def _read(chunk: KeptChunk) -> npt.NDArray[Any]:
    array = chunk.array.open("r")
    try:
        return np.asarray(array[chunk.region])
    except Exception as error:  # codecs do not say what they raise
        name = f"{array.store_path}/{array.metadata.encode_chunk_key(chunk.index)}"
        raise CloudMaskError(
            f"a chunk of a mask that cannot be read: {name} ({error})", "the chunk as it was written", f"rm {name}"
        ) from error
