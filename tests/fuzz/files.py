"""Products, rasters and stores that are nearly right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import products
import rioxarray  # noqa: F401 - registers .rio

import xr_cloudmask
from fuzz.base import Try, anew, as_json, changing, described, small_cube
from fuzz.mutations import mutate_binary, mutate_bytes, mutate_xml
from xr_cloudmask import files


def safe(folder: Path, level: str) -> Try:
    product = products.make_safe(folder, level)
    names = ["B02", "B05"]
    read = partial(files.open_cube, product, bands=names)
    return changing(sorted(product.rglob("MTD_*.xml")), lambda: described(read()), mutate_xml)


def landsat(folder: Path, kind: str, level: str) -> Try:
    product = products.make_landsat(folder, level, kinds=(kind,))
    names = ["B2", "B5"] if level == "L1" else ["SR_B2", "SR_B5"]
    (metadata,) = product.glob("*_MTL.*")
    mutate = {"json": as_json, "xml": mutate_xml, "txt": mutate_bytes}[kind]
    return changing([metadata], lambda: described(files.open_cube(product, bands=names)), mutate)


def cbers(folder: Path) -> Try:
    product = products.make_cbers(folder)
    last = sorted(product.glob("*.xml"))[-1]
    return changing([last], lambda: described(files.open_cube(product)), mutate_xml)


def cbers_bytes(folder: Path) -> Try:
    contents = [products.cbers_xml(), products.cbers_xml(suns=((40.0, 30.0), (41.0, 31.0)), instrument="WFI")]
    return lambda random: xr_cloudmask.parse_cbers_metadata(mutate_xml(random, random.choice(contents)))


# Rasters and stores ---------------------------------------------------------------------------------------------------


def zarr(folder: Path, version: int) -> Try:
    store = folder / "cube.zarr"
    small_cube().to_zarr(store, zarr_format=version, consolidated=True)
    metadata = [
        path for path in store.rglob("*") if path.name in ("zarr.json", ".zattrs", ".zarray", ".zgroup", ".zmetadata")
    ]
    first = [path for path in metadata if path.parent == store] * len(metadata)  # of which all else is read
    return (
        changing([*metadata], lambda: described(files.open_cube(store)), as_json)
        if version == 2
        else changing([*metadata, *first], lambda: described(files.open_cube(store)), as_json)
    )


def netcdf(folder: Path, suffix: str) -> Try:
    path = folder / f"cube{suffix}"
    small_cube().to_netcdf(path, engine="netcdf4")
    original = path.read_bytes()

    def attempt(random: Random) -> None:
        with anew(path, mutate_binary(random, original)) as odd:
            described(files.open_cube(odd))

    return attempt


def netcdf_attributes(folder: Path) -> Try:
    """Attributes of any type and place, as other writers leave them."""
    import netCDF4

    path = folder / "cube.nc"
    small_cube().to_netcdf(path, engine="netcdf4")
    original = path.read_bytes()
    values = (
        "",
        "abc",
        "NaN",
        b"\xff",
        5,
        -1,
        1e300,
        np.nan,
        np.array([1, 2]),
        np.float32(2),
        np.array([]),
        "days since x",
    )

    def attempt(random: Random) -> None:
        with anew(path, original) as odd:
            changed(random, odd)
            described(files.open_cube(odd))

    def changed(random: Random, odd: Path) -> None:
        with netCDF4.Dataset(odd, "a") as file:
            for _ in range(random.choice((1, 1, 3))):
                place = random.choice([file, *file.variables.values()])
                name = random.choice(
                    (
                        *place.ncattrs(),
                        "scale_factor",
                        "add_offset",
                        "units",
                        "calendar",
                        "coordinates",
                        "grid_mapping",
                        "missing_value",
                        "valid_range",
                        "bounds",
                        "axis",
                        "standard_name",
                        "flag_values",
                        "dtype",
                    )
                )
                if name != "_FillValue":  # which netCDF itself guards
                    place.setncattr(name, random.choice(values))

    return attempt


def envi(folder: Path) -> Try:
    path = products.write_raster(
        folder / "cube.img", np.stack([products.numbers(16, i) for i in range(4)]), driver="ENVI"
    )
    header = path.with_suffix(".hdr")
    extra = "wavelength units = Micrometers\nwavelength = {0.49, 0.56, 0.66, 0.84}\nfwhm = {0.1, 0.1, 0.1, 0.1}\n"
    header.write_text(
        header.read_text() + extra + "bbl = {1, 1, 0, 1}\nreflectance scale factor = 10000\ndata ignore value = 0\n"
    )
    return changing([header], lambda: described(files.open_cube(path)))


def geotiff(folder: Path) -> Try:
    bands = np.stack([products.numbers(16, i) for i in range(4)])
    path = products.write_raster(folder / "cube.tif", bands, names=("blue", "green", "red", "nir"), nodata=0)
    return changing([path], lambda: described(files.open_cube(path)), mutate_binary)


def vrt(folder: Path) -> Try:
    from rasterio.shutil import copy

    bands = np.stack([products.numbers(16, i) for i in range(4)])
    path = products.write_raster(folder / "cube.tif", bands, names=("blue", "green", "red", "nir"), nodata=0)
    copy(path, folder / "cube.vrt", driver="VRT")
    return changing([folder / "cube.vrt"], lambda: described(files.open_cube(folder / "cube.vrt")), mutate_xml)
