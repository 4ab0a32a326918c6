"""Carry a mask with a cube, blank out what is not clear, keep the dates that are clear enough."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.cube.nodata import declared_nodata
from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import ancillary, labels, schemes
from xr_cloudmask.masks.aligned import same_axis
from xr_cloudmask.masks.coverage import limit, warn_of
from xr_cloudmask.names import (
    CHOSEN_DATE,
    CLASS_NAME,
    CLEAR_COUNT,
    CLOUD_FRACTION,
    CLOUD_SHADOW_FRACTION,
    DROPPED_DATES,
    FRACTIONS,
    MASK_NAME,
    MASK_VARIABLES,
    MEAN_AGREEMENT,
    MODEL_WARNING,
    PROBABILITY_NAME,
    VALID_COUNT,
    VALID_FRACTION,
    WATER_FRACTION,
)
from xr_cloudmask.prediction import predict
from xr_cloudmask.series import counted

FLAGS = {"flag_values", "flag_masks"}
GRID_ENCODING = ("grid_mapping", "coordinates")


def mask_for(cube: Cube, mask: Cube | None) -> xr.DataArray:
    """Return the mask to use, on the cube's dates: the one given, else the one the cube carries, else a prediction."""
    if mask is not None:
        return _on_pixels_of(cube, labels.mask_of(mask))
    return labels.mask_of(cube if labels.carries_mask(cube) else predict(cube))


def _on_pixels_of(cube: Cube, mask: xr.DataArray) -> xr.DataArray:
    """Return a mask on the dates that are left of the cube, as after a filter; refuse one on another grid."""
    view = layout.view(cube)
    mask = _on_dates_of(view, mask)
    dims = dict.fromkeys([*view.dims, *map(str, mask.dims)])
    unequal = [dim for dim in dims if not same_axis(cube, mask, dim)]
    if unequal:
        raise CloudMaskError(
            f"a mask with {dict(mask.sizes)}, which differs from the cube's along {unequal}",
            f"a mask of this cube: {dict(view.sizes)} with the same coordinates",
            "cube.cloudmask.predict() for this cube, or mask.sel(...) to the cube's pixels; "
            "cube.cloudmask.with_mask() before a filter, where dates are not unique",
        )
    axes = cube.coords.to_dataset()[[dim for dim in view.dims if dim in cube.coords]]  # with their indexes
    return xr.DataArray(mask.variable, axes.coords, name=mask.name)


def _on_dates_of(view: layout.CubeView, mask: xr.DataArray) -> xr.DataArray:
    """Return the dates of a mask that are left of the cube, where both tell their dates."""
    mask = mask.squeeze([dim for dim in mask.dims if dim not in view.dims and mask.sizes[dim] == 1], drop=True)
    ours, theirs = (layout.along(obj, view.time) for obj in (view.source, mask))
    if ours is None or theirs is None:
        return mask
    left, dates = pd.Index(ours), pd.Index(theirs)
    fewer = dates.is_unique and len(left) < len(dates) and left.isin(dates).all()
    return mask.isel({view.time: dates.get_indexer(left)}) if fewer else mask


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
    coords: dict[Hashable, Any] = {
        name: predicted[name].variable
        for name in (*FRACTIONS, WATER_FRACTION, MEAN_AGREEMENT)
        if name in predicted.coords
    }
    if isinstance(cube, xr.Dataset):
        if CLASS_NAME in predicted.coords:
            coords[CLASS_NAME] = predicted[CLASS_NAME].variable
        layers = {
            str(name): layer.variable for name, layer in predicted.data_vars.items()
        }  # on the cube's own coordinates
        named = on_bands(cube, partial(ancillary.named, layers=layers))
        return named.assign(layers).assign_coords(coords)
    if PROBABILITY_NAME in predicted:
        raise CloudMaskError(
            "probabilities for a DataArray, whose coordinates cannot have a class dimension",
            "a Dataset of bands",
            "cube.to_dataset('band').cloudmask.with_mask(probabilities=True)",
        )
    named = ancillary.named(cube, [MASK_NAME])
    return named.assign_coords({**coords, MASK_NAME: predicted[MASK_NAME].variable})


