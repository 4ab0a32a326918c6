"""Brightness temperature at 10 to 12.5 µm: of the ground, of cloud tops by their height, of both through thin cloud.

Round figures: the air cools by 6.5 K a kilometre up to a tropopause (ICAO standard atmosphere); a cloud absorbs half as
much of this light as it scatters of the visible (Minnis et al. 1998); snow is colder than the air above it, by up to
20 K at night or under a low sun (Hudson & Brandt 2005), and never warmer than its melting point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xr_cloudmask.simulate import instrument
from xr_cloudmask.simulate.landscapes import Surface
from xr_cloudmask.simulate.light import Floats, Sky
from xr_cloudmask.simulate.render import Layer
from xr_cloudmask.simulate.spectra import SNOWS

LAPSE = 6.5e-3  # kelvin a metre
TROPOPAUSE = 205.0, 222.0  # its temperature; there clouds end
ABSORBED = 0.5  # optical thickness, relative to the visible
MELTING = 273.15
WAVELENGTHS = ((10_600.0, 11_190.0), (10_300.0, 11_300.0), (10_400.0, 12_500.0), (10_780.0, 11_280.0))  # nm, sensors'


def temperature(
    rng: np.random.Generator, surface: Surface, layers: Sequence[Layer], sky: Sky, near_ground: float
) -> Floats:
    """Return brightness temperature ``(y, x)`` in kelvin, as an instrument delivers it.

    Parameters
    ----------
    rng : Generator
    surface : Surface
    layers : sequence of Layer
        From the lowest to the highest.
    sky : Sky
    near_ground : float
        Temperature of the air, kelvin.
    """
    seen = _ground(rng, surface, layers, sky, near_ground)
    tropopause = rng.uniform(*TROPOPAUSE)
    for layer in layers:
        opaque = 1 - np.exp(-ABSORBED * layer.tau)
        # The top rises where the cloud is thick; what is thin shines from its middle.
        top = layer.base + layer.depth * np.clip(layer.tau / 20, 0.1, 1)
        air = np.maximum(near_ground - LAPSE * top, min(tropopause, near_ground))
        seen = (1 - opaque) * seen + opaque * air
    seen = seen - rng.uniform(0, 1) * sky.vapour  # what vapour above takes away
    recorded = instrument.blurred(seen[None].astype("float32"), rng.uniform(0.5, 1.8))[0]
    noise = rng.standard_normal(recorded.shape, dtype="float32") * np.float32(rng.uniform(0.05, 0.5))
    return np.asarray(recorded + np.float32(rng.normal(0, 1)) + noise, "float32")


def _ground(
    rng: np.random.Generator, surface: Surface, layers: Sequence[Layer], sky: Sky, near_ground: float
) -> Floats:
    """Return the temperature of the ground: the sun warms land, least where clouds shade it."""
    snowy = surface.of(*SNOWS)
    wet = surface.of("water")
    inversion = rng.uniform(0, 20) * (1 - sky.sine) ** 2
    snow = min(near_ground - inversion, MELTING)
    water = max(near_ground + rng.normal(0, 4), MELTING - 2)
    heating = rng.uniform(0, 25) * sky.sine * np.minimum(surface.facing(sky), 1.3)
    for layer in layers:
        heating = heating * (0.6 + 0.4 * np.exp(-0.2 * layer.shade))  # the ground remembers an hour or so
    land = near_ground + heating + rng.uniform(0.2, 2) * surface.texture
    mixed = snowy * snow + wet * water + (1 - snowy - wet) * land
    return np.asarray(mixed + rng.uniform(0, 0.6) * surface.texture * snowy, "float32")
