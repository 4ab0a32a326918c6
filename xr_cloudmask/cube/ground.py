"""How large a cube's pixels are on the ground, in true metres, and where true north is.

A map stretches: 20 m of Web Mercator are 10 m of ground at 60° N. So the steps to the next row and column are measured
on the ellipsoid, by geodesics around a pixel near the middle of the cube, whatever the CRS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from xr_cloudmask.cube.crs import coordinate_reference_system
from xr_cloudmask.cube.grids import DEGREE, Grid, Vector, geographic, grids, si
from xr_cloudmask.errors import CloudMaskError

if TYPE_CHECKING:
    from pyproj import CRS

    from xr_cloudmask.cube.layout import CubeView

FINEST = 0.01  # metres; a finer grid was taken for metres, and is degrees, radians or kilometres


@dataclass(frozen=True)
class Ground:
    """The ground under a cube, as far as the cube tells.

    Attributes
    ----------
    steps : tuple of (float, float) or None
        True metres towards north and towards east of a step to the next row, and of one to the next column; measured
        near the middle of the cube. None where they are unknown.
    source : str
        What told, or why nothing did, in words.
    crs : pyproj.CRS or None
        None where the cube states none that can be read.

    Examples
    --------
    >>> ground = Ground(((-10.0, 0.0), (0.0, 5.0)), "coordinates")
    >>> ground.pixel, ground.gsd, str(ground)
    ((10.0, 5.0), 10.0, '10 x 5 m')
    >>> ground.pixels(north=30.0, east=30.0)
    (-3.0, 6.0)
    """

    steps: tuple[Vector, Vector] | None
    source: str
    crs: CRS | None = None

    @property
    def pixel(self) -> tuple[float, float] | None:
        """Size of a pixel along y and along x, in metres."""
        return None if self.steps is None else (math.hypot(*self.steps[0]), math.hypot(*self.steps[1]))

    @property
    def gsd(self) -> float | None:
        """The larger of the two sizes, in metres: nothing smaller is seen along both axes."""
        return None if self.pixel is None else max(self.pixel)

    def known(self, thing: str, otherwise: str = "") -> tuple[float, float]:
        """Return `pixel` of a ``"cube"`` or ``"mask"``.

        Raises
        ------
        CloudMaskError
            It is unknown; `otherwise` is what else to type.
        """
        if self.pixel is None:
            raise CloudMaskError(
                f"a {thing} whose pixel size is unknown: {self.source}",
                "a CRS, or coordinates with units",
                f"{thing}.rio.write_crs('EPSG:32723') with y and x coordinates{otherwise and f', or {otherwise}'}",
            )
        return self.pixel

    def pixels(self, north: float, east: float) -> Vector:
        """Return how many rows and columns lie along a way on the ground, given in metres; needs known `steps`."""
        if self.steps is None:
            raise ValueError("the pixel size is unknown")
        (row_north, row_east), (column_north, column_east) = self.steps
        area = row_north * column_east - row_east * column_north
        rows = (north * column_east - east * column_north) / area
        return rows + 0.0, (east * row_north - north * row_east) / area + 0.0

    def spelt(self, factor: int = 1, unknown: str = "unknown") -> str:
        """Write the size of so many pixels, three digits of it; one number where both are the same."""
        pixel = self.pixel
        if pixel is None:
            return unknown
        sizes = [f"{float(f'{size * factor:.3g}'):g}" for size in pixel]
        return f"{' x '.join(dict.fromkeys(sizes))} m"

    def __str__(self) -> str:
        return self.spelt()


def ground_of(view: CubeView) -> Ground:
    """Measure a cube's pixels; reads nothing but coordinates and attributes, and never fails.

    Parameters
    ----------
    view : CubeView
        The cube. The units of its coordinates win over its CRS. Coordinates that cannot be of the CRS, such as
        positions of pixels, say nothing; then an affine transform does (``GeoTransform``, ``proj:transform``,
        ``spatial:transform``), or latitudes and longitudes ``(y, x)`` that are no dask arrays.

    Returns
    -------
    Ground
        A single row is taken to be as high as its pixels are wide. Metres without a CRS are taken for true metres,
        and growing y for north.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> y, x = 60 - 1e-4 * np.arange(8), 10 + 1e-4 * np.arange(8)
    >>> cube = xr.DataArray(np.zeros((8, 8)), {"lat": y, "lon": x}, ("lat", "lon"))
    >>> ground = ground_of(layout.view(cube))
    >>> str(ground), ground.source
    ('11.1 x 5.58 m', 'latitude and longitude')
    """
    crs = coordinate_reference_system(view)
    reasons = []
    for grid in grids(view, crs):
        steps = None if isinstance(grid, str) else _true_steps(grid)
        if not isinstance(grid, str) and steps is not None:
            return Ground(steps, grid.source, crs)
        reasons.append(grid if isinstance(grid, str) else f"no place on the ground by {grid.source}")
    return Ground(None, reasons[0], crs)


def _true_steps(grid: Grid) -> tuple[Vector, Vector] | None:
    """Return the steps of a grid in metres north and east; None where it has no place on the ground."""
    given = [step for step in (grid.row, grid.column) if step is not None]
    vectors = (
        _metres(grid, given) if grid.crs is None or not _is_of_a_body(grid.crs) else _geodesics(grid, grid.crs, given)
    )
    if not vectors:
        return None
    row, column = vectors[0], vectors[-1]
    if grid.row is None:  # squares: where columns run east, rows run south
        row = -column[1], column[0]
    elif grid.column is None:
        column = row[1], -row[0]
    placed = row[0] * column[1] != row[1] * column[0] and min(math.hypot(*row), math.hypot(*column)) >= FINEST
    return (row, column) if placed else None


def _is_of_a_body(crs: CRS) -> bool:
    return bool(crs.is_projected or crs.is_geographic)


def _metres(grid: Grid, steps: Sequence[Vector]) -> list[Vector]:
    unit = 1.0 if grid.crs is None else si(grid.crs)
    return [(north * unit, east * unit) for east, north in steps]


def _geodesics(grid: Grid, crs: CRS, steps: Sequence[Vector]) -> list[Vector]:
    """Measure steps around a pixel that is on the ground, from half a step before it to half a step behind."""
    from pyproj import Geod, Transformer
    from pyproj.exceptions import ProjError

    base = geographic(crs)
    halves = np.array([(0.0, 0.0), *steps, *(np.negative(step) for step in steps)]).T / 2
    x, y = (axis[:, None] + half for axis, half in zip((grid.x, grid.y), halves, strict=True))
    if crs != base:
        try:
            x, y = Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
        except ProjError:  # a CRS that states no way to the ellipsoid
            return []
    longitude, latitude = x * si(base) / DEGREE, y * si(base) / DEGREE
    placed = np.flatnonzero((np.isfinite(longitude) & (np.abs(latitude) <= 90)).all(axis=1))
    if not placed.size:
        return []
    off = [axis[placed] - axis[placed].mean() for axis in (grid.x, grid.y)]
    one = placed[np.hypot(*off).argmin()]  # nearest to the middle of what is on the ground
    (lon, *lons), (lat, *lats) = longitude[one], latitude[one]
    azimuth, _, distance = cast("Geod", base.get_geod()).inv([lon] * len(lons), [lat] * len(lats), lons, lats)
    ways = np.stack([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))]) * distance
    north, east = (ways[:, : len(steps)] - ways[:, len(steps) :]).tolist()
    return list(zip(north, east, strict=True))
