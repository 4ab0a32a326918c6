"""Masks as one GeoParquet table of STAC items."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from xr_cloudmask import atomic
from xr_cloudmask.catalog.formats import COLLECTION, copied, writing_to
from xr_cloudmask.catalog.stream import Stream, at
from xr_cloudmask.extras import require

GEOPARQUET = "cloudmasks.parquet"
BATCH = 8192  # items that are in memory at once, a row group of the file


def write(source: Stream, folder: Path, masks_at: str | None) -> Path:
    """Write items as stac-geoparquet has them: geometry as WKB, a box, and a column for each property.

    Batches go to a temporary folder beside the file first, for a column may appear in the last of them. Masks inside
    the database are written beside the table, where they are nowhere else.
    """
    arrow = require("stac_geoparquet.arrow", "database", "GeoParquet")

    def beside(row: sqlite3.Row, kept: Callable[[], Path]) -> str:
        found = kept() if row["mask"] == "file" else copied(row, kept(), folder)
        return str(found.absolute())

    items = source.items(beside if masks_at is None else at(masks_at), COLLECTION)
    target = folder / GEOPARQUET
    with (
        writing_to(folder),
        atomic.replacing(target) as part,
        tempfile.TemporaryDirectory(dir=folder, prefix=".batches-", ignore_cleanup_errors=True) as scratch,
    ):
        table = arrow.parse_stac_items_to_arrow(items, chunk_size=BATCH, schema="ChunksToDisk", tmpdir=scratch)
        arrow.to_parquet(table, part, compression="zstd")
    return target
