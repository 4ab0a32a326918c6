"""Carry a mask with a cube, blank out what is not clear, keep the dates that are clear enough."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.cube.reflectance import declared_nodata
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import labels
from xr_cloudmask.masks.coverage import FRACTIONS, coverage
from xr_cloudmask.predict import predict

MASK_VARIABLES = (labels.MASK_NAME, "probability")
FLAGS = {"flag_values", "flag_masks"}


def mask_for(cube: Cube, mask: Cube | None) -> xr.DataArray:
    """Return the mask to use, on the cube's dates: the one given, else the one the cube carries, else a prediction."""
    if mask is not None:
        return _on_pixels_of(cube, labels.mask_of(mask))
    carries_one = labels.MASK_NAME in cube.coords or (isinstance(cube, xr.Dataset) and labels.MASK_NAME in cube)
    return labels.mask_of(cube if carries_one else predict(cube))


def _on_pixels_of(cube: Cube, mask: xr.DataArray) -> xr.DataArray:
    """Return a mask on the dates that are left of the cube, as after a filter; refuse one on another grid."""
    view = layout.view(cube)
    if view.time in cube.indexes and view.time in mask.indexes:
        left, dates = cube.indexes[view.time], mask.indexes[view.time]
        if dates.is_unique and len(left) < len(dates) and left.isin(dates).all():
            mask = mask.sel({view.time: left})
    unequal = [dim for dim in view.dims if not _same_axis(cube, mask, dim)]
    if unequal:
        raise CloudMaskError(
            f"a mask with {dict(mask.sizes)}, which differs from the cube's along {unequal}",
            f"a mask of this cube: {dict(view.sizes)} with the same coordinates",
            "cube.cloudmask.predict() for this cube, or mask.sel(...) to the cube's pixels",
        )
    return mask


def _same_axis(cube: Cube, mask: xr.DataArray, dim: str) -> bool:
    ours, theirs = cube.indexes.get(dim), mask.indexes.get(dim)
    same_size = mask.sizes.get(dim) == cube.sizes[dim]
    return same_size and (ours is None or theirs is None or ours.equals(theirs))


def with_mask(cube: Cube, predicted: xr.Dataset) -> Cube:
    """Return the cube with a prediction: variables of a Dataset, coordinates of a DataArray; and its coverage.

    Parameters
    ----------
    cube : Dataset or DataArray
    predicted : Dataset
        What `predict` returned for it.

    Returns
    -------
    Dataset or DataArray
        Lazy where the mask is.
    """
    coords: dict[Hashable, Any] = {name: predicted[name].variable for name in FRACTIONS if name in predicted.coords}
    if isinstance(cube, xr.Dataset):
        return cube.assign(predicted.data_vars).assign_coords(coords)
    return cube.assign_coords({**coords, labels.MASK_NAME: predicted[labels.MASK_NAME].variable})


def on_bands(cube: Cube, function: Any) -> Cube:
    """Return the cube with `function` applied to every variable that holds pixels."""
    if isinstance(cube, xr.DataArray):
        return function(cube)  # type: ignore[no-any-return]
    pixels = {layout.view(cube).y, layout.view(cube).x}
    # Variables with flags are classes, not measurements: the mask itself, a truth, a quality band.
    names = [n for n, v in cube.data_vars.items() if pixels <= set(v.dims) and not FLAGS & set(v.attrs)]
    return cube.assign({name: function(cube[name]) for name in names if name not in MASK_VARIABLES})


def apply(cube: Cube, mask: Cube | None = None, keep: str | Sequence[str] = "clear") -> Cube:
    """Blank out every pixel that is not of the classes to keep.

    Parameters
    ----------
    cube : Dataset or DataArray
    mask : Dataset or DataArray, optional
        Predict's Dataset or a mask; by default the cube's own ``cloudmask``, else a prediction.
    keep : str or sequence of str, default 'clear'
        Class names of the mask's scheme.

    Returns
    -------
    Dataset or DataArray
        Same dims. Integers with a declared no-data value keep their dtype and get that value; everything else gets
        NaN (integers become float). Lazy where the cube or the mask is.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(dates=1, size=(64, 64))
    >>> truth = cube.truth
    >>> clear = apply(cube, mask=truth)
    """
    kept = labels.clear(mask_for(cube, mask), keep).drop_vars(FRACTIONS, errors="ignore")

    def blank(values: xr.DataArray) -> xr.DataArray:
        nodata = declared_nodata(values)
        filler = np.nan if nodata is None or values.dtype.kind == "f" else values.dtype.type(nodata)
        out = values.where(kept, filler).transpose(*values.dims)
        out.encoding = dict(values.encoding)
        return out

    return on_bands(cube, blank)


def filter_dates(
    cube: Cube,
    max_cloud: float | None = None,
    max_shadow: float | None = None,
    min_valid: float | None = None,
    mask: Cube | None = None,
) -> Cube:
    """Keep the dates whose coverage is within limits.

    The coverage of the mask is computed (and nothing else is); the result is as lazy as the cube. A date without any
    valid pixel is dropped.

    Parameters
    ----------
    cube : Dataset or DataArray
        With a time dimension.
    max_cloud, max_shadow : float, optional
        Largest fraction of the valid pixels that may be cloud, or cloud shadow; 0–1.
    min_valid : float, optional
        Smallest fraction of all pixels that must have data; 0–1.
    mask : Dataset or DataArray, optional
        Predict's Dataset or a mask; by default the cube's own ``cloudmask``, else a prediction.

    Returns
    -------
    Dataset or DataArray
        The cube with fewer dates.

    Raises
    ------
    CloudMaskError
        No time dimension, no limit, a limit outside 0–1, or a mask whose scheme cannot tell what is limited.
    """
    given = {"cloud_fraction": max_cloud, "cloud_shadow_fraction": max_shadow, "valid_fraction": min_valid}
    limits = {name: value for name, value in given.items() if value is not None}
    _check_limits(limits)
    time = layout.view(cube).time
    if time is None:
        raise CloudMaskError(
            f"a cube with dimensions {tuple(cube.dims)}", "a time dimension", "cube.expand_dims('time')"
        )
    fractions = coverage(mask_for(cube, mask))
    untold = [name for name in limits if name not in fractions]
    if untold:
        raise CloudMaskError(
            f"a mask whose scheme cannot tell {untold}", "scheme 'cloudsen12'", "predict(scheme='cloudsen12')"
        )
    table = fractions.compute()
    keep = np.isfinite(table["clear_fraction" if "clear_fraction" in table else "cloud_fraction"].values)
    for name, limit in limits.items():
        values = table[name].values
        keep &= values >= limit if name == "valid_fraction" else values <= limit
    return cube.isel({time: keep})


def _check_limits(limits: Mapping[str, float]) -> None:
    if not limits:
        raise CloudMaskError("no limit", "max_cloud, max_shadow or min_valid", "filter(max_cloud=0.3)")
    wrong = {name: value for name, value in limits.items() if not 0 <= value <= 1}
    if wrong:
        raise CloudMaskError(f"limits {wrong}", "fractions from 0 to 1", "filter(max_cloud=0.3) for 30 percent")
