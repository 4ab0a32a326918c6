"""Reflectance spectra of what ground is made of, 400–2400 nm: each call draws another member of its kind.

Vegetation and two soils come from PROSAIL (`tools/prepare_spectra.py`). The others follow closed forms that have the
shape of published spectra: water after the semi-analytical model of Lee et al. (1998) with pure-water absorption in
round figures, snow as grains of ice so deep that no light comes through (Wiscombe & Warren 1980), soils, sands and
roofs as edges and slopes with the clay, carbonate and moisture bands.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np

from xr_cloudmask.simulate.light import WAVELENGTHS, Floats, deep, ice_absorption

# fmt: off
PURE_WATER = ((400, .01), (500, .02), (570, .07), (600, .22), (650, .35), (700, .6), (750, 2.6), (800, 2.1), (850, 4.5),
              (900, 7), (970, 45), (1100, 30), (1200, 100), (2400, 1000))  # absorption per metre
GLACIER = ((400, .6), (500, .62), (600, .52), (700, .38), (800, .28), (900, .18), (1030, .06), (1300, .03), (2400, .01))
# fmt: on
SNOW_ASYMMETRY = 0.89  # of the light that grains scatter
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


def snow_of(radius: float, dust: float = 0.0, angstrom: float = 1.0) -> Floats:
    """Return snow of grains with a radius in µm, and dust or soot that takes `dust` of the light at 550 nm.

    Examples
    --------
    >>> snow_of(50)[[93, 240]].round(2), snow_of(1000)[[93, 240]].round(2)  # 865 and 1600 nm
    (array([0.92, 0.16], dtype=float32), array([0.69, 0.02], dtype=float32))
    """
    absorbed = ice_absorption(radius) + dust * (WAVELENGTHS / 550) ** -angstrom
    return np.asarray(deep(np.minimum(absorbed, 0.5), SNOW_ASYMMETRY), "float32")


def snow(rng: np.random.Generator, held_out: bool = False) -> Floats:
    """Return fresh to melting snow, now and then dirty."""
    values = snow_of(np.exp(rng.uniform(*np.log((30, 1200)))), *_dust(rng))
    dirt = rng.uniform(0, 0.35) ** 1.5 * (rng.random() < 0.5)
    return np.asarray((values * (1 - dirt) + dirt * soil(rng, held_out)) * rng.uniform(0.75, 1.05))


def fresh_snow(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return the cold, clean snow of a high plateau."""
    return snow_of(np.exp(rng.uniform(*np.log((25, 250))))) * rng.uniform(0.8, 1.04)


def firn(rng: np.random.Generator, held_out: bool = False) -> Floats:
    """Return old, coarse, wet or dirty snow."""
    dirt = rng.uniform(0, 0.4) ** 1.5
    values = snow_of(np.exp(rng.uniform(*np.log((500, 3000)))), *_dust(rng))
    return np.asarray((values * (1 - dirt) + dirt * soil(rng, held_out)) * rng.uniform(0.6, 1.0))


def bare_ice(rng: np.random.Generator, held_out: bool = False) -> Floats:
    """Return ice of glaciers, lakes and the sea: grey and white, blue or nearly black, some of it under snow."""
    if rng.random() < 0.5:  # full of bubbles, as snow of coarse grains is, over dark water or ice
        return np.asarray(0.03 + snow_of(np.exp(rng.uniform(*np.log((200, 3000))))) * rng.uniform(0.2, 0.85))
    black = 0.04 + 0.02 * rng.random()
    values = black + (_nodes(GLACIER) - black) * rng.uniform(0.05, 1.1)
    white = rng.uniform(0, 0.7) ** 2
    return np.asarray(np.maximum(values * (1 - white) + snow(rng, held_out) * white, 0.01))


def _dust(rng: np.random.Generator) -> tuple[float, float]:
    """Return how much dust or soot lies in snow: mostly as good as none."""
    return float(10 ** rng.uniform(-7, -3.3)), float(rng.uniform(0.8, 3))


def water(rng: np.random.Generator, held_out: bool = False) -> Floats:  # noqa: ARG001
    """Return water, clear to turbid, green or brown, now and then with glint."""
    scattered = 10 ** rng.uniform(-2.6, 0.1) * (WAVELENGTHS / 550) ** -rng.uniform(0, 1.2)
    scattered = scattered + 0.002 * (WAVELENGTHS / 500) ** -4.3
    humic = 10 ** rng.uniform(-2, 0.8) * np.exp(-0.015 * (WAVELENGTHS - 440))
    chlorophyll = 10 ** rng.uniform(-2.5, 0) * (_line(440, 35) + 0.6 * _line(675, 14))
    ratio = scattered / (np.clip(_nodes(PURE_WATER), 0.01, None) + humic + chlorophyll + scattered)
    below = (0.089 * ratio + 0.125 * ratio**2) * np.pi * 0.54
    strength, calm = rng.random(2)
    glint = strength * (0.05 * calm**2 + 0.2 * max(calm - 0.88, 0) / 0.12)  # strong in one scene of eight
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
    "fresh_snow": fresh_snow,
    "firn": firn,
    "bare_ice": bare_ice,
    "water": water,
}
SNOWS = ("snow", "fresh_snow", "firn", "bare_ice")  # what truth calls snow
