"""What a band measures, as models take it: name, role, wavelengths, kind; checked where it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from xr_cloudmask.cube.sensors import common_name, common_names
from xr_cloudmask.cube.wavelengths import LONGEST, SHORTEST
from xr_cloudmask.errors import BandError, listed

OPTICAL = ("reflectance", "brightness_temperature", "normalised_brightness_temperature")
KINDS = (
    "reflectance",
    "brightness_temperature",  # kelvin
    "normalised_brightness_temperature",  # as some networks take it
    "SAR VV",
    "SAR VH",
    "SAR Angle",
    "DEM",
    "fill",  # nothing: keeps a place
)


@dataclass(frozen=True)
class BandDescriptor:
    """What a band measures.

    Attributes
    ----------
    name : str
        The band's name in the cube; the number of a numbered band.
    role : str or None
        STAC common name: coastal, blue, green, red, rededge071, nir, nir08, swir16, swir22, lwir11 …
    min_wavelength, max_wavelength : float
        Limits of the band in nanometres; 0 where it has none (radar, elevation).
    kind : str
        One of `KINDS`.
    multitemporal : bool
        Whether the band is made of several dates.

    Raises
    ------
    BandError
        The kind is unknown, or the limits are no wavelengths: not finite, in the wrong order, or in micrometres.

    Examples
    --------
    >>> BandDescriptor("B04", "red", 0.63, 0.69)
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.BandError: found: band 'B04' from 0.63 to 0.69 nm
    expected: wavelengths in nanometres, 200 to 30000, the shortest first
    try: min_wavelength=630, max_wavelength=690
    """

    name: str
    role: str | None
    min_wavelength: float = 0.0
    max_wavelength: float = 0.0
    kind: str = "reflectance"
    multitemporal: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BandError(f"kind {self.kind!r} of band {self.name!r}", f"one of {list(KINDS)}", f"kind={KINDS[0]!r}")
        if type(self.name) is not str:
            object.__setattr__(self, "name", _name_given(self.name))
        if self.role is not None and not isinstance(self.role, str):
            raise _no_role(self.name, self.role)
        known = common_name(self.role) if self.role else None  # whatever its spelling
        object.__setattr__(self, "role", known.role if known is not None else self.role)
        for field in ("min_wavelength", "max_wavelength"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise BandError(f"{field}={value!r} of band {self.name!r}", "nanometres", f"{field}=490.0")
            object.__setattr__(self, field, float(value))
        limits = self.min_wavelength, self.max_wavelength
        if self.kind in OPTICAL and limits != (0, 0) and not SHORTEST <= limits[0] <= limits[1] <= LONGEST:
            raise BandError(
                f"band {self.name!r} from {limits[0]:g} to {limits[1]:g} nm",
                f"wavelengths in nanometres, {SHORTEST:g} to {LONGEST:g}, the shortest first",
                _limits_to_type(*sorted(limits)),
            )


def _name_given(name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode(errors="replace")
    if isinstance(name, bool) or not isinstance(name, str | Integral):
        raise BandError(
            f"a band called {name!r}", "a name, or the number of a numbered band", "BandDescriptor('B02', ...)"
        )
    return str(name)


def _no_role(name: str, role: Any) -> BandError:
    roles = f"None or a STAC common name: {listed(dict.fromkeys(band.role for band in common_names().values()))}"
    return BandError(f"role {role!r} of band {name!r}", roles, "BandDescriptor('B02', 'blue', ...)")


def _limits_to_type(low: float, high: float) -> str:
    """Return the limits that were meant, where their size tells: micrometres, or the wrong order."""
    factor = 1000.0 if 0 < high * 1000 <= LONGEST and low * 1000 >= SHORTEST else 1.0
    if low * factor < SHORTEST or high * factor > LONGEST:
        low, high, factor = 630.0, 690.0, 1.0
    return f"min_wavelength={low * factor:g}, max_wavelength={high * factor:g}"
