"""Whether two objects lie on the same pixels; what does not is refused, and never joined by its coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.crs import coordinate_reference_system
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.names import MASK_NAME


def same_axis(one: Cube, other: Cube, dim: str) -> bool:
    """Whether an axis is the same but for a tenth of a pixel: files keep a transform, not every coordinate."""
    if one.sizes.get(dim) != other.sizes.get(dim):
        return False
    ours, theirs = layout.along(one, dim), layout.along(other, dim)
    if ours is None or theirs is None or pd.Index(ours).equals(pd.Index(theirs)):
        return True
    if ours.dtype.kind not in "iuf" or theirs.dtype.kind not in "iuf" or len(ours) < 2:
        return False
    return bool(np.abs(ours - theirs).max() < 0.1 * np.abs(np.diff(ours)).min())


def laid_out(mask: xr.DataArray, sizes: Mapping[Any, int]) -> xr.DataArray:
    """Return a mask with its dimensions in the order of `sizes`.

    Raises
    ------
    CloudMaskError
        It has others, such as no time, they are longer or shorter, or it is not uint8.
    """
    if dict(mask.sizes) != dict(sizes):
        raise CloudMaskError(
            f"a mask of {dict(mask.sizes)}", f"the dimensions {dict(sizes)}", "mask.sel(...) or mask.expand_dims(...)"
        )
    if mask.dtype != "uint8":
        raise CloudMaskError(f"a mask of {mask.dtype}", "uint8 codes", "mask.fillna(255).astype('uint8')")
    return mask.transpose(*sizes)


def on_one_grid(mask: xr.DataArray, reference: xr.DataArray) -> xr.DataArray:
    """Return a reference with the dimensions of a mask in their order; computes nothing.

    Raises
    ------
    CloudMaskError
        Their sizes, their coordinates by more than a tenth of a pixel, or their reference systems differ.
    """
    moved = laid_out(reference, mask.sizes)
    unequal = [str(dim) for dim in mask.dims if not same_axis(mask, reference, str(dim))]
    if unequal:
        raise CloudMaskError(
            f"a mask and a reference whose coordinates differ along {unequal}",
            "two masks of the same pixels and dates",
            "reference.rio.reproject_match(mask), which takes the nearest pixel; "
            "reference.sel(time=mask.time) for other dates",
        )
    ours, theirs = (coordinate_reference_system(layout.view(each.rename(MASK_NAME))) for each in (mask, reference))
    if ours is not None and theirs is not None and not _same_system(ours, theirs):
        raise CloudMaskError(
            f"a mask in {ours.name!r} and a reference in {theirs.name!r}",
            "two masks of one coordinate reference system",
            "reference.rio.reproject_match(mask), which takes the nearest pixel",
        )
    return moved


def _same_system(one: Any, other: Any) -> bool:
    codes = one.to_epsg(), other.to_epsg()
    return bool(one.equals(other, ignore_axis_order=True) or (codes[0] is not None and codes[0] == codes[1]))
