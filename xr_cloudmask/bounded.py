"""Small files of others, read without trusting their size or kind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from xr_cloudmask.errors import CloudMaskError, FileError

LARGEST = 8 << 20  # bytes: ten times the largest metadata of any product; the smallest elements take 25 times as much


def read_small(path: str | os.PathLike[str], kind: type[CloudMaskError] = FileError) -> bytes:
    """Read a metadata file.

    Parameters
    ----------
    path : path
    kind : type, optional
        Of the error.

    Returns
    -------
    bytes

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is none.
    CloudMaskError
        It is a folder, a device or a pipe, larger than `LARGEST`, or cannot be read.
    """
    title = repr(os.fspath(path))
    try:
        # A pipe without a writer would be waited for.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise kind(f"{title}, a folder, a device or a pipe", "a file", f"ls -l {path}")
        with os.fdopen(handle, "rb") as file:
            content = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise kind(f"{title}, which cannot be read: {error}", "a file that can be read", f"ls -l {path}") from error
    if len(content) > LARGEST:
        raise kind(
            f"{title}, of more than {LARGEST >> 20} MiB",
            "metadata of a few kilobytes",
            f"ls -l {path}; download it again",
        )
    return content


def read_text(path: str | os.PathLike[str], kind: type[CloudMaskError] = FileError) -> str:
    """Read a metadata file in UTF-8; errors as those of `read_small`."""
    content = read_small(path, kind)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(
            f"{os.fspath(path)!r}, which is no text: {error}", "text in UTF-8", f"file {Path(path)}; download it again"
        ) from error
