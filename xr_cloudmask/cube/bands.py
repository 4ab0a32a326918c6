"""Which band is which."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BandDescriptor:
    """What a band measures.

    Attributes
    ----------
    name : str
        The band's name in the cube.
    role : str or None
        STAC common name: coastal, blue, green, red, rededge071, nir, nir08, swir16, swir22, lwir11 …
    min_wavelength, max_wavelength : float
        Limits of the band in nanometres.
    kind : str
        ``"reflectance"`` or ``"brightness_temperature"``.
    """

    name: str
    role: str | None
    min_wavelength: float
    max_wavelength: float
    kind: str = "reflectance"
