"""What INPE's XML files say of a scene of CBERS-4, CBERS-4A or Amazonia-1: calibration, sun, time.

Every band's file describes the whole scene. Products of the wide-field imager can be mosaics of two cameras, which
have a description each.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from xr_cloudmask.cube.declared import SUN_KEYS, dates_of
from xr_cloudmask.cube.layout import view as view_of
from xr_cloudmask.cube.metadata import as_number
from xr_cloudmask.cube.radiance import COEFFICIENT, NOTES
from xr_cloudmask.cube.xml import parse_xml
from xr_cloudmask.errors import FileError, ReflectanceError

CubeT = TypeVar("CubeT", xr.Dataset, xr.DataArray)

CAMERAS = ("leftCamera", "rightCamera")
ONE_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Camera:
    """What one camera's description says.

    Attributes
    ----------
    name : str
        ``"leftCamera"``, ``"rightCamera"``, or ``""`` where the product has one description.
    sun_elevation, sun_azimuth : float or None
        Degrees above the horizon, and clockwise from north.
    coefficients : tuple of float or None
        Absolute calibration coefficients in the order of the bands, W m⁻² sr⁻¹ µm⁻¹ per digital number.
    """

    name: str
    sun_elevation: float | None
    sun_azimuth: float | None
    coefficients: tuple[float | None, ...]


@dataclass(frozen=True)
class CbersMetadata:
    """What the XML of a scene says; give it to a cube with `attach`.

    Attributes
    ----------
    platform, instrument : str
        Such as ``"cbers-4a"`` and ``"WPM"``.
    level : str
        INPE's level of geometric processing, such as ``"L4"``: orthorectified digital numbers.
    time : datetime64
        Centre of the acquisition, UTC.
    bands : tuple of str
        Such as ``("BAND1", "BAND2", "BAND3", "BAND4")``.
    cameras : tuple of Camera
        One, or left and right.
    """

    platform: str
    instrument: str
    level: str
    time: np.datetime64
    bands: tuple[str, ...]
    cameras: tuple[Camera, ...]

    @property
    def sun_elevation(self) -> float | None:
        """Degrees above the horizon, the mean of the cameras; None where the XML has none."""
        return _mean([camera.sun_elevation for camera in self.cameras])

    @property
    def sun_azimuth(self) -> float | None:
        """Degrees clockwise from north, the mean direction of the cameras; None where the XML has none."""
        angles = [camera.sun_azimuth for camera in self.cameras]
        if _mean(angles) is None:
            return None
        total = sum(cmath.rect(1.0, math.radians(angle)) for angle in angles if angle is not None)
        return math.degrees(cmath.phase(total)) % 360

    @property
    def coefficients(self) -> dict[str, float | None]:
        """Absolute calibration coefficient of every band, the mean of the cameras; None where the XML has none."""
        by_band = zip(*(camera.coefficients for camera in self.cameras), strict=True)
        return {band: _mean(numbers) for band, numbers in zip(self.bands, by_band, strict=True)}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the XML lacks, and what was made of two cameras."""
        lacking = [band for band, coefficient in self.coefficients.items() if coefficient is None]
        found = [f"the XML has no calibration coefficient of {', '.join(lacking)}"] if lacking else []
        if self.sun_elevation is None:
            found.append("the XML has no sun position")
        elif len({camera.sun_elevation for camera in self.cameras}) > 1:
            angles = " and ".join(f"{camera.sun_elevation:g} ({camera.name})" for camera in self.cameras)
            found.append(f"sun elevation: mean of {angles}")
        if not lacking and len({camera.coefficients for camera in self.cameras}) > 1:
            found.append("calibration coefficients: mean of both cameras")
        return tuple(found)

    def attach(self, cube: CubeT) -> CubeT:
        """Return a cube of this scene's digital numbers with what the XML says of them, as coordinates.

        `reflectance` and `predict` find there what they need. Coordinates go through files, slicing and
        `xarray.concat`: attach to every date, then join the dates.

        Parameters
        ----------
        cube : Dataset or DataArray
            One date; with or without a time dimension. Never modified; lazy or not, no band is computed.

        Returns
        -------
        Dataset or DataArray
            With ``platform``, ``instruments``, ``processing:level``, ``view:sun_elevation`` and
            ``view:sun_azimuth`` (degrees), ``calibration_coefficient:BAND1`` … (W m⁻² sr⁻¹ µm⁻¹, NaN where the XML
            has none) and ``radiance_notes``; and with ``time`` where the cube has none.

        Raises
        ------
        ReflectanceError
            The cube has several dates, or another one.

        Examples
        --------
        >>> camera = Camera("", 47.9, 35.2, (0.947982,))
        >>> metadata = CbersMetadata("cbers-4a", "MUX", "L4", np.datetime64("2020-08-08"), ("BAND5",), (camera,))
        >>> cube = xr.Dataset({"BAND5": (("y", "x"), np.full((1, 1), 100, "uint16"))})
        >>> metadata.attach(cube).cloudmask.reflectance().BAND5.values.round(3)
        array([[0.211]], dtype=float32)
        """
        view = view_of(cube)
        stated = dates_of(view)
        if view.dates > 1:
            raise ReflectanceError(
                f"a cube of {view.dates} dates",
                "one date: an XML file describes one scene",
                f"xarray.concat([metadata.attach(cube.isel({view.time}=[0])), ...], {view.time!r})",
            )
        if stated is not None and abs(stated[0] - self.time) > ONE_DAY:
            raise ReflectanceError(
                f"a cube of {str(stated[0])[:16]} and metadata of {str(self.time)[:16]}",
                "a cube and the XML of the same scene",
                "parse the XML file that came with these bands",
            )
        said = self._coords(cube)
        if stated is None:
            said[view.time or "time"] = self.time
        coords = said if view.time is None else {name: ((view.time,), [value]) for name, value in said.items()}
        attached: CubeT = cube.assign_coords(coords)
        return attached

    def _coords(self, cube: xr.Dataset | xr.DataArray) -> dict[str, Any]:
        """Return what to assign; what the XML lacks is NaN, or what the cube has already."""
        numbers = {SUN_KEYS[0]: self.sun_elevation, "view:sun_azimuth": self.sun_azimuth} | {
            f"{COEFFICIENT}:{band}": coefficient for band, coefficient in self.coefficients.items()
        }
        kept = {name for name, number in numbers.items() if number is None and name in cube.coords}
        said = {name: math.nan if number is None else number for name, number in numbers.items() if name not in kept}
        return {
            "platform": self.platform,
            "instruments": self.instrument,
            "processing:level": f"{self.level}-DN",
            **said,
            NOTES: "; ".join(self.notes),
        }


