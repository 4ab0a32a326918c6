"""Digital numbers to reflectance, exactly once, with provenance.

`cube.calibration` settles the rule of every band; `to_units` is the only place that computes with it, and
`to_reflectance` gives the user the cube.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.calibration import Calibration, Factor, Nodata
from xr_cloudmask.cube.declared import FACTORS, PROVENANCE, ZERO
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.layout import Cube, CubeView, name_of
from xr_cloudmask.cube.metadata import LISTED
from xr_cloudmask.cube.nodata import NODATA_KEYS, VALID_KEYS, fill_of_all
from xr_cloudmask.cube.plausible import countable, require_some
from xr_cloudmask.cube.rules import is_marked
from xr_cloudmask.cube.temperature import kelvin

ROUNDED = 1e-9  # share by which a number that was computed may be off
OBSOLETE_ATTRS = {
    ZERO, *FACTORS, *NODATA_KEYS, *VALID_KEYS, *LISTED, "units", "eo:bands", "raster:bands", "bands",
}  # fmt: skip


def to_units(dn: np.ndarray, calibration: Calibration, date: int, out: np.ndarray | None = None) -> np.ndarray:
    """Turn one date of a band into what its calibration says, such as reflectance or kelvin.

    Parameters
    ----------
    dn : ndarray
        Values as they are in the cube, any shape, integer or floating.
    calibration : Calibration
    date : int
        Position of the date in the cube.
    out : ndarray of float32, optional
        Where to put the result: contiguous, of the same shape. A task that has many bands uses its memory again.

    Returns
    -------
    ndarray of float32
        Same shape; NaN where there is no data, infinite where the value can be no measurement. The largest number of
        unsigned integers is saturated: it is the highest that can be measured, where it would be more.

    Examples
    --------
    >>> to_units(np.array([0, 3500, 60000], "uint16"), Calibration((1e-4,), (-0.1,), (0,)), 0)
    array([ nan, 0.25,  inf], dtype=float32)
    """
    from xr_cloudmask.cube import kernels

    linear, limits = (tuple(map(np.float32, pair)) for pair in (calibration.linear(date), calibration.limits(date)))
    numbers = countable(dn)
    out = np.empty(dn.shape, "float32") if out is None else out
    flat, result = numbers.reshape(-1), out.reshape(-1)
    kernels.scaled(flat, linear, limits, result)
    largest = _largest(dn, calibration, date)
    if largest is not None:
        kernels.replaced(flat, numbers.dtype.type(largest), limits[1], result)
    # A no-data value is what it is in the precision of the numbers.
    missing = np.array(calibration.nodata, dn.dtype if dn.dtype.kind == "f" else "float64")
    for number in missing.astype(numbers.dtype) if dn.dtype.kind == "f" else missing:
        kernels.replaced(flat, number, np.float32(np.nan), result)
    if calibration.planck is not None:
        return kelvin(out, *calibration.planck[date % len(calibration.planck)])
    return out


def blank(bands: Sequence[np.ndarray], calibrations: Sequence[Calibration], date: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where all bands are number 0 or one declared fill, and where all are one fill that nobody declared.

    Parameters
    ----------
    bands : sequence of ndarray
        The values of each band of one date as they are, all of one shape.
    calibrations : sequence of Calibration
    date : int
        Position of the date in the cube.

    Returns
    -------
    tuple of ndarray of bool

    Examples
    --------
    >>> bands = [np.float32([0, -0.2, 0.1]), np.float32([0, -0.2, 0.2])]
    >>> [where.tolist() for where in blank(bands, [Calibration((1,), (0,))] * 2, 0)]
    [[True, False, False], [False, True, False]]
    """
    zero = np.ones(bands[0].shape, dtype=bool)
    for band, calibration in zip(bands, calibrations, strict=True):
        is_zero = is_close(band, calibration.zero[date % len(calibration.zero)])
        zero &= is_zero | np.isnan(band) if band.dtype.kind == "f" else is_zero  # where one is NaN, the others tell
    solar = [pair for pair in zip(bands, calibrations, strict=True) if pair[1].kind == "reflectance"]
    full = {_largest(*pair, date) for pair in solar}
    black = {-offset / scale for scale, offset in (calibration.linear(date) for _, calibration in solar)}
    same = fill_of_all(
        [band for band, _ in solar],
        [number for number in full if number is not None],
        min(black, default=0.0) * (1 + ROUNDED),
        zero,
    )
    if same is None:
        return zero, np.zeros_like(zero)
    for number in set(solar[0][1].nodata).intersection(*(calibration.nodata for _, calibration in solar)):
        zero |= same & is_close(solar[0][0], number)
    return zero, same & ~zero


