"""What is a cube: find time, band, y and x, whatever they are called.

A cube is a Dataset with a variable per band or a DataArray with a band dimension. Everything downstream sees
one `CubeView`: named bands, each ``(time, y, x)`` or ``(y, x)``, still lazy, values untouched.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from xr_cloudmask.cube.metadata import BandMetadata, of_bands, read, with_their_own
from xr_cloudmask.cube.spelling import key, looks_spectral
from xr_cloudmask.errors import CubeError, listed
from xr_cloudmask.names import PREDICTED_NAMES

Cube: TypeAlias = xr.Dataset | xr.DataArray

# Names in use, most common first, in any case. Where none fits, CF attributes (axis, standard_name) decide.
Y_NAMES = (
    "y", "latitude", "lat", "Y", "northing", "row", "rows", "YDim", "downtrack", "along_track", "number_of_lines",
    "line", "lines", "scanline", "ny", "nj", "j",
)  # fmt: skip
X_NAMES = (
    "x", "longitude", "lon", "X", "easting", "col", "cols", "columns", "column", "XDim", "crosstrack", "across_track",
    "cross_track", "number_of_pixels", "pixels_per_line", "pixel", "pixels", "sample", "samples", "nx", "ni", "i",
)  # fmt: skip
TIME_NAMES = ("time", "t", "date", "datetime", "valid_time")
BAND_NAMES = (
    "band", "bands", "channel", "channels", "spectral", "wavelength", "wavelengths", "variable", "number_of_bands",
    "spectral_band", "spectral_bands", "band_name", "band_id", "wavelength_3d",
)  # fmt: skip
Y_STANDARD_NAMES = ("projection_y_coordinate", "latitude", "grid_latitude")
X_STANDARD_NAMES = ("projection_x_coordinate", "longitude", "grid_longitude")

ALPHA = "alpha"


@dataclass(frozen=True)
class CubeView:
    """One view of any cube.

    Attributes
    ----------
    source : Dataset or DataArray
        The cube as the user gave it; never modified.
    y, x : str
        Names of the spatial dimensions.
    time, band : str or None
        Names of the time and band dimensions; None where the cube has none.
    bands : mapping of str to DataArray
        Every band in the cube's order, dims ``(time, y, x)`` or ``(y, x)``; lazy where the cube is.
    sizes : mapping of str to int
        Length of every dimension of a band, in order.
    shape : tuple of int
        Pixels along y and x.
    grid_mapping : str or None
        Name of the CF grid mapping variable, where there is one.
    """

    source: Cube
    y: str
    x: str
    time: str | None
    band: str | None
    bands: Mapping[str, xr.DataArray]
    sizes: Mapping[str, int]
    shape: tuple[int, int]
    grid_mapping: str | None

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of a band, in order."""
        return tuple(self.sizes)

    @property
    def dates(self) -> int:
        """Number of time steps; 1 where the cube has no time dimension."""
        return 1 if self.time is None else self.sizes[self.time]

    @property
    def coords(self) -> xr.Coordinates:
        """Coordinates of space and time and the grid mapping with their indexes, without an earlier prediction's."""
        known, mapping = self.source.coords.to_dataset(), self.grid_mapping
        if mapping not in known and mapping in _variables_of(self.source):  # a data variable after xarray.open_dataset
            known = known.assign_coords({mapping: self.source[mapping].variable})
        left_out = {self.band, *PREDICTED_NAMES}
        return known.drop_vars([name for name, coord in known.coords.items() if left_out & {name, *coord.dims}]).coords

    @cached_property
    def along_bands(self) -> dict[str, xr.DataArray]:
        """Coordinates along the band dimension, and variables of a Dataset that are meant as such (EMIT's ``fwhm``)."""
        if self.band is None:
            return {}
        found = (self.source[name] for name in _variables_of(self.source))
        return {str(array.name): array for array in found if array.dims == (self.band,)}

    @cached_property
    def coords_of_bands(self) -> Mapping[str, Mapping[str, Any]]:
        """What the coordinates along the band dimension, and those without dimension, say at each band.

        stackstac makes a coordinate that is the same for all bands one without dimension. Nothing else is read.
        """
        scalars = {str(name): coord for name, coord in self.source.coords.items() if coord.ndim == 0}
        along = {name: read(coord) for name, coord in self.along_bands.items()}
        shared = {name: read(coord).item() for name, coord in scalars.items() if name not in PREDICTED_NAMES}
        return {name: shared | {key: values[i] for key, values in along.items()} for i, name in enumerate(self.bands)}

    @cached_property
    def alpha(self) -> xr.DataArray | None:
        """The band of an image that is 0 where it is transparent, None where there is none."""
        named = (values for name, values in self.bands.items() if key(name) == ALPHA)
        return next((values for values in named if values.dtype.kind in "iu"), None)

    @cached_property
    def metadata(self) -> Mapping[str, BandMetadata]:
        """What the cube says of each band."""
        return of_bands(self.bands, self.coords_of_bands)


