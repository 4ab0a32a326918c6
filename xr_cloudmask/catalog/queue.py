"""Which scene is next: the rows of a run go from queued to running to done or failed, whatever happens to the process.

A run holds a lock that the operating system releases when the process ends, however it ends. Rows of a run whose lock
is free are taken up by the next run, at once and without a clock: write-ahead logging binds everyone who uses a
database to one machine anyway.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xr_cloudmask.catalog import archive, schema
from xr_cloudmask.extras import require

if TYPE_CHECKING:
    from filelock import FileLock

LONGEST_PAUSE = 300.0  # seconds that a failed scene waits at most, from its failure to the next attempt

WANTED = (
    "CREATE TEMP TABLE wanted (scene INTEGER PRIMARY KEY)",
    "CREATE TEMP VIEW ours AS SELECT scenes.* FROM scenes JOIN wanted USING (scene)",
)
ADD = """
    INSERT INTO scenes (id, collection, model, options, request, datetime, item, name, queued)
    VALUES (:id, :collection, :model, :options, :request, :datetime, :item, :name, :queued)
    ON CONFLICT DO UPDATE SET item = excluded.item WHERE status <> 'done'
"""
WANT = """
    INSERT OR IGNORE INTO wanted
    SELECT scene FROM scenes WHERE id = :id AND collection = :collection AND request = :request
"""
# A run tries every scene once: what failed since it began is left to the next run.
CLAIM = """
    UPDATE scenes
    SET status = 'running', run = :run, attempts = attempts + 1, started = :now, finished = NULL,
        error_type = NULL, error = NULL
    WHERE scene = (
        SELECT scene FROM ours
        WHERE status = 'queued' OR (status = 'failed' AND finished < :begun AND due <= :clock)
        ORDER BY attempts, datetime, scene LIMIT 1
    )
    RETURNING scene, id, name, item
"""
NEXT = "SELECT min(due) FROM ours WHERE status = 'failed' AND finished < :begun"
FINISH = """
    UPDATE scenes
    SET status = 'done', finished = :now, seconds = :seconds, mask = :mask,
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
        """Queue scenes that are not in the table; of those that are and not done, take the item as it is now."""
        with schema.transaction(self.database):
            for statement in WANTED:
                self.database.execute(statement)
            for row in rows:
                self.database.execute(ADD, {**row, "queued": self.begun})
                self.database.execute(WANT, row)

    def claim(self) -> Queued | None:
        """Take the next scene, or None where none is left for now. Those that were tried least come first."""
        values = {"run": self.run, "now": now(), "clock": time.time(), "begun": self.begun}
        found = self.database.execute(CLAIM, values).fetchall()
        return Queued(**found[0]) if found else None

    def pause(self) -> float | None:
        """Return the seconds until a failed scene may be tried again; None where no such scene is left."""
        due = self.database.execute(NEXT, {"begun": self.begun}).fetchone()[0]
        return None if due is None else max(0.0, due - time.time())

    def finish(self, scene: Queued, columns: Mapping[str, Any], cog: bytes, class_names: bytes, inside: bool) -> None:
        """Keep a mask, then say that it is there."""
        if not inside:
            archive.keep_file(self.folder, scene.name, cog, class_names, self.run)
        kept = {"scene": scene.scene, "now": now(), "mask": "database" if inside else "file"}
        with schema.transaction(self.database):
            if inside:
                archive.keep_inside(self.database, scene.scene, cog, class_names)
            self.database.execute(FINISH, {**columns, **kept})

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
            lock = _lock(self.folder, run)
            try:
                lock.acquire(timeout=0)
            except TimeoutError:
                continue  # it is alive
            self.database.execute(TAKE_OVER, (run,))
            archive.forget_unfinished(self.folder, run)
            _release(lock)

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
    with schema.connect(path) as database, _alive(folder, run):
        queue = Queue(database, folder, run, now())
        queue.take_over()
        try:
            yield queue
        finally:
            queue.give_back()


def now() -> str:
    """Return the time as rows have it: UTC, and in the order of the alphabet."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


@contextmanager
def _alive(folder: Path, run: str) -> Iterator[None]:
    lock = _lock(folder, run)
    lock.acquire()
    try:
        yield
    finally:
        _release(lock)


def _lock(folder: Path, run: str) -> FileLock:
    locks = require("filelock", "catalog", "runs of a catalogue")
    folder.mkdir(exist_ok=True)
    lock: FileLock = locks.FileLock(folder / f".{run}{LOCK}", is_singleton=False)
    return lock


def _release(lock: FileLock) -> None:
    lock.release()
    with suppress(OSError):  # someone else looks at it, who will remove it
        Path(lock.lock_file).unlink(missing_ok=True)