def _largest(dn: np.ndarray, calibration: Calibration, date: int) -> int | None:
    """Return the largest number of unsigned integers where it is more than can be measured: saturated, or fill."""
    scale, offset = calibration.linear(date)
    largest = int(np.iinfo(dn.dtype).max) if dn.dtype.kind == "u" else 0
    return largest if largest * scale + offset > calibration.limits(date)[1] else None


def is_close(values: np.ndarray, number: float) -> np.ndarray:
    """Whether values are a number, as far as single precision tells."""
    if values.dtype.kind != "f" or number == 0:
        return np.asarray(values == number)
    return np.asarray(np.abs(values - number) < 1e-6)


def measured(bands: Sequence[np.ndarray], calibrations: Sequence[Calibration], date: int) -> list[np.ndarray]:
    """Return each band in its units, pixel by pixel: NaN where there is no data or no value can be a measurement.

    Parameters
    ----------
    bands : sequence of ndarray
        The values of each band of one date as they are, all of one shape.
    calibrations : sequence of Calibration
    date : int
        Position of the date in the cube.

    Raises
    ------
    ReflectanceError
        Nothing is what its calibration says.
    """
    zero, same = blank(bands, calibrations, date)
    without = zero | same
    return [_measured(band, calibration, date, without) for band, calibration in zip(bands, calibrations, strict=True)]


def _measured(dn: np.ndarray, calibration: Calibration, date: int, without: np.ndarray | bool) -> np.ndarray:
    values = to_units(dn, calibration, date)
    require_some(dn, values, calibration.linear(date)[0])
    values[np.isinf(values) | without] = np.nan
    return values


