"""Counts of scenes that were scored, on the disk as soon as they are: a run that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from xr_cloudmask.datasets.labelled import Labelled
from xr_cloudmask.errors import FileError
from xr_cloudmask.names import MASK_NAME

TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
WAIT = 60.0  # seconds, for another process that writes


class Store:
    """A file of results by key; safe for several threads and processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as database:
            database.execute(TABLE)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what is kept, None where nothing is."""
        with self._opened() as database:
            row = database.execute("SELECT value FROM scores WHERE key = ?", (key,)).fetchone()
            return None if row is None else json.loads(row[0])

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a result; it is on the disk when this returns."""
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", (key, json.dumps(value)))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT)) as database, database:
                yield database
        except (sqlite3.Error, ValueError) as error:
            raise FileError(
                f"{str(self.path)!r}, which cannot be used: {error}",
                "the file of an earlier run, or none",
                f"mv {self.path} {self.path}.old",
            ) from error


def key_of(labelled: Labelled, mask: xr.Dataset, asked: Mapping[str, Any]) -> str:
    """Return what a result hangs on: the files, all that the mask says of its making, and what was asked."""
    files = []
    for path in labelled.files:
        state = path.stat()
        files.append([str(path.absolute()), state.st_size, state.st_mtime_ns])
    made = {str(name): str(value) for name, value in mask[MASK_NAME].attrs.items()}
    said = json.dumps([labelled.name, files, made, dict(asked)], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()
