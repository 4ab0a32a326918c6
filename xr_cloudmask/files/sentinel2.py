"""Sentinel-2 SAFE folders, level 1C and 2A.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), issue 14: reflectance is
``(DN + RADIO_ADD_OFFSET) / QUANTIFICATION_VALUE`` at level 1C, with ``BOA_ADD_OFFSET`` and
``BOA_QUANTIFICATION_VALUE`` at level 2A.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import xarray as xr

from xr_cloudmask.cube.xml import parse_xml
from xr_cloudmask.errors import FileError
from xr_cloudmask.files.products import number_of, select, stack, timestamp
from xr_cloudmask.files.raster import open_bands

# In the order of the metadata's band_id.
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
IMAGE = re.compile(r"_(B\d[\dA]|SCL)(?:_(\d\d)m)?$")
OFFSETS_SINCE = 4.0  # processing baseline


@dataclass(frozen=True)
class Level:
    """Where a level's metadata says what reflectance is."""

    name: str
    metadata: str
    quantification: str
    offset: str


LEVELS = (
    Level("L1C", "MTD_MSIL1C.xml", "QUANTIFICATION_VALUE", "RADIO_ADD_OFFSET"),
    Level("L2A", "MTD_MSIL2A.xml", "BOA_QUANTIFICATION_VALUE", "BOA_ADD_OFFSET"),
)


def is_product(path: Path) -> bool:
    """Tell whether a path is a SAFE folder."""
    return path.is_dir() and (path.suffix == ".SAFE" or any((path / level.metadata).is_file() for level in LEVELS))


def read(paths: Sequence[Path], bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    """Open SAFE folders, a date each."""
    return stack([_scene(path, bands, chunks) for path in paths])


def _scene(folder: Path, bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    level = next((level for level in LEVELS if (folder / level.metadata).is_file()), None)
    if level is None:
        raise FileError(
            f"{str(folder)!r} without {' or '.join(level.metadata for level in LEVELS)}",
            "a complete SAFE folder of level 1C or 2A",
            "unpack the product again, or pass its band files instead of the folder",
        )
    root = parse_xml(folder / level.metadata)
    cube = open_bands(_images(root, folder, bands), chunks)
    for name, band in cube.items():
        band.attrs |= _band_attrs(root, level, str(name), folder)
    return cube.assign_coords(_scene_coords(root, level, folder))


def _images(root: Element, folder: Path, bands: Sequence[str] | None) -> dict[str, Path]:
    """Return the finest image of every band."""
    finest: dict[str, tuple[int, Path]] = {}
    for entry in root.iter("IMAGE_FILE"):
        found = IMAGE.search(str(entry.text).strip())
        if found is None:
            continue  # true-colour image, aerosol, water vapour
        resolution = int(found[2] or 0)
        path = folder / f"{str(entry.text).strip()}.jp2"
        finest[found[1]] = min(finest.get(found[1], (resolution, path)), (resolution, path))
    images = {name: path for name, (_, path) in sorted(finest.items())}
    return select(images, bands, folder)


def _band_attrs(root: Element, level: Level, name: str, folder: Path) -> dict[str, Any]:
    if name not in BANDS:
        return {}  # a quality band
    quantification = _number(root, level.quantification, folder)
    if quantification <= 0:
        raise FileError(
            f"{folder.name} with {level.quantification} {quantification:g}",
            "a positive number",
            "download the product again, or pass its band files with scale=1e-4, offset=-0.1",
        )
    return {
        "scale_factor": 1 / quantification,
        "add_offset": _offset(root, level, name, folder) / quantification,
        "_FillValue": _no_data(root, folder),
    }


def _offset(root: Element, level: Level, name: str, folder: Path) -> float:
    stated = {entry.get("band_id"): str(entry.text) for entry in root.iter(level.offset)}
    offsets = {band: number_of(number, level.offset, folder) for band, number in stated.items()}
    band_id = str(BANDS.index(name))
    baseline = _number(root, "PROCESSING_BASELINE", folder)
    if band_id not in offsets and baseline >= OFFSETS_SINCE:
        raise FileError(
            f"{folder.name} of processing baseline {baseline:05.2f} without {level.offset} for {name}",
            f"{level.offset} for every band, as baselines since {OFFSETS_SINCE:05.2f} have it",
            "download the product again; or pass its band files with scale=1e-4, offset=-0.1",
        )
    return offsets.get(band_id, 0.0)


def _no_data(root: Element, folder: Path) -> int:
    values = {
        str(entry.findtext("SPECIAL_VALUE_TEXT")): str(entry.findtext("SPECIAL_VALUE_INDEX"))
        for entry in root.iter("Special_Values")
    }
    return int(number_of(values.get("NODATA", "0"), "SPECIAL_VALUE_INDEX", folder))


def _scene_coords(root: Element, level: Level, folder: Path) -> dict[str, Any]:
    coords: dict[str, Any] = {
        "time": timestamp(text(root, "PRODUCT_START_TIME", folder), folder),
        "platform": text(root, "SPACECRAFT_NAME", folder).lower(),
        "processing:level": level.name,
        "s2:processing_baseline": text(root, "PROCESSING_BASELINE", folder),
        "s2:product_uri": text(root, "PRODUCT_URI", folder),
    }
    return coords | _sun(folder)


def _sun(folder: Path) -> dict[str, float]:
    granules = sorted(folder.glob("GRANULE/*/MTD_TL.xml"))
    sun = parse_xml(granules[0]).find(".//Mean_Sun_Angle") if granules else None
    if sun is None:
        return {}
    zenith, azimuth = (_number(sun, f"{angle}_ANGLE", folder) for angle in ("ZENITH", "AZIMUTH"))
    return {"view:sun_elevation": 90 - zenith, "view:sun_azimuth": azimuth}


def _number(root: Element, tag: str, folder: Path) -> float:
    return number_of(text(root, tag, folder), tag, folder)


def text(root: Element, tag: str, folder: Path) -> str:
    """Return the text of the first element with a tag."""
    found = root.findtext(f".//{tag}")
    if not found:
        raise FileError(
            f"{folder.name}, whose metadata have no {tag}",
            "the metadata that products have since 2016",
            "download the product again, or pass its band files with sensor=, level=, scale= and offset=",
        )
    return found.strip()
