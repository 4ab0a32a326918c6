"""Write masks to files that explain themselves, and read them back.

Labels are computed once, chunk by chunk, and a file appears under its name only when it is whole.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from xr_cloudmask import atomic, cog
from xr_cloudmask.cube import layout
from xr_cloudmask.cube.mapping import placed
from xr_cloudmask.errors import FileError, first_cause, refusing
from xr_cloudmask.files import stores
from xr_cloudmask.files.raster import CHUNK
from xr_cloudmask.masks.coverage import with_coverage
from xr_cloudmask.masks.labels import carries_mask, mask_of, renamed
from xr_cloudmask.names import AGREEMENT_NAME, CLEAR_COUNT, MASK_NAME, PROBABILITY_NAME

Masked: TypeAlias = xr.Dataset | xr.DataArray
Writer: TypeAlias = Callable[[xr.Dataset, Path], None]

STAMPS = ("%Y%m%d", "%Y%m%dT%H%M%S")  # of dates in file names: the first that tells them apart
OF_PROBABILITIES = {PROBABILITY_NAME: "probabilities", AGREEMENT_NAME: "agreement"}  # layers, what asks for them
FILL_ATTRS = ("_FillValue", "missing_value")
ZARR_FORMATS = (3, 2)


def to_file(mask: Masked, path: str | Path, *, zarr_format: int = 3) -> tuple[Path, ...]:
    """Write a mask; its name says in which format. Computes the mask, chunk by chunk.

    Parameters
    ----------
    mask : Dataset or DataArray
        predict's Dataset, or a mask with flag attributes: uint8 ``(time, y, x)`` or ``(y, x)``. Or one composite, a
        Dataset ``(y, x)`` that `composite` made, whose bands become those of a GeoTIFF.
    path : path
        ``.tif``: a Cloud Optimized GeoTIFF; with several dates one for each, the date before the suffix
        (``mask_20240131.tif``, with the time of day where a date has several; ``mask_000.tif``, counted from zero,
        where the dates have no coordinate or only numbers). ``.nc``: netCDF-4, compressed. ``.zarr``: a Zarr store.
        A file of that name is replaced.
    zarr_format : {3, 2}
        Of a Zarr store. Some readers know format 2 alone.

    Returns
    -------
    tuple of Path
        The files written, in the order of the dates.

    Raises
    ------
    FileError
        Unknown suffix, no such folder, a full disk, inputs that turn out to be unreadable; for a GeoTIFF, unevenly
        spaced coordinates. No half file is left.

    Examples
    --------
    >>> import tempfile
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), attrs=attrs)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [written.name for written in to_file(mask, f"{folder}/mask.nc")]
    ['mask.nc']
    """
    target = _target(path, tuple(WRITERS))
    if not target.absolute().parent.is_dir():
        raise FileError(f"no folder {str(target.parent)!r}", "an existing folder", f"mkdir -p {target.parent}")
    if zarr_format not in ZARR_FORMATS:
        raise FileError(f"zarr_format={zarr_format!r}", f"one of {list(ZARR_FORMATS)}", "zarr_format=3")
    if isinstance(mask, xr.Dataset) and CLEAR_COUNT in mask.coords and not carries_mask(mask):
        return _write_composite(mask, target)
    write = WRITERS[target.suffix.lower()]
    if write is _write_zarr:
        write = partial(_write_zarr, zarr_format=zarr_format)
    dataset = _as_dataset(mask)
    parts = _dated(dataset, target) if write is cog.write else {target: dataset}
    for name, part in parts.items():
        with _whole(name) as temporary:
            write(part, temporary)
    return tuple(parts)


def to_cog(mask: Masked, path: str | Path) -> tuple[Path, ...]:
    """Write a mask as Cloud Optimized GeoTIFF, one for each date. Computes the mask, chunk by chunk.

    The file has the scheme's colours, class names and no-data code, so that QGIS and GDAL show it as it is meant,
    overviews of the most frequent class, and flags, coverage and provenance as tags. Class names are where GDAL keeps
    them, in ``<name>.aux.xml`` beside the file. Latitude and longitude without a CRS are those of EPSG:4326. Pixels are
    written north up and west to the left; `open_mask` gives them back as they were.
    Parameters and errors as for `to_file`; the suffix is ``.tif``.
    """
    return to_file(mask, _target(path, (".tif", ".tiff")))


def _target(path: str | Path, suffixes: tuple[str, ...]) -> Path:
    """Return a path that names a file in one of some formats."""
    if not isinstance(path, str | os.PathLike) or "\0" in os.fspath(path):
        raise FileError(f"output {path!r}", "the path of a file", "'mask.tif'")
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        # "." and "/" have no name to which a suffix could be added.
        folder = os.path.isdir(target)  # noqa: PTH112 - pathlib's raises where a name is too long
        suggested = target.with_suffix(suffixes[0]) if target.name and not folder else target / "mask.tif"
        raise FileError(f"output {str(path)!r}", f"a name that ends in {', '.join(suffixes)}", f"'{suggested}'")
    return target


def open_mask(path: str | Path) -> xr.Dataset:
    """Open a mask that `to_file` wrote: labels lazily, flags and coverage as predict gives them.

    Parameters
    ----------
    path : path
        A ``.tif``, ``.nc`` or ``.zarr``.

    Returns
    -------
    Dataset
        ``cloud_mask`` uint8 ``(y, x)`` or ``(time, y, x)``, coverage as coordinates; spatial dimensions with the names
        and the directions of the mask that was written.

    Raises
    ------
    FileError
        The file is missing or cannot be read.
    """
    source = Path(path)
    with refusing(FileError, f"{str(path)!r}, which cannot be read", "a mask that to_file wrote", "copy it again"):
        dataset = renamed(stores.open_store(source, CHUNK)) if stores.is_store(source) else cog.read(source)
        attrs = dataset[MASK_NAME].attrs if MASK_NAME in dataset else {}
        if "flag_values" not in attrs:
            remedy = "files.open_cube(path) for a cube"
            raise FileError(f"{str(path)!r} without flags", "a mask that to_file wrote", remedy)
        attrs["flag_values"] = np.array(attrs["flag_values"], dtype="uint8")  # Zarr and GDAL know lists only
        return dataset


def _write_composite(image: xr.Dataset, target: Path) -> tuple[Path, ...]:
    """Write the bands of a composite in their own order, with their names; its counts stay behind."""
    view = layout.view(image)
    if WRITERS[target.suffix.lower()] is not cog.write or view.time is not None:
        raise FileError(
            f"a composite of dimensions {tuple(image.dims)} and output {target.name!r}",
            "one image in a GeoTIFF",
            "image.isel(time=0) for one of several; image.to_netcdf('image.nc') or image.to_zarr('image.zarr') for all",
        )
    import rioxarray  # noqa: F401 - it registers .rio

    with _whole(target) as temporary:
        image.rio.set_spatial_dims(x_dim=view.x, y_dim=view.y).rio.to_raster(temporary, driver="COG")
    return (target,)


def _as_dataset(mask: Masked) -> xr.Dataset:
    """Return mask, probability and coverage, and of the coordinates those that files can hold."""
    dataset = mask_of(mask).to_dataset(name=MASK_NAME)
    coords, mapping = placed(layout.view(dataset[MASK_NAME]))
    dataset = dataset.assign_coords(coords)
    if isinstance(mask, xr.Dataset):
        dataset = dataset.assign({name: mask[name] for name in OF_PROBABILITIES if name in mask})
    dataset = dataset.copy().drop_vars([name for name, coord in dataset.coords.items() if not _storable(coord)])
    dataset = with_coverage(dataset[MASK_NAME], dataset)  # anew: the mask may have been cut since
    for name, variable in dataset.variables.items():
        # How an input file was packed is no advice for this one.
        placed_by = mapping if name in dataset.data_vars else variable.encoding.get("grid_mapping")
        variable.encoding = {} if placed_by is None else {"grid_mapping": placed_by}
        variable.attrs.pop("grid_mapping", None)
    labels = dataset[MASK_NAME]
    # No data is a class of its own: xarray would turn codes with a fill value into floats and NaN.
    labels.attrs = {key: value for key, value in labels.attrs.items() if key not in FILL_ATTRS}
    return dataset


def _storable(coord: xr.DataArray) -> bool:
    """Tell numbers, dates of any calendar and text from the Python objects that catalogue items bring along."""
    return coord.dtype.kind != "O" or all(
        isinstance(value, str) or hasattr(value, "calendar") for value in coord.values.flat
    )


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give a path to write to, in place of a file or Zarr store; see `atomic.replacing`."""
    if target.is_dir() and not stores.is_zarr(target):
        raise FileError(f"a folder {str(target)!r} that is no Zarr store", "a new name", "write to another name")
    try:
        with atomic.replacing(target) as path:
            yield path
    except (OSError, RuntimeError) as error:  # netCDF and Zarr report damaged input as RuntimeError
        raise FileError(
            f"{first_cause(error)} (while the mask was computed and written to {str(target)!r})",
            "inputs that can be read to their end, and room and permission to write",
            "check the file the message names: damaged inputs must be copied again; see df for room on the disk",
        ) from error


