"""Simulated scenes with known truth: clouds, their shadows, haze and a swath edge over a clear surface.

Small on purpose: enough physics that a scene looks real to people and to networks trained on real scenes. Clouds are
fields of optical thickness; what a band sees of them follows from its wavelength alone.

Sources: Rayleigh scattering after Hansen & Travis (1974, doi:10.1007/BF00168069), aerosol after Ångström's law,
cloud reflectance and transmittance from the two-stream approximation with King's (1987) similarity parameter,
absorption of droplets and crystals in the magnitudes of Hale & Querry (1973) and Warren & Brandt (2008).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.sensors import Sensor, SensorBand, named
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.masks import labels

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

# Optical thickness from which truth says so. 0.6 brightens the ground by about 0.05, the least a careful labeller
# outlines; 3 hides most of the ground, and ground that sees the sun through it is labelled shadow.
THIN, THICK = 0.6, 3.0

SCHEME = labels.SCHEMES["cloudsen12"]
SCALE, OFFSET, NO_DATA = 1e-4, -0.1, 0  # digital numbers as in Sentinel-2 products since processing baseline 04.00
CRS, ORIGIN = "EPSG:32723", (600_000.0, 7_600_000.0)  # where the grid lies; its upper left corner
SWATH_SLANT = np.radians(14.0)  # how far a swath edge leans from north
DEFAULT_SIZE = (512, 512)


@dataclass(frozen=True)
class Clouds:
    """A layer of clouds as a random field; lengths in metres.

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
    ice : bool
        Crystals instead of droplets.
    """

    cell: float
    slope: float
    billow: float
    thickness: float
    softness: float
    base: float
    depth: float
    stretch: float = 1.0
    ice: bool = False


CUMULUS = Clouds(cell=2200, slope=4.2, billow=0.2, thickness=9, softness=0.5, base=1100, depth=900)
STRATOCUMULUS = Clouds(cell=3500, slope=4.0, billow=0.25, thickness=8, softness=0.7, base=1400, depth=500, stretch=1.3)
STRATUS = Clouds(cell=6000, slope=4.0, billow=0.2, thickness=10, softness=1, base=1000, depth=300, stretch=1.5)
CIRRUS = Clouds(cell=5000, slope=3.6, billow=0, thickness=1, softness=1, base=8500, depth=0, stretch=3, ice=True)
LOW_CLOUDS = ((0.45, CUMULUS), (0.75, STRATOCUMULUS), (1.0, STRATUS))  # up to which cover a kind reigns
CIRRUS_COVER, CIRRUS_CHANCE = 0.25, 0.3

# Absorption, by wavelength in nm: water vapour as (centre, width, optical depth); co-albedo of droplets and crystals.
WATER_VAPOUR = np.array(
    [(720, 8, 0.12), (820, 12, 0.1), (940, 22, 0.75), (1130, 28, 0.8), (1380, 45, 6), (1470, 40, 0.8), (1870, 55, 8)]
)
NODES = (400, 900, 980, 1250, 1380, 1450, 1500, 1600, 1700, 1850, 2000, 2200, 2300, 2400)
DROPLETS = (1e-6, 2e-5, 2e-4, 5e-4, 4e-3, 0.03, 0.014, 0.006, 0.005, 0.015, 0.06, 0.017, 0.022, 0.04)
CRYSTALS = (1e-6, 2e-5, 2e-4, 1.5e-3, 4e-3, 0.05, 0.09, 0.045, 0.03, 0.03, 0.13, 0.05, 0.06, 0.1)

SPECTRUM_NODES = (400, 450, 500, 550, 600, 670, 700, 740, 800, 900, 1200, 1450, 1650, 1950, 2200, 2400)
SPECTRA: Mapping[str, tuple[float, ...]] = {
    "forest": (0.02, 0.02, 0.03, 0.05, 0.03, 0.02, 0.06, 0.22, 0.3, 0.32, 0.27, 0.1, 0.15, 0.04, 0.06, 0.04),
    "crops": (0.03, 0.04, 0.05, 0.1, 0.06, 0.05, 0.13, 0.35, 0.46, 0.48, 0.42, 0.18, 0.26, 0.09, 0.13, 0.09),
    "soil": (0.06, 0.07, 0.09, 0.12, 0.17, 0.21, 0.22, 0.24, 0.26, 0.29, 0.35, 0.33, 0.38, 0.28, 0.33, 0.28),
    "urban": (0.1, 0.11, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2, 0.23, 0.22, 0.24, 0.2, 0.22, 0.2),
    "water": (
        0.03,
        0.035,
        0.04,
        0.04,
        0.02,
        0.012,
        0.01,
        0.006,
        0.005,
        0.004,
        0.003,
        0.002,
        0.002,
        0.002,
        0.002,
        0.002,
    ),
}
RARITY = (0.0, 0.0, 0.0, 0.9, 0.9)  # in standard deviations, in the order of SPECTRA


@dataclass(frozen=True)
class Date:
    """Everything that makes one date: what a dask graph carries beside the surface.

    Attributes
    ----------
    seed, index : int
        Of the series, and of the date in it.
    cover : float
        Share of low clouds.
    gsd : float
        Pixel size in metres.
    sun_normalised : bool
        Whether the digital numbers are already divided by the sine of the sun elevation; Landsat's are not.
    """

    seed: int
    index: int
    cover: float
    gsd: float
    sun_normalised: bool

    def rng(self, stream: int) -> np.random.Generator:
        """Return random numbers of their own for each part, so that changing the clouds changes nothing else."""
        return np.random.default_rng([self.seed, self.index, stream])

    @property
    def sky(self) -> Sky:
        """Sun and air of this date."""
        azimuth, elevation, aerosol, vapour = self.rng(0).uniform((30, 42, 0.04, 1.0), (70, 62, 0.15, 3.5))
        return Sky(float(azimuth), float(elevation), float(aerosol), float(vapour))


@dataclass(frozen=True)
class Sky:
    """Sun azimuth (from north, clockwise) and elevation in degrees, aerosol optical thickness, water vapour in cm."""

    azimuth: float
    elevation: float
    aerosol: float
    vapour: float


def _noise(
    rng: np.random.Generator, shape: tuple[int, ...], gsd: float, cell: float, slope: float, stretch: float = 1.0
) -> Floats:
    """Return a periodic Gaussian field, zero mean and unit variance, with most of its power around `cell`."""
    from scipy import fft

    wind = rng.uniform(0, np.pi)
    fy, fx = np.meshgrid(fft.fftfreq(shape[0], gsd), fft.rfftfreq(shape[1], gsd), indexing="ij")
    along, across = fx * np.cos(wind) + fy * np.sin(wind), fy * np.cos(wind) - fx * np.sin(wind)
    frequency = np.hypot(along * stretch, across) * cell
    amplitude = (1 + frequency**2) ** (-slope / 4) * frequency / np.hypot(frequency, 0.35)
    real, imaginary = rng.standard_normal((2, *amplitude.shape))
    field = fft.irfft2((real + 1j * imaginary) * amplitude, s=shape)
    return (field / max(field.std(), 1e-9)).astype("float32")


def _optical_thickness(
    rng: np.random.Generator, kind: Clouds, cover: float, shape: tuple[int, ...], gsd: float
) -> Floats:
    """Return optical thickness ``(y, x)`` that exceeds `THIN` on the share `cover` of the pixels."""
    if cover == 0:
        return np.zeros(shape, "float32")
    field = _noise(rng, shape, gsd, kind.cell, kind.slope, kind.stretch)
    field = field - kind.billow * np.abs(_noise(rng, shape, gsd, kind.cell / 3, kind.slope, kind.stretch))
    inside = (field - np.quantile(field, 1 - cover)) / kind.softness
    edge = (THIN / kind.thickness) ** (2 / 3)
    return (kind.thickness * np.clip(inside + edge, 0, None) ** 1.5).astype("float32")


def _shade(tau: Floats, kind: Clouds, sky: Sky, gsd: float) -> Floats:
    """Return the optical thickness between ground and sun: the layer, slice by slice, moved away from the sun."""
    from scipy import ndimage

    if not tau.any():
        return tau
    azimuth, reach = np.radians(sky.azimuth), 1 / np.tan(np.radians(sky.elevation)) / gsd
    bulk = ndimage.gaussian_filter(tau, kind.cell / 20 / gsd, mode="wrap")
    top = np.clip(bulk / np.quantile(bulk[tau > 0], 0.95), 0, 1)
    shade = np.zeros_like(tau)
    for level in np.linspace(0, 1, 1 + int(kind.depth * reach / 2)):  # a slice every other pixel of shadow
        away = (kind.base + level * kind.depth) * reach
        offset = round(np.cos(azimuth) * away), round(-np.sin(azimuth) * away)
        shade = np.maximum(shade, np.roll(np.where(top >= level, tau, 0), offset, axis=(0, 1)))
    penumbra = kind.base * np.radians(0.53) / 2 / gsd  # the sun is half a degree wide
    return np.asarray(ndimage.gaussian_filter(shade, penumbra + 0.3, mode="wrap"))


def _relief(tau: Floats, sky: Sky, gsd: float) -> Floats:
    """Return the relative brightness of cloud tops: flanks that face the sun are brighter."""
    from scipy import ndimage

    down, right = np.gradient(np.log1p(ndimage.gaussian_filter(tau, 30 / gsd, mode="wrap")))
    azimuth = np.radians(sky.azimuth)
    toward_sun = (down * np.cos(azimuth) - right * np.sin(azimuth)) * 30 / gsd
    return np.clip(1 + 0.35 * toward_sun / np.tan(np.radians(sky.elevation)), 0.65, 1.2).astype("float32")


def _two_stream(tau: Floats, wavelengths: Floats, ice: bool) -> tuple[Floats, Floats]:
    """Return reflectance and transmittance ``(band, y, x)`` of a cloud layer."""
    asymmetry = 0.78 if ice else 0.86
    absorbed = np.interp(wavelengths, NODES, CRYSTALS if ice else DROPLETS)[:, None, None]
    scattered_back = 1 - asymmetry * (1 - absorbed)
    similarity = np.sqrt(absorbed / scattered_back)
    deep = ((1 - similarity) * (1 - 0.139 * similarity) / (1 + 1.17 * similarity)).astype("float32")
    decay = np.exp(-np.sqrt(3 * absorbed * scattered_back).astype("float32") * tau)
    norm = 1 - (deep * decay) ** 2
    return deep * (1 - decay**2) / norm, (1 - deep**2) * decay / norm


def _air(wavelengths: Floats, sky: Sky) -> tuple[Floats, Floats, Floats, Floats]:
    """Return path reflectance, transmittance by scattering and by gas, and the diffuse share of light, per band."""
    micrometres, mu = wavelengths[:, None, None] / 1000, np.sin(np.radians(sky.elevation))
    air_mass = 1 / mu + 1  # down and up again, seen from the zenith
    rayleigh = 0.00864 * micrometres ** -(3.916 + 0.074 * micrometres + 0.05 / micrometres)
    aerosol = sky.aerosol * (micrometres / 0.55) ** -1.3
    path = 0.75 * (1 + mu**2) * rayleigh / (4 * mu) * np.exp(-0.35 * rayleigh) + 0.05 * aerosol / mu
    scattering = np.exp(-(0.5 * rayleigh + 0.17 * aerosol) * air_mass)
    centre, width, depth = WATER_VAPOUR.T
    vapour = (depth * np.exp(-0.5 * ((wavelengths[:, None] - centre) / width) ** 2)).sum(axis=1)[:, None, None]
    gas = np.exp(-0.6 * vapour * (0.45 * sky.vapour) ** 0.65 * air_mass)
    direct, total = np.exp(-(rayleigh + 0.75 * aerosol) / mu), np.exp(-(0.5 * rayleigh + 0.15 * aerosol) / mu)
    return path * np.sqrt(gas), scattering, gas, 1 - direct / total


def _layers(date: Date, shape: tuple[int, ...]) -> list[tuple[Clouds, Floats]]:
    """Return the low clouds of a date and, on some, cirrus above them."""
    rng = date.rng(1)
    low = next(kind for limit, kind in LOW_CLOUDS if date.cover <= limit)
    cirrus = CIRRUS_COVER * min(1.0, 4 * date.cover) * (rng.random() < CIRRUS_CHANCE)
    covers = ((low, date.cover), (CIRRUS, cirrus))
    return [(kind, _optical_thickness(rng, kind, cover, shape, date.gsd)) for kind, cover in covers]


def _scene(date: Date, ground: Floats, wavelengths: Floats) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Return digital numbers ``(band, y, x)`` and truth ``(y, x)`` of one date."""
    sky, shape = date.sky, ground.shape[1:]
    path, scattering, gas, diffuse = _air(wavelengths, sky)
    layers = _layers(date, shape)
    shades = [(kind, _shade(tau, kind, sky, date.gsd)) for kind, tau in layers]
    sun = np.prod([_two_stream(shade, wavelengths, kind.ice)[1] for kind, shade in shades], axis=0)
    # Skylight keeps shadows from being black, blue ones least; a cloudy sky gives less of it.
    seen = gas * scattering * ground * ((1 - diffuse) * sun + diffuse * (1 - 0.35 * date.cover))
    for kind, tau in layers:
        bright, through = _two_stream(tau, wavelengths, kind.ice)
        above = np.exp(-kind.base / 8000)  # share of the air above the layer; of the water vapour, far less
        top = bright * scattering**above * gas ** np.exp(-kind.base / 2200) * _relief(tau, sky, date.gsd)
        seen = seen * through / (1 - bright * ground) + top
        path = path * (above + (1 - above) * through)
    seen = seen + path + date.rng(2).normal(0, 0.0015, ground.shape)
    received = seen if date.sun_normalised else seen * np.sin(np.radians(sky.elevation))
    numbers = np.clip(np.rint((received - OFFSET) / SCALE), NO_DATA + 1, 65535)
    truth = _truth(sum(tau for _, tau in layers), sum(shade for _, shade in shades))
    lost = _beyond_swath(date, shape)
    return np.where(lost, NO_DATA, numbers).astype("uint16"), np.where(lost, SCHEME.no_data, truth).astype("uint8")


