"""What a cube's metadata say its bands measure: wavelengths in nanometres, and which bands are marked as bad."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.metadata import as_number, is_row, positive, read
from xr_cloudmask.cube.spelling import key
from xr_cloudmask.errors import BandError

if TYPE_CHECKING:
    from xr_cloudmask.cube.layout import CubeView

Limits = tuple[float, float]

SHORTEST, LONGEST = 200.0, 30_000.0  # nm: from the ultraviolet to where the Earth's own light ends
MICROMETRES = 100.0  # numbers below are micrometres where no unit is stated, and nanometres above
NM = {
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "um": 1e3, "micrometer": 1e3, "micrometre": 1e3, "micron": 1e3,
    "m": 1e9, "meter": 1e9, "metre": 1e9, "angstrom": 0.1,
}  # fmt: skip
NO_UNIT = ("", "unknown", "index", "none", "1")  # ENVI headers have the first two
NUMBER = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?")
WITH_UNIT = re.compile(
    rf"(?:({NUMBER.pattern})\s*(?:-|–|to)\s*)?({NUMBER.pattern})\s*(nm|nano\w+|[uµμ]m|micro\w+)\b", re.IGNORECASE
)

# Keys of metadata, as `spelling.key` writes them.
CENTRES = (
    "centerwavelength", "radiationwavelength", "wavelength", "wavelengths", "centralwavelength", "centrewavelength",
    "centerwavelengths", "centralwavelengths",
)  # fmt: skip
WIDTHS = ("fullwidthhalfmax", "fwhm", "bandwidth", "bandwidths", "fullwidthathalfmaximum")
LOWS, HIGHS = ("minwavelength", "wavelengthmin"), ("maxwavelength", "wavelengthmax")
UNITS = ("wavelengthunits", "wavelengthunit")

# Flags of bands, one number for each: 1 where a band can be used, or 1 where it cannot.
GOOD = ("goodwavelengths", "goodbands", "bbl", "goodbandlist", "listcwvnirflags", "listcwswirflags", "validbands")
BAD = ("badbands", "badband", "badwavelengths")
FLAGS = {*GOOD, *BAD}
NUMBERS = (*CENTRES, *WIDTHS, *LOWS, *HIGHS)


@dataclass(frozen=True)
class _Stated:
    """What the metadata of a band say: everything, and of that the numbers; by `spelling.key`."""

    name: str
    said: Mapping[str, Any]
    numbers: Mapping[str, float]


def measured_limits(view: CubeView) -> dict[str, Limits | None]:
    """Return the wavelengths between which each band measures, in nm; None where its metadata do not say.

    Raises
    ------
    BandError
        Limits in the wrong order, or a band wider than its wavelength.
    """
    said = {name: {key(word): value for word, value in band.said.items()} for name, band in view.metadata.items()}
    stated = {name: _Stated(name, words, positive(words, NUMBERS)) for name, words in said.items()}
    coordinates = _coordinates(view)
    return {name: _of_band(band, coordinates) for name, band in stated.items()}


def limits_in(text: str) -> Limits | None:
    """Return the wavelengths, in nm, that a text states with their unit: a band's name, or satpy's CF attribute.

    Examples
    --------
    >>> limits_in("0.635 µm (0.6-0.67 µm)"), limits_in("Band 7 (560.5 Nanometers)"), limits_in("B02_10m")
    ((600.0, 670.0), (560.5, 560.5), None)
    """
    found = [(low, high, _unit(unit) or 0.0) for low, high, unit in WITH_UNIT.findall(text)]
    pairs = [(float(low or high) * factor, float(high) * factor) for low, high, factor in found]
    pairs = [pair for pair in pairs if SHORTEST <= min(pair) <= max(pair) <= LONGEST]
    ranges = [pair for pair in pairs if pair[0] != pair[1]]
    return next(((round(min(pair), 3), round(max(pair), 3)) for pair in (*ranges, *pairs)), None)


def bad_bands(view: CubeView) -> frozenset[str]:
    """Return the bands that the product marks as bad: EMIT's ``good_wavelengths``, ENVI's ``bbl``, PRISMA's flags.

    Raises
    ------
    BandError
        It marks all of them.
    """
    bad = set()
    for i, (name, band) in enumerate(view.metadata.items()):
        said = {**view.source.attrs, **view.bands[name].attrs, **band.coords}
        flags = {word: value for field, value in said.items() if (word := key(str(field))) in FLAGS}
        if any(_flag(value, i, len(view.bands)) == (word in BAD) for word, value in flags.items()):
            bad.add(name)
    if bad and len(bad) == len(view.bands):
        raise BandError(
            f"{len(bad)} bands that are all marked as bad (good_wavelengths, bbl or another flag)",
            "at least one that can be used",
            "cube.drop_vars('good_wavelengths'), or whatever the flags are called, if they are wrong",
        )
    return frozenset(bad)


def _flag(value: Any, position: int, count: int) -> float | None:
    """Return a band's flag: a number, or its place in a list of all bands; ENVI writes the list as text."""
    if isinstance(value, str):
        value = NUMBER.findall(value)
    if is_row(value):
        if len(value) not in (1, count):
            return None
        value = value[position if len(value) == count else 0]
    return float(value) if isinstance(value, bool | np.bool_) else as_number(value)


