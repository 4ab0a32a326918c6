"""Where the sun stands, and so where on the ground a cloud's shadow falls."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xr_cloudmask.cube.declared import SUN_KEYS
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.properties import as_number, item_property

AZIMUTH_KEYS = (
    "view:sun_azimuth", "sun_azimuth", "SUN_AZIMUTH", "landsat:sun_azimuth", "mean_sun_azimuth",
    "s2:mean_solar_azimuth",
)  # fmt: skip
ZENITH_KEYS = ("s2:mean_solar_zenith",)

# Pixels of a halo that specks, of clouds and of shadows, the rim of clouds and the widening of what clouds cast use up.
MARGIN = 21

Shift = tuple[float, float]  # along the rows and columns of an array, in metres per metre of height


@dataclass(frozen=True)
class Sun:
    """What a model knows of one date to find the shadows of clouds, in its own pixels.

    Attributes
    ----------
    shift : tuple of float or None
        Pixels along rows and columns, per metre of a cloud's height; None where that is unknown.
    pixel : float
        Metres.
    halo : tuple of float
        Pixels along rows and columns that a window sees beyond those it decides: looking further would give each window
        its own answer. Infinite where one window is all.
    """

    shift: Shift | None
    pixel: float
    halo: tuple[float, float] = (math.inf, math.inf)

    @property
    def room(self) -> tuple[float, ...]:
        """Pixels along rows and columns between a cloud and its shadow, at most."""
        return tuple(max(0.0, halo - MARGIN) for halo in self.halo)

    def highest(self, height: float) -> float:
        """Return up to which height, in metres, clouds cast their shadows within the halo.

        Examples
        --------
        >>> Sun((-0.02, 0.01), 30.0, halo=(81, 81)).highest(3800.0)
        3000.0
        """
        steps = zip(self.room, self.shift or (), strict=False)
        return min([height, *(room / abs(step) for room, step in steps if step)])

    def furthest(self, reach: float) -> float:
        """Return how many metres around a cloud are within the halo.

        Examples
        --------
        >>> Sun(None, 8.0, halo=(141, 141)).furthest(1500.0)
        960.0
        """
        return min(reach, *(room * self.pixel for room in self.room))


def shadow_shifts(view: CubeView) -> tuple[Shift | None, ...]:
    """Return how far from a cloud its shadow lies, per metre of its height; one for the cube or one per date.

    Parameters
    ----------
    view : CubeView
        The cube; sun azimuth (degrees clockwise from north) and elevation are read from coordinates and attributes.

    Returns
    -------
    tuple of tuple of float or None
        Metres along rows and columns, in the direction in which their positions grow; None where the cube does not
        tell where the sun stands. Seen from nadir, over flat ground.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> cube = xr.Dataset({"red": (("y", "x"), np.zeros((2, 2)))}, coords={"y": [10, 0], "x": [0, 10]})
    >>> cube = cube.assign_attrs({"view:sun_azimuth": 90.0, "view:sun_elevation": 45.0})
    >>> [tuple(round(metres, 6) for metres in shift) for shift in shadow_shifts(layout.view(cube))]
    [(0.0, -1.0)]
    """
    azimuths = item_property(view, *AZIMUTH_KEYS) or (None,)
    elevations = _elevations(view)
    dates = max(len(azimuths), len(elevations))
    northward, eastward = (_direction(view, dim, default) for dim, default in ((view.y, -1.0), (view.x, 1.0)))
    return tuple(
        _shift(as_number(azimuths[i % len(azimuths)]), elevations[i % len(elevations)], northward, eastward)
        for i in range(dates)
    )


def _elevations(view: CubeView) -> tuple[float | None, ...]:
    """Return the sun's elevations in degrees, or what its distances from the zenith make of them."""
    stated = item_property(view, *SUN_KEYS)
    if stated is not None:
        return tuple(map(as_number, stated))
    zeniths = map(as_number, item_property(view, *ZENITH_KEYS) or (None,))
    return tuple(None if zenith is None else 90 - zenith for zenith in zeniths)


def _shift(azimuth: float | None, elevation: float | None, northward: float, eastward: float) -> Shift | None:
    if azimuth is None or elevation is None or not 0 < elevation <= 90:
        return None
    length, bearing = 1 / math.tan(math.radians(elevation)), math.radians(azimuth)
    return -length * math.cos(bearing) * northward + 0.0, -length * math.sin(bearing) * eastward + 0.0


def _direction(view: CubeView, dim: str, default: float) -> float:
    """Return 1 where a coordinate grows with the position, -1 where it falls."""
    if dim not in view.source.coords or view.source.sizes[dim] < 2:
        return default
    first, last = view.source.coords[dim].values[[0, -1]]
    return math.copysign(1.0, float(last) - float(first))
