"""Which pixels a model sees: how many of the cube's make one of its own, and where clouds cast shadows in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xr_cloudmask.cube.ground import Ground
from xr_cloudmask.cube.metadata import is_number
from xr_cloudmask.cube.sun import Sun, SunPosition
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.models.base import ModelSpec

FEWEST = 32  # model pixels along a side: fewer show a network no cloud and no ground around it
# Times the size that a model was trained at. On the labelled patch of the documentation csmask, universal and physical
# lose 0.02 to 0.05 of kappa at three times their pixels, and 0.13 to 0.25 at six times.
COARSEST = 3.0
SLACK = 1.01  # 10 m of a map are 9.9 to 10.1 m on the ground
INEXACT = 0.05  # of the metres asked for


@dataclass(frozen=True)
class Resolution:
    """The size of a model's pixels.

    Attributes
    ----------
    factor : int
        Cube pixels per model pixel, along both axes.
    note : str or None
        What to tell the caller where the model sees other pixels than it was trained on.
    """

    factor: int
    note: str | None = None


def resolution_for(ground: Ground, shape: tuple[int, int], spec: ModelSpec, asked: str | float = "auto") -> Resolution:
    """Choose the size of a model's pixels; the longer side of a pixel counts where it is no square.

    Parameters
    ----------
    ground : Ground
        Of the cube.
    shape : (int, int)
        Of the cube, ``(y, x)``.
    spec : ModelSpec
    asked : 'auto', 'native' or float
        ``'auto'`` is the coarsest whole factor that is not coarser than the model's own size and leaves at least 32
        pixels of the model along the shorter side; 1 where the pixel size is unknown. ``'native'`` is 1. A number is
        metres, and the caller's choice.

    Returns
    -------
    Resolution
        With a note where ``'auto'`` had to stop at fewer than it wanted, or where the cube's pixels are more than
        three times as coarse as the model's.

    Raises
    ------
    CloudMaskError
        The size asked for is no such word or number, no multiple of the cube's pixels, or larger than the cube.

    Examples
    --------
    >>> from xr_cloudmask.models import csmask
    >>> ten_metres = Ground(((-10.0, 0.0), (0.0, 10.0)), "coordinates in m")
    >>> resolution_for(ten_metres, (1000, 1000), csmask.SPECS[0])
    Resolution(factor=3, note=None)
    >>> resolution_for(ten_metres, (64, 1000), csmask.SPECS[0]).factor
    2
    """
    if isinstance(asked, str) and asked == "native":
        return Resolution(1)
    if isinstance(asked, str) and asked == "auto":
        return _automatic(ground, shape, spec)
    if not is_number(asked) or not 0 < asked < math.inf:
        raise CloudMaskError(f"resolution={asked!r}", "'auto', 'native' or metres", "resolution='auto'")
    return Resolution(_multiple(ground, shape, float(asked)))


def _automatic(ground: Ground, shape: tuple[int, int], spec: ModelSpec) -> Resolution:
    if ground.gsd is None or spec.gsd == 0:
        return Resolution(1)
    wanted = max(1, int(SLACK * spec.gsd / ground.gsd))
    factor = max(1, min(wanted, min(shape) // FEWEST))
    if factor < wanted:
        return Resolution(
            factor,
            f"model {spec.name!r} sees pixels of {ground.spelt(factor)} where it was trained at {spec.gsd:g} m: "
            f"{shape[0]} x {shape[1]} pixels of {ground} would leave fewer than {FEWEST} of those along a side",
        )
    if ground.gsd > SLACK * COARSEST * spec.gsd:
        return Resolution(
            factor,
            f"pixels of {ground} are coarser than the {spec.gsd:g} m that model {spec.name!r} was trained at: "
            "clouds and shadows may be missed",
        )
    return Resolution(factor)


def _multiple(ground: Ground, shape: tuple[int, int], metres: float) -> int:
    """Return how many pixels of the cube are so many metres."""
    gsd = max(ground.known("cube", "resolution='native'"))
    factor = round(metres / gsd)
    if factor > min(shape):
        raise CloudMaskError(
            f"resolution={metres:g} for {shape[0]} x {shape[1]} pixels of {ground}",
            f"at most {min(shape) * gsd:.6g}, which is one pixel of the model along a side",
            "resolution='auto'",
        )
    if factor < 1 or abs(factor * gsd - metres) > INEXACT * metres:
        sizes = ", ".join(f"{gsd * k:.4g}" for k in (1, 2, 3, 4))
        raise CloudMaskError(
            f"resolution={metres:g} for pixels of {ground}",
            f"a whole multiple of the pixel size: {sizes} …",
            f"resolution={gsd * max(1, factor):.4g}",
        )
    return factor


def suns_for(
    ground: Ground,
    positions: Sequence[SunPosition | None],
    spec: ModelSpec,
    factor: int,
    halo: tuple[float, float],
) -> tuple[Sun, ...]:
    """Return where shadows fall, in model pixels, of every date or of all.

    Parameters
    ----------
    ground : Ground
        Of the cube; where its pixel size is unknown, pixels are taken for what the model is used to.
    positions : sequence of SunPosition or None
        Of the sun: one for all dates, or one per date.
    spec : ModelSpec
    factor : int
        Cube pixels per model pixel, along an axis.
    halo : (float, float)
        Model pixels along rows and columns that a window sees beyond those it decides; infinite where one is all.

    Returns
    -------
    tuple of Sun
    """
    if ground.pixel is None:
        return tuple(Sun(None, (spec.gsd, spec.gsd), halo) for _ in positions)
    pixel = (ground.pixel[0] * factor, ground.pixel[1] * factor)
    shifts = [None if position is None else position.shift(ground) for position in positions]
    return tuple(
        Sun(None if shift is None else (shift[0] / factor, shift[1] / factor), pixel, halo) for shift in shifts
    )
