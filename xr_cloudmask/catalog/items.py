"""The STAC item of a mask: what the STAC export writes, and what cubes of masks are loaded by."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xr_cloudmask.catalog.outlines import box_of, split
from xr_cloudmask.export import open_mask
from xr_cloudmask.masks.schemes import SCHEMES, Scheme, scheme_of
from xr_cloudmask.names import CLOUD_FRACTION, MASK_NAME

if TYPE_CHECKING:
    from pystac import Item

EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
STAC_VERSION = "1.1.0"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# Properties of the source that hold for its mask, where they are what STAC says that they are.
CARRIED: Mapping[str, Callable[[Any], bool]] = {
    "platform": lambda value: isinstance(value, str),
    "instruments": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "constellation": lambda value: isinstance(value, str),
    "gsd": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
DATES = ("datetime", "start_datetime", "end_datetime")
LINEAGE = ("model", "model_variant", "model_version", "bands")


def item_of(row: sqlite3.Row, path: Path) -> Item:
    """Return the item of a mask, with one asset whose address is `path`.

    It has ``eo:cloud_cover`` in percent of the valid pixels, the grid, the classes with their colours, the model as
    ``processing:`` fields, and a link to the item that the mask was made of, where that has an address.
    """
    from pystac import Item

    return Item.from_dict(json_of(row, str(path.absolute()), scheme_in(row, lambda: path)))


def json_of(row: sqlite3.Row, address: str, scheme: Scheme) -> dict[str, Any]:
    """Return the item of a mask as JSON has it; all of it is in the row, no mask is read."""
    source = json.loads(row["item"])
    geometry, bbox = _footprint(row, source)
    origin = [link["href"] for link in source["links"] if link["rel"] == "self"]
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [EO, PROJECTION, CLASSIFICATION, PROCESSING],
        "id": row["name"],
        "geometry": geometry,
        **({} if bbox is None else {"bbox": bbox}),
        "properties": _properties(row, source["properties"]),
        "links": [{"rel": "derived_from", "href": href, "type": "application/geo+json"} for href in origin[:1]],
        "assets": {MASK_NAME: _asset(scheme, address)},
    }


def scheme_in(row: sqlite3.Row, kept: Callable[[], Path]) -> Scheme:
    """Return the scheme of a mask; the mask itself is asked where the classes are those of a model."""
    known = SCHEMES.get(row["scheme"])
    return scheme_of(open_mask(kept())[MASK_NAME]) if known is None else known


def _footprint(row: sqlite3.Row, source: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Return the outline of a scene and its box, in longitude and latitude: of its mask where the item has none."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    outline = source["geometry"]
    if outline is None and row["crs"] is not None:
        grid = GeoBox((row["height"], row["width"]), Affine(*json.loads(row["transform"])), row["crs"])
        outline = grid.geographic_extent.json
    cut = split(outline)
    box = source.get("bbox")
    if box is not None and cut == outline:
        return outline, box if len(box) == 4 else [*box[:2], *box[3:5]]  # heights say nothing of a mask
    return cut, box_of(cut)


def _properties(row: sqlite3.Row, source: Mapping[str, Any]) -> dict[str, Any]:
    said = json.loads(row["provenance"])
    cloud = {} if row[CLOUD_FRACTION] is None else {"eo:cloud_cover": round(100 * row[CLOUD_FRACTION], 4)}
    return (
        {"datetime": None}
        | {name: source[name] for name in DATES if source.get(name) is not None}
        | {name: source[name] for name, holds in CARRIED.items() if holds(source.get(name))}
        | cloud
        | {
            "title": f"Cloud mask of {row['id']}".replace("\0", "\ufffd"),  # no database of texts takes it
            "processing:software": {"xr-cloudmask": said["software"].removeprefix("xr-cloudmask ")},
            "processing:lineage": " ".join(said[name] for name in LINEAGE),
        }
        | _crs(row["crs"])
        | {"proj:shape": [row["height"], row["width"]], "proj:transform": json.loads(row["transform"])}
    )


@lru_cache(maxsize=1024)  # scenes share a few
def _crs(text: str | None) -> dict[str, Any]:
    from pyproj import CRS

    crs = None if text is None else CRS.from_user_input(text)
    authority = None if crs is None else crs.to_authority()
    code: dict[str, Any] = {"proj:code": None if authority is None else ":".join(authority)}
    return code if crs is None or authority is not None else code | {"proj:wkt2": crs.to_wkt()}


def _asset(scheme: Scheme, address: str) -> dict[str, Any]:
    classes = [
        _class(entry.code, entry.name) | {"color_hint": entry.color.removeprefix("#").upper()}
        for entry in scheme.classes
    ]
    if scheme.tells_no_data:
        classes.append(_class(scheme.no_data, "no_data") | {"nodata": True})
    return {
        "href": address,
        "type": COG,
        "title": "Cloud mask",
        "roles": ["data", "cloud"],
        "data_type": "uint8",
        "nodata": scheme.no_data,
        "classification:classes": classes,
    }


def _class(code: int, name: str) -> dict[str, Any]:
    return {"value": code, "name": name, "description": name.replace("_", " ")}
