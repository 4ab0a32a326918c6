"""Masks as STAC items in a database of many users: PostgreSQL with pgstac.

Items go in by pgstac's own staging table, as its functions put them there: what is in the database already is replaced.
"""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xr_cloudmask.catalog.formats import collection_json
from xr_cloudmask.catalog.stream import Stream, at, batches
from xr_cloudmask.errors import CatalogError, listed
from xr_cloudmask.extras import require
from xr_cloudmask.limits import limits

SCHEMES = ("postgresql://", "postgres://")
EXAMPLE = "postgresql://user@host:5432/database"
BATCH = 5000  # items of one statement
SECONDS, MILLISECONDS = "connect_timeout", "tcp_user_timeout"  # of libpq

THERE = "SELECT to_regclass('pgstac.items_staging_upsert') IS NOT NULL"
KNOWN = "SELECT count(*) FROM collections WHERE id = %s"
CREATE = "SELECT create_collection(%s)"
COPY = "COPY items_staging_upsert (content) FROM STDIN"
EXTENT = """
    UPDATE collections
    SET content = content || jsonb_build_object('extent', coalesce(collection_extent(id, TRUE), content->'extent'))
    WHERE id = %s
"""


def is_address(text: str) -> bool:
    """Whether a text is the address of a PostgreSQL database.

    Examples
    --------
    >>> is_address("postgresql://stac@localhost/postgres"), is_address("masks")
    (True, False)
    """
    return text.startswith(SCHEMES)


def write(source: Stream, dsn: str, masks_at: str | None, collection: str) -> int:
    """Put the masks, and the collection where there is none, in a database; see `Catalog.to_pgstac`."""
    psycopg = require("psycopg", "database", "PostgreSQL")
    items = source.items(_kept_as_file if masks_at is None else at(masks_at), collection)
    lacking: list[str] = []
    count = 0
    with _connected(psycopg, dsn) as cursor:
        cursor.execute("SET LOCAL search_path TO pgstac, public")
        if not cursor.execute(KNOWN, (collection,)).fetchone()[0]:
            cursor.execute(CREATE, (json.dumps(collection_json(collection)),))
        for batch in batches(_with_footprint(items, lacking), BATCH):
            with cursor.copy(COPY) as copy:
                for item in batch:
                    copy.write_row((json.dumps(item),))
            count += len(batch)
        cursor.execute(EXTENT, (collection,))
    if lacking:
        warnings.warn(f"scenes without a footprint are left out: {listed(lacking)}", stacklevel=3)
    return count


def _with_footprint(items: Iterable[dict[str, Any]], lacking: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the items that pgstac can hold; the names of the others go into `lacking`."""
    for item in items:
        if item["geometry"] is None:
            lacking.append(item["id"])
        else:
            yield item


def _kept_as_file(row: sqlite3.Row, kept: Callable[[], Path]) -> str:
    if row["mask"] != "file":
        raise CatalogError(
            "masks inside the database of the catalogue, which others cannot open",
            "masks_at=, where others find them",
            "catalog.export('masks'), and masks_at='https://…/masks', where that folder is published",
        )
    return str(kept().absolute())


@contextmanager
def _connected(psycopg: Any, dsn: str) -> Iterator[Any]:
    """Yield a cursor of one transaction; passwords are in no message."""
    parameters = _parameters(psycopg, dsn)
    place = (
        f"PostgreSQL at {parameters.get('host', 'its default host')}, {parameters.get('dbname', 'default database')}"
    )
    password = parameters.get("password") or "\0"
    waits = {SECONDS: max(2, round(limits().connect)), MILLISECONDS: round(1000 * limits().idle)}
    try:
        with psycopg.connect(**(waits | parameters)) as connection, connection.cursor() as cursor:
            if not cursor.execute(THERE).fetchone()[0]:
                raise CatalogError(
                    f"{place}, without pgstac",
                    "a database with pgstac",
                    "pip install 'pypgstac[psycopg]', and pypgstac migrate --dsn with the same address",
                )
            yield cursor
    except psycopg.Error as error:
        said = str(error).replace(password, "***").strip()[:300] or type(error).__name__
        raise CatalogError(
            f"{place}: {said}",
            "a database with pgstac that lets you write (role pgstac_ingest); nothing of this export was kept",
            f"psql {EXAMPLE}, with PGPASSWORD or ~/.pgpass",
        ) from None  # libpq's errors may repeat what it was given


def _parameters(psycopg: Any, dsn: str) -> dict[str, Any]:
    """Return what an address says; one that libpq would cut within a password is refused, and not repeated."""
    try:
        found: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        found = {"host": "@"}
    if (
        any("@" in str(found.get(name, "")) for name in ("host", "dbname"))
        or not str(found.get("port", "0")).replace(",", "").isdigit()
    ):
        raise CatalogError(
            "an address that PostgreSQL cannot read (not repeated: it may hold a password)",
            f"one such as {EXAMPLE}, with @, /, : and % of a password written as %40, %2F, %3A and %25",
            f"{EXAMPLE}, and the password in PGPASSWORD or ~/.pgpass",
        )
    return found
