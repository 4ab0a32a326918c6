"""Errors that say what was found, what was expected and what to type next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

MOST_LISTED = 10  # names in a message: a hyperspectral cube has hundreds


def listed(names: Iterable[Any], most: int = MOST_LISTED) -> str:
    """Write names in one line; of many, the first ones and how many more there are.

    Examples
    --------
    >>> listed(["blue", "green"])
    'blue, green'
    >>> listed(range(1, 286))
    '1, 2, 3, 4, 5, 6, 7, 8, 9, 10 … and 275 more'
    """
    texts = [str(name) for name in names]
    left = len(texts) - most
    return ", ".join(texts[:most]) + f" … and {left} more" if left > 0 else ", ".join(texts)


class CloudMaskError(ValueError):
    """Base of every error this package raises about its input.

    Parameters
    ----------
    found : str
        What was found, in the terms of the caller's data.
    expected : str
        What would have been accepted, with the known names listed.
    remedy : str
        What to type next.
    keywords : mapping of str to object, optional
        Keywords that settle it, with values that work: what a program, or another shell, can type for the user.

    Examples
    --------
    >>> raise CloudMaskError("model 'csmsk'", "one of 'csmask'", "predict(model='csmask')")
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.CloudMaskError: found: model 'csmsk'
    expected: one of 'csmask'
    try: predict(model='csmask')
    """

    def __init__(self, found: str, expected: str, remedy: str, keywords: Mapping[str, Any] | None = None) -> None:
        # All go to args, so that the error survives pickling between dask workers.
        super().__init__(found, expected, remedy, keywords)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.keywords = dict(keywords or {})

    def __str__(self) -> str:
        return f"found: {self.found}\nexpected: {self.expected}\ntry: {self.remedy}"


class CubeError(CloudMaskError):
    """The cube's dimensions, dtype or grid cannot be understood."""


class BandError(CloudMaskError):
    """A band is missing, unknown or ambiguous."""


class ReflectanceError(CloudMaskError):
    """Digital numbers cannot be turned into reflectance without guessing."""


class ModelError(CloudMaskError):
    """A model is unknown, does not fit the cube or cannot run here."""


class MissingError(CloudMaskError, ImportError):
    """A package is not installed that something asked for needs."""


class WeightsError(CloudMaskError):
    """Model weights are missing or are not what their checksum says."""


class FileError(CloudMaskError):
    """A file or folder cannot be read as a cube, or a mask cannot be written."""


class StacError(CloudMaskError):
    """A STAC API does not answer, or its items do not make a cube."""


class CatalogError(CloudMaskError):
    """A catalogue cannot be read or written, or does not hold what is asked of it."""


class CoverageWarning(UserWarning):
    """Something was decided by the coverage of a mask whose model says that it cannot be trusted for that."""


@contextmanager
def refusing(kind: type[CloudMaskError], found: str, expected: str, remedy: str) -> Iterator[None]:
    """Raise one kind of error for whatever is raised inside; clear ones pass.

    For code that reads what others wrote: parsers raise a dozen types on content that they were not written for.

    Parameters
    ----------
    kind : type
        Of the error.
    found, expected, remedy : str
        As in `CloudMaskError`; what went wrong is added to `found`.

    Examples
    --------
    >>> with refusing(FileError, "'a.json', which cannot be read", "metadata", "download it again"):
    ...     {}["level"]
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.FileError: found: 'a.json', which cannot be read: KeyError: 'level'
    expected: metadata
    try: download it again
    """
    try:
        yield
    except CloudMaskError:
        raise
    except Exception as error:
        raise kind(f"{found}: {in_words(error)}", expected, remedy) from error


def in_words(error: BaseException, most: int = 300) -> str:
    """Return the type and the first line of an error."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first[:most]}" if first else type(error).__name__


def close_to(name: object, known: Iterable[str], otherwise: str) -> str:
    """Return the known name that somebody probably meant.

    Examples
    --------
    >>> close_to("csmsk", ["csmask", "universal"], "auto")
    'csmask'
    """
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1)), otherwise)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, the first of all last."""
    yield error
    if error.__cause__ is not None:
        yield from causes(error.__cause__)


def first_cause(error: BaseException) -> BaseException:
    """Return the error that tells most: GDAL names the file only in the first of a chain."""
    *_, first = causes(error)
    return first