def along(cube: Cube, dim: str | None) -> np.ndarray | None:
    """Return the coordinate along a dimension, whatever index it has, or has not; None where there is none."""
    coord = None if dim is None or dim not in cube.coords else cube.coords[dim]
    return None if coord is None or coord.dims != (dim,) else read(coord)


def _variables_of(cube: Cube) -> Mapping[Any, Any]:
    return cube.variables if isinstance(cube, xr.Dataset) else cube.coords


def _grid_mapping(cube: Cube, bands: Mapping[str, xr.DataArray]) -> str | None:
    for array in (cube, *bands.values()):
        name = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping"))
        if name is not None:
            return str(name)
    if "spatial_ref" in _variables_of(cube):
        return "spatial_ref"
    indexes = cube.xindexes.items()  # xproj keeps the CRS in the index of a scalar coordinate
    return next((str(k) for k, index in indexes if hasattr(index, "crs") and not cube.coords[k].ndim), None)


def view(cube: Cube) -> CubeView:
    """Understand a cube's dimensions and bands; computes nothing.

    Parameters
    ----------
    cube : Dataset or DataArray
        A variable per band, or a band dimension; any dimension order; with or without time; NumPy or dask.

    Returns
    -------
    CubeView

    Raises
    ------
    CubeError
        No spatial dimensions, unknown further dimensions, an empty array, bands on different grids or with
        the same name.
    """
    if not isinstance(cube, xr.Dataset | xr.DataArray):
        raise _no_cube(cube)
    y, x = _spatial_dims(cube)
    cube = _without_bands_of_one(cube, y, x)
    time = _time_dim(cube, exclude=(y, x))
    array = _banded_array(cube, y, x)
    if array is not None:
        band = _band_dim(array, exclude=(y, x, time))
        bands = _split(array, band) if band else {str(array.name or "band"): array}
    else:
        band, bands = None, _variables(cube, y, x, time)  # type: ignore[arg-type]
    sizes = {dim: cube.sizes[dim] for dim in ((y, x) if time is None else (time, y, x))}
    bands = {name: _ordered(name, values, sizes) for name, values in bands.items()}
    mapping = _grid_mapping(cube, bands)
    bands = with_their_own(bands)
    shape = sizes[y], sizes[x]
    return CubeView(cube, y, x, time, band, MappingProxyType(bands), MappingProxyType(sizes), shape, mapping)


def _no_cube(given: Any) -> CubeError:
    remedy = "xarray.DataArray(array, dims=('band', 'y', 'x'), coords={'band': ['blue', 'green', 'red', 'nir']})"
    if isinstance(given, xr.DataTree):
        groups = [node.path for node in given.subtree if node.data_vars]
        first = groups[0] if groups else "/"
        remedy = (
            f"tree[{first!r}].to_dataset(), one of the groups {_listed(groups)}; "
            "tree.cloudmask.cube() brings bands of several groups to one grid"
        )
    return CubeError(
        f"an object of type {type(given).__name__}",
        "an xarray Dataset with a variable per band, or a DataArray with a band dimension",
        remedy,
    )


def _spatial_dims(cube: Cube) -> tuple[str, str]:
    y = _dim(cube, Y_NAMES, Y_STANDARD_NAMES, "Y")
    x = _dim(cube, X_NAMES, X_STANDARD_NAMES, "X")
    if y is None or x is None:
        raise CubeError(
            f"dimensions {_listed(cube.dims)}",
            "two spatial dimensions such as ('y', 'x'), ('latitude', 'longitude') or ('lat', 'lon'), "
            "or coordinates with the CF attribute axis='Y' / axis='X'",
            "cube.rename({'your_row_dim': 'y', 'your_column_dim': 'x'})",
        )
    return y, x