def probability_for(cube: Cube, mask: Cube | None) -> xr.DataArray | None:
    """Return the probability of a clear surface ``(time, y, x)``; None where the mask comes without."""
    source = cube if mask is None else mask
    if not isinstance(source, xr.Dataset) or PROBABILITY_NAME not in source:
        return None
    chances, scheme = source[PROBABILITY_NAME], schemes.scheme_of(labels.mask_of(source))
    clear = schemes.clear_codes(scheme)
    names = {entry.name for entry in scheme.classes if entry.code in clear}
    surfaces = [name for name in chances[CLASS_NAME].values.tolist() if name in names]
    return _on_pixels_of(cube, chances.sel({CLASS_NAME: surfaces}).sum(CLASS_NAME))


def measured(cube: xr.Dataset, view: layout.CubeView) -> tuple[Hashable, ...]:
    """Return the variables of a cube that are measured: neither classes nor static layers."""
    classes = {name for sensor in sensors().values() for name in sensor.quality}
    classes |= {*MASK_VARIABLES, CLEAR_COUNT, VALID_COUNT, CHOSEN_DATE}
    return tuple(
        name
        for name, values in cube.data_vars.items()
        if set(view.dims) <= set(values.dims)
        and values.dtype.kind in "iuf"
        and name not in classes
        and not FLAGS & set(values.attrs)
    )


def on_bands(cube: Cube, function: Callable[[xr.DataArray], xr.DataArray]) -> Cube:
    """Return the cube with `function` applied to everything measured: not to classes, nor to static layers."""
    if isinstance(cube, xr.DataArray):
        return function(cube)
    return cube.assign({name: function(cube[name]) for name in measured(cube, layout.view(cube))})


def filler_of(values: xr.DataArray) -> float | None:
    """Return the declared no-data value that an integer dtype can hold; None for NaN."""
    if values.dtype.kind == "f":
        return None
    limits = np.iinfo(values.dtype)
    fitting = (n for n in declared_nodata(values) if limits.min <= n <= limits.max and float(n).is_integer())
    return next(fitting, None)


