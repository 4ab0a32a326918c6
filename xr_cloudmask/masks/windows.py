"""What the methods for shapes of a mask share: limits per class, pixels with what is around them, the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.metadata import is_number
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import coverage, schemes
from xr_cloudmask.names import FRACTIONS, MASK_NAME, OF_THE_AREA

NEARLY = 1.01  # of a length: 30 m are three pixels of 10 m on a map, which are 9.9 to 10.1 m on the ground

Codes: TypeAlias = npt.NDArray[np.uint8]
Limit: TypeAlias = float | Mapping[str, float]


@dataclass(frozen=True)
class Shapes:
    """The mask's classes, and how far or how large for each; what travels in a dask graph.

    Attributes
    ----------
    clear : tuple of int
        Codes of clear surfaces.
    limits : tuple of (int, float)
        Of every class that is not clear, clouds before shadows: its code and its limit.
    pixel : tuple of float
        Metres along y and x.
    no_data : int
    """

    clear: tuple[int, ...]
    limits: tuple[tuple[int, float], ...]
    pixel: tuple[float, float]
    no_data: int

    @property
    def largest(self) -> float:
        """The largest limit of all classes."""
        return max((limit for _, limit in self.limits), default=0.0)

    @property
    def cloudy(self) -> tuple[int, ...]:
        """Codes of the classes that are not clear, in the order of `limits`."""
        return tuple(code for code, _ in self.limits)

    def steps(self, metres: float) -> tuple[int, int]:
        """Return how many pixels along y and x some metres are, at least."""
        return math.ceil(metres / self.pixel[0]), math.ceil(metres / self.pixel[1])


def shapes_of(mask: xr.DataArray, limit: Limit, unit: str, call: str) -> Shapes:
    """Read what is asked for each class of a mask.

    Parameters
    ----------
    mask : DataArray
    limit : float or mapping of str to float
    unit : str
        What the number is, such as ``"metres"``.
    call : str
        What to type instead, for the error.

    Raises
    ------
    CloudMaskError
        It is no mask of clouds, a class is unknown, a limit is negative or no number, or the pixel size is unknown.
    """
    scheme = schemes.scheme_of(mask)
    clear = schemes.clear_codes(scheme)
    classes = sorted((entry for entry in scheme.classes if entry.code not in clear), key=_rank)
    asked = _asked(classes, limit)
    for name, number in asked.items() if isinstance(limit, Mapping) else [("", limit)]:
        if not is_number(number) or not 0 <= number < math.inf:
            found = f"{unit}={number!r}" + (f" for class {name!r}" if name else "")
            raise CloudMaskError(
                found, f"{'a distance' if unit == 'metres' else 'an area in square metres'} from 0", call
            )
    limits = tuple((entry.code, float(asked.get(entry.name, 0.0))) for entry in classes)
    pixel = ground_of(layout.view(mask.rename(MASK_NAME))).known("mask")
    return Shapes(clear, limits, pixel, scheme.no_data)


def _asked(classes: Sequence[schemes.MaskClass], limit: Limit) -> dict[str, Any]:
    """Return the limit of each class by its name; a word of another scheme means what it gathers."""
    if not isinstance(limit, Mapping):
        return {entry.name: limit for entry in classes}
    words = {word: {word} for word in schemes.VOCABULARY} | {"cloud": set(schemes.CLOUDS)}
    own, asked = {entry.name for entry in classes}, dict[str, Any]()
    for name, number in limit.items():
        meant = [
            e.name for e in classes if (e.name == name if name in own else words.get(name, set()) & set(e.gathers))
        ]
        twice = [one for one in meant if one in asked and asked[one] != number]
        if not meant or twice:
            first = classes[0].name if classes else "thick_cloud"
            raise CloudMaskError(
                f"class {name!r} of {list(limit)}" + (f", which is {twice[0]!r} again" if twice else ""),
                f"classes of the mask that are not clear, each once: {[entry.name for entry in classes]}",
                f"{{{first!r}: {number!r}}}",
            )
        asked |= dict.fromkeys(meant, number)
    return asked


def _rank(entry: schemes.MaskClass) -> int:
    """Return which class comes first: clouds, whatever a foreign mask calls them, before shadows."""
    known = [schemes.VOCABULARY.index(name) for name in entry.gathers if name in schemes.VOCABULARY]
    unknown = "cloud_shadow" if "shadow" in entry.name else "thick_cloud"
    return min(known, default=schemes.VOCABULARY.index(unknown))


def changed(
    mask: xr.DataArray, function: Callable[[Codes], Codes], halo: tuple[int, int], beyond: int | None = None
) -> xr.Dataset:
    """Return the mask with every date changed by a function of windows, and its coverage.

    Parameters
    ----------
    mask : DataArray
    function : callable
        From codes ``(y, x)`` to codes of the same shape. What it says of a pixel depends on `halo` pixels around it.
    halo : (int, int)
        Pixels along y and x.
    beyond : int, optional
        Code to put around the whole mask, as far as the halo; by default windows end where the mask does.
    """
    view = layout.view(mask.rename(MASK_NAME))
    codes = mask.transpose(*view.dims)
    out = codes.copy(deep=False, data=_on_windows(function, codes, halo, beyond))
    out.attrs = {name: value for name, value in mask.attrs.items() if name not in FRACTIONS}
    bare = out.drop_vars(OF_THE_AREA, errors="ignore").transpose(*mask.dims).rename(MASK_NAME)
    return coverage.with_coverage(bare, bare.to_dataset())


def _on_windows(
    function: Callable[[Codes], Codes], codes: xr.DataArray, halo: tuple[int, int], beyond: int | None
) -> Any:
    dated = partial(_on_dates, function=function)
    padded = partial(_padded, function=function, halo=halo, beyond=beyond)
    if codes.chunks is None:
        return padded(codes.values)
    from dask.array.overlap import map_overlap

    axes, meta = (codes.ndim - 2, codes.ndim - 1), np.empty((0,) * codes.ndim, "uint8")
    if any(pixels >= codes.shape[axis] for axis, pixels in zip(axes, halo, strict=True)):
        whole = codes.data.rechunk(dict.fromkeys(axes, -1))
        return whole.map_blocks(padded, dtype="uint8", meta=meta).rechunk(codes.data.chunks)
    boundary = "none" if beyond is None else dict.fromkeys(axes, beyond)
    depth = dict(zip(axes, halo, strict=True))
    return map_overlap(dated, codes.data, depth=depth, boundary=boundary, dtype="uint8", meta=meta)


def _on_dates(codes: Codes, function: Callable[[Codes], Codes]) -> Codes:
    out = np.empty_like(codes)
    for index in np.ndindex(codes.shape[:-2]):
        out[index] = function(codes[index])
    return out


def _padded(codes: Codes, function: Callable[[Codes], Codes], halo: tuple[int, int], beyond: int | None) -> Codes:
    if beyond is None:
        return _on_dates(codes, function)
    around = [(0, 0)] * (codes.ndim - 2) + [(pixels, pixels) for pixels in halo]
    out = _on_dates(np.pad(codes, around, constant_values=beyond), function)
    rows, columns = (slice(pixels, pixels + size) for pixels, size in zip(halo, codes.shape[-2:], strict=True))
    return out[..., rows, columns]


def distances(seeds: npt.NDArray[np.bool_], pixel: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return metres to the nearest of some pixels; infinite where there is none."""
    from scipy import ndimage

    if not seeds.any():
        return np.full(seeds.shape, np.inf)
    # Rounded, for what is equally far must compare as equal in every window.
    return np.asarray(np.round(ndimage.distance_transform_edt(~seeds, sampling=pixel), 6))


def nearest(codes: Codes, of: Sequence[int], pixel: tuple[float, float]) -> Codes:
    """Return which of some codes is nearest to each pixel; of those equally near, the first one."""
    if len(of) == 1:
        return np.full(codes.shape, of[0], "uint8")
    away = np.stack([distances(codes == code, pixel) for code in of])
    return np.asarray(np.array(of, "uint8")[away.argmin(axis=0)])
