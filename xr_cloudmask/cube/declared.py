"""What a cube's metadata declare about its radiometry: scale, offset, no data, level, baseline, sun elevation.

Every function reads attributes, encodings and small coordinates; none computes a band. Deciding is for `reflectance`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.layout import TIME_NAMES
from xr_cloudmask.cube.metadata import PRODUCT_KEYS, as_number, flat, item_property, read, texts
from xr_cloudmask.cube.sensors import normalised
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from xr_cloudmask.cube.bands import BandDescriptor
    from xr_cloudmask.cube.layout import CubeView
    from xr_cloudmask.cube.sensors import RadiometryRule, Sensor

LEVELS = ("TOA", "BOA")
PROVENANCE = "reflectance_provenance"
ZERO = "reflectance_of_zero"  # what an earlier conversion made of digital number 0, where an offset moved it
LEVEL_KEYS = (
    *PRODUCT_KEYS, "processing:level", "processing_level", "s2:processing_level", "landsat:correction",
    "landsat:processing_level", "PROCESSING_LEVEL",
)  # fmt: skip
BASELINE_KEYS = (
    "s2:processing_baseline", "sentinel:processing_baseline", "processing_baseline", "processing:version",
    "PROCESSING_BASELINE",
)  # fmt: skip
HARMONISED_KEYS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
PDGS_OFFSET_KEYS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
SUN_KEYS = ("view:sun_elevation", "sun_elevation", "SUN_ELEVATION", "landsat:sun_elevation", "mean_sun_elevation")
DATE_KEYS = ("datetime", "start_datetime")
# What `stac.attach` and `stac.load` write down of a band: what items state, and what a loader has applied already.
SCALE, OFFSET = "scale_factor", "add_offset"
APPLIED_SCALE, APPLIED_OFFSET = "applied_scale", "applied_offset"
FACTORS = (SCALE, OFFSET, APPLIED_SCALE, APPLIED_OFFSET)
NUMBERS_UNITS = "DN"  # units of floating-point values that are digital numbers
BASELINE = re.compile(r"^N?(\d{1,2})\.?(\d{2})$")
BASELINE_IN_ID = re.compile(r"_N(\d{2})(\d{2})_")
FIRST_BASELINE, NO_BASELINE = 0.01, 10.0  # 99.99 is what is written where nobody knows
ENVI_FACTOR_KEYS = ("reflectance_scale_factor", "reflectance scale factor")  # reflectance is numbers over it

# CF standard names and processing levels that say the level whatever the sensor.
LEVEL_PATTERNS = {
    "TOA": (r"^toa-bidirectional-reflectance", r"^l1[a-z]*$", r"^level-1[a-z]*$"),
    "BOA": (r"^(surface|boa)-bidirectional-reflectance", r"^surface-reflectance", r"^l2[a-z]*$", r"^level-2[a-z]*$"),
}


@dataclass(frozen=True)
class Declared:
    """Scale and offset that a band's metadata declare, one or one per date; an offset is None where it is left open."""

    scale: tuple[float, ...]
    offset: tuple[float | None, ...]
    applied: bool
    source: str

    @property
    def offsets(self) -> tuple[float, ...]:
        """The offsets, 0 where they are left open."""
        return tuple(offset or 0.0 for offset in self.offset)


@dataclass(frozen=True)
class DatedOffsets:
    """Offsets per date; `final` where the product states them itself, whatever ``raster:bands`` says."""

    offsets: tuple[float, ...]
    source: str
    final: bool


def declared_scaling(view: CubeView, name: str) -> Declared | None:
    """Return the scale and offset in the band's own metadata; a scale of 1 without offset declares nothing."""
    values, band = view.bands[name], view.metadata[name]
    is_float = values.dtype.kind == "f"
    of_items = _of_items(view, name)
    if of_items is not None:
        return of_items
    stac_offset = band.stac.get("offset", band.stac.get("scale_add"))
    # stackstac rescales by raster:bands, and by nothing else, whenever it delivers floats (its default); it keeps them.
    rescaled = is_float and is_from_stackstac(view) and "raster:bands" in band.coords
    envi = next(filter(None, (as_number(values.attrs[key]) for key in ENVI_FACTOR_KEYS if key in values.attrs)), None)
    candidates: list[tuple[Any, Any, str, bool]] = [
        (band.stac.get("scale"), stac_offset, "STAC", rescaled),
        (1 / envi if envi else None, 0.0 if envi else None, "ENVI reflectance scale factor", False),
        (values.attrs.get(SCALE), _offset_of_cf(values), "CF attributes", False),
        (_scale_of_units(values.attrs.get("units")), None, "units", False),
    ]
    if is_float:  # what xarray decoded moves to the encoding
        candidates.append((values.encoding.get(SCALE), values.encoding.get(OFFSET), "CF encoding", True))
    stated = (_linear(*one) for one in candidates if one[0] is not None or one[1] is not None)
    return next((declared for declared in stated if declared is not None), None)