def _coordinates(view: CubeView) -> dict[str, float | None]:
    """Return nanometres per unit of each coordinate of wavelengths; None where it only counts the bands."""
    found: dict[str, float | None] = {}
    shared = {str(name): coord for name, coord in view.source.coords.items() if coord.ndim == 0}
    for name, coord in (shared | view.along_bands).items():
        word = key(name)
        if word not in (*CENTRES, *LOWS, *HIGHS, *WIDTHS):
            continue
        declared = _unit(coord.attrs.get("units"))
        if declared is not None:
            found[word] = declared
        elif word not in WIDTHS and coord.dtype.kind in "iuf":
            values = np.ravel(read(coord))
            found[word] = None if _counts(values) else _unit_of(max(values[np.isfinite(values)], default=1.0))
    return found


def _counts(values: np.ndarray) -> bool:
    """Tell whether numbers are those of the bands, and no wavelengths."""
    return values.size > 1 and any(np.array_equal(values, np.arange(first, first + values.size)) for first in (0, 1))


def _unit(text: Any) -> float | None:
    """Return nanometres per unit, None where there is no unit or none of length."""
    word = str(text or "").strip().casefold().replace("µ", "u").replace("μ", "u").replace("å", "angstrom")
    return NM.get(word, NM.get(word.rstrip("s")))


def _unit_of(number: float) -> float:
    return NM["um"] if number < MICROMETRES else NM["nm"]


def _of_band(band: _Stated, coordinates: Mapping[str, float | None]) -> Limits | None:
    """Return the limits of one band: the first of its statements that are wavelengths of light."""
    unit_text = next((text for word in UNITS if isinstance(text := band.said.get(word), str) and text), "")
    unit = _unit(unit_text) if unit_text else None
    if unit is None and str(unit_text).strip().casefold() not in NO_UNIT:
        return None  # a wavenumber, a frequency
    low, high = (next((word for word in words if word in band.numbers), None) for words in (LOWS, HIGHS))
    if low and high:
        pair = band.numbers[low], band.numbers[high]
        return _ordered(band.name, pair, coordinates.get(low, coordinates.get(high, unit)))
    for word in CENTRES:
        if word not in band.said or coordinates.get(word, 0.0) is None:
            continue
        found = _first_of(band, word, coordinates, unit)
        if found is not None:
            return found
    return None


def _first_of(band: _Stated, word: str, coordinates: Mapping[str, float | None], unit: float | None) -> Limits | None:
    """Return the limits that one statement makes: a number, a list of two or three, satpy's range, a text."""
    value = band.said[word]
    if hasattr(value, "min") and hasattr(value, "central"):  # satpy's WavelengthRange
        return _ordered(band.name, (float(value.min), float(value.max)), _unit(value.unit))
    if isinstance(value, str) and word not in band.numbers:
        found = limits_in(value)
        return found if found is None or found[0] < found[1] else _around(band, found[0], NM["nm"], coordinates)
    if is_row(value) and len(value) in (2, 3, 4):  # limits, with the centre, with satpy's unit
        numbers = [n for n in map(as_number, value) if n is not None and n > 0]
        own = next((_unit(text) for text in value if isinstance(text, str) and _unit(text)), unit)
        return _ordered(band.name, (min(numbers), max(numbers)), own) if len(numbers) > 1 else None
    if word not in band.numbers:
        return None
    return _around(band, band.numbers[word], coordinates.get(word, unit), coordinates)


def _around(band: _Stated, centre: float, unit: float | None, coordinates: Mapping[str, float | None]) -> Limits | None:
    factor = _plausible_unit(centre, unit)
    if factor is None:
        return None
    word, width = next(((word, band.numbers[word]) for word in WIDTHS if word in band.numbers), ("", 0.0))
    of_width = coordinates.get(word) or factor
    if width * of_width >= 2 * centre * factor:  # the centre in micrometres, the width in nanometres
        of_width = NM["nm"]
    if width * of_width >= 2 * centre * factor:
        raise BandError(
            f"band {band.name!r} around {centre * factor:g} nm that is {width * of_width:g} nm wide",
            "widths below twice the wavelength, in the same unit",
            f"cube.drop_vars({word!r}), or numbers in the unit of the wavelengths",
        )
    half = width * of_width / 2
    return round(centre * factor - half, 3), round(centre * factor + half, 3)


def _ordered(name: str, pair: Limits, unit: float | None) -> Limits | None:
    """Return limits in nm, None where they are no wavelengths of light."""
    factor = _plausible_unit(max(pair), unit)
    if factor is None:
        return None
    low, high = round(pair[0] * factor, 3), round(pair[1] * factor, 3)
    if low > high:
        raise BandError(
            f"band {name!r} with a shortest wavelength of {low:g} nm and a longest of {high:g} nm",
            "limits in order, the shortest first",
            f"the two swapped in the metadata, or descriptors=[BandDescriptor({name!r}, None, {high:g}, {low:g}), ...]",
        )
    return (low, high) if low >= SHORTEST else None


def _plausible_unit(number: float, unit: float | None) -> float | None:
    """Return nanometres per unit: the declared unit, or the first in which the number is a wavelength of light."""
    candidates = (unit or _unit_of(number), NM["um"], NM["nm"], NM["m"])
    return next((factor for factor in candidates if SHORTEST <= number * factor <= LONGEST), None)
