"""Clouds over ground, date by date: what a sensor would have recorded, and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.sensors import Sensor, SensorBand
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import schemes
from xr_cloudmask.simulate import clouds, ground, instrument, render
from xr_cloudmask.simulate.light import Floats, Sky, air

SCHEME = schemes.SCHEMES["cloudsen12"]
TRUTH = tuple(SCHEME.code(name) for name in ("thick_cloud", "thin_cloud", "cloud_shadow", "clear"))
SCALE, OFFSET, NO_DATA = 1e-4, -0.1, 0  # digital numbers as in Sentinel-2 products since processing baseline 04.00
NOISE, BLUR = 0.0015, 0.5  # of the sensor, in reflectance and in pixels
GRID_MAPPING, GRID_CRS, ORIGIN = "spatial_ref", "EPSG:32723", (600_000.0, 7_600_000.0)  # ORIGIN: upper left corner
FIRST_DATE, REVISIT = np.datetime64("2024-06-01T13:10:00", "ns"), np.timedelta64(10, "D")
SWATH_SLANT = np.radians(14.0)  # how far a swath edge leans from north
# Least and most of sun azimuth and elevation (a southern winter morning), aerosol and water vapour.
SKIES = ((30.0, 42.0, 0.04, 1.0), (70.0, 62.0, 0.15, 3.5))


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
        Whether digital numbers are divided by the sine of the sun elevation; Landsat's are not.
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
        return Sky(*self.rng(0).uniform(*SKIES).tolist())


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
        Number of dates, ten days apart. Every other one has a wedge without data at its eastern edge.
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
        A sensor or a band is unknown, or missing in the surface.
    CloudMaskError
        A cover outside 0–1, or not one per date; a size too small; a surface that is no reflectance.

    Examples
    --------
    >>> cube = series(bands=["blue", "green", "red", "nir"], dates=3, size=(64, 64))
    >>> list(cube.data_vars), cube.sizes
    (['B02', 'B03', 'B04', 'B08', 'truth'], Frozen({'time': 3, 'y': 64, 'x': 64}))
    """
    table = ground.sensor_table(sensor)
    if surface is None:
        surface = ground.clear_surface(sensor, bands=bands, size=size or ground.DEFAULT_SIZE, seed=seed)
    view = layout.view(surface)
    pixel = gsd or ground_of(view).gsd or table.gsd
    found, clear = ground.fitted(view, table, bands, size, seed)
    normalised = not any(rule.sun_elevation for rule in table.radiometry if rule.level == "TOA")
    recipes = [Date(seed, i, share, pixel, normalised) for i, share in enumerate(_covers(cover, dates, seed))]
    record = _record if chunks is None else _record_later
    numbers, truths = zip(*(record(date, clear, ground.limits(found)) for date in recipes), strict=True)
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
    spread = 0.03 + 0.94 * np.linspace(0, 1, max(dates, 0)) ** 1.5
    shares = np.random.default_rng([seed, 2]).permutation(spread) if cover is None else np.atleast_1d(cover)
    if dates < 1 or shares.size not in (1, dates) or not ((shares >= 0) & (shares <= 1)).all():
        found = f"cover={cover!r} for {dates} dates"
        raise CloudMaskError(found, "at least one date; a share from 0 to 1, or one for each date", "cover=0.3")
    return [float(share) for share in np.broadcast_to(shares, dates)]


def _record(date: Date, clear: Floats, limits: Floats) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Return digital numbers ``(band, y, x)`` and truth ``(y, x)`` of one date."""
    sky, shape = date.sky, clear.shape[1:]
    layers = [_layer(date, *made) for made in clouds.layers(date.rng(1), date.cover, shape, date.gsd)]
    light = instrument.blurred(render.toa(clear, air(limits, sky), layers, date.gsd), BLUR)
    reflectance = light + date.rng(2).normal(0, NOISE, clear.shape)
    received = reflectance if date.sun_normalised else reflectance * sky.sine
    numbers = np.clip(np.rint((received - OFFSET) / SCALE), NO_DATA + 1, 65535)
    truth = render.classify(render.thickness(layers, "tau"), render.thickness(layers, "shade"), TRUTH)
    lost = _beyond_swath(date, shape)
    return np.where(lost, NO_DATA, numbers).astype("uint16"), np.where(lost, SCHEME.no_data, truth).astype("uint8")


def _layer(date: Date, kind: clouds.Clouds, tau: Floats) -> render.Layer:
    shade = clouds.shade(tau, kind, date.sky, date.gsd)
    return render.Layer(kind.base, kind.phase, tau, shade, clouds.relief(tau, date.sky, date.gsd))


def _beyond_swath(date: Date, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return the wedge without data: every other date comes from a neighbouring orbit whose swath ends here."""
    rows, columns = np.indices(shape)
    across = columns * np.cos(SWATH_SLANT) + rows * np.sin(SWATH_SLANT)
    share = date.rng(3).uniform(0.05, 0.2) * (date.index % 2 == 0)
    return np.asarray(across > np.quantile(across, 1 - share))


def _record_later(date: Date, clear: Floats, limits: Floats) -> tuple[Any, Any]:
    from dask.array import from_delayed
    from dask.delayed import delayed

    numbers, truth = delayed(_record, pure=True, nout=2)(date, clear, limits)
    return (
        from_delayed(numbers, clear.shape, meta=np.empty((0, 0, 0), "uint16")),
        from_delayed(truth, clear.shape[1:], meta=np.empty((0, 0), "uint8")),
    )


def _dataset(
    numbers: Any, truth: Any, bands: Sequence[SensorBand], dates: Sequence[Date], sensor: Sensor
) -> xr.Dataset:
    dims = ("time", "y", "x")
    encoding = {"grid_mapping": GRID_MAPPING}
    flags = schemes.flag_attrs(SCHEME) | {"long_name": "simulated truth"}
    variables = {band.name: (dims, values, _attrs(band), encoding) for band, values in zip(bands, numbers, strict=True)}
    variables["truth"] = (dims, truth, flags, encoding)
    skies = [date.sky for date in dates]
    coords = {
        "time": FIRST_DATE + np.arange(len(dates)) * REVISIT,
        **_grid(truth.shape[1:], dates[0].gsd),
        "view:sun_azimuth": ("time", [sky.azimuth for sky in skies], {"units": "degree"}),
        "view:sun_elevation": ("time", [sky.elevation for sky in skies], {"units": "degree"}),
    }
    return xr.Dataset(variables, coords, {"collection": sensor.id, "source": "simulated"})


def _grid(shape: tuple[int, int], gsd: float) -> dict[str, Any]:
    """Return y, x and spatial_ref: pixel centres in metres, north up."""
    from pyproj import CRS

    crs, (left, top) = CRS.from_user_input(GRID_CRS), ORIGIN
    axes = {entry["axis"]: entry for entry in crs.cs_to_cf()}
    return {
        "y": ("y", top - (np.arange(shape[0]) + 0.5) * gsd, axes["Y"]),
        "x": ("x", left + (np.arange(shape[1]) + 0.5) * gsd, axes["X"]),
        GRID_MAPPING: ((), 0, {**crs.to_cf(), "GeoTransform": f"{left} {gsd} 0 {top} 0 {-gsd}"}),
    }


def _attrs(band: SensorBand) -> dict[str, Any]:
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
