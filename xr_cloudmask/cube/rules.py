"""How the values of a band become reflectance: a scale and an offset, from the first source that answers.

`RULES` lists the sources in their order. Each is a function of the product and a band: it answers, passes (None), or
raises where what it found cannot be. Everything is read from metadata; no value is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xr_cloudmask.cube import remedies
from xr_cloudmask.cube.bands import ambiguous
from xr_cloudmask.cube.declared import (
    BASELINE_KEYS,
    NUMBERS_UNITS,
    PROVENANCE,
    ZERO,
    DatedOffsets,
    Declared,
    dates_of,
    declared_scaling,
    is_from_stackstac,
    offsets_by_baseline,
    sines_of_sun_elevation,
)
from xr_cloudmask.cube.metadata import as_number, spelt
from xr_cloudmask.cube.plausible import PERCENT, require_plausible_rule
from xr_cloudmask.cube.radiance import toa_scales
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    from xr_cloudmask.cube.layout import CubeView
    from xr_cloudmask.cube.sensors import RadiometryRule, Sensor

Numbers: TypeAlias = tuple[float, ...]  # one for all dates, or one per date
RADIANCE = re.compile(r"^(m|µ|u)?W\b.*(sr|ster)", re.IGNORECASE)
PERCENT_UNITS = ("%", "percent", "percents", "pct", "per cent", "percentage")
NAMES_OF_UNITS = ("units", "standard_name", "calibration", "long_name")
BASELINE_04 = np.datetime64("2022-01-25")  # from this day on, new Sentinel-2 products have an offset


@dataclass(frozen=True)
class Product:
    """What holds for all bands of a cube.

    Attributes
    ----------
    view : CubeView
    candidates : tuple of Sensor
        Every sensor that it can be from.
    level : str or None
        ``"TOA"`` or ``"BOA"``.
    rule : RadiometryRule or None
        What the sensor's table says of products of that level.
    sensor_name : str or None
        How the caller spells the sensor: ``'landsat-9'`` says more than the table of both.
    """

    view: CubeView
    candidates: tuple[Sensor, ...]
    level: str | None
    rule: RadiometryRule | None
    sensor_name: str | None = None

    @property
    def sensor(self) -> Sensor | None:
        """The sensor, where only one is possible."""
        return self.candidates[0] if len(self.candidates) == 1 else None

    @property
    def title(self) -> str:
        """The sensor's id, for messages."""
        return "cube" if self.sensor is None else self.sensor.id

    @cached_property
    def dated_offsets(self) -> DatedOffsets | None:
        """The offset of every date, where flags or processing baselines tell it and the rule goes by them."""
        rule = self.rule
        if rule is None or rule.baseline is None or rule.baseline_offset is None:
            return None
        return offsets_by_baseline(self.view, rule.baseline, rule.baseline_offset)


@dataclass(frozen=True)
class Linear:
    """``reflectance = value * scale + offset`` for one band.

    Attributes
    ----------
    scale, offset : tuple of float
        One number, or one per date.
    source : str
        Where they come from.
    stretch : tuple of float
        By what they were divided last, as 1 / the sine of a low sun: plausible values are larger by as much.
    zero : tuple of float
        What digital number 0 is in the values as they are.
    """

    scale: Numbers
    offset: Numbers
    source: str
    stretch: Numbers = (1.0,)
    zero: Numbers = (0.0,)


Rule: TypeAlias = Callable[[Product, str], Linear | None]


def is_marked(view: CubeView, name: str) -> bool:
    """Whether an earlier conversion marked the band; integers are digital numbers whatever the attributes say."""
    values = view.bands[name]
    return values.dtype.kind == "f" and (PROVENANCE in values.attrs or PROVENANCE in view.source.attrs)


def settled(product: Product, name: str) -> Linear:
    """Return the first answer to how a band's values become reflectance.

    Raises
    ------
    ReflectanceError
        No source answers, or the first that does cannot be right.
    """
    return next(answer for rule in RULES if (answer := rule(product, name)) is not None)


def told(product: Product, name: str, scale: float | None, offset: float | None) -> Linear:
    """Return what the caller says of a band, completed by what the metadata say of the half that is left open."""
    values = product.view.bands[name]
    require_plausible_rule(name, values.dtype, scale, offset)
    said = "scale and offset given by the caller"
    if scale is None:
        return replace(_without_offset(product, name, offset), source=said)
    if offset is not None or scale == 1 or not _has_offset(product, name):
        return Linear((float(scale),), (float(offset or 0.0),), said)
    return Linear((float(scale),), _of_metadata(product, name, declared_scaling(product.view, name)).offset, said)


def _without_offset(product: Product, name: str, offset: float | None) -> Linear:
    return _of_metadata(product, name, declared_scaling(product.view, name), offset)


def _has_offset(product: Product, name: str) -> bool:
    rule = product.rule
    is_known = rule is not None and rule.unsupported is None and not rule.radiance  # radiance has no offset to look up
    return is_known or declared_scaling(product.view, name) is not None


# The rules, in their order.


