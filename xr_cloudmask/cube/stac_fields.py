"""What STAC says of bands: one form for every version of the specification, one order of precedence.

STAC 1.1 has ``bands``; before, ``eo:bands`` and ``raster:bands`` shared what is said. The first that states a field
wins, and what is said of an asset holds for each of its bands. Prefixes (``eo:``, ``raster:``) are dropped.

Sources: STAC specification 1.1.0, common metadata (bands); electro-optical extension 1 and 2; raster extension 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

BAND_LISTS = ("bands", "eo:bands", "raster:bands")  # in order of precedence
PREFIXES = ("eo:", "raster:")


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
    for key in reversed(BAND_LISTS):
        entries = _entries(fields.get(key))
        if len(entries) in (1, count):
            found |= stated(entries[position if len(entries) == count else 0])
    return found


def stated(entry: Any) -> dict[str, Any]:
    """Return the fields of a band that are not null, without prefixes."""
    fields = without_prefixes(entry) if isinstance(entry, Mapping) else {}
    return {key: value for key, value in fields.items() if value is not None}


def without_prefixes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the prefixes of the extensions; a field that is there without wins."""
    plain = {_plain(key): value for key, value in fields.items() if str(key).startswith(PREFIXES)}
    return plain | {str(key): value for key, value in fields.items() if not str(key).startswith(PREFIXES)}


def _plain(key: str) -> str:
    return next(str(key).removeprefix(prefix) for prefix in PREFIXES if str(key).startswith(prefix))


def _entries(bands: Any) -> list[Any]:
    """Return a list of bands however it is kept; stackstac makes a mapping of a list of one."""
    if isinstance(bands, np.ndarray):
        bands = bands.tolist()
    if isinstance(bands, Mapping):
        return [bands]
    return list(bands) if isinstance(bands, list | tuple) else []