def _dated(dataset: xr.Dataset, target: Path) -> dict[Path, xr.Dataset]:
    """Return a Dataset without time for every file."""
    beside = [name for name in OF_PROBABILITIES if name in dataset]
    if beside:
        without = ", ".join(f"{OF_PROBABILITIES[name]}=False" for name in beside)
        raise FileError(
            f"a mask with {beside[0]!r} and output {target.name!r}",
            "labels alone in a GeoTIFF",
            f"'{target.with_suffix('.zarr')}' or '{target.with_suffix('.nc')}'; or predict({without})",
        )
    time = layout.view(dataset[MASK_NAME]).time
    if time is None:
        return {target: dataset}
    if dataset.sizes[time] == 1:
        return {target: dataset.isel({time: 0})}
    return {
        target.with_name(f"{target.stem}_{stamp}{target.suffix}"): dataset.isel({time: position})
        for position, stamp in enumerate(_stamps(dataset, time))
    }


def _stamps(dataset: xr.Dataset, time: str) -> list[str]:
    dates = layout.along(dataset, time)
    index: Any = None if dates is None else xr.Variable(time, dates).to_index()
    if not hasattr(index, "strftime"):  # which pandas has for datetime64, xarray for other calendars
        return [f"{position:03d}" for position in range(dataset.sizes[time])]
    for stamp in STAMPS:
        stamps = [str(date) for date in index.strftime(stamp)]
        if len(set(stamps)) == len(stamps):
            return stamps
    raise FileError(f"dates that repeat in {time!r}", "a date and time for each file", "write .nc or .zarr instead")


