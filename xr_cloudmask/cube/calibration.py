"""How a cube's values become reflectance or kelvin, settled from metadata alone.

`calibrate` reads what is declared and settles, per band and date, one linear rule; `cube.reflectance` computes it. What
the metadata cannot settle is an error that says what to pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xr_cloudmask.cube.bands import BandDescriptor, candidate_sensors, identify_sensor
from xr_cloudmask.cube.declared import (
    BASELINE_KEYS,
    LEVELS,
    NUMBERS_UNITS,
    Declared,
    declared_nodata,
    declared_scaling,
    is_from_stackstac,
    is_marked,
    mark_of,
    named_levels,
    offsets_by_baseline,
    scale_of_units,
    sines_of_sun_elevation,
    zero_of_mark,
)
from xr_cloudmask.cube.layout import CubeView, require_real_numbers
from xr_cloudmask.cube.plausible import (
    LARGEST_SCALE_OF_NUMBERS,
    LARGEST_TYPICAL_REFLECTANCE,
    not_reflectance,
    require_plausible_rule,
    typical_of,
)
from xr_cloudmask.cube.properties import as_number, spelt, stac_band
from xr_cloudmask.cube.radiance import toa_scales
from xr_cloudmask.cube.temperature import temperature_rule
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    from xr_cloudmask.cube.sensors import RadiometryRule, Sensor
Factor: TypeAlias = float | Mapping[str, float]
EXAMPLES = {"scale": "0.0001", "offset": "-0.1"}


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
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nodata: tuple[float, ...] = ()
    zero: tuple[float, ...] = (0.0,)
    kind: str = "reflectance"
    planck: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class Radiometry:
    """How a cube's values become reflectance.

    Attributes
    ----------
    level : str or None
        ``"TOA"`` or ``"BOA"``; None where the cube does not say.
    calibrations : tuple of Calibration
        In the order of the descriptors.
    provenance : str
        One line about where scale and offset come from.
    """

    level: str | None
    calibrations: tuple[Calibration, ...]
    provenance: str


@dataclass(frozen=True)
class _Context:
    """What holds for all bands of a cube."""

    view: CubeView
    sensor_name: str | None
    sensor: Sensor | None
    level: str | None
    level_given: bool
    rule: RadiometryRule | None


def calibrate(
    view: CubeView,
    descriptors: Sequence[BandDescriptor],
    *,
    sensor: str | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    level: str | None = None,
    nodata: float | Sequence[float] | None = None,
) -> Radiometry:
    """Settle how the values of each band become reflectance, from metadata alone.

    First answer wins: `scale` and `offset`; the mark of an earlier conversion; units (percent, 1); STAC
    ``raster:bands``, ``bands`` or ``eo:bands``; CF ``scale_factor`` and ``add_offset``; the sensor table's rule. What
    a loader has applied already (xarray's ``mask_and_scale``, stackstac's ``rescale``) is not applied again. For
    Sentinel-2 the offset follows the harmonised flag or the processing baseline of every date; for CBERS and
    Amazonia-1 the scale follows the calibration coefficient, sun elevation and distance of every date.

    Parameters
    ----------
    view : CubeView
        The cube; dask arrays are not computed.
    descriptors : sequence of BandDescriptor
        Its bands. Thermal ones become kelvin; radar, elevation and what is normalised already stay as they are, but
        for a scale and offset in their own metadata.
    sensor : str, optional
        Sensor id or spelling, where the cube does not say.
    scale, offset : float or mapping of band name to float, optional
        ``reflectance = dn * scale + offset``. One of them alone leaves the other to the metadata; ``scale=1`` says
        that the values are reflectance. Bands that are not reflectance take theirs from a mapping alone.
    level : {"TOA", "BOA"}, optional
        Top or bottom of atmosphere.
    nodata : float or sequence of float, optional
        No-data values of the digital numbers, besides those that are declared.

    Returns
    -------
    Radiometry

    Raises
    ------
    ReflectanceError
        The metadata do not settle it.

    References
    ----------
    Sentinel-2 Products Specification Document (processing baseline 04.00); Landsat Collection 2 Product Guides;
    STAC raster extension; CF conventions, section 8.1.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import bands, layout
    >>> cube = xr.Dataset({"B04": (("y", "x"), np.full((2, 2), 3000, "uint16"))}, attrs={
    ...     "platform": "Sentinel-2A", "processing:level": "L2A", "s2:processing_baseline": "05.09"})
    >>> view = layout.view(cube)
    >>> calibrate(view, bands.describe(view)).calibrations
    (Calibration(scale=(0.0001,), offset=(-0.1,), nodata=(0.0,), zero=(0.0,), kind='reflectance', planck=None),)
    """
    context = _context(view, descriptors, sensor, level)
    given = _numbers_given(nodata)
    calibrations, sources = [], []
    for descriptor in descriptors:
        name = descriptor.name
        require_real_numbers(name, view.bands[name])
        if descriptor.kind == "reflectance":
            factors = _of_band("scale", scale, name), _of_band("offset", offset, name)
            calibration, source = _calibration(context, name, *factors, given)
        else:
            calibration, source = _other_calibration(context, descriptor, scale, offset)
        calibrations.append(calibration)
        sources.append(source)
    return Radiometry(context.level, tuple(calibrations), _summary(descriptors, sources))


def level_of(
    view: CubeView, descriptors: Sequence[BandDescriptor], sensor: str | None = None, level: str | None = None
) -> str | None:
    """Say whether a cube is top or bottom of atmosphere, from metadata alone.

    Parameters
    ----------
    view : CubeView
        The cube.
    descriptors : sequence of BandDescriptor
        Its bands; Landsat's ``SR_B2`` and CF standard names tell the level.
    sensor, level : str, optional
        What the caller says; it wins.

    Returns
    -------
    {"TOA", "BOA"} or None
        None where the cube does not say.

    Raises
    ------
    ReflectanceError
        `level` is neither, or the metadata name both.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xr_cloudmask.cube import layout
    >>> cube = xr.Dataset({"SR_B2": (("y", "x"), np.ones((2, 2)))})
    >>> level_of(layout.view(cube), [BandDescriptor("SR_B2", "blue", 452, 512)], sensor="landsat-8-9")
    'BOA'
    """
    return _context(view, descriptors, sensor, level).level


def _context(view: CubeView, descriptors: Sequence[BandDescriptor], sensor: str | None, level: str | None) -> _Context:
    if level is not None and (not isinstance(level, str) or level.upper() not in LEVELS):
        raise ReflectanceError(f"level {level!r}", "one of 'TOA', 'BOA'", "level='BOA'")
    candidates = candidate_sensors(view, sensor)
    table = candidates[0] if len(candidates) == 1 else None
    evidence = named_levels(view, table, descriptors)
    stated = level.upper() if level else _agreed(evidence)
    rule = _rule(table, stated)
    if stated is None and rule is not None and table is not None and len(table.radiometry) == 1:
        stated = rule.level
    return _Context(view, sensor, table, stated, level is not None, rule)


def _agreed(evidence: list[set[str]]) -> str | None:
    named = set().union(*evidence)
    if len(named) > 1:
        raise ReflectanceError(
            "metadata that name both TOA and BOA", "one level per cube", "level='BOA', or a cube per level"
        )
    return next(iter(named), None)


def _rule(table: Sensor | None, level: str | None) -> RadiometryRule | None:
    """Return the table's rule for a level; without a level only where all levels share one rule."""
    if table is None:
        return None
    rules = [rule for rule in table.radiometry if level in (None, rule.level)]
    linear = {(r.scale, r.offset, r.baseline, r.sun_elevation, r.radiance, r.unsupported) for r in rules}
    return rules[0] if len(linear) == 1 else None


