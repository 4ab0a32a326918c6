"""Masks as one GeoParquet table of STAC items."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xr_cloudmask import atomic
from xr_cloudmask.extras import require

GEOPARQUET = "cloudmasks.parquet"
BATCH = 8192  # items that are in memory at once, a row group of the file


def write(items: Iterable[dict[str, Any]], folder: Path) -> Path:
    """Write items as stac-geoparquet has them: geometry as WKB, a box, and a column for each property.

    Batches go to a temporary folder beside the file first, for a column may appear in the last of them.
    """
    arrow = require("stac_geoparquet.arrow", "database", "GeoParquet")
    target = folder / GEOPARQUET
    with (
        atomic.replacing(target) as part,
        tempfile.TemporaryDirectory(dir=folder, prefix=".batches-", ignore_cleanup_errors=True) as scratch,
    ):
        table = arrow.parse_stac_items_to_arrow(items, chunk_size=BATCH, schema="ChunksToDisk", tmpdir=scratch)
        arrow.to_parquet(table, part, compression="zstd")
    return target
