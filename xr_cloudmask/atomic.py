"""Files and folders that appear under their names whole, on the disk, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

SHOWN = 40  # characters of a name that a temporary folder's has, too
PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)  # seconds, between attempts to remove what is still written to


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with its ``~`` replaced; that of a user whom nobody knows stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises there


@contextmanager
def replacing(target: Path, mark: str = "new") -> Iterator[Path]:
    """Give a path to write to; what is there at the end replaces `target`.

    The path has the target's name, in a hidden folder beside it. Files written next to it, such as sidecars, move
    along, before the target itself. Where anything fails, and on an interrupt, all that was written is removed, and
    what had the name before still has it.

    Parameters
    ----------
    target : Path
        A file or folder, in a folder that exists.
    mark : str
        How the temporary folder's name begins, after a dot: what a killed process leaves is found by it.

    Raises
    ------
    OSError
        The disk is full, nothing may be written there, or nothing was.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "note.txt") as path:
    ...         _ = path.write_text("whole")
    ...     [made.read_text() for made in Path(folder).iterdir()]
    ['whole']
    """
    prefix = f".{mark}-{target.name[:SHOWN]}-"
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        fresh = scratch / "fresh"
        fresh.mkdir()
        yield fresh / target.name
        beside = sorted(made for made in fresh.iterdir() if made.name != target.name)
        for made in (*beside, fresh / target.name):
            _sync(made)
        for made in (*beside, fresh / target.name):
            _move(made, target.with_name(made.name), scratch / "replaced")
        _sync_folder(target.parent)
    finally:
        _remove(scratch)


def _remove(folder: Path) -> None:
    """Remove a folder, again where other threads were still writing into it as one of them failed."""
    for pause in PAUSES:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(pause)


def write_bytes(target: Path, content: bytes, mark: str = "new") -> None:
    """Write a file whole; see `replacing`."""
    with replacing(target, mark) as path:
        path.write_bytes(content)


def _move(made: Path, target: Path, aside: Path) -> None:
    """Move into place; a folder can only replace what is out of the way, which comes back if that fails."""
    if not target.is_dir() and not (made.is_dir() and target.exists()):
        made.replace(target)
        return
    target.rename(aside)
    try:
        made.replace(target)
    except BaseException:
        aside.rename(target)
        raise


def _sync(made: Path) -> None:
    """Put a file, or all that is in a folder, on the disk."""
    if made.is_file():
        _sync_file(made)
        return
    with ThreadPoolExecutor() as pool:  # the disk takes many at once in the time of a few
        list(pool.map(_sync_file, (path for path in made.rglob("*") if path.is_file())))
    for folder in (made, *(path for path in made.rglob("*") if path.is_dir())):
        _sync_folder(folder)


def _sync_file(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; Windows, where folders cannot be opened, has done so already."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
