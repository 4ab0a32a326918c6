"""What a cube says about itself: item properties and band metadata, wherever the loaders put them, in one form.

stackstac and odc-stac keep item properties as coordinates, satpy and cubo as attributes, EOPF as a nested STAC item.
STAC 1.1 has ``bands``; before, ``eo:bands`` and ``raster:bands`` shared what is said. The first that states a field
wins, and what is said of an asset holds for each of its bands. Prefixes (``eo:``, ``raster:``) are dropped.

No band is ever computed. Coordinates of a few numbers are read even where ``cube.chunk()`` made dask arrays of them:
passing over a flag that is there would change the reflectance.

Sources: STAC specification 1.1.0, common metadata (bands); electro-optical extension 1 and 2; raster extension 1 and 2.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from xr_cloudmask.cube.layout import CubeView

# What items call it.
PLATFORM_KEYS = ("platform", "platform_name", "spacecraft", "SPACECRAFT_ID", "SPACECRAFT_NAME", "constellation")
INSTRUMENT_KEYS = ("instruments", "instrument", "sensor", "SENSOR_ID")
PRODUCT_KEYS = (
    "collection", "collections", "odc:product", "id", "product_id", "product_uri", "s2:product_uri", "s2:product_type",
    "sentinel:product_id", "landsat:product_id", "landsat:scene_id", "title", "PRODUCT_URI", "LANDSAT_PRODUCT_ID",
    "reader",
)  # fmt: skip

# Attributes that hold a whole STAC item, and the key of its properties.
NESTED = ("stac_discovery", "stac_item", "other_metadata")
BAND_LISTS = ("bands", "eo:bands", "raster:bands")  # in order of precedence
PREFIXES = ("eo:", "raster:")
# What rioxarray lists for the bands of a file where they differ, and what it says of a band.
LISTED = {"scales": "scale_factor", "offsets": "add_offset", "nodatavals": "nodata"}


def read(coord: xr.DataArray) -> np.ndarray:
    """Read a small coordinate in this thread, whatever scheduler is set."""
    variable = coord.variable
    values: np.ndarray = (variable if coord.chunks is None else variable.compute(scheduler="synchronous")).values
    return values


# Of the whole cube.


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
    return next((answer for answer in answers(view, names) if any(map(_is_something, answer))), None)


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
    found = answers(view, names)
    length = max((len(value) for value in found), default=1)
    columns = [value * length if len(value) == 1 else value for value in found]
    return tuple(frozenset(t for column in columns for t in _flat_texts(column[i])) for i in range(length))


def answers(view: CubeView, names: Iterable[str]) -> list[tuple[Any, ...]]:
    """Return what every place says under several names, one value for the whole cube or one per date.

    The places are a coordinate, attributes of the cube, of a band, of a nested STAC item.
    """
    coords, of_cube = view.source.coords, view.source.attrs
    attrs = [of_cube, *(band.attrs for band in view.bands.values())]
    items = [item for item in map(of_cube.get, NESTED) if isinstance(item, Mapping)]
    nested = [level for item in items for level in (item, item.get("properties", {}))]
    found: list[tuple[Any, ...]] = []
    for name in names:
        if name in coords and coords[name].dims in ((), (view.time,)):
            found.append(tuple(np.atleast_1d(read(coords[name])).tolist()))
        found += [(place[name],) for place in attrs if name in place][:1]
        found += [(level[name],) for level in nested if name in level]
    return found


def _is_something(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size > 0
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _flat_texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [text for entry in value for text in _flat_texts(entry)]
    return []


# Of a band.


@dataclass(frozen=True)
class BandMetadata:
    """What a cube says of one band, read once.

    Attributes
    ----------
    said : mapping of str to object
        Everything: attributes, STAC's lists of bands, coordinates along the band dimension; the last one wins.
    stac : mapping of str to object
        What STAC's lists of bands say, in attributes and in coordinates.
    coords : mapping of str to object
        What the coordinates along the band dimension, and those without dimension, say as they are.
    """

    said: Mapping[str, Any]
    stac: Mapping[str, Any]
    coords: Mapping[str, Any]


def of_bands(bands: Mapping[str, xr.DataArray], coords: Mapping[str, Mapping[str, Any]]) -> dict[str, BandMetadata]:
    """Gather what attributes and coordinates say of each band."""
    found = {}
    for i, (name, values) in enumerate(bands.items()):
        attrs, own = values.attrs, coords[name]
        stac = band_field(attrs, i, len(bands)) | band_field(own, i, len(bands))
        found[name] = BandMetadata(without_prefixes(attrs) | stac | without_prefixes(own), stac, own)
    return found


def with_their_own(bands: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Give each band its own of the numbers that rioxarray lists for all bands of a file."""
    return {name: _with_its_own(values, i, len(bands)) for i, (name, values) in enumerate(bands.items())}