def by_mark(product: Product, name: str) -> Linear | None:
    """Believe an earlier conversion of ours."""
    if not is_marked(product.view, name):
        return None
    said = {**product.view.source.attrs, **product.view.bands[name].attrs}
    return Linear((1.0,), (0.0,), str(said[PROVENANCE]), zero=(as_number(said.get(ZERO)) or 0.0,))


def by_units(product: Product, name: str) -> Linear | None:
    """Believe units: percent, or 1."""
    values = product.view.bands[name]
    units, standard_name, *others = (str(values.attrs.get(key, "")) for key in NAMES_OF_UNITS)
    if "radiance" in " ".join([standard_name, *others]).casefold() or RADIANCE.search(units.strip()):
        raise ReflectanceError(
            f"band {name!r} in units of radiance{f' ({units.strip()})' * bool(units.strip())}",
            "reflectance or digital numbers: radiance needs the solar illumination, the sun and the date of its sensor",
            "the product as reflectance, such as satpy's scn.load(..., calibration='reflectance'); or scale= and "
            "offset= from this radiance to reflectance",
        )
    is_one = units.strip() == "1" and values.dtype.kind == "f" and ("reflectance" in standard_name or not standard_name)
    if units.strip().casefold() in PERCENT_UNITS:
        return _of_percent(product, name, f"units {units!r}")
    return Linear((1.0,), (0.0,), f"units {units!r}") if is_one else None


def _of_percent(product: Product, name: str, source: str) -> Linear:
    """Take values for percent; integers that declare a scale are percent only once it is applied."""
    declared = declared_scaling(product.view, name) if product.view.bands[name].dtype.kind != "f" else None
    if declared is None:
        return Linear((PERCENT,), (0.0,), source)
    scale, offset = (tuple(n * PERCENT for n in numbers) for numbers in (declared.scale, declared.offsets))
    return Linear(scale, offset, f"{declared.source}, {source}")


def by_band_metadata(product: Product, name: str) -> Linear | None:
    """Believe the scale and offset of the band: STAC's, then CF's."""
    declared = declared_scaling(product.view, name)
    if declared is None:
        return None
    for stated in set(zip(*_repeated(declared.scale, declared.offset), strict=True)):
        require_plausible_rule(name, product.view.bands[name].dtype, *stated)
    return _of_metadata(product, name, declared)


def by_floats(product: Product, name: str) -> Linear | None:
    """Take floats for reflectance, unless a loader made them of integers; values are judged when they are read."""
    values = product.view.bands[name]
    came_as = np.dtype(values.encoding.get("dtype") or "f4")
    are_numbers = came_as.kind in "iu" or values.attrs.get("units") == NUMBERS_UNITS
    if values.dtype.kind != "f" or are_numbers or _are_numbers_of_stackstac(product):
        return None
    return Linear((1.0,), (0.0,), "floating-point values taken as reflectance")


def by_sensor_table(product: Product, name: str) -> Linear:
    """Believe the sensor's table; the last rule, which raises where the table does not answer either."""
    return _of_metadata(product, name, None)


RULES: tuple[Rule, ...] = (by_mark, by_units, by_band_metadata, by_floats, by_sensor_table)


def _of_metadata(product: Product, name: str, declared: Declared | None, offset: float | None = None) -> Linear:
    """Complete what a band declares by the sensor's table: offsets by date, the sine of the sun elevation, radiance."""
    rule = product.rule
    if declared is None:
        rule = _required(product, name)
        if rule.radiance and product.sensor is not None:
            scales, source = toa_scales(product.view, product.sensor, name, rule.attach)
            sines = sines_of_sun_elevation(product.view, rule.attach)
            return Linear(scales, (offset or 0.0,), source, tuple(1 / sine for sine in sines))
        require_plausible_rule(name, product.view.bands[name].dtype, rule.scale, None)
        constant = rule.offset if rule.baseline is None else None
        declared = Declared((rule.scale,), (constant,), False, f"{product.title} table")
    totals, why = _offsets(product, rule, declared) if offset is None else ((offset,), "given by the caller")
    zero = declared.offsets if declared.applied else (0.0,)
    done = "applied by the loader" if declared.applied else f"DN * {spelt(declared.scale)}"
    offsets = _differences(totals, declared.offsets) if declared.applied else totals
    undone = f", {spelt(offsets)} added to what the loader made of it" if declared.applied and any(offsets) else ""
    linear = Linear((1.0,) if declared.applied else declared.scale, offsets, "", zero=zero)
    if rule is not None and rule.sun_elevation:
        linear = _over_sine_of_sun_elevation(product.view, linear)
        why += ", over the sine of the sun elevation"
    return replace(linear, source=f"{declared.source}: {done}, offset {spelt(totals)} ({why}){undone}")


def _over_sine_of_sun_elevation(view: CubeView, linear: Linear) -> Linear:
    *rows, sines = _repeated(linear.scale, linear.offset, sines_of_sun_elevation(view))
    scale, offset = (tuple(n / sine for n, sine in zip(row, sines, strict=True)) for row in rows)
    return replace(linear, scale=scale, offset=offset, stretch=tuple(1 / sine for sine in sines))


