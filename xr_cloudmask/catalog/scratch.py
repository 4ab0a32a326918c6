"""One temporary folder for each process, which the next process removes where the first one was killed."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from xr_cloudmask.catalog import locks

PREFIX, LOCK = "xr-cloudmask-", ".lock"


def folder() -> Path:
    """Return the temporary folder of this process, made and locked where need be; it goes when the process ends."""
    return _of_process(os.getpid())


@cache
def _of_process(process: int) -> Path:
    """Make a folder for a process: a child that was forked has one of its own."""
    sweep(Path(tempfile.gettempdir()))
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = locks.hold(home / LOCK)

    def remove() -> None:
        if os.getpid() == process:
            lock.release()
            shutil.rmtree(home, ignore_errors=True)

    atexit.register(remove)
    return home


def sweep(place: Path) -> None:
    """Remove the folders of processes that have ended without removing them."""
    for lock in place.glob(f"{PREFIX}*/{LOCK}"):
        with locks.of_the_dead(lock) as dead:
            if dead:
                shutil.rmtree(lock.parent, ignore_errors=True)
