"""Small pieces of a mask, by their area on the ground: specks are dropped, holes are filled.

A piece that is too small lies within as many pixels around each of its own as it may have. So a window that sees that
far knows it whole, and a piece that reaches the window's edge is large: the labels are the same for every chunking.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.masks.windows import NEARLY, Codes, Limit, Shapes, changed, nearest, shapes_of

EIGHT, FOUR = np.ones((3, 3), int), None  # neighbours of a pixel of a piece; SciPy's default for holes


def drop_specks(mask: xr.DataArray, area: Limit) -> xr.Dataset:
    """Make clear what is small of clouds and shadows.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes, on a grid whose pixel size is known.
    area : float or mapping of str to float
        Square metres on the ground, to within two per cent, for all classes or for each by its name. A piece is all
        that hangs together, by sides or corners, and is not clear, whatever its classes. Pixels of a smaller piece
        become the nearest of the clear surfaces. No data counts with the piece that it touches. What touches the edge
        of the mask stays, for it may be larger.

    Returns
    -------
    Dataset
        ``cloud_mask`` with its coverage, as `predict` returns it. Lazy where the mask is; the same for all chunks. An
        area of as many pixels as a side of the mask has makes every date one task.

    Raises
    ------
    CloudMaskError
        It is no mask of clouds, a class is unknown, an area is negative or no number, or the pixel size is unknown.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> x = ("x", 10.0 * np.arange(6), {"units": "m"})
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.zeros((3, 6), "uint8"), {"x": x}, ("y", "x"), attrs=attrs)
    >>> mask[1, [1, 3, 4]] = 1
    >>> drop_specks(mask, 200)["cloud_mask"].values[1]
    array([0, 0, 0, 1, 1, 0], dtype=uint8)
    """
    shapes = shapes_of(mask, area, "area", "mask.cloudmask.drop_specks(2500)")
    return changed(mask, partial(_without_specks, shapes=shapes), _halo(shapes))


def fill_holes(mask: xr.DataArray, area: Limit) -> xr.Dataset:
    """Make cloud or shadow of what is small and clear within them.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes, on a grid whose pixel size is known.
    area : float or mapping of str to float
        Square metres on the ground, to within two per cent, for all classes or for each by its name. A hole is all that
        is clear and hangs together by sides. Pixels of a smaller hole become what is nearest, a cloud rather than a
        shadow. No data counts with the hole that it touches. What touches the edge of the mask stays, for it may be
        larger.

    Returns
    -------
    Dataset
        ``cloud_mask`` with its coverage, as `predict` returns it. Lazy where the mask is; the same for all chunks. An
        area of as many pixels as a side of the mask has makes every date one task.

    Raises
    ------
    CloudMaskError
        As for `drop_specks`.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> x = ("x", 10.0 * np.arange(5), {"units": "m"})
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.ones((3, 5), "uint8"), {"x": x}, ("y", "x"), attrs=attrs)
    >>> mask[1, 2:] = 0
    >>> mask[1, 4], mask[1, 1] = 3, 2
    >>> fill_holes(mask, 900)["cloud_mask"].values[1]
    array([1, 2, 1, 1, 3], dtype=uint8)
    """
    shapes = shapes_of(mask, area, "area", "mask.cloudmask.fill_holes(2500)")
    return changed(mask, partial(_without_holes, shapes=shapes), _halo(shapes))


def _fewest(area: float, shapes: Shapes) -> int:
    """Return how many pixels a piece has at least that stays."""
    return math.ceil(area / (shapes.pixel[0] * shapes.pixel[1] * NEARLY**2))


def _halo(shapes: Shapes) -> tuple[int, int]:
    """Return how far windows must see: a whole piece, and what is nearest to it."""
    pixels = _fewest(shapes.largest, shapes) + 1
    return pixels, pixels


def _without_specks(codes: Codes, shapes: Shapes) -> Codes:
    size = _sizes(~np.isin(codes, shapes.clear), EIGHT)
    surface, out = nearest(codes, shapes.clear, shapes.pixel), codes.copy()
    for code, area in shapes.limits:
        small = (codes == code) & (size < _fewest(area, shapes))
        out[small] = surface[small]
    return out


def _without_holes(codes: Codes, shapes: Shapes) -> Codes:
    size = _sizes(~np.isin(codes, shapes.cloudy), FOUR)
    filling, out = nearest(codes, shapes.cloudy, shapes.pixel), codes.copy()
    for code, area in shapes.limits:
        small = np.isin(codes, shapes.clear) & (filling == code) & (size < _fewest(area, shapes))
        out[small] = code
    return out


def _sizes(inside: npt.NDArray[np.bool_], neighbours: npt.NDArray[np.int_] | None) -> npt.NDArray[np.float64]:
    """Return of how many pixels the piece of each pixel is; infinite for those that reach the edge of the window."""
    from scipy import ndimage

    pieces, count = ndimage.label(inside, neighbours)
    size = np.bincount(pieces.reshape(-1), minlength=count + 1).astype("float64")
    edges = (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1])
    size[np.unique(np.concatenate(edges))] = np.inf
    return np.asarray(size[pieces])
