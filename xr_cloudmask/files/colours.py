"""Which band is which: by its description, else by the colour that GDAL says it is shown in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.cube.spelling import NUMBERED
from xr_cloudmask.errors import FileError, listed
from xr_cloudmask.files.said import SaidBand
from xr_cloudmask.names import MASK_NAME

# GDAL's colour interpretations that are STAC common names; grey is what it calls the first of any bands.
COLOURS = ("coastal", "blue", "green", "red", "rededge", "nir", "pan")
ALPHA, PALETTE = "alpha", "palette"
# What bands without names may be, as an example to type.
RGB, SIX = ("red", "green", "blue"), ("blue", "green", "red", "nir", "swir16", "swir22")


def is_alpha(band: SaidBand) -> bool:
    """Return whether a band says how opaque pixels are.

    A fourth band of 8 bits is alpha to GDAL unless the file says otherwise: a description of its own says otherwise.
    """
    described = band.description and not NUMBERED.fullmatch(band.description)
    return band.description.casefold() == ALPHA or (band.colour == ALPHA and not described)


def names_of(path: Path, bands: Sequence[SaidBand]) -> list[str]:
    """Name bands of a raster by their descriptions, colours or wavelengths, a single one by its file.

    Raises
    ------
    FileError
        A band has none of them.
    """
    names = [_name(band) for band in bands]
    if len(names) == 1 and not bands[0].description:
        return [known_in(path.stem) or names[0] or path.stem]
    if all(names):
        return names
    which = f", of which {listed(i for i, name in enumerate(names, 1) if not name)}" if any(names) else " that"
    raise FileError(
        f"{path.name} with {len(names)} bands{which} have neither descriptions nor colours",
        "a description per band that says which band it is ('blue', 'B02', 'SR_B2' …), or GDAL's colours",
        f"name them in order, such as bands={_example(names)}",
    )


def _name(band: SaidBand) -> str:
    if band.description and not NUMBERED.fullmatch(band.description):
        return band.description
    if band.colour in COLOURS:
        return band.colour
    wavelength = band.attrs.get("wavelength")
    return band.description or (f"{1e3 * wavelength:g} nm" if wavelength else "")


def _example(names: Sequence[str]) -> list[str]:
    """Fill the gaps among names with such as are not yet taken."""
    usual = RGB if len(names) == len(RGB) and not any(names) else SIX
    free = iter([*(name for name in usual if name not in names), *(f"band_{i + 1}" for i in range(len(names)))])
    return [name or next(free) for name in names]


def require_light(path: Path, band: SaidBand, name: str) -> None:
    """Refuse a palette: its numbers are places in a table of colours. Quality bands may have one."""
    if band.colour == PALETTE and not is_quality(name):
        raise FileError(
            f"{path.name}, whose band {name!r} is a palette: numbers of colours, not amounts of light",
            "bands of reflected light",
            f"gdal_translate -expand rgb {path} rgb.tif, and open rgb.tif with scale='display'",
        )


def name_in(stem: str) -> str:
    """Return the last part of a file name that a sensor table knows as a band, else the whole name.

    Examples
    --------
    >>> name_in("T32TQM_20220811T101559_B8A_20m"), name_in("LC09_L2SP_193028_SR_B4"), name_in("my_field")
    ('B8A_20m', 'SR_B4', 'my_field')
    """
    return known_in(stem) or stem


def known_in(stem: str) -> str | None:
    """Return the last part of a file name that a sensor table knows as a band; None where it knows none."""
    parts = re.split(r"[_.\- ]", stem)
    spans = [(end, start) for end in range(len(parts), 0, -1) for start in range(end)]  # last and longest first
    candidates = ("_".join(parts[start:end]) for end, start in spans)
    known = _known_names()
    found = (known.get(name, known.get(name.lower())) for name in candidates)
    return next((name for name in found if name is not None), None)


def is_quality(name: str) -> bool:
    """Return whether a band holds classes or flags, not light."""
    return name == MASK_NAME or name in _quality()


@cache
def _quality() -> frozenset[str]:
    return frozenset(name for table in sensors().values() for name in table.quality)


@cache
def _known_names() -> Mapping[str, str]:
    """Return every name of a band or quality band in the sensor tables, by itself and by its lower case."""
    names = {name for table in sensors().values() for band in table.bands for name in band.names} | _quality()
    return {name.lower(): name for name in sorted(names)} | {name: name for name in names}
