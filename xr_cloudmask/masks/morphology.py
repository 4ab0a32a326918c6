"""The shape of clouds in a mask, in metres: they grow, shrink, lose what is narrow, gain what is between them.

What is unknown, without data or beyond the edge of the mask, never changes a pixel: it may be clear, and it may be
cloud. ``opening`` and ``closing`` have the names that scipy.ndimage, scikit-image and odc-algo give them: to open and
to close is what one does to files.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks.windows import NEARLY, Codes, Limit, Shapes, changed, distances, nearest, shapes_of

FURTHEST = 2000  # pixels of a radius of opening and closing: windows see twice as many on all sides


def dilate(mask: xr.DataArray, metres: Limit) -> xr.Dataset:
    """Let clouds and shadows grow into the clear pixels around them: their edges are thin, and seldom found.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes, on a grid whose pixel size is known.
    metres : float or mapping of str to float
        How far on the ground, to within one per cent; or how far for each class by its name, such as
        ``{"thick_cloud": 60, "cloud_shadow": 100}``: other classes stay as they are. Clear pixels at most that far from
        a cloud or a shadow become what is near: a thick cloud rather than a thin one, a cloud rather than a shadow.
        Nothing grows into pixels without data.

    Returns
    -------
    Dataset
        ``cloud_mask`` with its coverage, as `predict` returns it. Lazy where the mask is; the same for all chunks.

    Raises
    ------
    CloudMaskError
        It is no mask of clouds, a class is unknown, a distance is negative or no number, or the pixel size is unknown.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> x = ("x", [0.0, 10.0, 20.0, 30.0, 40.0], {"units": "m"})
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.uint8([[1, 0, 0, 0, 255]]), {"x": x}, ("y", "x"), attrs=attrs)
    >>> dilate(mask, 20)["cloud_mask"].values
    array([[  1,   1,   1,   0, 255]], dtype=uint8)
    """
    shapes = shapes_of(mask, metres, "metres", "mask.cloudmask.dilate(60)")
    return changed(mask, partial(_grown, shapes=shapes), shapes.steps(shapes.largest * NEARLY))


def erode(mask: xr.DataArray, metres: Limit) -> xr.Dataset:
    """Take away the rim of clouds and shadows: clear pixels grow into them.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes, on a grid whose pixel size is known.
    metres : float or mapping of str to float
        How far on the ground, to within one per cent, for all classes or for each by its name. Pixels at most that far
        from a clear one become what is nearest of the clear surfaces. Beside another class, beside no data and at the
        edge of the mask nothing is taken away.

    Returns
    -------
    Dataset
        ``cloud_mask`` with its coverage, as `predict` returns it. Lazy where the mask is; the same for all chunks.

    Raises
    ------
    CloudMaskError
        As for `dilate`.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> x = ("x", [0.0, 10.0, 20.0, 30.0, 40.0], {"units": "m"})
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.uint8([[0, 1, 1, 1, 255]]), {"x": x}, ("y", "x"), attrs=attrs)
    >>> erode(mask, 20)["cloud_mask"].values
    array([[  0,   0,   0,   1, 255]], dtype=uint8)
    """
    shapes = shapes_of(mask, metres, "metres", "mask.cloudmask.erode(20)")
    return changed(mask, partial(_shrunk, shapes=shapes), shapes.steps(shapes.largest * NEARLY))


def opening(mask: xr.DataArray, metres: Limit) -> xr.Dataset:
    """Drop what is narrow of clouds and shadows: roofs, roads, specks.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes, on a grid whose pixel size is known.
    metres : float or mapping of str to float
        Radius on the ground, to within one per cent, for all classes or for each by its name. A pixel stays where a
        disc of that radius holds it and no clear pixel; else it becomes the nearest of the clear surfaces. Discs may
        reach over no data and over the edge of the mask.

    Returns
    -------
    Dataset
        ``cloud_mask`` with its coverage, as `predict` returns it. Lazy where the mask is; the same for all chunks.

    Raises
    ------
    CloudMaskError
        As for `dilate`, or the radius is more than 2000 pixels.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> x = ("x", 10.0 * np.arange(9), {"units": "m"})
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.zeros((9, 9), "uint8"), {"x": x}, ("y", "x"), attrs=attrs)
    >>> mask[4, 1:8], mask[3:6, 3:6] = 1, 1
    >>> opening(mask, 10)["cloud_mask"].values[4]
    array([0, 0, 1, 1, 1, 1, 1, 0, 0], dtype=uint8)
    """
    shapes = shapes_of(mask, metres, "metres", "mask.cloudmask.opening(20)")
    return changed(mask, partial(_opened, shapes=shapes), _twice(shapes), shapes.no_data)


def closing(mask: xr.DataArray, metres: Limit) -> xr.Dataset:
    """Close what is narrow between clouds and shadows.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes, on a grid whose pixel size is known.
    metres : float or mapping of str to float
        Radius on the ground, to within one per cent, for all classes or for each by its name. A clear pixel stays where
        a disc of that radius holds it, and neither cloud nor shadow; else it becomes what is nearest, a cloud rather
        than a shadow. Discs may reach over no data and over the edge of the mask.

    Returns
    -------
    Dataset
        ``cloud_mask`` with its coverage, as `predict` returns it. Lazy where the mask is; the same for all chunks.

    Raises
    ------
    CloudMaskError
        As for `dilate`, or the radius is more than 2000 pixels.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> x = ("x", [0.0, 10.0, 20.0, 30.0, 40.0], {"units": "m"})
    >>> attrs = flag_attrs(SCHEMES["cloudsen12"])
    >>> mask = xr.DataArray(np.uint8([[1, 0, 1, 0, 0]] * 9), {"x": x}, ("y", "x"), attrs=attrs)
    >>> closing(mask, 20)["cloud_mask"].values[4]
    array([1, 1, 1, 0, 0], dtype=uint8)
    """
    shapes = shapes_of(mask, metres, "metres", "mask.cloudmask.closing(20)")
    return changed(mask, partial(_closed, shapes=shapes), _twice(shapes), shapes.no_data)


def _twice(shapes: Shapes) -> tuple[int, int]:
    """Return the halo of discs that hold a pixel."""
    rows, columns = shapes.steps(shapes.largest * NEARLY)
    if max(rows, columns) > FURTHEST:
        raise CloudMaskError(
            f"metres={shapes.largest:g}, which are {max(rows, columns)} pixels",
            f"at most {FURTHEST} pixels",
            f"metres={FURTHEST * min(shapes.pixel) / NEARLY:.3g}, or a coarser mask",
        )
    return 2 * rows, 2 * columns


def _grown(codes: Codes, shapes: Shapes) -> Codes:
    """Grow each class in its turn: what one has taken is not clear to the next."""
    out = codes.copy()
    for code, metres in shapes.limits:
        if metres and (codes == code).any():
            near = distances(codes == code, shapes.pixel) <= metres * NEARLY
            out[near & np.isin(out, shapes.clear)] = code
    return out


def _shrunk(codes: Codes, shapes: Shapes) -> Codes:
    away = distances(np.isin(codes, shapes.clear), shapes.pixel)
    surface, out = nearest(codes, shapes.clear, shapes.pixel), codes.copy()
    for code, metres in shapes.limits:
        taken = (codes == code) & (away <= metres * NEARLY)
        out[taken] = surface[taken]
    return out


def _opened(codes: Codes, shapes: Shapes) -> Codes:
    """Drop the pixels that no disc without a clear pixel holds."""
    away = distances(np.isin(codes, shapes.clear), shapes.pixel)
    surface, out = nearest(codes, shapes.clear, shapes.pixel), codes.copy()
    for code, metres in shapes.limits:
        held = distances(away > metres * NEARLY, shapes.pixel) <= metres * NEARLY
        taken = (codes == code) & ~held
        out[taken] = surface[taken]
    return out


def _closed(codes: Codes, shapes: Shapes) -> Codes:
    """Fill the clear pixels that no disc without cloud and shadow holds."""
    away = distances(np.isin(codes, shapes.cloudy), shapes.pixel)
    filling, out = nearest(codes, shapes.cloudy, shapes.pixel), codes.copy()
    for code, metres in shapes.limits:
        held = distances(away > metres * NEARLY, shapes.pixel) <= metres * NEARLY
        out[np.isin(codes, shapes.clear) & (filling == code) & ~held] = code
    return out
