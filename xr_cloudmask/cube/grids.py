"""Where a cube says its pixels are: what its coordinates, or what stands for them, are positions in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.crs import grid_mappings
from xr_cloudmask.cube.metadata import as_number, item_property, read

if TYPE_CHECKING:
    import xarray as xr
    from pyproj import CRS

    from xr_cloudmask.cube.layout import CubeView

Vector: TypeAlias = tuple[float, float]
Numbers: TypeAlias = npt.NDArray[np.float64]

FOOT, SURVEY_FOOT, DEGREE = 0.3048, 1200 / 3937, math.pi / 180
LENGTHS = {  # metres
    "m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0,
    "km": 1e3, "kilometre": 1e3, "kilometer": 1e3, "kilometres": 1e3, "kilometers": 1e3,
    "ft": FOOT, "foot": FOOT, "feet": FOOT, "international foot": FOOT,
    "us survey foot": SURVEY_FOOT, "us_survey_foot": SURVEY_FOOT, "us-ft": SURVEY_FOOT, "ussft": SURVEY_FOOT,
}  # fmt: skip
ANGLES = {  # radians
    "°": DEGREE, "deg": DEGREE, "degree": DEGREE, "degrees": DEGREE,
    "degree_north": DEGREE, "degrees_north": DEGREE, "degree_n": DEGREE, "degrees_n": DEGREE,
    "degree_east": DEGREE, "degrees_east": DEGREE, "degree_e": DEGREE, "degrees_e": DEGREE,
    "rad": 1.0, "radian": 1.0, "radians": 1.0, "mrad": 1e-3, "milliradian": 1e-3, "milliradians": 1e-3,
    "µrad": 1e-6, "urad": 1e-6, "microradian": 1e-6, "microradians": 1e-6,
}  # fmt: skip
COUNTS = ("1", "count", "index", "pixel", "pixels", "px")
LATITUDES, LONGITUDES = ("latitude", "lat"), ("longitude", "lon")
DIRECTIONS = {"north": LATITUDES, "n": LATITUDES, "east": LONGITUDES, "e": LONGITUDES}  # after "degrees_"
TRANSFORMS = ("spatial:transform", "proj:transform", "transform")  # STAC's and old rasterio's: rows of a matrix

NAMELESS = ("unknown", "undefined", "unnamed", "")
MOST_PIXELS = 100_000  # along an axis; coordinates are larger than positions of pixels
SEARCHED = 9  # pixels along an axis among which those on the ground are looked for


@dataclass(frozen=True)
class Grid:
    """Where pixels are.

    Attributes
    ----------
    x, y : ndarray
        float64 ``(n,)``, the centres of some pixels all over the cube; NaN where they are not known.
    row, column : tuple of (float, float) or None
        How far x and y of the next row and of the next column are; None where there is no next one.
    crs : pyproj.CRS or None
        What they are coordinates of, and in the units of; None for plain metres.
    source : str
        What told, in words.
    """

    x: Numbers
    y: Numbers
    row: Vector | None
    column: Vector | None
    crs: CRS | None
    source: str


def grids(view: CubeView, crs: CRS | None) -> Iterator[Grid | str]:
    """Yield what a cube says of where its pixels are, the best first, or in words why it says nothing.

    Parameters
    ----------
    view : CubeView
    crs : pyproj.CRS or None
        What the cube states.
    """
    coordinates = _from_coordinates(view, crs)
    # A single row has no height, but a transform tells it.
    is_single = isinstance(coordinates, Grid) and None in (coordinates.row, coordinates.column)
    if not is_single:
        yield coordinates
    yield _from_transform(view, crs)
    if is_single:
        yield coordinates
    yield _from_curvilinear(view, crs)


def si(crs: CRS) -> float:
    """Return metres or radians per unit of a CRS."""
    return float(crs.axis_info[0].unit_conversion_factor)


def geographic(crs: CRS | None) -> CRS:
    """Return latitude and longitude on the body of a CRS; on the earth where that has none."""
    from pyproj import CRS

    if crs is None:
        return CRS.from_epsg(4326)
    base = crs.source_crs if crs.is_geographic and crs.is_derived else crs.geodetic_crs
    return base if base is not None and base.is_geographic else CRS.from_epsg(4326)


# One-dimensional coordinates.


def _from_coordinates(view: CubeView, crs: CRS | None) -> Grid | str:
    known = view.source.coords
    coords = [known[dim] if dim in known else None for dim in (view.y, view.x)]  # noqa: SIM401 - get() makes some up
    y, x = (_numbers(coord) for coord in coords)
    if not any(axis.size > 1 for axis in (y, x)):
        return "a single pixel" if y.size and x.size else "no coordinates"
    frame = _frame(coords, (y, x), crs)
    if isinstance(frame, str):
        return frame
    y, x = y * frame.unit, x * frame.unit
    down, across = _step(y), _step(x, frame.turn)
    if (down is None and y.size > 1) or (across is None and x.size > 1):
        return "coordinates that are missing, or all the same"
    rows, columns = _spread(max(y.size, 1), max(x.size, 1))
    return Grid(
        x[columns] if x.size else np.full(columns.shape, np.nan),
        y[rows] if y.size else np.full(rows.shape, np.nan),
        None if down is None else (0.0, down),
        None if across is None else (across, 0.0),
        frame.crs,
        frame.source,
    )


@dataclass(frozen=True)
class _Frame:
    """What coordinates are of: a CRS (None: plain metres), and one of their units in its unit."""

    crs: CRS | None
    unit: float
    source: str

    @property
    def turn(self) -> float | None:
        """Once around the earth, where that is an angle."""
        return 2 * math.pi / si(self.crs) if self.crs is not None and self.crs.is_geographic else None


def _frame(coords: Sequence[xr.DataArray | None], values: Sequence[Numbers], crs: CRS | None) -> _Frame | str:
    """Find out what coordinates are of; their units, then their names win over the CRS."""
    unit = next((text for text in map(_unit, reversed(coords)) if text), "")
    angular = all(coord is None or _is_angular(coord) for coord in coords)
    told = unit in ANGLES or (crs is None and unit in LENGTHS) or (angular and (crs is None or crs.is_geographic))
    if unit in COUNTS or (not told and all(map(_are_positions, values))):
        return "positions of pixels in place of coordinates"
    if unit in LENGTHS:
        return _in_lengths(unit, crs)
    if unit in ANGLES:
        return _in_angles(unit, crs, angular)
    if angular and (crs is None or not crs.is_geographic) and _are_degrees(*values):
        return _latitude_and_longitude(crs, DEGREE)
    if crs is None:
        return "coordinates without a unit or a CRS"
    return _in_lengths("km", crs) if _are_kilometres(crs, *values) else _Frame(crs, 1.0, _name(crs))


def _in_lengths(unit: str, crs: CRS | None) -> _Frame:
    if crs is None or crs.is_geographic:
        return _Frame(None, LENGTHS[unit], f"coordinates in {unit}")
    return _Frame(crs, LENGTHS[unit] / si(crs), f"{_name(crs)}, coordinates in {unit}")


def _in_angles(unit: str, crs: CRS | None, angular: bool) -> _Frame | str:
    if crs is not None and crs.is_geographic:
        return _Frame(crs, ANGLES[unit] / si(crs), _name(crs))
    height = None if crs is None or angular else as_number(crs.to_cf().get("perspective_point_height"))
    if crs is not None and height is not None:  # Source: PROJ's geostationary projection
        return _Frame(crs, ANGLES[unit] * height / si(crs), f"{_name(crs)}, scan angles in {unit}")
    if angular or ANGLES[unit] == DEGREE:
        return _latitude_and_longitude(crs, ANGLES[unit])
    return f"angles in {unit} without a geostationary CRS"


def _latitude_and_longitude(crs: CRS | None, unit: float) -> _Frame:
    base = geographic(crs)
    return _Frame(base, unit / si(base), "latitude and longitude")


def _name(crs: CRS) -> str:
    return "its CRS" if crs.name in NAMELESS else str(crs.name)


def _numbers(coord: xr.DataArray | None) -> Numbers:
    """Return coordinates as numbers; none where they are no numbers. Integers of a file are decoded by their scale."""
    if coord is None or coord.dtype.kind not in "iuf":
        return np.empty(0)
    values = np.asarray(read(coord), "float64")
    if coord.dtype.kind == "f":
        return np.where(np.isfinite(values), values, np.nan)
    scale, offset = (as_number(coord.attrs.get(key)) for key in ("scale_factor", "add_offset"))
    return values * (1.0 if scale is None else scale) + (offset or 0.0)


def _unit(coord: xr.DataArray | None) -> str:
    return "" if coord is None else str(coord.attrs.get("units", "")).strip().lower().replace("μ", "µ")


def _is_angular(coord: xr.DataArray) -> bool:
    """Whether a coordinate is a latitude or a longitude by its name."""
    names = {str(coord.name), str(coord.attrs.get("standard_name"))}
    return bool(names & {*LATITUDES, *LONGITUDES}) or _unit(coord).partition("_")[2] in DIRECTIONS


def _are_degrees(y: Numbers, x: Numbers) -> bool:
    return not (np.abs(y) > 90).any() and not (np.abs(x) > 360).any()


def _are_kilometres(crs: CRS, y: Numbers, x: Numbers) -> bool:
    """Whether coordinates are outside of where a CRS is used, and inside of it in kilometres."""
    if not (crs.is_projected and y.size and x.size) or max(np.nanmax(np.abs(axis), initial=0) for axis in (y, x)) > 2e4:
        return False
    middle = float(np.nanmean(x)), float(np.nanmean(y))
    return not _is_used(crs, *middle) and _is_used(crs, *(1e3 * number / si(crs) for number in middle))


def _is_used(crs: CRS, x: float, y: float) -> bool:
    """Whether a CRS that has a code is meant for a place; False where that is unknown."""
    from pyproj import Transformer

    code = crs.to_epsg()
    area = None if code is None else type(crs).from_epsg(code).area_of_use
    if area is None:
        return False
    longitude, latitude = Transformer.from_crs(crs, geographic(crs), always_xy=True).transform(x, y)
    is_between = area.west <= longitude <= area.east or area.west > area.east
    return bool(is_between and area.south <= latitude <= area.north)


def _are_positions(values: Numbers) -> bool:
    """Whether coordinates count pixels, at their edges or at their centres."""
    counted = (np.abs(np.diff(values)) == 1).all() and (values * 2 % 1 == 0).all()
    return bool(counted and (np.abs(values) < MOST_PIXELS).all())


def _step(values: Numbers, turn: float | None = None) -> float | None:
    """Return the usual step along an axis: the mean of those near their median, so that gaps do not count."""
    steps = np.diff(values[np.isfinite(values)])
    if turn is not None:
        steps = _wrapped(steps, turn)
    if not steps.size:
        return None
    usual = float(np.median(steps))
    return float(np.mean(steps[np.abs(steps - usual) <= abs(usual)])) or None


def _wrapped(steps: Any, turn: float) -> Any:
    """Return steps of longitude the short way round."""
    return (steps + turn / 2) % turn - turn / 2


def _spread(height: int, width: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of pixels all over an array."""
    rows, columns = (np.unique(np.linspace(0, size - 1, SEARCHED).round().astype(int)) for size in (height, width))
    row, column = np.meshgrid(rows, columns, indexing="ij")
    return row.ravel(), column.ravel()


