"""Every reader."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import rioxarray  # noqa: F401 - registers .rio

from fuzz import cubes, files, items, masks, networks, paths
from fuzz.base import Target, Try


def targets() -> Iterator[Target]:
    """Yield every reader."""
    for level in ("L1C", "L2A"):
        yield Target(f"SAFE {level}", 4, partial(files.safe, level=level))
    for kind, level in (("txt", "L2"), ("xml", "L1"), ("json", "L2"), ("json", "L1")):
        yield Target(f"Landsat {level} {kind}", 4, partial(files.landsat, kind=kind, level=level))
    yield Target("CBERS folder", 3, files.cbers)
    yield Target("CBERS XML", 80, files.cbers_bytes)
    for version in (2, 3):
        yield Target(f"Zarr {version}", 6, partial(files.zarr, version=version))
    yield Target("netCDF bytes", 4, partial(files.netcdf, suffix=".nc"))
    yield Target("netCDF attributes", 5, files.netcdf_attributes)
    yield Target("HDF bytes", 3, partial(files.netcdf, suffix=".h5"))
    yield Target("ENVI header", 6, files.envi)
    yield Target("GeoTIFF", 6, files.geotiff)
    yield Target("VRT", 5, files.vrt)
    yield Target("paths", 8, paths.paths)
    yield Target("mask attributes", 30, masks.mask_attributes)
    for suffix in (".tif", ".nc", ".zarr"):
        yield Target(f"mask {suffix}", 3, partial(masks.mask_file, suffix=suffix))
    yield Target("mask tags", 3, masks.mask_tags)
    for use, share in (("load", 10), ("attach", 14), ("screen", 2)):
        yield Target(f"items {use}", share, partial(items.items, use=use))
    yield Target("search answers", 5, items.answers)
    yield Target("ONNX", 6, networks.onnx)
    yield Target("safetensors", 40, networks.safetensors)
    yield Target("checkpoint", 40, networks.checkpoint)
    yield Target("manifest", 40, networks.manifest)
    yield Target("recipe", 60, networks.recipe)
    yield Target("entry points", 6, networks.entry_points)
    yield Target("labelled patches", 60, networks.patches)
    yield Target("cubes", 16, cubes.cubes)
    yield Target("keywords", 8, cubes.told)


def prepared(target: Target, folder: Path) -> Try:
    """Make what a target mutates in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return target.prepare(folder)
