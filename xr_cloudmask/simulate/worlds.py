"""Endless labelled patches to train and test networks on: any landscape under any sky, seen by any set of bands.

What is slow to make, the geometry of surfaces and skies, is prepared once in a `Pool`; `sample` joins one of each by
chance and renders what a set of bands records. Every sample is a pure function of the pool and its random numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.simulate import clouds, instrument, landscapes, render, thermal
from xr_cloudmask.simulate.fields import noise
from xr_cloudmask.simulate.light import Floats, Sky, air
from xr_cloudmask.simulate.spectra import SNOWS

CLASSES = ("land", "water", "snow", "thin_cloud", "thick_cloud", "cloud_shadow")
LAND, WATER, SNOW, THIN, THICK, SHADOW = range(len(CLASSES))
IGNORED = 255

MOST_LAYERS = 2
# How bright cloud tops are seen from above, relative to what they return to all sides: thick ice up to white.
BRIGHTER = {"water": (0.7, 1.05), "ice": (0.7, 1.25)}
CRYSTALS = 0.45, 4.5  # radius of those in clouds, relative to 25 µm
THERMAL = 3000.0  # nm, from which on a band sees warmth
LOW_SUN, HIGH_SUN = (5.0, 22.0), (22.0, 75.0)  # degrees
BYTE, TEXTURE_STEP = 255, 1 / 40  # shares and texture are kept in bytes
VISIBLE_NIR = (("blue",), ("green",), ("red",), ("nir", "nir08"))
SIX = (*VISIBLE_NIR, ("swir16",), ("swir22",))
SEVEN = (*SIX, ("cirrus",))


@dataclass(frozen=True)
class Pool:
    """Geometry of many surfaces and skies of one size, in arrays that may be memory-mapped.

    Attributes
    ----------
    seed : int
    held_out : bool
        For testing: whether its vegetation is drawn from canopies, and half of its skies from a family of clouds, that
        no other pool has.
    landscapes : tuple of str
        Of each surface.
    skies : tuple of dict
        Of each sky: sun, pixel size, and base, phase and depth of its layers.
    share, texture, slope, height : ndarray
        Of the surfaces: ``(surface, material, y, x)`` uint8, ``(surface, y, x)`` int8, ``(surface, 2, y, x)`` and
        ``(surface, y, x)`` float16.
    tau, shade, relief : ndarray
        Of the skies: ``(sky, layer, y, x)`` float16.
    """

    seed: int
    held_out: bool
    landscapes: tuple[str, ...]
    skies: tuple[dict[str, Any], ...]
    share: npt.NDArray[np.uint8]
    texture: npt.NDArray[np.int8]
    slope: npt.NDArray[np.float16]
    height: npt.NDArray[np.float16]
    tau: npt.NDArray[np.float16]
    shade: npt.NDArray[np.float16]
    relief: npt.NDArray[np.float16]

    ARRAYS = ("share", "texture", "slope", "height", "tau", "shade", "relief")

    @classmethod
    def prepare(cls, seed: int, surfaces: int = 300, skies: int = 600, size: int = 512, held_out: bool = False) -> Pool:
        """Make a pool; about a tenth of a second for each surface and sky of 512 pixels."""
        fields = {
            "share": np.empty((surfaces, landscapes.LAND + landscapes.WATERS, size, size), "uint8"),
            "texture": np.empty((surfaces, size, size), "int8"),
            "slope": np.empty((surfaces, 2, size, size), "float16"),
            "height": np.empty((surfaces, size, size), "float16"),
            **{name: np.empty((skies, MOST_LAYERS, size, size), "float16") for name in ("tau", "shade", "relief")},
        }
        names = tuple(_surface(fields, seed, index) for index in range(surfaces))
        facts = tuple(_sky(fields, seed, index, held_out) for index in range(skies))
        return cls(seed, held_out, names, facts, **fields)

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` maps into memory."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        for name in self.ARRAYS:
            np.save(path / f"{name}.npy", getattr(self, name))
        facts = {"seed": self.seed, "held_out": self.held_out, "landscapes": self.landscapes, "skies": self.skies}
        (path / "pool.json").write_text(json.dumps(facts))

    @classmethod
    def load(cls, folder: str | Path) -> Pool:
        """Map a saved pool into memory: processes share it, and only what is used is read."""
        path = Path(folder)
        facts = json.loads((path / "pool.json").read_text())
        arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in cls.ARRAYS}
        return cls(**{**facts, "landscapes": tuple(facts["landscapes"]), "skies": tuple(facts["skies"])}, **arrays)


def _surface(fields: dict[str, Any], seed: int, index: int) -> str:
    """Make a surface in its place, and return its landscape."""
    rng = np.random.default_rng([seed, 0, index])
    name = landscapes.draw(rng)
    made = landscapes.surface(rng, name, fields["texture"].shape[1:])
    fields["share"][index] = np.rint(made.share * BYTE)
    fields["texture"][index] = np.clip(np.rint(made.texture / TEXTURE_STEP), -127, 127)
    fields["slope"][index], fields["height"][index] = made.slope, made.height
    return name


def _sky(fields: dict[str, Any], seed: int, index: int, held_out: bool) -> dict[str, Any]:
    """Make the layers of a sky in their place, from the lowest to the highest, and return its facts."""
    rng = np.random.default_rng([seed, 1, index])
    gsd = 30.0 if rng.random() < 0.5 else float(np.exp(rng.uniform(np.log(10), np.log(60))))
    sun = Sky(rng.uniform(0, 360), rng.uniform(*(LOW_SUN if rng.random() < 0.25 else HIGH_SUN)), 0, 0)
    names = clouds.draw(rng, held_out)
    shape = fields["tau"].shape[-2:]
    made = sorted((clouds.layer(rng, name, shape, gsd) for name in names), key=lambda layer: layer[0].base)
    strength, uneven = rng.uniform(0.4, 1.6), rng.uniform(0.02, 0.12)
    for name in ("tau", "shade", "relief"):
        fields[name][index] = 0
    for layer, (kind, tau) in enumerate(made):
        tops = 1 + strength * (clouds.relief(tau, sun, gsd) - 1) + uneven * noise(rng, shape, 600 / gsd, 2.0)
        fields["tau"][index, layer] = tau
        fields["shade"][index, layer] = clouds.shade(tau, kind, sun, gsd)
        fields["relief"][index, layer] = np.maximum(tops, 0)
    return {
        "names": names,
        "gsd": gsd,
        "azimuth": sun.azimuth,
        "elevation": sun.elevation,
        "layers": [(kind.base, kind.phase, kind.depth) for kind, _ in made],
    }


@dataclass(frozen=True)
class Sample:
    """A labelled patch.

    Attributes
    ----------
    values : ndarray
        Reflectance ``(band, y, x)`` float32, kelvin in thermal bands; NaN where there are no data.
    wavelengths : ndarray
        Limits of the bands ``(band, 2)`` in nm, float32.
    truth : ndarray
        Codes ``(y, x)`` uint8: places in `CLASSES`, `IGNORED` where there are no data.
    level : {'TOA', 'BOA'}
    tau : ndarray
        Optical thickness ``(y, x)`` float32 of all clouds, as droplets.
    landscape : str
    sky : tuple of str
        Families of clouds.
    """

    values: Floats
    wavelengths: Floats
    truth: npt.NDArray[np.uint8]
    level: str
    tau: Floats
    landscape: str
    sky: tuple[str, ...]


def sample(
    pool: Pool,
    rng: np.random.Generator,
    size: int = 256,
    bands: npt.ArrayLike | None = None,
    level: str | None = None,
) -> Sample:
    """Join a surface and a sky of a pool, and record them.

    Parameters
    ----------
    pool : Pool
    rng : Generator
        Decides everything that is not given.
    size : int, default 256
        Rows and columns; at most those of the pool.
    bands : array_like, optional
        Limits ``(band, 2)`` in nm. Default: drawn by `draw_bands`.
    level : {'TOA', 'BOA'}, optional
        Default: top of atmosphere two times in three.
    """
    wavelengths = draw_bands(rng) if bands is None else np.asarray(bands, "float32")
    level = level or ("TOA" if rng.random() < 2 / 3 else "BOA")
    surface, landscape = _crop_surface(pool, rng, size)
    ground = landscapes.LANDSCAPES[landscape]
    layers, facts = _crop_sky(pool, rng, size)
    if rng.random() < ground.cloudless:
        layers = []
    near_ground = rng.uniform(*ground.air)
    sky = draw_air(rng, facts["azimuth"], facts["elevation"], near_ground)
    warm = wavelengths[:, 0] > THERMAL
    around = air(wavelengths[~warm], sky, rng.uniform(0.6, 1.8), np.exp(rng.uniform(*np.log(CRYSTALS))))
    reflectance = surface.reflectance(rng, around.seen, pool.held_out)
    haze = _haze(rng, size)
    values = render.toa(reflectance, around, layers, facts["gsd"], facing=surface.facing(sky), haze=haze)
    optical = wavelengths[~warm]
    if level == "BOA":
        values, optical = instrument.surface_reflectance(rng, values, optical, around)
    values = instrument.record(rng, values)
    lost = np.isnan(values[0])
    kelvin = [thermal.temperature(rng, surface, layers, sky, near_ground) for _ in range(warm.sum())]
    values = np.concatenate([values, *(np.where(lost, np.float32(np.nan), band)[None] for band in kelvin)])
    tau = render.thickness(layers, "tau") if layers else np.zeros((size, size), "float32")
    truth = _truth(surface, tau, layers)
    truth[lost] = IGNORED
    names = tuple(facts["names"]) if layers else ()
    return Sample(values, np.concatenate([optical, wavelengths[warm]]), truth, level, tau, landscape, names)


def draw_air(rng: np.random.Generator, azimuth: float, elevation: float, near_ground: float) -> Sky:
    """Return a sky with air drawn at random: aerosol from pristine to smoky, vapour from polar to tropical.

    Vapour grows with the temperature near the ground, kelvin, as fast as air can hold more (Clausius–Clapeyron).
    """
    return Sky(
        azimuth,
        elevation,
        aerosol=0.03 + rng.gamma(1.6, 0.08),
        vapour=float(np.clip(0.8 * np.exp((near_ground - 273) / 17) * rng.uniform(0.3, 1.5), 0.01, 4.8)),
        angstrom=rng.uniform(0.5, 1.7),
        glow=rng.uniform(0, 0.08),
    )


def _crop_surface(pool: Pool, rng: np.random.Generator, size: int) -> tuple[landscapes.Surface, str]:
    index = rng.integers(len(pool.landscapes))
    top, left = rng.integers(0, pool.share.shape[-1] - size + 1, 2)
    window = np.s_[..., top : top + size, left : left + size]
    share, texture, slope, height = (
        np.asarray(field[index][window], "float32") for field in (pool.share, pool.texture, pool.slope, pool.height)
    )
    name = pool.landscapes[index]
    texture *= np.float32(TEXTURE_STEP)
    return landscapes.Surface(landscapes.materials(name), share / BYTE, texture, slope, height), name


def _crop_sky(pool: Pool, rng: np.random.Generator, size: int) -> tuple[list[render.Layer], dict[str, Any]]:
    """Cut a window anywhere: skies are periodic, so a shadow may come from a cloud beyond the window.

    Contrails alone are not, and are not cut across the edge.
    """
    index = rng.integers(len(pool.skies))
    facts, whole = pool.skies[index], pool.tau.shape[-1]
    places = whole - size + 1 if clouds.CONTRAILS in facts["names"] else whole
    rows, columns = ((rng.integers(places) + np.arange(size)) % whole for _ in range(2))
    denser = rng.uniform(0.6, 1.3)
    # The tops of a deck of ice may be as smooth as 0.006 of their brightness.
    calm = np.exp(rng.uniform(*np.log((0.1, 1)))) if rng.random() < 0.4 else 1.0
    layers = []
    for layer, (base, phase, depth) in enumerate(facts["layers"]):
        tau, shade, relief = (
            field[index, layer][rows[:, None], columns].astype("float32")
            for field in (pool.tau, pool.shade, pool.relief)
        )
        tops = np.float32(rng.uniform(*BRIGHTER[phase])) * (1 + np.float32(calm) * (relief - 1))
        layers.append(render.Layer(base, phase, tau * denser, shade * denser, tops, depth))
    return layers, facts


def _haze(rng: np.random.Generator, size: int) -> Floats | float:
    """Return smoke or mist that drifts in, in three scenes of ten."""
    from scipy import ndimage

    if rng.random() > 0.3:
        return 0.0
    coarse = rng.normal(0, 1, (5, 5)) * rng.uniform(0, 0.3)
    return np.asarray(np.clip(ndimage.zoom(coarse, size / 5, order=1)[:size, :size], -0.4, 0.6), "float32")


def _truth(surface: landscapes.Surface, tau: Floats, layers: list[render.Layer]) -> npt.NDArray[np.uint8]:
    clear = np.full(tau.shape, LAND, "uint8")
    clear[surface.of("water") > 0.5] = WATER
    clear[surface.of(*SNOWS) > 0.5] = SNOW
    if not layers:
        return clear
    truth = render.classify(tau, render.thickness(layers, "shade"), (THICK, THIN, SHADOW, IGNORED))
    return _compact(np.where(truth == IGNORED, clear, truth))


def _compact(truth: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Close pin-holes: who labels scenes draws compact outlines."""
    from scipy import ndimage

    cloudy = ndimage.binary_closing(np.pad(truth == THICK, 2) | np.pad(truth == THIN, 2))[2:-2, 2:-2]
    shaded = ndimage.binary_closing(np.pad(truth == SHADOW, 2))[2:-2, 2:-2]
    closed = np.where(shaded & (truth < THIN), SHADOW, truth)
    return np.where(cloudy & (truth < THIN), THIN, closed).astype("uint8")


