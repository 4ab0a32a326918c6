"""netCDF files and Zarr stores: a cube as xarray saved it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from pathlib import Path

import xarray as xr

from xr_cloudmask.cube.layout import X_NAMES, Y_NAMES
from xr_cloudmask.errors import FileError, refusing
from xr_cloudmask.files.raster import CHUNK

NETCDF_SUFFIXES = (".nc", ".nc4", ".cdf", ".netcdf")
ZARR_MARKERS = ("zarr.json", ".zgroup", ".zmetadata")
MOST_CHUNKS, LONGEST_AXIS = 10_000_000, 100_000_000  # of a variable: dask needs a kilobyte for each
SPATIAL = frozenset((*Y_NAMES, *X_NAMES))


def is_store(path: Path) -> bool:
    """Tell whether a path is a netCDF file or a Zarr store."""
    return is_zarr(path) or (path.is_file() and path.suffix.lower() in NETCDF_SUFFIXES)


def is_zarr(path: Path) -> bool:
    """Tell whether a path is a folder that holds a Zarr group."""
    return any((path / marker).is_file() for marker in ZARR_MARKERS)


def read(paths: Sequence[Path], bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    """Open one store; packed bands stay packed, with ``scale_factor`` and ``add_offset`` in attrs."""
    if len(paths) > 1:
        raise FileError(f"{len(paths)} stores", "one netCDF file or Zarr store", "join them with xarray.open_mfdataset")
    cube = open_store(paths[0], chunks)
    absent = [name for name in bands or () if name not in cube.data_vars]
    if absent:
        known = list(map(str, cube.data_vars))
        present = [name for name in bands or () if name in known] or known
        raise FileError(f"no variables {absent} in {paths[0]}", f"names of {known}", f"bands={present}")
    return cube[list(bands)] if bands else cube


def open_store(path: Path, chunks: int) -> xr.Dataset:
    """Open a store; chunks are whole multiples of the stored ones, of at most ``chunks`` pixels a side if possible."""
    engine = "zarr" if is_zarr(path) else "netcdf4"
    with refusing(
        FileError,
        f"{str(path)!r}, which cannot be opened as {engine}",
        "an intact netCDF-4 file or Zarr store, written by xarray or by CF conventions",
        "download or copy it again if it is damaged; check with: "
        f"python -c \"import xarray; print(xarray.open_dataset('{path}'))\"",
    ):
        with xr.open_dataset(path, engine=engine, decode_cf=False, create_default_indexes=False) as stored:
            _require_size(stored, path)
            plan = {dim: _chunk(stored, dim, chunks) for dim in stored.dims}
            packed: dict[str, bool] = dict.fromkeys(map(str, stored.data_vars), False)
        with warnings.catch_warnings():
            # The plan follows the pixels' chunks; of what is loaded below, it may split those.
            warnings.filterwarnings("ignore", "The specified chunks separate the stored chunks", UserWarning)
            # A band may name a mask that was not saved with it.
            warnings.filterwarnings("ignore", "Variable.s. referenced in ancillary_variables", UserWarning)
            # Bands stay as stored; coordinates are decoded, or a packed x would no longer place the pixels.
            cube = xr.open_dataset(path, engine=engine, chunks=plan, mask_and_scale=packed, decode_coords="all")
        # What is said of a date is metadata: only pixels stay lazy.
        small = [name for name, coord in cube.coords.items() if coord.chunks and not SPATIAL & set(coord.dims)]
        return cube.assign_coords({name: cube[name].variable.compute() for name in small})


def _require_size(stored: xr.Dataset, path: Path) -> None:
    """Refuse sizes that no product has: a header of a few bytes can name any."""
    for name, variable in stored.variables.items():
        chunks = variable.encoding.get("preferred_chunks") or dict.fromkeys(variable.dims, CHUNK)
        count = math.prod(-(-size // max(1, chunks.get(dim, CHUNK))) for dim, size in variable.sizes.items())
        is_axis = not SPATIAL & set(variable.dims) or variable.ndim < 2
        if count > MOST_CHUNKS or (is_axis and variable.size > LONGEST_AXIS):
            raise FileError(
                f"{str(path)!r}, whose variable {str(name)!r} has the sizes {dict(variable.sizes)} in {count} chunks",
                f"at most {MOST_CHUNKS} chunks, and {LONGEST_AXIS} numbers along an axis",
                "the store rewritten in chunks of some megabytes, or a part of it: xarray.open_zarr(...).isel(...)",
            )


def _chunk(stored: xr.Dataset, dim: Hashable, chunks: int) -> int:
    """Return a multiple of the stored chunk along space, the stored chunk along time; 1 where time has none."""
    preferred = (v.encoding.get("preferred_chunks", {}) for v in stored.values() if SPATIAL & set(v.dims))
    unit = max((sizes[dim] for sizes in preferred if dim in sizes), default=1)
    return unit * max(1, chunks // unit) if dim in SPATIAL else unit