def _write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    chunked = _chunked(dataset)
    encoding = {
        name: {**variable.encoding, "zlib": True, "complevel": 4, "chunksizes": variable.data.chunksize}
        for name, variable in chunked.data_vars.items()
    }
    chunked.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)


def _write_zarr(dataset: xr.Dataset, path: Path, zarr_format: int = ZARR_FORMATS[0]) -> None:
    texts = {name: coord.astype(object) for name, coord in dataset.coords.items() if coord.dtype.kind == "U"}
    if zarr_format == 3:  # which has no text of fixed length
        dataset = dataset.assign_coords(texts)
    with warnings.catch_warnings():
        # Every reader in use knows consolidated metadata, which the specification is about to take up.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        _chunked(dataset).to_zarr(path, mode="w", zarr_format=zarr_format, consolidated=True)


def _chunked(dataset: xr.Dataset) -> xr.Dataset:
    """Give pixels chunks of one size along a dimension, as files need them, and coverage a single chunk."""
    mask = dataset[MASK_NAME]
    view = layout.view(mask)
    sizes = mask.variable.chunksizes  # those of coordinates may differ
    pixels = {dim: min(CHUNK, max(sizes.get(dim, (mask.sizes[dim],)))) for dim in (view.y, view.x)}
    variables = {
        name: array.variable.chunk({dim: pixels.get(str(dim), 1) for dim in array.dims})
        for name, array in dataset.data_vars.items()
    }
    coords = {name: coord.variable.chunk(-1) for name, coord in dataset.coords.items() if coord.chunks}
    return dataset.assign(variables).assign_coords(coords)


WRITERS: Mapping[str, Writer] = {".tif": cog.write, ".tiff": cog.write, ".nc": _write_netcdf, ".zarr": _write_zarr}
