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
        yield Target(f"SAFE {level}", 50, partial(files.safe, level=level))
    for kind, level in (("txt", "L2"), ("xml", "L1"), ("json", "L2"), ("json", "L1")):
        yield Target(f"Landsat {level} {kind}", 70, partial(files.landsat, kind=kind, level=level))
    yield Target("CBERS folder", 40, files.cbers)
    yield Target("CBERS XML", 11500, files.cbers_bytes)
    for version in (2, 3):
        yield Target(f"Zarr {version}", 120, partial(files.zarr, version=version))
    yield Target("netCDF bytes", 100, partial(files.netcdf, suffix=".nc"))
    yield Target("netCDF attributes", 80, files.netcdf_attributes)
    yield Target("HDF bytes", 150, partial(files.netcdf, suffix=".h5"))
    yield Target("ENVI header", 50, files.envi)
    yield Target("GeoTIFF", 80, files.geotiff)
    yield Target("VRT", 60, files.vrt)
    yield Target("paths", 80, paths.paths)
    yield Target("mask attributes", 1500, masks.mask_attributes)
    for suffix in (".tif", ".nc", ".zarr"):
        yield Target(f"mask {suffix}", 50, partial(masks.mask_file, suffix=suffix))
    yield Target("mask tags", 50, masks.mask_tags)
    for use, share in (("load", 300), ("attach", 400), ("screen", 50)):
        yield Target(f"items {use}", share, partial(items.items, use=use))
    yield Target("search answers", 50, items.answers)
    yield Target("ONNX", 200, networks.onnx)
    yield Target("safetensors", 300, networks.safetensors)
    yield Target("checkpoint", 500, networks.checkpoint)
    yield Target("manifest", 500, networks.manifest)
    yield Target("recipe", 1000, networks.recipe)
    yield Target("entry points", 60, networks.entry_points)
    yield Target("labelled patches", 2000, networks.patches)
    yield Target("cubes", 200, cubes.cubes)
    yield Target("keywords", 300, cubes.told)


def prepared(target: Target, folder: Path) -> Try:
    """Make what a target mutates in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return target.prepare(folder)
