"""A scene whose truth is known, and how one is made of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.errors import FileError
from xr_cloudmask.files.raster import CHUNK
from xr_cloudmask.masks.judging import JUDGED, NOT_JUDGED, Classes, place_of
from xr_cloudmask.masks.schemes import CLOUDS, SURFACES

Words: TypeAlias = tuple[str, ...]
Meaning: TypeAlias = tuple[Words, ...]  # what a pixel is, all at once: cloud, or cloud and shadow on it

CLEAR, CLOUD, THICK, THIN = (SURFACES,), (CLOUDS,), (("thick_cloud",),), (("thin_cloud",),)
SHADOW, LAND, WATER, SNOW = (("cloud_shadow",),), (("land",),), (("water",),), (("snow",),)
NO_CLOUD = ((*SURFACES, "cloud_shadow"),)  # of labels that do not tell shadows
BOTH = (*CLOUD, *SHADOW)


@dataclass(frozen=True)
class Labelled:
    """A scene whose truth is known.

    Attributes
    ----------
    name : str
    cube : Dataset
    truth : ndarray
        uint8, of the mask's shape, or of the points': places in `meanings`, `NOT_JUDGED` elsewhere.
    meanings : tuple
        What each number of `truth` stands for: words of the vocabulary; by default those of `judging.JUDGED`.
    told : dict
        What `predict` is told of the cube: sensor, level, scale, offset, nodata.
    files : tuple of Path
        That the scene was read of.
    points : tuple of ndarray, optional
        Rows and columns, where only these are labelled.
    """

    name: str
    cube: xr.Dataset
    truth: npt.NDArray[np.uint8]
    meanings: tuple[Meaning, ...] = tuple((words,) for words in JUDGED.values())
    told: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    points: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None = None

    def rows(self, classes: Classes) -> tuple[tuple[str, ...], ...]:
        """Return which classes each number of `truth` is; what is cloud or shadow is not clear too."""
        names = list(classes)
        rows = []
        for meaning in self.meanings:
            places = {place_of(words, f"a label of {self.name!r}", classes) for words in meaning}
            covered = {place for place in places if not set(SURFACES) & set(classes[names[place]])}
            rows.append(tuple(names[place] for place in sorted(covered or places)))
        return tuple(rows)


def coded(
    codes: npt.NDArray[Any], meanings: Mapping[int, Meaning]
) -> tuple[npt.NDArray[np.uint8], tuple[Meaning, ...]]:
    """Return the places of codes in their distinct meanings, `NOT_JUDGED` of other codes, and these.

    Examples
    --------
    >>> coded(np.array([0, 128, 255, 64]), {128: CLEAR, 255: CLOUD})[0]
    array([255,   0,   1, 255], dtype=uint8)
    """
    distinct = tuple(dict.fromkeys(meanings.values()))
    truth = np.full(codes.shape, NOT_JUDGED, "uint8")
    for code, meaning in meanings.items():
        truth[codes == code] = distinct.index(meaning)
    return truth, distinct


def cube_of(image: Any, names: Sequence[str], pixel: float) -> xr.Dataset:
    """Return an array ``(band, y, x)`` as a lazy cube whose pixels have a size in metres."""
    import dask.array as da

    height, width = image.shape[1:]
    coords = {
        "y": ("y", -pixel * np.arange(height), {"units": "m"}),
        "x": ("x", pixel * np.arange(width), {"units": "m"}),
    }
    bands = {
        name: (("y", "x"), da.from_array(np.ascontiguousarray(band), chunks=CHUNK))
        for name, band in zip(names, image, strict=True)
    }
    return xr.Dataset(bands, coords)


def require_shape(path: Path, labels: tuple[int, ...], image: tuple[int, ...]) -> None:
    """Refuse labels of another size than their image.

    Raises
    ------
    FileError
    """
    if labels != image:
        raise FileError(
            f"labels of {labels} in {str(path)!r}", f"the size of their image, {image}", f"gdalinfo {path}"
        )  # fmt: skip
