"""Digital numbers → radiance → reflectance at the top of the atmosphere, as one factor per band and date.

Digital numbers times the absolute calibration coefficient of the band are radiance L, and reflectance is
``pi * L * d**2 / (ESUN * sin(sun elevation))`` with the Earth–Sun distance d in astronomical units.

Sources: Chander, Markham & Helder 2009, doi:10.1016/j.rse.2009.01.007 (reflectance from radiance); The Astronomical
Almanac, section C, low-precision formulas for the Sun (distance).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xr_cloudmask.cube.declared import dates_of, sines_of_sun_elevation
from xr_cloudmask.cube.metadata import as_number, item_property, spelt, texts
from xr_cloudmask.errors import ReflectanceError

if TYPE_CHECKING:
    from xr_cloudmask.cube.layout import CubeView
    from xr_cloudmask.cube.sensors import Sensor

# Coordinates or attributes of a cube, each followed by ":" and the band's name; and what its product leaves open.
COEFFICIENT = "calibration_coefficient"
ILLUMINATION = "solar_illumination"
NOTES = "radiance_notes"


def toa_scales(view: CubeView, sensor: Sensor, name: str, remedy: str | None = None) -> tuple[tuple[float, ...], str]:
    """Return the factors from a band's digital numbers to reflectance at the top of the atmosphere.

    Coefficient and solar illumination of a band come from coordinates or attributes of the cube,
    ``calibration_coefficient:BAND1`` (W m⁻² sr⁻¹ µm⁻¹) and ``solar_illumination:BAND1`` (W m⁻² µm⁻¹), else from the
    sensor table. Computes no band.

    Parameters
    ----------
    view : CubeView
        The cube, with sun elevation (``view:sun_elevation``, degrees) and time, for all dates or per date.
    sensor : Sensor
        Whose band it is.
    name : str
        The band, by any of its names.
    remedy : str, optional
        What to type to give the cube what it lacks.

    Returns
    -------
    scales : tuple of float
        One factor, or one per date.
    provenance : str
        The numbers and where they come from; what is assumed is called so.

    Raises
    ------
    ReflectanceError
        A coefficient, an illumination, the sun elevation or the date is missing or impossible.

    Examples
    --------
    >>> import xarray as xr
    >>> from xr_cloudmask.cube import layout, sensors
    >>> said = {"time": np.datetime64("2020-07-30T13:51", "ns"), "view:sun_elevation": 44.33}
    >>> cube = xr.Dataset({"BAND2": (("y", "x"), np.full((2, 2), 300, "uint16"))}, coords=said)
    >>> scales, provenance = toa_scales(layout.view(cube), sensors.sensors()["cbers-4a-wpm"], "BAND2")
    >>> round(300 * scales[0], 4)
    0.2239
    >>> provenance
    'DN * 0.297832 W m-2 sr-1 um-1 (assumed: cbers-4a-wpm table) over solar illumination 1848.6 W m-2 um-1
    (cbers-4a-wpm table); sun elevation and Earth-Sun distance of the date'
    """
    coefficients, origin = _coefficients(view, sensor, name, remedy)
    illuminations, source = _illuminations(view, sensor, name)
    sines, distances = sines_of_sun_elevation(view, remedy), earth_sun_distance(_dates(view))
    rows = zip(*np.broadcast_arrays(coefficients, illuminations, sines, distances), strict=True)
    scales = tuple(float(c * math.pi * d**2 / (e * sine)) for c, e, sine, d in rows)
    notes = sorted(set().union(*texts(view, NOTES)))
    provenance = (
        f"DN * {spelt(coefficients)} W m-2 sr-1 um-1 ({origin}) over solar illumination {spelt(illuminations)} "
        f"W m-2 um-1 ({source})"
    )
    return scales, "; ".join([provenance, "sun elevation and Earth-Sun distance of the date", *notes])


def earth_sun_distance(dates: np.ndarray) -> np.ndarray:
    """Return the distance of the Earth from the Sun.

    Parameters
    ----------
    dates : ndarray of datetime64
        UTC.

    Returns
    -------
    ndarray of float64
        Astronomical units, within 0.0001.

    References
    ----------
    The Astronomical Almanac, section C, low-precision formulas for the Sun; for the years 1950 to 2050.

    Examples
    --------
    >>> earth_sun_distance(np.array(["2020-01-05", "2020-07-04"], "datetime64[D]")).round(3)
    array([0.983, 1.017])
    """
    days = (dates - np.datetime64("2000-01-01T12:00")) / np.timedelta64(1, "D")
    anomaly = np.radians(357.528 + 0.9856003 * days)
    distance: np.ndarray = 1.00014 - 0.01671 * np.cos(anomaly) - 0.00014 * np.cos(2 * anomaly)
    return distance


def _coefficients(view: CubeView, sensor: Sensor, name: str, remedy: str | None) -> tuple[tuple[float, ...], str]:
    """Return the coefficients of a band, one or one per date; dates without one take the table's, and that is told."""
    band = sensor.band(name)
    stated = _stated(view, sensor, name, COEFFICIENT)
    assumed = band.calibration_coefficient if band else None
    if None not in stated:
        return tuple(value for value in stated if value is not None), "cube"
    if assumed is None:
        raise ReflectanceError(
            f"no absolute calibration coefficient of band {name!r} of {sensor.id}",
            "radiance per digital number as the product's metadata have it, W m-2 sr-1 um-1",
            f"{remedy}, or " * bool(remedy) + f"cube.assign_coords({{'{COEFFICIENT}:{name}': 0.25}})",
        )
    lacking = "" if set(stated) == {None} else f" for {stated.count(None)} of {len(stated)} dates"
    return tuple(assumed if value is None else value for value in stated), f"assumed{lacking}: {sensor.id} table"


def _illuminations(view: CubeView, sensor: Sensor, name: str) -> tuple[tuple[float, ...], str]:
    band = sensor.band(name)
    stated = _stated(view, sensor, name, ILLUMINATION)
    if None not in stated:
        return tuple(value for value in stated if value is not None), "cube"
    if band is None or band.solar_illumination is None or set(stated) != {None}:
        raise ReflectanceError(
            f"no solar illumination of band {name!r} of {sensor.id}",
            "mean solar irradiance of the band at one astronomical unit (ESUN), W m-2 um-1",
            f"cube.assign_coords({{'{ILLUMINATION}:{name}': 1850.0}})",
        )
    return (band.solar_illumination,), f"{sensor.id} table"


def _stated(view: CubeView, sensor: Sensor, name: str, key: str) -> tuple[float | None, ...]:
    """Return what the cube says of a band under any of its names, one or one per date; None where it does not."""
    band = sensor.band(name)
    names = dict.fromkeys((name, *(band.names if band else ())))
    stated = item_property(view, *(f"{key}:{other}" for other in names)) or (None,)
    numbers = tuple(map(as_number, stated))
    if any(number is not None and number <= 0 for number in numbers):
        raise ReflectanceError(
            f"{key} of band {name!r}: {', '.join(map(str, stated))}",
            "numbers above 0",
            f"cube.assign_coords({{'{key}:{name}': ...}})",
        )
    return numbers


def _dates(view: CubeView) -> np.ndarray:
    dates = dates_of(view)
    if dates is None:
        raise ReflectanceError(
            "digital numbers that are radiance, of an unknown date",
            "the time of acquisition, for the distance of the Earth from the Sun",
            "cube.assign_coords(time=numpy.datetime64('2020-07-30T13:51', 'ns'))",
        )
    return dates
