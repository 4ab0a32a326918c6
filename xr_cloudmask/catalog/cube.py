"""Masks of a catalogue as one cube with time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from xr_cloudmask.catalog.formats import Rows
from xr_cloudmask.catalog.items import item_of
from xr_cloudmask.errors import CatalogError
from xr_cloudmask.export import open_mask
from xr_cloudmask.files.raster import CHUNK
from xr_cloudmask.names import FRACTIONS, MASK_NAME, WATER_FRACTION


def cube_of(rows: Rows, grid: Mapping[str, Any], chunks: Mapping[str, int] | None) -> xr.Dataset:
    """Return masks, and what the table says of them, along time; lazy. See `Catalog.cube`.

    Raises
    ------
    CatalogError
        Masks of several schemes, or of several grids where none is given.
    """
    schemes = sorted({row["scheme"] for row, _ in rows})
    if len(schemes) != 1:
        raise CatalogError(f"masks in schemes {schemes}", "masks of one scheme", "catalog.filter(model=...).cube()")
    cube = _loaded(rows, chunks, grid)
    cube[MASK_NAME].attrs = _shared([open_mask(path)[MASK_NAME].attrs for _, path in rows])
    columns = {name: ("time", [row[name] for row, _ in rows]) for name in ("id", "scene")}
    columns |= {name: ("time", [_nan(row[name]) for row, _ in rows]) for name in (*FRACTIONS, WATER_FRACTION)}
    return cube.assign_coords(columns)


def _loaded(rows: Rows, chunks: Mapping[str, int] | None, grid: Mapping[str, Any]) -> xr.Dataset:
    import odc.stac

    given = {name: value for name, value in grid.items() if value is not None}
    try:
        cube: xr.Dataset = odc.stac.load(
            [item_of(row, path) for row, path in rows],
            bands=[MASK_NAME],
            groupby="id",
            dtype="uint8",
            nodata=255,
            resampling="nearest",
            chunks={"y": CHUNK, "x": CHUNK, **(chunks or {})},
            **given,
        )
    except ValueError as error:
        raise CatalogError(
            f"masks that make no grid with {given or 'their own projections'}: {error}",
            "geobox=; or crs= and resolution=",
            "catalog.cube(crs='EPSG:32723', resolution=10)",
        ) from error
    return cube


def _shared(attrs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the attributes that all masks have; flags, of one scheme, are among them."""
    return {
        name: value for name, value in attrs[0].items() if all(repr(other.get(name)) == repr(value) for other in attrs)
    }


def _nan(number: float | None) -> float:
    return float("nan") if number is None else number
