"""Write masks to files that explain themselves, and read them back.

Labels are computed once, chunk by chunk, and a file appears under its name only when it is whole.
"""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.crs import coordinate_reference_system
from xr_cloudmask.errors import FileError
from xr_cloudmask.masks.coverage import FRACTIONS, coverage, with_coverage
from xr_cloudmask.masks.labels import MASK_NAME, Scheme, flag_attrs, mask_of, scheme_of

Masked: TypeAlias = xr.Dataset | xr.DataArray
Writer: TypeAlias = Callable[[xr.Dataset, Path], None]

PROBABILITY = "probability"
BLOCK = 512  # pixels: side of a COG's tiles
CHUNK = 2048  # pixels: largest side of a chunk in netCDF and Zarr
STAMPS = ("%Y%m%d", "%Y%m%dT%H%M%S")  # of dates in file names: the first that tells them apart
UNEVEN = 0.1  # pixels: how far a coordinate may be from where even spacing puts it; float32 degrees are off by less
WGS84 = "EPSG:4326"
DEGREE_NAMES = ("latitude", "lat", "longitude", "lon")
DEGREE_UNITS = re.compile("degrees?_?[ne]", re.IGNORECASE)  # how CF's units of latitude and longitude begin
NUMPY_CALENDAR = "proleptic_gregorian"
FILL_ATTRS = ("_FillValue", "missing_value")


def to_file(mask: Masked, path: str | Path) -> tuple[Path, ...]:
    """Write a mask; its name says in which format. Computes the mask, chunk by chunk.

    Parameters
    ----------
    mask : Dataset or DataArray
        predict's Dataset, or a mask with flag attributes: uint8 ``(time, y, x)`` or ``(y, x)``.
    path : path
        ``.tif``: a Cloud Optimized GeoTIFF; with several dates one for each, the date before the suffix
        (``mask_20240131.tif``, with the time of day where a date has several; ``mask_000.tif``, counted from zero,
        where the dates have no coordinate or only numbers). ``.nc``: netCDF-4, compressed. ``.zarr``: Zarr format 2,
        which all readers in use know. A file of that name is replaced.

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
    >>> from xr_cloudmask.masks.labels import SCHEMES
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), attrs=attrs)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [written.name for written in to_file(mask, f"{folder}/mask.nc")]
    ['mask.nc']
    """
    target = Path(path)
    if target.suffix.lower() not in WRITERS:
        raise FileError(
            f"output {target.name!r}",
            f"a name that ends in {', '.join(WRITERS)}",
            f"'{target.with_suffix('.tif')}'",
        )
    if not target.absolute().parent.is_dir():
        raise FileError(f"no folder {str(target.parent)!r}", "an existing folder", f"mkdir -p {target.parent}")
    write = WRITERS[target.suffix.lower()]
    dataset = _as_dataset(mask)
    parts = _dated(dataset, target) if write is _write_cog else {target: dataset}
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
    target = Path(path)
    if WRITERS.get(target.suffix.lower()) is not _write_cog:
        raise FileError(f"output {target.name!r}", "a name that ends in .tif", repr(str(target.with_suffix(".tif"))))
    return to_file(mask, target)


def open_mask(path: str | Path) -> xr.Dataset:
    """Open a mask that `to_file` wrote: labels lazily, flags and coverage as predict gives them.

    Parameters
    ----------
    path : path
        A ``.tif``, ``.nc`` or ``.zarr``.

    Returns
    -------
    Dataset
        ``cloudmask`` uint8 ``(y, x)`` or ``(time, y, x)``, coverage as coordinates; spatial dimensions with the names
        and the directions of the mask that was written.

    Raises
    ------
    FileError
        The file is missing or cannot be read.
    """
    from xr_cloudmask.files import store

    source = Path(path)
    dataset = store.open_store(source, CHUNK) if store.is_store(source) else _open_cog(source)
    attrs = dataset[MASK_NAME].attrs if MASK_NAME in dataset else {}
    if "flag_values" not in attrs:
        raise FileError(f"{str(path)!r} without flags", "a mask that to_file wrote", "files.open_cube(path) for a cube")
    attrs["flag_values"] = np.array(attrs["flag_values"], dtype="uint8")  # Zarr and GDAL know lists only
    return dataset


