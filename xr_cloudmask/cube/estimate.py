"""Scales that no metadata tell: of images that were stretched for the eye, and of numbers whose scale nobody knows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xr_cloudmask.cube.nodata import declared_nodata
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    import xarray as xr

    from xr_cloudmask.cube.bands import BandDescriptor
    from xr_cloudmask.cube.layout import CubeView

WHITE = 0.4  # reflectance that images made for the eye show as white: what suits the most ways to make them
SAMPLED = 512  # pixels along an axis of the part that is looked at, and
DATES = 3  # how many dates of it
BRIGHT = 99.0  # percentile that tells how bright the numbers become
# Up to which number the bright ones of a scene reach, and the scale that is usual for those.
USUAL = (
    (2.0, 1.0, "reflectance from 0 to 1"),
    (20_000.0, 1e-4, "ten thousandths"),
    (np.inf, 1 / 65535, "shares of the largest 16-bit number"),
)
USUAL_8_BIT, USUAL_PERCENT, USUAL_10_BIT, USUAL_11_BIT = 1 / 255, 0.01, 1 / 1023, 1 / 2047


class Scale(NamedTuple):
    """A scale for each band, and how it was found."""

    scale: dict[str, float]
    words: str


def display(view: CubeView, used: Sequence[BandDescriptor]) -> Scale:
    """Return the scale of images made for the eye: white, the largest number of the dtype, is `WHITE`.

    Floats are taken for 0 to 1, unless a loader made them of integers to mark what is missing.
    """
    dtypes = {band.name: _stored(view.bands[band.name]) for band in used}
    whites = {name: 1 if dtype.kind == "f" else np.iinfo(dtype).max for name, dtype in dtypes.items()}
    shown = ", ".join(sorted({f"{white:d}" for white in whites.values()}))
    return Scale({name: WHITE / white for name, white in whites.items()}, f"display: {shown} taken for {WHITE:g}")


def _stored(values: xr.DataArray) -> np.dtype[Any]:
    """Return the dtype that values have in their file."""
    return np.dtype(values.encoding.get("dtype") or values.dtype)


def estimated(view: CubeView, used: Sequence[BandDescriptor]) -> Scale:
    """Return the usual scale that suits how bright the numbers become; reads the middle of a few dates.

    Raises
    ------
    ReflectanceError
        There is no data to go by.
    """
    bright = max((_bright(view, band.name) for band in used), default=np.nan)
    if not np.isfinite(bright) or bright <= 0:
        raise ReflectanceError(
            "no data in the middle of the cube to estimate a scale from", "numbers above 0", "scale=0.0001, offset=0"
        )
    scale, words = _usual(bright, {view.bands[band.name].dtype for band in used})
    said = f"estimated: bright pixels reach {bright:.4g}, so numbers are taken for {words}"
    warnings.warn(f"scale={scale:.6g} is {said}", UserWarning, stacklevel=5)
    return Scale({band.name: scale for band in used}, said)


def _usual(bright: float, dtypes: set[np.dtype[Any]]) -> tuple[float, str]:
    if all(dtype.itemsize == 1 for dtype in dtypes):
        return USUAL_8_BIT, "shares of 255"
    if all(dtype.kind == "f" for dtype in dtypes) and 2 < bright <= 150:
        return USUAL_PERCENT, "percent"
    if 150 < bright <= 1023:
        return USUAL_10_BIT, "shares of the largest 10-bit number"
    if 1023 < bright <= 2047:
        return USUAL_11_BIT, "shares of the largest 11-bit number"
    return next((scale, words) for limit, scale, words in USUAL if bright <= limit)


def _bright(view: CubeView, name: str) -> float:
    values = view.bands[name]
    middle = {dim: _middle(values.sizes[dim], SAMPLED) for dim in (view.y, view.x)}
    if view.time is not None:
        middle[view.time] = slice(None, None, max(1, view.dates // DATES))
    sample = values.isel(middle).values
    missing = [*declared_nodata(values), 0.0] + ([np.iinfo(sample.dtype).max] if sample.dtype.kind != "f" else [])
    data = sample[np.isfinite(sample) & (sample > 0) & (np.abs(sample) < 1e6) & ~np.isin(sample, missing)]
    return float(np.percentile(data, BRIGHT)) if data.size else np.nan


def _middle(size: int, most: int) -> slice:
    start = max(0, (size - most) // 2)
    return slice(start, start + most)
