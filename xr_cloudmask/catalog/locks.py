"""Locks that the operating system releases when a process ends, however it ends: who holds one is alive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xr_cloudmask.extras import require

if TYPE_CHECKING:
    from filelock import FileLock


def hold(path: Path) -> FileLock:
    """Take a new lock; it is held until it is released, or until the process ends."""
    lock = _lock(path)
    while True:
        lock.acquire()
        if path.exists():
            return lock
        lock.release()  # someone looked at it before it was held, took it for one of the dead, and removed it


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a new lock for a while."""
    lock = hold(path)
    try:
        yield
    finally:
        _release(lock)


@contextmanager
def of_the_dead(path: Path) -> Iterator[bool]:
    """Tell whether nobody holds a lock; nobody can while this looks, and afterwards it is removed."""
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except (TimeoutError, OSError):  # alive, or of another user
        yield False
        return
    try:
        yield True
    finally:
        _release(lock)


def _lock(path: Path) -> FileLock:
    locks = require("filelock", "catalog", "runs of a catalogue")
    lock: FileLock = locks.FileLock(path, is_singleton=False)
    return lock


def _release(lock: FileLock) -> None:
    """Remove a lock while it is held, so that who waits for it finds that it has no name any more."""
    path = Path(lock.lock_file)
    with suppress(OSError):  # Windows keeps what is open
        path.unlink(missing_ok=True)
    lock.release()
    if os.name == "nt":
        with suppress(OSError):
            path.unlink(missing_ok=True)
