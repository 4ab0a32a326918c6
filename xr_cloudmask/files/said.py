"""What GDAL says of a raster before a pixel is read: descriptions, colours, masks and wavelengths of its bands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xr_cloudmask.errors import FileError, first_cause

NUMBERS = re.compile(r"[-+.\deE]+")
HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins
ENVI_SCALE = "reflectance_scale_factor"


@dataclass(frozen=True)
class SaidBand:
    """A band of a raster.

    Attributes
    ----------
    description : str
        Empty where it has none.
    colour : str
        GDAL's colour interpretation: red, nir, alpha, palette, undefined …
    mask : frozenset of str
        GDAL's flags of its mask: all_valid, per_dataset, alpha, nodata; none of a band with a mask of its own.
    attrs : dict
        What rioxarray leaves out of its metadata: wavelengths, and whether it is a bad band.
    """

    description: str
    colour: str
    mask: frozenset[str]
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A raster: its file, the size of its pixels in units of its CRS, its bands."""

    path: Path
    pixel: float
    bands: tuple[SaidBand, ...]


def probe(path: Path) -> Said:
    """Read what a raster says of itself, and its last pixel: a truncated download is told at once."""
    import rasterio
    from rasterio.windows import Window

    _require_whole_hdf(path)
    with readable(path), rasterio.open(path) as source:
        if not source.count:
            raise several(path)
        source.read(source.count, window=Window(source.width - 1, source.height - 1, 1, 1))
        parts = zip(source.descriptions, source.colorinterp, source.mask_flag_enums, _attrs(source), strict=True)
        bands = tuple(
            SaidBand((text or "").strip(), colour.name, frozenset(flag.name for flag in flags), attrs)
            for text, colour, flags, attrs in parts
        )
        return Said(path, float(abs(source.res[0])), bands)


def _require_whole_hdf(path: Path) -> None:
    """Refuse a damaged HDF5 file, in which GDAL's reader can end the process; netCDF's says what is wrong."""
    import netCDF4

    with readable(path), path.open("rb") as file:
        if file.read(len(HDF5)) == HDF5:
            netCDF4.Dataset(path).close()


def several(path: Path) -> FileError:
    """Return the error for a container of rasters."""
    return FileError(
        f"{str(path)!r}, which holds several rasters",
        "a raster of bands on one grid",
        f"gdalinfo {path} lists its subdatasets: gdal_translate the ones to use",
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Let GDAL see what lies beside a file, and turn its complaint about one into a FileError.

    Loaders of STAC items tell GDAL not to look, for good: masks, headers and colours beside a file would not be there.
    """
    import rasterio

    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="FALSE"):
            yield
    except OSError as error:
        raise FileError(
            f"{str(path)!r}, which GDAL cannot read: {first_cause(error)}",
            "an intact raster in a format that GDAL reads (GeoTIFF, COG, JPEG 2000, VRT …)",
            f"gdalinfo {path}; download or copy the file again if it is damaged",
        ) from error


def _attrs(source: Any) -> list[dict[str, Any]]:
    """Return what rioxarray leaves out: GDAL's wavelengths, ENVI's bad bands and scale of reflectance."""
    envi = source.tags(ns="ENVI")
    good = NUMBERS.findall(envi.get("bbl", ""))
    scale = {"scale_factor": 1 / float(envi[ENVI_SCALE]), "add_offset": 0.0} if ENVI_SCALE in envi else {}
    flags = [{"bbl": float(flag)} for flag in good] if len(good) == source.count else [{}] * source.count
    return [
        scale | flag | _wavelengths(source.tags(band, ns="IMAGERY"))
        for band, flag in zip(source.indexes, flags, strict=True)
    ]


def _wavelengths(tags: dict[str, str]) -> dict[str, Any]:
    keys = {"wavelength": "CENTRAL_WAVELENGTH_UM", "fwhm": "FWHM_UM"}
    found = {name: float(tags[key]) for name, key in keys.items() if key in tags}
    return found | {"wavelength_units": "um"} if "wavelength" in found else {}
