"""Where the sun stands, and so where on the ground a cloud's shadow falls."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xr_cloudmask.cube.declared import SUN_KEYS
from xr_cloudmask.cube.ground import Ground
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.metadata import as_number, item_property

AZIMUTH_KEYS = (
    "view:sun_azimuth", "sun_azimuth", "SUN_AZIMUTH", "landsat:sun_azimuth", "mean_sun_azimuth",
    "s2:mean_solar_azimuth",
)  # fmt: skip
ZENITH_KEYS = ("s2:mean_solar_zenith",)

# Pixels of a halo that specks, of clouds and of shadows, the rim of clouds and the widening of what clouds cast use up.
MARGIN = 21

Shift = tuple[float, float]  # rows and columns from a cloud to its shadow, per metre of the cloud's height


@dataclass(frozen=True)
class Sun:
    """What a model knows of one date to find the shadows of clouds, in its own pixels.

    Attributes
    ----------
    shift : tuple of float or None
        Pixels along rows and columns, per metre of a cloud's height; None where that is unknown.
    pixel : tuple of float
        Metres from row to row and from column to column.
    halo : tuple of float
        Pixels along rows and columns that a window sees beyond those it decides: looking further would give each window
        its own answer. Infinite where one window is all.
    """

    shift: Shift | None
    pixel: tuple[float, float]
    halo: tuple[float, float] = (math.inf, math.inf)

    @property
    def room(self) -> tuple[float, ...]:
        """Pixels along rows and columns between a cloud and its shadow, at most."""
        return tuple(max(0.0, halo - MARGIN) for halo in self.halo)

    def highest(self, height: float) -> float:
        """Return up to which height, in metres, clouds cast their shadows within the halo.

        Examples
        --------
        >>> Sun((-0.02, 0.01), (30.0, 30.0), halo=(81, 81)).highest(3800.0)
        3000.0
        """
        steps = zip(self.room, self.shift or (), strict=False)
        return min([height, *(room / abs(step) for room, step in steps if step)])

    def furthest(self, reach: float) -> float:
        """Return how many metres around a cloud are within the halo.

        Examples
        --------
        >>> Sun(None, (8.0, 8.0), halo=(141, 141)).furthest(1500.0)
        960.0
        """
        return min(reach, *(room * pixel for room, pixel in zip(self.room, self.pixel, strict=True)))


@dataclass(frozen=True)
class SunPosition:
    """Where the sun stands, seen from the ground.

    Attributes
    ----------
    azimuth, elevation : float
        Degrees: clockwise from true north, and above the horizon.
    """

    azimuth: float
    elevation: float

    def shift(self, ground: Ground) -> Shift | None:
        """Return how far from a cloud its shadow lies, seen from nadir over flat ground.

        Parameters
        ----------
        ground : Ground
            Of the cube: its pixels need not be square, nor its rows run east.

        Returns
        -------
        (float, float) or None
            Pixels of the cube along rows and columns, per metre of the cloud's height, in the direction in which
            their positions grow; None where the pixel size is unknown.

        Examples
        --------
        >>> ten_metres = Ground(((-10.0, 0.0), (0.0, 10.0)), "north up")
        >>> [round(pixels, 6) for pixels in SunPosition(90.0, 45.0).shift(ten_metres)]
        [0.0, -0.1]
        """
        if ground.steps is None:
            return None
        length, bearing = 1 / math.tan(math.radians(self.elevation)), math.radians(self.azimuth)
        return ground.pixels(north=-length * math.cos(bearing), east=-length * math.sin(bearing))


def sun_positions(view: CubeView) -> tuple[SunPosition | None, ...]:
    """Return where the sun stands; one for the cube or one per date.

    Parameters
    ----------
    view : CubeView
        The cube; sun azimuth and elevation, in degrees, are read from coordinates and attributes.

    Returns
    -------
    tuple of SunPosition or None
        None where the cube does not tell, and where the sun is not above the horizon.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> cube = xr.Dataset({"red": (("y", "x"), np.zeros((2, 2)))})
    >>> cube = cube.assign_attrs({"view:sun_azimuth": 90.0, "view:sun_elevation": 45.0})
    >>> sun_positions(layout.view(cube))
    (SunPosition(azimuth=90.0, elevation=45.0),)
    """
    azimuths = tuple(map(as_number, item_property(view, *AZIMUTH_KEYS) or (None,)))
    elevations = _elevations(view)
    dates = max(len(azimuths), len(elevations))
    return tuple(_position(azimuths[i % len(azimuths)], elevations[i % len(elevations)]) for i in range(dates))


def _position(azimuth: float | None, elevation: float | None) -> SunPosition | None:
    if azimuth is None or elevation is None or not 0 < elevation <= 90:
        return None
    return SunPosition(azimuth, elevation)


def _elevations(view: CubeView) -> tuple[float | None, ...]:
    """Return the sun's elevations in degrees, or what its distances from the zenith make of them."""
    stated = item_property(view, *SUN_KEYS)
    if stated is not None:
        return tuple(map(as_number, stated))
    zeniths = map(as_number, item_property(view, *ZENITH_KEYS) or (None,))
    return tuple(None if zenith is None else 90 - zenith for zenith in zeniths)