# How often a band set is drawn.
BAND_SETS = {"six": 0.24, "seven": 0.1, "four": 0.2, "rgb": 0.13, "all": 0.1, "some": 0.13, "free": 0.1}
# The sensors that networks are trained for: another one among them changes every world that a seed makes.
SENSORS = (
    "amazonia-1-wfi", "cbers-4-mux", "cbers-4-wfi", "cbers-4a-mux", "cbers-4a-wfi", "cbers-4a-wpm", "hls-l30",
    "hls-s30", "landsat-4-5", "landsat-7", "landsat-8-9", "modis", "planetscope-4", "planetscope-8", "sentinel-2",
)  # fmt: skip


@cache
def _tables() -> dict[str, tuple[tuple[str, tuple[float, float]], ...]]:
    """Return role and limits of the reflective bands of every known sensor."""
    return {
        name: tuple(
            (str(band.role), (band.min_wavelength, band.max_wavelength))
            for band in sensor.bands
            if band.kind == "reflectance"
        )
        for name, sensor in sensors().items()
    }


def bands_of(sensor: str, roles: tuple[tuple[str, ...], ...] | None = None) -> Floats:
    """Return the limits ``(band, 2)`` in nm of a sensor's bands: all of them, or one for each role that it has."""
    table = _tables()[sensor]
    if roles is None:
        return np.array([limits for _, limits in table], "float32")
    found = dict(reversed(table))
    return np.array(
        [next(found[role] for role in served if role in found) for served in roles if set(served) & set(found)],
        "float32",
    )


