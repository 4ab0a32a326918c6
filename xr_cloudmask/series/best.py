"""What makes one clear date better than another: scores of the best-available-pixel composite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.metadata import is_number
from xr_cloudmask.errors import CloudMaskError

STEEPNESS = 0.2 / 30.0  # per metre: 0.2 per Landsat pixel in Griffiths et al. (2013)


@dataclass(frozen=True)
class BestPixel:
    """Weights of the scores, each 0 to 1, and their scales. A weight of 0 leaves a score out.

    Attributes
    ----------
    probability : float
        Weight of the probability of a clear surface, of masks that have it (``predict(probabilities=True)``).
    distance : float
        Weight of the distance to the nearest cloud or shadow.
    date : float
        Weight of the nearness to the target date, where there is one.
    reach : float
        Metres beyond which distance does not count. Source: Griffiths et al. (2013), 50 pixels of 30 m.
    days : float
        Standard deviation of the bell curve around the target date. Source of the curve: Griffiths et al. (2013),
        https://doi.org/10.1109/JSTARS.2012.2228167.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(bands=["red", "nir"], dates=3, size=(64, 64))
    >>> far_from_clouds = BestPixel(distance=3.0, reach=600.0)
    >>> image = cube.cloudmask.composite("best", mask=cube.truth, scoring=far_from_clouds)
    """

    probability: float = 1.0
    distance: float = 1.0
    date: float = 1.0
    reach: float = 1500.0
    days: float = 30.0

    def __post_init__(self) -> None:
        weights, scales = (self.probability, self.distance, self.date), (self.reach, self.days)
        numbers = all(map(is_number, weights + scales))
        if not numbers or not all(0 <= weight < math.inf for weight in weights) or not all(one > 0 for one in scales):
            raise CloudMaskError(f"{self}", "weights from 0, a reach and days above 0", "BestPixel(distance=2.0)")

    def of_dates(self, times: npt.NDArray[np.datetime64], target: np.datetime64 | None) -> tuple[float, ...]:
        """Return the weighted score of each date."""
        if target is None:
            return (0.0,) * len(times)
        apart = (times - target) / np.timedelta64(1, "D") / self.days
        return tuple((self.date * np.exp(-0.5 * apart**2)).tolist())


def nearness(codes: Any, obstacles: tuple[int, ...], pixel: tuple[float, float], reach: float) -> Any:
    """Score the distance to the nearest of some classes, 0 to 1; lazy where the mask is, the same for all chunks.

    Parameters
    ----------
    codes : array
        uint8 ``(date, y, x)``.
    obstacles : tuple of int
        Codes of cloud and shadow.
    pixel : (float, float)
        Metres from row to row and from column to column.
    reach : float
        Metres. A distance beyond the reach counts as the reach.

    Returns
    -------
    array
        float32 ``(date, y, x)``.
    """
    score = partial(_score, obstacles=obstacles, pixel=pixel, reach=reach)
    if isinstance(codes, np.ndarray):
        return score(codes)
    from dask.array.overlap import map_overlap

    depth = {axis: min(math.ceil(reach / size), codes.shape[axis]) for axis, size in zip((1, 2), pixel, strict=True)}
    return map_overlap(score, codes, depth=depth, boundary="none", dtype="float32", meta=np.empty((0, 0, 0), "float32"))


def _score(
    codes: npt.NDArray[np.uint8], *, obstacles: tuple[int, ...], pixel: tuple[float, float], reach: float
) -> npt.NDArray[np.float32]:
    from scipy import ndimage

    out = np.empty(codes.shape, "float32")
    for date, labels in enumerate(codes):
        obstructed = np.isin(labels, obstacles)
        apart = np.full(labels.shape, reach)  # without an obstacle the distance is to nowhere
        if obstructed.any():
            apart = ndimage.distance_transform_edt(~obstructed, sampling=pixel)
        out[date] = 1 / (1 + np.exp(-STEEPNESS * (np.minimum(apart, reach) - reach / 2)))
    return out
