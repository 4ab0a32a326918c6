"""What the first kilobytes of a raster file tell, where its item says too little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xr_cloudmask.errors import FileError, first_cause
from xr_cloudmask.limits import require_pixels
from xr_cloudmask.stac.assets import AssetBand
from xr_cloudmask.stac.http import gdal_environment, open_raster, patiently
from xr_cloudmask.stac.places import Place

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

SceneBands: TypeAlias = dict[str, AssetBand]  # the bands of an item, by name
Patch: TypeAlias = Callable[[str], str]


@dataclass(frozen=True)
class Header:
    """Grid and data type of a raster file; `striped` where its blocks are whole rows."""

    grid: GeoBox
    dtype: str
    nodata: float | None
    striped: bool


def completed(
    items: Sequence[Item],
    scenes: Sequence[SceneBands],
    pool: Executor,
    patch_url: Patch,
    origin: Place = Place.MACHINE,
) -> tuple[list[SceneBands], bool]:
    """Fill in what items do not say, from as few headers as will do.

    Where grids are missing, the header of an item's first such file tells, and stands for the other bands of the
    item; where only data types are missing, one header per asset of a collection.

    Returns
    -------
    scenes : list of dict
        Sources whose grid and dtype are known.
    striped : bool
        Whether a file that was looked at is stored in whole rows.
    """
    gridless = [next((band for band in scene.values() if band.grid is None), None) for scene in scenes]

    def header_of(band: AssetBand | None) -> Header | None:
        return None if band is None else read(patch_url(band.href), origin)

    headers = list(pool.map(header_of, gridless))
    found = [
        scene if header is None else _on_grid(scene, header) for scene, header in zip(scenes, headers, strict=True)
    ]
    kinds = {
        (item.collection_id, band.asset): band
        for item, scene in reversed(list(zip(items, found, strict=True)))
        for band in scene.values()
        if band.dtype is None
    }
    types = dict(zip(kinds, pool.map(header_of, kinds.values()), strict=True))
    complete = [
        {name: _of_kind(band, types.get((item.collection_id, band.asset))) for name, band in scene.items()}
        for item, scene in zip(items, found, strict=True)
    ]
    return complete, any(header.striped for header in (*headers, *types.values()) if header is not None)


def read(href: str, origin: Place = Place.MACHINE) -> Header:
    """Read the header of a raster file.

    Raises
    ------
    FileError
        GDAL cannot read it, it lies nowhere on the ground, or it is absurdly large.
    """
    from rasterio.errors import RasterioError

    try:
        with gdal_environment():  # here: a thread does not inherit it
            return patiently(href, lambda: _header(href, origin))
    except RasterioError as error:
        raise FileError(
            f"{href}, which GDAL cannot read: {first_cause(error)}",
            "a raster in a format that GDAL reads",
            f"gdalinfo {href}; signed addresses expire: patch_url= signs them when they are opened",
        ) from error


def _header(href: str, origin: Place) -> Header:
    from odc.geo.geobox import GeoBox

    with open_raster(href, origin) as file:
        require_pixels(href, *file.shape)
        if file.crs is None:
            raise FileError(f"{href} without a CRS", "a georeferenced raster", "gdal_edit -a_srs EPSG:32723 ...")
        striped = file.block_shapes[0][1] == file.width  # tiles have a width of their own
        return Header(GeoBox.from_rio(file), file.dtypes[0], file.nodata, striped)


def _on_grid(scene: SceneBands, header: Header | None) -> SceneBands:
    if header is None:
        return scene
    looked_at = next(band for band in scene.values() if band.grid is None)

    def with_header(band: AssetBand) -> AssetBand:
        # A type that proves wrong for one band (INPE's items say int16) is wrong wherever it is stated.
        dtype = header.dtype if band.dtype in (looked_at.dtype, None) else band.dtype
        return _typed(replace(band, grid=header.grid), dtype, header.nodata)

    return {name: with_header(band) if band.grid is None else band for name, band in scene.items()}


def _of_kind(band: AssetBand, header: Header | None) -> AssetBand:
    if band.dtype is not None or header is None:
        return _typed(band, band.dtype)
    return _typed(band, header.dtype, header.nodata)


def _typed(band: AssetBand, dtype: str | None, *nodata: float | None) -> AssetBand:
    """Give a band its type, and the first no-data value that a pixel of the type can have."""
    numbers = (number for number in (band.nodata, *nodata) if number is not None and fits(number, dtype))
    return replace(band, dtype=dtype, nodata=next(numbers, None))


def fits(number: float, dtype: Any) -> bool:
    """Whether a pixel of a data type can have a value; any can where the type is unknown."""
    if dtype is None or np.dtype(dtype).kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return limits.min <= number <= limits.max and number == int(number)
