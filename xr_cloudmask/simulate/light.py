"""What air and clouds do to light, band by band.

Sources: Rayleigh scattering after Fröhlich & Shaw (1980) as corrected by Young (1981), aerosol after Ångström's law,
cloud reflectance and transmittance from the two-stream approximation with the similarity parameter of King (1987);
absorption by crystals, of clouds and of snow alike, from the refractive index of ice of Warren & Brandt (2008);
absorption by vapour, gases and droplets in round figures that have the shape of the real spectra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

WAVELENGTHS = np.arange(400, 2401, 5, dtype="float32")  # nm

# Absorption bands: centre and width in nm, and optical depth. Of water vapour, which lies low and comes and goes;
# fmt: off
WATER_VAPOUR = np.array(
    [(720, 8, 0.12), (820, 12, 0.1), (940, 22, 0.75), (1130, 28, 0.8), (1380, 45, 6), (1470, 40, 0.8), (1870, 55, 8),
     (1980, 30, 0.9), (2350, 60, 0.12)]
)
# fmt: on
# and of ozone, oxygen, carbon dioxide and methane, which are everywhere.
OTHER_GASES = np.array([(600, 60, 0.03), (760, 4, 0.25), (2010, 25, 0.12), (2060, 25, 0.08), (2320, 80, 0.02)])
# Share of light that a droplet of 10 µm absorbs of what it does not let pass.
DROPLETS = np.array(
    [(400, 1e-6), (900, 2e-5), (980, 2e-4), (1250, 5e-4), (1380, 4e-3), (1450, 0.03), (1500, 0.014), (1600, 0.006),
     (1700, 0.005), (1850, 0.015), (2000, 0.06), (2200, 0.017), (2300, 0.022), (2400, 0.04)]
)  # fmt: skip
# Imaginary part of the refractive index of ice: Warren & Brandt (2008), https://doi.org/10.1029/2007JD009744
ICE = np.array(
    [(400, 2.4e-11), (450, 9.2e-11), (500, 5.9e-10), (550, 2.3e-9), (600, 5.7e-9), (650, 1.4e-8), (700, 2.9e-8),
     (750, 5.9e-8), (800, 1.3e-7), (850, 1.8e-7), (900, 4.2e-7), (950, 6.0e-7), (1000, 1.6e-6), (1030, 2.3e-6),
     (1100, 1.7e-6), (1150, 2.3e-6), (1200, 6.7e-6), (1260, 1.3e-5), (1340, 1.3e-5), (1400, 2.0e-5), (1430, 1.0e-4),
     (1460, 2.9e-4), (1493, 5.5e-4), (1538, 4.6e-4), (1587, 3.1e-4), (1613, 2.7e-4), (1700, 1.9e-4), (1800, 1.4e-4),
     (1850, 1.3e-4), (1890, 2.6e-4), (1942, 1.1e-3), (2000, 1.6e-3), (2062, 1.3e-3), (2105, 7.6e-4), (2150, 4.0e-4),
     (2200, 2.5e-4), (2250, 2.0e-4), (2310, 3.1e-4), (2400, 5.8e-4)]
)  # fmt: skip
CRYSTAL = 25.0  # µm, radius of a usual crystal in a cloud
MOST_ABSORBED = 0.47  # by a grain that lets nothing through: the rest is what it diffracts and reflects
ASYMMETRY = {"water": 0.86, "ice": 0.78}
AIR_SCALE_HEIGHT, VAPOUR_SCALE_HEIGHT, AEROSOL_SCALE_HEIGHT = 8000.0, 2200.0, 1500.0  # metres


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
    angstrom : float
        How fast the aerosol thins with wavelength: 0.5 dust, 1.7 smoke.
    glow : float
        Skylight that clouds and slopes around add to every shadow, as a share of the sun's.
    """

    azimuth: float
    elevation: float
    aerosol: float
    vapour: float
    angstrom: float = 1.3
    glow: float = 0.0

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


