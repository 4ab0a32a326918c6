"""What a sensor and its processing make of the light: blur, noise, saturation, stripes, gaps, surface reflectance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xr_cloudmask.simulate.light import Air, Floats

# Standard deviation of the point-spread function in pixels: modulation of 0.55 to 0.12 at the Nyquist frequency.
BLUR = (0.35, 0.65)
FEWEST = 2  # bands that a sample has
OPAQUE = 0.3  # transmittance under which surface reflectance is not delivered


def surface_reflectance(rng: np.random.Generator, toa: Floats, wavelengths: Floats, air: Air) -> tuple[Floats, Floats]:
    """Return what an imperfect atmospheric correction makes of reflectance, and the bands that it serves.

    Where it serves fewer than two, nothing is corrected.
    """
    through = (air.gas * air.scattering).astype("float32")
    served = through.ravel() > OPAQUE
    if served.sum() < FEWEST:
        return toa, wavelengths
    path, through = (
        air.path[served] * np.float32(rng.normal(1, 0.12)),
        through[served] ** np.float32(rng.normal(1, 0.1)),
    )
    return (toa[served] - path) / through, wavelengths[served]


def record(rng: np.random.Generator, light: Floats) -> Floats:
    """Return reflectance ``(band, y, x)`` as one of many instruments delivers it; NaN where it saw nothing."""
    bands, rows, columns = light.shape
    values = blurred(light, rng.uniform(*BLUR))
    if rng.random() < 0.15:  # bands that do not lie exactly on each other
        values = np.stack([np.roll(band, rng.integers(-1, 2, 2), (0, 1)) for band in values])
    gain = rng.normal(1, 0.03) + rng.normal(0, 0.02, (bands, 1, 1))
    offset = rng.normal(0, 0.004, (bands, 1, 1))
    values = values * gain.astype("float32") + offset.astype("float32")
    level = np.exp(rng.uniform(np.log(0.0003), np.log(0.005)))
    values += rng.standard_normal(values.shape, dtype="float32") * np.float32(level)
    if rng.random() < 0.06:  # detectors that are not alike
        values *= rng.normal(1, rng.uniform(0.002, 0.01), (bands, 1, columns)).astype("float32")
    if rng.random() < 0.3:  # saturation over bright cloud
        values = np.minimum(values, _limits(rng, bands)[:, None, None])
    if rng.random() < 0.04:  # a picture, stretched for the screen
        bright = np.float32(np.exp(rng.uniform(*np.log((0.2, 1.0)))))
        values = np.clip(values / bright, 0, 1) ** np.float32(rng.uniform(0.5, 1.0))
    if rng.random() < 0.3:  # eight to ten bits
        step = np.float32(rng.choice([1 / 255, 1 / 500, 1 / 1000]))
        values = np.round(values / step) * step
    values[:, _gaps(rng, rows, columns)] = np.nan
    return np.asarray(values, "float32")


def _limits(rng: np.random.Generator, bands: int) -> Floats:
    """Return where bands saturate: all at one value, all much alike, each at its own, or the first three alone."""
    own = rng.uniform(0.35, 1.1, bands)
    alike = rng.uniform(0.35, 0.45) * (1 + np.arange(bands) * rng.uniform(0, 0.4))
    one = np.full(bands, rng.uniform(0.35, 1.0))
    visible = np.where(np.arange(bands) < 3, rng.uniform(0.3, 0.7), np.inf)
    return np.asarray((own, alike, one, visible)[rng.choice(4, p=[0.45, 0.25, 0.2, 0.1])], "float32")


def blurred(light: Floats, width: float) -> Floats:
    """Return what optics with a point-spread function of that standard deviation, in pixels, make of light."""
    from scipy import ndimage

    return np.stack([ndimage.gaussian_filter(band, width, truncate=3) for band in light])


def _gaps(rng: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Return what was not recorded: now and then a swath edge, or the wedges of a Landsat 7 without its corrector."""
    chance = rng.random()
    if chance > 0.07:
        return np.zeros((rows, columns), bool)
    slant = rng.normal(0, 0.25) + rng.choice([0, np.pi / 2, np.pi, -np.pi / 2])
    down, right = np.indices((rows, columns))
    across = down * np.sin(slant) + right * np.cos(slant)
    if chance > 0.02:
        return np.asarray(across > np.quantile(across, rng.uniform(0.4, 0.98)))
    period, width = rng.uniform(20, 34), rng.uniform(0.1, 0.5)
    return np.asarray((across / period) % 1 < width)
