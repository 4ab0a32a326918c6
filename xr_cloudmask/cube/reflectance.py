"""Digital numbers to reflectance, exactly once, with provenance.

`calibrate` reads metadata and settles, per band and date, one linear rule; `apply` is the only place that computes it;
`to_reflectance` gives the user the cube. What the metadata cannot settle is an error that says what to pass.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xarray as xr

from xr_cloudmask.cube.bands import BandDescriptor, candidate_sensors, describe, identify_sensor
from xr_cloudmask.cube.declared import (
    BASELINE_KEYS,
    LEVELS,
    NODATA_KEYS,
    PROVENANCE,
    ZERO,
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
from xr_cloudmask.cube.layout import Cube, CubeView, require_real_numbers
from xr_cloudmask.cube.layout import view as view_of
from xr_cloudmask.cube.plausible import (
    LARGEST_SCALE_OF_NUMBERS,
    LARGEST_TYPICAL_REFLECTANCE,
    not_reflectance,
    require_plausible_rule,
    require_reflectance,
    typical_of,
)
from xr_cloudmask.cube.properties import as_number, stac_band
from xr_cloudmask.cube.temperature import check_kelvin, kelvin, temperature_rule
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    from xr_cloudmask.cube.sensors import RadiometryRule, Sensor

__all__ = [
    "Calibration",
    "Radiometry",
    "apply",
    "calibrate",
    "declared_nodata",
    "level_of",
    "physical",
    "to_reflectance",
]

Factor: TypeAlias = float | Mapping[str, float]

EXAMPLES = {"scale": "0.0001", "offset": "-0.1"}
OBSOLETE_ATTRS = {
    ZERO, "scale_factor", "add_offset", *NODATA_KEYS, "valid_range", "valid_min", "valid_max", "units",
    "eo:bands", "raster:bands", "bands",
}  # fmt: skip


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
    Sentinel-2 the offset follows the harmonised flag or the processing baseline of every date.

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
    >>> from xr_cloudmask.cube.bands import describe
    >>> cube = xr.Dataset({"B04": (("y", "x"), np.full((2, 2), 3000, "uint16"))}, attrs={
    ...     "platform": "Sentinel-2A", "processing:level": "L2A", "s2:processing_baseline": "05.09"})
    >>> view = view_of(cube)
    >>> calibrate(view, describe(view)).calibrations
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


def apply(dn: np.ndarray, scale: float, offset: float, nodata: tuple[float, ...]) -> np.ndarray:
    """Compute ``dn * scale + offset`` as float32, NaN where there is no data.

    Parameters
    ----------
    dn : ndarray
        Digital numbers or reflectance, any shape, integer or floating.
    scale, offset : float
        The linear rule.
    nodata : tuple of float
        No-data values in `dn`; non-finite values are no data in any case.

    Returns
    -------
    ndarray of float32
        Same shape.

    Raises
    ------
    ReflectanceError
        The result cannot be reflectance: values that `scale` takes for reflectance are digital numbers, or the other
        way round, or fill is not declared. Metadata alone cannot exclude that. A sample of the values decides.

    Examples
    --------
    >>> apply(np.array([0, 3500], "uint16"), 1e-4, -0.1, (0,))
    array([ nan, 0.25], dtype=float32)
    """
    result = _scaled(dn, scale, offset, nodata)
    require_reflectance(dn, result, scale)
    return result


def _scaled(dn: np.ndarray, scale: float, offset: float, nodata: tuple[float, ...]) -> np.ndarray:
    result: np.ndarray = dn.astype("float32")
    result *= np.float32(scale)
    result += np.float32(offset)
    for value in nodata:
        result[dn == value] = np.nan
    if dn.dtype.kind == "f":
        result[~np.isfinite(result)] = np.nan
    return result


def physical(dn: np.ndarray, calibration: Calibration, date: int) -> np.ndarray:
    """Turn one date of a band into what its calibration says, such as reflectance or kelvin.

    Parameters
    ----------
    dn : ndarray
        Values as they are in the cube, any shape.
    calibration : Calibration
    date : int
        Position of the date in the cube.

    Returns
    -------
    ndarray of float32
        Same shape, NaN where there is no data.

    Raises
    ------
    ReflectanceError
        Floating-point values cannot be what the metadata make of them.

    Examples
    --------
    >>> rule = Calibration((3.342e-4,), (0.1,), (0,), kind="brightness_temperature",
    ...                    planck=((774.8853, 1321.0789),))
    >>> physical(np.array([0, 25000], "uint16"), rule, 0).round(1)
    array([  nan, 291.7], dtype=float32)
    """
    scale, offset = (rule[date % len(rule)] for rule in (calibration.scale, calibration.offset))
    if calibration.kind == "reflectance":
        return apply(dn, scale, offset, calibration.nodata)
    values = _scaled(dn, scale, offset, calibration.nodata)
    if calibration.planck is not None:
        return kelvin(values, *calibration.planck[date % len(calibration.planck)])
    if calibration.kind == "brightness_temperature":
        check_kelvin(values)
    return values


def to_reflectance(
    cube: Cube,
    sensor: str | None = None,
    scale: Factor | None = None,
    offset: Factor | None = None,
    level: str | None = None,
) -> Cube:
    """Return the cube with its reflectance bands as reflectance; other variables stay as they are.

    Parameters
    ----------
    cube : Dataset or DataArray
        A variable per band, or a band dimension; NumPy or dask. Never modified.
    sensor, scale, offset, level
        As for `calibrate`.

    Returns
    -------
    Dataset or DataArray
        The same kind of cube, float32, nominally 0 to 1, NaN where there is no data; same dims, coords and grid
        mapping; attrs ``reflectance_provenance`` and ``level``, and ``reflectance_of_zero`` where an offset made
        digital number 0, fill at the edge of a swath, something else. Lazy where the cube is. A cube that carries
        the mark already is returned unchanged.

    Raises
    ------
    BandError, ReflectanceError
        The bands are not recognised; the metadata do not settle the conversion.

    Examples
    --------
    >>> cube = xr.Dataset({"red": (("y", "x"), np.full((1, 2), 2500, "uint16"))})
    >>> to_reflectance(cube, scale=1e-4).red.values
    array([[0.25, 0.25]], dtype=float32)
    """
    view = view_of(cube)
    descriptors = [d for d in describe(view, sensor) if d.kind == "reflectance"]
    if descriptors and all(is_marked(view, d.name) for d in descriptors):
        return cube
    radiometry = calibrate(view, descriptors, sensor=sensor, scale=scale, offset=offset, level=level)
    by_name = dict(zip((d.name for d in descriptors), radiometry.calibrations, strict=True))
    mark: dict[str, Any] = {PROVENANCE: radiometry.provenance}
    if radiometry.level:
        mark["level"] = radiometry.level
    zeros = {zero for calibration in radiometry.calibrations for zero in _zeros(calibration)}
    if len(zeros) > 1:  # no one attribute can say what fill became: it becomes NaN
        by_name = {name: replace(c, nodata=(*c.nodata, *c.zero)) for name, c in by_name.items()}
    elif any(zeros):
        mark[ZERO] = zeros.pop()
    if isinstance(cube, xr.DataArray) or view.band is not None:
        return _convert_array(cube, view, by_name, mark)
    converted = {name: _convert(cube[name], view, {name: c}, mark) for name, c in by_name.items()}
    return cube.assign(converted).assign_attrs(mark)


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
    >>> cube = xr.Dataset({"SR_B2": (("y", "x"), np.ones((2, 2)))})
    >>> level_of(view_of(cube), [BandDescriptor("SR_B2", "blue", 452, 512)], sensor="landsat-8-9")
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
    linear = {(r.scale, r.offset, r.baseline, r.sun_elevation, r.unsupported) for r in rules}
    return rules[0] if len(linear) == 1 else None


def _calibration(
    context: _Context, name: str, scale: float | None, offset: float | None, nodata: tuple[float, ...]
) -> tuple[Calibration, str]:
    scales, offsets, source = _linear(context, name, scale, offset)
    are_numbers = context.view.bands[name].dtype.kind != "f" or max(scales) <= LARGEST_SCALE_OF_NUMBERS
    missing = dict.fromkeys((*nodata, *_nodata(context, name, are_numbers)))
    zero = 0.0 if are_numbers else _zero(context, name)
    return Calibration(scales, offsets, tuple(missing), (zero,)), source


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
        require_plausible_rule(name, values.dtype, declared.scale, declared.offset)
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
    return Calibration((declared.scale,), (declared.offset or 0.0,), nodata, kind=kind), declared.source


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
    is_known = context.rule is not None and context.rule.unsupported is None
    return is_known or declared_scaling(context.view, name) is not None


def _settled(
    context: _Context, name: str, declared: Declared | None, offset: float | None = None
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Return scales, offsets and their source from what is declared, completed by the sensor's rule."""
    rule = context.rule
    if declared is None:
        rule = _require_rule(context, name)
        constant = rule.offset if rule.baseline is None else None
        declared = Declared(rule.scale, constant, False, f"{_title(context)} table")
    totals, why = _offsets(context, rule, declared) if offset is None else ((offset,), "given by the caller")
    scales: tuple[float, ...] = (1.0,) if declared.applied else (declared.scale,)
    offsets = _differences(totals, declared.offset or 0.0) if declared.applied else totals
    if rule is not None and rule.sun_elevation:
        scales, offsets = _over_sine_of_sun_elevation(context.view, scales, offsets)
        why += ", over the sine of the sun elevation"
    done = "applied by the loader" if declared.applied else f"DN * {declared.scale:g}"
    undone = f", {_numbers(offsets)} added to what the loader made of it" if declared.applied and any(offsets) else ""
    return scales, offsets, f"{declared.source}: {done}, offset {_numbers(totals)} ({why}){undone}"


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
    if rule is None and context.sensor is None and declared.offset is None:
        identify_sensor(context.view, context.sensor_name)  # several sensors fit: one of them may have an offset
    if rule is None or rule.baseline is None or rule.baseline_offset is None:
        return (declared.offset or 0.0,), "constant"
    dates = offsets_by_baseline(context.view, rule.baseline, rule.baseline_offset)
    if dates is not None and dates.final:
        return dates.offsets, dates.source
    if declared.offset is not None:
        if dates is not None and any(o == 0 != declared.offset for o in dates.offsets):
            raise ReflectanceError(
                f"{declared.source} with offset {declared.offset:g}, but {dates.source}, which has none",
                "metadata that agree",
                f"offset={declared.offset:g}, offset=0, or cube.drop_vars('raster:bands') to go by the baselines",
            )
        return (declared.offset,), "declared"
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
            "stackstac.stack(items, rescale=False, dtype='uint16', fill_value=0)",
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


