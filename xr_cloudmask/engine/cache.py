"""Masks that are kept in a Zarr store, chunk by chunk: what is there is read, the rest is predicted and written.

One store holds any number of predictions, each in a group named by what it is made of: input, model, options and
version of the package. Whether a chunk is there is asked when a graph is computed, not when it is built, so that one
lazy mask that is computed again finds what was kept the first time. Imported late, as dask and zarr are.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
        It is no path, that of a file, or a URL that Zarr does not know.
    """
    said = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(said, str) or not said or "\0" in said:
        raise CloudMaskError(f"cache={given!r}", "the path of a Zarr store", "predict(cache='masks.zarr')")
    text = said.removeprefix("file://")
    if "://" in text:
        _require_known(text)
        return text
    try:
        path = Path(text).expanduser().absolute()
        nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    except (OSError, RuntimeError, ValueError) as error:
        raise CloudMaskError(f"cache={text!r}: {error}", "the path of a Zarr store", "cache='masks.zarr'") from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        what = "a file" if nearest == path else f"in {str(nearest)!r}, {'a file' if nearest.is_file() else 'read-only'}"
        raise CloudMaskError(
            f"cache={text!r}, {what}", "the folder of a Zarr store, or a new name", "cache='masks.zarr'"
        )
    return str(path)


def _require_known(url: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(url.partition("://")[0])
    except (ImportError, ValueError) as error:
        raise CloudMaskError(
            f"cache={url!r}: {error}", "a path, or the URL of a store that fsspec knows", "cache='masks.zarr'"
        ) from error


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
        with self.named("cannot be read"):
            try:
                place = self.open("r").store_path
            except FileNotFoundError:
                return set()
            return sync(_indices(place.store, f"{place.path}/c/"))

    def has(self, index: Index) -> bool:
        """Whether a chunk is there."""
        with self.named("cannot be read"):
            array = self.open("r")
            return sync((array.store_path / array.metadata.encode_chunk_key(index)).exists())

    @contextmanager
    def named(self, what: str) -> Iterator[None]:
        """Name the cache in whatever goes wrong with it: stores do not say what they raise."""
        try:
            yield
        except CloudMaskError:
            raise
        except Exception as error:
            raise CloudMaskError(
                f"cache={self.url!r}, which {what}: {type(error).__name__}: {error}",
                "a Zarr store with room and permission to write, and nothing but masks in it",
                f"df, ls -l; rm -r {self.url}/{self.group}, if it was damaged; or another cache=",
            ) from error

    def open(self, mode: Any) -> zarr.Array[Any]:
        """Open the array, as Zarr does."""
        array = zarr.open_array(self.url, path=f"{self.group}/{self.name}", mode=mode)
        shape = tuple(map(sum, self.chunks))
        if (array.shape, str(array.dtype)) != (shape, self.dtype):
            raise ValueError(f"an array of {array.dtype} {array.shape} instead of {self.dtype} {shape}")
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


class Anew:
    """How to make a chunk that was there when its task was planned, and is gone when it is read.

    Only within a process: what travels to another leaves the graph of the whole prediction behind.
    """

    def __init__(self, source: Any = None) -> None:
        self._source = source

    def __reduce__(self) -> Any:
        return Anew, ()

    def chunk(self, index: Index) -> npt.NDArray[Any] | None:
        """Make a chunk, in this thread; None where that is not known here."""
        if self._source is None:
            return None
        return np.asarray(self._source.blocks[index].compute(scheduler="synchronous"))


class KeptLayer(MaterializedLayer):
    """Tasks that make and keep the chunks of an array; those of chunks that are there read them instead.

    dask culls a graph before it computes it: that is when the store is asked. `source` is the array of the same chunks,
    not kept.
    """

    def __init__(self, tasks: Mapping[Any, Any], array: KeptArray, source: Any = None) -> None:
        super().__init__({key: (_store_chunk, KeptChunk(array, key[1:]), task) for key, task in tasks.items()})
        self._array, self._anew = array, Anew(source)

    def cull(self, keys: set[Any], all_hlg_keys: Collection[Any]) -> Any:
        """Return the tasks of some chunks, and what they depend on."""
        present = self._array.present()
        wanted = {key: self.mapping[key] for key in keys if key in self.mapping}
        tasks = {
            key: (_read, KeptChunk(self._array, key[1:]), self._anew) if key[1:] in present else task
            for key, task in wanted.items()
        }
        return MaterializedLayer(tasks, annotations=self.annotations).cull(set(tasks), all_hlg_keys)


def _store_chunk(chunk: KeptChunk, block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    with chunk.array.named("cannot be written"):
        chunk.array.made()[chunk.region] = block
    return block


def _read(chunk: KeptChunk, anew: Anew) -> npt.NDArray[Any]:
    if not _is_there(chunk):
        made = anew.chunk(chunk.index)
        if made is None:
            raise _gone(chunk)
        return _store_chunk(chunk, made)
    block = _read_whole(chunk)
    if not _is_there(chunk):  # gone meanwhile: Zarr reads what is missing as no data
        raise _gone(chunk)
    return block


def _is_there(chunk: KeptChunk) -> bool:
    try:
        return chunk.array.has(chunk.index)
    except CloudMaskError as error:
        if isinstance(error.__cause__, FileNotFoundError):  # the whole array is gone
            return False
        raise


def _gone(chunk: KeptChunk) -> CloudMaskError:
    return CloudMaskError(
        f"chunk {chunk.index} of a mask in cache={chunk.array.url!r}, removed while it was used",
        "a cache that nothing else cleans meanwhile",
        "compute again: what is missing is made anew",
    )


def _read_whole(chunk: KeptChunk) -> npt.NDArray[Any]:
    with chunk.array.named("cannot be read"):
        array = chunk.array.open("r")
    try:
        return np.asarray(array[chunk.region])
    except Exception as error:  # codecs do not say what they raise
        name = f"{array.store_path}/{array.metadata.encode_chunk_key(chunk.index)}"
        raise CloudMaskError(
            f"a chunk of a mask that cannot be read: {name} ({error})", "the chunk as it was written", f"rm {name}"
        ) from error
