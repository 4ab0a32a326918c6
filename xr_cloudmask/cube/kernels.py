"""Digital numbers to reflectance, compiled; imported late. NumPy takes five times as long."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.compiled import compiled

NAN, INF = np.float32(np.nan), np.float32(np.inf)


@compiled
def scaled(
    dn: npt.NDArray[Any],
    linear: tuple[np.float32, np.float32],
    limits: tuple[np.float32, np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Write ``dn * scale + offset`` of flat arrays: infinite beyond the limits, NaN where it is no number."""
    scale, offset = linear
    low, high = limits
    for i in range(dn.size):
        value = np.float32(dn[i]) * scale + offset
        beyond = INF if abs(value) < INF else NAN
        out[i] = value if (low <= value) & (value <= high) else beyond


@compiled
def replaced(dn: npt.NDArray[Any], number: Any, value: np.float32, out: npt.NDArray[np.float32]) -> None:
    """Write a value where flat numbers are one number."""
    for i in range(dn.size):
        out[i] = value if dn[i] == number else out[i]
