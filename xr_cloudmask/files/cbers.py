"""Folders of CBERS-4, CBERS-4A and Amazonia-1 scenes as INPE delivers them: a GeoTIFF and an XML file per band.

Source: the XML files themselves; see `cube.cbers` for what they say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from xr_cloudmask.cube.cbers import parse_cbers_metadata
from xr_cloudmask.errors import FileError
from xr_cloudmask.files.products import select, stack
from xr_cloudmask.files.raster import open_bands

NAME = re.compile(r"^(?P<scene>(CBERS_4A?|AMAZONIA_1)_.+)_(?P<band>BAND\d{1,2})\.(?P<kind>tiff?|xml)$", re.IGNORECASE)
PANCHROMATIC = "BAND0"  # 2 m beside 8 m


def is_product(path: Path) -> bool:
    """Tell whether a path is a folder with XML files of INPE's bands."""
    return path.is_dir() and any(kind == "xml" for _, _, kind in _files(path).values())


def read(paths: Sequence[Path], bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    """Open folders, a scene and date each."""
    return stack([_scene(path, bands, chunks) for path in paths])


def _scene(folder: Path, bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    files = _files(folder)
    scenes = sorted({scene for scene, _, _ in files.values()})
    if len(scenes) > 1:
        raise FileError(f"{folder.name} with the scenes {scenes}", "one scene per folder", "a folder per scene")
    images = {band: path for path, (_, band, kind) in files.items() if kind != "xml"}
    described = [path for path, (_, _, kind) in files.items() if kind == "xml"]
    if bands is None:
        images.pop(PANCHROMATIC, None)
    cube = open_bands(select(images, bands, folder), chunks)
    return parse_cbers_metadata(described[-1]).attach(cube)


def _files(folder: Path) -> dict[Path, tuple[str, str, str]]:
    """Return scene, band and kind of every file of a band, in the order of the bands: panchromatic first."""
    matches = {path: match for path in sorted(folder.iterdir()) if (match := NAME.match(path.name))}
    found = {path: (m["scene"], m["band"].upper(), m["kind"].lower()) for path, m in matches.items()}
    return dict(sorted(found.items(), key=lambda item: int(item[1][1].removeprefix("BAND"))))
