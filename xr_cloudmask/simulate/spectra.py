"""Reflectance spectra of what ground is made of, 400–2400 nm: each call draws another member of its kind.

Vegetation and two soils come from PROSAIL (`tools/prepare_spectra.py`). The others follow closed forms that have the
shape of published spectra: water after the semi-analytical model of Lee et al. (1998) with pure-water absorption in
round figures, snow between fine and coarse grains after Wiscombe & Warren (1980), soils, sands and roofs as edges and
slopes with the clay, carbonate and moisture bands.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np

from xr_cloudmask.simulate.light import WAVELENGTHS, Floats

# fmt: off
PURE_WATER = ((400, .01), (500, .02), (570, .07), (600, .22), (650, .35), (700, .6), (750, 2.6), (800, 2.1), (850, 4.5),
              (900, 7), (970, 45), (1100, 30), (1200, 100), (2400, 1000))  # absorption per metre
FINE_SNOW = ((400, .97), (700, .96), (900, .90), (1030, .80), (1090, .82), (1250, .55), (1300, .55), (1480, .06),
             (1600, .12), (1800, .22), (1950, .03), (2000, .03), (2200, .12), (2250, .14), (2400, .06))
COARSE_SNOW = ((400, .92), (600, .88), (800, .74), (900, .6), (1030, .42), (1090, .45), (1250, .17), (1300, .18),
               (1480, .01), (1600, .02), (1800, .05), (1950, .01), (2200, .02), (2400, .01))
GLACIER = ((400, .6), (500, .62), (600, .52), (700, .38), (800, .28), (900, .18), (1030, .06), (1300, .03), (2400, .01))
# fmt: on
HELD_OUT = 6  # every sixth canopy is kept for testing


def _nodes(points: tuple[tuple[float, float], ...]) -> Floats:
    nodes, values = np.array(points).T
    return np.asarray(np.interp(WAVELENGTHS, nodes, values))


def _line(centre: float, width: float) -> Floats:
    return np.asarray(np.exp(-0.5 * ((WAVELENGTHS - centre) / width) ** 2))


def _edge(centre: float, width: float) -> Floats:
    return np.asarray(1 / (1 + np.exp((centre - WAVELENGTHS) / width)))


@cache
def _library() -> tuple[Floats, Floats]:
    with files("xr_cloudmask.simulate").joinpath("vegetation.npz").open("rb") as file, np.load(file) as stored:
        return stored["canopies"].astype("float32"), stored["soils"].astype("float32")


def vegetation(rng: np.random.Generator, held_out: bool = False) -> Floats:
    """Return a mixture of two canopies, green or senescent."""
    canopies = _library()[0]
    kept = np.arange(len(canopies)) % HELD_OUT == 0
    first, second = canopies[kept if held_out else ~kept][rng.integers(0, sum(kept if held_out else ~kept), 2)]
    share = rng.random()
    return np.asarray((first * share + second * (1 - share)) * rng.uniform(0.6, 1.15))


def forest(rng: np.random.Generator, held_out: bool = False) -> Floats:
    """Return a dense forest: a canopy that shades itself."""
    return vegetation(rng, held_out) * rng.uniform(0.45, 0.8)


def dry_vegetation(rng: np.random.Generator, held_out: bool = False) -> Floats:
    """Return straw, stubble and dry grass: an edge in the visible, cellulose and lignin bands beyond 2000 nm."""
    green = vegetation(rng, held_out)
    straw = rng.uniform(0.2, 0.5) * (0.25 + 0.75 * _edge(rng.uniform(560, 680), rng.uniform(70, 150)))
    straw = straw * (1 - 0.25 * _line(1930, 50)) * (1 - 0.2 * _line(2100, 60)) * (1 - 0.3 * _edge(2200, 80))
    share = rng.uniform(0, 0.35)
    return np.asarray(green * share + straw * (1 - share))


def soil(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return bare soil, wet or dry, grey to red."""
    dry, wet = _library()[1]
    if rng.random() < 0.4:
        share = rng.random()
        return np.asarray(np.clip((dry * share + wet * (1 - share)) * rng.uniform(0.3, 1.2), 0.01, 0.9))
    low = rng.uniform(0.1, 0.6)
    values = rng.uniform(0.12, 0.5) * (low + (1 - low) * _edge(rng.uniform(450, 750), rng.uniform(60, 200)))
    values = values * (1 + rng.uniform(-0.1, 0.5) * (WAVELENGTHS - 900) / 1500)
    values = values * (1 - rng.uniform(0, 0.18) * _line(880, 90))
    values = values * (1 - rng.uniform(0, 0.2) * _line(1920, 50)) * (1 - rng.uniform(0, 0.1) * _line(1415, 30))
    values = values * (1 - rng.uniform(0, 0.2) * _line(2210, 40)) * (1 - rng.uniform(0, 0.3) * _edge(2300, 40))
    return np.asarray(np.clip(values, 0.01, 0.9))


