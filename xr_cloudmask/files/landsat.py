"""Landsat Collection 2 folders, level 1 and 2.

Source: Landsat 8-9 Collection 2 Level 1 and Level 2 Data Format Control Books (LSDS-1822, LSDS-1328): reflectance is
``DN * REFLECTANCE_MULT_BAND_n + REFLECTANCE_ADD_BAND_n``. At level 1 it must still be divided by the sine of the sun
elevation, which `cube.reflectance` does with the coordinate ``view:sun_elevation``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import xarray as xr

from xr_cloudmask.bounded import read_text
from xr_cloudmask.cube.xml import parse_xml
from xr_cloudmask.errors import FileError, refusing
from xr_cloudmask.files.products import number_of, select, stack, timestamp
from xr_cloudmask.files.raster import open_bands

Groups: TypeAlias = Mapping[str, Mapping[str, str]]  # a metadata file: group -> field -> value

ROOT = "LANDSAT_METADATA_FILE"
CALIBRATION = {"L1": "LEVEL1_RADIOMETRIC_RESCALING", "L2": "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"}
FACTOR = "REFLECTANCE_MULT_BAND_"
PANCHROMATIC = "8"
NO_DATA = 0


def is_product(path: Path) -> bool:
    """Tell whether a path is a folder with Landsat metadata."""
    return path.is_dir() and _metadata_file(path) is not None


def read(paths: Sequence[Path], bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    """Open Landsat folders, a date each."""
    return stack([_scene(path, bands, chunks) for path in paths])


def _scene(folder: Path, bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    groups = _read_metadata(folder)
    level = _field(groups, "PRODUCT_CONTENTS", "PROCESSING_LEVEL", folder)[:2]
    calibrations = _calibrations(groups, level, folder)
    images = _images(groups, calibrations, folder)
    cube = open_bands(select(images, bands, folder), chunks)
    for name, band in cube.items():
        band.attrs |= calibrations.get(_band_number(str(name)), {})
    return cube.assign_coords(_scene_coords(groups, level, folder))


def _metadata_file(folder: Path) -> Path | None:
    # The three say the same; JSON and XML came with Collection 2.
    return next((path for kind in ("txt", "xml", "json") for path in sorted(folder.glob(f"*_MTL.{kind}"))), None)


def _read_metadata(folder: Path) -> Groups:
    path = _metadata_file(folder)
    assert path is not None  # noqa: S101 - is_product found it
    intact = f"intact Collection 2 metadata ({ROOT})"
    with refusing(FileError, f"{str(path)!r}, which cannot be read", intact, "download the product again"):
        return READERS[path.suffix](path)


def read_odl(path: Path) -> Groups:
    """Read the groups of an Object Description Language file; nesting is by name only, as in Landsat's."""
    groups: dict[str, dict[str, str]] = {}
    group = ""
    for line in read_text(path).splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            group = value
        elif value and key != "END_GROUP":
            groups.setdefault(group, {})[key] = value.strip('"')
    return groups


def _read_json(path: Path) -> Groups:
    return {
        group: {field: str(value) for field, value in fields.items()}
        for group, fields in json.loads(read_text(path))[ROOT].items()
    }


def _read_xml(path: Path) -> Groups:
    return {group.tag: {field.tag: str(field.text) for field in group} for group in parse_xml(path)}


READERS = {".txt": read_odl, ".json": _read_json, ".xml": _read_xml}


def _field(groups: Groups, group: str, field: str, folder: Path) -> str:
    if field not in groups.get(group, {}):
        raise FileError(
            f"{folder.name}, whose metadata have no {group}/{field}",
            "a Landsat Collection 2 product, level 1 or 2",
            "order the scene as Collection 2, or pass its band files with sensor=, level=, scale= and offset=",
        )
    return groups[group][field]


def _number(groups: Groups, group: str, field: str, folder: Path) -> float:
    return number_of(_field(groups, group, field, folder), field, folder)


def _calibrations(groups: Groups, level: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the attrs of every reflective band but the panchromatic one, by band number."""
    group = CALIBRATION.get(level, level)
    factors = [key for key in groups.get(group, {}) if key.startswith(FACTOR)]
    numbers = [key.removeprefix(FACTOR) for key in factors] or ["2"]  # every Landsat has one: its absence is reported
    return {
        number: {
            "scale_factor": _number(groups, group, f"{FACTOR}{number}", folder),
            "add_offset": _number(groups, group, f"REFLECTANCE_ADD_BAND_{number}", folder),
            "_FillValue": NO_DATA,
        }
        for number in numbers
        if number != PANCHROMATIC
    }


def _images(groups: Groups, calibrations: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Return the files of the reflective bands and of QA_PIXEL, named as the product names them (B4, SR_B4)."""
    product = _field(groups, "PRODUCT_CONTENTS", "LANDSAT_PRODUCT_ID", folder)
    fields = [*(f"FILE_NAME_BAND_{number}" for number in calibrations), "FILE_NAME_QUALITY_L1_PIXEL"]
    files = [folder / _field(groups, "PRODUCT_CONTENTS", field, folder) for field in fields]
    return {path.stem.removeprefix(f"{product}_"): path for path in files}


def _band_number(name: str) -> str:
    return name.rpartition("B")[2]


def _scene_coords(groups: Groups, level: str, folder: Path) -> dict[str, Any]:
    image = partial(_field, groups, "IMAGE_ATTRIBUTES", folder=folder)
    coords: dict[str, Any] = {
        "time": timestamp(f"{image('DATE_ACQUIRED')}T{image('SCENE_CENTER_TIME')}", folder),
        "platform": image("SPACECRAFT_ID").lower().replace("_", "-"),
        "processing:level": level,
        "landsat:product_id": _field(groups, "PRODUCT_CONTENTS", "LANDSAT_PRODUCT_ID", folder),
    }
    return coords | _sun(groups, folder)


def _sun(groups: Groups, folder: Path) -> dict[str, float]:
    return {
        f"view:sun_{angle}": _number(groups, "IMAGE_ATTRIBUTES", f"SUN_{angle.upper()}", folder)
        for angle in ("elevation", "azimuth")
    }