def to_reflectance(
    cube: Cube,
    sensor: str | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    level: str | None = None,
    *,
    nodata: Nodata | None = None,
) -> Cube:
    """Return the cube with its reflectance bands as reflectance; other variables stay as they are.

    Parameters
    ----------
    cube : Dataset or DataArray
        A variable per band, or a band dimension; NumPy or dask. Never modified.
    sensor, scale, offset, level, nodata
        What its metadata do not tell; see `cube.described.Told`.

    Returns
    -------
    Dataset or DataArray
        The same kind of cube, float32, nominally 0 to 1, NaN where there is no data or no
        value can be a measurement; same dims, coords and grid
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
    described = DescribedCube.of(cube, Told(sensor, level, scale, offset, nodata))
    used = [band for band in described.descriptors if band.kind == "reflectance"]
    if used and all(is_marked(described.view, band.name) for band in used):
        return cube
    return converted(described, described.calibrated(used), described.provenance_of(used))


def converted(described: DescribedCube, rules: Mapping[str, Calibration], provenance: str) -> Cube:
    """Return a described cube with some of its bands as reflectance, marked; lazy where the cube is."""
    view, cube = described.view, described.view.source
    mark: dict[str, Any] = {PROVENANCE: provenance}
    if described.level:
        mark["level"] = described.level
    zeros = {zero for calibration in rules.values() for zero in _zeros(calibration)}
    differ = len(zeros) > 1  # no one attribute can say what fill became: it becomes NaN
    if any(zeros) and not differ:
        mark[ZERO] = zeros.pop()
    if isinstance(cube, xr.DataArray):
        return _without_factors(_convert(cube, view, rules, mark, differ), view, rules)
    if view.band is not None:
        whole = {view.band, view.y, view.x}
        names = {next(name for name, values in cube.data_vars.items() if whole <= set(values.dims)): rules}
    else:
        keys = {name_of(key): key for key in cube.data_vars}  # names may be numbers
        names = {keys[name]: {name: calibration} for name, calibration in rules.items()}
    made = {name: _convert(cube[name], view, of_name, mark, differ) for name, of_name in names.items()}
    return _without_factors(cube.assign(made).assign_attrs(mark), view, rules)


def _without_factors(cube: Cube, view: CubeView, done: Collection[str]) -> Cube:
    """Drop the coordinates that told how to convert bands, or they would be heeded again once the mark is lost."""
    cube = cube.drop_vars([f"{key}:{name}" for key in FACTORS for name in done], errors="ignore")
    along = {key: cube[key] for key in FACTORS if key in cube.coords}
    if view.band is None:
        return cube.drop_vars(list(along))
    others = xr.DataArray([name not in done for name in view.bands], dims=view.band)
    return cube.assign_coords({key: coord.where(others) for key, coord in along.items()})


def _convert(
    array: xr.DataArray, view: CubeView, rules: Mapping[str, Calibration], mark: Mapping[str, Any], drop_zero: bool
) -> xr.DataArray:
    """Convert an array of one band, or of several along the band dimension; with `drop_zero`, number 0 to NaN."""
    names = list(view.bands) if view.band in array.dims else list(rules)
    dates = max((rule.dates for rule in rules.values()), default=1)
    if dates > 1 and view.time not in array.dims:
        array = array.expand_dims({view.time: view.dates})
    along = {
        dim: xr.DataArray(np.arange(array.sizes[dim]), dims=dim) for dim in (view.band, view.time) if dim in array.dims
    }
    none = xr.DataArray(0)
    made: xr.DataArray = xr.apply_ufunc(
        _of_slices,
        array,
        along.get(view.band, none),
        along.get(view.time, none) if dates > 1 else none,
        kwargs={"rules": [rules.get(name) for name in names], "drop_zero": drop_zero},
        dask="parallelized",
        output_dtypes=[np.float32],
        keep_attrs=True,
    )
    made.attrs = {k: v for k, v in array.attrs.items() if k not in OBSOLETE_ATTRS} | {"units": "1"} | dict(mark)
    made.encoding = {k: v for k, v in array.encoding.items() if k in ("grid_mapping", "coordinates")}
    ordered: xr.DataArray = made.transpose(*array.dims)
    return ordered


def _zeros(calibration: Calibration) -> set[float]:
    """Return what digital number 0 becomes, over all dates."""
    scale, offset, zero = calibration.scale, calibration.offset, calibration.zero
    dates = range(max(len(scale), len(offset), len(zero)))
    return {zero[i % len(zero)] * scale[i % len(scale)] + offset[i % len(offset)] for i in dates}


def _of_slices(
    dn: np.ndarray, bands: np.ndarray, dates: np.ndarray, *, rules: Sequence[Calibration | None], drop_zero: bool
) -> np.ndarray:
    """Apply to every band and date its own rule; a band without one stays as it is."""
    padded = (index.reshape((1,) * (dn.ndim - index.ndim) + index.shape) for index in (bands, dates))
    bands, dates = np.broadcast_arrays(*padded)
    result = np.empty(dn.shape, dtype="float32")
    for index in np.ndindex(bands.shape):
        part = tuple(slice(i, i + 1) if n > 1 else slice(None) for i, n in zip(index, bands.shape, strict=True))
        rule, date = rules[int(bands[index])], int(dates[index])
        if rule is None:
            result[part] = dn[part]
            continue
        without = is_close(dn[part], rule.zero[date % len(rule.zero)]) if drop_zero else False
        result[part] = _measured(dn[part], rule, date, without)
    return result
