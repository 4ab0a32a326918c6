"""Which rows of a catalogue are meant, and what they hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xr_cloudmask.catalog import archive, schema
from xr_cloudmask.catalog.formats import Rows
from xr_cloudmask.catalog.stream import Stream, left_out, nothing
from xr_cloudmask.catalog.table import unreadable
from xr_cloudmask.errors import CatalogError


@dataclass(frozen=True)
class Selection:
    """Rows of a database that meet some conditions.

    Attributes
    ----------
    path : Path
        The database.
    conditions : tuple of str
        In SQL, all in words of this package: what users say is in the values.
    values : tuple
        What their question marks stand for.
    """

    path: Path
    conditions: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    def narrowed(self, conditions: Sequence[str], values: Sequence[Any]) -> Selection:
        """Return those of its rows that meet further conditions."""
        return replace(self, conditions=(*self.conditions, *conditions), values=(*self.values, *values))

    def counts(self) -> dict[str, int]:
        """Return how many rows there are of each status."""
        query = f"SELECT status, count(*) FROM scenes WHERE {self.where()} GROUP BY status"  # noqa: S608
        with schema.connect(self.path, reading=True) as database:
            return dict(map(tuple, database.execute(query, self.values)))

    def rows(self, database: sqlite3.Connection, *more: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows that can be read, by date; warn of the others."""
        rows = self.all(database, *more, values=values)
        bad = {row["scene"]: wrong for row in rows if (wrong := unreadable(row)) is not None}
        if bad:
            left_out(self.path, bad)
        return [row for row in rows if row["scene"] not in bad]

    def all(self, database: sqlite3.Connection, *more: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return all rows by date, also those that cannot be read."""
        query = f"SELECT * FROM scenes WHERE {self.where(*more)} ORDER BY datetime, id, scene"  # noqa: S608
        return database.execute(query, (*self.values, *values)).fetchall()

    def where(self, *more: str) -> str:
        """Return the conditions, all in words of this module: what users say is in the values."""
        return " AND ".join(("TRUE", *self.conditions, *more))

    def one(self, database: sqlite3.Connection, scene: str | int) -> sqlite3.Row:
        """Return the row of a scene, which is done; by its id or its number."""
        column = "id" if isinstance(scene, str) else "scene"
        rows = self.rows(database, f"{column} = ?", values=[scene])
        done = [row for row in rows if row["status"] == "done"]
        if len(done) == 1:
            return done[0]
        if done:
            masks = {row["scene"]: f"{row['model']} {row['options']}" for row in done}
            remedy = f"by its number: catalog.open({done[0]['scene']})"
            raise CatalogError(f"{len(done)} masks of {scene!r}", f"one of {masks}", remedy)
        found = f"{scene!r}, {rows[0]['status']}: {rows[0]['error'] or 'no error'}" if rows else f"no scene {scene!r}"
        raise CatalogError(found, "a scene that is done", "catalog.to_dataframe()['status']")

    def done(self, database: sqlite3.Connection, scenes: Sequence[str | int] | None) -> Rows:
        """Return the rows that have masks, by date, and where these are."""
        if scenes is None:
            rows = self.rows(database, "status = 'done'")
        else:
            chosen = (self.one(database, scene) for scene in scenes)
            rows = sorted(chosen, key=lambda row: (row["datetime"], row["id"]))
        if not rows:
            raise nothing()
        return self.whole(database, rows)

    def whole(self, database: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> Rows:
        """Return rows and where their masks are, all of which are whole."""
        folder = archive.folder_of(self.path)
        wrong = {row["id"]: found for row in rows if (found := archive.trouble(database, folder, row))}
        if wrong:
            raise archive.refusal(self.path, wrong, len(rows))
        return [(row, archive.path_of(database, folder, row)) for row in rows]

    def models(self) -> list[str]:
        """Return the models that were asked for."""
        query = f"SELECT DISTINCT model FROM scenes WHERE {self.where()}"  # noqa: S608
        with schema.connect(self.path, reading=True) as database:
            return [row["model"] for row in database.execute(query, self.values)]

    def problem(self, database: sqlite3.Connection, row: sqlite3.Row) -> str | None:
        """Return what is wrong with a row or its mask, nothing where all is well; None where there is no mask."""
        wrong = unreadable(row)
        if wrong is not None or row["status"] != "done":
            return wrong
        return archive.trouble(database, archive.folder_of(self.path), row) or ""

    def stream(self, masks_at: str | None) -> Stream:
        """Return the masks that are done, one after the other; those that are kept here are there."""
        source = Stream(self.path, self.where(), self.values)
        if not len(source):
            raise nothing()
        if masks_at is None:
            source.require_masks()
        return source
