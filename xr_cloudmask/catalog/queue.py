"""Which scene is next: the rows of a run go from queued to running to done or failed, whatever happens to the process.

A run holds a lock that the operating system releases when the process ends, however it ends. Rows of a run whose lock
is free are taken up by the next run, at once and without a clock: write-ahead logging binds everyone who uses a
database to one machine anyway.

Clocks of the wall are set forward and back. They fill columns that people read; of what a run does they decide nothing
but how long it waits for a scene that failed before, and that never for longer than the pause that is due to it.
"""

from __future__ import annotations

import datetime as dt
import shlex
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xr_cloudmask.catalog import archive, locks, schema
from xr_cloudmask.errors import CatalogError

LONGEST_PAUSE = 300.0  # seconds that a failed scene waits at most, from its failure to the next attempt

WANTED = (
    # As a run found its scenes when it began: how often they had been tried, and when, by the run's own clock, those
    # that had failed may be tried again.
    "CREATE TEMP TABLE wanted (scene INTEGER PRIMARY KEY, known INTEGER NOT NULL, ready REAL NOT NULL)",
    "CREATE TEMP VIEW ours AS SELECT scenes.*, known, ready FROM scenes JOIN wanted USING (scene)",
)
ADD = """
    INSERT INTO scenes (id, collection, model, options, request, datetime, item, name, queued)
    VALUES (:id, :collection, :model, :options, :request, :datetime, :item, :name, :queued)
    ON CONFLICT DO UPDATE SET item = excluded.item WHERE status <> 'done'
"""
WANT = """
    INSERT OR IGNORE INTO wanted
    SELECT scene, attempts, :begin + max(0, min(due - :clock, :longest, 1 << min(attempts, 30)))
    FROM scenes WHERE id = :id AND collection = :collection AND request = :request
"""
# What a run finds missing or damaged, it makes again.
AGAIN = """
    UPDATE scenes SET status = 'queued', error = :error
    WHERE scene = :scene AND status = 'done' AND mask_sha256 IS :mask_sha256
"""
# A run tries every scene once: what was tried since it began, by itself or another run, is left to the next run.
CLAIM = """
    UPDATE scenes
    SET status = 'running', run = :run, attempts = attempts + 1, started = :now, finished = NULL,
        error_type = NULL, error = NULL
    WHERE scene = (
        SELECT scene FROM ours
        WHERE status = 'queued' OR (status = 'failed' AND attempts = known AND ready <= :moment)
        ORDER BY attempts, datetime, scene LIMIT 1
    )
    RETURNING scene, id, name, item
"""
NEXT = "SELECT min(ready) FROM ours WHERE status = 'failed' AND attempts = known"
FINISH = """
    UPDATE scenes
    SET status = 'done', finished = :now, seconds = :seconds,
        mask = :mask, mask_bytes = :mask_bytes, mask_sha256 = :mask_sha256,
        cloud_fraction = :cloud_fraction, thin_cloud_fraction = :thin_cloud_fraction,
        cloud_shadow_fraction = :cloud_shadow_fraction, clear_fraction = :clear_fraction,
        water_fraction = :water_fraction, valid_fraction = :valid_fraction,
        band_mismatch = :band_mismatch, statistics = :statistics,
        crs = :crs, transform = :transform, height = :height, width = :width,
        variant = :variant, version = :version, weights_sha256 = :weights_sha256, scheme = :scheme,
        provenance = :provenance
    WHERE scene = :scene
"""
# Every failure doubles the time until the next attempt.
FAIL = """
    UPDATE scenes
    SET status = 'failed', finished = :now, error_type = :error_type, error = :error,
        due = :clock + min(:longest, 1 << min(attempts, 30))
    WHERE scene = :scene
"""
# What was not finished counts as not begun, unless the process was killed: what kills it is tried last.
GIVE_BACK = "UPDATE scenes SET status = 'queued', attempts = attempts - 1 WHERE status = 'running' AND run = ?"
TAKE_OVER = "UPDATE scenes SET status = 'queued' WHERE status = 'running' AND run = ?"
OTHERS = "SELECT DISTINCT run FROM scenes WHERE status = 'running'"
LOCK = ".lock"
DONE = "SELECT * FROM ours WHERE status = 'done'"


@dataclass(frozen=True)
class Queued:
    """A scene to be done: its row, the item as JSON, and the name of its mask."""

    scene: int
    id: str
    name: str
    item: str


