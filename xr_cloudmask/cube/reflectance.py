"""Digital numbers to reflectance, exactly once, with provenance.

`cube.calibration` settles the rule of every band; `apply` is the only place that computes reflectance, `physical` does
so for any kind of band, and `to_reflectance` gives the user the cube.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.bands import describe
from xr_cloudmask.cube.calibration import Calibration, Factor, calibrate
from xr_cloudmask.cube.declared import (
    FACTORS,
    NODATA_KEYS,
    PROVENANCE,
    ZERO,
    is_marked,
)
from xr_cloudmask.cube.layout import Cube, CubeView
from xr_cloudmask.cube.layout import view as view_of
from xr_cloudmask.cube.plausible import countable, require_reflectance
from xr_cloudmask.cube.temperature import check_kelvin, kelvin

OBSOLETE_ATTRS = {
    ZERO, *FACTORS, *NODATA_KEYS, "valid_range", "valid_min", "valid_max", "units",
    "eo:bands", "raster:bands", "bands",
}  # fmt: skip


def apply(
    dn: np.ndarray, scale: float, offset: float, nodata: tuple[float, ...], out: np.ndarray | None = None
) -> np.ndarray:
    """Compute ``dn * scale + offset`` as float32, NaN where there is no data.

    Parameters
    ----------
    dn : ndarray
        Digital numbers or reflectance, any shape, integer or floating.
    scale, offset : float
        The linear rule.
    nodata : tuple of float
        No-data values in `dn`; non-finite values are no data in any case.
    out : ndarray of float32, optional
        Where to put the result: contiguous, of the same shape. A task that has many bands uses its memory again.

    Returns
    -------
    ndarray of float32
        Same shape.

    Raises
    ------
    ReflectanceError
        The result cannot be reflectance: values that `scale` takes for reflectance are digital numbers, or the other
        way round, or fill is not declared. Metadata alone cannot exclude that. A sample of the values decides.

    Examples
    --------
    >>> apply(np.array([0, 3500], "uint16"), 1e-4, -0.1, (0,))
    array([ nan, 0.25], dtype=float32)
    """
    result = _scaled(dn, scale, offset, nodata, out)
    require_reflectance(dn, result, scale)
    return result


def _scaled(
    dn: np.ndarray, scale: float, offset: float, nodata: tuple[float, ...], out: np.ndarray | None
) -> np.ndarray:
    from xr_cloudmask.cube import kernels

    numbers = countable(dn)
    out = np.empty(dn.shape, "float32") if out is None else out
    # A no-data value is what it is in the precision of the numbers.
    missing = np.array(nodata, dn.dtype).astype(numbers.dtype) if dn.dtype.kind == "f" else np.array(nodata, "float64")
    kernels.scaled(numbers.reshape(-1), np.float32(scale), np.float32(offset), missing, out.reshape(-1))
    return out


def physical(dn: np.ndarray, calibration: Calibration, date: int, out: np.ndarray | None = None) -> np.ndarray:
    """Turn one date of a band into what its calibration says, such as reflectance or kelvin.

    Parameters
    ----------
    dn : ndarray
        Values as they are in the cube, any shape.
    calibration : Calibration
    date : int
        Position of the date in the cube.
    out : ndarray of float32, optional
        As in `apply`.

    Returns
    -------
    ndarray of float32
        Same shape, NaN where there is no data.

    Raises
    ------
    ReflectanceError
        Floating-point values cannot be what the metadata make of them.

    Examples
    --------
    >>> rule = Calibration((3.342e-4,), (0.1,), (0,), kind="brightness_temperature",
    ...                    planck=((774.8853, 1321.0789),))
    >>> physical(np.array([0, 25000], "uint16"), rule, 0).round(1)
    array([  nan, 291.7], dtype=float32)
    """
    scale, offset = (rule[date % len(rule)] for rule in (calibration.scale, calibration.offset))
    if calibration.kind == "reflectance":
        return apply(dn, scale, offset, calibration.nodata, out)
    values = _scaled(dn, scale, offset, calibration.nodata, out)
    if calibration.planck is not None:
        return kelvin(values, *calibration.planck[date % len(calibration.planck)])
    if calibration.kind == "brightness_temperature":
        check_kelvin(values)
    return values


def to_reflectance(
    cube: Cube,
    sensor: str | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    level: str | None = None,
) -> Cube:
    """Return the cube with its reflectance bands as reflectance; other variables stay as they are.

    Parameters
    ----------
    cube : Dataset or DataArray
        A variable per band, or a band dimension; NumPy or dask. Never modified.
    sensor, scale, offset, level
        As for `calibrate`.

    Returns
    -------
    Dataset or DataArray
        The same kind of cube, float32, nominally 0 to 1, NaN where there is no data; same dims, coords and grid
        mapping; attrs ``reflectance_provenance`` and ``level``, and ``reflectance_of_zero`` where an offset made
        digital number 0, fill at the edge of a swath, something else. Lazy where the cube is. A cube that carries
        the mark already is returned unchanged.

    Raises
    ------
    BandError, ReflectanceError
        The bands are not recognised; the metadata do not settle the conversion.

    Examples
    --------
    >>> cube = xr.Dataset({"red": (("y", "x"), np.full((1, 2), 2500, "uint16"))})
    >>> to_reflectance(cube, scale=1e-4).red.values
    array([[0.25, 0.25]], dtype=float32)
    """
    view = view_of(cube)
    descriptors = [d for d in describe(view, sensor) if d.kind == "reflectance"]
    if descriptors and all(is_marked(view, d.name) for d in descriptors):
        return cube
    radiometry = calibrate(view, descriptors, sensor=sensor, scale=scale, offset=offset, level=level)
    by_name = dict(zip((d.name for d in descriptors), radiometry.calibrations, strict=True))
    mark: dict[str, Any] = {PROVENANCE: radiometry.provenance}
    if radiometry.level:
        mark["level"] = radiometry.level
    zeros = {zero for calibration in radiometry.calibrations for zero in _zeros(calibration)}
    differ = len(zeros) > 1  # no one attribute can say what fill became: it becomes NaN
    if any(zeros) and not differ:
        mark[ZERO] = zeros.pop()
    if isinstance(cube, xr.DataArray) or view.band is not None:
        return _without_factors(_convert_array(cube, view, by_name, mark, differ), view, by_name)
    converted = {name: _convert(cube[name], view, {name: c}, mark, differ) for name, c in by_name.items()}
    return _without_factors(cube.assign(converted).assign_attrs(mark), view, by_name)


def _without_factors(cube: Cube, view: CubeView, converted: Collection[str]) -> Cube:
    """Drop the coordinates that told how to convert bands, or they would be heeded again once the mark is lost."""
    cube = cube.drop_vars([f"{key}:{name}" for key in FACTORS for name in converted], errors="ignore")
    along = {key: cube[key] for key in FACTORS if key in cube.coords}
    if view.band is None:
        return cube.drop_vars(list(along))
    others = xr.DataArray([name not in converted for name in view.bands], dims=view.band)
    return cube.assign_coords({key: coord.where(others) for key, coord in along.items()})


def _convert_array(
    cube: Cube, view: CubeView, by_name: Mapping[str, Calibration], mark: Mapping[str, Any], drop_zero: bool
) -> Cube:
    if isinstance(cube, xr.DataArray):
        return _convert(cube, view, by_name, mark, drop_zero)
    name = next(name for name, values in cube.data_vars.items() if view.band in values.dims)
    return cube.assign({name: _convert(cube[name], view, by_name, mark, drop_zero)}).assign_attrs(mark)


def _convert(
    array: xr.DataArray, view: CubeView, by_name: Mapping[str, Calibration], mark: Mapping[str, Any], drop_zero: bool
) -> xr.DataArray:
    """Convert an array of one band, or of several along the band dimension; with `drop_zero`, number 0 to NaN."""
    names = list(view.bands) if view.band in array.dims else list(by_name)
    rules = [by_name.get(name, Calibration((math.nan,), (math.nan,))) for name in names]
    fills = itertools.zip_longest(*(rule.nodata for rule in rules), fillvalue=math.nan)
    rows = [[rule.scale for rule in rules], [rule.offset for rule in rules]]
    rows += ([(number,) for number in fill] for fill in fills)
    if drop_zero:
        rows.append([rule.zero for rule in rules])
    factors = [_factors(view, array, row) for row in rows]
    if any(view.time in factor.dims for factor in factors) and view.time not in array.dims:
        array = array.expand_dims({view.time: view.dates})
    converted: xr.DataArray = xr.apply_ufunc(
        _apply_slices, array, *factors, dask="parallelized", output_dtypes=[np.float32], keep_attrs=True
    )
    converted.attrs = {k: v for k, v in array.attrs.items() if k not in OBSOLETE_ATTRS} | {"units": "1"} | dict(mark)
    converted.encoding = {k: v for k, v in array.encoding.items() if k in ("grid_mapping", "coordinates")}
    ordered: xr.DataArray = converted.transpose(*array.dims)
    return ordered


def _zeros(calibration: Calibration) -> set[float]:
    """Return what digital number 0 becomes, over all dates."""
    scale, offset, zero = calibration.scale, calibration.offset, calibration.zero
    dates = range(max(len(scale), len(offset), len(zero)))
    return {zero[i % len(zero)] * scale[i % len(scale)] + offset[i % len(offset)] for i in dates}


def _factors(view: CubeView, array: xr.DataArray, rows: Sequence[tuple[float, ...]]) -> xr.DataArray:
    """Arrange one number per band and date along the dimensions they vary along."""
    dates = max(map(len, rows))
    factors = xr.DataArray([row * (dates // len(row)) for row in rows], dims=("band", "time"))
    if view.band not in array.dims:
        factors = factors.isel(band=0)
    if dates == 1:
        factors = factors.isel(time=0)
    return factors.rename({dim: getattr(view, str(dim)) for dim in factors.dims})


def _apply_slices(dn: np.ndarray, *factors: np.ndarray) -> np.ndarray:
    """Apply to every band and date its own scale, offset and no-data values; scale NaN leaves a band as it is."""
    padded = (factor.reshape((1,) * (dn.ndim - factor.ndim) + factor.shape) for factor in factors)
    scales, offsets, *fills = np.broadcast_arrays(*padded)
    result = np.empty(dn.shape, dtype="float32")
    for index in np.ndindex(scales.shape):
        part = tuple(slice(i, i + 1) if n > 1 else slice(None) for i, n in zip(index, scales.shape, strict=True))
        factor, fill = float(scales[index]), tuple(float(numbers[index]) for numbers in fills)
        done = math.isnan(factor)
        result[part] = dn[part] if done else apply(dn[part], factor, float(offsets[index]), fill)
    return result
