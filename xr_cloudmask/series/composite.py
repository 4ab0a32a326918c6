"""Cloud-free composites: one image from many dates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.cube.reflectance import declared_nodata
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import labels
from xr_cloudmask.masks.coverage import FRACTIONS
from xr_cloudmask.series.select import MASK_VARIABLES, mask_for, on_bands


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
        Unknown method, or no time dimension.
    """
    if method not in METHODS:
        raise CloudMaskError(f"method {method!r}", f"one of {sorted(METHODS)}", "composite('median')")
    time = layout.view(cube).time
    if time is None:
        raise CloudMaskError(
            f"a cube with dimensions {tuple(cube.dims)}", "a time dimension", "cube.expand_dims('time')"
        )
    clear = labels.clear(mask_for(cube, mask)).drop_vars(FRACTIONS, errors="ignore")
    count = clear.sum(time, dtype="uint16").assign_attrs(long_name="number of clear dates", units="1")
    bare = cube.drop_vars((*MASK_VARIABLES, *FRACTIONS), errors="ignore")
    out = on_bands(bare, lambda values: _reduce(values, clear, time, METHODS[method]))
    out = out.drop_vars([name for name, coord in out.coords.items() if time in coord.dims])
    if isinstance(out, xr.Dataset):
        return out.drop_dims(time, errors="ignore").assign(clear_count=count)
    return out.assign_coords(clear_count=count)


def _reduce(values: xr.DataArray, clear: xr.DataArray, time: str, function: Any) -> xr.DataArray:
    nodata = declared_nodata(values)
    keeps_dtype = values.dtype.kind == "f" or nodata is not None
    dtype = values.dtype if keeps_dtype and values.dtype != "float16" else np.dtype("float32")
    single = (array.chunk({time: -1}) if array.chunks is not None else array for array in (values, clear))
    out: xr.DataArray = xr.apply_ufunc(
        lambda dates, kept: _stored(function(dates, kept), dtype, nodata),
        *single,
        input_core_dims=[[time], [time]],
        dask="parallelized",
        output_dtypes=[dtype],
        keep_attrs="override",
    )
    out = out.transpose(*(dim for dim in values.dims if dim != time))
    out.attrs = dict(values.attrs)
    out.encoding = {key: value for key, value in values.encoding.items() if key in ("grid_mapping", "_FillValue")}
    return out


def _stored(result: npt.NDArray[Any], dtype: np.dtype[Any], nodata: float | None) -> npt.NDArray[Any]:
    """Bring a result to the dtype of the cube: integers are rounded, and have no data where it is NaN."""
    if nodata is None or dtype.kind == "f":
        return result.astype(dtype)
    stored: npt.NDArray[Any] = np.rint(np.where(np.isnan(result), nodata, result)).astype(dtype)
    return stored


def _median(values: npt.NDArray[Any], clear: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Median over the last axis of clear, finite values; NaN where there are none, without a warning."""
    clear = clear & np.isfinite(values)
    ordered = np.where(clear, values, np.inf)
    ordered.sort(axis=-1)
    count = clear.sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[-1] - 1), axis=-1)
    median: npt.NDArray[Any] = np.where(count > 0, low / 2 + high / 2, np.nan)[..., 0]
    return median


METHODS = {"median": _median}
