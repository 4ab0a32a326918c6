"""Open files and product folders as cubes: lazy, digital numbers untouched, with the metadata the line reads.

Scale and offset are never applied here, for any format: they go to the bands' ``scale_factor`` and ``add_offset``,
and `cube.reflectance` applies them, once. What a product says of itself (platform, level, processing baseline, sun)
goes to coordinates named as STAC names them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import xarray as xr

from xr_cloudmask.errors import FileError, listed, refusing
from xr_cloudmask.files import cbers, landsat, raster, sentinel2, stores
from xr_cloudmask.files.raster import CHUNK

__all__ = ["CHUNK", "open_cube"]

Reader: TypeAlias = Callable[[Sequence[Path], Sequence[str] | None, int], xr.Dataset]

# The first whose test a path passes reads it. GDAL comes last: it alone knows what it can open.
READERS: tuple[tuple[str, Callable[[Path], bool], Reader], ...] = (
    ("Sentinel-2 product", sentinel2.is_product, sentinel2.read),
    ("Landsat product", landsat.is_product, landsat.read),
    ("CBERS or Amazonia-1 scene", cbers.is_product, cbers.read),
    ("netCDF or Zarr store", stores.is_store, stores.read),
    ("raster file", Path.is_file, raster.read),
)


def open_cube(
    paths: str | Path | Sequence[str | Path], *, bands: Sequence[str] | None = None, chunks: int = CHUNK
) -> xr.Dataset:
    """Open files or product folders as one lazy cube.

    Parameters
    ----------
    paths : path or sequence of path
        One multi-band raster (GeoTIFF, COG, whatever GDAL reads) or several rasters, a band each; Sentinel-2 SAFE
        folders (L1C or L2A), Landsat Collection 2 folders (level 1 or 2) or folders of a CBERS or Amazonia-1 scene
        (GeoTIFFs with their XML files), a date each; one netCDF file or Zarr store.
    bands : sequence of str, optional
        Rasters: the bands' names, in order; by default GDAL's band descriptions, else its colours (red, nir …), for a
        file of one band the part of its name that a sensor table knows. Products and stores: which bands to open; by
        default all.
    chunks : int, default 2048
        Largest chunk, in pixels along y and x.

    Returns
    -------
    Dataset
        A dask variable ``(y, x)`` per band, or ``(time, y, x)`` for several products, in the file's own dtype and
        numbers; attrs ``scale_factor``, ``add_offset``, ``_FillValue`` as declared. Only metadata is read, and of
        rasters one pixel, the last, which tells a truncated file.

    Raises
    ------
    FileError
        Missing, corrupt or unsupported files, bands without names, bands on grids that do not fit each other.

    Notes
    -----
    Products come on the grid of their finest band: 10 m for Sentinel-2, where each 20 m and 60 m pixel is repeated
    (2×2, 6×6), which invents nothing and which a block mean takes back exactly. Panchromatic bands are left out, so
    that cubes stay at Landsat's 30 m and the 8 m of CBERS-4A WPM; ``bands=["BAND0", ...]`` has the latter's.

    What a raster hides, by a mask inside or beside it or by alpha of 0, is no data: NaN in floats, else the no-data
    value. Where a band declares none, its lowest number becomes that, and data of that number become the next one.
    Alpha is no band of the cube, unless `bands` has a name for it too.

    Examples
    --------
    >>> open_cube("no-such-folder")
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.FileError: found: no file or folder 'no-such-folder'
    expected: a raster file, a Sentinel-2 .SAFE, Landsat Collection 2 or CBERS folder, a netCDF file or a Zarr store
    try: check the path
    """
    sources = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    kinds = {_reader(path) for path in sources}
    if len(kinds) != 1:
        raise FileError(
            f"inputs of {len(kinds)} kinds: {sorted(READERS[kind][0] for kind in kinds)}",
            "inputs of one kind, at least one",
            "open each kind by itself and combine the cubes with xarray",
        )
    kind, _, read = READERS[kinds.pop()]
    found = f"{listed(map(repr, map(str, sources)), 3)}, read as {kind}"
    remedy = "download or copy it again if it is damaged; gdalinfo or ncdump -h say what else is in it"
    with refusing(FileError, found, "one whose metadata are intact", remedy):
        return read(sources, bands, chunks)


def _reader(path: Path) -> int:
    for position, (_, accepts, _) in enumerate(READERS):
        with suppress(OSError):  # a name that is too long, a folder that may not be entered
            if accepts(path):
                return position
    is_folder = _is_folder(path)
    raise FileError(
        f"a folder without product metadata, {str(path)!r}" if is_folder else f"no file or folder {str(path)!r}",
        "a raster file, a Sentinel-2 .SAFE, Landsat Collection 2 or CBERS folder, a netCDF file or a Zarr store",
        f"pass the files in it: {path}/*.tif" if is_folder else "check the path",
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False
