"""How a cube's values become reflectance or kelvin, settled from metadata and from what the caller says.

`rules` finds scale and offset of reflectance bands; here they meet no data, plausible limits, and bands of other kinds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from xr_cloudmask.cube import rules
from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.declared import FACTORS, LEVELS, declared_scaling, named_levels
from xr_cloudmask.cube.layout import CubeView, require_real_numbers
from xr_cloudmask.cube.metadata import as_number, flat
from xr_cloudmask.cube.nodata import declared_nodata, moved_nodata, valid_range
from xr_cloudmask.cube.plausible import COLDEST, HIGHEST, HOTTEST, LARGEST_SCALE_OF_NUMBERS, LOWEST
from xr_cloudmask.cube.rules import Linear, Numbers, Product
from xr_cloudmask.cube.sensors import RadiometryRule, Sensor
from xr_cloudmask.cube.temperature import temperature_rule
from xr_cloudmask.errors import CloudMaskError, ReflectanceError, listed

Factor: TypeAlias = float | str | Mapping[str, float]
Nodata: TypeAlias = float | Sequence[float]
EXAMPLES = {"scale": "0.0001", "offset": "-0.1"}
# What tells bands apart, and says nothing of how their values become reflectance.
MEASURED = {
    "name", "common_name", "description", "center_wavelength", "full_width_half_max", "min_wavelength",
    "max_wavelength", "solar_illumination", "title", "eo:bands", "raster:bands", "bands",
}  # fmt: skip
LIMITS = {"reflectance": (LOWEST, HIGHEST), "brightness_temperature": (COLDEST, HOTTEST)}


@dataclass(frozen=True)
class Calibration:
    """The rule of one band: ``reflectance = dn * scale + offset``.

    Attributes
    ----------
    scale, offset : tuple of float
        One number, or one per date.
    nodata : tuple of float
        No-data values in the band's values as they are; NaN and infinities are no data in any case.
    zero : tuple of float
        What digital number 0 is in the band's values as they are, one number or one per date: the offset where a
        loader or an earlier conversion has added it already. A pixel with it in all bands is fill.
    kind : str
        What comes of it, one of `bands.KINDS`.
    planck : tuple of tuple of float, or None
        K1 and K2, for each scale, of thermal bands whose digital numbers become radiance, and only then kelvin.
    stretch : tuple of float
        1 / the sine of the sun elevation where the rule divides by it, one number or one per date.
    valid : tuple of float or None
        The CF valid range of the values as they are.
    """

    scale: Numbers
    offset: Numbers
    nodata: Numbers = ()
    zero: Numbers = (0.0,)
    kind: str = "reflectance"
    planck: tuple[tuple[float, float], ...] | None = None
    stretch: Numbers = (1.0,)
    valid: tuple[float, float] | None = None

    @property
    def dates(self) -> int:
        """How many dates it tells apart; 1 where it is the same for all."""
        return max(map(len, (self.scale, self.offset, self.zero, self.stretch)))

    def linear(self, date: int) -> tuple[float, float]:
        """Return scale and offset of a date."""
        return self.scale[date % len(self.scale)], self.offset[date % len(self.offset)]

    def limits(self, date: int) -> tuple[float, float]:
        """Return what can be measured, before Planck's law: lowest and highest result of ``dn * scale + offset``."""
        if self.planck is not None or self.kind not in LIMITS:
            return -math.inf, math.inf
        stretch = self.stretch[date % len(self.stretch)] if self.kind == "reflectance" else 1.0
        low, high = (limit * stretch for limit in LIMITS[self.kind])
        if self.valid is None:
            return low, high
        scale, offset = self.linear(date)
        ends = [end * scale + offset for end in self.valid]
        slack = 1e-6 * max(map(abs, ends)) if all(map(math.isfinite, ends)) else 0.0  # of single precision
        return max(low, ends[0] - slack), min(high, ends[1] + slack)


