"""Where masks are kept: as files beside the database, or inside it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from xr_cloudmask import atomic
from xr_cloudmask.catalog import scratch
from xr_cloudmask.cog import SIDECAR
from xr_cloudmask.errors import CatalogError, listed

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
    """Return the folder of the masks that are files: the two may be moved together, and no two databases share one.

    Examples
    --------
    >>> [folder_of(Path(name)).name for name in ("scenes.db", "scenes.sqlite", "scenes")]
    ['scenes.masks', 'scenes.sqlite-masks', 'scenes-masks']
    """
    place = database.resolve() if database.is_symlink() else database
    return place.with_name(f"{place.stem}.masks" if place.suffix == ".db" else f"{place.name}-masks")


def adopt(database: sqlite3.Connection, path: Path) -> None:
    """Copy the masks of a database of version 1 from the folder that it may share with another."""
    folder, before = folder_of(path), path.with_name(f"{path.stem}.masks")
    if folder == before or not before.is_dir():
        return
    folder.mkdir(exist_ok=True)
    for (name,) in database.execute("SELECT name FROM scenes WHERE mask = 'file'"):
        with suppress(FileNotFoundError):  # the next run makes it again
            copy(before / f"{name}.tif", folder / f"{name}.tif")


def sealed(cog: bytes) -> dict[str, Any]:
    """Return the columns by which a mask that was damaged later is known."""
    return {"mask_bytes": len(cog), "mask_sha256": hashlib.sha256(cog).hexdigest()}


def trouble(database: sqlite3.Connection, folder: Path, row: sqlite3.Row) -> str | None:
    """Return what is wrong with the mask of a row that is done; None where it is whole.

    A mask of a database of version 1 has no checksum: that it is there is all that is asked.
    """
    try:
        cog = _bytes_of(database, folder, row)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if cog is None:
        return "missing"
    if not cog or row["mask_bytes"] not in (None, len(cog)):
        return _sized(len(cog), row)
    if row["mask_sha256"] not in (None, hashlib.sha256(cog).hexdigest()):
        return "changed: its checksum is another"
    return None


def absent(database: sqlite3.Connection, folder: Path, row: sqlite3.Row) -> str | None:
    """Return what is wrong with a mask as far as its size tells; reads none. None where there is nothing."""
    if row["mask"] == "file":
        size = _size(folder / f"{row['name']}.tif")
    else:
        found = database.execute("SELECT length(cog) FROM masks WHERE scene = ?", (row["scene"],)).fetchone()
        size = None if found is None else found[0]
    if size is None:
        return "missing"
    return None if size and row["mask_bytes"] in (None, size) else _sized(size, row)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _sized(size: int, row: sqlite3.Row) -> str:
    return f"{size} bytes instead of {row['mask_bytes'] or 'some'}"


def refusal(path: Path, wrong: Mapping[str, str], count: int) -> CatalogError:
    """Return the error of masks that cannot be used, by the ids of their items."""
    told = listed(f"{scene!r} ({found})" for scene, found in wrong.items())
    return CatalogError(
        f"{len(wrong)} of {count} masks of {str(path)!r} that are missing or damaged: {told}",
        "masks as they were made",
        "catalog.run(items, ...) as before, which makes them again; catalog.verify() lists them",
    )


def _bytes_of(database: sqlite3.Connection, folder: Path, row: sqlite3.Row) -> bytes | None:
    """Return a mask; None where it is not there, or the names of its classes are not."""
    if row["mask"] != "file":
        found = database.execute("SELECT cog FROM masks WHERE scene = ?", (row["scene"],)).fetchone()
        return None if found is None else bytes(found[0])
    path = folder / f"{row['name']}.tif"
    if not (path.is_file() and path.with_name(f"{path.name}{SIDECAR}").is_file()):
        return None
    return path.read_bytes()


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
    # With its checksum in its name: another database of the same name may have been there before.
    mark = row["mask_sha256"] or re.sub(r"[^0-9]", "", row["finished"])
    target = _unpacked(folder.resolve()) / f"{row['name']}-{mark[:20]}.tif"
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


def _unpacked(folder: Path) -> Path:
    """Return a temporary folder for the masks of one database."""
    target = scratch.folder() / hashlib.blake2b(os.fsencode(folder), digest_size=6).hexdigest()
    target.mkdir(exist_ok=True)
    return target


def forget_unfinished(folder: Path, run: str) -> None:
    """Remove what a run that was killed was writing."""
    for part in folder.glob(f".{run}-*"):
        shutil.rmtree(part, ignore_errors=True)
