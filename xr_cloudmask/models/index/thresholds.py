"""What the thresholds of every pipeline have to be: numbers, as many as there were, within their ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from xr_cloudmask.errors import ModelError

ANY = (-math.inf, math.inf)


def check(thresholds: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse thresholds that are no finite numbers, or outside a range; `ranges` names those that have one.

    Parameters
    ----------
    thresholds : dataclass
        Every field has a default: a number or a tuple of numbers.
    ranges : mapping of str to tuple of float
        The least and the largest value that make sense.

    Raises
    ------
    ModelError
    """
    for field in fields(thresholds):
        value, default = getattr(thresholds, field.name), field.default
        low, high = ranges.get(field.name, ANY)
        if not (_alike(value, default) and all(low <= number <= high for number in _numbers(value))):
            kind = f"{len(default)} numbers" if isinstance(default, tuple) else "a number"
            within = f" from {low:g} to {high:g}" * ((low, high) != ANY)
            raise ModelError(
                f"{field.name}={value!r}",
                f"{kind}{within}",
                f"{type(thresholds).__name__}({field.name}={default!r}), the default",
            )


def _numbers(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _alike(value: Any, default: Any) -> bool:
    same_shape = isinstance(value, tuple) == isinstance(default, tuple)
    return same_shape and len(_numbers(value)) == len(_numbers(default)) and all(map(_is_finite, _numbers(value)))


def _is_finite(value: Any) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and math.isfinite(value)
