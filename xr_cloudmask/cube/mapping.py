"""A CF grid mapping for what is made of a cube, wherever the cube itself keeps its CRS and its transform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.crs import GRID_MAPPING_KEYS, coordinate_reference_system, grid_mappings, read_crs
from xr_cloudmask.cube.grids import told_transforms
from xr_cloudmask.cube.layout import CubeView, undated
from xr_cloudmask.cube.metadata import item_property

STORABLE = str | int | float | np.number | np.ndarray  # as attributes, in every file format
MAPPING_NAME = "spatial_ref"
STATED = {"grid_mapping_name", "crs_wkt", "spatial_ref"}  # attributes of a grid mapping that CF or GDAL reads
SHAPES = ("spatial:shape", "proj:shape")  # STAC's and GeoZarr's: rows and columns of the array that a transform is of


def placed(view: CubeView) -> tuple[xr.Coordinates, str | None]:
    """Return a cube's coordinates, with what only its attributes or indexes say of its place; reads no pixel.

    Parameters
    ----------
    view : CubeView

    Returns
    -------
    coords : Coordinates
        A CRS that an index (xproj, rasterix) or a property (``proj:code``) states is a grid mapping, too. Where y and x
        have no coordinates, those of a transform without rotation (``spatial:transform``, ``proj:transform``).
    mapping : str or None
        Name of the grid mapping among them, or of none.

    Examples
    --------
    >>> from xr_cloudmask.cube import layout
    >>> attrs = {"proj:code": "EPSG:32723", "spatial:transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 7600000.0]}
    >>> coords, mapping = placed(layout.view(xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), attrs=attrs)))
    >>> mapping, coords["x"].values.tolist()
    ('spatial_ref', [600005.0, 600015.0])
    """
    coords, mapping = view.coords, view.grid_mapping
    if mapping in coords and STATED & set(coords[mapping].attrs) and {view.y, view.x} <= set(coords):
        return coords, mapping  # as nearly all cubes
    known = coords.to_dataset().assign_coords(_axes(view))
    if any(_states_a_crs(attrs) for attrs in grid_mappings(view)):
        return known.coords, mapping
    crs = coordinate_reference_system(view)
    if crs is None:
        return known.coords, mapping
    name = mapping if mapping in known.coords else MAPPING_NAME
    if name not in known.coords:
        known = known.assign_coords({name: 0})
    attrs: dict[str, Any] = crs.to_cf()
    known.coords[name].attrs.update(attrs | {"spatial_ref": attrs["crs_wkt"]})  # GDAL reads the latter
    return known.coords, name


def _states_a_crs(attrs: Any) -> bool:
    return "grid_mapping_name" in attrs or any(read_crs(attrs[key]) for key in GRID_MAPPING_KEYS if key in attrs)


def _axes(view: CubeView) -> dict[str, xr.Variable]:
    """Return y and x of an affine transform, where a cube has no coordinates that place its pixels."""
    transform = next(iter(told_transforms(view)), None)
    sizes = view.shape
    over_space = [set(coord.dims) & {view.y, view.x} for coord in view.source.coords.values()]
    if any(over_space) or transform is None or not _is_of(view, sizes):
        return {}
    a, b, c, d, e, f = transform
    if b or d or not a or not e:
        return {}
    y, x = ((np.arange(size) + 0.5) * step + first for size, step, first in zip(sizes, (e, a), (f, c), strict=True))
    return {view.y: xr.Variable(view.y, y), view.x: xr.Variable(view.x, x)}


def _is_of(view: CubeView, sizes: tuple[int, int]) -> bool:
    """Whether nothing tells that the transform is of an array of another shape, from which the cube was cut."""
    told = [shape for name in SHAPES for shape in item_property(view, name) or ()]
    return all(tuple(shape)[-2:] == sizes for shape in told)


def on_grid(view: CubeView, layers: Mapping[str, tuple[Any, dict[str, Any]]]) -> xr.Dataset:
    """Return arrays ``(date, y, x)`` and their attributes on the cube's grid."""
    coords, mapping = placed(view)
    encoding = {} if mapping is None else {"grid_mapping": mapping}
    variables = {
        name: xr.Variable(view.dims, undated(view, array), attrs, encoding) for name, (array, attrs) in layers.items()
    }
    attrs_of_cube = view.source.attrs if isinstance(view.source, xr.Dataset) else {}
    storable = {key: value for key, value in attrs_of_cube.items() if isinstance(value, STORABLE)}
    return xr.Dataset(variables, coords=coords, attrs=storable)
