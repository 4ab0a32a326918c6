"""What a cube says about itself: item properties and band metadata, wherever the loaders put them.

stackstac and odc-stac keep item properties as coordinates, satpy and cubo as attributes, EOPF as a nested STAC item.
No band is ever computed. Coordinates of a few numbers are read even where ``cube.chunk()`` made dask arrays of them:
passing over a flag that is there would change the reflectance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import numpy as np

from xr_cloudmask.cube.layout import CubeView, read
from xr_cloudmask.cube.stac_fields import band_field, without_prefixes

__all__ = ["as_number", "band_metadata", "item_property", "read", "spelt", "stac_band", "texts"]

# Attributes that hold a whole STAC item, and the key of its properties.
NESTED = ("stac_discovery", "stac_item", "other_metadata")


def item_property(view: CubeView, *names: str) -> tuple[Any, ...] | None:
    """Look an item property up under several names.

    Parameters
    ----------
    view : CubeView
        The cube.
    *names : str
        Names in order of preference, such as ``"platform"``, ``"platform_name"``.

    Returns
    -------
    tuple or None
        One value for the whole cube, or one per date; None where the cube does not say.
    """
    for name in names:
        for value in _values(view, name):
            if any(_is_something(v) for v in value):
                return value
    return None


def texts(view: CubeView, *names: str) -> tuple[frozenset[str], ...]:
    """Collect every text under several names, one set for the whole cube or one per date.

    Examples
    --------
    >>> import xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> cube = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), attrs={"platform": "Sentinel-2A"})
    >>> texts(layout.view(cube), "platform", "constellation")
    (frozenset({'Sentinel-2A'}),)
    """
    found = [value for name in names for value in _values(view, name)]
    length = max((len(value) for value in found), default=1)
    columns = [value * length if len(value) == 1 else value for value in found]
    return tuple(frozenset(t for column in columns for t in _flat_texts(column[i])) for i in range(length))


def band_metadata(view: CubeView, name: str) -> dict[str, Any]:
    """Gather everything the cube says about one band: coordinates along the band dimension, then attributes.

    STAC's lists of bands are opened, and their prefixes dropped; see `cube.stac_fields`.
    """
    attrs, coords = view.bands[name].attrs, view.coords_of_bands[name]
    return without_prefixes(attrs) | stac_band(view, name) | without_prefixes(coords)


def stac_band(view: CubeView, name: str) -> dict[str, Any]:
    """Return only what STAC's ``bands``, ``eo:bands`` and ``raster:bands`` say about one band."""
    place = list(view.bands).index(name), len(view.bands)
    return band_field(view.bands[name].attrs, *place) | band_field(view.coords_of_bands[name], *place)


def _values(view: CubeView, name: str) -> Iterator[tuple[Any, ...]]:
    """Yield every place's answer: coordinate, attributes of the cube, of a band, of a nested STAC item."""
    if name in view.source.coords:
        coord = view.source.coords[name]
        if coord.dims in ((), (view.time,)):
            yield tuple(np.atleast_1d(read(coord)).tolist())
    for attrs in (view.source.attrs, *(band.attrs for band in view.bands.values())):
        if name in attrs:
            yield (attrs[name],)
            break
    for key in NESTED:
        nested = view.source.attrs.get(key)
        if isinstance(nested, Mapping):
            yield from ((level[name],) for level in (nested, nested.get("properties", {})) if name in level)


def _is_something(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size > 0
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _flat_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, list | tuple | set | frozenset | np.ndarray):
        for entry in value:
            yield from _flat_texts(entry)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number, infinite or NaN too, and not text that spells one.

    Examples
    --------
    >>> [is_number(value) for value in (2, np.float32(0.5), "2", True)]
    [True, True, False, False]
    """
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def as_number(value: Any) -> float | None:
    """Return a finite number, None for anything else (text that spells none, arrays, NaN)."""
    if isinstance(value, bool) or np.ndim(value) > 0:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def spelt(values: tuple[float, ...]) -> str:
    """Write numbers in one line; where they differ between dates, how many dates have each.

    Examples
    --------
    >>> spelt((-0.1, 0.0, -0.1))
    '0 on 1 dates and -0.1 on 2 dates'
    """
    if len(set(values)) == 1:
        return f"{values[0]:g}"
    return " and ".join(f"{value:g} on {values.count(value)} dates" for value in sorted(set(values), reverse=True))
