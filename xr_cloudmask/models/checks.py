"""What a ModelSpec of somebody else must say of itself before it is listed with the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from xr_cloudmask.errors import ModelError
from xr_cloudmask.models.base import ANY_LEVEL, ModelSpec

LEVELS = ("TOA", "BOA", ANY_LEVEL)
CONTEXTS = ("window", "scene")
MOST_CLASSES = 255  # codes of uint8, but for that of no data


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_text, value))


def _is_count(value: Any, least: int = 1) -> bool:
    return type(value) is int and value >= least


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


Check = tuple[Callable[[Any], bool], str]
TEXT: Check = (_is_text, "text")
TEXTS: Check = (_are_texts, "a tuple of text")
COUNT: Check = (_is_count, "a whole number above 0")
NATURAL: Check = (lambda value: _is_count(value, 0), "a whole number, 0 or more")
FLAG: Check = (_is_flag, "True or False")
FIELDS: Mapping[str, Check] = {
    **dict.fromkeys(("name", "variant", "version", "licence", "citation", "loader", "install", "sha256"), TEXT),
    **dict.fromkeys(("window", "multiple", "fewest_bands"), COUNT),
    **dict.fromkeys(("halo", "most_bands"), NATURAL),
    **dict.fromkeys(("requires", "kinds", "precisions"), TEXTS),
    **dict.fromkeys(("takes_weights", "logits", "needs_visible", "casts_shadows", "decides"), FLAG),
    "gsd": (_is_size, "metres, 0 or more"),
    "level": (lambda value: value in LEVELS, f"one of {list(LEVELS)}"),
    "context": (lambda value: value in CONTEXTS, f"one of {list(CONTEXTS)}"),
    "bands": (lambda value: isinstance(value, tuple) and all(map(_are_texts, value)), "a tuple of tuples of roles"),
    "classes": (
        lambda value: _are_texts(value) and 0 < len(set(value)) == len(value) <= MOST_CLASSES,
        f"a tuple of 1 to {MOST_CLASSES} different names",
    ),
    "precision": (_is_text, "text"),
}


def require_plain(spec: Any) -> None:
    """Refuse what is no ModelSpec, or has a field of another kind than it says.

    Raises
    ------
    ModelError
    """
    if not isinstance(spec, ModelSpec):
        raise ModelError(f"a spec of type {type(spec).__name__}", "a ModelSpec", "register_model(ModelSpec(...))")
    for field, (is_right, expected) in FIELDS.items():
        value = getattr(spec, field)
        try:
            right = bool(is_right(value))
        except ValueError:  # an array, of which nothing says whether it is equal
            right = False
        if not right:
            found = f"a ModelSpec with {field}={str(value)[:60]} of type {type(value).__name__}"
            raise ModelError(found, expected, f"dataclasses.replace(spec, {field}=...)")
    try:
        hash(spec)
    except TypeError as error:
        raise ModelError(f"a ModelSpec that is not hashable: {error}", "tuples, not lists", "tuple(...)") from error