def _zero(context: _Context, name: str) -> float:
    """Return what digital number 0 has become: the offset, where one has been applied already."""
    if is_marked(context.view, name):
        return zero_of_mark(context.view, name)
    declared = declared_scaling(context.view, name)
    return declared.offset or 0.0 if declared is not None and declared.applied else 0.0


def _convert_array(cube: Cube, view: CubeView, by_name: Mapping[str, Calibration], mark: Mapping[str, Any]) -> Cube:
    if isinstance(cube, xr.DataArray):
        return _convert(cube, view, by_name, mark)
    name = next(name for name, values in cube.data_vars.items() if view.band in values.dims)
    return cube.assign({name: _convert(cube[name], view, by_name, mark)}).assign_attrs(mark)


def _convert(
    array: xr.DataArray, view: CubeView, by_name: Mapping[str, Calibration], mark: Mapping[str, Any]
) -> xr.DataArray:
    """Convert an array of one band, or of several along the band dimension."""
    names = list(view.bands) if view.band in array.dims else list(by_name)
    rules = [by_name.get(name, Calibration((math.nan,), (math.nan,))) for name in names]
    fills = itertools.zip_longest(*(rule.nodata for rule in rules), fillvalue=math.nan)
    rows = [[rule.scale for rule in rules], [rule.offset for rule in rules]]
    rows += ([(number,) for number in fill] for fill in fills)
    factors = [_factors(view, array, row) for row in rows]
    if any(view.time in factor.dims for factor in factors) and view.time not in array.dims:
        array = array.expand_dims({view.time: view.dates})
    converted: xr.DataArray = xr.apply_ufunc(
        _apply_slices, array, *factors, dask="parallelized", output_dtypes=[np.float32], keep_attrs=True
    )
    converted.attrs = {k: v for k, v in array.attrs.items() if k not in OBSOLETE_ATTRS} | {"units": "1"} | dict(mark)
    converted.encoding = {k: v for k, v in array.encoding.items() if k in ("grid_mapping", "coordinates")}
    ordered: xr.DataArray = converted.transpose(*array.dims)
    return ordered