def _as_dataset(mask: Masked) -> xr.Dataset:
    """Return mask, probability and coverage, and of the coordinates those that files can hold."""
    dataset = mask_of(mask).to_dataset(name=MASK_NAME)
    if isinstance(mask, xr.Dataset) and PROBABILITY in mask:
        dataset = dataset.assign({PROBABILITY: mask[PROBABILITY]})
    dataset = dataset.copy().drop_vars([name for name, coord in dataset.coords.items() if not _storable(coord)])
    dataset = with_coverage(dataset[MASK_NAME], dataset)  # anew: the mask may have been cut since
    for variable in dataset.variables.values():
        # How an input file was packed is no advice for this one.
        variable.encoding = {key: value for key, value in variable.encoding.items() if key == "grid_mapping"}
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
    """Give a name to write under, and move the result in place once it is whole."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            (Path(folder) / "new").mkdir()
            yield Path(folder) / "new" / target.name
            for made in sorted((Path(folder) / "new").iterdir(), reverse=True):  # sidecars before the file itself
                _move(made, target.with_name(made.name), aside=Path(folder) / "replaced")
    except (OSError, RuntimeError) as error:  # netCDF and Zarr report damaged input as RuntimeError
        raise FileError(
            f"{_first_cause(error)} (while the mask was computed and written to {str(target)!r})",
            "inputs that can be read to their end, and room and permission to write",
            "check the file the message names: damaged inputs must be copied again; see df for room on the disk",
        ) from error


def _first_cause(error: BaseException) -> BaseException:
    """Return the error that tells most: GDAL names the file only in the first of a chain."""
    return error if error.__cause__ is None else _first_cause(error.__cause__)


def _move(made: Path, target: Path, aside: Path) -> None:
    from xr_cloudmask.files import store

    if target.is_dir():
        if not store.is_zarr(target):
            raise FileError(f"a folder {str(target)!r} that is no Zarr store", "a new name", "write to another name")
        target.rename(aside)
    made.replace(target)


def _dated(dataset: xr.Dataset, target: Path) -> dict[Path, xr.Dataset]:
    """Return a Dataset without time for every file."""
    if PROBABILITY in dataset:
        raise FileError(
            f"a mask with {PROBABILITY!r} and output {target.name!r}",
            "labels alone in a GeoTIFF",
            f"'{target.with_suffix('.zarr')}' or '{target.with_suffix('.nc')}'; or predict(probabilities=False)",
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
    index: Any = dataset.indexes.get(time)  # pandas' for datetime64, xarray's for other calendars
    if not hasattr(index, "strftime"):
        return [f"{position:03d}" for position in range(dataset.sizes[time])]
    for stamp in STAMPS:
        stamps = [str(date) for date in index.strftime(stamp)]
        if len(set(stamps)) == len(stamps):
            return stamps
    raise FileError(f"dates that repeat in {time!r}", "a date and time for each file", "write .nc or .zarr instead")


@contextmanager
def _georeferenced_or_not() -> Iterator[None]:
    """Keep rasterio from warning of masks whose cube has no coordinates: their users know."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@_georeferenced_or_not()
def _write_cog(dataset: xr.Dataset, path: Path) -> None:
    """Write labels to a plain GeoTIFF, not compressed, count them there, and let GDAL make the COG of it."""
    import rasterio
    from rasterio.shutil import copy

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        plain = Path(scratch) / "labels.tif"
        array = _turned(dataset[MASK_NAME], _against(dataset[MASK_NAME]))
        scheme = scheme_of(array)
        _write_labels(array, scheme, plain)
        # What was computed chunk by chunk is counted in the file; what is in memory needs no dask, whose tasks may
        # run on another machine.
        written = _open_raster(plain).assign_attrs(flag_attrs(scheme)) if array.chunks else array
        table = coverage(written).compute() if scheme.tells_no_data else {}
        fractions = {str(name): float(value) for name, value in table.items()}
        with rasterio.open(plain, "r+") as file:
            file.update_tags(**_tags(dataset[MASK_NAME], fractions))
        _write_class_names(scheme, plain)
        with rasterio.Env(COG_TMP_COMPRESSION="NONE"):  # of overviews, before they are compressed as the rest
            copy(
                plain,
                path,
                driver="COG",
                blocksize=BLOCK,
                compress="LZW",  # a third quicker than DEFLATE, for a sixth more bytes
                overview_resampling="MODE",
                bigtiff="IF_SAFER",
            )