def product_of(
    view: CubeView,
    candidates: tuple[Sensor, ...],
    descriptors: Sequence[BandDescriptor],
    level: str | None,
    sensor_name: str | None,
) -> Product:
    """Say what product a cube is of: its sensor, its level, and the sensor table's rule for it.

    Raises
    ------
    ReflectanceError
        `level` is neither TOA nor BOA, or the metadata name both.
    """
    if level is not None and (not isinstance(level, str) or level.upper() not in LEVELS):
        meant = "TOA" if re.match(r"(?i)l(evel[ -]?)?1|toa", str(level)) else "BOA"
        raise ReflectanceError(
            f"level {level!r}", "one of 'TOA' (L1C, level 1), 'BOA' (L2A, level 2)", f"level={meant!r}"
        )
    table = candidates[0] if len(candidates) == 1 else None
    stated = level.upper() if level else _agreed(named_levels(view, table, descriptors))
    rule = _rule(table, stated)
    if stated is None and rule is not None and table is not None and len(table.radiometry) == 1:
        stated = rule.level
    return Product(view, candidates, stated, rule, sensor_name)


def _agreed(evidence: list[set[str]]) -> str | None:
    named = set().union(*evidence)
    if len(named) > 1:
        raise ReflectanceError(
            "metadata that name both TOA and BOA",
            "one level per cube",
            "level='BOA', or a cube per level",
            {"level": "BOA"},
        )
    return next(iter(named), None)


def _rule(table: Sensor | None, level: str | None) -> RadiometryRule | None:
    """Return the table's rule for a level; without a level only where all levels share one rule."""
    if table is None:
        return None
    found = [rule for rule in table.radiometry if level in (None, rule.level)]
    linear = {(r.scale, r.offset, r.baseline, r.sun_elevation, r.radiance, r.unsupported) for r in found}
    return found[0] if len(linear) == 1 else None


def calibrations(
    product: Product,
    descriptors: Iterable[BandDescriptor],
    scale: Factor | None,
    offset: Factor | None,
    nodata: Nodata | None,
) -> dict[str, tuple[Calibration, str] | CloudMaskError]:
    """Settle bands by name; what is missing is to be raised only where the band is used.

    Bands of which the same is said, but for names and wavelengths, share what it comes to.
    """
    given = numbers_given(nodata)
    settled: dict[str, tuple[Calibration, str] | CloudMaskError] = {}
    shared: dict[Any, tuple[Calibration, str]] = {}
    for band in descriptors:
        alike = _alike(product, band, scale, offset)
        try:
            if alike not in shared:
                shared[alike] = calibration_of(product, band, scale, offset, given)
            settled[band.name] = shared[alike]
        except CloudMaskError as error:
            settled[band.name] = error
    return settled


def _alike(product: Product, band: BandDescriptor, scale: Factor | None, offset: Factor | None) -> Any:
    """Return everything that is said of a band but for what it measures; its name where more may depend on that."""
    view, name = product.view, band.name
    in_coords = any(factor in view.source.coords or f"{factor}:{name}" in view.source.coords for factor in FACTORS)
    by_name = isinstance(scale, Mapping) or isinstance(offset, Mapping) or in_coords
    if by_name or band.kind != "reflectance" or (product.rule is not None and product.rule.radiance):
        return name
    values, stac = view.bands[name], view.metadata[name].stac
    said = [{key: v for key, v in fields.items() if key not in MEASURED} for fields in (values.attrs, stac)]
    return repr((said, values.encoding, values.dtype, "raster:bands" in view.metadata[name].coords))


def calibration_of(
    product: Product, descriptor: BandDescriptor, scale: Factor | None, offset: Factor | None, nodata: Numbers
) -> tuple[Calibration, str]:
    """Settle one band, from metadata and what the caller says; also say where the numbers come from.

    Thermal bands become kelvin; radar, elevation and what is normalised already stay as they are, but for a scale and
    offset in their own metadata. A single scale for the whole cube is not meant for those.

    Raises
    ------
    CubeError, ReflectanceError
        The values are no numbers, or the metadata do not settle it.
    """
    require_real_numbers(descriptor.name, product.view.bands[descriptor.name])
    if descriptor.kind != "reflectance":
        return _other_calibration(product, descriptor, scale, offset)
    name = descriptor.name
    factors = _of_band("scale", scale, name), _of_band("offset", offset, name)
    linear = rules.settled(product, name) if factors == (None, None) else rules.told(product, name, *factors)
    return _reflectance(product, name, linear, nodata), linear.source


def _reflectance(product: Product, name: str, linear: Linear, nodata: Numbers) -> Calibration:
    values = product.view.bands[name]
    are_numbers = values.dtype.kind != "f" or max(linear.scale) <= LARGEST_SCALE_OF_NUMBERS
    missing = dict.fromkeys((*nodata, *_nodata(product, name, are_numbers)))
    zero = (0.0,) if are_numbers else linear.zero
    valid = valid_range(values, linear.scale[0], linear.offset[0])
    return Calibration(linear.scale, linear.offset, tuple(missing), zero, stretch=linear.stretch, valid=valid)