@dataclass(frozen=True)
class Queue:
    """The scenes that one run was asked for, as this run sees them.

    Attributes
    ----------
    database : sqlite3.Connection
    folder : Path
        Of the masks.
    run : str
        What the run is called in the rows it works on.
    begun : str
        When it began, as in the rows.
    """

    database: sqlite3.Connection
    folder: Path
    run: str
    begun: str

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Queue scenes that are not in the table; of those that are and not done, take the item as it is now.

        Scenes that are done and whose masks are missing or damaged are queued again.
        """
        clocks = {"begin": time.monotonic(), "clock": time.time(), "longest": LONGEST_PAUSE}
        with schema.transaction(self.database):
            for statement in WANTED:
                self.database.execute(statement)
            for row in rows:
                self.database.execute(ADD, {**row, "queued": self.begun})
                self.database.execute(WANT, {**row, **clocks})
        for row in self.database.execute(DONE).fetchall():
            wrong = archive.trouble(self.database, self.folder, row)
            if wrong is not None:
                again = {"scene": row["scene"], "mask_sha256": row["mask_sha256"]}
                self.database.execute(AGAIN, again | {"error": f"the mask that was made before: {wrong}"})

    def claim(self) -> Queued | None:
        """Take the next scene, or None where none is left for now. Those that were tried least come first."""
        values = {"run": self.run, "now": now(), "moment": time.monotonic()}
        found = self.database.execute(CLAIM, values).fetchall()
        return Queued(**found[0]) if found else None

    def pause(self) -> float | None:
        """Return the seconds until a failed scene may be tried again; None where no such scene is left."""
        ready = self.database.execute(NEXT).fetchone()[0]
        return None if ready is None else max(0.0, ready - time.monotonic())

    def finish(self, scene: Queued, columns: Mapping[str, Any], cog: bytes, class_names: bytes, inside: bool) -> None:
        """Keep a mask, then say that it is there."""
        if not inside:
            archive.keep_file(self.folder, scene.name, cog, class_names, self.run)
        kept = {"scene": scene.scene, "now": now(), "mask": "database" if inside else "file"}
        with schema.transaction(self.database):
            if inside:
                archive.keep_inside(self.database, scene.scene, cog, class_names)
            self.database.execute(FINISH, {**columns, **kept, **archive.sealed(cog)})

    def fail(self, scene: Queued, error_type: str, error: str) -> None:
        """Say why there is no mask."""
        values = {"scene": scene.scene, "error_type": error_type, "error": error}
        self.database.execute(FAIL, values | {"now": now(), "clock": time.time(), "longest": LONGEST_PAUSE})

    def give_back(self) -> None:
        """Queue again what was begun and not finished."""
        self.database.execute(GIVE_BACK, (self.run,))

    def take_over(self) -> None:
        """Queue again the scenes of runs that have ended without giving them back."""
        others = {run for (run,) in self.database.execute(OTHERS)}
        others |= {path.name[1 : -len(LOCK)] for path in self.folder.glob(f".*{LOCK}")}
        for run in others - {self.run}:
            with locks.of_the_dead(_lock(self.folder, run)) as dead:
                if dead:
                    self.database.execute(TAKE_OVER, (run,))
                    archive.forget_unfinished(self.folder, run)

    def states(self) -> dict[str, list[str]]:
        """Return the ids of the run's scenes by status."""
        found: dict[str, list[str]] = {}
        for status, item in self.database.execute("SELECT status, id FROM ours ORDER BY datetime, id"):
            found.setdefault(status, []).append(item)
        return found


@contextmanager
def open_queue(path: Path) -> Iterator[Queue]:
    """Open a database for a run, with the lock that tells others that the run is alive."""
    folder, run = archive.folder_of(path), uuid.uuid4().hex
    _require_folder(folder)
    with schema.connect(path) as database, locks.held(_lock(folder, run)):
        queue = Queue(database, folder, run, now())
        queue.take_over()
        try:
            yield queue
        finally:
            queue.give_back()


def _require_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CatalogError(
            f"{str(folder)!r}, where masks are kept: {error}",
            "a folder to write to",
            f"ls -ld {shlex.quote(str(folder))}",
        ) from error


def now() -> str:
    """Return the time as rows have it: UTC, and in the order of the alphabet."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


def _lock(folder: Path, run: str) -> Path:
    return folder / f".{run}{LOCK}"
