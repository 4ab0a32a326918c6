"""Where masks are kept: as files beside the database, or inside it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path

from xr_cloudmask import atomic
from xr_cloudmask.cog import SIDECAR

KINDS = ("files", "database")
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST = 80  # characters of an id that are shown in a file name


def file_name(item: str, collection: str, request: str) -> str:
    """Return a name without suffix that is safe on every system, readable, and of this mask alone.

    Examples
    --------
    >>> file_name("../../etc/passwd", "", "")
    'etc_passwd-91874f79f59d'
    """
    readable = UNSAFE.sub("_", item).strip("._-")[:LONGEST] or "scene"
    digest = hashlib.blake2b("\0".join((item, collection, request)).encode(), digest_size=6).hexdigest()
    return f"{readable}-{digest}"


def folder_of(database: Path) -> Path:
    """Return the folder of the masks that are files: the two may be moved together."""
    return database.with_name(f"{database.stem}.masks")


def keep_file(folder: Path, name: str, cog: bytes, class_names: bytes, run: str) -> None:
    """Write a mask and its class names; the mask appears last, whole."""
    folder.mkdir(exist_ok=True)
    _write(folder / f"{name}.tif", cog, class_names, run)


def keep_inside(database: sqlite3.Connection, scene: int, cog: bytes, class_names: bytes) -> None:
    """Put a mask and its class names in the database."""
    database.execute("INSERT OR REPLACE INTO masks VALUES (?, ?, ?)", (scene, cog, class_names))


def path_of(database: sqlite3.Connection, folder: Path, row: sqlite3.Row) -> Path:
    """Return the file of a mask; one that is in the database is unpacked first, until the process ends."""
    if row["mask"] == "file":
        return folder / f"{row['name']}.tif"
    # With the time in its name: another database of the same name may have been there before.
    target = _unpacked(folder.resolve()) / f"{row['name']}-{re.sub(r'[^0-9]', '', row['finished'])}.tif"
    if not target.exists():
        query = "SELECT cog, class_names FROM masks WHERE scene = ?"
        cog, class_names = database.execute(query, (row["scene"],)).fetchone()
        _write(target, cog, class_names, "new")
    return target


def copy(source: Path, target: Path) -> None:
    """Copy a mask with its class names."""
    _write(target, source.read_bytes(), source.with_name(f"{source.name}{SIDECAR}").read_bytes(), "new")


def _write(target: Path, cog: bytes, class_names: bytes, mark: str) -> None:
    with atomic.replacing(target, mark) as path:
        path.with_name(f"{path.name}{SIDECAR}").write_bytes(class_names)
        path.write_bytes(cog)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="xr-cloudmask-")


def _unpacked(folder: Path) -> Path:
    """Return a temporary folder for the masks of one database."""
    target = Path(_scratch().name) / hashlib.blake2b(os.fsencode(folder), digest_size=6).hexdigest()
    target.mkdir(exist_ok=True)
    return target


def forget_unfinished(folder: Path, run: str) -> None:
    """Remove what a run that was killed was writing."""
    for part in folder.glob(f".{run}-*"):
        shutil.rmtree(part, ignore_errors=True)
