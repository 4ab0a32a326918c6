"""Products that xarray opens as trees: their bands, which lie in a group for each pixel size, on one grid.

EOPF keeps reflectance in ``/measurements/reflectance/r10m``, ``r20m`` and ``r60m``; GeoZarr keeps the levels of a
pyramid side by side. Both are found by what their groups hold.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.mapping import placed
from xr_cloudmask.cube.metadata import read
from xr_cloudmask.cube.nodata import declared_nodata
from xr_cloudmask.errors import CubeError, listed

MEASUREMENTS = ("measurements/reflectance", "measurements/radiance", "measurements")  # of EOPF, the best first
SUN_ANGLES = "conditions/geometry/mean_sun_angles"
ALIGNED = 0.01  # of a pixel


@dataclass(frozen=True)
class Group:
    """The bands of a group of a tree.

    Attributes
    ----------
    path : str
    view : CubeView
    pixel : float
        Units of the CRS from column to column.
    corner : tuple of (float, float)
        The outer corner of the first pixel, x and y.
    """

    path: str
    view: CubeView
    pixel: float
    corner: tuple[float, float]

    @classmethod
    def of(cls, path: str, node: xr.Dataset) -> Group | None:
        """Take the bands of a group; None where it holds none, or their pixels have no place."""
        layers = {name: values for name, values in node.data_vars.items() if values.dtype.kind in "iuf"}
        try:
            view = layout.view(node[[name for name, values in layers.items() if values.ndim > 1]])
        except CubeError:
            return None
        coords, _ = placed(view)
        if view.y not in coords or view.x not in coords or min(view.sizes[view.y], view.sizes[view.x]) < 2:
            return None
        axes = [np.asarray(coords[dim].values, "float64") for dim in (view.x, view.y)]
        steps = [(axis[-1] - axis[0]) / (axis.size - 1) for axis in axes]
        corner = tuple(float(axis[0] - step / 2) for axis, step in zip(axes, steps, strict=True))
        return cls(path, view, abs(float(steps[0])), (corner[0], corner[1]))


def scenes(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Return the products in a tree by their paths: the groups that have measurements, else the tree itself."""
    found = {node.path: node for node in tree.subtree if "measurements" in node.children}
    return found or {tree.path: tree}


def cube_of(tree: xr.DataTree, resolution: float | None = None) -> xr.Dataset:
    """Return the bands of a product on one grid; lazy where they are.

    Parameters
    ----------
    tree : DataTree
        One product: bands in groups whose grids are nested.
    resolution : float, optional
        Pixel size in units of the CRS; by default the finest there is.

    Returns
    -------
    Dataset
        A variable per band, with the metadata of the product. A band that the product has at this size is taken as it
        is. Finer ones are averaged in whole blocks, no data where a pixel of the block is; pixels of coarser ones are
        repeated.

    Raises
    ------
    CubeError
        No bands, several products, or grids that are not nested.
    """
    products = scenes(tree)
    if len(products) > 1:
        raise CubeError(
            f"a tree of {len(products)} products: {listed(products)}",
            "one product",
            f"tree[{next(iter(products))!r}].cloudmask.cube(), or tree.cloudmask.predict() for each of them",
        )
    (product,) = products.values()
    groups = sorted(_groups(product), key=lambda group: group.pixel)
    if not groups:
        raise CubeError(
            f"a tree without bands in its groups {listed(node.path for node in tree.subtree)}",
            "groups with variables (y, x) and their coordinates, such as /measurements/reflectance/r10m",
            "tree['/path/of/a/group'].to_dataset()",
        )
    wanted = groups[0].pixel if resolution is None else float(resolution)
    target = _nearest(groups, wanted)
    bands: dict[str, xr.Variable] = {}
    for name in dict.fromkeys(name for group in groups for name in group.view.bands):
        source = _nearest([group for group in groups if name in group.view.bands], wanted)
        _require_nested(source, target, wanted)
        bands[name] = _resampled(source, wanted, name)
    grid = _grid(target, wanted)
    whole = xr.Dataset(coords=grid)
    cut = {
        dim: slice(min(whole.sizes[dim], *(band.sizes[dim] for band in bands.values())))
        for dim in (target.view.y, target.view.x)
    }
    arrays = {name: band.isel(cut) for name, band in bands.items()}
    return xr.Dataset(arrays, whole.isel(cut).coords, _attrs(product, tree)).assign_coords(_sun(product))


def _groups(product: xr.DataTree) -> Iterator[Group]:
    start = next((product[path] for path in MEASUREMENTS if _has(product, path)), product)
    for node in start.subtree:
        group = Group.of(node.path, node.to_dataset()) if node.data_vars else None
        if group is not None:
            yield group


def _has(tree: xr.DataTree, path: str) -> bool:
    return any(node.path == f"{tree.path.rstrip('/')}/{path}" for node in tree.subtree)