def response(bands: Floats) -> Floats:
    """Return the share of each of `WAVELENGTHS` ``(band, wavelength)`` in bands given by their limits ``(band, 2)``.

    A band is a box between its limits, or the nearest wavelength where none lies between them.

    Examples
    --------
    >>> weights = response(np.array([[450.0, 520.0], [842.0, 843.0]]))
    >>> weights.sum(axis=1).tolist(), float(WAVELENGTHS[weights[1].argmax()])
    ([1.0, 1.0], 840.0)
    """
    low, high = np.clip(np.asarray(bands, "float32"), WAVELENGTHS[0], WAVELENGTHS[-1]).T[..., None]
    inside = (low <= WAVELENGTHS) & (high >= WAVELENGTHS)
    nearest = np.abs(WAVELENGTHS - (low + high) / 2).argmin(axis=1)
    inside[np.arange(len(nearest)), nearest] |= ~inside.any(axis=1)
    weights: Floats = (inside / inside.sum(axis=1, keepdims=True)).astype("float32")
    return weights


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
    strayed : ndarray
        Share of the light from the ground that comes from around the pixel.
    absorbed : mapping
        By phase, the share of light that cloud particles absorb of what they do not let pass.
    seen : ndarray
        Share ``(band, wavelength)`` of each of `WAVELENGTHS` in what reaches the sensor from the ground: where the air
        is opaque a band sees nothing.
    """

    path: Floats
    scattering: Floats
    gas: Floats
    diffuse: Floats
    strayed: Floats
    absorbed: Mapping[str, Floats]
    seen: Floats


def ice_absorption(radius: float) -> Floats:
    """Return the share of light that grains of ice absorb of what they do not let pass, at `WAVELENGTHS`.

    Light crosses a grain on 0.42 of its diameter, seen from far: 2/3 for a ball, 1.25 for refraction, 1/2 for
    diffraction, which counts as not let pass. `radius` is in µm.

    Examples
    --------
    >>> ice_absorption(25.0)[[20, 240]].round(4)  # 500 and 1600 nm
    array([0.    , 0.0454], dtype=float32)
    """
    index = np.exp(np.interp(WAVELENGTHS, ICE[:, 0], np.log(ICE[:, 1])))
    inside = 0.42 * 2 * radius * 4 * np.pi * index / (WAVELENGTHS / 1000)
    return np.asarray(MOST_ABSORBED * (1 - np.exp(-inside / MOST_ABSORBED)), "float32")


def air(bands: Floats, sky: Sky, coarseness: float = 1.0, crystals: float | None = None) -> Air:
    """Return what the air does in bands given by their limits ``(band, 2)`` in nm.

    `coarseness` is the radius of droplets relative to 10 µm, `crystals` that of crystals relative to 25 µm; by default
    the two are alike.
    """
    weights, micrometres, mu = response(bands), WAVELENGTHS / 1000, sky.sine
    length = 1 / mu + 1  # down, and up to the zenith
    rayleigh = 0.00864 * micrometres ** -(3.916 + 0.074 * micrometres + 0.05 / micrometres)
    aerosol = sky.aerosol * (micrometres / 0.55) ** -sky.angstrom
    gas = np.exp(-length * (0.6 * (0.45 * sky.vapour) ** 0.65 * _depth(WATER_VAPOUR) + _depth(OTHER_GASES)))
    # Light that air scatters once on its way, and what it scatters again; under a low sun the air hides itself.
    once = 0.75 * (1 + mu**2) * (1 - np.exp(-rayleigh * length)) / (4 * (1 + mu))
    path = once * (1 + 0.9 * rayleigh * length**0.35) + 0.05 * aerosol / mu
    forward = 0.5 * rayleigh + 0.6 * aerosol  # optical depth of scattering that does not lose the light
    scattering = np.exp(-0.17 * aerosol * length) / (1 + 0.5 * rayleigh * length)
    droplets = np.minimum(np.interp(WAVELENGTHS, *DROPLETS.T) * coarseness, 0.4)
    absorbed = {"water": droplets, "ice": ice_absorption(CRYSTAL * (coarseness if crystals is None else crystals))}

    def mean(spectrum: Floats) -> Floats:
        return np.asarray((weights @ spectrum)[:, None, None], dtype="float32")

    seen = weights * (gas * scattering).astype("float32")
    return Air(
        path=mean(path * np.sqrt(gas)),
        scattering=mean(scattering),
        gas=mean(gas),
        diffuse=np.minimum(mean(1 - np.exp(-forward / mu)) + np.float32(sky.glow), 0.9),
        strayed=mean(1 - np.exp(-forward)),
        absorbed={phase: mean(spectrum) for phase, spectrum in absorbed.items()},
        seen=seen / np.maximum(seen.sum(axis=1, keepdims=True), 1e-9),
    )


def _depth(lines: Floats) -> Floats:
    centre, width, depth = lines.T
    return np.asarray((depth * np.exp(-0.5 * ((WAVELENGTHS[:, None] - centre) / width) ** 2)).sum(axis=1))


def deep(absorbed: Floats, asymmetry: float) -> Floats:
    """Return the reflectance of something so deep that no light comes through: a thick cloud, or snow.

    Source: King (1987), https://doi.org/10.1175/1520-0469(1987)044<1734:DOTSOT>2.0.CO;2
    """
    similarity = np.sqrt(absorbed / (1 - asymmetry * (1 - absorbed)))
    return np.asarray((1 - similarity) * (1 - 0.139 * similarity) / (1 + 1.17 * similarity))


def two_stream(tau: Floats, absorbed: Floats, phase: str) -> tuple[Floats, Floats]:
    """Return reflectance and transmittance ``(band, y, x)`` of a cloud layer of optical thickness `tau` ``(y, x)``.

    Examples
    --------
    >>> bright, through = two_stream(np.array([[0.0, 10.0]]), np.full((1, 1, 1), 1e-5), "water")
    >>> bright.round(2), through.round(2)
    (array([[[0.  , 0.51]]]), array([[[1.  , 0.49]]]))
    """
    asymmetry = ASYMMETRY[phase]
    scattered_back = 1 - asymmetry * (1 - absorbed)
    most = deep(absorbed, asymmetry).astype(tau.dtype)
    decay = np.exp(-np.sqrt(3 * absorbed * scattered_back).astype(tau.dtype) * tau)
    norm = 1 - (most * decay) ** 2
    return most * (1 - decay**2) / norm, (1 - most**2) * decay / norm
