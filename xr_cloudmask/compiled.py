"""How per-pixel loops are compiled: imported late by modules called ``kernels``, for numba is slow to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}  # as NumPy divides: by zero, too


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; what was compiled is kept on disk where there is a place to write to."""
    try:
        return njit(**OPTIONS, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor a cache of the user's is writable, as in containers
        return njit(**OPTIONS)(function)  # type: ignore[no-any-return]