# What stands for coordinates.


def _from_transform(view: CubeView, crs: CRS | None) -> Grid | str:
    if crs is None:
        return "no CRS"
    for a, b, c, d, e, f in _transforms(view):
        if (a, b, d, abs(e)) != (1, 0, 0, 1):  # which is what an image without a place on the ground has
            rows, columns = (axis + 0.5 for axis in _spread(view.sizes[view.y], view.sizes[view.x]))
            x, y = a * columns + b * rows + c, d * columns + e * rows + f
            return Grid(x, y, (b, e), (a, d), crs, f"{_name(crs)}, affine transform")
    return "no affine transform"


def _transforms(view: CubeView) -> Iterator[tuple[float, ...]]:
    """Yield affine transforms as rows of a matrix, from positions to x and y."""
    for attrs in grid_mappings(view):
        numbers = _as_numbers(attrs.get("GeoTransform"))
        if len(numbers) == 6:
            c, a, b, f, d, e = numbers  # GDAL's order
            yield a, b, c, d, e, f
    yield from told_transforms(view)


def told_transforms(view: CubeView) -> Iterator[tuple[float, ...]]:
    """Yield the affine transforms that properties tell, as rows of a matrix, from positions to x and y."""
    for name in TRANSFORMS:
        found = {_as_numbers(value)[:6] for value in item_property(view, name) or ()}
        if len(found) == 1 and len(next(iter(found))) == 6:
            yield found.pop()


