"""Cloud-free composites: one image from many dates."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import bands, calibration, layout
from xr_cloudmask.cube.declared import declared_nodata
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import labels
from xr_cloudmask.masks.coverage import FRACTIONS
from xr_cloudmask.series.select import GRID_ENCODING, filler_of, float_for, mask_for, on_bands

Reduction: TypeAlias = Callable[[npt.NDArray[Any], npt.NDArray[np.bool_]], npt.NDArray[Any]]


def composite(cube: Cube, method: str = "median", mask: Cube | None = None) -> Cube:
    """Reduce a cube's dates to one image from its clear pixels.

    Parameters
    ----------
    cube : Dataset or DataArray
        With a time dimension.
    method : {'median'}
        Per pixel and band.
    mask : Dataset or DataArray, optional
        Predict's Dataset or a mask; by default the cube's own ``cloudmask``, else a prediction.

    Returns
    -------
    Dataset or DataArray
        Without the time dimension; and ``clear_count``, the number of clear dates: a variable of a Dataset, a
        coordinate of a DataArray. Integers with a declared no-data value keep their dtype, rounded, and are that value
        where never clear; everything else is float (float64 for float64, else float32) and NaN there. Lazy where the
        cube or the mask is.

    Raises
    ------
    CloudMaskError
        Unknown method, no time dimension, or digital numbers whose calibration differs between dates.
    """
    if method not in METHODS:
        raise CloudMaskError(f"method {method!r}", f"one of {sorted(METHODS)}", "composite('median')")
    time = layout.view(cube).time
    if time is None:
        raise CloudMaskError(
            f"a cube with dimensions {tuple(cube.dims)}", "a time dimension", "cube.expand_dims('time')"
        )
    _require_one_calibration(cube)
    clear = labels.clear(mask_for(cube, mask)).drop_vars(FRACTIONS, errors="ignore")
    count = clear.sum(time, dtype="uint16").assign_attrs(long_name="number of clear dates", units="1")
    bare = cube.drop_vars((*labels.MASK_VARIABLES, *FRACTIONS), errors="ignore")
    out = on_bands(bare, lambda values: _reduce(values, clear, time, METHODS[method]))
    out = out.assign_coords(_undated_coords(bare, time))
    if isinstance(out, xr.Dataset):
        return out.drop_dims(time, errors="ignore").assign(clear_count=count)
    return out.assign_coords(clear_count=count)


def _require_one_calibration(cube: Cube) -> None:
    """Refuse digital numbers that mean different reflectance on different dates: their median means nothing."""
    view = layout.view(cube)
    try:
        solar = [band for band in bands.describe(view) if band.kind == "reflectance"]
        calibrations = calibration.calibrate(view, solar).calibrations
    except CloudMaskError:
        return  # no calibration is known, so none is known to differ
    if any(len(set(rule)) > 1 for found in calibrations for rule in (found.scale, found.offset)):
        raise CloudMaskError(
            "digital numbers whose scale or offset differs between dates",
            "reflectance, or numbers of one calibration",
            "cube.cloudmask.reflectance().cloudmask.composite(...)",
        )


def _undated_coords(cube: Cube, time: str) -> dict[Hashable, xr.Variable]:
    """Return the coordinates along time that are the same on every date, as scalars."""
    dated = {name: coord for name, coord in cube.coords.items() if coord.dims == (time,) and coord.chunks is None}
    return {name: coord.variable[0] for name, coord in dated.items() if name != time and _is_constant(coord)}


def _is_constant(coord: xr.DataArray) -> bool:
    # One by one, for item properties may be lists, which NumPy would compare element by element.
    first, *others = coord.values.tolist()
    return all(value == first for value in others)


def _reduce(values: xr.DataArray, clear: xr.DataArray, time: str, function: Reduction) -> xr.DataArray:
    filler = filler_of(values)
    dtype = float_for(values.dtype) if filler is None else values.dtype
    if values.chunks is not None:
        # All dates of a pixel together; dask chooses chunks in space that keep them within its usual size.
        values = values.chunk({time: -1} | {dim: "auto" for dim in clear.dims if dim != time})
        clear = clear.chunk({dim: values.chunksizes[dim] for dim in clear.dims})
    out: xr.DataArray = xr.apply_ufunc(
        partial(_reduced, function=function, dtype=dtype, nodata=declared_nodata(values), filler=filler),
        values,
        clear,
        input_core_dims=[[time], [time]],
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"allow_rechunk": False},
    )
    out = out.drop_vars([name for name, coord in out.coords.items() if time in coord.dims])
    out = out.transpose(*(dim for dim in values.dims if dim != time))
    out.attrs = dict(values.attrs)
    out.encoding = {key: value for key, value in values.encoding.items() if key in GRID_ENCODING}
    return out


def _reduced(
    values: npt.NDArray[Any],
    clear: npt.NDArray[np.bool_],
    *,
    function: Reduction,
    dtype: np.dtype[Any],
    nodata: tuple[float, ...],
    filler: float | None,
) -> npt.NDArray[Any]:
    """Reduce the last axis; integers are rounded, and are `filler` where there is nothing."""
    kept = clear & np.isfinite(values) & ~np.isin(values, nodata)
    result = function(values.astype(float_for(values.dtype)), kept)
    if filler is not None:
        result = np.rint(np.where(np.isnan(result), filler, result))
    return result.astype(dtype)


def _median(values: npt.NDArray[Any], kept: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Median over the last axis of what is kept; NaN where that is nothing, without a warning."""
    values[~kept] = np.inf
    values.sort(axis=-1)
    count = kept.sum(axis=-1, keepdims=True)
    low = np.take_along_axis(values, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(values, np.minimum(count // 2, values.shape[-1] - 1), axis=-1)
    median: npt.NDArray[Any] = np.where(count > 0, low / 2 + high / 2, np.nan)[..., 0]
    return median


METHODS = {"median": _median}