def _calibration(
    context: _Context, name: str, scale: float | None, offset: float | None, nodata: tuple[float, ...]
) -> tuple[Calibration, str]:
    scales, offsets, source = _linear(context, name, scale, offset)
    are_numbers = context.view.bands[name].dtype.kind != "f" or max(scales) <= LARGEST_SCALE_OF_NUMBERS
    missing = dict.fromkeys((*nodata, *_nodata(context, name, are_numbers)))
    zero = (0.0,) if are_numbers else _zero(context, name)
    return Calibration(scales, offsets, tuple(missing), zero), source


def _linear(
    context: _Context, name: str, scale: float | None, offset: float | None
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Return scales, offsets and where they come from: the first source that answers."""
    values = context.view.bands[name]
    if scale is not None or offset is not None:
        require_plausible_rule(name, values.dtype, scale, offset)
        return *_completed(context, name, scale, offset), "scale and offset given by the caller"
    if is_marked(context.view, name):
        return (1.0,), (0.0,), mark_of(context.view, name)
    unit = scale_of_units(name, values)
    if unit is not None:
        return (unit,), (0.0,), f"units {values.attrs['units']!r}"
    declared = declared_scaling(context.view, name)
    if declared is None and values.dtype.kind == "f" and _are_reflectance(context, name):
        return (1.0,), (0.0,), "floating-point values taken as reflectance"
    if declared is not None:
        for stated in set(zip(*_broadcast(declared.scale, declared.offset), strict=True)):
            require_plausible_rule(name, values.dtype, *stated)
    return _settled(context, name, declared)


def _other_calibration(
    context: _Context, descriptor: BandDescriptor, scale: Factor | None, offset: Factor | None
) -> tuple[Calibration, str]:
    """Settle a band that is not reflectance; a single scale for the whole cube is not meant for it."""
    name, kind = descriptor.name, descriptor.kind
    nodata = declared_nodata(context.view.bands[name])
    given = [factor.get(name) if isinstance(factor, Mapping) else None for factor in (scale, offset)]
    if any(factor is not None for factor in given):
        factors = (1.0 if given[0] is None else given[0],), (given[1] or 0.0,)
        return Calibration(*factors, nodata, kind=kind), "scale and offset given by the caller"
    if kind == "brightness_temperature":
        rule = temperature_rule(context.view, name, context.sensor, context.sensor_name)
        fill = _nodata(context, name, rule.planck is not None)
        return Calibration(rule.scale, rule.offset, fill, kind=kind, planck=rule.planck), rule.source
    declared = declared_scaling(context.view, name)
    if declared is None or declared.applied:
        return Calibration((1.0,), (0.0,), nodata, kind=kind), "values as they are"
    return Calibration(declared.scale, declared.offsets, nodata, kind=kind), declared.source


def _completed(
    context: _Context, name: str, scale: float | None, offset: float | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Complete what the caller gave: the other half comes from the metadata, where there are any."""
    if scale is not None and (offset is not None or scale == 1 or not _has_rule(context, name)):
        return (float(scale),), (float(offset or 0.0),)
    if scale is None:
        scales, offsets, _ = _settled(context, name, declared_scaling(context.view, name), offset=offset)
        return scales, offsets
    _, offsets, _ = _settled(context, name, declared_scaling(context.view, name))
    return (float(scale),), offsets


def _has_rule(context: _Context, name: str) -> bool:
    rule = context.rule
    is_known = rule is not None and rule.unsupported is None and not rule.radiance  # radiance has no offset to look up
    return is_known or declared_scaling(context.view, name) is not None


def _settled(
    context: _Context, name: str, declared: Declared | None, offset: float | None = None
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Return scales, offsets and their source from what is declared, completed by the sensor's rule."""
    rule = context.rule
    if declared is None:
        rule = _require_rule(context, name)
        if rule.radiance and context.sensor is not None:
            factors, source = toa_scales(context.view, context.sensor, name, rule.attach)
            return factors, (offset or 0.0,), source
        constant = rule.offset if rule.baseline is None else None
        declared = Declared((rule.scale,), (constant,), False, f"{_title(context)} table")
    totals, why = _offsets(context, rule, declared) if offset is None else ((offset,), "given by the caller")
    scales = (1.0,) if declared.applied else declared.scale
    offsets = _differences(totals, declared.offsets) if declared.applied else totals
    if rule is not None and rule.sun_elevation:
        scales, offsets = _over_sine_of_sun_elevation(context.view, scales, offsets)
        why += ", over the sine of the sun elevation"
    done = "applied by the loader" if declared.applied else f"DN * {spelt(declared.scale)}"
    undone = f", {spelt(offsets)} added to what the loader made of it" if declared.applied and any(offsets) else ""
    return scales, offsets, f"{declared.source}: {done}, offset {spelt(totals)} ({why}){undone}"


def _require_rule(context: _Context, name: str) -> RadiometryRule:
    if context.rule is not None and context.rule.unsupported is None:
        return context.rule
    dtype = context.view.bands[name].dtype
    if context.sensor is None:
        sensor = identify_sensor(context.view, context.sensor_name)  # raises where several fit
        if sensor is None:
            raise ReflectanceError(
                f"band {name!r} of dtype {dtype} whose metadata name neither scale nor sensor",
                "reflectance from 0 to 1, or digital numbers with a known scale and offset",
                "scale=0.0001, offset=0 or sensor='sentinel-2'; scale=1 if the values are reflectance",
            )
    if context.rule is not None:
        raise ReflectanceError(
            f"{_title(context)} digital numbers: {context.rule.unsupported}",
            "surface reflectance products, or digital numbers with scale and offset",
            "scale={'BAND1': ..., ...}, offset=0, level='TOA'",
        )
    levels = ", ".join(rule.level for rule in context.sensor.radiometry) if context.sensor else ""
    raise ReflectanceError(
        f"{_title(context)} digital numbers of an unknown processing level",
        f"one of the levels {levels}: their scale and offset differ",
        "level='BOA' for surface reflectance products, level='TOA' for top of atmosphere",
    )


def _offsets(context: _Context, rule: RadiometryRule | None, declared: Declared) -> tuple[tuple[float, ...], str]:
    """Return the offset of the digital numbers, one or one per date, and why."""
    if rule is None and context.sensor is None and None in declared.offset:
        identify_sensor(context.view, context.sensor_name)  # several sensors fit: one of them may have an offset
    if rule is None or rule.baseline is None or rule.baseline_offset is None:
        return declared.offsets, "constant"
    dates = offsets_by_baseline(context.view, rule.baseline, rule.baseline_offset)
    if dates is not None and dates.final:
        return dates.offsets, dates.source
    if None not in declared.offset:
        stated = declared.offsets
        if dates is not None and any(o == 0 != s for o, s in zip(*_broadcast(dates.offsets, stated), strict=True)):
            by_baseline = ", or cube.drop_vars('raster:bands') to go by the baselines"
            raise ReflectanceError(
                f"{declared.source} with offset {spelt(stated)}, but {dates.source}, which has none",
                "metadata that agree",
                f"offset={min(stated):g}, offset=0" + by_baseline * (declared.source == "STAC"),
            )
        return stated, "declared"
    if dates is None:
        raise ReflectanceError(
            f"{_title(context)} digital numbers of an unknown processing baseline",
            f"a coordinate or attribute {BASELINE_KEYS[0]!r}, or a harmonised flag: from baseline "
            f"{rule.baseline:05.2f} on, an offset of {rule.baseline_offset:g} applies",
            f"offset=0 before baseline {rule.baseline:05.2f} and for harmonised collections, "
            f"offset={rule.baseline_offset:g} otherwise",
        )
    return dates.offsets, dates.source


def _over_sine_of_sun_elevation(
    view: CubeView, scales: tuple[float, ...], offsets: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    sines = sines_of_sun_elevation(view)
    length = max(len(sines), len(scales), len(offsets))
    dated = [(scales[i % len(scales)], offsets[i % len(offsets)], sines[i % len(sines)]) for i in range(length)]
    return tuple(scale / sine for scale, _, sine in dated), tuple(offset / sine for _, offset, sine in dated)


def _are_reflectance(context: _Context, name: str) -> bool:
    """Whether floating-point values without scale and offset are reflectance; raises where nothing tells."""
    values = context.view.bands[name]
    if values.attrs.get("units") == NUMBERS_UNITS:
        return False
    if np.issubdtype(np.dtype(values.encoding.get("dtype") or "f4"), np.integer):
        return False  # integers that the loader masked
    if context.sensor is None:
        return True
    typical = typical_of(values.variable) if values.chunks is None else None
    if typical is not None and typical <= LARGEST_TYPICAL_REFLECTANCE:
        return True
    if is_from_stackstac(context.view):
        return _stackstac_left_numbers(context)
    if typical is not None:
        raise not_reflectance(typical, values.dtype)
    if context.level_given:
        return True
    raise ReflectanceError(
        f"band {name!r}: lazy floating-point values of {context.sensor.title} without scale, units or mark",
        "metadata that tell reflectance from digital numbers turned into floats",
        "load integers, for example odc.stac.load(..., dtype='uint16', nodata=0); or scale=1 if the values are "
        "reflectance from 0 to 1, scale=0.0001 and offset=... if they are digital numbers",
    )


def _stackstac_left_numbers(context: _Context) -> bool:
    """Return False, for digital numbers: without ``raster:bands`` stackstac has nothing to rescale with."""
    if any(str(key).startswith("earthsearch:") for key in context.view.source.coords):
        raise ReflectanceError(
            "floats from stackstac whose dates have different raster:bands, which it does not keep",
            "digital numbers, or one scale and offset for all dates",
            "stackstac.stack(items, rescale=False, dtype='uint16', fill_value=numpy.uint16(0))",
        )
    return False


def _nodata(context: _Context, name: str, are_numbers: bool) -> tuple[float, ...]:
    """Return the declared no-data values in the values as they are: the band's, else the sensor's."""
    values = context.view.bands[name]
    declared = declared_nodata(values)
    if not are_numbers:
        return declared
    stac = as_number(stac_band(context.view, name).get("nodata"))
    declared = declared if stac is None or values.dtype.kind == "f" else (*declared, stac)
    if declared or context.sensor is None:
        return declared
    rule = context.rule
    return (rule.nodata if rule is not None and rule.nodata is not None else context.sensor.nodata,)


def _zero(context: _Context, name: str) -> tuple[float, ...]:
    """Return what digital number 0 has become: the offset, where one has been applied already."""
    if is_marked(context.view, name):
        return (zero_of_mark(context.view, name),)
    declared = declared_scaling(context.view, name)
    return declared.offsets if declared is not None and declared.applied else (0.0,)


def _summary(descriptors: Sequence[BandDescriptor], sources: Sequence[str]) -> str:
    """Write the sources in one line: what bands have of their own with their names, what all share once."""
    if len(set(sources)) == 1:
        return sources[0]
    clauses = [source.split("; ") for source in sources]
    shared = [clause for clause in clauses[0] if all(clause in others for others in clauses)]
    own = ["; ".join(clause for clause in of_band if clause not in shared) for of_band in clauses]
    names = {text: [d.name for d, other in zip(descriptors, own, strict=True) if other == text] for text in own}
    return "; ".join([*(f"{', '.join(bands)}: {text}" for text, bands in names.items()), *shared])


def _of_band(keyword: str, factor: Factor | None, name: str) -> float | None:
    if isinstance(factor, Mapping):
        if name not in factor:
            raise ReflectanceError(
                f"no number for band {name!r}",
                f"one per band; given: {', '.join(map(str, factor))}",
                f"{{{name!r}: 0.0001, ...}}",
            )
        factor = factor[name]
    if factor is None or (_is_number(factor) and math.isfinite(factor)):
        return None if factor is None else float(factor)
    raise ReflectanceError(
        f"{keyword}={factor!r}", "a number, or a mapping of band name to number", f"{keyword}={EXAMPLES[keyword]}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _numbers_given(nodata: float | Sequence[float] | None) -> tuple[float, ...]:
    values: Sequence[Any] = nodata if isinstance(nodata, list | tuple) else [] if nodata is None else [nodata]
    if not all(map(_is_number, values)):
        raise ReflectanceError(f"nodata={nodata!r}", "a number, or a list of numbers", "nodata=-9999")
    return tuple(map(float, values))


def _title(context: _Context) -> str:
    return context.sensor.id if context.sensor is not None else "cube"


def _differences(totals: tuple[float, ...], applied: tuple[float, ...]) -> tuple[float, ...]:
    """Return what is left to add once a loader has added `applied`."""
    pairs = zip(*_broadcast(totals, applied), strict=True)
    return tuple(0.0 if math.isclose(total, done) else total - done for total, done in pairs)


def _broadcast(*columns: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    """Repeat what holds for all dates, where another column has one per date."""
    length = max(map(len, columns))
    return tuple(column * length if len(column) == 1 else column for column in columns)