def _other_calibration(
    product: Product, descriptor: BandDescriptor, scale: Factor | None, offset: Factor | None
) -> tuple[Calibration, str]:
    name, kind = descriptor.name, descriptor.kind
    nodata = declared_nodata(product.view.bands[name])
    given = [factor.get(name) if isinstance(factor, Mapping) else None for factor in (scale, offset)]
    if any(factor is not None for factor in given):
        factors = (1.0 if given[0] is None else given[0],), (given[1] or 0.0,)
        return Calibration(*factors, nodata, kind=kind), "scale and offset given by the caller"
    if kind == "brightness_temperature":
        rule = temperature_rule(product.view, name, product.sensor, product.sensor_name)
        fill = _nodata(product, name, rule.planck is not None)
        return Calibration(rule.scale, rule.offset, fill, kind=kind, planck=rule.planck), rule.source
    declared = declared_scaling(product.view, name)
    if declared is None or declared.applied:
        return Calibration((1.0,), (0.0,), nodata, kind=kind), "values as they are"
    return Calibration(declared.scale, declared.offsets, nodata, kind=kind), declared.source


def _nodata(product: Product, name: str, are_numbers: bool) -> Numbers:
    """Return the declared no-data values in the values as they are: the band's, else the sensor's."""
    values, rule = product.view.bands[name], product.rule
    declared = declared_nodata(values)
    if not are_numbers:
        # Digital number 0 of the product, after arithmetic of the user's own.
        moved = (rule.offset, rule.baseline_offset) if rule is not None and not rule.sun_elevation else ()
        return (*declared, *moved_nodata(values), *(number for number in moved if number))
    said = product.view.metadata[name].stac.get("nodata")
    stac = None if said is None or values.dtype.kind == "f" else as_number(said)
    declared = declared if stac is None else (*declared, stac)
    if declared or product.sensor is None:
        return declared
    return (rule.nodata if rule is not None and rule.nodata is not None else product.sensor.nodata,)


def summary(sources: Mapping[str, str]) -> str:
    """Write where numbers come from in one line: what bands have of their own with their names, what all share once.

    Examples
    --------
    >>> summary({"B02": "table: DN * 0.0001; offset 0", "B03": "table: DN * 0.0002; offset 0"})
    'B02: table: DN * 0.0001; B03: table: DN * 0.0002; offset 0'
    """
    if len(set(sources.values())) == 1:
        return next(iter(sources.values()))
    clauses = [source.split("; ") for source in sources.values()]
    shared = [clause for clause in clauses[0] if all(clause in others for others in clauses)]
    own = ["; ".join(clause for clause in of_band if clause not in shared) for of_band in clauses]
    names = {text: [name for name, other in zip(sources, own, strict=True) if other == text] for text in own}
    return "; ".join([*(f"{', '.join(bands)}: {text}" for text, bands in names.items()), *shared])


def _of_band(keyword: str, factor: Factor | None, name: str) -> float | None:
    if isinstance(factor, Mapping):
        if name not in factor:
            raise ReflectanceError(
                f"no number for band {name!r}",
                f"one per band; given: {listed(factor)}",
                f"{{{name!r}: 0.0001, ...}}",
            )
        factor = factor[name]
    if factor is None or (_is_number(factor) and math.isfinite(float(factor))):
        return None if factor is None else float(factor)
    raise ReflectanceError(
        f"{keyword}={factor!r}", "a number, or a mapping of band name to number", f"{keyword}={EXAMPLES[keyword]}"
    )


def _is_number(value: Any) -> bool:
    is_flag = isinstance(value, bool | np.bool_)
    return not is_flag and isinstance(value, Real) and _fits_a_float(value)


def _fits_a_float(value: Any) -> bool:
    try:
        float(value)
    except OverflowError:  # an integer of hundreds of digits
        return False
    return True


def numbers_given(nodata: Nodata | None) -> Numbers:
    """Return the caller's no-data values as floats.

    Raises
    ------
    ReflectanceError
        They are no numbers.
    """
    values = [] if nodata is None else flat(nodata)
    if not all(map(_is_number, values)):
        raise ReflectanceError(f"nodata={nodata!r}", "a number, or a list of numbers", "nodata=-9999")
    return tuple(map(float, values))
