"""Landscapes: where on the ground which material lies, how steep it is, and what bands make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xr_cloudmask.simulate import fields, spectra
from xr_cloudmask.simulate.fields import Shape, noise, rough
from xr_cloudmask.simulate.light import Floats, Sky


@dataclass(frozen=True)
class Landscape:
    """A mixture of materials.

    Attributes
    ----------
    weight : float
        How often it is drawn.
    land : tuple of str
        Six materials of `spectra.MATERIALS`; one that is named twice is there in two shades.
    farmed, built : float
        Chance of parcels, and of blocks of buildings.
    air : tuple of float
        Least and most temperature of the air near the ground, kelvin.
    cloudless : float
        Chance that a sky over it has no cloud at all, whatever was drawn.
    lakes : tuple of str
        The two materials of lakes, rivers and the sea.
    sea : float
        Chance that water covers nearly all.
    """

    weight: float
    land: tuple[str, ...]
    farmed: float = 0.25
    built: float = 0.12
    air: tuple[float, float] = (270.0, 308.0)
    cloudless: float = 0.0
    lakes: tuple[str, str] = ("water", "water")
    sea: float = 0.0


def _of(weight: float, words: str, farmed: float = 0.25, built: float = 0.12) -> Landscape:
    return Landscape(weight, tuple(words.split()), farmed, built)


def _cold(weight: float, words: str, farmed: float = 0.0, **others: Any) -> Landscape:
    """Return a landscape with snow, more often without a cloud: nothing but texture tells it from a deck of ice."""
    facts = {"air": (245.0, 278.0), "cloudless": 0.35, **others}
    return Landscape(weight, tuple(words.split()), farmed, 0.04, **facts)


LANDSCAPES = {
    "temperate": _of(12, "vegetation vegetation forest dry_vegetation soil built_up", farmed=0.75),
    "forest": _of(13, "forest forest vegetation vegetation soil forest"),
    "farmland": _of(14, "vegetation dry_vegetation soil vegetation soil burnt", farmed=0.9),
    "steppe": _of(8, "soil dry_vegetation soil sand soil burnt"),
    "desert": _of(4, "sand sand soil soil salt sand", built=0.03),
    "salt_flat": _of(2, "salt salt sand soil dry_vegetation salt", built=0.02),
    "city": _of(7, "built_up built_up vegetation soil built_up burnt", farmed=0.4, built=1),
    "bright_farmland": _of(6, "dry_vegetation soil sand vegetation soil sand", farmed=0.8),
    "winter": _cold(5, "snow snow forest soil dry_vegetation forest", farmed=0.4),
    "ice": _cold(2, "snow snow snow burnt snow burnt", air=(230.0, 275.0)),
    "snow_fields": _cold(4, "snow snow snow soil forest dry_vegetation", farmed=0.9, lakes=("bare_ice", "water")),
    "alpine": _cold(5, "snow firn burnt soil forest snow"),
    "plateau": _cold(5, "fresh_snow fresh_snow fresh_snow fresh_snow firn fresh_snow", air=(215.0, 255.0)),
    "glacier": _cold(3, "firn bare_ice snow burnt firn snow", air=(240.0, 280.0)),
    "sea_ice": _cold(3, "snow bare_ice bare_ice bare_ice water bare_ice", farmed=0.5, air=(235.0, 272.0)),
    "frozen_lakes": _cold(2, "snow forest snow forest soil snow", lakes=("bare_ice", "snow")),
    "coast": Landscape(7, ("vegetation", "soil", "sand", "forest", "built_up", "vegetation"), sea=0.75),
    "burnt": _of(5, "forest burnt burnt vegetation soil dry_vegetation"),
    "lava": _of(2, "burnt burnt soil vegetation soil burnt", built=0.03),
    "bare_soil": _of(6, "soil soil soil soil burnt soil", farmed=0.5),
}
WATERS = 2  # materials after those of the land: one clear, one turbid, now and then of one colour
LAND = 6
STEEPNESS = (0.0, 0.04, 0.1, 0.25, 0.5)  # typical slope of the terrain, and
STEEPNESS_SHARE = (0.3, 0.27, 0.2, 0.13, 0.1)  # how often


@dataclass(frozen=True)
class Surface:
    """Ground as shares of materials.

    Attributes
    ----------
    materials : tuple of str
        Names, as many as shares; the last `WATERS` are water.
    share : ndarray
        ``(material, y, x)``, 0 to 1, sums to 1.
    texture : ndarray
        ``(y, x)``, about unit variance.
    slope : ndarray
        ``(2, y, x)``: rise per length southward and eastward.
    height : ndarray
        ``(y, x)``, in pixels.
    """

    materials: tuple[str, ...]
    share: Floats
    texture: Floats
    slope: Floats
    height: Floats

    def of(self, *names: str) -> Floats:
        """Return the share ``(y, x)`` of some materials together."""
        chosen = [name in names for name in self.materials]
        return np.asarray(self.share[chosen].sum(axis=0))

    def reflectance(self, rng: np.random.Generator, seen: Floats, held_out: bool = False) -> Floats:
        """Return reflectance ``(band, y, x)`` in bands that see wavelengths with weights ``(band, wavelength)``."""
        drawn = [spectra.MATERIALS[name](rng, held_out) for name in self.materials]
        library = seen @ np.asarray(drawn, "float32").T  # (band, material)
        # Where all is snow, or some of it, one shade does not bleed into the other.
        snowy = [name in spectra.SNOWS for name in self.materials]
        land, spread = library[:, :-WATERS], rng.uniform(0.85 if any(snowy) else 0.25, 1)
        mean = (land.mean(axis=1) + land[:, rng.integers(LAND)])[:, None] / 2
        library[:, :-WATERS] = mean + spread * (land - mean)
        unevenness = np.append(rng.uniform(0.02, 0.14, LAND), rng.uniform(0, 0.06, WATERS)).astype("float32")
        unevenness[snowy] *= np.exp(rng.uniform(*np.log((0.05, 1))))  # from polished to crevasses
        unevenness = unevenness * rng.normal(1, 0.15, library.shape).astype("float32")
        flat = self.share.reshape(len(self.materials), -1)
        values = library @ flat + (library * unevenness) @ flat * self.texture.reshape(1, -1)
        return np.asarray(np.maximum(values, 0.002).reshape(-1, *self.texture.shape))

    def facing(self, sky: Sky) -> Floats:
        """Return the sunlight ``(y, x)`` on the slopes relative to level ground, none where mountains shade them."""
        southward, eastward = self.slope
        away, right = sky.away
        level = 1 + (southward * away + eastward * right) * sky.reach  # ground that rises away from the sun faces it
        lit = np.maximum(level, 0) / np.sqrt(1 + southward**2 + eastward**2)
        return np.asarray(lit * self._in_the_sun(sky))

    def _in_the_sun(self, sky: Sky) -> Floats | float:
        """Return where no mountain stands before the sun, 0 to 1: looked for at growing distances."""
        relief = float(np.ptp(self.height))
        if relief * sky.reach < 2:
            return 1.0
        hidden = np.zeros_like(self.height)
        for distance in np.geomspace(1.5, min(relief * sky.reach, 0.7 * len(hidden)), 12):
            towards = tuple(round(distance * part) for part in sky.away)
            ridge = _moved(self.height, towards)
            hidden = np.maximum(hidden, ridge - self.height - np.float32(np.hypot(*towards) / sky.reach))
        return np.asarray(1 - np.clip(2 * hidden, 0, 1), "float32")


def _moved(field: Floats, offset: tuple[int, int]) -> Floats:
    """Move a field; what lies beyond its edge is as its edge is."""
    rows, columns = (np.clip(np.arange(n) - by, 0, n - 1) for n, by in zip(field.shape, offset, strict=True))
    return np.asarray(field[rows[:, None], columns])


def draw(rng: np.random.Generator) -> str:
    """Return the name of a landscape."""
    weights = np.array([landscape.weight for landscape in LANDSCAPES.values()])
    return str(rng.choice(list(LANDSCAPES), p=weights / weights.sum()))


def surface(rng: np.random.Generator, name: str, shape: Shape) -> Surface:
    """Make a surface of a landscape: patches, parcels, blocks, roads, rivers, lakes and shores, on hills or a plain."""
    landscape = LANDSCAPES[name]
    height = rough(rng, shape, rng.uniform(3, 4))
    share = _land(rng, landscape, shape, height)
    if rng.random() < 0.35:
        _roads(rng, share)
    wet = _water(rng, shape, landscape.sea > 0 and rng.random() < landscape.sea)
    turbid = fields.blend(rough(rng, shape, 3.4), rng.normal(0, 1), 3)
    share = np.concatenate([share * (1 - wet), (wet * turbid)[None], (wet * (1 - turbid))[None]])
    texture = 0.7 * rough(rng, shape, rng.uniform(0, 1.2)) + 0.5 * rough(rng, shape, 2.0)
    if any(material in spectra.SNOWS for material in landscape.land) and rng.random() < 0.5:  # the wind carves snow
        texture = texture * 0.5 + 0.8 * noise(rng, shape, rng.uniform(3, 25), rng.uniform(2, 4), rng.uniform(2, 6))
    slope = np.stack(list(np.gradient(height)))
    steep = rng.choice(STEEPNESS, p=STEEPNESS_SHARE) / (slope.std() * np.sqrt(2) + 1e-6)
    slope, height = (slope * steep * (1 - wet)).astype("float32"), (height * steep).astype("float32")
    return Surface(materials(name), share.astype("float32"), texture.astype("float32"), slope, height)


def materials(name: str) -> tuple[str, ...]:
    """Return the materials of a surface of a landscape."""
    return (*LANDSCAPES[name].land, *LANDSCAPES[name].lakes)


def _land(rng: np.random.Generator, landscape: Landscape, shape: Shape, height: Floats) -> Floats:
    """Return the shares of six materials: where the field of one is well above those of the others, it rules."""
    layers = [rough(rng, shape, rng.uniform(*slopes)) for slopes in [(1.8, 3.4)] * 4 + [(2.2, 3.4), (1.4, 2.6)]]
    competing = np.stack(layers) + rng.normal(0, 0.5, (LAND, 1, 1)).astype("float32")
    for index, material in enumerate(landscape.land):
        if material in spectra.SNOWS and rng.random() < 0.5:
            competing[index] = height * rng.uniform(0.5, 2) + rng.normal(0, 0.7)  # snow lies on the heights
    competing *= 10 ** rng.uniform(-0.2, 0.9)
    if rng.random() < landscape.farmed:
        size = max(shape) / np.sqrt(rng.choice([40, 150, 500, 1500, 4000]))
        plots, boundary = fields.parcels(rng, shape, size, square=rng.random() < 0.5)
        farmed = fields.blend(rough(rng, shape, 2.8), rng.uniform(-1.5, 0.8), 8)
        competing += farmed * (_shuffled(rng, plots, rng.uniform(3, 12)) - competing)
        competing += 0.5 * rough(rng, shape, 0.8)
        if rng.random() < 0.7:
            competing[rng.integers(LAND)][boundary] += 8  # hedges and tracks
    if rng.random() < landscape.built:
        size = max(shape) / np.sqrt(rng.choice([8000, 20000]))
        blocks, _ = fields.parcels(rng, shape, size, square=True)
        built = fields.blend(rough(rng, shape, 2.8), rng.uniform(-0.3, 1.2), 6)
        competing += built * (_shuffled(rng, blocks, 8.0) - competing)
    competing -= competing.max(axis=0)
    share = np.exp(competing)
    return np.asarray(share / share.sum(axis=0))


def _shuffled(rng: np.random.Generator, plots: np.ndarray, contrast: float) -> Floats:
    """Return a random value for each material in each plot."""
    values = rng.standard_normal((LAND, 8191), dtype="float32") * np.float32(contrast)
    return np.asarray(values[:, plots % 8191])


def _roads(rng: np.random.Generator, share: Floats) -> None:
    for _ in range(rng.integers(1, 4)):
        road = fields.line(rng, share.shape[1:], 4.0, rng.uniform(0, 1.5))
        share *= 1 - road
        share[rng.integers(LAND)] += road


def _water(rng: np.random.Generator, shape: Shape, sea: bool) -> Floats:
    wet = np.zeros(shape, "float32")
    if sea:
        wet = fields.blend(rough(rng, shape, rng.uniform(3, 4)), rng.uniform(-4, -0.5), 60)
    if rng.random() < 0.4:  # lakes, or the sea
        wet = np.maximum(wet, fields.blend(rough(rng, shape, rng.uniform(2.8, 4)), rng.uniform(-0.3, 2.2), 60))
    if rng.random() < 0.3:
        wet = np.maximum(wet, fields.line(rng, shape, rng.uniform(2.8, 4), rng.uniform(1, 6)))
    return wet