def _time_dim(cube: Cube, exclude: tuple[str | None, ...]) -> str | None:
    named = _dim(cube, TIME_NAMES, ("time",), "T")
    if named is not None:
        return named
    for dim in cube.dims:
        if dim not in exclude and dim in cube.coords and cube.coords[dim].dtype.kind == "M":
            return str(dim)
    return None


def _dim(cube: Cube, names: Iterable[str], standard_names: Iterable[str], axis: str) -> str | None:
    found = _named(cube.dims, names)
    if found is not None:
        return found
    for dim in cube.dims:
        attrs = cube.coords[dim].attrs if dim in cube.coords else {}
        if attrs.get("axis") == axis or attrs.get("standard_name") in tuple(standard_names):
            return str(dim)
    return None


def _named(dims: Iterable[Hashable], names: Iterable[str]) -> str | None:
    """Return the dimension with the first of some names, in any case; HDF-EOS writes ``YDim:MOD_Grid``."""
    exact = {str(dim).partition(":")[0]: str(dim) for dim in dims}
    folded = {key(name): dim for name, dim in exact.items()}
    return next((exact.get(name, folded.get(key(name))) for name in names if key(name) in folded), None)


def _without_bands_of_one(cube: Cube, y: str, x: str) -> Cube:
    """Drop the band dimension of variables that are a band each, as rioxarray opens files of one band."""
    dim = _named(cube.dims, BAND_NAMES)
    if isinstance(cube, xr.DataArray) or dim is None or cube.sizes[dim] != 1:
        return cube
    banded = [values for values in cube.data_vars.values() if {y, x, dim} <= set(values.dims)]
    return cube.isel({dim: 0}, drop=True) if len(banded) > 1 else cube


def _banded_array(cube: Cube, y: str, x: str) -> xr.DataArray | None:
    """Return the DataArray that holds all bands: the cube itself, or the only variable with a band dimension."""
    if isinstance(cube, xr.DataArray):
        return cube
    banded = {
        str(name): v for name, v in cube.data_vars.items() if {y, x} <= set(v.dims) and _named(v.dims, BAND_NAMES)
    }
    if len(banded) > 1:
        first = next(iter(banded))
        raise CubeError(
            f"several variables with a band dimension: {_listed(banded)}",
            "one, with the reflectance",
            f"cube[{first!r}]",
        )
    return next(iter(banded.values()), None)


def _band_dim(array: xr.DataArray, exclude: tuple[str | None, ...]) -> str | None:
    others = [str(dim) for dim in array.dims if dim not in exclude]
    band = _named(others, BAND_NAMES)
    unknown = [dim for dim in others if dim != band]
    if not unknown:
        return band
    time_is_known = exclude[-1] is not None
    options = [f"cube.rename({{{unknown[0]!r}: 'band'}})"] if band is None else []
    options += [] if time_is_known else [f"cube.rename({{{unknown[0]!r}: 'time'}}) if it holds dates"]
    options += [f"cube.isel({{{unknown[-1]!r}: 0}}) to drop it"]
    raise CubeError(
        f"dimensions {_listed(array.dims)}",
        f"besides space and time only a band dimension, called one of {_listed(BAND_NAMES)}",
        ", or ".join(options),
    )


def _split(array: xr.DataArray, band: str) -> dict[str, xr.DataArray]:
    names = band_labels(array, band)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CubeError(
            f"duplicate band names {_listed(repeated)}",
            "a name per band",
            f"cube.assign_coords({band}=[...unique names...]) or cube.isel({band}=[...])",
        )
    return {name: array.isel({band: i}, drop=True) for i, name in enumerate(names)}


def band_labels(array: xr.DataArray, band: str) -> list[str]:
    """Name every band: the coordinate's labels, or rioxarray's ``long_name`` where the labels are only numbers."""
    size = array.sizes[band]
    labels = array[band].values if band in array.coords else np.arange(1, size + 1)
    told = array.attrs.get("long_name")
    if isinstance(told, str) and looks_spectral(told):  # of a file with one band
        told = [told]
    if labels.dtype.kind in "iuf" and isinstance(told, tuple | list) and len(told) == size:
        return [str(name or label) for name, label in zip(told, labels, strict=True)]
    return [name_of(label) for label in labels]


