"""How long, and how much, anything may take that comes from outside: one table for the whole package."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from xr_cloudmask.errors import CloudMaskError, FileError, close_to, listed

VARIABLE = "XR_CLOUDMASK_LIMITS"  # "idle=60,items=1000": for the command line, and for processes of a cluster


@dataclass(frozen=True)
class Limits:
    """What servers, files and their metadata are allowed.

    Attributes
    ----------
    connect : float
        Seconds until a server has accepted a connection.
    idle : float
        Seconds in which an answer brings less than `slowest` bytes a second.
    patience : float
        Seconds in which a connection that was lost, or that is silent, is tried again; once it is in any case.
    total : float
        Seconds that one answer may take, and all repetitions of a request to a server that says it is busy.
    slowest : float
        Bytes a second below which a server counts as silent.
    document : int
        Bytes of a metadata file or of an answer of an API, once it is unpacked.
    items : int
        Items of one search.
    pixels : float
        Pixels of one band.
    weights : int
        Bytes of a file of weights that is downloaded.

    Examples
    --------
    >>> Limits().idle
    30.0
    """

    connect: float = 10.0
    idle: float = 30.0
    patience: float = 60.0
    total: float = 600.0
    slowest: float = 1000.0
    document: int = 64 << 20
    items: int = 100_000
    pixels: float = 1e11
    weights: int = 8 << 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value <= 0:
                raise CloudMaskError(
                    f"limit {field.name}={value!r}", "a number above zero", f"set_limits({field.name}={field.default})"
                )


_current: list[Limits] = []


def limits() -> Limits:
    """Return the limits that hold now: those that were set last, else those of ``XR_CLOUDMASK_LIMITS``.

    Returns
    -------
    Limits

    Raises
    ------
    CloudMaskError
        The environment variable cannot be understood.

    Examples
    --------
    >>> with set_limits(idle=5):
    ...     limits().idle
    5
    """
    if not _current:
        _current.append(_changed(Limits(), _stated(os.environ.get(VARIABLE, ""))))
    return _current[-1]


def set_limits(**changes: float) -> AbstractContextManager[Limits]:
    """Change limits from now on; in a ``with`` statement, until it ends.

    Parameters
    ----------
    **changes
        Attributes of `Limits`, for all threads of this process. Processes of a cluster, and the command line, take
        them from the environment: ``XR_CLOUDMASK_LIMITS="idle=60,document=1e9"``.

    Returns
    -------
    context manager
        Of the limits that hold now.

    Raises
    ------
    CloudMaskError
        An unknown limit, or one that is not above zero.

    Examples
    --------
    >>> with set_limits(total=3600) as new:
    ...     new.total, new.connect
    (3600, 10.0)
    """
    before = limits()
    _current[:] = [_changed(before, changes)]
    return _until_the_end(before)


@contextmanager
def _until_the_end(before: Limits) -> Iterator[Limits]:
    try:
        yield limits()
    finally:
        _current[:] = [before]


def raised(name: str, value: float) -> str:
    """Return what to type for a larger limit: a remedy of errors."""
    return f"xr_cloudmask.set_limits({name}={value:.6g}), or {VARIABLE}={name}={value:.6g}"


def require_pixels(what: str, rows: int, columns: int) -> None:
    """Refuse a raster of absurd size before work on it begins.

    Raises
    ------
    FileError
        It has more pixels than a band may have.

    Examples
    --------
    >>> require_pixels("band 'B02'", 10_980, 10_980)
    """
    if rows * columns > limits().pixels:
        raise FileError(
            f"{what} with {rows} x {columns} pixels",
            f"at most {limits().pixels:.6g} pixels",
            raised("pixels", 2.0 * rows * columns),
        )


def _changed(before: Limits, changes: Mapping[str, Any]) -> Limits:
    known = [field.name for field in fields(Limits)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        close = close_to(unknown[0], known, "idle")
        raise CloudMaskError(
            f"limit {unknown[0]!r}", f"one of {listed(known)}", f"set_limits({close}={getattr(before, close)})"
        )
    return replace(before, **changes)


def _stated(text: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError as error:
        raise CloudMaskError(f"{VARIABLE}={text!r}", "names and numbers", f"{VARIABLE}=idle=60,total=3600") from error
