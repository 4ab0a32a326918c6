"""Speed of a mask beside its peer, of its graph, and of the import."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from benchmarks.common import ROLES, row, scene, seconds


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
    chunks = out["cloud_mask"].data.npartitions
    mask_only = len(out["cloud_mask"].data.dask) - sum(len(cube[r].data.dask) for r in ROLES) + 5 * len(source.dask)
    everything = len(out.__dask_graph__()) - sum(len(cube[r].data.dask) for r in ROLES) + 5 * len(source.dask)
    row("graph of 365 dates × 10980² × 6, chunks of 2048", f"{duration:.1f} s to build, {chunks} output chunks")
    row("tasks per output chunk", f"{mask_only / chunks:.2f} for the mask, {everything / chunks:.2f} with coverage")
    for dates in (92, 183, 365, 730):
        long = xr.Dataset(
            {
                role: (("time", "y", "x"), da.zeros((dates, 10980, 10980), dtype="uint16", chunks=(1, 2048, 2048)))
                for role in ROLES
            },
            {"time": np.datetime64("2015-06-23", "ns") + np.arange(dates) * np.timedelta64(5, "D")},
            {"platform": "sentinel-2a", "processing:level": "L1C", "s2:processing_baseline": "05.10", "epsg": 32722},
        )
        begin = time.perf_counter()
        out = xr_cloudmask.predict(long, resolution="native")
        predicted = time.perf_counter() - begin
        long.cloudmask.composite("median", mask=out)
        whole = time.perf_counter() - begin
        figures = f"{predicted:.2f} s for the mask, {whole:.2f} s with a median composite"
        row(f"graph of {dates} dates of a tile", f"{figures}, {1000 * whole / dates:.1f} ms a date")


def imports() -> None:
    """Import time beyond xarray's own."""

    def time_of(statement: str) -> float:
        code = f"import time; import xarray; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
        return float(np.median(runs))

    row("import xr_cloudmask, beyond xarray", f"{time_of('import xr_cloudmask'):.2f} s")
