"""Cubes in memory with attributes, coordinates and keywords of any type."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

import xr_cloudmask
from fuzz.base import Try, described, small_cube
from fuzz.mutations import VALUES

BAND_ATTRS = (
    "scale_factor",
    "add_offset",
    "_FillValue",
    "nodata",
    "missing_value",
    "valid_range",
    "valid_min",
    "units",
    "long_name",
    "standard_name",
    "wavelength",
    "wavelengths",
    "fwhm",
    "bandwidth",
    "wavelength_units",
    "center_wavelength",
    "common_name",
    "full_width_half_max",
    "bbl",
    "good_wavelengths",
    "eo:bands",
    "raster:bands",
    "bands",
    "grid_mapping",
    "scales",
    "offsets",
    "nodatavals",
    "level",
    "reflectance_scale_factor",
    "name",
    "min_wavelength",
    "max_wavelength",
    "calibration",
    "color",
)
CUBE_ATTRS = (
    *BAND_ATTRS,
    "platform",
    "constellation",
    "instruments",
    "processing:level",
    "s2:processing_baseline",
    "sensor",
    "epsg",
    "proj:epsg",
    "proj:code",
    "proj:transform",
    "proj:shape",
    "spatial:transform",
    "transform",
    "crs",
    "spatial_ref",
    "view:sun_elevation",
    "view:sun_azimuth",
    "sun_elevation",
    "id",
    "collection",
    "datetime",
    "stac_item",
    "stac_discovery",
    "other_metadata",
    "BOA_ADD_OFFSET",
    "earthsearch:boa_offset_applied",
    "product_id",
    "reflectance_provenance",
    "reflectance_of_zero",
    "radiance_notes",
    "calibration_coefficient:red",
    "scale_factor:red",
    "title",
    "reader",
    "res",
)
COORDS = ("crs_wkt", "grid_mapping_name", "spatial_ref", "GeoTransform", "units", "axis", "standard_name", "resolution")


def cubes(folder: Path) -> Try:
    """Cubes in memory whose attributes are of odd types."""
    cube = small_cube()
    plain = cube.assign({name: (cube[name] * 1e-4).astype("float32") for name in cube.data_vars})
    array = cube.to_dataarray("band")

    def attempt(random: Random) -> None:
        odd = random.choice((cube, plain, array, cube.chunk(), cube.isel(time=0))).copy()
        bands = [odd] if isinstance(odd, xr.DataArray) else list(odd.values())
        for _ in range(random.choice((1, 1, 2, 5))):
            how = random.random()
            if how < 0.4:
                random.choice(bands).attrs[random.choice(BAND_ATTRS)] = random.choice(VALUES)
            elif how < 0.7:
                odd.attrs[random.choice(CUBE_ATTRS)] = random.choice(VALUES)
            elif how < 0.8:
                random.choice(bands).encoding[random.choice(BAND_ATTRS)] = random.choice(VALUES)
            elif how < 0.9:
                odd[random.choice(("spatial_ref", "x", "y", "time"))].attrs[random.choice(COORDS)] = random.choice(
                    VALUES
                )
            else:
                odd = with_coordinate(random, odd)
                bands = [odd] if isinstance(odd, xr.DataArray) else list(odd.values())
        used = random.choice(
            (
                lambda: described(odd),
                lambda: odd.cloudmask.predict("physical", resolution="native"),
                odd.cloudmask.predict,
                odd.cloudmask.reflectance,
                odd.cloudmask.descriptors,
                lambda: odd.cloudmask.predict("universal", precision="fp32"),
                lambda: odd.cloudmask.composite("median", mask=False),
            )
        )
        used()

    return attempt


def with_coordinate(random: Random, odd: Any) -> Any:
    """Return a cube with a coordinate of any kind, where xarray takes it."""
    name, value = random.choice(CUBE_ATTRS), random.choice(VALUES)
    try:
        if random.random() < 0.5 or "time" not in odd.dims:
            return odd.assign_coords({name: value})
        column = np.empty(odd.sizes["time"], object)
        column[:] = [value] * len(column)
        return odd.assign_coords({name: ("time", column)})
    except Exception:  # xarray itself refuses it
        return odd


def told(folder: Path) -> Try:
    """Keywords of the wrong type."""
    from inspect import signature

    cube = small_cube()
    keywords = [name for name in signature(xr_cloudmask.predict).parameters if name not in ("cube",)]

    def attempt(random: Random) -> None:
        given = {name: random.choice(VALUES) for name in random.sample(keywords, random.choice((1, 1, 2)))}
        given.pop("cache", None)
        cube.cloudmask.predict(**{"model": "physical", "resolution": "native"} | given)

    return attempt
