"""Docstrings of free functions on the methods that stand for them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

# What a function documents that is the object which a method belongs to, first of these that it has; and its text.
OBJECTS = ("cube", "mask", "obj")
ENTRY = r"^{} : .*\n(?:    .*\n|\n(?=    ))*"


def documented_as(function: Callable[..., Any], summary: str | None = None) -> Callable[[Method], Method]:
    """Give a method the docstring of the function that it calls with the object it belongs to.

    Parameters
    ----------
    function : callable
        Its documentation is numpydoc; what it says of the object, its ``cube`` or else its ``mask``, is left out.
    summary : str, optional
        What to say instead of the function's first lines.

    Examples
    --------
    >>> def area(cube, unit):
    ...     '''Return an area.
    ...
    ...     Parameters
    ...     ----------
    ...     cube : Dataset
    ...         Any.
    ...     unit : str
    ...     '''
    >>> class Accessor:
    ...     @documented_as(area)
    ...     def area(self, unit): ...
    >>> "cube" in Accessor.area.__doc__, "unit : str" in Accessor.area.__doc__
    (False, True)
    """

    def decorate(method: Method) -> Method:
        text = inspect.cleandoc(function.__doc__ or "")  # from Python 3.13 on the compiler takes the margin away
        if summary is not None:
            _, heading, rest = text.partition("\nParameters\n")
            text = summary + heading + rest
        entries = (re.search(ENTRY.format(name), text, re.MULTILINE) for name in OBJECTS)
        of_object = next(filter(None, entries), None)
        method.__doc__ = text if of_object is None else text[: of_object.start()] + text[of_object.end() :]
        return method

    return decorate
