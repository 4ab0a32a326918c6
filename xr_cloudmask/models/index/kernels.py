"""The per-pixel loops of 4-4A, compiled: one pass over the bands instead of one per operation.

Compiling is worth its dependency: NumPy takes ten times as long for `quantities`, and five times for `classes`, because
it writes and reads every intermediate array. The formulas are those of `formulas`; rounding is that of IEEE doubles, no
operation is merged with another, so results are the same on every machine. numba is imported with this module, late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit

from xr_cloudmask.models.index import formulas

if TYPE_CHECKING:
    from xr_cloudmask.models.index.four_four_a import Limits

Bands = tuple[npt.NDArray[Any], ...]  # blue, green, red, nir
Floats = npt.NDArray[np.float64]

compiled = njit(nogil=True, error_model="numpy")  # as NumPy divides: by zero, too
_ndvi, _whiteness, _hot, _cloud_index, _nscd = (
    compiled(formula)
    for formula in (formulas.ndvi, formulas.whiteness, formulas.hot, formulas.cloud_index, formulas.nscd)
)
PAN = formulas.PAN
CLOUD, SHADOW, NO_DATA = 1, 2, 255


@njit(nogil=True, error_model="numpy", cache=True)
def quantities(bands: Bands, low: Floats, span: Floats, out: Floats) -> tuple[int, int]:
    """Write what statistics are made of, ``(quantity, pixel)``; return the sizes of footprint and mismatch.

    Outside the footprint, where a normalised band is 0, NDVI and cloud index are 0 and NSCD lacks its nir term;
    whiteness and HOT do not know of it.
    """
    blue, green, red, nir = bands
    footprint = mismatch = 0
    for i in range(blue.size):
        b, g = (blue[i] - low[0]) / span[0], (green[i] - low[1]) / span[1]
        r, n = (red[i] - low[2]) / span[2], (nir[i] - low[3]) / span[3]
        inside = b != 0 and g != 0 and r != 0 and n != 0
        out[0, i] = _ndvi(r, n) if inside else 0.0
        out[1, i] = _whiteness(b, g, r, PAN)
        out[2, i] = _hot(b, r, 0.45)
        out[3, i] = _cloud_index(b, g, r, n) if inside else 0.0
        out[4, i] = _nscd(b, r, n if inside else 0.0)
        out[5, i] = g
        out[6, i] = n
        footprint += b > 0 and g > 0 and r > 0 and n > 0
        mismatch += ((b != 0) != (g != 0)) or ((g != 0) != (r != 0))
    return footprint, mismatch


@njit(nogil=True, error_model="numpy", cache=True)
def classes(bands: Bands, low: Floats, span: Floats, limits: Limits, out: npt.NDArray[np.uint8]) -> None:
    """Write class, water and cloud of each pixel, ``(3, pixel)``. Shadow wins over cloud."""
    blue, green, red, nir = bands
    for i in range(blue.size):
        b, g = (blue[i] - low[0]) / span[0], (green[i] - low[1]) / span[1]
        r, n = (red[i] - low[2]) / span[2], (nir[i] - low[3]) / span[3]
        ndvi = _ndvi(r, n)
        # Without branches, so that several pixels are worked on at once. NaN fails every test.
        inside = (b > 0) & (g > 0) & (r > 0) & (n > 0)
        cloud = (limits.ndvi_low < ndvi) & (ndvi < limits.ndvi_high)
        cloud &= (_whiteness(b, g, r, PAN) < limits.whiteness) & (_hot(b, r, 0.45) > limits.hot)
        cloud &= (_cloud_index(b, g, r, n) < limits.cloud_index) & (_nscd(b, r, n) > limits.nscd)
        water = (ndvi < limits.clear_water_ndvi) & (n < limits.clear_water_nir)
        water |= (ndvi < limits.turbid_water_ndvi) & (n < limits.turbid_water_nir)
        shadow = (g < limits.green) & (n < limits.nir) & (not water)
        out[0, i] = (SHADOW if shadow else CLOUD * cloud) if inside else NO_DATA
        out[1, i] = water if inside else NO_DATA
        out[2, i] = cloud if inside else NO_DATA