def _offset_of_cf(values: xr.DataArray) -> Any:
    """Return the offset beside the scale in the attributes; that of integers may be left in the encoding."""
    kept = values.encoding if SCALE in values.attrs and values.dtype.kind != "f" else {}
    return values.attrs.get(OFFSET, kept.get(OFFSET))


def _scale_of_units(units: Any) -> float | None:
    """Return the scale that UDUNITS writes as a number, such as ``"1e-4"``."""
    number = as_number(units)
    return number if number is not None and 0 < number < 1 else None


def _linear(scale: Any, offset: Any, source: str, applied: bool) -> Declared | None:
    factor, shift = as_number(scale), as_number(offset)
    if factor in (None, 1.0) and not shift:
        return None
    return Declared((1.0 if factor is None else factor,), (shift,), applied, source)


def _of_items(view: CubeView, name: str) -> Declared | None:
    """Return what `stac.attach` and `stac.load` wrote down of a band, date by date where dates differ."""
    for scale, offset, applied in ((APPLIED_SCALE, APPLIED_OFFSET, True), (SCALE, OFFSET, False)):
        factors = _band_numbers(view, name, scale, or_attribute=applied)
        if not factors or None in factors:
            continue
        shifts = _band_numbers(view, name, offset, or_attribute=True) or (None,)
        return Declared(tuple(factor for factor in factors if factor is not None), shifts, applied, "STAC items")
    return None


def _band_numbers(view: CubeView, name: str, key: str, or_attribute: bool) -> tuple[float | None, ...]:
    """Return a band's numbers in a coordinate, one or one per date: ``key:name``, or `key` along the band dimension."""
    for label in (f"{key}:{name}", key):
        if label not in view.source.coords:
            continue
        coord = view.source.coords[label]
        if view.band in coord.dims:
            coord = coord.isel({view.band: list(view.bands).index(name)})
        if coord.dims in ((), (view.time,)):
            return tuple(map(as_number, np.atleast_1d(read(coord)).tolist()))
    attrs = view.bands[name].attrs
    return (as_number(attrs[key]),) if or_attribute and key in attrs else ()


def is_from_stackstac(view: CubeView) -> bool:
    """Whether the cube has what stackstac and cubo deliver: item ids and an EPSG code, as coordinates."""
    return {"epsg", "id"} <= set(view.source.coords)


def named_levels(view: CubeView, table: Sensor | None, descriptors: Sequence[BandDescriptor]) -> list[set[str]]:
    """Return the levels that the metadata name, one set for the cube or one per date."""
    places = (view.source.attrs, *(band.attrs for band in view.bands.values()))
    marked = {str(attrs["level"]) for attrs in places if str(attrs.get("level")) in LEVELS}
    if marked:
        return [marked]
    names = frozenset(d.name for d in descriptors)
    standard_names = {str(view.bands[d.name].attrs.get("standard_name", "")) for d in descriptors}
    rows = texts(view, *LEVEL_KEYS)
    rules = table.radiometry if table is not None else ()
    return [{found for text in row | names | standard_names for found in _levels_in(text, rules)} for row in rows]


@lru_cache(maxsize=4096)
def _levels_in(text: str, rules: tuple[RadiometryRule, ...]) -> frozenset[str]:
    of_sensor = {rule.level for rule in rules if rule.describes(text)}
    return frozenset(of_sensor) | {
        level for level, patterns in LEVEL_PATTERNS.items() if any(re.search(p, normalised(text)) for p in patterns)
    }


