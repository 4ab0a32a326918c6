"""A Sentinel-2 tile from Zarr to Zarr."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import part, peak_gigabytes, row, scene


def tile() -> None:
    """A Sentinel-2 tile of 10980² × 6 uint16, Zarr to Zarr, at resolution='auto'."""
    with tempfile.TemporaryDirectory() as folder:
        part(write, folder)
        for model in ("csmask", "universal"):
            print(part(mask, folder, model), end="", flush=True)


def write(folder: str) -> None:
    """Write the tile."""
    import xarray as xr

    size = 10980
    numbers = (scene(size, 6) * 10000 + 1000).astype("uint16")
    steps = np.arange(size) * 10.0
    bands = dict(zip(("B02", "B03", "B04", "B08", "B11", "B12"), numbers, strict=True))
    cube = xr.Dataset({b: (("y", "x"), n) for b, n in bands.items()}, coords={"y": 9e6 - steps, "x": 3e5 + steps})
    cube.attrs = {
        "platform": "sentinel-2a",
        "processing:level": "L1C",
        "s2:processing_baseline": "05.10",
        "epsg": 32722,
    }
    cube.chunk(y=2048, x=2048).to_zarr(Path(folder) / "cube.zarr", mode="w", zarr_format=2)


def mask(folder: str, model: str) -> None:
    """Read the tile, and write its mask."""
    import xarray as xr

    import xr_cloudmask  # noqa: F401 - registers .cloudmask

    begin = time.perf_counter()
    cube = xr.open_zarr(Path(folder) / "cube.zarr", chunks={})
    found = cube.cloudmask.predict(model)
    found.drop_encoding().to_zarr(Path(folder) / f"{model}.zarr", zarr_format=2)
    duration = time.perf_counter() - begin
    row(
        f"Sentinel-2 tile, 10980² × 6 uint16, Zarr → Zarr, {model}, {found['cloud_mask'].attrs['resolution']}",
        f"{duration:.1f} s, peak memory {peak_gigabytes():.2f} GB",
    )