def _against(array: xr.DataArray) -> list[str]:
    """Return the spatial dimensions that run against a map's: y to the north, x to the west."""
    view = layout.view(array)
    placed = {dim: array[dim].values for dim in (view.y, view.x) if dim in array.coords}
    return [dim for dim, axis in placed.items() if (axis[-1] > axis[0] if dim == view.y else axis[-1] < axis[0])]


def _turned(array: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    return array.isel(dict.fromkeys(dims, slice(None, None, -1)))


def _write_labels(array: xr.DataArray, scheme: Scheme, path: Path) -> None:
    import dask.array as da
    import rasterio

    view = layout.view(array)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": array.sizes[view.y],
        "width": array.sizes[view.x],
        "nodata": scheme.no_data,
        "crs": _crs(view),
        "transform": _transform(view),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "bigtiff": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write_colormap(1, _colormap(scheme))
        file.set_band_description(1, MASK_NAME)
    labels = array.transpose(view.y, view.x)
    if labels.chunks:
        da.store(labels.data, _Labels(path), lock=True)  # type: ignore[arg-type]
    else:
        _Labels(path)[slice(0, labels.shape[0]), slice(0, labels.shape[1])] = labels.values


def _crs(view: layout.CubeView) -> Any:
    """Return the CRS, or None; latitude and longitude without one are of WGS 84, as nearly all that are."""
    declared = coordinate_reference_system(view)
    coords = [view.source.coords[dim] for dim in (view.y, view.x) if dim in view.source.coords]
    return WGS84 if declared is None and coords and all(map(_in_degrees, coords)) else declared


def _in_degrees(coord: xr.DataArray) -> bool:
    units = str(coord.attrs.get("units", ""))
    return DEGREE_UNITS.match(units) is not None or (coord.name in DEGREE_NAMES and units in ("", "degree", "degrees"))


def _transform(view: layout.CubeView) -> Any:
    """Return the affine transform, or None where pixels have no coordinates.

    A single row is as high as it is wide; a single pixel has the size that the grid mapping declares.
    """
    from odc.geo.math import affine_from_axis

    if not {view.x, view.y} <= set(view.source.coords):
        return None
    x, y = (_even(view.source.coords[dim]) for dim in (view.x, view.y))
    size = next((abs(axis[1] - axis[0]) for axis in (x, y) if axis.size > 1), None) or _declared_size(view)
    if size is None:
        raise FileError(
            "a mask of one pixel, whose size nothing tells", "at least two pixels in a GeoTIFF", "write .nc"
        )
    return affine_from_axis(x, y, fallback_resolution=size)


def _even(coord: xr.DataArray) -> npt.NDArray[np.float64]:
    """Return the evenly spaced coordinate that rounding hides; refuse one that is not."""
    values = coord.values.astype("float64")
    even = np.linspace(values[0], values[-1], values.size)
    if values.size > 1 and not np.abs(values - even).max() < UNEVEN * abs(even[1] - even[0]):
        raise FileError(
            f"unevenly spaced coordinate {str(coord.name)!r}",
            "pixels of one size in a GeoTIFF",
            "write .nc or .zarr; or bring the cube to an even grid before predict: cube.interp(x=..., y=...)",
        )
    return even


def _declared_size(view: layout.CubeView) -> Any:
    """Return the pixel size in the grid mapping's ``GeoTransform``, as GDAL and rioxarray write it."""
    from odc.geo import resxy_

    mapping = view.coords.get(view.grid_mapping)
    declared = "" if mapping is None else str(mapping.attrs.get("GeoTransform", ""))
    numbers = [float(number) for number in declared.split()]
    return resxy_(numbers[1], numbers[5]) if numbers else None


@dataclass(frozen=True)
class _Labels:
    """A GeoTIFF that dask stores blocks to, from any thread or process that reaches the file."""

    path: Path

    def __setitem__(self, region: tuple[slice, slice], block: npt.NDArray[np.uint8]) -> None:
        import rasterio
        from rasterio.windows import Window

        with rasterio.open(self.path, "r+") as file:
            file.write(block, 1, window=Window.from_slices(*region))


def _colormap(scheme: Scheme) -> dict[int, tuple[int, int, int, int]]:
    return {entry.code: (*_rgb(entry.color), 255) for entry in scheme.classes} | {scheme.no_data: (0, 0, 0, 0)}


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def _tags(array: xr.DataArray, fractions: Mapping[str, float]) -> dict[str, str]:
    """Return attributes, coverage, date and what the file cannot say of its dimensions, as text; the rest as JSON."""
    plain = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in array.attrs.items()}
    tags = {
        str(key): value if isinstance(value, str) else json.dumps(value, default=str) for key, value in plain.items()
    }
    view = layout.view(array)
    tags |= {name: json.dumps(value) for name, value in fractions.items()}
    tags |= {"dims": json.dumps([view.y, view.x]), "reversed_dims": json.dumps(_against(array))}
    time = next((array.coords[name] for name in layout.TIME_NAMES if name in array.coords), None)
    return tags if time is None else tags | _time_tags(time)