def offsets_by_baseline(view: CubeView, baseline: float, shifted: float) -> DatedOffsets | None:
    """Return the Sentinel-2 offset of every date from its harmonised flag or its processing baseline."""
    flags, pdgs, stated = (item_property(view, *keys) for keys in (HARMONISED_KEYS, PDGS_OFFSET_KEYS, BASELINE_KEYS))
    names, products = texts(view, "collection", "id"), texts(view, *PRODUCT_KEYS)
    if any("harmonized" in normalised(text) for row in names for text in row):
        return DatedOffsets((0.0,), "harmonised collection", final=True)
    added = tuple(map(_shared_number, pdgs or (None,)))
    if None not in added:
        return DatedOffsets(tuple(number * 1e-4 for number in added if number is not None), "product metadata", True)
    if flags is not None and all(map(_is_true, flags)):
        return DatedOffsets((0.0,), "offset applied by the provider", final=True)
    baselines = _baselines(stated or (), products)
    if baselines is None:
        return None
    length = max(len(baselines), len(flags or ()))
    flagged = [_is_true(flags[i % len(flags)]) if flags else False for i in range(length)]
    values = [baselines[i % len(baselines)] for i in range(length)]
    offsets = tuple(
        0.0 if applied or value < baseline else shifted for applied, value in zip(flagged, values, strict=True)
    )
    spelt = ", ".join(sorted({f"{value:05.2f}" for value in values}))
    return DatedOffsets(_collapsed(offsets), f"processing baseline {spelt}", final=any(flagged))


def _baselines(stated: tuple[Any, ...], products: tuple[frozenset[str], ...]) -> tuple[float, ...] | None:
    """Return the processing baselines, one or one per date; None where a date lacks it."""
    spelt = (f"{value:.2f}" if isinstance(value, float | int) else str(value) for value in stated)
    found = [_baseline(BASELINE.search(text)) for text in spelt]
    if not found or None in found:
        found = [
            next((b for b in map(_baseline, map(BASELINE_IN_ID.search, sorted(row))) if b), None) for row in products
        ]
    known = tuple(baseline for baseline in found if baseline is not None)
    return known if len(known) == len(found) else None


def _baseline(match: re.Match[str] | None) -> float | None:
    number = float(f"{match[1]}.{match[2]}") if match is not None else 0.0
    return number if FIRST_BASELINE <= number < NO_BASELINE else None


def _collapsed(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return numbers[:1] if len(set(numbers)) == 1 else numbers


def _shared_number(value: Any) -> float | None:
    """Return the number that is stated for all bands, once or for each; None where they differ."""
    numbers = {as_number(one) for one in flat(value)}
    return numbers.pop() if len(numbers) == 1 else None


def _is_true(value: Any) -> bool:
    values = flat(value)
    return len(values) == 1 and bool(values[0]) and str(values[0]).casefold() != "false"


def sines_of_sun_elevation(view: CubeView, remedy: str | None = None) -> tuple[float, ...]:
    """Return the sine of the sun elevation, one for all dates or one per date; `remedy` is what else to type."""
    stated = item_property(view, *SUN_KEYS)
    elevations = tuple(map(as_number, stated)) if stated is not None else ()
    if not elevations or any(e is None or not 0 < e <= 90 for e in elevations):
        raise ReflectanceError(
            f"sun elevations {stated}" if stated is not None else "no sun elevation",
            f"degrees above the horizon in a coordinate or attribute {SUN_KEYS[0]!r}, one per date or one for all",
            f"{remedy}, or " * bool(remedy)
            + f"cube.assign_coords({{{SUN_KEYS[0]!r}: ('time', [42.0, ...])}}), or scale= and offset= that include it",
        )
    return tuple(math.sin(math.radians(e)) for e in elevations if e is not None)


def dates_of(view: CubeView) -> np.ndarray | None:
    """Return when the cube was acquired as ``datetime64[ns]``, one or one per date; None where it does not say."""
    coords = view.source.coords
    names = (view.time,) if view.time else TIME_NAMES
    stated = next((read(coords[name]) for name in names if name in coords and coords[name].dtype.kind == "M"), None)
    if stated is None:
        stated = np.array([str(text).removesuffix("Z") for text in item_property(view, *DATE_KEYS) or ()])
    try:
        times: np.ndarray = np.atleast_1d(stated).astype("datetime64[ns]")
    except ValueError:
        return None
    return times if times.size and not np.isnat(times).any() else None
