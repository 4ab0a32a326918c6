"""The 4-4A notebook, as its authors run it, and scenes for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROLES, SHARED

NOTEBOOK = SHARED / "reference/seeds/cbers4a_4-4A_notebook.md"


def wpm_scene(size: int, rows: slice = slice(None)) -> list[np.ndarray]:
    """Return rows of blue, green, red and nir in 10-bit digital numbers: land, clouds and a border without data."""
    random = np.random.default_rng(0)
    cells = size // 50 + 2
    land, cloud = random.random((cells, cells)), np.clip(3 * random.random((cells, cells)) - 2, 0, 1)
    index = np.arange(size)[rows]
    within = np.ix_(index // 50, np.arange(size) // 50)
    noise = np.random.default_rng([0, index[0]])
    bands = []
    for dark, bright in ((90, 40), (80, 60), (70, 90), (200, 150)):
        values = (dark + bright * land[within]) * (1 - cloud[within]) + 800 * cloud[within]
        values = values + noise.normal(0, 8, values.shape)
        band = np.clip(values, 1, 1023).astype("uint16")
        band[index < size // 20] = 0
        bands.append(band)
    return bands


def notebook_mask(bands: list[np.ndarray]) -> np.ndarray:
    """Run the notebook's own functions and the rest of its `process_item` that makes the mask."""
    text = NOTEBOOK.read_text()
    functions = text[text.index("def normalize") : text.index("# METADATA RELATED")]
    body = text[text.index("    band1 = normalize(") : text.index("    raster_blob = ")]
    lines = ["def mask(item_bands, calibration_data, id=''):", *body.splitlines(), "    return merged_mask"]
    space: dict[str, Any] = {"np": np, "print": lambda *_: None}
    exec(functions + "\n".join(lines), space)
    factors = {f"band {i}": c for i, c in enumerate((0.29107, 0.297832, 0.232504, 0.178993), 1)}
    with np.errstate(all="ignore"):
        return space["mask"]({f"BAND{i}": band for i, band in enumerate(bands, 1)}, factors)


def as_cube(bands: list[np.ndarray]) -> Any:
    """Return four bands as a cube of CBERS-4A WPM."""
    import xarray as xr

    return xr.Dataset({role: (("y", "x"), band) for role, band in zip(ROLES, bands, strict=False)})


def notebook_loop(items: list[Any], database: Path) -> None:
    """Run the notebook's own cells one scene after the other: read, mask, compress, insert."""
    import json
    import sqlite3
    import warnings
    import zlib
    from io import BytesIO
    from types import SimpleNamespace

    import rasterio

    text = NOTEBOOK.read_text()
    functions = text[text.index("def normalize") : text.index("### 3. MAIN")]
    main = text[text.index("def process_item") : text.index("### 4. SETTING")]
    tables = text[text.index("def create_table") : text.index("Create table if it does not exist")]
    code = "\n".join(line for line in (functions + main + tables).splitlines() if not line.startswith(("In [", "---")))
    by_id = {item.id: item for item in items}
    space: dict[str, Any] = {
        "np": np, "json": json, "sqlite3": sqlite3, "zlib": zlib, "warnings": warnings, "rasterio": rasterio,
        "io": SimpleNamespace(BytesIO=BytesIO), "print": lambda *_: None,
        "service": SimpleNamespace(get_items=lambda name: iter([by_id[name].clone()])),
        "get_coefficient": lambda _: {f"band {i}": 0.2 for i in range(1, 5)},  # spares it four requests
    }  # fmt: skip
    exec(code, space)
    space["create_table"](str(database), "scenes")
    for name in by_id:
        found = space["process_item"](name)
        space["insert_image_data"](str(database), "scenes", found)
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM scenes").fetchone()[0] == len(items)