def parse_cbers_metadata(source: str | Path | bytes) -> CbersMetadata:
    """Read the XML file of a band of CBERS-4, CBERS-4A or Amazonia-1.

    Calibration coefficients and sun position may be missing, and are None then; products of two cameras have both.

    Parameters
    ----------
    source : path or bytes
        Any band's file, such as ``CBERS_4A_WPM_20200730_209_139_L4_BAND2.xml``, or what is in it.

    Returns
    -------
    CbersMetadata

    Raises
    ------
    FileError
        The file is missing, no well-formed or harmless XML, or not INPE's; a number in it is none.

    Examples
    --------
    >>> parse_cbers_metadata(b"<prdf><satellite><name>CBERS</name></satellite></prdf>")
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.FileError: found: XML without satellite/number
    expected: the XML file that INPE delivers with a band (prdf)
    try: xr_cloudmask.parse_cbers_metadata('CBERS_4A_WPM_20200730_209_139_L4_BAND2.xml')
    """
    root = parse_xml(source)
    described = {name: element for name in CAMERAS if (element := root.find(f"{{*}}{name}")) is not None} or {"": root}
    scene = next(iter(described.values()))
    satellite, number, instrument = (_text(scene, f"satellite/{tag}") for tag in ("name", "number", "instrument"))
    bands = tuple(str(band.text).strip() for band in scene.iterfind("{*}availableBands/{*}band"))
    if not bands:
        raise _not_inpe("XML without availableBands/band")
    return CbersMetadata(
        platform=f"{satellite}-{number}".lower(),
        instrument=instrument,
        level=f"L{_text(scene, 'image/level')}",
        time=_time(_text(scene, "image/timeStamp/center")),
        bands=tuple(f"BAND{band}" for band in bands),
        cameras=tuple(_camera(name, element, bands) for name, element in described.items()),
    )


def _camera(name: str, described: Element, bands: tuple[str, ...]) -> Camera:
    position = "{*}image/{*}sunPosition/{*}"
    coefficients = {
        band.get("name"): band for band in described.iterfind("{*}image/{*}absoluteCalibrationCoefficient/{*}band")
    }
    return Camera(
        name,
        _number(described.find(f"{position}elevation")),
        _number(described.find(f"{position}sunAzimuth")),
        tuple(_number(coefficients.get(band)) for band in bands),
    )


def _text(described: Element, path: str) -> str:
    found = described.findtext("/".join(f"{{*}}{tag}" for tag in path.split("/")))
    if not found or not found.strip():
        raise _not_inpe(f"XML without {path}")
    return found.strip()


def _number(element: Element | None) -> float | None:
    """Return the number in an element, None where there is no element."""
    if element is None:
        return None
    number = as_number(element.text)
    if number is None:
        raise _not_inpe(f"XML with {element.tag.rpartition('}')[2]} {element.text!r}")
    return number


def _time(text: str) -> np.datetime64:
    try:
        return np.datetime64(text.removesuffix("Z"), "ns")
    except ValueError as error:
        raise _not_inpe(f"XML with time {text!r}") from error


def _not_inpe(found: str) -> FileError:
    return FileError(
        found,
        "the XML file that INPE delivers with a band (prdf)",
        "xr_cloudmask.parse_cbers_metadata('CBERS_4A_WPM_20200730_209_139_L4_BAND2.xml')",
    )


def _mean(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known and len(known) == len(numbers) else None