def sand(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return bright sand."""
    values = rng.uniform(0.25, 0.6) * (rng.uniform(0.3, 0.75) + 0.5 * _edge(560, rng.uniform(50, 120)))
    values = values * (1 - rng.uniform(0, 0.2) * _line(1920, 50))
    return np.asarray(values * (1 - rng.uniform(0, 0.15) * _line(2210, 40)))


def salt(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return a salt or gypsum flat: white, with water of crystallisation."""
    values = rng.uniform(0.4, 0.75) * (1 - 0.25 * np.exp(-(WAVELENGTHS - 400) / 200))
    values = values * (1 - rng.uniform(0, 0.5) * np.clip((WAVELENGTHS - 1000) / 1400, 0, 1))
    return np.asarray(values * (1 - 0.3 * _line(1450, 50)) * (1 - 0.4 * _line(1940, 60)))


def built_up(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return asphalt, concrete, and sometimes tiles or bright roofs."""
    level = rng.choice([rng.uniform(0.06, 0.2), rng.uniform(0.15, 0.4), rng.uniform(0.35, 0.8)], p=[0.5, 0.35, 0.15])
    values = level * (
        1
        + rng.uniform(-0.15, 0.6) * np.clip((WAVELENGTHS - 450) / 1000, 0, 1)
        - rng.uniform(0, 0.3) * np.clip((WAVELENGTHS - 1400) / 1000, 0, 1)
    )
    return np.asarray(values * (0.35 + 0.65 * _edge(580, 25)) if rng.random() < 0.25 else values)


def burnt(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return charcoal, peat or lava."""
    return np.asarray(rng.uniform(0.02, 0.09) * (1 + rng.uniform(-0.2, 1.2) * (WAVELENGTHS - 400) / 2000))


def snow(rng: np.random.Generator, held_out: bool = False) -> Floats:
    """Return fine to coarse snow, now and then dirty, now and then bare glacier ice."""
    share = rng.random()
    values = _nodes(FINE_SNOW) * share + _nodes(COARSE_SNOW) * (1 - share)
    if rng.random() < 0.12:
        values = _nodes(GLACIER) * rng.uniform(0.7, 1.1)
    dirt = rng.uniform(0, 0.4) ** 1.5
    return np.asarray((values * (1 - dirt) + dirt * soil(rng, held_out)) * rng.uniform(0.75, 1.05))


def water(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return water, clear to turbid, green or brown, now and then with glint."""
    scattered = 10 ** rng.uniform(-2.6, 0.1) * (WAVELENGTHS / 550) ** -rng.uniform(0, 1.2)
    scattered = scattered + 0.002 * (WAVELENGTHS / 500) ** -4.3
    humic = 10 ** rng.uniform(-2, 0.8) * np.exp(-0.015 * (WAVELENGTHS - 440))
    chlorophyll = 10 ** rng.uniform(-2.5, 0) * (_line(440, 35) + 0.6 * _line(675, 14))
    ratio = scattered / (np.clip(_nodes(PURE_WATER), 0.01, None) + humic + chlorophyll + scattered)
    below = (0.089 * ratio + 0.125 * ratio**2) * np.pi * 0.54
    glint = rng.uniform(0, 0.05) * rng.random() ** 2
    return np.asarray(below * rng.uniform(0.7, 1.1) + glint + 0.003)


MATERIALS: dict[str, Callable[[np.random.Generator, bool], Floats]] = {
    "vegetation": vegetation,
    "forest": forest,
    "dry_vegetation": dry_vegetation,
    "soil": soil,
    "sand": sand,
    "salt": salt,
    "built_up": built_up,
    "burnt": burnt,
    "snow": snow,
    "water": water,
}
