"""Which numbers of a band mark missing pixels: what its metadata declare, and what arithmetic has made of that."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.metadata import as_number, flat

if TYPE_CHECKING:
    import xarray as xr

CF_NODATA_KEYS = ("_FillValue", "missing_value", "nodata")
NODATA_KEYS = (
    *CF_NODATA_KEYS, "fill_value", "FillValue", "nodata_value", "no_data", "no_data_value", "NODATA", "NoData",
    "data_ignore_value", "data ignore value",
)  # fmt: skip
VALID_KEYS = ("valid_range", "valid_min", "valid_max")
BETWEEN = re.compile(r"[\s,;]+")  # the two numbers of a range that is text
# What people divide by before they hand floats over, whose attributes still declare the number that it was.
USUAL_RULES = ((1e-4, 0.0), (1e-2, 0.0), (1e-3, 0.0), (2.75e-5, -0.2), (1e-4, -0.1))
# Numbers that fill an integer: beside the range of any sensor, but for 255, which images have where they are white.
FULL = (32767.0, 65535.0, 2147483647.0, 4294967295.0)
# Between these are the numbers of all products: what lies beyond is fill, where no calibration tells more.
NUMBERS = -9000.0, 1e30
# A valid range that is one of reflectance begins and ends within these; any other has outlived its values.
VALID_LOW, VALID_HIGH = (-0.4, 0.1), (0.5, 20.0)


def declared_nodata(values: xr.DataArray) -> tuple[float, ...]:
    """Return every no-data value that a band's attributes or encoding declare, in order; empty where there is none.

    Parameters
    ----------
    values : DataArray
        One band. The encoding counts for integers only: values decoded to floats have NaN there.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> declared_nodata(xr.DataArray(np.zeros(2, "uint16"), dims="x", attrs={"nodata": 0}))
    (0.0,)
    """
    said = [values.attrs[key] for key in NODATA_KEYS if key in values.attrs]
    if values.dtype.kind != "f":
        said += [values.encoding[key] for key in CF_NODATA_KEYS if key in values.encoding]
    stated = (as_number(number) for one in said for number in flat(one))
    return tuple(dict.fromkeys(number for number in stated if number is not None))


def moved_nodata(values: xr.DataArray) -> tuple[float, ...]:
    """Return what usual scales make of the no-data values that floats still declare.

    Only what could be taken for dark reflectance: positive ones are ordinary, others no reflectance at all.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> -0.0999 in moved_nodata(xr.DataArray(np.zeros(2), dims="x", attrs={"nodata": -999}))
    True
    """
    if values.dtype.kind != "f":
        return ()
    moved = (number * scale + offset for number in declared_nodata(values) for scale, offset in USUAL_RULES)
    return tuple(dict.fromkeys(round(number, 12) for number in moved if VALID_LOW[0] < number < 0))


def valid_range(values: xr.DataArray, scale: float, offset: float) -> tuple[float, float] | None:
    """Return the CF valid range of a band's values as they are, None where there is none that fits them.

    Packed bounds that a loader left beside unpacked values, or that arithmetic outlived, are not believed.

    Parameters
    ----------
    values : DataArray
        One band, with ``valid_range``, or ``valid_min`` and ``valid_max``, in its attributes.
    scale, offset : float
        What makes reflectance of its values.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> band = xr.DataArray(np.zeros(2, "int16"), dims="x", attrs={"valid_range": [0, 10000]})
    >>> valid_range(band, 1e-4, 0.0), valid_range(band.astype(float), 1.0, 0.0)
    ((0.0, 10000.0), None)
    """
    if not any(key in values.attrs for key in VALID_KEYS):
        return None
    both = values.attrs.get("valid_range", ())
    both = flat(BETWEEN.split(both.strip(" []()")) if isinstance(both, str) else both)
    pair = both if len(both) == 2 else [values.attrs.get(key) for key in VALID_KEYS[1:]]
    low, high = (_unpacked(as_number(end), values) for end in pair)
    ends = [_within(end, within, scale, offset) for end, within in ((low, VALID_LOW), (high, VALID_HIGH))]
    if (low, high) == (None, None) or not all(ends):
        return None
    return -np.inf if low is None else low, np.inf if high is None else high


def _unpacked(end: float | None, values: xr.DataArray) -> float | None:
    """Return a bound as xarray would have decoded it with the values: it leaves bounds packed."""
    packed = values.encoding if values.dtype.kind == "f" else {}
    scale, offset = (as_number(packed.get(key)) for key in ("scale_factor", "add_offset"))
    return end if end is None else end * (1.0 if scale is None else scale) + (offset or 0.0)


def _within(end: float | None, within: tuple[float, float], scale: float, offset: float) -> bool:
    return end is None or within[0] <= end * scale + offset <= within[1]


def fill_of_all(
    bands: Sequence[np.ndarray[Any, Any]],
    full: Sequence[float],
    black: float = 0.0,
    known: np.ndarray[Any, Any] | None = None,
) -> np.ndarray[Any, Any] | None:
    """Return where all bands have the same number, and it is no light, or one of those that fill an integer.

    No surface and no cloud looks so: it is fill that nobody declared, whatever a scale or an offset made of it.

    Parameters
    ----------
    bands : sequence of ndarray
        The values of each band of one date, as they are, all of one shape.
    full : sequence of float
        Bright numbers that are fill where all bands have them.
    black : float
        The number of reflectance 0: up to it there is no light.
    known : ndarray of bool, optional
        Pixels that are no data already, which are left out.

    Returns
    -------
    ndarray of bool, or None
        None where no pixel is, or where there is one band.
    """
    first = bands[0] if bands else np.empty(0)
    if len(bands) < 2 or first.size == 0 or any(band.dtype != first.dtype for band in bands):
        return None
    low, high = float(first.min()), float(first.max())
    if low > black and not any(low <= number <= high for number in full):
        return None  # by far the most: neither is true of NaN
    # In the numbers of an integer, or NumPy would make floats of all of them first.
    darkest = max(math.floor(min(black, high)), int(low) - 1) if first.dtype.kind in "iu" else black
    suspect = np.zeros(first.shape, bool) if darkest < low else first <= darkest  # NaN is not below
    largest = np.iinfo(first.dtype).max if first.dtype.kind in "iu" else float(np.finfo(first.dtype).max)
    for number in full:
        if number <= largest:
            suspect |= first == first.dtype.type(number)
    if known is not None:
        suspect &= ~known
    at = np.unravel_index(np.flatnonzero(suspect), first.shape)  # several times as fast as np.nonzero
    for band in bands[1:]:
        alike = band[at] == first[at]
        at = tuple(index[alike] for index in at)
    if not at[0].size:
        return None
    same = np.zeros(first.shape, bool)
    same[at] = True
    return same
