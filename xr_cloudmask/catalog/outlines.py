"""Outlines in longitude and latitude as RFC 7946 has them: cut where they cross the antimeridian."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

HALF, WHOLE = 180.0, 360.0  # degrees

Point = Sequence[float]


def split(outline: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an outline, GeoJSON, of which no part crosses the antimeridian; itself where none does.

    Examples
    --------
    >>> ring = [[179.5, 0], [-179.5, 0], [-179.5, 1], [179.5, 1], [179.5, 0]]
    >>> cut = split({"type": "Polygon", "coordinates": [ring]})
    >>> cut["type"], box_of(cut)
    ('MultiPolygon', [179.5, 0.0, -179.5, 1.0])
    """
    from shapely.geometry import mapping, shape

    if outline is None:
        return None
    whole = shape(outline)
    cut = split_shape(whole)
    return outline if cut is whole else mapping(cut)


def split_shape(outline: Any) -> Any:
    """Return a geometry of which no part crosses the antimeridian; itself where none does, or where it has no area."""
    from shapely.geometry import MultiPolygon

    polygons = getattr(outline, "geoms", [outline])
    if not any(_crosses(polygon) for polygon in polygons):
        return outline
    parts = [part for polygon in polygons for part in _parts(polygon)]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def box_of(outline: dict[str, Any] | None) -> list[float] | None:
    """Return west, south, east, north; west is larger than east where an outline lies on both sides."""
    from shapely.geometry import shape

    if outline is None:
        return None
    geometry = shape(outline)
    west, south, east, north = geometry.bounds
    parts = [part.bounds for part in getattr(geometry, "geoms", [geometry])]
    if (west, east) == (-HALF, HALF) and len(parts) > 1:
        west = min(bounds[0] for bounds in parts if bounds[2] == HALF)
        east = max(bounds[2] for bounds in parts if bounds[0] == -HALF)
    return [west, south, east, north]


def _crosses(polygon: Any) -> bool:
    """Whether neighbouring corners are on both sides; those of a world map are as far apart as can be."""
    if polygon.geom_type != "Polygon":
        return False
    corners = list(polygon.exterior.coords)
    return any(HALF < abs(b[0] - a[0]) < WHOLE for a, b in itertools.pairwise(corners))


def _parts(polygon: Any) -> list[Any]:
    from shapely.affinity import translate
    from shapely.geometry import Polygon, box

    if not _crosses(polygon):
        return [polygon]
    rings = [_unwrapped(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    first = rings[0][0][0]
    moved = [[(x + WHOLE * round((first - ring[0][0]) / WHOLE), y) for x, y in ring] for ring in rings]
    whole = Polygon(moved[0], moved[1:]).buffer(0)
    found = []
    for turn in (-1, 0, 1, 2):
        world = box(WHOLE * turn - HALF, -HALF / 2, WHOLE * turn + HALF, HALF / 2)
        piece = translate(whole.intersection(world), xoff=-WHOLE * turn)
        found += [part for part in getattr(piece, "geoms", [piece]) if part.geom_type == "Polygon" and part.area > 0]
    return found


def _unwrapped(ring: Sequence[Point]) -> list[tuple[float, float]]:
    """Return a ring without jumps; one around a pole goes there and back."""
    points = [(float(ring[0][0]), float(ring[0][1]))]
    for x, y, *_ in ring[1:]:
        points.append((x + WHOLE * round((points[-1][0] - x) / WHOLE), y))
    turned = points[-1][0] - points[0][0]
    if abs(turned) > HALF:
        pole = HALF / 2 if sum(y for _, y in points) > 0 else -HALF / 2
        points += [(points[-1][0], pole), (points[0][0], pole), points[0]]
    return points
