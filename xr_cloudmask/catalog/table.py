"""Rows of the database as a table for people."""

from __future__ import annotations

import datetime as dt
import json
import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xr_cloudmask.catalog.outlines import split
from xr_cloudmask.cog import WGS84
from xr_cloudmask.extras import require
from xr_cloudmask.names import BAND_MISMATCH, FRACTIONS, WATER_FRACTION

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

# Columns of the database that are for machines; the footprint and the mask's path are shown in their place.
HIDDEN = ("item", "name", "request", "run", "due")
JSON = ("statistics", "provenance")
DATES = ("datetime", "queued", "started", "finished")
NUMBERS = (*FRACTIONS, WATER_FRACTION, "seconds")


def as_table(rows: Sequence[sqlite3.Row], names: Sequence[str], folder: Path) -> GeoDataFrame:
    """Return rows that can be read; see `Catalog.to_dataframe`."""
    import pandas as pd
    from shapely.geometry import shape

    geopandas = require("geopandas", "catalog", "the catalogue's table")
    table = pd.DataFrame([tuple(row) for row in rows], columns=list(names))
    footprints = [split(json.loads(row["item"])["geometry"]) for row in rows]
    table["mask"] = [str(folder / f"{row['name']}.tif") if row["mask"] == "file" else row["mask"] for row in rows]
    for name in JSON:
        # Of the rows, not of the table: pandas makes NaN of a text that is missing.
        table[name] = [None if row[name] is None else json.loads(row[name]) for row in rows]
    for name in DATES:
        table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601")
    table[BAND_MISMATCH] = table[BAND_MISMATCH].astype("boolean")
    table[list(NUMBERS)] = table[list(NUMBERS)].astype("float64")
    outlines = [None if footprint is None else shape(footprint) for footprint in footprints]
    frame = geopandas.GeoDataFrame(table.drop(columns=list(HIDDEN)), geometry=outlines, crs=WGS84)
    return frame.set_index("id")


def unreadable(row: sqlite3.Row) -> str | None:
    """Return what of a row cannot be read; None where all of it can."""
    for names, understand in READERS:
        for name in names:
            try:
                understand(row[name])
            except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
                return f"{name}: {str(error)[:80]}"
    return None


def _json(text: str | None) -> None:
    if text is not None and not isinstance(json.loads(text), dict):
        raise ValueError("no object")


def _item(text: str) -> None:
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    item = json.loads(text)
    try:
        if item["geometry"] is not None:
            split(shape(item["geometry"]).__geo_interface__)
    except ShapelyError as error:
        raise ValueError(str(error)) from error


def _date(text: str | None) -> None:
    if text is not None:
        dt.datetime.fromisoformat(text)


def _number(value: float | None) -> None:
    if value is not None and not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{value!r}")


def _name(text: str) -> None:
    if Path(text).name != text or text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no name of a file")


def _flag(value: int | None) -> None:
    if value not in (None, 0, 1):
        raise ValueError(f"{value!r} is neither 0 nor 1")


READERS: Any = (
    (("name",), _name),  # it must not lead out of a folder that masks are exported to
    (("item",), _item),
    (JSON, _json),
    (DATES, _date),
    (NUMBERS, _number),
    ((BAND_MISMATCH,), _flag),
)
