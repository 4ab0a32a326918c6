"""Files of public sets: found by their patterns, read with errors that name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.errors import FileError, refusing
from xr_cloudmask.files.raster import CHUNK, open_each, read
from xr_cloudmask.files.said import probe, readable
from xr_cloudmask.limits import require_pixels

AGAIN = "download it again"


def found(root: Path, pattern: str, layout: str) -> list[Path]:
    """Return the files below a folder that fit a pattern.

    Raises
    ------
    FileError
        There is none.
    """
    paths = sorted(root.rglob(pattern))
    if not paths:
        raise missing(root / pattern, layout)
    return paths


def missing(path: Path, layout: str) -> FileError:
    """Return the error of a file that is not there."""
    return FileError(f"no file {str(path)!r}", f"the layout {layout}", f"ls {path.parent}; unpack the set as it came")


def raster(path: Path, layout: str) -> npt.NDArray[Any]:
    """Return the bands ``(band, y, x)`` of an image in memory."""
    import rasterio

    if not path.is_file():
        raise missing(path, layout)
    probe(path)  # its size, and whether it is whole
    with readable(path), rasterio.open(path) as source:
        return np.asarray(source.read())


def labels(path: Path, layout: str) -> npt.NDArray[Any]:
    """Return the codes ``(y, x)`` of an image of one band."""
    bands = raster(path, layout)
    if len(bands) != 1 or bands.dtype.kind not in "iu":
        raise FileError(f"{len(bands)} bands of {bands.dtype} in {str(path)!r}", "codes in one band", AGAIN)
    codes: npt.NDArray[Any] = bands[0]
    return codes


def cube(paths: Sequence[Path], names: Sequence[str], layout: str) -> xr.Dataset:
    """Return rasters as a lazy cube, with names for their bands."""
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise missing(absent[0], layout)
    if len(paths) == 1:
        count = len(open_each(paths, CHUNK)[0].bands)
        if count != len(names):
            raise FileError(f"{count} bands in {str(paths[0])!r}", f"{len(names)}: {', '.join(names)}", AGAIN)
    return read(paths, list(names), CHUNK)


def array(path: Path) -> npt.NDArray[Any]:
    """Open an array of NumPy without reading it, and without running what is in it."""
    with refusing(FileError, f"{str(path)!r}, which cannot be read", "an array of NumPy", AGAIN):
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(values, np.ndarray) or values.ndim < 2 or values.dtype.kind not in "biuf":
            raise FileError(f"{str(path)!r}, which is no array of numbers", "an array (y, x, …)", AGAIN)
        require_pixels(path.name, *values.shape[:2])
        return values


def raster_of(place: str) -> npt.NDArray[Any]:
    """Return the bands of an image inside another file, by the path that GDAL has for it."""
    import rasterio

    with (
        refusing(FileError, f"{place[:80]!r}, which GDAL cannot read", "a raster", AGAIN),
        rasterio.open(place) as source,
    ):
        require_pixels(place[:80], source.height, source.width)
        return np.asarray(source.read())