@cache
def _with_roles(roles: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Return the sensors of `SENSORS` that have a band for every role."""
    return tuple(name for name in SENSORS if len(bands_of(name, roles)) == len(roles))


def draw_bands(rng: np.random.Generator) -> Floats:
    """Draw a band set: bands of a sensor, or such as no sensor has; beside short-wave infrared often a thermal one."""
    kind = str(rng.choice(list(BAND_SETS), p=list(BAND_SETS.values())))
    if kind == "free":
        return _with_thermal(rng, _free_bands(rng), 0.1)
    roles = {"seven": SEVEN, "six": SIX, "four": VISIBLE_NIR, "rgb": VISIBLE_NIR[:3]}.get(kind)
    wavelengths = bands_of(str(rng.choice(_with_roles(roles or VISIBLE_NIR))), roles)
    wavelengths = _some(rng, wavelengths) if kind == "some" else wavelengths
    return _with_thermal(rng, wavelengths, 0.4 if wavelengths.max() > 1500 else 0.1)


def _with_thermal(rng: np.random.Generator, wavelengths: Floats, chance: float) -> Floats:
    if rng.random() > chance:
        return wavelengths
    added = thermal.WAVELENGTHS[rng.integers(len(thermal.WAVELENGTHS))]
    return np.concatenate([wavelengths, np.array([added], "float32")])


def _some(rng: np.random.Generator, wavelengths: Floats) -> Floats:
    """Keep at least two bands, one of them visible."""
    count = rng.integers(2, len(wavelengths) + 1)
    order = rng.permutation(len(wavelengths))
    visible = next(band for band in order if wavelengths[band].mean() < 700)
    chosen = [visible, *(band for band in order if band != visible)][:count]
    return np.asarray(wavelengths[np.sort(chosen)])


def _free_bands(rng: np.random.Generator) -> Floats:
    count = int(rng.integers(3, 13))
    seen = max(2, count // 2)
    windows = [(720, 1000), (1200, 1330), (1500, 1780), (2030, 2350)]
    centres = [rng.uniform(430, 700) for _ in range(seen)]
    centres += [rng.uniform(*windows[rng.integers(len(windows))]) for _ in range(count - seen)]
    width = np.exp(rng.uniform(np.log(10), np.log(120), count))
    limits = np.stack([np.sort(centres) - width / 2, np.sort(centres) + width / 2], axis=1)
    return np.asarray(np.clip(limits, 400, 2400), "float32")
