"""What masks are exported to: GeoTIFFs, a GeoPackage, a STAC collection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xr_cloudmask import atomic
from xr_cloudmask.catalog import archive
from xr_cloudmask.catalog.items import item_of
from xr_cloudmask.catalog.outlines import split_shape
from xr_cloudmask.cog import WGS84
from xr_cloudmask.errors import CatalogError
from xr_cloudmask.export import open_mask
from xr_cloudmask.extras import require
from xr_cloudmask.masks.schemes import SURFACES, scheme_of
from xr_cloudmask.names import MASK_NAME

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from pystac import StacIO

Rows: TypeAlias = Sequence[tuple[sqlite3.Row, Path]]  # of the table, and where the masks are
Exporter: TypeAlias = Callable[[Rows, "GeoDataFrame", Path], list[Path]]

GEOPACKAGE = "cloudmasks.gpkg"
TABLE = "geoparquet"  # written row by row, not as the others
COLLECTION, TITLE = "cloudmasks", "Cloud masks"
DESCRIPTION = "Cloud masks by xr-cloudmask: cloud, thin cloud, cloud shadow, clear and no data."
WORLD = [-180.0, -90.0, 180.0, 90.0]
LICENCE = "other"


def require_folder(folder: str | Path) -> None:
    """Refuse an address, which may hold a password and would become a folder's name."""
    if "://" in str(folder) or str(folder).startswith(("postgresql:/", "postgres:/")):
        raise CatalogError(
            "an address instead of a folder",
            "a folder of this machine; databases are written by to_pgstac, --format pgstac",
            "catalog.export('masks')",
        )


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Make a folder; whatever it lacks is one error."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, RuntimeError) as error:  # pyogrio's are RuntimeErrors
        raise CatalogError(
            f"{error} (while masks were written to {str(folder)!r})", "room and permission to write", "df"
        ) from error


def to_tif(rows: Rows, _: GeoDataFrame, folder: Path) -> list[Path]:
    """Copy the COGs as they are, and the files beside them that have the names of the classes."""
    return [copied(row, path, folder) for row, path in rows]


def copied(row: sqlite3.Row, path: Path, folder: Path) -> Path:
    """Copy a mask, with the names of its classes, and return where to."""
    target = folder / f"{row['name']}.tif"
    archive.copy(path, target)
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
    import numpy as np
    import rasterio
    from rasterio.features import shapes
    from shapely.geometry import shape

    geopandas = require("geopandas", "catalog", "GeoPackages")
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
    if crs is None:
        return frame
    turned = frame.to_crs(WGS84)
    return turned.set_geometry([split_shape(outline) for outline in turned.geometry], crs=WGS84)


def to_stac(rows: Rows, _: GeoDataFrame, folder: Path) -> list[Path]:
    """Write a self-contained STAC collection: an item with its COG in a folder for each mask."""
    from pystac import CatalogType, Collection, Extent, SpatialExtent

    items = []
    for row, path in rows:
        home = folder / str(row["name"])
        home.mkdir(exist_ok=True)
        items.append(item_of(row, copied(row, path, home)))
    extent = Extent.from_items(items)
    boxes = [item.bbox for item in items if item.bbox is not None]
    if not boxes or any(box[0] > box[len(box) // 2] for box in boxes):  # a box across the antimeridian
        extent.spatial = SpatialExtent([WORLD])
    collection = Collection(COLLECTION, DESCRIPTION, extent, title=TITLE, license=LICENCE)
    collection.add_items(items)
    collection.normalize_hrefs(str(folder.absolute()))
    collection.make_all_asset_hrefs_relative()
    collection.save(CatalogType.SELF_CONTAINED, stac_io=_whole_files())  # items first
    return [folder / "collection.json", *(folder / item.id / f"{item.id}.json" for item in items)]


def collection_json(name: str) -> dict[str, Any]:
    """Return a collection of which the extent is not known yet."""
    from pystac import Collection, Extent, SpatialExtent, TemporalExtent

    everywhere = Extent(SpatialExtent([WORLD]), TemporalExtent([None, None]))
    return Collection(name, DESCRIPTION, everywhere, title=TITLE, license=LICENCE).to_dict(include_self_link=False)


def _whole_files() -> StacIO:
    """Return what writes every file of a collection whole."""
    from pystac.stac_io import DefaultStacIO

    class WholeFiles(DefaultStacIO):
        def write_text_to_href(self, href: str, txt: str) -> None:
            atomic.write_bytes(Path(href), txt.encode())

    return WholeFiles()


FORMATS: Mapping[str, Exporter] = {"tif": to_tif, "gpkg": to_gpkg, "stac": to_stac}
