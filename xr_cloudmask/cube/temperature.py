"""Thermal digital numbers → brightness temperature in kelvin.

Two linear or nearly linear steps: radiance = DN · scale + offset, then Planck's law inverted with the two constants of
the band, T = K2 / ln(K1 / radiance + 1). A cube that is in kelvin already says so in ``units`` or has floating-point
values.

Source: Landsat 8-9 Calibration and Validation Algorithm Description Document (LSDS-1747), section 4.5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xr_cloudmask.cube.declared import declared_scaling
from xr_cloudmask.cube.metadata import PLATFORM_KEYS, PRODUCT_KEYS, texts
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    from xr_cloudmask.cube.layout import CubeView
    from xr_cloudmask.cube.sensors import Sensor, ThermalRule

KELVIN_UNITS = ("K", "kelvin", "Kelvin", "degK")


@dataclass(frozen=True)
class TemperatureRule:
    """How one band's values become kelvin.

    Attributes
    ----------
    scale, offset : tuple of float
        ``value * scale + offset``, one or one per date: kelvin, or radiance where there is
    planck : tuple of tuple of float, or None
        K1 and K2 for each of them.
    source : str
        Where the numbers come from.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    planck: tuple[tuple[float, float], ...] | None
    source: str


def temperature_rule(view: CubeView, name: str, table: Sensor | None, sensor: str | None) -> TemperatureRule:
    """Settle how a thermal band becomes kelvin, from metadata alone.

    Parameters
    ----------
    view : CubeView
    name : str
        The band.
    table : Sensor or None
        The cube's sensor, and
    sensor : str or None
        how the caller spells it: ``'landsat-9'`` says more than the table of both.

    Raises
    ------
    ReflectanceError
        The metadata do not settle it.
    """
    values = view.bands[name]
    declared = declared_scaling(view, name)
    if declared is not None:
        scale, offset = ((1.0,), (0.0,)) if declared.applied else (declared.scale, declared.offsets)
        return TemperatureRule(scale, offset, None, f"{declared.source}: kelvin")
    if values.dtype.kind == "f" or values.attrs.get("units") in KELVIN_UNITS:
        return TemperatureRule((1.0,), (0.0,), None, "values taken as kelvin")
    band = table.band(name) if table is not None else None
    hints = texts(view, *PLATFORM_KEYS, *PRODUCT_KEYS)
    rules = [_of_platform(band.thermal if band else (), {*row, *([sensor] if sensor else [])}) for row in hints]
    found = [rule for rule in rules if rule is not None]
    if not found or len(found) < len(rules):
        raise ReflectanceError(
            f"thermal band {name!r} of dtype {values.dtype}, of which neither units, nor a scale, nor the platform "
            "that has its constants are known",
            "kelvin, or digital numbers of a platform in the sensor tables",
            f"sensor='landsat-8', scale={{{name!r}: ..., ...}} and offset=... to kelvin, or the cube without it: "
            f"cube.drop_vars({name!r})",
        )
    return TemperatureRule(
        tuple(rule.scale for rule in found),
        tuple(rule.offset for rule in found),
        tuple((rule.k1, rule.k2) for rule in found),
        f"{table.id if table else 'sensor'} table: radiance, Planck's law inverted",
    )


def _of_platform(rules: tuple[ThermalRule, ...], texts_of_date: set[str]) -> ThermalRule | None:
    return next((rule for rule in rules if any(map(rule.is_platform, texts_of_date))), None)


def kelvin(radiance: np.ndarray, k1: float, k2: float) -> np.ndarray:
    """Invert Planck's law for a band; in place.

    Parameters
    ----------
    radiance : ndarray
        float32, W m⁻² sr⁻¹ µm⁻¹; what is not positive has no temperature and becomes NaN.
    k1, k2 : float
        Constants of the band: W m⁻² sr⁻¹ µm⁻¹, and kelvin.

    Examples
    --------
    >>> kelvin(np.float32([8.455, 0]), 774.8853, 1321.0789).round(2)
    array([291.71,    nan], dtype=float32)
    """
    radiance[radiance <= 0] = np.nan
    np.divide(np.float32(k1), radiance, out=radiance)
    np.log1p(radiance, out=radiance)
    np.divide(np.float32(k2), radiance, out=radiance)
    return radiance