def _time_tags(time: xr.DataArray) -> dict[str, str]:
    """Return a date and its calendar, or the number that stands for a date."""
    value: Any = time.values.item() if time.dtype.kind == "O" else time.values[()]
    if isinstance(value, np.datetime64):
        return {"time": str(value), "calendar": NUMPY_CALENDAR}
    if hasattr(value, "calendar"):
        return {"time": value.isoformat(timespec="seconds"), "calendar": value.calendar}
    return {"time": json.dumps(value, default=np.generic.item)}


def _write_class_names(scheme: Scheme, path: Path) -> None:
    names = {entry.code: entry.name for entry in scheme.classes} | {scheme.no_data: "no_data"}
    categories = "".join(f"<Category>{escape(names.get(code, ''))}</Category>" for code in range(max(names) + 1))
    band = f'<PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames></PAMRasterBand>'
    path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")


def _open_raster(path: Path) -> xr.DataArray:
    from xr_cloudmask.files import raster

    (array,) = raster.open_each([path], CHUNK)[0].values()
    return array


@_georeferenced_or_not()
def _open_cog(path: Path) -> xr.Dataset:
    import rasterio

    array = _open_raster(path)
    with rasterio.open(path) as file:
        attrs: dict[str, Any] = {key: value for key, value in file.tags().items() if key != "AREA_OR_POINT"}
    coords: dict[str, Any] = {
        name: xr.Variable((), json.loads(attrs.pop(name)), {"units": "1"}) for name in FRACTIONS if name in attrs
    }
    if "time" in attrs:
        coords["time"] = _time(attrs.pop("time"), attrs.pop("calendar", None))
    y, x = json.loads(attrs.pop("dims", '["y", "x"]'))
    against = json.loads(attrs.pop("reversed_dims", "[]"))
    array.attrs = attrs | {key: json.loads(attrs[key]) for key in ("flag_values", "nodata") if key in attrs}
    array = _turned(array.rename(y=y, x=x), against)
    if against:
        array["spatial_ref"].attrs.pop("GeoTransform", None)  # of the file, and optional
    return array.to_dataset(name=MASK_NAME).assign_coords(coords)


def _time(text: str, calendar: str | None) -> Any:
    """Return what `_time_tags` wrote."""
    if calendar is None:
        return json.loads(text)
    if calendar == NUMPY_CALENDAR:
        return np.datetime64(text)
    return xr.date_range(text, periods=1, calendar=calendar, use_cftime=True)[0]


def _write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    chunked = _chunked(dataset)
    encoding = {
        name: {**variable.encoding, "zlib": True, "complevel": 4, "chunksizes": variable.data.chunksize}
        for name, variable in chunked.data_vars.items()
    }
    chunked.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)


def _write_zarr(dataset: xr.Dataset, path: Path) -> None:
    _chunked(dataset).to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def _chunked(dataset: xr.Dataset) -> xr.Dataset:
    """Give pixels chunks of one size along a dimension, as files need them, and coverage a single chunk."""
    mask = dataset[MASK_NAME]
    view = layout.view(mask)
    pixels = {dim: min(CHUNK, max(mask.chunksizes.get(dim, (mask.sizes[dim],)))) for dim in (view.y, view.x)}
    variables = {
        name: array.variable.chunk({dim: pixels.get(str(dim), 1) for dim in array.dims})
        for name, array in dataset.data_vars.items()
    }
    coords = {name: coord.variable.chunk(-1) for name, coord in dataset.coords.items() if coord.chunks}
    return dataset.assign(variables).assign_coords(coords)


WRITERS: Mapping[str, Writer] = {".tif": _write_cog, ".tiff": _write_cog, ".nc": _write_netcdf, ".zarr": _write_zarr}
