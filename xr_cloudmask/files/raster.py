"""Rasters through GDAL: a multi-band file or a file per band, on one grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xarray as xr

from xr_cloudmask.errors import FileError
from xr_cloudmask.files.colours import is_alpha, is_quality, names_of, require_light
from xr_cloudmask.files.hidden import hidden_by_alpha, hidden_by_mask, without
from xr_cloudmask.files.said import Said, probe, readable, several

CHUNK = 2048  # pixels: a multiple of the tile sizes in use, and 8 MiB of uint16
GDAL_CACHE = 256  # MiB of raster blocks, which are read once: GDAL would take a twentieth of the machine's memory
GRID_TOLERANCE = 1e-3  # pixels
WAVELENGTHS = ("wavelength", "fwhm", "wavelength_units")


@dataclass(frozen=True)
class Raster:
    """An opened file: what it says of itself, its bands as they are, and which of them are alpha."""

    said: Said
    bands: tuple[xr.DataArray, ...]
    alpha: frozenset[int]
    attrs: dict[str, Any]

    @property
    def shown(self) -> list[int]:
        """Positions of the bands that are not alpha."""
        return [i for i in range(len(self.bands)) if i not in self.alpha]

    def band(self, i: int, name: str) -> xr.DataArray:
        """Return a band with no data where a mask or alpha hides pixels; quality bands stay as they are."""
        require_light(self.said.path, self.said.bands[i], name)
        if is_quality(name):
            return self.bands[i]
        transparent = [hidden_by_alpha(self.bands[position]) for position in sorted(self.alpha)]
        return without(self.bands[i], [*transparent, *hidden_by_mask(self.said, i, self.bands[i])])


def read(paths: Sequence[Path], bands: Sequence[str] | None, chunks: int) -> xr.Dataset:
    """Open rasters as one cube; dataset tags become its attrs."""
    opened = open_each(paths, chunks)
    if bands is not None and len(bands) == sum(len(one.bands) for one in opened):
        # Who names every band, alpha too, says that what GDAL takes for alpha is none.
        opened = [replace(one, alpha=frozenset()) for one in opened]
    shown = [(one, i) for one in opened for i in one.shown]
    names = _distinct(_given(bands, len(shown)) if bands else [name for one in opened for name in _names(one)])
    cube = one_grid({name: one.band(i, name) for name, (one, i) in zip(names, shown, strict=True)})
    return cube.assign_attrs(opened[0].attrs) if len(opened) == 1 else cube


def open_bands(files: Mapping[str, Path], chunks: int) -> xr.Dataset:
    """Open single-band files by band name, on the grid of the finest."""
    opened = open_each(tuple(files.values()), chunks)
    return one_grid({name: one.band(0, name) for name, one in zip(files, opened, strict=True)})


def open_each(paths: Sequence[Path], chunks: int) -> list[Raster]:
    """Open rasters, each on its own grid."""
    said = [probe(path) for path in paths]
    finest = min(one.pixel for one in said)
    # A coarse band's chunk covers the ground of a fine band's chunk, so that one read serves one output chunk.
    return [_open(one, max(1, round(chunks * finest / one.pixel))) for one in said]


def _open(said: Said, chunks: int) -> Raster:
    import rioxarray

    with readable(said.path):
        # No lock: every thread reads through its own handle.
        dataset = rioxarray.open_rasterio(
            said.path, chunks={"y": chunks, "x": chunks}, mask_and_scale=False, band_as_variable=True, lock=False
        )
    if not isinstance(dataset, xr.Dataset):
        raise several(said.path)
    for array, band in zip(dataset.values(), said.bands, strict=True):
        _drop_undeclared(array.attrs)
        array.attrs = band.attrs | array.attrs | {key: band.attrs[key] for key in WAVELENGTHS if key in band.attrs}
    squeezed = [dim for dim in ("y", "x") if dim not in dataset.dims]  # rioxarray does where there is a single pixel
    dataset = dataset.expand_dims(squeezed).transpose("y", "x")
    alpha = frozenset(i for i, band in enumerate(said.bands) if is_alpha(band))
    return Raster(said, tuple(dataset.values()), alpha, dict(dataset.attrs))


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


def _names(one: Raster) -> list[str]:
    if not one.shown:
        raise FileError(f"{one.said.path.name} with nothing but alpha", "bands of light", "bands=['red'] if it is one")
    return names_of(one.said.path, [one.said.bands[i] for i in one.shown])


def _distinct(names: list[str]) -> list[str]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        before = [names[:i].count(name) for i, name in enumerate(names)]
        distinct = [f"{name}_{count + 1}" if count else name for name, count in zip(names, before, strict=True)]
        raise FileError(f"bands {names}, of which {repeated} repeat", "a name per band", f"bands={distinct}, in order")
    return names


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
    refined = finest.copy(data=data)
    refined.attrs = dict(band.attrs)
    return refined


def _grid(band: xr.DataArray) -> str:
    size = " x ".join(str(band.sizes[dim]) for dim in ("y", "x"))
    west, south, east, north = band.rio.bounds()
    return f"{size} pixels of {band.rio.crs}, x {west:g} to {east:g}, y {south:g} to {north:g}"