def _as_numbers(value: Any) -> tuple[float, ...]:
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    numbers = [as_number(part) for part in parts] if isinstance(parts, list | tuple | np.ndarray) else []
    return tuple(number for number in numbers if number is not None)


def _from_curvilinear(view: CubeView, crs: CRS | None) -> Grid | str:
    """Take latitude and longitude of every pixel, of which a few are read; dask would make many of them."""
    middle = {dim: slice((view.sizes[dim] - 1) // 2, (view.sizes[dim] - 1) // 2 + 2) for dim in (view.y, view.x)}
    found = [_curvilinear(view, names) for names in (LATITUDES, LONGITUDES)]
    cut = [coord.isel(middle).transpose(view.y, view.x).values for coord in found if coord is not None]
    if len(cut) < 2:
        return "no latitudes and longitudes"
    base = geographic(crs)
    y, x = (np.asarray(values, "float64") * DEGREE / si(base) for values in cut)
    turn = 2 * math.pi / si(base)
    row = None if y.shape[0] < 2 else (_wrapped(x[1, 0] - x[0, 0], turn), float(y[1, 0] - y[0, 0]))
    column = None if y.shape[1] < 2 else (_wrapped(x[0, 1] - x[0, 0], turn), float(y[0, 1] - y[0, 0]))
    return Grid(x[0, :1], y[0, :1], row, column, base, "latitude and longitude of every pixel")


def _curvilinear(view: CubeView, names: tuple[str, ...]) -> xr.DataArray | None:
    for name, coord in view.source.coords.items():
        unit = _unit(coord)
        meant = (
            name in names
            or coord.attrs.get("standard_name") in names
            or DIRECTIONS.get(unit.partition("_")[2]) == names
        )
        cheap = set(coord.dims) == {view.y, view.x} and coord.chunks is None and coord.dtype.kind == "f"
        if meant and cheap and ANGLES.get(unit, DEGREE) == DEGREE:
            return view.source.coords[name]
    return None
