"""Read a cube's coordinate reference system, wherever loaders put it."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.metadata import item_property

if TYPE_CHECKING:
    import xarray as xr
    from pyproj import CRS

    from xr_cloudmask.cube.layout import CubeView

GRID_MAPPING_KEYS = ("crs_wkt", "spatial_ref", "proj4", "proj4text", "epsg_code")  # CF, GDAL, and habits
# Of the cube: STAC's and stackstac's, satpy's and old rasterio's, and the number that odc-geo gives its grid mapping.
PROPERTIES = ("proj:code", "proj:epsg", "epsg", "proj:wkt2", "proj:projjson", "crs", "spatial_ref")


def coordinate_reference_system(view: CubeView) -> CRS | None:
    """Return the first CRS that can be read, None where none can.

    Parameters
    ----------
    view : CubeView
        The cube. CF grid mappings come first, then the CRS of an index, then properties such as ``proj:code`` and
        stackstac's ``epsg``.

    Returns
    -------
    pyproj.CRS or None
        Computes nothing but scalar coordinates.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> cube = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), attrs={"epsg": "EPSG:32723"})
    >>> coordinate_reference_system(layout.view(cube)).name
    'WGS 84 / UTM zone 23S'
    >>> coordinate_reference_system(layout.view(cube.assign_attrs(epsg=0))) is None
    True
    """
    return next((crs for crs in map(read_crs, _stated(view)) if crs is not None), None)


def read_crs(value: Any) -> CRS | None:
    """Read whatever stands for a CRS: WKT, PROJ text, a code, a CF grid mapping, an object of another library."""
    from pyproj import CRS

    if isinstance(value, str):
        value = str(value).strip()  # not NumPy's, which pyproj refuses
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "+init=" is deprecated, and still in files
        try:
            is_cf = isinstance(value, Mapping) and "grid_mapping_name" in value
            crs = CRS.from_cf(dict(value)) if is_cf else CRS.from_user_input(value)
        except Exception:  # a file may hold anything, and pyproj has no one error for it
            return None
    return crs if len(crs.axis_info) >= 2 else None  # a height alone places no pixel


def grid_mappings(view: CubeView) -> Iterator[Mapping[str, Any]]:
    """Yield the attributes of the cube's grid mapping variable, then of other scalars that could be one."""
    source: Any = view.source
    variables: Mapping[Hashable, xr.Variable] = getattr(source, "variables", source.coords.variables)
    # CF allows "crs: x y" as well.
    named = (view.grid_mapping or "").split(":")[0]
    names = [name for name, variable in variables.items() if variable.ndim == 0]
    for name in sorted(names, key=lambda name: name != named):
        yield variables[name].attrs


def _stated(view: CubeView) -> Iterator[Any]:
    for attrs in grid_mappings(view):
        yield from (attrs[key] for key in GRID_MAPPING_KEYS if key in attrs)
        if "grid_mapping_name" in attrs:
            yield {key: value for key, value in attrs.items() if key not in GRID_MAPPING_KEYS}
    for index in view.source.xindexes.get_unique():
        yield getattr(index, "crs", None)
    for name in PROPERTIES:
        values = item_property(view, name) or ()
        if len({str(value) for value in values}) == 1:  # dates on several grids have no grid in common
            yield values[0]