def _nearest(groups: Sequence[Group], wanted: float) -> Group:
    """Return the coarsest group that is not coarser than wanted; else the finest."""
    fitting = [group for group in groups if group.pixel <= wanted * (1 + ALIGNED)]
    return max(fitting, key=lambda group: group.pixel) if fitting else min(groups, key=lambda group: group.pixel)


def _steps(pixel: float, wanted: float) -> tuple[int, int]:
    """Return how often a pixel is repeated, and how many of these are averaged then."""
    ratio = wanted / pixel
    repeats = next((times for times in range(1, 61) if abs(ratio * times - round(ratio * times)) < ALIGNED), 0)
    return repeats, round(ratio * repeats)


def _require_nested(source: Group, target: Group, wanted: float) -> None:
    repeats, averaged = _steps(source.pixel, wanted)
    apart = max(abs(a - b) for a, b in zip(source.corner, target.corner, strict=True))
    if not repeats or not averaged or apart > ALIGNED * target.pixel:
        raise CubeError(
            f"pixels of {source.pixel:g} in {source.path!r}, at {source.corner}, for a grid of {wanted:g} at "
            f"{target.corner}",
            "grids with one corner, whose pixel sizes are multiples",
            f"tree[{source.path!r}].to_dataset(), brought to the other grid by rioxarray or odc-geo",
        )


def _grid(group: Group, wanted: float) -> xr.Coordinates:
    """Return the coordinates of a group at a pixel size."""
    view, (coords, _), (repeats, averaged) = group.view, placed(group.view), _steps(group.pixel, wanted)
    if repeats == averaged == 1:
        return coords
    known = coords.to_dataset()
    known = known.drop_vars([name for name, coord in known.coords.items() if {view.y, view.x} & set(coord.dims)])
    for dim, corner in ((view.x, group.corner[0]), (view.y, group.corner[1])):
        step = math.copysign(wanted, coords[dim].values[-1] - coords[dim].values[0])
        axis = corner + step * (np.arange(view.sizes[dim] * repeats // averaged) + 0.5)
        known = known.assign_coords({dim: xr.Variable(dim, axis, coords[dim].attrs)})
    return known.coords


def _resampled(group: Group, wanted: float, name: str) -> xr.Variable:
    """Return a band of a group at a pixel size."""
    view, (repeats, averaged) = group.view, _steps(group.pixel, wanted)
    band = view.bands[name].variable
    out = band if repeats == 1 else _repeated(band, view, repeats)
    out = out if averaged == 1 else _averaged(out, view, averaged)
    kept = {key: value for key, value in band.encoding.items() if "chunk" not in key}
    mapping = placed(view)[1]
    return xr.Variable(out.dims, out.data, band.attrs, kept | ({} if mapping is None else {"grid_mapping": mapping}))


def _repeated(band: xr.Variable, view: CubeView, times: int) -> xr.Variable:
    values = band.data
    for dim in (view.y, view.x):
        values = np.repeat(values, times, axis=band.dims.index(dim))
    return xr.Variable(band.dims, values, band.attrs, band.encoding)


def _averaged(band: xr.Variable, view: CubeView, pixels: int) -> xr.Variable:
    """Return the means of whole blocks, as floats; NaN where a pixel of the block is no data."""
    nodata = declared_nodata(xr.DataArray(band)) if band.dtype.kind in "iu" else ()
    values = band.astype(np.result_type(band.dtype, np.float32))
    values = values.where(~np.isin(band.data, nodata)) if nodata else values
    means: xr.Variable = values.coarsen({view.y: pixels, view.x: pixels}, np.mean, boundary="trim")
    return means


def _attrs(product: xr.DataTree, tree: xr.DataTree) -> dict[Hashable, Any]:
    attrs = dict(tree.attrs) | dict(product.attrs)
    return {key: value for key, value in attrs.items() if key not in ("multiscales", "zarr_conventions")}


def _sun(product: xr.DataTree) -> dict[str, Any]:
    """Return the mean position of the sun as coordinates, where the product tells it."""
    if not _has(product, SUN_ANGLES.rpartition("/")[0]):
        return {}
    angles = product[SUN_ANGLES.rpartition("/")[0]].to_dataset().get(SUN_ANGLES.rpartition("/")[2])
    if angles is None or angles.ndim != 1:
        return {}
    names = angles.coords[angles.dims[0]].values.tolist() if angles.dims[0] in angles.coords else ["zenith", "azimuth"]
    told = dict(zip(map(str, names), read(angles).tolist(), strict=False))
    if not {"zenith", "azimuth"} <= set(told) or not all(map(math.isfinite, told.values())):
        return {}
    return {"view:sun_elevation": 90 - told["zenith"], "view:sun_azimuth": told["azimuth"]}
