"""Cloud layers as random fields of optical thickness, their shade and their relief; lengths in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xr_cloudmask.simulate.light import Floats, Sky

# Optical thickness from which truth says so. 0.6 brightens the ground by about 0.05, the least a careful labeller
# outlines; 3 hides most of the ground, and ground that sees the sun through it is labelled shadow.
THIN, THICK = 0.6, 3.0

SUN_WIDTH = np.radians(0.53)


@dataclass(frozen=True)
class Clouds:
    """A kind of cloud layer.

    Attributes
    ----------
    cell : float
        Distance from cloud to cloud.
    slope : float
        Fall of the power spectrum below `cell`: small is ragged, large is round.
    billow : float
        Share of cauliflower-like detail.
    thickness : float
        Optical thickness one `softness` inside the edge.
    softness : float
        How slowly a cloud thickens from its edge, in standard deviations of the field.
    base, depth : float
        Height of the base, and how far the thickest part rises above it.
    stretch : float
        Length over width.
    phase : {'water', 'ice'}
    """

    cell: float
    slope: float
    billow: float
    thickness: float
    softness: float
    base: float
    depth: float
    stretch: float = 1.0
    phase: str = "water"


CUMULUS = Clouds(cell=2200, slope=4.2, billow=0.2, thickness=9, softness=0.5, base=1100, depth=900)
STRATOCUMULUS = Clouds(cell=3500, slope=4.0, billow=0.25, thickness=8, softness=0.7, base=1400, depth=500, stretch=1.3)
STRATUS = Clouds(cell=6000, slope=4.0, billow=0.2, thickness=10, softness=1, base=1000, depth=300, stretch=1.5)
CIRRUS = Clouds(5000, slope=3.6, billow=0, thickness=1, softness=1, base=8500, depth=0, stretch=3, phase="ice")
LOW_CLOUDS = ((0.45, CUMULUS), (0.75, STRATOCUMULUS), (1.0, STRATUS))  # up to which cover a kind reigns
CIRRUS_COVER, CIRRUS_CHANCE = 0.25, 0.3


def layers(
    rng: np.random.Generator, cover: float, shape: tuple[int, ...], gsd: float
) -> tuple[tuple[Clouds, Floats], ...]:
    """Return low clouds over the share `cover` of the scene and, sometimes, cirrus above: optical thickness each."""
    low = next(kind for limit, kind in LOW_CLOUDS if cover <= limit)
    cirrus = CIRRUS_COVER * min(1.0, 4 * cover) * (rng.random() < CIRRUS_CHANCE)
    return tuple((kind, _thickness(rng, kind, part, shape, gsd)) for kind, part in ((low, cover), (CIRRUS, cirrus)))


def _thickness(rng: np.random.Generator, kind: Clouds, cover: float, shape: tuple[int, ...], gsd: float) -> Floats:
    """Return optical thickness ``(y, x)`` that exceeds `THIN` on the share `cover` of the pixels."""
    if cover == 0:
        return np.zeros(shape, "float32")
    field = noise(rng, shape, kind.cell / gsd, kind.slope, kind.stretch)
    field = field - kind.billow * np.abs(noise(rng, shape, kind.cell / 3 / gsd, kind.slope, kind.stretch))
    inside = (field - np.quantile(field, 1 - cover)) / kind.softness
    edge = (THIN / kind.thickness) ** (2 / 3)
    thickness: Floats = (kind.thickness * np.clip(inside + edge, 0, None) ** 1.5).astype("float32")
    return thickness


def noise(rng: np.random.Generator, shape: tuple[int, ...], cell: float, slope: float, stretch: float = 1.0) -> Floats:
    """Return a periodic Gaussian field, zero mean and unit variance, with most of its power around `cell` pixels."""
    from scipy import fft

    wind = rng.uniform(0, np.pi)
    fy, fx = np.meshgrid(fft.fftfreq(shape[0]), fft.rfftfreq(shape[1]), indexing="ij")
    along, across = fx * np.cos(wind) + fy * np.sin(wind), fy * np.cos(wind) - fx * np.sin(wind)
    frequency = np.hypot(along * stretch, across) * cell
    amplitude = (1 + frequency**2) ** (-slope / 4) * frequency / np.hypot(frequency, 0.35)
    real, imaginary = rng.standard_normal((2, *amplitude.shape))
    field = fft.irfft2((real + 1j * imaginary) * amplitude, s=shape)
    unit: Floats = (field / field.std()).astype("float32")
    return unit


def shade(tau: Floats, kind: Clouds, sky: Sky, gsd: float) -> Floats:
    """Return the optical thickness between ground and sun: the layer, slice by slice, moved away from the sun."""
    from scipy import ndimage

    if not tau.any():
        return tau
    bulk = ndimage.gaussian_filter(tau, kind.cell / 20 / gsd, mode="wrap")
    top = np.clip(bulk / np.quantile(bulk[tau > 0], 0.95), 0, 1)
    shaded = np.zeros_like(tau)
    for level in np.linspace(0, 1, 1 + int(kind.depth * sky.reach / gsd / 2)):  # a slice every other pixel of shadow
        distance = (kind.base + level * kind.depth) * sky.reach / gsd
        offset = [round(distance * part) for part in sky.away]
        shaded = np.maximum(shaded, np.roll(np.where(top >= level, tau, 0), offset, axis=(0, 1)))
    penumbra = kind.base * SUN_WIDTH / 2 / gsd
    return np.asarray(ndimage.gaussian_filter(shaded, penumbra + 0.3, mode="wrap"))


def relief(tau: Floats, sky: Sky, gsd: float) -> Floats:
    """Return the relative brightness of cloud tops: flanks that face the sun are brighter."""
    from scipy import ndimage

    uphill = np.gradient(np.log1p(ndimage.gaussian_filter(tau, 30 / gsd, mode="wrap")))
    facing = sum(part * slope for part, slope in zip(sky.away, uphill, strict=True)) * 30 / gsd
    return np.asarray(np.clip(1 + 0.35 * facing * sky.reach, 0.65, 1.2))
