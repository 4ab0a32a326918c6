"""What a sensor sees: ground, clouds above it and their shade on it, and the air between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xr_cloudmask.simulate.clouds import THICK, THIN
from xr_cloudmask.simulate.light import (
    AIR_SCALE_HEIGHT,
    ASYMMETRY,
    VAPOUR_SCALE_HEIGHT,
    Air,
    Floats,
    two_stream,
)

ADJACENCY = 1000.0  # metres across, from which stray light comes


@dataclass(frozen=True)
class Layer:
    """A cloud layer over the scene.

    Attributes
    ----------
    base : float
        Height in metres.
    phase : {'water', 'ice'}
    tau, shade : ndarray
        Optical thickness ``(y, x)`` above the ground, and between ground and sun.
    relief : ndarray or float
        Relative brightness of the tops ``(y, x)``.
    depth : float
        How far the thickest part rises above the base, in metres.
    """

    base: float
    phase: str
    tau: Floats
    shade: Floats
    relief: Floats | float = 1.0
    depth: float = 0.0


def toa(
    ground: Floats,
    air: Air,
    layers: Sequence[Layer],
    gsd: float,
    *,
    facing: Floats | float = 1.0,
    haze: Floats | float = 0.0,
) -> Floats:
    """Return top-of-atmosphere reflectance ``(band, y, x)``.

    Parameters
    ----------
    ground : ndarray
        Reflectance ``(band, y, x)``.
    air : Air
        Of the same bands.
    layers : sequence of Layer
        From the lowest to the highest.
    gsd : float
        Pixel size in metres.
    facing : ndarray or float
        Sunlight on slopes relative to level ground.
    haze : ndarray or float
        More aerosol, as a share of the light that the air returns.
    """
    # Skylight keeps shadows from being black, blue ones least; a cloudy sky gives less of it.
    clouded = min(1.0, sum(float(np.minimum(layer.tau / 10, 1).mean()) for layer in layers))
    sun = np.asarray(facing, "float32")
    for layer in layers:
        if layer.shade.any():
            sun = sun * two_stream(layer.shade, air.absorbed[layer.phase], layer.phase)[1]
    light = (1 - air.diffuse) * sun + air.diffuse * np.float32(1 - 0.35 * clouded)
    seen = air.gas * air.scattering * ground * light
    around = _around(seen, gsd)
    seen = seen + air.strayed * (around - seen)  # haze blurs the ground, and bright shores brighten water
    path = air.path * (1 + np.asarray(haze, "float32"))
    for layer in layers:
        if not layer.tau.any():
            continue
        bright, through = two_stream(layer.tau, air.absorbed[layer.phase], layer.phase)
        air_above, vapour_above = (np.exp(-layer.base / height) for height in (AIR_SCALE_HEIGHT, VAPOUR_SCALE_HEIGHT))
        top = bright * layer.relief
        sharp = np.minimum(np.exp(-(1 - ASYMMETRY[layer.phase] ** 2) * layer.tau), through)
        again = 1 / (1 - bright * np.minimum(ground, 0.95))  # light goes to and fro between ground and cloud
        seen = (sharp * seen + (through - sharp) * around) * again
        around = around * through * again
        seen += top * (air.scattering**air_above * air.gas**vapour_above).astype("float32")
        path = path * (air_above + (1 - air_above) * through)
    return np.asarray(seen + path, "float32")


def _around(seen: Floats, gsd: float) -> Floats:
    """Return the mean of what lies around each pixel: where light comes from that was scattered on its way."""
    from scipy import ndimage

    width = max(3, round(ADJACENCY / gsd))
    return np.stack([ndimage.uniform_filter(band, width, mode="nearest") for band in seen])


def thickness(layers: Sequence[Layer], what: str) -> Floats:
    """Return the ``'tau'`` or ``'shade'`` ``(y, x)`` of all layers, of droplets that would return as much light."""
    weights = [(1 - ASYMMETRY[layer.phase]) / (1 - ASYMMETRY["water"]) for layer in layers]
    return np.asarray(sum(w * getattr(layer, what) for w, layer in zip(weights, layers, strict=True)), "float32")


def classify(tau: Floats, shade: Floats, codes: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return the codes of thick cloud, thin cloud, cloud shadow or clear for each pixel."""
    thick, thin, shadow, clear = codes
    return np.select([tau >= THICK, tau >= THIN, shade >= THICK], [thick, thin, shadow], clear).astype("uint8")
