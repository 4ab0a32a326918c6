"""One scene in many disguises: what people bring, and what has to come of it.

A disguise changes how a cube of reflectance is written down, never what it shows. Its mask must be the undisguised
one's, with no data where the gap is and nowhere else, or predicting it must end in one clear error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from paths import LABELLED

from xr_cloudmask import BandDescriptor, simulate

ROLES = ("blue", "green", "red", "nir", "swir16", "swir22")
SENTINEL = ("B02", "B03", "B04", "B08", "B11", "B12")
LANDSAT = ("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7")
CENTRES = (490.0, 560.0, 665.0, 842.0, 1610.0, 2200.0)
SIZE = 256
GAP = (slice(40, 90), slice(100, 180))
LEVEL = {"level": "TOA"}
ERROR = "one clear error"
ODD = (200, 30)  # a pixel far from the gap

Cube = Any


def scene() -> np.ndarray:
    """Return reflectance ``(band, y, x)``: of a real Sentinel-2 scene where it is at hand, else simulated."""
    if LABELLED.exists():
        with np.load(LABELLED) as patch:
            return np.moveaxis(patch["img"][128 : 128 + SIZE, 128 : 128 + SIZE], -1, 0).astype("float32")
    made = simulate.series(bands=SENTINEL, dates=1, size=(SIZE, SIZE), gsd=30.0, seed=4).isel(time=0)
    found = made[list(SENTINEL)].cloudmask.reflectance().fillna(0.05)
    return found.to_dataarray("band").values.clip(1e-3, 1.5)


def cube(values: np.ndarray, names: tuple[str, ...] = ROLES, *, gap: Any = None) -> xr.Dataset:
    """Return a cube at 30 m, with the gap filled with something, or whole."""
    filled = values.copy()
    if gap is not None:
        filled[:, *GAP] = gap
    y, x = 5e6 - 30.0 * np.arange(SIZE), 5e5 + 30.0 * np.arange(SIZE)
    metres = {"units": "m"}
    coords = {"y": ("y", y, metres), "x": ("x", x, metres)}
    return xr.Dataset({name: (("y", "x"), band) for name, band in zip(names, filled, strict=True)}, coords=coords)


@dataclass(frozen=True)
class Disguise:
    """One way to write the scene down.

    Attributes
    ----------
    name : str
    make : callable
        From reflectance ``(band, y, x)`` to a cube.
    told : dict
        Keywords of `predict`.
    gap : bool
        Whether the gap must be no data; without one, nothing must be.
    agree : float
        Share of the labels outside of the gap that must be those of the undisguised scene.
    outcome : str
        `ERROR` where predicting must end in one clear error.
    """

    name: str
    make: Callable[[np.ndarray], Cube]
    told: dict[str, Any] = field(default_factory=lambda: dict(LEVEL))
    gap: bool = True
    agree: float = 0.99
    outcome: str = "labels"


def numbers(
    values: np.ndarray, dtype: str, fill: float, scale: float = 1e-4, offset: float = 0.0, **attrs: Any
) -> Cube:
    """Return digital numbers."""
    made = cube(np.round((values - offset) / scale).astype("float64"), gap=fill).astype(dtype)
    return each(made, lambda band: band.assign_attrs(attrs))


def each(made: xr.Dataset, function: Callable[[xr.DataArray], xr.DataArray]) -> xr.Dataset:
    """Apply a function to every band, its attributes kept."""
    return made.assign({name: function(band) for name, band in made.items()})


def encoded(values: np.ndarray, dtype: str, **encoding: Any) -> Cube:
    """Return what xarray decodes of a packed file."""
    packed = numbers(values, dtype, encoding["_FillValue"], encoding["scale_factor"], encoding.get("add_offset", 0.0))
    return xr.decode_cf(each(packed, lambda band: band.assign_attrs(encoding)))


def arithmetic(values: np.ndarray, dtype: str, fill: float, **attrs: Any) -> Cube:
    """Return what a user makes of digital numbers whose attributes outlive it."""
    made = numbers(values, dtype, fill, **attrs)
    with xr.set_options(keep_attrs=True):
        return made / 10000


def renamed(values: np.ndarray, names: tuple[str, ...], **attrs: Any) -> Cube:
    return cube(values, names, gap=np.nan).assign_attrs(attrs)


def stacked(values: np.ndarray, labels: Any, dim: str = "band") -> xr.DataArray:
    return cube(values, gap=np.nan).to_dataarray(dim).assign_coords({dim: (dim, labels)})


def wavelengths(values: np.ndarray, centres: Any, units: str, width: float) -> xr.DataArray:
    made = cube(values, gap=np.nan).to_dataarray("wavelength")
    fwhm = ("wavelength", np.full(len(centres), width))
    return made.assign_coords(wavelength=("wavelength", np.array(centres), {"units": units}), fwhm=fwhm)


def odd(values: np.ndarray, number: float, bands: slice = slice(None)) -> Cube:
    """Return the scene with one pixel that is no reflectance."""
    made = values.copy()
    made[(bands, *ODD)] = number
    return cube(made)


def listed(values: np.ndarray, **lists: Any) -> xr.DataArray:
    """Return an array of bands whose scales, offsets or fill differ, as rioxarray lists them."""
    made = numbers(values, "uint16", 7, offset=-0.1).to_dataarray("band")
    return made.assign_attrs(scale_factor=1e-4, **lists)


def transparent(values: np.ndarray) -> Cube:
    """Return the scene with values where an alpha band says that there is nothing to see."""
    hidden = np.full((SIZE, SIZE), 255, "uint8")
    hidden[GAP] = 0
    return cube(values, gap=1.0).assign(alpha=(("y", "x"), hidden))


def kilometres_unsaid(values: np.ndarray) -> Cube:
    made = kilometres(values)
    return made.assign_coords({dim: (dim, made[dim].values) for dim in "yx"})


def degrees(values: np.ndarray, latitude: float = 60.0) -> Cube:
    """Return the scene on a grid in degrees whose pixels are 30 m."""
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    north = latitude - geod.inv(10.0, latitude, 10.0, latitude + 1e-3)[2] * 0
    per_y = geod.inv(10.0, north - 5e-4, 10.0, north + 5e-4)[2] / 1e-3
    per_x = geod.inv(10.0, north, 10.0 + 1e-3, north)[2] / 1e-3
    lat, lon = north - np.arange(SIZE) * 30.0 / per_y, 10.0 + np.arange(SIZE) * 30.0 / per_x
    made = cube(values, gap=np.nan).rename(y="latitude", x="longitude")
    return made.assign_coords(latitude=lat, longitude=lon)


def kilometres(values: np.ndarray) -> Cube:
    import rioxarray  # noqa: F401 - the accessor

    made = cube(values, gap=np.nan).rio.write_crs(32632)
    for dim in "yx":
        made = made.assign_coords({dim: (dim, made[dim].values / 1000, {"units": "km"})})
    return made


def with_crs(values: np.ndarray, **attrs: Any) -> Cube:
    return cube(values, gap=np.nan).assign_coords(spatial_ref=xr.DataArray(0, attrs=attrs))


def dated(values: np.ndarray, **options: Any) -> Cube:
    made = cube(values, gap=np.nan).expand_dims(time=pd.to_datetime(["2024-06-01", "2024-06-11"]))
    return made.transpose(*options.get("dims", ("time", "y", "x")))


def described() -> tuple[BandDescriptor, ...]:
    return tuple(
        BandDescriptor(f"layer {i}", role, centre - 30, centre + 30)
        for i, (role, centre) in enumerate(zip(ROLES, CENTRES, strict=True))
    )


PACKED = {"scale_factor": 1e-4, "_FillValue": np.uint16(0)}
DN = {**LEVEL, "scale": 1e-4, "offset": 0.0}
LAYERS = tuple(f"layer {i}" for i in range(6))

DISGUISES = (
    # How numbers are written
    Disguise("float32, NaN", lambda v: cube(v, gap=np.nan)),
    Disguise("float64, NaN", lambda v: cube(v.astype("float64"), gap=np.nan)),
    Disguise("big-endian float32", lambda v: cube(v.astype(">f4"), gap=np.nan)),
    Disguise("uint16, 0", lambda v: numbers(v, "uint16", 0), DN),
    Disguise("big-endian uint16, 0", lambda v: numbers(v, ">u2", 0), DN),
    Disguise("int16, 0", lambda v: numbers(v, "int16", 0), DN),
    Disguise("int32, 0", lambda v: numbers(v, "int32", 0), DN),
    Disguise(
        "uint8, 0", lambda v: numbers(v, "uint8", 0, 1 / 255), {**LEVEL, "scale": 1 / 255, "offset": 0.0}, agree=0.97
    ),
    Disguise("uint64, 0", lambda v: numbers(v, "uint64", 0), DN),
    Disguise("float16, NaN", lambda v: cube(v.astype("float16"), gap=np.nan)),
    Disguise("extended precision, NaN", lambda v: cube(v.astype("longdouble"), gap=np.nan)),
    Disguise("numbers in float32, 0", lambda v: numbers(v, "float32", 0), DN),
    Disguise("scale and offset given", lambda v: numbers(v, "uint16", 0, offset=-0.1), {**DN, "offset": -0.1}),
    Disguise(
        "Landsat's scale", lambda v: numbers(v, "uint16", 0, 2.75e-5, -0.2), {**LEVEL, "scale": 2.75e-5, "offset": -0.2}
    ),
    Disguise("Fortran order", lambda v: cube(np.asfortranarray(v), gap=np.nan)),
    # Where scale and offset stand
    Disguise("scale_factor in attrs", lambda v: numbers(v, "uint16", 0, scale_factor=1e-4)),
    Disguise(
        "factors as arrays of one",
        lambda v: numbers(v, "uint16", 0, offset=-0.1, scale_factor=np.array([1e-4]), add_offset=[-0.1]),
    ),
    Disguise("offsets of a list", lambda v: listed(v, offsets=(-0.1,) * 6, nodatavals=(7.0,) * 6)),
    Disguise("units of 1e-4", lambda v: numbers(v, "uint16", 0, units="1e-4")),
    Disguise("percent that is packed", lambda v: numbers(v, "int16", 0, units="%", scale_factor=0.01)),
    Disguise("percent, spelt pct", lambda v: each(cube(v * 100, gap=np.nan), lambda b: b.assign_attrs(units="Pct"))),
    Disguise("raster:bands", lambda v: numbers(v, "uint16", 0, **{"raster:bands": [{"scale": 1e-4, "offset": 0.0}]})),
    Disguise(
        "bands of STAC 1.1", lambda v: numbers(v, "uint16", 0, bands=[{"raster:scale": 1e-4, "raster:offset": 0.0}])
    ),
    Disguise("decoded by xarray", lambda v: encoded(v, "uint16", **PACKED)),
    Disguise("decoded, with offset", lambda v: encoded(v, "uint16", add_offset=-0.1, **PACKED)),
    Disguise("percent", lambda v: each(cube(v * 100, gap=np.nan), lambda b: b.assign_attrs(units="%"))),
    Disguise("units of 1", lambda v: each(cube(v, gap=np.nan), lambda b: b.assign_attrs(units="1"))),
    Disguise("scale estimated", lambda v: numbers(v, "uint16", 0), {**LEVEL, "scale": "estimate"}),
    # Fill that nobody declared
    Disguise("undeclared -9999", lambda v: cube(v, gap=-9999.0)),
    Disguise("undeclared -9999 in int16", lambda v: numbers(v, "int16", -9999), DN),
    Disguise("undeclared -32768", lambda v: numbers(v, "int16", -32768), DN),
    Disguise("undeclared 32767", lambda v: numbers(v, "int16", 32767), DN),
    Disguise("undeclared 65535", lambda v: numbers(v, "uint16", 65535), DN),
    Disguise("undeclared 65535 as float", lambda v: cube(v, gap=6.5535)),
    Disguise("fill wrapped round by - 1000", lambda v: numbers(v, "uint16", 64536), DN),
    Disguise("netCDF's default fill", lambda v: cube(v, gap=np.float32(9.969209968386869e36))),
    Disguise("undeclared 1e30", lambda v: cube(v, gap=1e30)),
    Disguise("undeclared -1e30", lambda v: cube(v, gap=-1e30)),
    Disguise("infinity", lambda v: cube(v, gap=np.inf)),
    Disguise("constant -0.0123 in all bands", lambda v: cube(v, gap=-0.0123)),
    # Fill that was declared
    Disguise("nodata 65535", lambda v: numbers(v, "uint16", 65535, nodata=65535), DN),
    Disguise("missing_value -1", lambda v: numbers(v, "int16", -1, missing_value=-1), DN),
    Disguise("_FillValue 7", lambda v: numbers(v, "uint16", 7, _FillValue=7), DN),
    Disguise("nodatavals", lambda v: numbers(v, "uint16", 7, nodatavals=(7.0,)), DN),
    Disguise("fill_value", lambda v: numbers(v, "uint16", 7, fill_value=7), DN),
    Disguise("valid_range as text", lambda v: numbers(v, "int16", 29000, valid_range="0, 28000"), DN),
    Disguise("alpha of 0", transparent),
    Disguise("nodata given", lambda v: numbers(v, "uint16", 12345), {**DN, "nodata": 12345}, agree=0.985),
    Disguise("valid_range", lambda v: numbers(v, "int16", 29000, valid_range=[0, 28000]), DN),
    Disguise("valid_min and valid_max", lambda v: numbers(v, "int16", -5, valid_min=0, valid_max=28000), DN),
    Disguise("-999 divided by 10000", lambda v: arithmetic(v, "int16", -999, nodata=-999)),
    Disguise("-9999 divided by 10000", lambda v: arithmetic(v, "int16", -9999, nodata=-9999)),
    Disguise("0 times 2.75e-5 - 0.2", lambda v: numbers(v, "uint16", 0, 2.75e-5, -0.2) * 2.75e-5 - 0.2),
    # One odd pixel
    Disguise("one pixel of 65535", lambda v: odd(v, 65535.0), gap=False),
    Disguise("one pixel of 6.5535", lambda v: odd(v, 6.5535), gap=False),
    Disguise("one pixel of 1e20", lambda v: odd(v, 1e20), gap=False),
    Disguise("one pixel of 9.97e36 in one band", lambda v: odd(v, 9.97e36, slice(2, 3)), gap=False),
    Disguise("one pixel of -9999", lambda v: odd(v, -9999.0), gap=False),
    Disguise("one pixel of NaN", lambda v: odd(v, np.nan), gap=False),
    # Names
    Disguise("names of Sentinel-2", lambda v: renamed(v, SENTINEL, platform="sentinel-2a")),
    Disguise("short names", lambda v: renamed(v, ("B2", "B3", "B4", "B8", "B11", "B12"), platform="sentinel-2b")),
    Disguise("lower case", lambda v: renamed(v, ("b2", "b3", "b4", "b8", "b11", "b12"), platform="sentinel-2b")),
    Disguise("names of Landsat", lambda v: renamed(v, LANDSAT, platform="landsat-8")),
    Disguise(
        "DEA's names",
        lambda v: renamed(v, tuple(f"nbart_{n}" for n in ("blue", "green", "red", "nir", "swir_1", "swir_2"))),
    ),
    Disguise("any names, described", lambda v: renamed(v, LAYERS), {**LEVEL, "descriptors": described()}),
    Disguise(
        "extra quality bands", lambda v: cube(v, gap=np.nan).assign(SCL=(("y", "x"), np.full((SIZE, SIZE), 4, "uint8")))
    ),
    # Containers
    Disguise("an array of bands", lambda v: stacked(v, list(ROLES))),
    Disguise("object labels", lambda v: stacked(v, np.array(ROLES, object))),
    Disguise("a categorical index", lambda v: stacked(v, pd.CategoricalIndex(ROLES))),
    Disguise("a dimension called variable", lambda v: stacked(v, list(ROLES), "variable")),
    Disguise("wavelengths in nm", lambda v: wavelengths(v, CENTRES, "nm", 60.0)),
    Disguise("wavelengths in µm", lambda v: wavelengths(v, [c / 1000 for c in CENTRES], "um", 0.06)),
    Disguise("x before y", lambda v: cube(v, gap=np.nan).transpose("x", "y")),
    Disguise("a band dimension of one", lambda v: cube(v, gap=np.nan).expand_dims(band=[1])),
    Disguise("two dates", dated),
    Disguise("two dates, time last", lambda v: dated(v, dims=("y", "x", "time"))),
    Disguise("rows and columns", lambda v: cube(v, gap=np.nan).rename(y="lat", x="lon").drop_vars(["lat", "lon"])),
    Disguise("no coordinates", lambda v: cube(v, gap=np.nan).drop_vars(["y", "x"])),
    # Coordinates
    Disguise("kilometres beside a CRS in metres", kilometres),
    Disguise("kilometres without units", kilometres_unsaid),
    Disguise("degrees at 60° north", degrees),
    Disguise("a CRS as EPSG text", lambda v: with_crs(v, spatial_ref="EPSG:32632")),
    Disguise("a CRS nobody can read", lambda v: with_crs(v, crs_wkt="nonsense")),
    Disguise("an unknown grid mapping", lambda v: with_crs(v, grid_mapping_name="of my own")),
    # Chunks
    Disguise("dask, odd chunks", lambda v: cube(v, gap=np.nan).chunk(y=77, x=(100, 3, 153))),
    Disguise(
        "dask, every band its own", lambda v: cube(v, gap=np.nan).assign(blue=cube(v, gap=np.nan).blue.chunk(y=31))
    ),
    Disguise("dask, undeclared 65535", lambda v: numbers(v, "uint16", 65535).chunk(y=50, x=61), DN),
    # What cannot be
    Disguise("numbers without a scale", lambda v: numbers(v, "uint16", 0), LEVEL, outcome=ERROR),
    Disguise("numbers as floats", lambda v: numbers(v, "float32", 0), LEVEL, outcome=ERROR),
    Disguise("percent without units", lambda v: cube(v * 100, gap=np.nan), LEVEL, outcome=ERROR),
    Disguise("8-bit numbers with 1e-4", lambda v: numbers(v, "uint8", 0, 1 / 255), DN, outcome=ERROR),
    Disguise("scaled twice", lambda v: cube(v * 1e-4, gap=np.nan), LEVEL, outcome=ERROR),
    Disguise("offset twice", lambda v: cube(v - 0.3, gap=np.nan), LEVEL, outcome=ERROR),
    Disguise(
        "stale percent", lambda v: each(cube(v, gap=np.nan), lambda b: b.assign_attrs(units="%")), LEVEL, outcome=ERROR
    ),
    Disguise(
        "stale scale_factor",
        lambda v: each(cube(v, gap=np.nan), lambda b: b.assign_attrs(scale_factor=1e-4)),
        LEVEL,
        outcome=ERROR,
    ),
    Disguise(
        "radiance",
        lambda v: each(cube(v * 100, gap=np.nan), lambda b: b.assign_attrs(units="W m-2 sr-1 um-1")),
        LEVEL,
        outcome=ERROR,
    ),
    Disguise("level unknown", lambda v: cube(v, gap=np.nan), {}, outcome=ERROR),
    Disguise("names of nobody", lambda v: renamed(v, LAYERS), LEVEL, outcome=ERROR),
)