def _truth(tau: Any, shade: Any) -> npt.NDArray[np.intp]:
    cases = {"thick_cloud": tau >= THICK, "thin_cloud": tau >= THIN, "cloud_shadow": shade >= THICK}
    return np.select(list(cases.values()), [SCHEME.code(name) for name in cases], SCHEME.code("clear"))


def _beyond_swath(date: Date, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return the wedge without data: every other date comes from a neighbouring orbit whose swath ends here."""
    rows, columns = np.indices(shape)
    across = columns * np.cos(SWATH_SLANT) + rows * np.sin(SWATH_SLANT)
    share = date.rng(3).uniform(0.05, 0.2) * (date.index % 2 == 0)
    return np.asarray(across > np.quantile(across, 1 - share))


def _enlarge(ground: Floats, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Crop a surface, or quilt it from turned, shifted and mirrored copies, so that no repetition catches the eye."""
    if all(have >= wanted for have, wanted in zip(ground.shape[1:], size, strict=True)):
        return ground[:, : size[0], : size[1]]
    copies = []
    for flip in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        start = rng.integers(0, ground.shape[1:])
        pad = [(0, 0), *((0, int(s) + wanted) for s, wanted in zip(start, size, strict=True))]
        copy = np.pad(ground[:, :: flip[0], :: flip[1]], pad, mode="symmetric")
        copies.append(copy[:, start[0] : start[0] + size[0], start[1] : start[1] + size[1]])
    chosen = np.argmax([_noise(rng, size, 1.0, max(ground.shape[1:]), 5.0) for _ in copies], axis=0)
    return np.take_along_axis(np.stack(copies), chosen[None, None], axis=0)[0]


def _sensor(name: str) -> Sensor:
    found = named(name)
    if len(found) > 1:
        ids = [sensor.id for sensor in found]
        raise BandError(f"sensor {name!r}, which several fit", f"one of {ids}", f"sensor={ids[0]!r}")
    return found[0]


def _bands(sensor: Sensor, names: Iterable[str] | None) -> tuple[SensorBand, ...]:
    reflective = tuple(band for band in sensor.bands if band.kind == "reflectance")
    if names is None:
        return reflective
    wanted = {name: sensor.band(name) for name in names}
    unknown = [name for name, band in wanted.items() if band not in reflective]
    if unknown:
        known = [" or ".join(dict.fromkeys(filter(None, (band.name, band.role)))) for band in reflective]
        raise BandError(f"bands {unknown} of {sensor.title}", f"its reflective bands: {known}", f"bands={known[:1]}")
    return tuple(band for band in wanted.values() if band is not None)


def _wavelengths(bands: Sequence[SensorBand]) -> Floats:
    return np.array([(band.min_wavelength + band.max_wavelength) / 2 for band in bands])


def clear_surface(
    sensor: str = "sentinel-2",
    *,
    bands: Sequence[str] | None = None,
    size: tuple[int, int] = DEFAULT_SIZE,
    gsd: float | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Make a clear surface of forest, crops, soil, built-up land and water in smooth patches.

    Parameters
    ----------
    sensor : str, default 'sentinel-2'
        Sensor whose band table applies.
    bands : sequence of str, optional
        Names or roles; all reflective bands by default.
    size : (int, int)
        Rows and columns.
    gsd : float, optional
        Ground sample distance in metres. Default: the sensor's.
    seed : int, default 0

    Returns
    -------
    DataArray
        float32 surface reflectance, dims ``(band, y, x)``, in memory.

    Raises
    ------
    BandError
        A band or a sensor is unknown.

    Examples
    --------
    >>> clear_surface(bands=["red", "nir"], size=(64, 96)).sizes
    Frozen({'band': 2, 'y': 64, 'x': 96})
    """
    table = _sensor(sensor)
    found, pixel = _bands(table, bands), gsd or table.gsd
    rng = np.random.default_rng([seed, 1])
    spectra = np.array([np.interp(_wavelengths(found), SPECTRUM_NODES, values) for values in SPECTRA.values()])
    patches = np.stack([_noise(rng, size, pixel, 1500, 3.2) - rare for rare in RARITY])
    share = np.exp(8 * (patches - patches.max(axis=0)))
    texture = 1 + 0.15 * _noise(rng, size, pixel, 200, 2.0)
    values = np.einsum("kb,kyx->byx", spectra, share / share.sum(axis=0)) * np.clip(texture, 0.5, 1.5)
    return xr.DataArray(values.astype("float32"), dims=("band", "y", "x"), coords={"band": [b.name for b in found]})


def series(
    surface: layout.Cube | None = None,
    *,
    sensor: str = "sentinel-2",
    bands: Sequence[str] | None = None,
    dates: int = 6,
    cover: float | Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    gsd: float | None = None,
    seed: int = 0,
    chunks: Mapping[str, int] | None = None,
) -> xr.Dataset:
    """Simulate a time series of top-of-atmosphere scenes with clouds, shadows, haze and a swath edge.

    Parameters
    ----------
    surface : Dataset or DataArray, optional
        Clear surface reflectance 0–1, bands by name or role, without time; computed right away. Default:
        `clear_surface`.
    sensor : str, default 'sentinel-2'
        Sensor whose band table applies: band names and wavelengths.
    bands : sequence of str, optional
        Names or roles of the bands to simulate. Default: the surface's, or all reflective bands of the sensor.
    dates : int, default 6
        Number of dates, ten days apart.
    cover : float or sequence of float, optional
        Share of low clouds, 0–1, for all or for each date; some dates carry cirrus besides. Default: a shuffled range
        from nearly clear to overcast. The same series with ``cover=0`` is the cloud-free truth for composites.
    size : (int, int), optional
        Rows and columns. Default: the surface's, else 512 × 512. A larger size than the surface's is quilted from
        mirrored copies.
    gsd : float, optional
        Ground sample distance in metres. Default: the surface's, else the sensor's.
    seed : int, default 0
        The same seed gives the same pixels, whatever the chunks.
    chunks : mapping of str to int, optional
        Make a lazy series with these chunks, e.g. ``{"time": 1, "y": 512, "x": 512}``; each date is simulated when it
        is computed. Default: in memory.

    Returns
    -------
    Dataset
        A uint16 variable per band, dims ``(time, y, x)``, with ``scale_factor``, ``add_offset`` and ``_FillValue`` in
        its attributes, and ``truth``, uint8, in the scheme ``cloudsen12``: thick cloud from optical thickness 3, thin
        cloud from 0.6, cloud shadow where the sun shines through 3 or more. Sun angles in degrees are coordinates
        along time.

    Raises
    ------
    BandError
        A band is unknown, or missing in the surface.
    CloudMaskError
        A cover outside 0–1, or not one per date.

    Examples
    --------
    >>> cube = series(bands=["blue", "green", "red", "nir"], dates=3, size=(64, 64))
    >>> list(cube.data_vars), cube.sizes
    (['B02', 'B03', 'B04', 'B08', 'truth'], Frozen({'time': 3, 'y': 64, 'x': 64}))
    """
    table = _sensor(sensor)
    if surface is None:
        surface = clear_surface(sensor, bands=bands, size=size or DEFAULT_SIZE, gsd=gsd, seed=seed)
    found, ground, pixel = _ground(surface, table, bands, size, gsd, seed)
    normalised = not any(rule.sun_elevation for rule in table.radiometry if rule.level == "TOA")
    recipes = [Date(seed, i, share, pixel, normalised) for i, share in enumerate(_covers(cover, dates, seed))]
    simulate = _scene if chunks is None else _lazy_scene
    numbers, truths = zip(*(simulate(date, ground, _wavelengths(found)) for date in recipes), strict=True)
    cube = _dataset(np.stack(numbers, axis=1), np.stack(truths), found, recipes, table)
    return cube if chunks is None else cube.chunk(chunks)


def scene(surface: layout.Cube | None = None, *, cover: float = 0.35, **options: Any) -> xr.Dataset:
    """Simulate a single date: `series` without a time dimension.

    Parameters
    ----------
    surface : Dataset or DataArray, optional
        Clear surface reflectance, see `series`.
    cover : float, default 0.35
        Share of low clouds, 0–1.
    **options
        ``sensor``, ``bands``, ``size``, ``gsd``, ``seed``, ``chunks`` as in `series`.

    Returns
    -------
    Dataset
        As `series`, dims ``(y, x)``; in memory unless ``chunks`` is given.

    Raises
    ------
    CloudMaskError
        As `series`.

    Examples
    --------
    >>> scene(bands=["red"], size=(64, 64))["truth"].dims
    ('y', 'x')
    """
    return series(surface, cover=cover, dates=1, **options).isel(time=0)


def _covers(cover: float | Sequence[float] | None, dates: int, seed: int) -> list[float]:
    if cover is None:
        spread = 0.03 + 0.94 * np.linspace(0, 1, dates) ** 1.5
        return [float(share) for share in np.random.default_rng([seed, 2]).permutation(spread)]
    shares = np.atleast_1d(np.asarray(cover, dtype="float64"))
    if len(shares) not in (1, dates) or not ((shares >= 0) & (shares <= 1)).all():
        raise CloudMaskError(
            f"cover={cover!r} for {dates} dates", "a share from 0 to 1, or one for each date", "cover=0.3"
        )
    return [float(share) for share in np.broadcast_to(shares, dates)]


def _ground(
    surface: layout.Cube,
    sensor: Sensor,
    names: Sequence[str] | None,
    size: tuple[int, int] | None,
    gsd: float | None,
    seed: int,
) -> tuple[tuple[SensorBand, ...], Floats, float]:
    """Return bands, surface reflectance ``(band, y, x)`` in the wanted size, and pixel size in metres."""
    view = layout.view(surface)
    stored = dict(zip(_bands(sensor, view.bands), view.bands.values(), strict=True))
    bands = _bands(sensor, names) if names is not None else tuple(stored)
    missing = [band.name for band in bands if band not in stored]
    if missing:
        names = [band.name for band in stored]
        raise BandError(f"a surface with bands {names}", f"also {missing}", f"bands={names}")
    values = np.stack([stored[band].values for band in bands]).astype("float32")
    pixel = gsd or layout.ground_sample_distance(view) or sensor.gsd
    return bands, _enlarge(values, size or values.shape[1:], np.random.default_rng([seed, 3])), pixel


def _lazy_scene(date: Date, ground: Floats, wavelengths: Floats) -> tuple[Any, Any]:
    import dask
    import dask.array as da

    numbers, truth = dask.delayed(_scene, pure=True, nout=2)(date, ground, wavelengths)
    return (
        da.from_delayed(numbers, ground.shape, meta=np.empty((0, 0, 0), "uint16")),
        da.from_delayed(truth, ground.shape[1:], meta=np.empty((0, 0), "uint8")),
    )


def _dataset(
    numbers: Any, truth: Any, bands: Sequence[SensorBand], dates: Sequence[Date], sensor: Sensor
) -> xr.Dataset:
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    _, rows, columns = truth.shape
    left, top, gsd = *ORIGIN, dates[0].gsd
    box = GeoBox.from_bbox((left, top - rows * gsd, left + columns * gsd, top), crs=CRS, shape=(rows, columns))
    dims = ("time", "y", "x")
    variables = {band.name: (dims, values, _band_attrs(band)) for band, values in zip(bands, numbers, strict=True)}
    variables["truth"] = (dims, truth, labels.flag_attrs(SCHEME))
    time = np.datetime64("2024-06-01T13:10:00", "ns") + np.arange(len(dates)) * np.timedelta64(10, "D")
    sun = {
        "view:sun_azimuth": ("time", [date.sky.azimuth for date in dates], {"units": "degree"}),
        "view:sun_elevation": ("time", [date.sky.elevation for date in dates], {"units": "degree"}),
    }
    attrs = {"collection": sensor.id, "source": "simulated"}
    return xr.Dataset(variables, {"time": time, **xr_coords(box), **sun}, attrs)


def _band_attrs(band: SensorBand) -> dict[str, Any]:
    attrs = {
        "standard_name": "toa_bidirectional_reflectance",
        "units": "1",
        "scale_factor": SCALE,
        "add_offset": OFFSET,
        "_FillValue": NO_DATA,
        "min_wavelength": band.min_wavelength,
        "max_wavelength": band.max_wavelength,
    }
    return attrs if band.role is None else {**attrs, "common_name": band.role}
