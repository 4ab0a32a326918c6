"""An hour of everything that goes wrong: ``python -m benchmarks soak 60``, in minutes."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.common import TESTS, row

SCENES, DATES, SIDE = 2000, 5000, 32  # of the catalogue; of the series, and pixels of a date
SLICE = 60  # scenes of a run in this process
FULL = 2000  # bytes of a file on the disk that is full now and then: the database fits not
LIMITS = "connect=1,idle=1,patience=6,total=20"
HANG = 600.0  # seconds of a step, after which it hung
SETTLED = 0.25  # of the time, after which memory, descriptors and threads have to stay flat


def soak(minutes: str = "10") -> None:
    """Mask 2000 scenes over a bad line, and 5000 dates, with kills and full disks; again until it is time."""
    os.environ["XR_CLOUDMASK_LIMITS"] = LIMITS
    sys.path.append(str(TESTS))
    end = time.monotonic() + 60 * float(minutes)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "errors.txt"
        with report.open("w") as errors, _errors_to(errors.fileno()):
            watch = _soak(Path(folder), end)
        tracebacks = report.read_text(errors="replace").count("Traceback (most recent call last)")
    for name, figure in (watch.figures | {"tracebacks": tracebacks}).items():
        row(f"soak of {minutes} min: {name}", str(figure))


class Watch:
    """What was counted, and how memory, descriptors and threads of this process went."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.samples: list[tuple[float, int, int, int]] = []
        self.counts: dict[str, int] = {}

    def look(self) -> None:
        """Note what this process holds."""
        import psutil

        gc.collect()
        process = psutil.Process()
        held = process.memory_info().rss, process.num_fds(), threading.active_count()
        self.samples.append((time.monotonic() - self.begin, *held))

    def add(self, **counts: int) -> None:
        """Add to what was counted."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    @property
    def figures(self) -> dict[str, Any]:
        """What was counted, and from which to which figure each went after it had settled."""
        settled = [sample for sample in self.samples if sample[0] > SETTLED * self.samples[-1][0]] or self.samples
        scale = {"memory, MB": (1, 1e6), "descriptors": (2, 1), "threads": (3, 1)}
        went = {
            name: f"{settled[0][i] / unit:.0f} … {max(s[i] for s in settled) / unit:.0f} … {settled[-1][i] / unit:.0f}"
            for name, (i, unit) in scale.items()
        }
        return {name.replace("_", " "): count for name, count in self.counts.items()} | {
            f"{name} (settled … most … last)": text for name, text in went.items()
        }


def _errors_to(descriptor: int) -> ExitStack:
    """Send what this process and its children print of errors to a file."""
    kept, stack = os.dup(2), ExitStack()
    os.dup2(descriptor, 2)
    stack.callback(lambda: (os.dup2(kept, 2), os.close(kept)))
    return stack


def _soak(folder: Path, end: float) -> Watch:
    import stac_server
    import storm as storms

    watch, rng = Watch(), random.Random(0)
    files = folder / "files"
    files.mkdir()
    local = storms.make_scenes(files, SCENES)
    masks = storms.expected(local[: storms.DISTINCT])
    # Scenes of the same files have the same mask, whatever they are called.
    known = {item["id"]: masks[local[i % storms.DISTINCT]["id"]] for i, item in enumerate(local)}
    series = _series()
    with stac_server.serve_files(files) as server:
        items = json.loads(json.dumps(local).replace(f"{files}/", f"{server.url}/"))
        server.fail(share=storms.SHARE, kinds=storms.KINDS, stall=storms.STALL)
        while time.monotonic() < end:
            catalogue = folder / "catalogue"
            catalogue.mkdir()
            storm = storms.Storm(catalogue / "scenes.db", items, known)
            storm.begin()
            steps = _steps(storm, rng, series, watch)
            while time.monotonic() < end and len(storm.seen) < len(items):
                begin = time.monotonic()
                next(steps)()
                watch.add(hangs=int(time.monotonic() - begin > HANG))
                watch.look()
            watch.add(**_counted(storm, whole=time.monotonic() < end), faults=server.faults, catalogues=1)
            server.forget()
            shutil.rmtree(catalogue)
    return watch


def _steps(storm: Any, rng: random.Random, series: Callable[[Watch], None], watch: Watch) -> Any:
    """Yield what happens next: runs here, runs that are killed, two at once, a full disk, a series."""
    while True:
        yield lambda: _run_here(storm, rng)
        yield lambda: storm.kill(rng, twins=False)
        yield lambda: storm.kill(rng, twins=True)
        yield lambda: storm.kill(rng, twins=False, room=FULL)
        yield lambda: series(watch)


def _run_here(storm: Any, rng: random.Random) -> None:
    """Run a part of the scenes in this process, whose memory is watched."""
    from pystac import Item
    from storm import MODEL

    from xr_cloudmask import Catalog

    left = [item for item in storm.items if item["id"] not in storm.seen]
    chosen = [Item.from_dict(item) for item in rng.sample(left, min(SLICE, len(left)))]
    Catalog(storm.database).run(chosen, MODEL, workers=2, progress=False)
    storm.look()


def _series() -> Callable[[Watch], None]:
    """Return a function that masks a series and compares the labels with those of the first time."""
    import dask.array as da
    import numpy as np
    import xarray as xr

    from xr_cloudmask import predict, simulate

    first: list[Any] = []
    bands = simulate.series(dates=10, size=(SIDE, SIDE)).drop_vars("truth")
    repeated = bands.isel(time=np.arange(DATES) % bands.sizes["time"]).chunk(time=50)
    cube = repeated.assign_coords(time=np.datetime64("2000-01-01", "ns") + np.arange(DATES) * np.timedelta64(1, "D"))
    assert isinstance(cube, xr.Dataset)
    assert all(isinstance(band.data, da.Array) for band in cube.values())

    def mask(watch: Watch) -> None:
        labels = predict(cube, "4-4A")["cloud_mask"].compute().values
        if not first:
            first.append(labels)
        watch.add(series=1, dates_masked=DATES, dates_that_differ=int((labels != first[0]).any(axis=(1, 2)).sum()))

    return mask


def _counted(storm: Any, whole: bool) -> dict[str, int]:
    """Return the counts of a storm; scenes that there was no time for are not missing."""
    counts = {name.replace(" ", "_"): count for name, count in storm.end().items()}
    if not whole:
        counts.pop("missing")
    return counts
