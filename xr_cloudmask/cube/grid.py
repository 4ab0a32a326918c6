"""A cube's bands as arrays, and arrays back on its grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.mapping import placed

STORABLE = str | int | float | np.number | np.ndarray  # as attributes, in every file format


def pixels(view: CubeView, band: str) -> Any:
    """Return a band's array as it is, ``(time, y, x)`` or ``(y, x)``."""
    values = view.bands[band]
    layout.require_real_numbers(band, values)
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
    return any(view.bands[band].chunks is not None for band in bands)


def shape_of(view: CubeView) -> tuple[int, int]:
    """Return the size of the cube along y and x, in pixels."""
    return view.sizes[view.y], view.sizes[view.x]


def on_grid(view: CubeView, layers: Mapping[str, tuple[Any, dict[str, Any]]]) -> xr.Dataset:
    """Return arrays ``(date, y, x)`` and their attributes on the cube's grid."""
    coords, mapping = placed(view)
    encoding = {} if mapping is None else {"grid_mapping": mapping}
    variables = {
        name: xr.Variable(view.dims, undated(view, array), attrs, encoding) for name, (array, attrs) in layers.items()
    }
    attrs_of_cube = view.source.attrs if isinstance(view.source, xr.Dataset) else {}
    storable = {key: value for key, value in attrs_of_cube.items() if isinstance(value, STORABLE)}
    return xr.Dataset(variables, coords=coords, attrs=storable)
