"""Rasters through GDAL: a multi-band file or a file per band, on one grid."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import xarray as xr

from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.errors import FileError, first_cause

CHUNK = 2048  # pixels: a multiple of the tile sizes in use, and 8 MiB of uint16
GDAL_CACHE = 256  # MiB of raster blocks, which are read once: GDAL would take a twentieth of the machine's memory
GRID_TOLERANCE = 1e-3  # pixels
# What bands without names may be, as an example to type.
RGB, SIX = ("red", "green", "blue"), ("blue", "green", "red", "nir", "swir16", "swir22")


def read(paths: Sequence[Path], bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    """Open rasters as one cube; dataset tags become its attrs."""
    opened = open_each(paths, chunks)
    arrays = [array for dataset in opened for array in dataset.values()]
    found = zip(opened, paths, strict=True)
    names = _given(bands, len(arrays)) if bands else [name for entry in found for name in _names(*entry)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        before = [names[:i].count(name) for i, name in enumerate(names)]
        distinct = [f"{name}_{count + 1}" if count else name for name, count in zip(names, before, strict=True)]
        raise FileError(f"bands {names}, of which {repeated} repeat", "a name per band", f"bands={distinct}, in order")
    cube = one_grid(dict(zip(names, arrays, strict=True)))
    return cube.assign_attrs(opened[0].attrs) if len(opened) == 1 else cube


def open_bands(files: Mapping[str, Path], chunks: int) -> xr.Dataset:
    """Open single-band files by band name, on the grid of the finest."""
    opened = open_each(tuple(files.values()), chunks)
    return one_grid({name: next(iter(dataset.values())) for name, dataset in zip(files, opened, strict=True)})


def open_each(paths: Sequence[Path], chunks: int) -> list[xr.Dataset]:
    """Open rasters, each on its own grid, a variable per band."""
    sizes = [_probe(path) for path in paths]
    # A coarse band's chunk covers the ground of a fine band's chunk, so that one read serves one output chunk.
    return [_open(path, max(1, round(chunks * min(sizes) / size))) for path, size in zip(paths, sizes, strict=True)]


def _probe(path: Path) -> float:
    """Return the pixel size of a raster whose last pixel can be read: a truncated download is told at once."""
    import rasterio
    from rasterio.windows import Window

    with _readable(path), rasterio.open(path) as source:
        source.read(source.count, window=Window(source.width - 1, source.height - 1, 1, 1))
        return float(abs(source.res[0]))


def _open(path: Path, chunks: int) -> xr.Dataset:
    import rioxarray

    with _readable(path):
        # No lock: every thread reads through its own handle.
        dataset = rioxarray.open_rasterio(
            path, chunks={"y": chunks, "x": chunks}, mask_and_scale=False, band_as_variable=True, lock=False
        )
    if not isinstance(dataset, xr.Dataset):
        raise FileError(
            f"{str(path)!r}, which holds several rasters",
            "a raster of bands on one grid",
            f"gdalinfo {path} lists its subdatasets: gdal_translate the ones to use",
        )
    for array in dataset.values():
        _drop_undeclared(array.attrs)
    squeezed = [dim for dim in ("y", "x") if dim not in dataset.dims]  # rioxarray does where there is a single pixel
    return dataset.expand_dims(squeezed).transpose("y", "x")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn GDAL's complaint about a file into a FileError."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"{str(path)!r}, which GDAL cannot read: {first_cause(error)}",
            "an intact raster in a format that GDAL reads (GeoTIFF, COG, JPEG 2000, VRT …)",
            f"gdalinfo {path}; download or copy the file again if it is damaged",
        ) from error


def _drop_undeclared(attrs: dict[str, Any]) -> None:
    """Drop scale 1 and offset 0: GDAL says so where a file says nothing."""
    if attrs.get("scale_factor") == 1 and attrs.get("add_offset") == 0:
        del attrs["scale_factor"], attrs["add_offset"]


def _given(bands: Sequence[str], count: int) -> list[str]:
    if len(bands) != count:
        names = [*bands[:count], *(f"band_{i + 1}" for i in range(len(bands), count))]
        raise FileError(
            f"{len(bands)} names for {count} bands", "a name per band, in the files' order", f"bands={names}"
        )
    return list(bands)


def _names(dataset: xr.Dataset, path: Path) -> list[str]:
    described = [str(array.attrs.get("long_name", "")) for array in dataset.values()]
    if all(described):
        return described
    if len(described) == 1:
        return [name_in(path.stem)]
    raise FileError(
        f"{path.name} with {len(described)} bands that have no descriptions",
        "a description per band that says which band it is: 'blue', 'B02', 'SR_B2' …",
        f"name them in order, such as bands={_example(len(described))}",
    )


def _example(count: int) -> list[str]:
    names = RGB if count == len(RGB) else SIX
    return [*names[:count], *(f"band_{i + 1}" for i in range(len(names), count))]


def name_in(stem: str) -> str:
    """Return the last part of a file name that a sensor table knows as a band, else the whole name.

    Examples
    --------
    >>> name_in("T32TQM_20220811T101559_B8A_20m"), name_in("LC09_L2SP_193028_SR_B4"), name_in("my_field")
    ('B8A_20m', 'SR_B4', 'my_field')
    """
    parts = re.split(r"[_.\- ]", stem)
    spans = [(end, start) for end in range(len(parts), 0, -1) for start in range(end)]  # last and longest first
    candidates = ("_".join(parts[start:end]) for end, start in spans)
    known = _known_names()
    found = (known.get(name, known.get(name.lower())) for name in candidates)
    return next((name for name in found if name is not None), stem)


@cache
def _known_names() -> Mapping[str, str]:
    """Return every name of a band or quality band in the sensor tables, by itself and by its lower case."""
    tables = sensors().values()
    names = {name for table in tables for band in table.bands for name in band.names}.union(
        *(t.quality for t in tables)
    )
    return {name.lower(): name for name in sorted(names)} | {name: name for name in names}


def one_grid(bands: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Bring bands to the grid of the finest by repeating the pixels of coarser ones; lazy.

    Raises
    ------
    FileError
        A band's pixels do not divide evenly into the finest band's, or it covers other ground.
    """
    finest = min(bands.values(), key=lambda band: abs(band.rio.resolution()[0]))
    return xr.Dataset({name: _refined(name, band, finest) for name, band in bands.items()})


