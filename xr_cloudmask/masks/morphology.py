"""The shape of clouds in a mask, in metres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.metadata import is_number
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import coverage, schemes
from xr_cloudmask.names import FRACTIONS, MASK_NAME, OF_THE_AREA

NEARLY = 1.01  # of the distance: 30 m are three pixels of 10 m on a map, which are 9.9 to 10.1 m on the ground


def dilate(mask: xr.DataArray, metres: float) -> xr.Dataset:
    """Let clouds and shadows grow into the clear pixels around them: their edges are thin, and seldom found.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes, on a grid whose pixel size is known.
    metres : float
        How far on the ground, to within one per cent. Clear pixels at most that far from a cloud or a shadow become
        what is near: a thick cloud rather than a thin one, a cloud rather than a shadow. Nothing grows into pixels
        without data.

    Returns
    -------
    Dataset
        ``cloud_mask`` with its coverage, as `predict` returns it. Lazy where the mask is; the same for all chunks.

    Raises
    ------
    CloudMaskError
        It is no mask of clouds, the distance is negative or no number, or the pixel size is unknown.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> x = ("x", [0.0, 10.0, 20.0, 30.0, 40.0], {"units": "m"})
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.uint8([[1, 0, 0, 0, 255]]), {"x": x}, ("y", "x"), attrs=attrs)
    >>> dilate(mask, 20)["cloud_mask"].values
    array([[  1,   1,   1,   0, 255]], dtype=uint8)
    """
    scheme = schemes.scheme_of(mask)
    clear = schemes.clear_codes(scheme)
    view = layout.view(mask.rename(MASK_NAME))
    growing = tuple(entry.code for entry in sorted(scheme.classes, key=_rank) if entry.code not in clear)
    if not is_number(metres) or not 0 <= metres < math.inf:
        raise CloudMaskError(f"metres={metres!r}", "a distance from 0", "mask.cloudmask.dilate(60)")
    pixel, reach = ground_of(view).known("mask"), metres * NEARLY
    grow = partial(_grown, clear=clear, growing=growing, pixel=pixel, reach=reach)
    codes = mask.transpose(*view.dims)
    grown = codes.copy(deep=False, data=_on_dates(grow, codes, [math.ceil(reach / size) for size in pixel]))
    grown.attrs = {name: value for name, value in mask.attrs.items() if name not in FRACTIONS}
    bare = grown.drop_vars(OF_THE_AREA, errors="ignore").transpose(*mask.dims).rename(MASK_NAME)
    return coverage.with_coverage(bare, bare.to_dataset())


def _rank(entry: schemes.MaskClass) -> int:
    """Return which class grows first: clouds, whatever a foreign mask calls them, before shadows."""
    known = [schemes.VOCABULARY.index(name) for name in entry.gathers if name in schemes.VOCABULARY]
    unknown = "cloud_shadow" if "shadow" in entry.name else "thick_cloud"
    return min(known, default=schemes.VOCABULARY.index(unknown))


def _on_dates(grow: Any, codes: xr.DataArray, depth: Sequence[int]) -> Any:
    if codes.chunks is None:
        return grow(codes.values)
    from dask.array.overlap import map_overlap

    axes = codes.ndim - 2, codes.ndim - 1
    depths = {axis: min(pixels, codes.shape[axis]) for axis, pixels in zip(axes, depth, strict=True)}
    meta = np.empty((0,) * codes.ndim, "uint8")
    return map_overlap(grow, codes.data, depth=depths, boundary="none", dtype="uint8", meta=meta)


def _grown(
    codes: npt.NDArray[np.uint8],
    *,
    clear: tuple[int, ...],
    growing: tuple[int, ...],
    pixel: tuple[float, float],
    reach: float,
) -> npt.NDArray[np.uint8]:
    """Grow each class in its turn: what one has taken is not clear to the next."""
    from scipy import ndimage

    out = codes.copy()
    for before, after in zip(codes.reshape(-1, *codes.shape[-2:]), out.reshape(-1, *codes.shape[-2:]), strict=True):
        for code in growing:
            seeds = before == code
            if seeds.any():
                near = ndimage.distance_transform_edt(~seeds, sampling=pixel) <= reach
                after[near & np.isin(after, clear)] = code
    return out
