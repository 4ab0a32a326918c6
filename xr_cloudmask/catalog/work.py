"""From an item to the bytes of its mask: what threads, processes and clusters do, far from the database."""

from __future__ import annotations

import json
import math
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask import export, stac
from xr_cloudmask.cog import SIDECAR
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.errors import CloudMaskError, causes
from xr_cloudmask.files.raster import GDAL_CACHE
from xr_cloudmask.models import registry
from xr_cloudmask.names import BAND_MISMATCH, FRACTIONS, MASK_NAME, STATISTIC_NAME, STATISTICS_NAME, WATER_FRACTION
from xr_cloudmask.prediction import predict

FLAGS = ("flag_values", "flag_meanings", "flag_colors", "nodata", "standard_name", "long_name")
IN_MEMORY = 256 << 20  # bytes of a scene's bands up to which they stay in memory, as many as a few chunks have
# Columns of the table by the attributes that fill them.
NAMED = {"variant": "model_variant", "version": "model_version", "weights_sha256": "weights_sha256", "scheme": "scheme"}


@dataclass(frozen=True)
class Request:
    """What is asked for, of every scene alike.

    Attributes
    ----------
    model : str
    options : mapping
        Keywords of `predict`.
    loading : mapping
        Keywords of `stac.load`.
    """

    model: str
    options: Mapping[str, Any]
    loading: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """A mask as the bytes of its files, and what the table says of it."""

    cog: bytes
    class_names: bytes
    columns: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """Why there is no mask."""

    kind: str
    text: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Name an error by its type, and say what it says; GDAL names the file in one of the errors that led to it."""
        told = [error] if isinstance(error, CloudMaskError) else causes(error)  # ours say all of it
        said = "\n".join(dict.fromkeys(str(cause) or repr(cause) for cause in told))
        return cls(type(error).__name__, said.encode(errors="backslashreplace").decode())


class Stopped(Exception):  # noqa: N818 - no error: the caller asked for it
    """Raised in a thread whose run was interrupted."""


def attempt(item: str, request: Request, stop: threading.Event | None = None) -> Made | Failure:
    """Make the mask of an item, or say why that is impossible: one bad scene must not end the run of a year."""
    try:
        return make(item, request, stop)
    except Exception as error:  # whatever files and networks do wrong
        return Failure.of(error)


def make(item: str, request: Request, stop: threading.Event | None = None) -> Made:
    """Load an item, predict its mask and return it as the bytes of a COG.

    Pixels are computed by the calling thread alone, chunk after chunk, so that a run uses as many threads as it was
    given, and the memory of a few chunks for each. Only the mask is ever whole: a byte per pixel.

    Parameters
    ----------
    item : str
        JSON.
    request : Request
    stop : threading.Event, optional
        Once it is set, no other chunk is begun.
    """
    import rasterio
    from pystac import Item

    begin = time.perf_counter()
    compute = {"scheduler": "synchronous", "callbacks": [(None, None, _stopper(stop), None, None)]}
    cube = stac.load([Item.from_dict(json.loads(item))], **request.loading)
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        at_hand = _staged(cube, request, Path(folder), compute)
        found = predict(at_hand, request.model, **request.options).isel(time=0)
        lazy = found.drop_vars([name for name in found.data_vars if name != MASK_NAME])
        mask = lazy.compute(**compute)
        (path,) = export.to_cog(mask, Path(folder) / "mask.tif")
        sidecar = path.with_name(f"{path.name}{SIDECAR}")
        columns = (
            _measured(mask[MASK_NAME].attrs, mask.coords)
            | _georeferenced(path)
            | {"seconds": time.perf_counter() - begin}
        )
        return Made(path.read_bytes(), sidecar.read_bytes(), columns)


def _staged(cube: xr.Dataset, request: Request, folder: Path, compute: Mapping[str, Any]) -> xr.Dataset:
    """Return the cube with the bands of a pipeline that looks at a scene several times, read once.

    They are in memory, or on this disk where they are large.
    """
    import dask.array as da

    spec = registry.variants(request.model)[0]
    if spec.context != "scene":
        return cube
    told = Told(sensor=request.options.get("sensor"), descriptors=request.options.get("descriptors"))
    used = [band.name for band in spec.inputs(DescribedCube.of(cube, told).descriptors)]
    sources = [cube[name].data for name in used]
    small = sum(band.nbytes for band in sources) <= IN_MEMORY
    copies: list[Any] = [
        np.empty(band.shape, band.dtype) if small else _OnDisk.like(band, folder / f"{i}.raw")
        for i, band in enumerate(sources)
    ]
    da.store(sources, copies, lock=False, **compute)
    local = {
        name: cube[name].copy(data=da.from_array(copy, chunks=band.chunks, name=False, meta=band._meta))
        for name, band, copy in zip(used, sources, copies, strict=True)
    }
    return cube.assign(local)


@dataclass(frozen=True)
class _OnDisk:
    """An array in a file; dask would copy a memory map."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def like(cls, array: Any, path: Path) -> _OnDisk:
        """Take the room for an array, all at once: a disk that is full later would end the process, not the scene."""
        np.zeros(array.shape, array.dtype).tofile(path)
        return cls(path, array.shape, array.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        return np.array(np.memmap(self.path, self.dtype, "r", shape=self.shape)[index])

    def __setitem__(self, index: Any, block: npt.NDArray[Any]) -> None:
        np.memmap(self.path, self.dtype, "r+", shape=self.shape)[index] = block


def _stopper(stop: threading.Event | None) -> Any:
    def before_task(*_: Any) -> None:
        if stop is not None and stop.is_set():
            raise Stopped

    return before_task


def _measured(attrs: Mapping[str, Any], coords: Mapping[Any, xr.DataArray]) -> dict[str, Any]:
    """Return what the attributes and coordinates of a computed mask say of the scene."""
    fractions = {name: _number(coords, name) for name in (*FRACTIONS, WATER_FRACTION)}
    said = {name: value for name, value in attrs.items() if name not in FLAGS}
    return {
        **fractions,
        BAND_MISMATCH: _number(coords, BAND_MISMATCH),
        "statistics": _statistics(coords),
        **{column: attrs.get(name) for column, name in NAMED.items()},
        "provenance": json.dumps(said, default=str),
    }


def _number(coords: Mapping[Any, xr.DataArray], name: str) -> float | None:
    """Return a coordinate; None where there is none, or where it is NaN, as the fractions of a scene without data."""
    value = float(coords[name]) if name in coords else math.nan
    return None if math.isnan(value) else value


def _statistics(coords: Mapping[Any, xr.DataArray]) -> str | None:
    if STATISTICS_NAME not in coords:
        return None
    names, values = coords[STATISTIC_NAME].values.tolist(), coords[STATISTICS_NAME].values.tolist()
    return json.dumps(dict(zip(names, values, strict=True)))


def _georeferenced(path: Path) -> dict[str, Any]:
    import rasterio

    with rasterio.open(path) as file:
        return {
            "crs": file.crs.to_string() if file.crs else None,
            "transform": json.dumps(list(file.transform)[:6]),
            "height": file.height,
            "width": file.width,
        }
