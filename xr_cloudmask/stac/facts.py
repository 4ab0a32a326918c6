"""What items say of their dates and bands, in the form in which a cube carries it."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.cbers import CbersMetadata, parse_cbers_metadata
from xr_cloudmask.cube.declared import (
    APPLIED_OFFSET,
    APPLIED_SCALE,
    BASELINE_KEYS,
    HARMONISED_KEYS,
    LEVEL_KEYS,
    OFFSET,
    PDGS_OFFSET_KEYS,
    SCALE,
    SUN_KEYS,
)
from xr_cloudmask.cube.metadata import INSTRUMENT_KEYS, PLATFORM_KEYS, PRODUCT_KEYS, as_number
from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.cube.sun import AZIMUTH_KEYS, ZENITH_KEYS
from xr_cloudmask.errors import FileError, StacError
from xr_cloudmask.stac import http
from xr_cloudmask.stac.headers import Patch

if TYPE_CHECKING:
    from pystac import Item

# Properties of an item that a cube carries: what the line reads, and what people choose dates by.
PERCENTAGES = ("eo:cloud_cover", "eo:snow_cover")
PLACES = ("s2:mgrs_tile", "path", "row")
KEPT = (
    *PRODUCT_KEYS, *PLATFORM_KEYS, *INSTRUMENT_KEYS, *LEVEL_KEYS, *BASELINE_KEYS, *HARMONISED_KEYS, *PDGS_OFFSET_KEYS,
    *SUN_KEYS, *AZIMUTH_KEYS, *ZENITH_KEYS, *PERCENTAGES, *PLACES, "view:off_nadir",
)  # fmt: skip
# What becomes of properties in which the items of one date differ; of all others, the first item's stays.
AVERAGED = (*SUN_KEYS, *ZENITH_KEYS, *PERCENTAGES)
PRODUCT_KINDS = (
    "collection",
    "collections",
    "odc:product",
    "s2:product_type",
    "reader",
)  # of products; other product keys name one each
LISTED = (*(key for key in PRODUCT_KEYS if key not in PRODUCT_KINDS), *PLACES)
INPE_XML = re.compile(r"_BAND\d{1,2}\.xml($|\?)", re.IGNORECASE)
LARGEST = 2**63 - 1
FACTOR_PAIRS = ((SCALE, OFFSET), (APPLIED_SCALE, APPLIED_OFFSET))

Facts = dict[str, Any]
BandAttributes = dict[str, dict[str, Any]]  # attributes, by the cube's names of the bands


def said_of_dates(items: Sequence[Item], patch: Patch) -> list[Facts]:
    """Return what each item says of its date, and for digital numbers of CBERS and Amazonia-1 its XML.

    Raises
    ------
    FileError
        An XML file cannot be read.
    """
    with ThreadPoolExecutor(http.CONNECTIONS) as pool:
        return list(pool.map(lambda item: _facts(item, _inpe_metadata(item, patch)), items))


def _facts(item: Item, metadata: CbersMetadata | None) -> Facts:
    row = item.properties | {"id": item.id, "collection": item.collection_id}
    row = {key: row[key] for key in dict.fromkeys(KEPT) if row.get(key) is not None}
    if metadata is None:
        return row
    pixel = metadata.attach(xr.Dataset({"BAND": (("y", "x"), np.zeros((1, 1)))}))
    said = {str(key): coord.item() for key, coord in pixel.coords.items() if key != "time"}
    lacking = {key for key, value in said.items() if key in row and not isinstance(value, str) and math.isnan(value)}
    return row | {key: value for key, value in said.items() if key not in lacking}


def joined(rows: Sequence[Facts]) -> Facts:
    """Return the facts of a date that several items share: ids are listed, angles and percentages are means."""
    if len(rows) == 1:
        return rows[0]
    merged: Facts = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if key in row]
        numbers = [number for number in map(as_number, values) if number is not None]
        if key in AZIMUTH_KEYS and numbers:
            merged[key] = mean_direction(numbers)
        elif key in AVERAGED and numbers:
            merged[key] = sum(numbers) / len(numbers)
        elif key in LISTED:
            merged[key] = ", ".join(dict.fromkeys(map(_text, values)))
        else:
            merged[key] = values[0]
    return merged


def mean_direction(angles: Sequence[float]) -> float:
    """Return the mean of directions in degrees.

    Examples
    --------
    >>> round(mean_direction([350, 20]), 6)
    5.0
    """
    total = sum(cmath.rect(1.0, math.radians(angle)) for angle in angles)
    return math.degrees(cmath.phase(total)) % 360


def columns(rows: Sequence[Facts]) -> dict[str, list[Any]]:
    """Return the facts of all dates, a list for each name, of values of one type."""
    names = dict.fromkeys(key for row in rows for key in row)
    return {key: _uniform([row.get(key) for row in rows]) for key in names}


def by_date(name: str, said: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Divide what is said of a band on each date into what holds for all, and scales and offsets that differ.

    Raises
    ------
    StacError
        A scale is stated on some dates only.
    """
    shared = {key: value for key, value in said[0].items() if all(other.get(key) == value for other in said)}
    dated: dict[str, list[float]] = {}
    for scale, offset in FACTOR_PAIRS:
        pairs = [(of_date.get(scale), of_date.get(offset)) for of_date in said]
        if len(set(pairs)) == 1:
            continue
        if None in {factor for factor, _ in pairs}:
            raise StacError(
                f"items of which some state a scale of band {name!r} and others none",
                "items of one collection, which state it alike",
                "a cube per collection, joined by xarray.concat once it is reflectance",
            )
        dated[scale] = [factor for factor, _ in pairs if factor is not None]
        dated[offset] = [math.nan if shift is None else float(shift) for _, shift in pairs]
    return {key: value for key, value in shared.items() if key not in dated}, dated


def _inpe_metadata(item: Item, patch: Patch) -> CbersMetadata | None:
    """Read the XML of an item of INPE's digital numbers; None for all other items."""
    hrefs = [asset.get_absolute_href() or asset.href for asset in item.assets.values()]
    described = next((href for href in hrefs if INPE_XML.search(href)), None)
    if described is None or _is_reflectance(item):
        return None
    try:
        return parse_cbers_metadata(http.fetch(patch(described)))
    except FileError as error:
        raise FileError(f"item {item.id!r}: {error.found}", error.expected, error.remedy) from error


def _is_reflectance(item: Item) -> bool:
    rules = (rule for sensor in sensors().values() for rule in sensor.radiometry)
    return any(rule.describes(str(item.collection_id)) for rule in rules if not rule.radiance)


def _uniform(values: Sequence[Any]) -> list[Any]:
    """Return values of one type, for arrays and files take no other: numbers, with NaN for null, or text."""
    stated = {str if _is_huge(value) else type(value) for value in values}
    if stated in ({bool}, {int}):
        return list(values)
    if stated <= {int, float, type(None)}:
        return [math.nan if value is None else float(value) for value in values]
    return [_text(value) for value in values]


def _is_huge(value: Any) -> bool:
    """Whether a value is a whole number that no array holds."""
    return isinstance(value, int) and abs(value) > LARGEST


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
