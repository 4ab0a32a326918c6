"""Items as one lazy cube, with everything that turns its numbers into reflectance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from xr_cloudmask.errors import StacError
from xr_cloudmask.files.raster import CHUNK
from xr_cloudmask.stac import http
from xr_cloudmask.stac.assets import AssetBand, default_bands, source
from xr_cloudmask.stac.facts import Facts, by_date, columns, said_of_dates
from xr_cloudmask.stac.headers import Patch, SceneBands, completed
from xr_cloudmask.stac.items import understood, valid
from xr_cloudmask.stac.searching import moment, ordered

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item


def load(
    items: Iterable[Item],
    bands: Sequence[str] | None = None,
    *,
    chunks: Mapping[str, int] | None = None,
    geobox: GeoBox | None = None,
    crs: Any = None,
    resolution: float | None = None,
    bbox: Sequence[float] | None = None,
    intersects: Any = None,
    patch_url: Patch | None = None,
) -> xr.Dataset:
    """Make a lazy cube of STAC items that `predict` and `reflectance` understand without an argument.

    Pixels are read by odc-stac when they are computed. Everything it does not keep is added: what a band measures,
    scale and offset, item properties of every date, and for digital numbers of CBERS and Amazonia-1 what their XML
    assets say.

    Parameters
    ----------
    items : iterable of pystac.Item
        Of one sensor; not modified. Every item is a date of its own, for each has its own calibration.
    bands : sequence of str, optional
        Keys of assets, names of their bands or STAC common names; the variables are called so. By default the
        spectral bands that all items have, but for the panchromatic one. An item that lacks one is an error.
    chunks : mapping of str to int, optional
        Chunk sizes of ``y`` and ``x`` in pixels. By default 2048, and whole rows as many pixels large where files
        without projection metadata turn out to be stored in rows, as INPE's are.
    geobox : odc.geo.geobox.GeoBox, optional
        The grid of the cube. By default the grid of the items' finest band, or the union of the items' grids.
    crs : str or CRS, optional
        Another coordinate reference system; with `resolution`.
    resolution : float, optional
        Another pixel size, in units of the CRS; read from overviews where the files have them.
    bbox : sequence of float, optional
        West, south, east, north in degrees, to which the cube is cut.
    intersects : geometry, optional
        GeoJSON or ``__geo_interface__`` in longitude and latitude, instead of `bbox`; cuts to its bounding box.
    patch_url : callable, optional
        What to do to every address before it is opened, such as ``planetary_computer.sign``.

    Returns
    -------
    Dataset
        A dask variable ``(time, y, x)`` per band, in the files' own dtype and numbers; dates in order. Attributes
        ``common_name``, ``center_wavelength`` and ``full_width_half_max`` (µm), ``scale_factor``, ``add_offset`` and
        ``nodata`` as stated; scale and offset are not applied. Coordinates along time: ``id``, ``collection``,
        ``platform``, ``eo:cloud_cover`` (NaN where it is null), processing baseline, sun angles … as stated; and
        ``scale_factor:red``, ``add_offset:red`` … instead of the attributes where dates differ in them.

    Raises
    ------
    BandError
        An item lacks a band.
    FileError
        A header or an XML file cannot be read.
    StacError
        There are no items, they do not make a grid, or only some of them state the scale of a band.

    Notes
    -----
    Items with projection metadata and data types cost no request. Of an item without projection, as on the Brazil Data
    Cube, the header of the first band's file is read, and stands for its other bands; where only data types are
    missing, as on the Planetary Computer, a header per band and collection. Of digital numbers of CBERS and
    Amazonia-1, one XML file per item is read.

    Examples
    --------
    >>> import xr_cloudmask
    >>> xr_cloudmask.stac.load([])
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.StacError: found: no items
    expected: at least one
    try: search for a larger area, or for more dates
    """
    grid = {"geobox": geobox, "crs": crs, "resolution": resolution, "bbox": bbox, "intersects": intersects}
    return describe(items, bands, patch_url).cube(chunks=chunks, **grid)


@dataclass(frozen=True)
class Described:
    """Items of which everything is known but the pixels.

    Attributes
    ----------
    items : tuple of pystac.Item
        By date.
    scenes : tuple of dict
        Their bands, with grid and data type.
    facts : tuple of dict
        What each says of its date, and INPE's XML of it.
    striped : bool
        Whether a file was seen to be stored in whole rows.
    patch : callable
        What to do to every address before it is opened.
    """

    items: tuple[Item, ...]
    scenes: tuple[SceneBands, ...]
    facts: tuple[Facts, ...]
    striped: bool
    patch: Patch

    @property
    def grid(self) -> GeoBox:
        """The finest grid of the first item."""
        grids = [band.grid for band in self.scenes[0].values() if band.grid is not None]
        return min(grids, key=lambda grid: abs(grid.resolution.x))

    def cube(self, geobox: GeoBox | None = None, chunks: Mapping[str, int] | None = None, **grid: Any) -> xr.Dataset:
        """Return the lazy cube, see `load`."""
        with understood("items"):
            return self._cube(geobox, chunks, grid)

    def _cube(self, geobox: GeoBox | None, chunks: Mapping[str, int] | None, grid: Mapping[str, Any]) -> xr.Dataset:
        cube = _read_later(_plain_items(self), _chunks(chunks, self), {"geobox": geobox, **grid})
        along_time = columns(self.facts)
        for name, band in cube.items():
            sources = [scene[str(name)] for scene in self.scenes]
            said, dated = by_date(str(name), [source.attrs for source in sources])
            band.attrs = said | _nodata(sources[0].nodata)
            along_time |= {f"{key}:{name}": factors for key, factors in dated.items()}
        return cube.assign_coords({key: ("time", values) for key, values in along_time.items()})


def describe(items: Iterable[Item], bands: Sequence[str] | None, patch_url: Patch | None) -> Described:
    """Gather what items say of themselves, and from headers and XML files what they do not say; see `load`."""
    dated = ordered(valid(items))
    if not dated:
        raise StacError("no items", "at least one", "search for a larger area, or for more dates")
    with understood(f"{len(dated)} items"):
        return _described(dated, bands, patch_url)


def _described(dated: Sequence[Item], bands: Sequence[str] | None, patch_url: Patch | None) -> Described:
    names = default_bands(dated) if bands is None else list(dict.fromkeys(bands))
    stated = [{name: source(item, name) for name in names} for item in dated]
    patch = patch_url or str
    with ThreadPoolExecutor(http.CONNECTIONS) as pool:
        scenes, striped = completed(dated, stated, pool, patch)
    return Described(tuple(dated), tuple(scenes), tuple(said_of_dates(dated, patch)), striped, patch)


def _plain_items(described: Described) -> list[Item]:
    """Return items that say what odc-stac asks for, and nothing else: an asset per band, in one dialect."""
    from pystac import Asset, Item
    from pystac.extensions.projection import ProjectionExtension

    projection = [ProjectionExtension.get_schema_uri()]
    plain = []
    for item, scene in zip(described.items, described.scenes, strict=True):
        of_item = Item(
            item.id, item.geometry, item.bbox, moment(item), {}, stac_extensions=projection, collection="scenes"
        )
        for name, band in scene.items():
            href = described.patch(band.href)
            of_item.add_asset(name, Asset(href, media_type="image/tiff", extra_fields=_stated(band)))
        plain.append(of_item)
    return plain


def _stated(band: AssetBand) -> dict[str, Any]:
    grid = band.grid
    assert grid is not None and grid.crs is not None  # noqa: S101, PT018 - headers.completed has seen to it
    crs = {"proj:code": f"EPSG:{grid.crs.epsg}"} if grid.crs.epsg else {"proj:wkt2": grid.crs.to_wkt()}
    return crs | {
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
        "raster:bands": [{"data_type": band.dtype} | _nodata(band.nodata)],
    }


def _nodata(number: float | None) -> dict[str, float]:
    return {} if number is None else {"nodata": number}


def _read_later(items: Sequence[Item], chunks: Mapping[str, int], grid: Mapping[str, Any]) -> xr.Dataset:
    import odc.stac

    from xr_cloudmask.stac.reader import PatientDriver

    given = {name: value for name, value in grid.items() if value is not None}
    try:
        # odc-stac hands the environment that it finds here to the workers. No grouping: every item is a date; they
        # come sorted, so that the order of the items is that of the dates.
        with http.gdal_environment():
            cube: xr.Dataset = odc.stac.load(
                items,
                groupby="id",
                chunks=dict(chunks),
                driver=PatientDriver(),
                fuse_func="numpy.copyto",  # a date is a file per band: there are no gaps to look for and fill
                **given,
            )
    except ValueError as error:
        raise StacError(
            f"items that make no grid with {given or 'their own projections'}: {error}",
            "geobox=; or crs= and resolution=, with bbox= or intersects= for less than all",
            "crs='EPSG:32723', resolution=10",
        ) from error
    return cube


def _chunks(given: Mapping[str, int] | None, described: Described) -> Mapping[str, int]:
    if given is not None:
        unknown = sorted(set(given) - {"y", "x"})
        if unknown:
            raise StacError(f"chunks of {unknown}", "chunks of 'y' and 'x'", "chunks={'y': 2048, 'x': 2048}")
        return {"y": CHUNK, "x": CHUNK} | dict(given)
    if not described.striped:
        return {"y": CHUNK, "x": CHUNK}
    width = max(band.grid.shape[1] for scene in described.scenes for band in scene.values() if band.grid is not None)
    return {"y": max(1, CHUNK * CHUNK // width), "x": -1}