def _zeros(calibration: Calibration) -> set[float]:
    """Return what digital number 0 becomes, over all dates."""
    scale, offset, zero = calibration.scale, calibration.offset, calibration.zero
    dates = range(max(len(scale), len(offset), len(zero)))
    return {zero[i % len(zero)] * scale[i % len(scale)] + offset[i % len(offset)] for i in dates}


def _factors(view: CubeView, array: xr.DataArray, rows: Sequence[tuple[float, ...]]) -> xr.DataArray:
    """Arrange one number per band and date along the dimensions they vary along."""
    dates = max(map(len, rows))
    factors = xr.DataArray([row * (dates // len(row)) for row in rows], dims=("band", "time"))
    if view.band not in array.dims:
        factors = factors.isel(band=0)
    if dates == 1:
        factors = factors.isel(time=0)
    return factors.rename({dim: getattr(view, str(dim)) for dim in factors.dims})


def _apply_slices(dn: np.ndarray, *factors: np.ndarray) -> np.ndarray:
    """Apply to every band and date its own scale, offset and no-data values; scale NaN leaves a band as it is."""
    padded = (factor.reshape((1,) * (dn.ndim - factor.ndim) + factor.shape) for factor in factors)
    scales, offsets, *fills = np.broadcast_arrays(*padded)
    result = np.empty(dn.shape, dtype="float32")
    for index in np.ndindex(scales.shape):
        part = tuple(slice(i, i + 1) if n > 1 else slice(None) for i, n in zip(index, scales.shape, strict=True))
        factor, fill = float(scales[index]), tuple(float(numbers[index]) for numbers in fills)
        done = math.isnan(factor)
        result[part] = dn[part] if done else apply(dn[part], factor, float(offsets[index]), fill)
    return result


def _summary(descriptors: Sequence[BandDescriptor], sources: Sequence[str]) -> str:
    """Write the sources in one line: one where all bands agree, else the bands with each."""
    if len(set(sources)) == 1:
        return sources[0]
    names = {source: [d.name for d, s in zip(descriptors, sources, strict=True) if s == source] for source in sources}
    return "; ".join(f"{', '.join(bands)}: {source}" for source, bands in names.items())


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


def _differences(totals: tuple[float, ...], applied: float) -> tuple[float, ...]:
    """Return what is left to add once a loader has added `applied`."""
    return tuple(0.0 if math.isclose(total, applied) else total - applied for total in totals)


def _numbers(values: tuple[float, ...]) -> str:
    """Write offsets in one line; where they differ between dates, how many dates have each."""
    if len(set(values)) == 1:
        return f"{values[0]:g}"
    return " and ".join(f"{value:g} on {values.count(value)} dates" for value in sorted(set(values), reverse=True))
