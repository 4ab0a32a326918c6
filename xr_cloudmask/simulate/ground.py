"""The ground under the clouds: the sensor's bands, a clear surface, and any size of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.sensors import Sensor, SensorBand, named
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.simulate import landscapes
from xr_cloudmask.simulate.fields import noise
from xr_cloudmask.simulate.light import Floats, response

DEFAULT_SIZE = (512, 512)


def clear_surface(
    sensor: str = "sentinel-2",
    *,
    bands: Sequence[str] | None = None,
    size: tuple[int, int] = DEFAULT_SIZE,
    landscape: str = "temperate",
    seed: int = 0,
) -> xr.DataArray:
    """Make a clear surface: what lies on the ground, from spectra, as a sensor's bands see it.

    Parameters
    ----------
    sensor : str, default 'sentinel-2'
        Sensor whose band table applies.
    bands : sequence of str, optional
        Names or roles. Default: all reflective bands of the sensor.
    size : (int, int)
        Rows and columns, at least two each.
    landscape : str, default 'temperate'
        Which mixture of materials: a key of `simulate.landscapes.LANDSCAPES`, such as 'forest', 'city', 'desert',
        'salt_flat', 'winter' or 'ice'. Most have lakes, rivers and roads besides.
    seed : int, default 0

    Returns
    -------
    DataArray
        float32 surface reflectance, dims ``(band, y, x)``, in memory.

    Raises
    ------
    BandError
        A band or a sensor is unknown.
    CloudMaskError
        The size is too small, or the landscape unknown.

    Examples
    --------
    >>> clear_surface(bands=["red", "nir"], size=(64, 96)).sizes
    Frozen({'band': 2, 'y': 64, 'x': 96})
    """
    found = sensor_bands(sensor_table(sensor), bands)
    _check_size(size)
    if landscape not in landscapes.LANDSCAPES:
        known = sorted(landscapes.LANDSCAPES)
        raise CloudMaskError(f"landscape {landscape!r}", f"one of {known}", "landscape='temperate'")
    rng = np.random.default_rng([seed, 1])
    made = landscapes.surface(rng, landscape, size)
    values = made.reflectance(rng, response(limits(found)))
    return xr.DataArray(values, dims=("band", "y", "x"), coords={"band": [b.name for b in found]})


def sensor_table(name: str) -> Sensor:
    """Return the one sensor of a name; several are an error."""
    found = named(name)
    if len(found) > 1:
        ids = [sensor.id for sensor in found]
        raise BandError(f"sensor {name!r}, which several fit", f"one of {ids}", f"sensor={ids[0]!r}")
    if not found[0].bands:
        raise BandError(
            f"sensor {name!r}, whose wavelengths every product states for itself",
            "a sensor with a table of bands",
            "sensor='sentinel-2'",
        )
    return found[0]


def sensor_bands(sensor: Sensor, names: Iterable[str] | None) -> tuple[SensorBand, ...]:
    """Return a sensor's reflective bands by name or role; all of them without `names`."""
    reflective = tuple(band for band in sensor.bands if band.kind == "reflectance")
    if names is None:
        return reflective
    wanted = {name: sensor.band(name) for name in names}
    unknown = [name for name, band in wanted.items() if band not in reflective]
    if unknown:
        known = [" or ".join(dict.fromkeys(filter(None, (band.name, band.role)))) for band in reflective]
        raise BandError(f"bands {unknown} of {sensor.title}", f"its reflective bands: {known}", f"bands={known[:1]}")
    return tuple(band for band in wanted.values() if band is not None)


def limits(bands: Iterable[SensorBand]) -> Floats:
    """Return the shortest and longest wavelengths ``(band, 2)`` in nm."""
    return np.array([(band.min_wavelength, band.max_wavelength) for band in bands], "float32")


def fitted(
    surface: layout.CubeView, sensor: Sensor, names: Sequence[str] | None, size: tuple[int, int] | None, seed: int
) -> tuple[tuple[SensorBand, ...], Floats]:
    """Return the wanted bands of a surface, and their reflectance ``(band, y, x)`` in the wanted size."""
    stored = dict(zip(sensor_bands(sensor, surface.bands), surface.bands.values(), strict=True))
    bands = sensor_bands(sensor, names) if names is not None else tuple(stored)
    missing = [band.name for band in bands if band not in stored]
    if missing:
        known = [band.name for band in stored]
        raise BandError(f"a surface with bands {known}", f"also {missing}", f"bands={known}")
    values = np.stack([stored[band].values for band in bands]).astype("float32")
    if values.ndim != 3 or not np.nanmax(values) <= 2:
        raise CloudMaskError(
            f"a surface of shape {values.shape} with values up to {np.nanmax(values):g}",
            "reflectance from 0 to 1 of one date",
            "surface.isel(time=0) / 10_000, or whatever gives reflectance",
        )
    wanted = size or (values.shape[1], values.shape[2])
    _check_size(wanted)
    return bands, _enlarged(values, wanted, np.random.default_rng([seed, 3]))


def _check_size(size: tuple[int, int]) -> None:
    if len(size) != 2 or min(size) < 2:
        raise CloudMaskError(f"size={size!r}", "rows and columns, at least two each", f"size={DEFAULT_SIZE}")


def _enlarged(values: Floats, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Crop a surface, or quilt it from turned, shifted and mirrored copies, so that no repetition catches the eye."""
    if all(have >= wanted for have, wanted in zip(values.shape[1:], size, strict=True)):
        return values[:, : size[0], : size[1]]
    copies = []
    for down, right in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        top, left = rng.integers(0, values.shape[1:]).tolist()
        copy = np.pad(values[:, ::down, ::right], ((0, 0), (0, top + size[0]), (0, left + size[1])), mode="symmetric")
        copies.append(copy[:, top : top + size[0], left : left + size[1]])
    chosen = np.argmax([noise(rng, size, max(values.shape[1:]), 5.0) for _ in copies], axis=0)
    return np.asarray(np.take_along_axis(np.stack(copies), chosen[None, None], axis=0)[0])
