"""How per-pixel loops are compiled: imported late by modules called ``kernels``, for numba is slow to import."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}  # as NumPy divides: by zero, too


class KeptCode(FunctionCache):  # type: ignore[misc]
    """Compiled code on disk; what cannot be read, as that of another version may not be, is compiled again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return compiled code for a signature, or None."""
        try:
            return super().load_overload(sig, target_context)
        # An index names classes that other versions of this package have: unpickling it fails in as many ways.
        except Exception:
            self.flush()
            return None


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; what was compiled is kept on disk where there is a place to write to."""
    dispatcher = njit(**OPTIONS)(function)
    with suppress(RuntimeError):  # neither the package's folder nor a cache of the user's is writable, in containers
        dispatcher._cache = KeptCode(function)
    return dispatcher  # type: ignore[no-any-return]
