"""What masks are exported to: GeoTIFFs, a GeoPackage, a STAC collection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xr_cloudmask import atomic
from xr_cloudmask.catalog import store
from xr_cloudmask.catalog.items import item_of
from xr_cloudmask.export import open_mask
from xr_cloudmask.masks.schemes import SURFACES, scheme_of
from xr_cloudmask.names import MASK_NAME

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

Rows: TypeAlias = Sequence[tuple[sqlite3.Row, Path]]  # of the table, and where the masks are
Exporter: TypeAlias = Callable[[Rows, "GeoDataFrame", Path], list[Path]]

GEOPACKAGE = "cloudmasks.gpkg"
COLLECTION = "cloudmasks"
WGS84 = "EPSG:4326"
WORLD = (-180.0, -90.0, 180.0, 90.0)
LICENCE = "other"


def to_tif(rows: Rows, _: GeoDataFrame, folder: Path) -> list[Path]:
    """Copy the COGs as they are, and the files beside them that have the names of the classes."""
    return [_copied(row, path, folder) for row, path in rows]


def _copied(row: sqlite3.Row, path: Path, folder: Path) -> Path:
    target = folder / f"{row['name']}.tif"
    store.copy(path, target)
    return target


def to_gpkg(rows: Rows, table: GeoDataFrame, folder: Path) -> list[Path]:
    """Write one GeoPackage: footprints with everything that was measured, and the outlines of cloud and shadow.

    Outlines follow the pixels. They are in longitude and latitude, for scenes of several zones share the layer; in it
    ``scene`` is that of the footprints.
    """
    target = folder / GEOPACKAGE
    with atomic.replacing(target) as part:
        flat = table.drop(columns=["statistics", "provenance"])
        flat.to_file(part, layer="scenes", driver="GPKG", engine="pyogrio", index=True)
        for row, path in rows:  # one after the other: outlines are large
            outlines = _outlines(row, path)
            if len(outlines):
                outlines.to_file(part, layer="classes", driver="GPKG", engine="pyogrio", mode="a")
    return [target]


def _outlines(row: sqlite3.Row, path: Path) -> GeoDataFrame:
    """Return a polygon for every patch of a class that hides the ground."""
    import geopandas
    import numpy as np
    import rasterio
    from rasterio.features import shapes
    from shapely.geometry import shape

    scheme = scheme_of(open_mask(path)[MASK_NAME])
    names = {entry.code: entry.name for entry in scheme.classes if not set(entry.gathers) & set(SURFACES)}
    with rasterio.open(path) as file:
        codes = file.read(1)
        found = list(shapes(codes, np.isin(codes, list(names)), transform=file.transform))
        crs = file.crs
    columns = {
        "scene": row["scene"],
        "id": row["id"],
        "datetime": row["datetime"],
        "class": [names[int(code)] for _, code in found],
    }
    frame = geopandas.GeoDataFrame(columns, geometry=[shape(outline) for outline, _ in found], crs=crs)
    return frame if crs is None else frame.to_crs(WGS84)


def to_stac(rows: Rows, _: GeoDataFrame, folder: Path) -> list[Path]:
    """Write a self-contained STAC collection: an item with its COG in a folder for each mask."""
    written = []
    items = []
    for row, path in rows:
        home = folder / str(row["name"])
        home.mkdir(exist_ok=True)
        cog = _copied(row, path, home)
        item = item_of(row, cog).to_dict(include_self_link=False)
        item["assets"][MASK_NAME]["href"] = f"./{cog.name}"
        item["collection"] = COLLECTION
        item["links"] += [
            {"rel": rel, "href": "../collection.json", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ]
        written.append(_write_json(home / f"{row['name']}.json", item))
        items.append(item)
    return [_write_json(folder / "collection.json", _collection(items)), *written]


def _collection(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    boxes = [item["bbox"] for item in items if "bbox" in item] or [WORLD]
    dates = sorted(item["properties"]["datetime"] or item["properties"]["start_datetime"] for item in items)
    links = [
        {"rel": "item", "href": f"./{item['id']}/{item['id']}.json", "type": "application/geo+json"} for item in items
    ]
    return {
        "type": "Collection",
        "stac_version": items[0]["stac_version"],
        "id": COLLECTION,
        "title": "Cloud masks",
        "description": "Cloud masks by xr-cloudmask: cloud, thin cloud, cloud shadow, clear and no data.",
        "license": LICENCE,
        "extent": {
            "spatial": {
                "bbox": [
                    [
                        *map(min, zip(*[box[:2] for box in boxes], strict=True)),
                        *map(max, zip(*[box[2:] for box in boxes], strict=True)),
                    ]
                ]
            },
            "temporal": {"interval": [[dates[0], dates[-1]]]},
        },
        "links": [{"rel": "root", "href": "./collection.json", "type": "application/json"}, *links],
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> Path:
    atomic.write_bytes(path, json.dumps(content, indent=2, default=str).encode())
    return path


FORMATS: Mapping[str, Exporter] = {"tif": to_tif, "gpkg": to_gpkg, "stac": to_stac}