def _with_its_own(values: xr.DataArray, position: int, count: int) -> xr.DataArray:
    own = [
        {
            one: numbers[min(position, len(numbers) - 1)]
            for listed, one in LISTED.items()
            if listed in place and len(numbers := flat(place[listed])) in (1, count)
        }
        for place in (values.attrs, values.encoding)
    ]
    if not any(own):
        return values
    values = values.assign_attrs(own[0])
    values.encoding = {**values.encoding, **own[1]}
    return values


def band_fields(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what an asset's fields say of each of its bands; one band where they list none.

    Parameters
    ----------
    fields : mapping
        Of an asset, or attributes and coordinates that a loader made of them.

    Examples
    --------
    >>> band_fields({"eo:bands": [{"name": "B02"}], "raster:bands": [{"name": "1", "scale": 1e-4}], "gsd": 10})
    [{'gsd': 10, 'name': 'B02', 'scale': 0.0001}]
    """
    lists = [_entries(fields.get(key)) for key in reversed(BAND_LISTS)]
    shared = without_prefixes({key: value for key, value in fields.items() if key not in BAND_LISTS})
    found = [dict(shared) for _ in range(max(1, *map(len, lists)))]
    for entries in lists:
        for band, entry in zip(found, entries, strict=False):
            band.update(stated(entry))
    return found


def band_field(fields: Mapping[str, Any], position: int, count: int) -> dict[str, Any]:
    """Return what the lists of bands among some fields say of one of `count` bands.

    A list of one holds for the band whose fields they are, a list of `count` for all bands in order.
    """
    found: dict[str, Any] = {}
    for entries in [_entries(fields[key]) for key in reversed(BAND_LISTS) if key in fields]:
        if len(entries) in (1, count):
            found |= stated(entries[position if len(entries) == count else 0])
    return found


def stated(entry: Any) -> dict[str, Any]:
    """Return the fields of a band that are not null, without prefixes."""
    fields = without_prefixes(entry) if isinstance(entry, Mapping) else {}
    return {key: value for key, value in fields.items() if value is not None}


def without_prefixes(fields: Mapping[Any, Any]) -> dict[str, Any]:
    """Drop the prefixes of the extensions; a field that is there without wins."""
    names = {key: str(key) for key in fields}
    plain = {name.partition(":")[2]: fields[key] for key, name in names.items() if name.startswith(PREFIXES)}
    return plain | {name: fields[key] for key, name in names.items() if not name.startswith(PREFIXES)}


def _entries(bands: Any) -> list[Any]:
    """Return a list of bands however it is kept; stackstac makes a mapping of a list of one."""
    if isinstance(bands, np.ndarray):
        bands = bands.tolist()
    if isinstance(bands, Mapping):
        return [bands]
    return list(bands) if isinstance(bands, list | tuple) else []


# Numbers.


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number, infinite or NaN too, and not text that spells one.

    Examples
    --------
    >>> [is_number(value) for value in (2, np.float32(0.5), "2", True)]
    [True, True, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return not isinstance(value, int) or value.bit_length() < sys.float_info.max_exp  # no float holds more


def as_number(value: Any) -> float | None:
    """Return a finite number, None for anything else (text that spells none, arrays of several, NaN).

    Examples
    --------
    >>> as_number("0.0001"), as_number(np.array([7])), as_number([1, 2])
    (0.0001, 7.0, None)
    """
    if isinstance(value, np.ndarray) and value.size == 1:  # as HDF5 and HDF4 keep them
        value = value.item()
    elif isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool | np.bool_):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def flat(value: Any) -> list[Any]:
    """Return the entries of an array, or of lists in lists of any lengths; one entry of anything else.

    Examples
    --------
    >>> flat([[1], [2, "a"]]), flat(np.zeros((1, 2))), flat("abc")
    ([1, 2, 'a'], [0.0, 0.0], ['abc'])
    """
    found, left = [], [value]
    while left:
        one = left.pop()
        if isinstance(one, np.ndarray):
            found += one.ravel().tolist()
        elif isinstance(one, list | tuple):
            left += reversed(one)
        else:
            found.append(one)
    return found


def is_row(value: Any) -> bool:
    """Whether a value is a list of single entries."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, list | tuple) and not any(isinstance(entry, list | tuple | np.ndarray) for entry in value)


def positive(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    """Return those of some fields that are numbers above 0, however they are kept."""
    said = {name: fields[name] for name in names if name in fields}
    plain = {name: v.item() if isinstance(v, np.ndarray) and v.size == 1 else v for name, v in said.items()}
    return {name: number for name, v in plain.items() if (number := as_number(v)) is not None and number > 0}


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