def _refined(name: str, band: xr.DataArray, finest: xr.DataArray) -> xr.DataArray:
    import dask.array as da
    import numpy as np

    factor = finest.sizes["y"] // band.sizes["y"]
    pixel = abs(finest.rio.resolution()[0])
    same_ground = np.allclose(band.rio.bounds(), finest.rio.bounds(), rtol=0, atol=GRID_TOLERANCE * pixel)
    whole = all(band.sizes[dim] * factor == finest.sizes[dim] for dim in ("y", "x"))
    if not (same_ground and whole and band.rio.crs == finest.rio.crs):
        raise FileError(
            f"band {name!r} on another grid: {_grid(band)} beside {_grid(finest)}",
            "bands of one area and CRS, whose pixel sizes are the same or whole multiples",
            "bring them to one grid: gdalwarp -t_srs … -te … -tr …, or band.rio.reproject_match(other)",
        )
    if factor == 1:
        return band
    data = da.repeat(da.repeat(band.data, factor, axis=0), factor, axis=1).rechunk(finest.chunks)
    return finest.copy(data=data).assign_attrs(band.attrs)


def _grid(band: xr.DataArray) -> str:
    size = " x ".join(str(band.sizes[dim]) for dim in ("y", "x"))
    west, south, east, north = band.rio.bounds()
    return f"{size} pixels of {band.rio.crs}, x {west:g} to {east:g}, y {south:g} to {north:g}"
