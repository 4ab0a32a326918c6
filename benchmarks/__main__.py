"""Run every benchmark, each in a process of its own, and print one table.

``python -m benchmarks`` runs all of them, ``python -m benchmarks speed`` one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROLES = ("blue", "green", "red", "nir", "swir16", "swir22")
LABELLED = Path(__file__).parents[2] / "shared/data/sentinel2_l1c_labelled.npz"


def row(name: str, figure: str) -> None:
    """Print one line of the table."""
    print(f"| {name} | {figure} |", flush=True)


def scene(size: int, bands: int) -> np.ndarray:
    """Return smooth reflectance ``(band, y, x)``: what it shows does not matter for speed."""
    random = np.random.default_rng(0)
    coarse = random.random((bands, size // 16 + 1, size // 16 + 1), dtype="float32") * 0.6
    return coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :size, :size]


def seconds(function: Callable[[], object], runs: int) -> float:
    """Return the median duration."""
    durations = []
    for _ in range(runs):
        begin = time.perf_counter()
        function()
        durations.append(time.perf_counter() - begin)
    return float(np.median(durations))


def peak_gigabytes() -> float:
    """Return the largest resident memory of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def speed() -> None:
    """2048 × 2048 × 6 float32 at native resolution: ours, the CSmask class, its bare network on the same windows."""
    import xarray as xr
    from ukis_csmask.mask import CSmask

    import xr_cloudmask
    from xr_cloudmask.engine.lattice import fit
    from xr_cloudmask.models import registry
    from xr_cloudmask.models.csmask import SPECS

    size = 2048
    pixels = scene(size, 6)
    cube = xr.Dataset({r: (("y", "x"), p) for r, p in zip(ROLES, pixels, strict=True)}, attrs={"level": "TOA"})
    chunked = cube.chunk(y=1024, x=1024)
    image = np.moveaxis(pixels, 0, -1)
    axis = fit(size, SPECS[0].window, SPECS[0].halo, SPECS[0].multiple)
    session = registry.load(SPECS[0])._session
    window = np.zeros((1, 6, axis.window, axis.window), "float32")

    def ours() -> object:
        return xr_cloudmask.predict(cube, resolution="native")

    def ours_on_dask() -> object:
        return xr_cloudmask.predict(chunked, resolution="native").compute()

    def bare() -> object:
        return [session.run(None, {"input": window}) for _ in range(len(axis) ** 2)]

    def peer() -> object:
        return CSmask(image.copy(), list(ROLES), product_level="l1c", batch_size=4).csm

    ours(), bare()
    # In turns, so that a machine whose speed drifts treats all alike.
    turns = [[seconds(function, 1) for function in (ours, ours_on_dask, bare)] for _ in range(5)]
    mine, lazy, network = np.median(turns, axis=0)
    other = seconds(peer, 2)
    megapixels = size * size / 1e6
    row("CSmask class, 2048² × 6, batch 4", f"{megapixels / other:.2f} megapixels/s ({other:.1f} s)")
    row("xr_cloudmask, NumPy", f"{megapixels / mine:.2f} megapixels/s ({mine:.1f} s), {other / mine:.1f} × CSmask")
    row("xr_cloudmask, dask 1024² chunks", f"{megapixels / lazy:.2f} megapixels/s, {other / lazy:.1f} × CSmask")
    row(
        f"bare network on the same {len(axis) ** 2} windows of {axis.window}²",
        f"{network:.1f} s; xr_cloudmask reaches {network / mine:.0%} (NumPy), {network / lazy:.0%} (dask) of it",
    )


