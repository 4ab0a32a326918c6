"""What people call bands: one key for all spellings of a name, and what may stand before or behind it."""

from __future__ import annotations

import re
from functools import lru_cache

BETWEEN_WORDS = re.compile(r"(?<!\d)[\s_.\-]+|[\s_.\-]+(?!\d)")
BETWEEN_NUMBERS = re.compile(r"(?<=\d)[\s.\-]+(?=\d)")
COUNTER = r"(?:band|layer|channel)"
# "band_1", "Band 1", "1": what GDAL and rioxarray call the bands of any file. INPE's own "BAND1" is a name.
NUMBERED = re.compile(rf"(?!BAND\d)(?i:{COUNTER})?[\s_.\-]*\d+")
APART = re.compile(rf"{COUNTER}[\s_.\-]+\d+")
SUFFIX = re.compile(r"[._\-](?:jp2|tiff?|img|cog)$", re.IGNORECASE)
DATE = re.compile(r"(?:19|20)\d\d[-_]?[01]\d[-_]?[0-3]\d")
COLOURS = (
    "coastal", "coastalaerosol", "blue", "green", "yellow", "red", "rededge", "vre", "nir", "nearinfrared", "infrared",
    "swir", "shortwaveinfrared", "mir", "vnir", "cirrus", "pan", "panchromatic", "lwir", "tir", "thermal", "narrow",
    "broad",
)  # fmt: skip
SPECTRAL = re.compile(
    rf"(?:sr|toa|boa|refl|reflectance|nbart?|fre|sre)?(?:(?:{'|'.join(COLOURS)})+\d*[a-z]?|(?:b|band)_?\d{{1,2}}a?)(?:_?\d+m)?"
)


@lru_cache(maxsize=4096)
def key(name: str) -> str:
    """Return what all spellings of a band name have in common: lower case, nothing between words.

    Numbers stay apart from numbers, and the number of a file's band from its word: ``"band_1"`` is nobody's
    ``"BAND1"``.

    Examples
    --------
    >>> key("SWIR_1"), key("Red Edge"), key("b8a"), key("M1_1"), key("Band 1")
    ('swir1', 'rededge', 'b8a', 'm1_1', 'band_1')
    """
    text = BETWEEN_NUMBERS.sub("_", name.strip().casefold())
    return BETWEEN_WORDS.sub("_" if APART.fullmatch(text) else "", text)


@lru_cache(maxsize=4096)
def keys(name: str) -> tuple[str, ...]:
    """Return the keys under which a band may be known, best first.

    The name itself; without the suffix of a file (``blue-jp2``, ``B02.tif``); what follows the id of an image
    (``LC08_044034_20140318_SR_B4``, ``0_B4``).

    Examples
    --------
    >>> keys("blue-jp2")
    ('bluejp2', 'blue')
    """
    plain = SUFFIX.sub("", name.strip())
    return tuple(dict.fromkeys(map(key, (name, plain, *(tail for _, tail in _behind_ids(plain))))))


@lru_cache(maxsize=4096)
def image_id(name: str, known: str) -> str | None:
    """Return the id of the image before a band whose key is `known`, None where there is none.

    Examples
    --------
    >>> image_id("LC08_044034_20140318_B4", "b4")
    'LC08_044034_20140318'
    """
    plain = SUFFIX.sub("", name.strip())
    return next((head for head, tail in _behind_ids(plain) if key(tail) == known), None)


@lru_cache(maxsize=4096)
def is_number(name: str) -> bool:
    """Tell whether a name only counts the bands of a file: ``1``, ``band_1``, ``Band 1``."""
    return NUMBERED.fullmatch(name.strip()) is not None


@lru_cache(maxsize=4096)
def looks_spectral(name: str) -> bool:
    """Tell whether a name reads like that of a spectral band, whether or not any table knows it.

    Examples
    --------
    >>> [name for name in ("swir_3", "B13", "ndvi", "SCL", "cloud") if looks_spectral(name)]
    ['swir_3', 'B13']
    """
    return any(SPECTRAL.fullmatch(known) for known in keys(name))


def _behind_ids(name: str) -> list[tuple[str, str]]:
    """Return every way to divide a name into the id of an image and a band: an id has a date, or is a number."""
    parts = name.split("_")
    pairs = [("_".join(parts[:i]), "_".join(parts[i:])) for i in range(1, len(parts))]
    return [(head, tail) for head, tail in pairs if head.isdigit() or (DATE.search(head) and _ends_in_number(head))]


def _ends_in_number(head: str) -> bool:
    """Tell whether the last part of a possible id has a digit: ``T10SEG`` and not ``DETFOO``, a mask's name."""
    return any(character.isdigit() for character in head.rpartition("_")[2])
