"""Where the sun stands, and so where on the ground a cloud's shadow falls."""

from __future__ import annotations

import math

from xr_cloudmask.cube.declared import SUN_KEYS
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.properties import as_number, item_property

AZIMUTH_KEYS = ("view:sun_azimuth", "sun_azimuth", "SUN_AZIMUTH", "landsat:sun_azimuth", "mean_sun_azimuth")

Shift = tuple[float, float]  # along the rows and columns of an array, in metres per metre of height


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
    azimuths, elevations = (item_property(view, *keys) or (None,) for keys in (AZIMUTH_KEYS, SUN_KEYS))
    dates = max(len(azimuths), len(elevations))
    northward, eastward = (_direction(view, dim, default) for dim, default in ((view.y, -1.0), (view.x, 1.0)))
    return tuple(
        _shift(as_number(azimuths[i % len(azimuths)]), as_number(elevations[i % len(elevations)]), northward, eastward)
        for i in range(dates)
    )


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
