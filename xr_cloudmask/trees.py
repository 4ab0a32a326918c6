"""``tree.cloudmask``: products that xarray opens as a DataTree."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xr_cloudmask.cube import trees
from xr_cloudmask.prediction import predict


class CloudmaskTreeAccessor:
    """Cloud masks for products that are trees of groups: EOPF, GeoZarr.

    Examples
    --------
    >>> import xr_cloudmask
    >>> scene = xr_cloudmask.simulate.series(dates=1, size=(96, 96)).isel(time=0).drop_vars("truth")
    >>> groups = {"measurements/reflectance/r10m": scene[["B02", "B03", "B04", "B08"]]}
    >>> tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=scene.attrs), **groups})
    >>> dict(tree.cloudmask.predict(sensor="sentinel-2")["cloud_fraction"].sizes)
    {}
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        found = trees.scenes(self._tree)
        return f"cloud masks for {len(found)} product{'s' * (len(found) != 1)} in a tree: {', '.join(found)}"

    def cube(self, resolution: float | None = None) -> xr.Dataset:
        """Return the bands of a product on one grid; lazy where they are.

        Parameters
        ----------
        resolution : float, optional
            Pixel size in units of the CRS; by default the finest there is. Any that the sizes of the groups divide, or
            are multiples of.

        Returns
        -------
        Dataset
            A variable per band ``(y, x)``, with the product's metadata, its CRS, and the sun's mean position where
            ``conditions/geometry`` tells it. A band that the product has at this size is taken as it is. Finer ones are
            averaged in whole blocks, float, no data where a pixel of the block is; pixels of coarser ones are repeated.

        Raises
        ------
        CubeError
            No bands, several products, or grids that are not nested.

        Examples
        --------
        >>> import numpy as np
        >>> def group(step, name):
        ...     axis = np.arange(step / 2, 120, step)
        ...     return xr.Dataset({name: (("y", "x"), np.ones((axis.size, axis.size)))}, {"y": -axis, "x": axis})
        >>> tree = xr.DataTree.from_dict({"r10m": group(10, "b04"), "r20m": group(20, "b11")})
        >>> {name: band.shape for name, band in tree.cloudmask.cube(20).items()}
        {'b04': (6, 6), 'b11': (6, 6)}
        """
        return trees.cube_of(self._tree, resolution)

    def predict(self, model: str = "auto", *, grid: float | None = None, **keywords: Any) -> xr.DataTree:
        """Predict a mask of each product in the tree; lazy where they are.

        Parameters
        ----------
        model : str, default 'auto'
        grid : float, optional
            Pixel size of the mask: `cube`'s ``resolution``.
        **keywords
            Of `xr_cloudmask.predict`.

        Returns
        -------
        DataTree
            What `xr_cloudmask.predict` returns, where each product lies in the tree; at the root for one product.

        Raises
        ------
        CloudMaskError
            As `cube` and `xr_cloudmask.predict`.
        """
        found = trees.scenes(self._tree)
        made = {path: predict(trees.cube_of(node, grid), model, **keywords) for path, node in found.items()}
        root = self._tree.path.rstrip("/")
        return xr.DataTree.from_dict({path.removeprefix(root) or "/": mask for path, mask in made.items()})
