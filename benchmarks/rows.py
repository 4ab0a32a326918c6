"""The table of a catalogue of 100,000 scenes: how long its rows take, and how much memory; masks are tiny."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.common import TESTS, part, peak_gigabytes, row

SCENES = 100_000
LINKS = 30_000  # that one file is given; file systems allow some 65,000

# Scenes a day and a hundredth of a degree apart, as the first one is in everything else.
MANY = """
    WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < :count)
    INSERT INTO scenes ({columns})
    SELECT {values} FROM scenes, numbers WHERE scene = (SELECT min(scene) FROM scenes)
"""
CHANGED = {
    "id": "printf('%s_%06d', id, i)",
    "name": "printf('%s-%06d', name, i)",
    "datetime": "strftime('%Y-%m-%dT%H:%M:%S+00:00', datetime, printf('+%d hours', i))",
    "item": (
        "json_set(item, '$.id', printf('%s_%06d', id, i),"
        " '$.properties.datetime', strftime('%Y-%m-%dT%H:%M:%SZ', datetime, printf('+%d hours', i)))"
    ),
    "cloud_fraction": "(i * 7919 % 1000) / 1000.0",
}


def rows() -> None:
    """100,000 rows: queue, filter, table, GeoParquet, and pgstac where a server can be run; each in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        print(part(make, folder), end="")
        for what in ("filtered", "table", "geoparquet"):
            print(part(globals()[what], folder), end="")
        sys.path.append(str(TESTS))
        import pgstac_server

        if pgstac_server.missing():
            row(f"{SCENES} rows: pgstac", f"not measured: {pgstac_server.missing()}")
            return
        with pgstac_server.database() as environment:
            address = pgstac_server.address(environment)
            for again in ("for the first time", "again, to replace them"):
                print(part(database, folder, address, again), end="")


def make(folder: str) -> None:
    """Run one scene, copy its row, and queue as many scenes in another catalogue."""
    sys.path.append(str(TESTS))
    from pystac import Item
    from scenes import make_wpm

    from xr_cloudmask import Catalog
    from xr_cloudmask.catalog import archive, runs

    home = Path(folder)
    item = Item.from_dict(make_wpm(home / "files", str(home / "files"), 0, size=(32, 32)).item)
    catalog = Catalog(home / "scenes.db")
    catalog.run([item], "physical", workers=1, progress=False)
    with closing(sqlite3.connect(catalog.path)) as database, database:
        names = [name for _, name, *_ in database.execute("PRAGMA table_info(scenes)") if name != "scene"]
        values = [CHANGED.get(name, name) for name in names]
        database.execute(MANY.format(columns=", ".join(names), values=", ".join(values)), {"count": SCENES})
        made = [name for (name,) in database.execute("SELECT name FROM scenes ORDER BY scene")]
    _link(archive.folder_of(catalog.path), made)

    def items() -> Iterator[Item]:
        text = json.dumps(item.to_dict())
        for i in range(SCENES):
            yield Item.from_dict(json.loads(text) | {"id": f"scene_{i:06d}"})

    Catalog(home / "queue.db")
    request = runs.asked_for("physical", {}, {})
    _measured("queued by a run", lambda: _queue(home / "queue.db", items(), request))


def _queue(path: Path, items: Iterator[Any], request: Any) -> None:
    from xr_cloudmask.catalog import queue, runs

    with queue.open_queue(path) as opened:
        opened.add(runs._rows(items, request))


def _link(folder: Path, names: list[str]) -> None:
    """Give the mask of the first scene, and its class names, to all others."""
    for start in range(0, len(names), LINKS):
        few = names[start : start + LINKS]
        for suffix in (".tif", ".tif.aux.xml"):
            content = (folder / f"{names[0]}{suffix}").read_bytes()
            (folder / f"first{start}{suffix}").write_bytes(content)
            for name in few[start == 0 :]:
                os.link(folder / f"first{start}{suffix}", folder / f"{name}{suffix}")


def filtered(folder: str) -> None:
    """Count the scenes below a limit of cloud."""
    _measured("filter(max_cloud=0.15), and its length", lambda: len(_catalog(folder).filter(max_cloud=0.15)))


def table(folder: str) -> None:
    """Read all rows into a table."""
    _measured("to_dataframe", lambda: _catalog(folder).to_dataframe())


def geoparquet(folder: str) -> None:
    """Write all rows as GeoParquet."""
    catalog = _catalog(folder)
    (path,) = _measured("export as GeoParquet", lambda: catalog.export(Path(folder) / "out", "geoparquet"))
    row(f"{SCENES} rows: size as GeoParquet, and in SQLite", _sizes(path, catalog.path))


def database(folder: str, address: str, again: str) -> None:
    """Write all rows to a database with pgstac."""
    _measured(f"pgstac, {again}", lambda: _catalog(folder).to_pgstac(address))


def _catalog(folder: str) -> Any:
    from xr_cloudmask import Catalog

    return Catalog(Path(folder) / "scenes.db")


def _sizes(*paths: Path) -> str:
    return " and ".join(f"{path.stat().st_size / 1e6:.0f} MB" for path in paths)


def _measured(what: str, function: Callable[[], Any]) -> Any:
    before, begin = peak_gigabytes(), time.perf_counter()
    found = function()
    took = time.perf_counter() - begin
    row(
        f"{SCENES} rows: {what}", f"{took:.1f} s, {1000 * peak_gigabytes():.0f} MB at most ({1000 * before:.0f} before)"
    )
    return found
