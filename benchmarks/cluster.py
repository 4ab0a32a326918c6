"""A year's chain on a cluster of processes: Zarr → mask → filter → median → Zarr, with windows and seconds counted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import part, row, scene

DATES, SIZE, CHUNK = 24, 4096, 2048
BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
MODEL = "csmask-counted"  # as model='auto' has it, and every call is counted
ATTRS = {"platform": "sentinel-2a", "processing:level": "L1C", "s2:processing_baseline": "05.10", "epsg": 32722}


@dataclass
class Counter:
    """What the model did in a process."""

    windows: int = 0
    seconds: float = 0.0


COUNTER = Counter()


class Counted:
    """A model that counts its windows and the seconds in it."""

    def __init__(self, model: Any) -> None:
        self._model, self.batch_size = model, model.batch_size

    def probabilities(self, windows: Any, *known: Any) -> Any:
        begin = time.perf_counter()
        out = self._model.probabilities(windows, *known)
        COUNTER.seconds += time.perf_counter() - begin
        COUNTER.windows += len(windows)
        return out


def load_counted(spec: Any, device: str | None) -> Counted:
    from xr_cloudmask.models import csmask

    return Counted(csmask.load(spec, device))


def cluster() -> None:
    """A series on one and on two processes of one thread: time, windows, memory."""
    with tempfile.TemporaryDirectory() as folder:
        part(write, folder)
        for workers in ("1", "2"):
            print(part(chain, folder, workers), end="", flush=True)


def write(folder: str) -> None:
    """Write the series, date by date; every date is as dark or bright as it is cloudy."""
    import xarray as xr

    steps = np.arange(SIZE) * 10.0
    coords = {"y": 9e6 - steps, "x": 3e5 + steps}
    base = scene(SIZE, len(BANDS))
    for date in range(DATES):
        numbers = (base * (2000 + 300 * date) + 1000).astype("uint16")
        numbers += np.random.default_rng(date).integers(0, 64, numbers.shape, "uint16")  # what compresses worse
        time_of = {"time": [np.datetime64("2024-01-05", "ns") + np.timedelta64(15 * date, "D")]}
        bands = {band: (("time", "y", "x"), values[None]) for band, values in zip(BANDS, numbers, strict=True)}
        cube = xr.Dataset(bands, time_of | coords, ATTRS).chunk(time=1, y=CHUNK, x=CHUNK)
        mode: dict[str, Any] = {"append_dim": "time"} if date else {"mode": "w", "zarr_format": 2}
        cube.to_zarr(Path(folder) / "cube.zarr", consolidated=True, **mode)


def chain(folder: str, workers: str) -> None:
    """Print the figures of the chain on some workers."""
    for name, figure in report(Path(folder), int(workers)):
        row(name, figure)


def report(folder: Path, workers: int) -> Iterator[tuple[str, str]]:
    """Run the chain on single-threaded workers; yield its figures."""
    import dask
    import xarray as xr
    from distributed import Client

    from xr_cloudmask.models import csmask, registry

    registry.register_model(*(replace(spec, name=MODEL, loader=f"{__name__}:load_counted") for spec in csmask.SPECS))
    cache, out = folder / f"masks-{workers}.zarr", folder / f"composite-{workers}.zarr"
    # As the page on clusters recommends: memory that is freed is used again.
    dask.config.set({"distributed.nanny.pre-spawn-environ": {"MALLOC_MMAP_THRESHOLD_": 1 << 28}})
    with Client(n_workers=workers, threads_per_worker=1, dashboard_address=None) as client:
        client.run(_warm)
        begin = time.perf_counter()
        cube = xr.open_zarr(folder / "cube.zarr", chunks={})
        mask = cube.cloudmask.predict(MODEL, cache=cache)
        kept = cube.cloudmask.filter(max_cloud=1.0, mask=mask)
        masked = time.perf_counter() - begin
        kept.cloudmask.composite("median", mask=mask).drop_encoding().to_zarr(out, zarr_format=2)
        wall = time.perf_counter() - begin
        done = list(client.run(_count).values())
    windows, seconds = sum(one[0] for one in done), sum(one[1] for one in done)
    expected = expected_windows() * DATES
    what = f"{DATES} dates × {SIZE}² × {len(BANDS)}, {workers} process{'es' * (workers > 1)} of one thread"
    yield (
        f"{what}: predict → filter → median → Zarr",
        f"{wall:.1f} s, of it {masked:.1f} s until the filter has decided",
    )
    yield f"{what}: windows predicted, and there are", f"{windows}, {expected}"
    yield f"{what}: the chain, beyond the time in the model", f"{wall * workers / seconds - 1:.1%}"
    yield f"{what}: peak memory of a worker", f"{max(one[2] for one in done):.2f} GB"


def expected_windows() -> int:
    """Return the windows of a date, at a third of the resolution."""
    from xr_cloudmask.engine.lattice import fit
    from xr_cloudmask.models.csmask import SPECS

    return len(fit(-(-SIZE // 3), SPECS[0].window, SPECS[0].halo, SPECS[0].multiple)) ** 2


def _warm() -> None:
    """Import and compile, as a worker does once in its life."""
    import xarray as xr

    from xr_cloudmask import predict

    numbers = np.full((2, 64, 64), 3000, "uint16")
    cube = xr.Dataset(dict.fromkeys(BANDS, (("time", "y", "x"), numbers)), attrs=ATTRS)
    cube.cloudmask.composite("median", mask=predict(cube, "csmask", resolution="native"))


def _count() -> tuple[int, float, float]:
    status = Path("/proc/self/status").read_text()
    return COUNTER.windows, COUNTER.seconds, int(status.partition("VmHWM:")[2].split()[0]) / 1e6