def float_for(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the smallest float dtype, single precision at least, that holds every value of a dtype."""
    return np.result_type(dtype, np.float32)


def apply(cube: Cube, mask: Cube | None = None, keep: str | Sequence[str] = "clear") -> Cube:
    """Blank out every pixel that is not of the classes to keep.

    Parameters
    ----------
    cube : Dataset or DataArray
    mask : Dataset or DataArray, optional
        Predict's Dataset or a mask; by default the cube's own ``cloud_mask``, else a prediction.
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
    kept = labels.clear(mask_for(cube, mask), keep)
    kept = kept.drop_vars(list(kept.coords))  # nothing is left to align: it is on the cube's pixels

    def blank(values: xr.DataArray) -> xr.DataArray:
        filler = filler_of(values)
        if filler is None:
            out = values.astype(float_for(values.dtype), keep_attrs=True).where(kept)
        else:
            out = values.where(kept, values.dtype.type(filler))
        out.attrs = dict(values.attrs)
        # The packing of integers in a file would turn NaN into numbers.
        kept_encoding = values.encoding if out.dtype == values.dtype and values.dtype.kind != "f" else GRID_ENCODING
        out.encoding = {key: value for key, value in values.encoding.items() if key in kept_encoding}
        return out.transpose(*values.dims)

    return on_bands(cube, blank)


def filter_dates(
    cube: Cube,
    max_cloud: float | None = None,
    max_shadow: float | None = None,
    min_valid: float | None = None,
    mask: Cube | None = None,
    *,
    verbose: bool = False,
) -> Cube:
    """Keep the dates whose coverage is within limits.

    The coverage of the mask is computed, and nothing else is; the result is as lazy as the cube. It is remembered: to
    filter the same object again by other limits computes nothing. A mask that is predicted for it is kept, compressed
    in memory, so that what comes after does not predict again.

    Parameters
    ----------
    cube : Dataset or DataArray
        With a time dimension.
    max_cloud, max_shadow : float, optional
        Largest fraction of the valid pixels that may be cloud, or cloud shadow; 0–1.
    min_valid : float, optional
        Smallest fraction of all pixels that must have data; 0–1. By default a date must have some; 0 keeps those
        without any.
    mask : Dataset or DataArray, optional
        Predict's Dataset or a mask; by default the cube's own ``cloud_mask``, else a prediction.
    verbose : bool
        Whether to print a table of all dates, their coverage, and why they were dropped.

    Returns
    -------
    Dataset or DataArray
        The cube with fewer dates, with their coverage as coordinates along time, and an attribute ``dropped_dates``
        that says which dates were dropped and why. With its mask, as `with_mask` returns it, where none was given.

    Raises
    ------
    CloudMaskError
        No time dimension, no limit, a limit outside 0–1, or a mask whose scheme cannot tell what is limited.

    Warns
    -----
    CoverageWarning
        The model of the mask cannot tell how cloudy a scene is, as ``'4-4A'``.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(bands=["red", "nir"], dates=3, size=(64, 64), cover=[0.1, 0.9, 0.2])
    >>> kept = filter_dates(cube, max_cloud=0.5, mask=cube.truth)
    >>> kept.sizes["time"], kept.attrs["dropped_dates"]
    (2, '2024-06-11T13:10 (cloud_fraction 0.90)')
    """
    given = {
        ("max_cloud", CLOUD_FRACTION): max_cloud,
        ("max_shadow", CLOUD_SHADOW_FRACTION): max_shadow,
        ("min_valid", VALID_FRACTION): min_valid,
    }
    limits = {name: limit(keyword, value) for (keyword, name), value in given.items() if value is not None}
    if not limits:
        raise CloudMaskError("no limit", "max_cloud, max_shadow or min_valid", "filter(max_cloud=0.3)")
    time = layout.view(cube).time
    if time is None:
        raise CloudMaskError(
            f"a cube with dimensions {tuple(cube.dims)}", "a time dimension", "cube.expand_dims('time')"
        )
    if mask is None and not labels.carries_mask(cube):
        cube = _with_kept_mask(cube)
    used = mask_for(cube, mask)
    if limits.keys() - {VALID_FRACTION}:
        warn_of([used.attrs.get(MODEL_WARNING, "")])
    table = counted.count(used)
    untold = [name for name in limits if name not in table]
    if untold:
        raise CloudMaskError(
            f"a mask whose scheme cannot tell {untold}", "scheme 'cloudsen12'", "predict(scheme='cloudsen12')"
        )
    why = _reasons(table, limits)
    if verbose:
        print(_shown(table, why).to_string(float_format="%.3f"))
    kept = why == ""
    out = cube.isel({time: kept}).assign_coords({str(n): v.variable[kept] for n, v in table.data_vars.items()})
    if kept.any() and (mask is not None or labels.carries_mask(out)):
        left = _on_dates_of(layout.view(out), labels.mask_of(out if mask is None else mask))
        if left.sizes[time] == kept.sum():
            counted.remember(left, table.isel({time: kept}))
    dropped = [f"{date} ({reason})" for date, reason in zip(_names(table), why, strict=True) if reason]
    before = [cube.attrs[DROPPED_DATES]] if cube.attrs.get(DROPPED_DATES) else []
    return out.assign_attrs({DROPPED_DATES: "; ".join([*before, *dropped])})


def _with_kept_mask(cube: Cube) -> Cube:
    """Predict the mask of a cube that has none, for its coverage and for whatever comes after."""
    predicted = predict(cube)
    return with_mask(cube, predicted.assign({MASK_NAME: counted.kept(predicted[MASK_NAME])}))


def _reasons(table: xr.Dataset, limits: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """Say of each date why it is dropped; nothing where it is not."""
    why = np.full(table["valid_fraction"].shape, "", dtype=object)
    if limits.get("valid_fraction") != 0:
        why[table["valid_fraction"].values == 0] = "no valid pixels"
    for name, bound in limits.items():
        values = table[name].values
        beyond = values < bound if name == "valid_fraction" else values > bound  # a date without data has no clouds
        for i in np.flatnonzero(beyond & (why == "")):
            why[i] = f"{name} {values[i]:.2f}"
    return why


def _shown(table: xr.Dataset, why: npt.NDArray[np.str_]) -> pd.DataFrame:
    columns = {str(name): values.values for name, values in table.data_vars.items()}
    return pd.DataFrame({**columns, "dropped for": why}, index=pd.Index(_names(table), name="date"))


def _names(table: xr.Dataset) -> list[str]:
    """Name the dates, to the minute; by their numbers where the cube does not tell them."""
    (dim,) = table["valid_fraction"].dims
    dates = table[dim].values if dim in table.coords else np.arange(table.sizes[dim])
    return [str(date)[: len("2024-01-31T10:15")] for date in dates]
