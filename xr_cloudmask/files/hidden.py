"""Which pixels a raster hides, by a mask inside or beside it or by alpha, and how its bands show that: as no data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.files.said import Said, readable

FILL = "_FillValue"


def masks_of(said: Said, band: int) -> tuple[int, ...]:
    """Return which of GDAL's masks hides pixels of a band, by number from 1: its own, that of all, or none.

    No-data values and alpha are no such masks, although GDAL makes masks of them.
    """
    flags = said.bands[band].mask
    if not flags:
        return (band + 1,)
    return (1,) if "per_dataset" in flags and "alpha" not in flags else ()


def hidden_by_mask(said: Said, band: int, like: xr.DataArray) -> list[xr.DataArray]:
    """Return where GDAL's masks hide pixels of a band, lazily, in the chunks of an array ``(y, x)``."""
    import dask.array as da
    from dask.base import tokenize

    arrays = []
    for mask in masks_of(said, band):
        # A file that is written anew is another one.
        name = f"hidden-{tokenize(said.path, mask, said.path.stat().st_mtime_ns, like.chunks)}"
        options = {"dtype": bool, "meta": np.empty((0, 0), bool), "path": said.path, "mask": mask}
        arrays.append(like.copy(data=da.map_blocks(_hidden, chunks=like.chunks, name=name, **options)))
    return arrays


def _hidden(path: Path, mask: int, block_info: Any = None) -> npt.NDArray[np.bool_]:
    """Read a block of a mask; every thread has a handle of its own."""
    import rasterio

    window = tuple(map(tuple, block_info[None]["array-location"]))
    with readable(path), rasterio.open(path) as source:
        return np.asarray(source.read_masks(mask, window=window) == 0)


def hidden_by_alpha(alpha: xr.DataArray) -> xr.DataArray:
    """Return where pixels are wholly transparent; what shows through a little is still seen."""
    return ~(alpha > 0)


def without(band: xr.DataArray, hidden: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return a band with no data where any of some masks hides a pixel; lazy, its dtype kept.

    No data is NaN in floats, else what the band declares. Where it declares nothing, the lowest number becomes that,
    and data of that number become the next one: a step of 1 in 255 at most.
    """
    if not hidden:
        return band
    together = reduce(or_, (one.data for one in hidden))
    if band.dtype.kind not in "iu":
        return _filled(band, band.data, together, math.nan)
    lowest, declared = np.iinfo(band.dtype).min, _declared(band)
    if declared is not None:
        return _filled(band, band.data, together, declared)
    return _filled(band, band.data.clip(lowest + 1), together, lowest).assign_attrs({FILL: band.dtype.type(lowest)})


def _filled(band: xr.DataArray, data: Any, hidden: Any, fill: float) -> xr.DataArray:
    import dask.array as da

    return band.copy(data=da.where(hidden, np.array(fill, band.dtype), data))


def _declared(band: xr.DataArray) -> float | None:
    """Return the no-data value of integers, None where there is none that they can have."""
    value, limits = band.attrs.get(FILL), np.iinfo(band.dtype)
    return value if value is not None and limits.min <= value <= limits.max else None
