"""The database: its tables, how older ones become newer ones, and connections to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from xr_cloudmask.catalog import archive
from xr_cloudmask.errors import CatalogError

APPLICATION_ID = 0x78636D31  # "xcm1": tells a catalogue from the databases of others
BUSY_SECONDS = 60.0  # that a statement waits for another process to finish writing

# A migration brings a database from version i to version i + 1. What has been released is never edited.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE scenes (
            scene INTEGER PRIMARY KEY,
            id TEXT NOT NULL,
            collection TEXT NOT NULL,
            model TEXT NOT NULL,
            options TEXT NOT NULL,
            request TEXT NOT NULL,
            datetime TEXT NOT NULL,
            item TEXT NOT NULL,
            name TEXT NOT NULL,
            status TEXT NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed')),
            run TEXT,
            attempts INTEGER NOT NULL DEFAULT 0,
            due REAL NOT NULL DEFAULT 0,
            error_type TEXT,
            error TEXT,
            queued TEXT NOT NULL,
            started TEXT,
            finished TEXT,
            seconds REAL,
            cloud_fraction REAL,
            thin_cloud_fraction REAL,
            cloud_shadow_fraction REAL,
            clear_fraction REAL,
            water_fraction REAL,
            valid_fraction REAL,
            band_mismatch INTEGER,
            statistics TEXT,
            crs TEXT,
            transform TEXT,
            height INTEGER,
            width INTEGER,
            variant TEXT,
            version TEXT,
            weights_sha256 TEXT,
            scheme TEXT,
            provenance TEXT,
            mask TEXT CHECK (mask IN ('file', 'database')),
            UNIQUE (id, collection, request)
        )
        """,
        "CREATE INDEX scenes_by_status ON scenes (status, datetime)",
        # Apart from the rest: a table of a thousand scenes is read without reading their masks.
        """
        CREATE TABLE masks (
            scene INTEGER PRIMARY KEY REFERENCES scenes ON DELETE CASCADE,
            cog BLOB NOT NULL,
            class_names BLOB NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE scenes ADD COLUMN mask_bytes INTEGER",
        "ALTER TABLE scenes ADD COLUMN mask_sha256 TEXT",
    ),
)
OWN_FOLDER = 2  # the version since which no two databases share a folder of masks


@contextmanager
def connect(path: Path, reading: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a database, made or brought up to date where need be; every statement is a transaction of its own.

    One that is only read need not be on a disk that can be written.

    Raises
    ------
    CatalogError
        There is no such folder, the file is no catalogue, or one of a newer version; later, whatever SQLite complains
        of: a full disk, a file that was damaged.
    """
    try:
        with closing(_opened(path, reading)) as database:
            yield database
    except sqlite3.Error as error:
        raise CatalogError(
            f"{str(path)!r}: {error}",
            "a catalogue in a folder that exists, with room and permission to write",
            "another name, or check the folder and `df`; what was done before is safe",
        ) from error


def _opened(path: Path, reading: bool) -> sqlite3.Connection:
    try:
        return _writable(path)
    except sqlite3.OperationalError:
        if not reading or not path.is_file():
            raise
    try:
        return _read_only(path, "mode=ro")
    except sqlite3.OperationalError:  # its log cannot be made; that it changes meanwhile is not to be feared
        return _read_only(path, "mode=ro&immutable=1")


def _writable(path: Path) -> sqlite3.Connection:
    database = _connected(str(path))
    try:
        _migrate(database, path)
        # Readers never wait for the writer; a commit is on the disk when it returns.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            database.execute(f"PRAGMA {pragma}")
    except BaseException:
        database.close()
        raise
    return database


def _read_only(path: Path, how: str) -> sqlite3.Connection:
    """Open a database that cannot be written; an older one is brought up to date in memory."""
    with ExitStack() as unless_returned:
        database = _connected(f"{path.absolute().as_uri()}?{how}")
        unless_returned.callback(database.close)
        if _version(database) == len(MIGRATIONS) and _number(database, "PRAGMA application_id") == APPLICATION_ID:
            unless_returned.pop_all()
            return database
        copy = _connected(":memory:")
        unless_returned.callback(copy.close)
        database.backup(copy)
        _migrate(copy, path, moving=False)
        unless_returned.pop_all()
    database.close()
    return copy


def _connected(address: str) -> sqlite3.Connection:
    database = sqlite3.connect(address, timeout=BUSY_SECONDS, isolation_level=None, uri=address.startswith("file:///"))
    database.row_factory = sqlite3.Row
    database.text_factory = _text
    return database


def _text(raw: bytes) -> str:
    """Return a text; one that was damaged is shown as it is, and does not hide the others."""
    return raw.decode(errors="backslashreplace")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Write everything or nothing; no other process writes meanwhile."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _migrate(database: sqlite3.Connection, path: Path, moving: bool = True) -> None:
    if _number(database, "PRAGMA application_id") == APPLICATION_ID and _version(database) == len(MIGRATIONS):
        return
    with transaction(database):
        version = _version(database)  # again: another process may have been quicker
        _require_catalogue(database, path, version)
        for migration in MIGRATIONS[version:]:
            for statement in migration:
                database.execute(statement)
        if moving and 0 < version < OWN_FOLDER:
            archive.adopt(database, path)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(database: sqlite3.Connection) -> int:
    return _number(database, "PRAGMA user_version")


def _number(database: sqlite3.Connection, question: str) -> int:
    return int(database.execute(question).fetchone()[0])


def _require_catalogue(database: sqlite3.Connection, path: Path, version: int) -> None:
    ours = _number(database, "PRAGMA application_id") == APPLICATION_ID
    empty = _number(database, "SELECT count(*) FROM sqlite_master") == 0
    if not ours and not empty:
        raise CatalogError(
            f"{str(path)!r}, a database of another program", "a catalogue, or a new file", "Catalog('scenes.db')"
        )
    if version > len(MIGRATIONS):
        raise CatalogError(
            f"{str(path)!r} of version {version}",
            f"a catalogue of version {len(MIGRATIONS)} or older",
            "pip install --upgrade xr-cloudmask",
        )
