"""Cloud layers as random fields of optical thickness, their shade and their relief; lengths in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xr_cloudmask.simulate.fields import Shape, noise
from xr_cloudmask.simulate.light import Floats, Sky

# Optical thickness from which truth says so. 0.6 brightens the ground by about 0.05, the least a careful labeller
# outlines; under 3 the ground keeps half of its contrast, and a quarter of the sun's light is gone.
THIN, THICK = 0.6, 3.0

MOST = 60.0  # no cloud is thicker
MOST_SLICES = 80
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


@dataclass(frozen=True)
class Family:
    """Least and most of what `draw` may give `Clouds` of a family, and of their cover; lengths by ratio.

    A cover of 1 is an overcast sky: no hole in it, `softness` says how uneven it is.
    """

    cover: tuple[float, float]
    cell: tuple[float, float]
    thickness: tuple[float, float]
    softness: tuple[float, float]
    base: tuple[float, float]
    depth: tuple[float, float]
    slope: tuple[float, float] = (3.4, 4.5)
    billow: tuple[float, float] = (0.1, 0.35)
    stretch: tuple[float, float] = (1.0, 1.5)
    phase: str = "water"

    def draw(self, rng: np.random.Generator) -> Clouds:
        """Return one member."""
        by_ratio = {name: _log_uniform(rng, getattr(self, name)) for name in ("cell", "thickness", "base", "depth")}
        evenly = {name: rng.uniform(*getattr(self, name)) for name in ("softness", "slope", "billow", "stretch")}
        return Clouds(**by_ratio, **evenly, phase=self.phase)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


FAMILIES = {
    "cumulus": Family((0.03, 0.4), (900, 4500), (4, 18), (0.3, 0.9), (500, 2800), (200, 1500)),
    "streets": Family((0.05, 0.45), (1100, 3500), (4, 14), (0.3, 0.9), (500, 2200), (200, 900), stretch=(1.4, 2.4)),
    "broken": Family((0.3, 0.75), (1500, 7000), (3, 14), (0.4, 1.1), (500, 2800), (150, 900)),
    "deck": Family((0.45, 0.98), (3000, 14000), (4, 18), (0.7, 1.8), (300, 2500), (80, 400), stretch=(1, 2)),
    "towers": Family((0.08, 0.5), (5000, 16000), (12, 40), (0.4, 1), (600, 2200), (1500, 5000)),
    "altocumulus": Family((0.15, 0.7), (500, 1800), (1, 7), (0.4, 1.2), (2500, 5500), (80, 300), stretch=(1, 2.5)),
    "cirrus": Family(
        (0.1, 0.8), (3000, 12000), (0.4, 3.5), (0.5, 1.5), (5500, 11500), (1, 2), (2.6, 4), (0, 0.1), (1, 5), "ice"
    ),
    "fog": Family((0.1, 0.6), (3000, 12000), (0.5, 4), (0.8, 2), (30, 300), (20, 80), billow=(0, 0.15)),
    "small_cumulus": Family((0.01, 0.15), (350, 1300), (2, 10), (0.3, 0.8), (400, 1600), (60, 400)),
    "sheet": Family((0.7, 0.97), (600, 4000), (2, 12), (0.4, 1.2), (500, 2000), (60, 350), stretch=(1, 2)),
    "altocumulus_sheet": Family((0.4, 0.97), (350, 1800), (1, 8), (0.4, 1.2), (2500, 6000), (60, 300), stretch=(1, 3)),
    "ice_deck": Family(
        (0.4, 0.98), (3000, 20000), (3, 25), (0.5, 1.8), (4000, 9000), (100, 900), (3, 4.5), (0, 0.3), (1, 3), "ice"
    ),
    "anvil": Family(
        (0.1, 0.7), (6000, 25000), (10, 60), (0.3, 1), (4500, 8500), (800, 5000), (3.2, 4.5), (0, 0.35), (1, 2), "ice"
    ),
    "overcast": Family((1, 1), (1500, 15000), (3, 40), (0.1, 0.7), (200, 2500), (80, 500), stretch=(1, 2)),
    "overcast_ice": Family(
        (1, 1), (2000, 20000), (3, 40), (0.1, 0.7), (3500, 9000), (100, 900), (2.8, 4.5), (0, 0.3), (1, 4), "ice"
    ),
    # Cells with an open middle: for testing only, no network has seen them in training.
    "open_cells": Family((0.2, 0.5), (4000, 12000), (3, 12), (0.2, 0.5), (600, 1800), (200, 700), billow=(-0.9, -0.5)),
}


def layers(rng: np.random.Generator, cover: float, shape: Shape, gsd: float) -> tuple[tuple[Clouds, Floats], ...]:
    """Return low clouds over the share `cover` of the scene and, sometimes, cirrus above: optical thickness each."""
    low = next(kind for limit, kind in LOW_CLOUDS if cover <= limit)
    cirrus = CIRRUS_COVER * min(1.0, 4 * cover) * (rng.random() < CIRRUS_CHANCE)
    return tuple((kind, thickness(rng, kind, part, shape, gsd)) for kind, part in ((low, cover), (CIRRUS, cirrus)))


def thickness(rng: np.random.Generator, kind: Clouds, cover: float, shape: Shape, gsd: float) -> Floats:
    """Return optical thickness ``(y, x)`` that exceeds `THIN` on the share `cover` of the pixels."""
    if cover == 0:
        return np.zeros(shape, "float32")
    field = noise(rng, shape, kind.cell / gsd, kind.slope, kind.stretch)
    field = field - kind.billow * np.abs(noise(rng, shape, kind.cell / 3 / gsd, kind.slope, kind.stretch))
    inside = (field - np.quantile(field, 1 - cover)) / kind.softness
    edge = (THIN / (1 - THIN / MOST) / kind.thickness) ** (2 / 3)
    tau = kind.thickness * np.clip(inside + edge, 0, None) ** 1.5
    return np.asarray(tau / (1 + tau / MOST), "float32")


def overcast(rng: np.random.Generator, kind: Clouds, shape: Shape, gsd: float) -> Floats:
    """Return the optical thickness ``(y, x)`` of a sky without a hole: lognormal, as that of real sheets is."""
    field = noise(rng, shape, kind.cell / gsd, kind.slope, kind.stretch)
    field = field - kind.billow * np.abs(noise(rng, shape, kind.cell / 3 / gsd, kind.slope, kind.stretch))
    return np.asarray(np.minimum(kind.thickness * np.exp(kind.softness * field), MOST), "float32")


def contrails(rng: np.random.Generator, shape: Shape, gsd: float) -> tuple[Clouds, Floats]:
    """Return a few straight, frayed lines of ice."""
    rows, columns = np.indices(shape, dtype="float32")
    tau = np.zeros(shape, "float32")
    for _ in range(rng.integers(1, 4)):
        heading, width = rng.uniform(0, np.pi), _log_uniform(rng, (100, 1500)) / gsd
        middle = [rng.uniform(0, length) for length in shape]
        off = (rows - middle[0]) * np.cos(heading) + (columns - middle[1]) * np.sin(heading)
        frayed = np.clip(1 + 0.7 * noise(rng, shape, max(4 * width, 8), 3.0), 0.1, None)
        off = off + width * noise(rng, shape, max(shape), 3.5)
        tau = np.maximum(tau, _log_uniform(rng, (0.4, 2.5)) * frayed * np.exp(-0.5 * (2 * off / width) ** 2))
    kind = Clouds(2000, 3, 0, 1, 1, base=rng.uniform(8500, 11500), depth=1, phase="ice")
    return kind, np.where(tau > 0.02, tau, 0)


def shade(tau: Floats, kind: Clouds, sky: Sky, gsd: float) -> Floats:
    """Return the optical thickness between ground and sun: the layer, slice by slice, moved away from the sun."""
    from scipy import ndimage

    if not tau.any():
        return tau
    bulk = ndimage.gaussian_filter(tau, kind.cell / 20 / gsd, mode="wrap")
    top = np.clip(bulk / np.quantile(bulk[tau > 0], 0.95), 0, 1)
    shaded = np.zeros_like(tau)
    slices = 1 + int(kind.depth * sky.reach / gsd / 2)  # one every other pixel of shadow
    for level in np.linspace(0, 1, min(slices, MOST_SLICES)):
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


# What a sky may hold, and how often. Contrails are no family: they are drawn one by one.
CONTRAILS = "contrails"
SKIES: dict[tuple[str, ...], float] = {
    (): 24,
    ("cumulus",): 18,
    ("small_cumulus",): 10,
    ("streets",): 6,
    ("broken",): 17,
    ("deck",): 5,
    ("sheet",): 6,
    ("towers",): 7,
    ("altocumulus",): 6,
    ("altocumulus_sheet",): 6,
    ("cirrus",): 7,
    ("ice_deck",): 7,
    ("anvil",): 7,
    ("overcast",): 6,
    ("overcast_ice",): 6,
    ("fog",): 2,
    (CONTRAILS,): 2,
    ("cumulus", "cumulus"): 4,
    ("cumulus", "cirrus"): 7,
    ("cumulus", "ice_deck"): 4,
    ("cumulus", CONTRAILS): 2,
    ("broken", "altocumulus"): 3,
    ("broken", "cirrus"): 4,
    ("sheet", "anvil"): 2,
    ("overcast", "overcast_ice"): 2,
}
TEST_SKIES = {**SKIES, ("open_cells",): 170}


def draw(rng: np.random.Generator, held_out: bool = False) -> tuple[str, ...]:
    """Draw what a sky holds: names of families, or `CONTRAILS`."""
    skies = TEST_SKIES if held_out else SKIES
    weights = np.array(list(skies.values()))
    return list(skies)[rng.choice(len(skies), p=weights / weights.sum())]


def layer(rng: np.random.Generator, name: str, shape: Shape, gsd: float) -> tuple[Clouds, Floats]:
    """Make a layer of a family, or contrails."""
    if name == CONTRAILS:
        return contrails(rng, shape, gsd)
    kind, cover = FAMILIES[name].draw(rng), rng.uniform(*FAMILIES[name].cover)
    return kind, overcast(rng, kind, shape, gsd) if cover >= 1 else thickness(rng, kind, cover, shape, gsd)
