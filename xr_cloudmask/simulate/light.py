"""What air and clouds do to light, by wavelength.

Sources: Rayleigh scattering after Fröhlich & Shaw (1980) as corrected by Young (1981), aerosol after Ångström's law,
cloud reflectance and transmittance from the two-stream approximation with the similarity parameter of King (1987);
absorption by vapour, droplets and crystals in round figures that have the shape of the real spectra.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

# Absorption bands of water vapour: centre and width in nm, optical depth.
WATER_VAPOUR = np.array(
    [(720, 8, 0.12), (820, 12, 0.1), (940, 22, 0.75), (1130, 28, 0.8), (1380, 45, 6), (1470, 40, 0.8), (1870, 55, 8)]
)
# Share of light that a droplet of 10 µm and a crystal of 25 µm absorb of what they do not let pass.
ABSORPTION_NODES = (400, 900, 980, 1250, 1380, 1450, 1500, 1600, 1700, 1850, 2000, 2200, 2300, 2400)
DROPLETS = (1e-6, 2e-5, 2e-4, 5e-4, 4e-3, 0.03, 0.014, 0.006, 0.005, 0.015, 0.06, 0.017, 0.022, 0.04)
CRYSTALS = (1e-6, 2e-5, 2e-4, 1.5e-3, 4e-3, 0.05, 0.09, 0.045, 0.03, 0.03, 0.13, 0.05, 0.06, 0.1)
ASYMMETRY = {"water": 0.86, "ice": 0.78}
AIR_SCALE_HEIGHT, VAPOUR_SCALE_HEIGHT = 8000.0, 2200.0  # metres


@dataclass(frozen=True)
class Sky:
    """Sun and air of one date.

    Attributes
    ----------
    azimuth, elevation : float
        Of the sun in degrees, azimuth clockwise from north.
    aerosol : float
        Optical thickness at 550 nm.
    vapour : float
        Water vapour in cm.
    """

    azimuth: float
    elevation: float
    aerosol: float
    vapour: float

    @property
    def sine(self) -> float:
        """Sine of the sun elevation."""
        return float(np.sin(np.radians(self.elevation)))

    @property
    def reach(self) -> float:
        """Length of a shadow per height."""
        return float(1 / np.tan(np.radians(self.elevation)))

    @property
    def away(self) -> tuple[float, float]:
        """Direction away from the sun in rows (southward) and columns (eastward)."""
        return float(np.cos(np.radians(self.azimuth))), float(-np.sin(np.radians(self.azimuth)))


@dataclass(frozen=True)
class Air:
    """What the air does, per band ``(band, 1, 1)``.

    Attributes
    ----------
    path : ndarray
        Reflectance of the air itself.
    scattering, gas : ndarray
        Transmittance down to the ground and up again.
    diffuse : ndarray
        Share of the ground's light that comes from the sky, not from the sun.
    """

    path: Floats
    scattering: Floats
    gas: Floats
    diffuse: Floats


def air(wavelengths: Floats, sky: Sky) -> Air:
    """Return path reflectance, transmittance and diffuse share at some wavelengths in nm."""
    micrometres, mu = wavelengths[:, None, None] / 1000, sky.sine
    length = 1 / mu + 1  # down, and up to the zenith
    rayleigh = 0.00864 * micrometres ** -(3.916 + 0.074 * micrometres + 0.05 / micrometres)
    aerosol = sky.aerosol * (micrometres / 0.55) ** -1.3
    path = 0.75 * (1 + mu**2) * rayleigh / (4 * mu) * np.exp(-0.35 * rayleigh) + 0.05 * aerosol / mu
    centre, width, depth = WATER_VAPOUR.T
    vapour = (depth * np.exp(-0.5 * ((wavelengths[:, None] - centre) / width) ** 2)).sum(axis=1)[:, None, None]
    gas = np.exp(-0.6 * vapour * (0.45 * sky.vapour) ** 0.65 * length)
    direct, total = np.exp(-(rayleigh + 0.75 * aerosol) / mu), np.exp(-(0.5 * rayleigh + 0.15 * aerosol) / mu)
    scattering = np.exp(-(0.5 * rayleigh + 0.17 * aerosol) * length)
    return Air(path * np.sqrt(gas), scattering, gas, 1 - direct / total)


def two_stream(tau: Floats, wavelengths: Floats, phase: str) -> tuple[Floats, Floats]:
    """Return reflectance and transmittance ``(band, y, x)`` of a cloud layer of optical thickness `tau` ``(y, x)``.

    Examples
    --------
    >>> bright, through = two_stream(np.array([[0.0, 10.0]]), np.array([560.0]), "water")
    >>> bright.round(2), through.round(2)
    (array([[[0.  , 0.51]]]), array([[[1.  , 0.49]]]))
    """
    asymmetry = ASYMMETRY[phase]
    absorbed = np.interp(wavelengths, ABSORPTION_NODES, CRYSTALS if phase == "ice" else DROPLETS)[:, None, None]
    scattered_back = 1 - asymmetry * (1 - absorbed)
    similarity = np.sqrt(absorbed / scattered_back)
    deep = ((1 - similarity) * (1 - 0.139 * similarity) / (1 + 1.17 * similarity)).astype(tau.dtype)
    decay = np.exp(-np.sqrt(3 * absorbed * scattered_back).astype(tau.dtype) * tau)
    norm = 1 - (deep * decay) ** 2
    return deep * (1 - decay**2) / norm, (1 - deep**2) * decay / norm