def name_of(label: Any) -> str:
    """Return the name of a band whose label is text, bytes or a number."""
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def _variables(cube: xr.Dataset, y: str, x: str, time: str | None) -> dict[str, xr.DataArray]:
    spatial = {name_of(name): v for name, v in cube.data_vars.items() if {y, x} <= set(v.dims)}
    # A second pair of spatial dimensions means bands on another grid (a 20 m band beside 10 m ones); one dimension
    # more does not: CF bounds are (time, nv), (y, nv).
    elsewhere = [
        n for n, v in cube.data_vars.items() if name_of(n) not in spatial and len({*v.dims} - {y, x, time}) > 1
    ]
    if elsewhere:
        dims = {name_of(name): cube[name].dims for name in elsewhere[:3]}
        raise CubeError(
            f"variables on another grid than ({y}, {x}): {dims}",
            "every band on one grid",
            "cube.rio.reproject_match(...) or odc.geo's .odc.reproject(geobox) first, or drop them: "
            f"cube.drop_dims({sorted({str(dim) for name in elsewhere for dim in cube[name].dims} - {y, x, time})!r})",
        )
    if not spatial:
        raise CubeError(
            f"a Dataset with variables {_listed(cube.data_vars)}, none with dimensions ({y}, {x})",
            "a variable per band",
            "xarray.Dataset({'blue': ..., 'green': ..., 'red': ..., 'nir': ...})",
        )
    return {name: v for name, v in spatial.items() if "class" not in v.dims}  # predict's probabilities are no band


def _ordered(name: str, values: xr.DataArray, sizes: Mapping[str, int]) -> xr.DataArray:
    """Bring a band to the order of `sizes`; a band without time in a cube with time is repeated along it."""
    unexpected = [str(dim) for dim in values.dims if dim not in sizes]
    if unexpected:
        raise CubeError(
            f"band {name!r} with dimensions {_listed(values.dims)}",
            f"no dimensions besides {_listed(sizes)}",
            ("" if "time" in sizes else f"cube.rename({{{unexpected[0]!r}: 'time'}}) if it holds dates, or ")
            + f"cube.isel({{{unexpected[0]!r}: 0}})",
        )
    if 0 in values.shape:
        raise CubeError(
            f"band {name!r} is empty: {dict(values.sizes)}",
            "at least one pixel and one date",
            "check the area and the dates the cube was loaded for",
        )
    missing = {dim: size for dim, size in sizes.items() if dim not in values.dims}
    return (values.expand_dims(missing) if missing else values).transpose(*sizes)


def require_real_numbers(name: str, values: xr.DataArray) -> None:
    """Refuse a band whose values are not integers or floating-point numbers."""
    if values.dtype.kind not in "iuf":
        raise CubeError(
            f"band {name!r} of dtype {values.dtype}",
            "integer digital numbers or floating-point reflectance",
            f"cube[{name!r}].astype('float32') once the values are real numbers",
        )


# Bands as arrays, and arrays back on the grid.


def pixels(view: CubeView, band: str) -> Any:
    """Return a band's array as it is, ``(time, y, x)`` or ``(y, x)``, with no data where an image is transparent."""
    values = view.bands[band]
    require_real_numbers(band, values)
    if values.dtype.itemsize > 8:  # extended precision, which nothing compiled takes
        values = values.astype("float64")
    if view.alpha is not None:
        values = values.where(view.alpha != 0, 0 if values.dtype.kind != "f" else np.nan)
    return values.values if values.chunks is None else values.data


def dated(view: CubeView, band: str) -> Any:
    """Return a band's array as ``(time, y, x)``, with one date where the cube has no time."""
    array = pixels(view, band)
    return array if view.time is not None else array[None]


def undated(view: CubeView, array: Any) -> Any:
    """Drop the date of an array where the cube has no time."""
    return array if view.time is not None else array[0]


def is_lazy(view: CubeView, bands: Iterable[str]) -> bool:
    """Whether any of the bands is a dask array."""
    needed = [view.bands[band] for band in bands] + ([] if view.alpha is None else [view.alpha])
    return any(values.chunks is not None for values in needed)


def _listed(names: Iterable[Any]) -> str:
    return listed(repr(str(name)) for name in names) or "none"
