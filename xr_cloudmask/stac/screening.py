"""Which items are worth loading: cloud fractions of an area, estimated from overviews."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from xr_cloudmask.cog import WGS84
from xr_cloudmask.cube.metadata import as_number
from xr_cloudmask.errors import StacError, refusing
from xr_cloudmask.masks.coverage import coverage, limit, warn_of
from xr_cloudmask.masks.schemes import scheme_of
from xr_cloudmask.models.registry import name_of, warning_of
from xr_cloudmask.names import CLOUD_FRACTION, FRACTIONS, MASK_NAME, VALID_FRACTION
from xr_cloudmask.prediction import predict
from xr_cloudmask.stac.headers import Patch
from xr_cloudmask.stac.items import understood, valid
from xr_cloudmask.stac.loading import describe
from xr_cloudmask.stac.searching import moment, ordered

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from odc.geo import CRS, Geometry
    from odc.geo.geobox import GeoBox
    from pystac import Item

COARSER = (8, 4, 2)  # times the pixel size: at 8, a 64th of the pixels
# The model sees every coarse pixel as 2 x 2. Networks know clouds by their size in pixels: with it, csmask's fractions
# of simulated scenes are within 0.04 of those at full resolution on average, without it within 0.07.
REPEATED = 2
CONTEXT = 128  # pixels along the shorter side, as the model sees them, that it needs to tell clouds from ground
AT_ONCE = 4  # items


class Screening(Sequence["Item"]):
    """The items worth loading, by date, as a sequence; and what was estimated of all.

    Attributes
    ----------
    table : DataFrame
        A row per item that was looked at: index ``id``; ``datetime``, the estimated fractions (0–1, of the valid
        pixels of the area; ``valid_fraction`` of its pixels), ``eo:cloud_cover`` as the catalogue has it (percent, of
        the whole scene), ``keep``, and ``error``, why an item could not be read, else empty.
    """

    def __init__(self, items: Sequence[Item], table: pd.DataFrame) -> None:
        self._items = tuple(items)
        self.table = table

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"{self._summary}\n{self.table}"

    def _repr_html_(self) -> str:
        html: str = self.table.to_html(float_format="{:.3f}".format)
        return f"<p>{self._summary}</p>{html}"

    @property
    def _summary(self) -> str:
        unread = int((self.table["error"] != "").sum())
        return f"{len(self)} of {len(self.table)} items worth loading" + f", {unread} could not be read" * bool(unread)


def screen(
    items: Iterable[Item],
    max_cloud: float = 0.2,
    *,
    area: Any = None,
    resolution: float | None = None,
    model: str | Sequence[str] = "auto",
    bands: Sequence[str] | None = None,
    patch_url: Patch | None = None,
    allow_local: bool = False,
    **options: Any,
) -> Screening:
    """Estimate the cloud fraction of items over an area of interest, and keep those that are clear enough.

    Masks are predicted at a coarse resolution, from overviews where the files have them: of cloud-optimised GeoTIFFs
    a few percent of the bytes are read. Of files without overviews everything is read, although little is kept in
    memory. Computes, four items at a time, on the scheduler or cluster that dask is set to.

    Parameters
    ----------
    items : iterable of pystac.Item
        Of one sensor or several.
    max_cloud : float, default 0.2
        Largest cloud fraction, thick and thin, of the valid pixels, 0–1.
    area : sequence of float or geometry, optional
        West, south, east, north in degrees; or GeoJSON or ``__geo_interface__`` in longitude and latitude, of which
        only the pixels inside count. By default all of each scene.
    resolution : float, optional
        Pixel size of the estimate, in units of the items' CRS. By default eight times that of their finest band; four
        times or twice where the area is so small that the model would see fewer than 128 pixels along a side.
    model : str or sequence of str, default 'auto'
        As in `predict`; a `CoverageWarning` says where it cannot tell how cloudy a scene is, as ``'4-4A'``.
    bands : sequence of str, optional
        As in `load`.
    patch_url : callable, optional
        As in `load`.
    allow_local : bool, default False
        As in `load`.
    **options
        Other keywords of `predict`.

    Returns
    -------
    Screening
        The items worth loading, to be handed to `load`; ``.table`` has the estimates of all. An item without a valid
        pixel in the area is not worth loading, nor is one that cannot be read, whose error is in the table.

    Raises
    ------
    StacError
        There are no items.
    CloudMaskError
        `max_cloud` is no fraction. Every item failed: the error of the first.

    Examples
    --------
    >>> import xr_cloudmask
    >>> xr_cloudmask.stac.screen([], max_cloud=20)
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.CloudMaskError: found: max_cloud=20
    expected: a fraction from 0 to 1
    try: max_cloud=0.2
    """
    import pandas as pd
    from rasterio.errors import NotGeoreferencedWarning

    largest = limit("max_cloud", max_cloud)
    warn_of([warning_of(name_of(model))])
    dated = ordered(valid(items))
    if not dated:
        raise StacError("no items", "at least one", "search for a larger area, or for more dates")

    place = None if area is None else _geometry(area)
    estimate = partial(
        _estimate,
        place=place,
        resolution=resolution,
        model=model,
        bands=bands,
        patch_url=patch_url,
        allow_local=allow_local,
        options=options,
    )
    with warnings.catch_warnings(), ThreadPoolExecutor(AT_ONCE) as pool:
        # rasterio's own filter against it does not hold where threads warp at the same time.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        estimates = list(pool.map(estimate, dated))
    failures = [found for found in estimates if isinstance(found, Exception)]
    if len(failures) == len(dated):
        with refusing(StacError, f"item {dated[0].id!r}, which cannot be read", "pixels of its bands", "load([item])"):
            raise failures[0]
    rows = [_row(item, found, largest) for item, found in zip(dated, estimates, strict=True)]
    kept = [item for item, row in zip(dated, rows, strict=True) if row["keep"]]
    return Screening(kept, pd.DataFrame(rows).set_index("id"))


def _estimate(
    item: Item,
    *,
    place: Geometry | None,
    resolution: float | None,
    model: str | Sequence[str],
    bands: Sequence[str] | None,
    patch_url: Patch | None,
    allow_local: bool,
    options: Mapping[str, Any],
) -> dict[str, float] | Exception:
    """Return the fractions of an item, or why there are none: one bad file must not end the screening of a year."""
    try:
        found = describe([item], bands, patch_url, allow_local)
        with understood(f"item {item.id!r}"):
            region = found.grid.extent if place is None else place.to_crs(_crs(found.grid))
            if not region.intersects(found.grid.extent):
                return {VALID_FRACTION: 0.0}
            grid = _coarse(found.grid, region, resolution)
        seen = _repeated(found.cube(grid).compute())
        mask = predict(seen, model, resolution="native", **options)[MASK_NAME].isel(time=0)
        return _fractions(mask, region, grid.zoom_out(1 / REPEATED))
    except Exception as error:  # items come from outside: what is odd about one ends no screening of the others
        return error


def _geometry(area: Any) -> Geometry:
    from odc.geo import geom

    try:
        if isinstance(area, Sequence) and not isinstance(area, str):
            west, south, east, north = area
            return geom.box(west, south, east, north, WGS84)
        return geom.Geometry(getattr(area, "__geo_interface__", area), WGS84)
    except (KeyError, TypeError, ValueError) as error:
        raise StacError(
            f"area={area!r}: {error}",
            "west, south, east, north in degrees, GeoJSON, or geometries in longitude and latitude",
            "area=(-53.2, -19.5, -45.9, -12.4)",
        ) from error


def _crs(grid: GeoBox) -> CRS:
    assert grid.crs is not None  # noqa: S101 - stac.headers.read refuses rasters without
    return grid.crs


def _coarse(native: GeoBox, region: Geometry, resolution: float | None) -> GeoBox:
    """Return the pixels of the estimate: those of the scene that the area touches."""
    if resolution is None:
        shorter = min((native & native.enclosing(region)).shape)
        factor = next((factor for factor in COARSER if REPEATED * shorter >= factor * CONTEXT), 1)
        coarse = native.zoom_out(factor)
    else:
        coarse = native.zoom_to(resolution=resolution)
    grid: GeoBox = coarse & coarse.enclosing(region)
    return grid


def _repeated(cube: xr.Dataset) -> xr.Dataset:
    space = [dim for dim in cube.dims if dim != "time"]
    pixels = {dim: np.repeat(np.arange(cube.sizes[dim]), REPEATED) for dim in space}
    return cube.isel(pixels).drop_vars(pixels)


def _fractions(mask: xr.DataArray, region: Geometry, grid: GeoBox) -> dict[str, float]:
    from odc.geo.xr import rasterize

    inside = rasterize(region, grid).values
    no_data = scheme_of(mask).no_data
    counted = mask.copy(data=np.where(inside, mask.values, np.uint8(no_data)))
    shares = {str(name): float(value) for name, value in coverage(counted).items()}
    # Of the area, not of the pixels that were read: a part of it may be beyond the scene.
    ground = abs(grid.resolution.x * grid.resolution.y) * counted.size
    return shares | {VALID_FRACTION: min(1.0, shares[VALID_FRACTION] * ground / region.area)}


def _row(item: Item, estimate: dict[str, float] | Exception, max_cloud: float) -> dict[str, Any]:
    fractions = {} if isinstance(estimate, Exception) else estimate
    cloud = fractions.get(CLOUD_FRACTION, math.nan)
    return {
        "id": item.id,
        "datetime": moment(item),
        **{name: fractions.get(name, math.nan) for name in FRACTIONS},
        "eo:cloud_cover": as_number(item.properties.get("eo:cloud_cover")),
        "keep": cloud <= max_cloud,
        "error": str(estimate) if isinstance(estimate, Exception) else "",
    }