def _differences(totals: Numbers, applied: Numbers) -> Numbers:
    """Return what is left to add once a loader has added `applied`."""
    pairs = zip(*_repeated(totals, applied), strict=True)
    return tuple(0.0 if math.isclose(total, done) else total - done for total, done in pairs)


def _repeated(*rows: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    """Repeat what holds for all dates, where another row has one number per date."""
    length = max(map(len, rows))
    return tuple(row * length if len(row) == 1 else row for row in rows)


def _offsets(product: Product, rule: RadiometryRule | None, declared: Declared) -> tuple[Numbers, str]:
    """Return the offset of the digital numbers, one or one per date, and why."""
    if rule is None and len(product.candidates) > 1 and None in declared.offset:
        raise ambiguous(product.view, product.candidates)  # one of them may have an offset
    if rule is None or rule.baseline is None or rule.baseline_offset is None:
        return declared.offsets, "constant"
    dates = product.dated_offsets
    if dates is not None and dates.final:
        return dates.offsets, dates.source
    if None not in declared.offset:
        stated = declared.offsets
        if dates is not None and any(o == 0 != s for o, s in zip(*_repeated(dates.offsets, stated), strict=True)):
            by_baseline = ", or cube.drop_vars('raster:bands') to go by the baselines"
            raise ReflectanceError(
                f"{declared.source} with offset {spelt(stated)}, but {dates.source}, which has none",
                "metadata that agree",
                f"offset={min(stated):g}, offset=0" + by_baseline * (declared.source == "STAC"),
                {"offset": min(stated)},
            )
        return stated, "declared"
    if dates is None:
        raise _unknown_baseline(product, rule.baseline, rule.baseline_offset)
    return dates.offsets, dates.source


def _unknown_baseline(product: Product, baseline: float, offset: float) -> ReflectanceError:
    days = dates_of(product.view)
    is_new = days is None or bool((days >= BASELINE_04).all())
    return ReflectanceError(
        f"{product.title} digital numbers of an unknown processing baseline",
        f"a coordinate or attribute {BASELINE_KEYS[0]!r}, or a harmonised flag: from baseline {baseline:05.2f} on, "
        f"an offset of {offset:g} applies",
        f"{remedies.ATTACH} where the cube was loaded from STAC items; else offset=0 before baseline {baseline:05.2f} "
        f"and for harmonised collections, offset={offset:g} otherwise",
        {"offset": offset if is_new else 0.0},
    )


def _required(product: Product, name: str) -> RadiometryRule:
    """Return the table's rule for the product; raise what is missing where there is none."""
    rule, dtype = product.rule, product.view.bands[name].dtype
    if rule is not None and rule.unsupported is None:
        return rule
    if len(product.candidates) > 1:
        raise ambiguous(product.view, product.candidates)
    if product.sensor is None:
        raise _without_scale(name, dtype)
    if rule is not None:
        attach = f"{rule.attach}, or " if rule.attach else ""
        raise ReflectanceError(
            f"{product.title} digital numbers: {rule.unsupported}",
            "reflectance, or digital numbers with the scale and offset that make reflectance of them",
            f"{attach}scale={{{name!r}: ..., ...}}, offset={{{name!r}: ..., ...}}, level={rule.level!r}",
        )
    levels = ", ".join(rule.level for rule in product.sensor.radiometry)
    raise ReflectanceError(
        f"{product.title} digital numbers of an unknown processing level",
        f"one of the levels {levels}: their scale and offset differ",
        "level='BOA' for surface reflectance products, level='TOA' for top of atmosphere",
        {"level": "BOA"},
    )


def _without_scale(name: str, dtype: np.dtype[np.generic]) -> ReflectanceError:
    found = f"band {name!r} of dtype {dtype} whose metadata name neither scale nor sensor"
    if dtype.itemsize == 1:
        return ReflectanceError(
            found,
            "reflectance from 0 to 1, or numbers with a known scale",
            "scale='display' for an image that was stretched for the eye; scale=1/255 where 255 is reflectance 1",
            {"scale": "display"},
        )
    return ReflectanceError(
        found,
        "reflectance from 0 to 1, or digital numbers with a known scale and offset",
        "scale=0.0001, offset=0 or sensor='sentinel-2'; scale='estimate' where nobody knows the scale",
        {"scale": 0.0001, "offset": 0.0},
    )


def _are_numbers_of_stackstac(product: Product) -> bool:
    """Whether floats of a known sensor are digital numbers: without ``raster:bands`` stackstac cannot rescale."""
    if product.sensor is None or not is_from_stackstac(product.view):
        return False
    if any(str(key).startswith("earthsearch:") for key in product.view.source.coords):
        raise ReflectanceError(
            "floats from stackstac whose dates have different raster:bands, which it does not keep",
            "digital numbers, or one scale and offset for all dates",
            "stackstac.stack(items, rescale=False, dtype='uint16', fill_value=numpy.uint16(0)), "
            f"then {remedies.ATTACH}",
        )
    return True
