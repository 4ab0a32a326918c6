"""Cloud Optimized GeoTIFFs of masks, with colours, class names, flags and coverage, and back."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.crs import coordinate_reference_system
from xr_cloudmask.errors import FileError
from xr_cloudmask.files.raster import CHUNK
from xr_cloudmask.masks.coverage import counted_over, coverage
from xr_cloudmask.masks.schemes import Scheme, flag_attrs, scheme_of
from xr_cloudmask.names import FRACTIONS, MASK_NAME

BLOCK = 512  # pixels: side of a COG's tiles
UNEVEN = 0.1  # pixels: how far a coordinate may be from where even spacing puts it; float32 degrees are off by less
WGS84 = "EPSG:4326"
DEGREE_NAMES = ("latitude", "lat", "longitude", "lon")
DEGREE_UNITS = re.compile("degrees?_?[ne]", re.IGNORECASE)  # how CF's units of latitude and longitude begin
NUMPY_CALENDAR = "proleptic_gregorian"
SIDECAR = ".aux.xml"  # where GDAL keeps class names


@contextmanager
def _georeferenced_or_not() -> Iterator[None]:
    """Keep rasterio from warning of masks whose cube has no coordinates: their users know."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def _on_disk() -> Iterator[None]:
    """Make an OSError of what rasterio raises where a disk is full: GDAL then finds no GeoTIFF in half a file."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (CPLE_BaseError, RasterioError, TypeError, ValueError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


@_georeferenced_or_not()
def write(dataset: xr.Dataset, path: Path) -> None:
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
        tags = _tags(dataset[MASK_NAME], fractions)
        with _on_disk(), rasterio.open(plain, "r+") as file:
            file.update_tags(**tags)
        _write_class_names(scheme, plain)
        # Overviews are compressed later, as the rest.
        with _on_disk(), rasterio.Env(COG_TMP_COMPRESSION="NONE"):
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
    with _on_disk(), rasterio.open(path, "w", **profile) as file:
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

        with _on_disk(), rasterio.open(self.path, "r+") as file:
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
    path.with_name(f"{path.name}{SIDECAR}").write_text(f"<PAMDataset>{band}</PAMDataset>")


def _open_raster(path: Path) -> xr.DataArray:
    from xr_cloudmask.files import raster

    (array,) = raster.open_each([path], CHUNK)[0].bands
    return array


@_georeferenced_or_not()
def read(path: Path) -> xr.Dataset:
    """Open a file that `write` made: labels lazily, on the cube's own dimensions, coverage as coordinates."""
    import rasterio

    array = _open_raster(path)
    area = counted_over(array.shape)
    with rasterio.open(path) as file:
        attrs: dict[str, Any] = {key: value for key, value in file.tags().items() if key != "AREA_OR_POINT"}
    coords: dict[str, Any] = {
        name: xr.Variable((), json.loads(attrs.pop(name)), {"units": "1"} | area) for name in FRACTIONS if name in attrs
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