def tile() -> None:
    """A Sentinel-2 tile of 10980² × 6 uint16, Zarr to Zarr, at resolution='auto'."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks", "_write_tile", folder], check=True)
        subprocess.run([sys.executable, "-m", "benchmarks", "_predict_tile", folder], check=True)


def _write_tile(folder: str) -> None:
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


def _predict_tile(folder: str) -> None:
    import xarray as xr

    import xr_cloudmask  # noqa: F401 - registers .cloudmask

    begin = time.perf_counter()
    cube = xr.open_zarr(Path(folder) / "cube.zarr", chunks={})
    mask = cube.cloudmask.predict()
    mask.drop_encoding().to_zarr(Path(folder) / "mask.zarr", zarr_format=2)
    duration = time.perf_counter() - begin
    row(
        f"Sentinel-2 tile, 10980² × 6 uint16, Zarr → Zarr, {mask['cloudmask'].attrs['resolution']}",
        f"{duration:.1f} s, peak memory {peak_gigabytes():.2f} GB",
    )


def graph() -> None:
    """Build a year of one tile lazily: 365 dates × 10980² × 6 bands in chunks of 2048."""
    import dask.array as da
    import xarray as xr

    import xr_cloudmask

    source = da.zeros((365, 10980, 10980), chunks=(1, 2048, 2048), dtype="float32")
    bands = {role: (("time", "y", "x"), source + i) for i, role in enumerate(ROLES)}
    cube = xr.Dataset(bands, attrs={"level": "TOA"})
    begin = time.perf_counter()
    out = xr_cloudmask.predict(cube, resolution="native")
    duration = time.perf_counter() - begin
    chunks = out["cloudmask"].data.npartitions
    mask_only = len(out["cloudmask"].data.dask) - sum(len(cube[r].data.dask) for r in ROLES) + 5 * len(source.dask)
    everything = len(out.__dask_graph__()) - sum(len(cube[r].data.dask) for r in ROLES) + 5 * len(source.dask)
    row("graph of 365 dates × 10980² × 6, chunks of 2048", f"{duration:.1f} s to build, {chunks} output chunks")
    row("tasks per output chunk", f"{mask_only / chunks:.2f} for the mask, {everything / chunks:.2f} with coverage")


def imports() -> None:
    """Import time beyond xarray's own."""

    def time_of(statement: str) -> float:
        code = f"import time; import xarray; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
        return float(np.median(runs))

    row("import xr_cloudmask, beyond xarray", f"{time_of('import xr_cloudmask'):.2f} s")


def accuracy() -> None:
    """Cohen's kappa over clear, cloud and shadow on the labelled Sentinel-2 patch."""
    import xarray as xr
    from ukis_csmask.mask import CSmask

    import xr_cloudmask

    if not LABELLED.exists():
        row("accuracy", "not measured: ../shared/data/sentinel2_l1c_labelled.npz is absent")
        return
    with np.load(LABELLED) as data:
        img, codes = data["img"], data["msk"][..., 0]
    truth = np.select([codes == 4, codes == 0], [1, 2], 0)
    for bands in (6, 4):
        part = np.ascontiguousarray(img[..., :bands])
        cube = xr.Dataset({r: (("y", "x"), part[..., i]) for i, r in enumerate(ROLES[:bands])})
        ours = xr_cloudmask.predict(cube, level="TOA", scheme="native", resolution="native")["cloudmask"].values
        peer = CSmask(part.copy(), list(ROLES[:bands]), product_level="l1c", batch_size=4).csm[..., 0]
        row(f"real Sentinel-2 patch, {bands} bands, xr_cloudmask", scores(truth, ours))
        row(f"real Sentinel-2 patch, {bands} bands, CSmask class", scores(truth, peer))


def scores(truth: np.ndarray, labels: np.ndarray) -> str:
    """Return kappa and the intersection over union of cloud and shadow, in words."""
    table = np.histogram2d(truth.ravel(), labels.ravel(), bins=3, range=((0, 3), (0, 3)))[0] / truth.size
    chance = (table.sum(axis=0) * table.sum(axis=1)).sum()
    kappa = (np.trace(table) - chance) / (1 - chance)
    iou = np.diag(table) / (table.sum(axis=0) + table.sum(axis=1) - np.diag(table))
    return f"kappa {kappa:.3f}, IoU cloud {iou[1]:.3f}, shadow {iou[2]:.3f}"


BENCHMARKS = (imports, graph, speed, tile, accuracy)


def main(arguments: list[str]) -> None:
    """Run one benchmark here, or all of them in processes of their own."""
    if arguments:
        globals()[arguments[0]](*arguments[1:])
        return
    print(f"{os.cpu_count()} cores\n\n| what | figure |\n| --- | --- |", flush=True)
    for benchmark in BENCHMARKS:
        subprocess.run([sys.executable, "-m", "benchmarks", benchmark.__name__], check=True)


main(sys.argv[1:])
