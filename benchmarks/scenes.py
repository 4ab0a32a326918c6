"""4-4A beside the notebook's code, and on a scene that fits no memory."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import part, peak_gigabytes, row, seconds
from benchmarks.notebook import NOTEBOOK, as_cube, notebook_mask, wpm_scene

MEGAPIXEL_SCENE, LARGE_SCENE = 4000, 14000


def scenes() -> None:
    """4-4A and the notebook's code on 4000² uint16, in turns; memory of each in a process of its own; 14,000² Zarr."""
    import xr_cloudmask

    if not NOTEBOOK.exists():
        row("4-4A", "not measured: the notebook is absent from ../shared")
        return
    bands = wpm_scene(MEGAPIXEL_SCENE)
    cube = as_cube(bands)
    chunked = cube.chunk(y=1000, x=1000)
    runs = {
        "the notebook's code": lambda: notebook_mask(bands),
        "4-4A, NumPy": lambda: xr_cloudmask.predict(cube, "4-4A", scheme="4-4A")["cloud_mask"].values,
        "4-4A, dask 1000² chunks": lambda: xr_cloudmask.predict(chunked, "4-4A", scheme="4-4A")["cloud_mask"].values,
    }
    masks = {name: function() for name, function in runs.items()}
    equal = [float(np.mean(mask == masks["the notebook's code"])) for mask in masks.values()]
    durations = dict(
        zip(runs, np.median([[seconds(f, 1) for f in runs.values()] for _ in range(5)], axis=0), strict=True)
    )
    other, megapixels = durations["the notebook's code"], MEGAPIXEL_SCENE**2 / 1e6
    for (name, own), share in zip(durations.items(), equal, strict=True):
        memory = part(print_memory, name)
        row(
            f"{name}, {MEGAPIXEL_SCENE}² × 4 uint16",
            f"{own:.2f} s, {megapixels / own:.1f} megapixels/s, {other / own:.1f} × the notebook, "
            f"{share:.4%} of pixels equal, {float(memory):.1f} bytes of working memory a pixel",
        )
    row("load of the machine meanwhile", f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        part(write, folder)
        print(part(mask, folder), end="", flush=True)


def print_memory(name: str) -> None:
    """Print bytes a pixel at the peak, beyond the bands and what a small scene needs."""
    import xr_cloudmask

    def run(bands: list[np.ndarray]) -> object:
        if name == "the notebook's code":
            return notebook_mask(bands)
        cube = as_cube(bands)
        cube = cube if "NumPy" in name else cube.chunk(y=1000, x=1000)
        return xr_cloudmask.predict(cube, "4-4A", scheme="4-4A")["cloud_mask"].values

    run(wpm_scene(200))  # imports and compiles
    bands = wpm_scene(MEGAPIXEL_SCENE)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_gigabytes()
    run(bands)
    print((peak_gigabytes() - before) * 1e9 / MEGAPIXEL_SCENE**2)


def write(folder: str) -> None:
    """Write a large scene."""
    import xarray as xr

    path, step = Path(folder) / "scene.zarr", 2000
    for begin in range(0, LARGE_SCENE, step):
        strip = as_cube(wpm_scene(LARGE_SCENE, slice(begin, begin + step))).chunk(y=2000, x=2000)
        if begin == 0:
            xr.zeros_like(strip.isel(y=[0] * LARGE_SCENE)).chunk(y=2000, x=2000).to_zarr(
                path, compute=False, zarr_format=2
            )
        strip.to_zarr(path, region={"y": slice(begin, begin + step)})


def mask(folder: str) -> None:
    """Read it, and write its mask."""
    import xarray as xr

    import xr_cloudmask  # noqa: F401 - registers .cloudmask

    begin = time.perf_counter()
    cube = xr.open_zarr(Path(folder) / "scene.zarr", chunks={})
    cube.cloudmask.predict("4-4A").drop_encoding().to_zarr(Path(folder) / "mask.zarr", zarr_format=2)
    row(
        f"4-4A, {LARGE_SCENE}² × 4 uint16, Zarr → Zarr",
        f"{time.perf_counter() - begin:.1f} s, peak memory {peak_gigabytes():.2f} GB",
    )
