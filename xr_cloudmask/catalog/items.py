"""The STAC item of a mask: what the STAC export writes, and what cubes of masks are loaded by."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from xr_cloudmask.catalog.outlines import box_of, split
from xr_cloudmask.export import open_mask
from xr_cloudmask.masks.schemes import scheme_of
from xr_cloudmask.names import CLOUD_FRACTION, MASK_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from pystac import Asset, Item
    from xarray import DataArray

EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
CARRIED = ("platform", "instruments", "constellation", "gsd")  # properties of the source that hold for its mask
LINEAGE = ("model", "model_variant", "model_version", "bands")


def item_of(row: sqlite3.Row, path: Path) -> Item:
    """Return the item of a mask, with one asset whose address is `path`.

    It has ``eo:cloud_cover`` in percent of the valid pixels, the grid, the classes with their colours, the model as
    ``processing:`` fields, and a link to the item that the mask was made of, where that has an address.
    """
    from pystac import Item, Link

    source = Item.from_dict(json.loads(row["item"]))
    geometry, bbox = _footprint(row, source)
    item = Item(
        id=row["name"],
        geometry=geometry,
        bbox=bbox,
        datetime=source.datetime,
        start_datetime=source.common_metadata.start_datetime,
        end_datetime=source.common_metadata.end_datetime,
        properties=_properties(row, source),
        stac_extensions=[EO, PROJECTION, CLASSIFICATION, PROCESSING],
    )
    address = source.get_self_href()
    if address is not None:
        item.add_link(Link("derived_from", address, "application/geo+json"))
    item.add_asset(MASK_NAME, _asset(open_mask(path)[MASK_NAME], path))
    return item


def _footprint(row: sqlite3.Row, source: Item) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Return the outline of a scene and its box, in longitude and latitude: of its mask where the item has none."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    outline = source.geometry
    if outline is None and row["crs"] is not None:
        grid = GeoBox((row["height"], row["width"]), Affine(*json.loads(row["transform"])), row["crs"])
        outline = grid.geographic_extent.json
    cut = split(outline)
    if source.bbox is not None and cut == outline:
        return outline, source.bbox
    return cut, box_of(cut)


def _properties(row: sqlite3.Row, source: Item) -> dict[str, Any]:
    carried = {name: source.properties[name] for name in CARRIED if source.properties.get(name) is not None}
    said = json.loads(row["provenance"])
    cloud = {} if row[CLOUD_FRACTION] is None else {"eo:cloud_cover": round(100 * row[CLOUD_FRACTION], 4)}
    return (
        carried
        | cloud
        | {
            "title": f"Cloud mask of {row['id']}",
            "processing:software": {"xr-cloudmask": said["software"].removeprefix("xr-cloudmask ")},
            "processing:lineage": " ".join(said[name] for name in LINEAGE),
        }
        | _grid(row)
    )


def _grid(row: sqlite3.Row) -> dict[str, Any]:
    from pyproj import CRS

    crs = None if row["crs"] is None else CRS.from_user_input(row["crs"])
    authority = None if crs is None else crs.to_authority()
    code: dict[str, Any] = {"proj:code": None if authority is None else ":".join(authority)}
    if crs is not None and authority is None:
        code["proj:wkt2"] = crs.to_wkt()
    return code | {"proj:shape": [row["height"], row["width"]], "proj:transform": json.loads(row["transform"])}


def _asset(mask: DataArray, path: Path) -> Asset:
    from pystac import Asset

    scheme = scheme_of(mask)
    classes = [
        _class(entry.code, entry.name) | {"color_hint": entry.color.removeprefix("#").upper()}
        for entry in scheme.classes
    ]
    if scheme.tells_no_data:
        classes.append(_class(scheme.no_data, "no_data") | {"nodata": True})
    said = {"data_type": "uint8", "nodata": scheme.no_data, "classification:classes": classes}
    where = str(path.absolute())
    return Asset(where, title="Cloud mask", media_type=COG, roles=["data", "cloud"], extra_fields=said)


def _class(code: int, name: str) -> dict[str, Any]:
    return {"value": code, "name": name, "description": name.replace("_", " ")}
