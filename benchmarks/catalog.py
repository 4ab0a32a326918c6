"""A catalogue of scenes beside the notebook's loop."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.common import TESTS, row, seconds
from benchmarks.notebook import NOTEBOOK, notebook_loop

CATALOGUED, CATALOGUED_SIZE = 40, 4000


def catalog() -> None:
    """40 scenes of four striped bands from disk: a catalogue with 2 workers, and the notebook's own sequential loop."""
    sys.path.append(str(TESTS))
    from pystac import Item
    from scenes import make_wpm

    from xr_cloudmask import Catalog

    if not NOTEBOOK.exists():
        row("catalogue", "not measured: the notebook is absent from ../shared")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        made = [make_wpm(files, str(files), i, size=(CATALOGUED_SIZE, CATALOGUED_SIZE)).item for i in range(4)]
        items = [Item.from_dict(made[i % 4] | {"id": f"scene_{i:02d}"}) for i in range(CATALOGUED)]
        Catalog(Path(folder) / "warm.db").run(items[:1], "4-4A", progress=False)  # imports and compiles
        begin, busy = time.perf_counter(), time.process_time()
        done = Catalog(Path(folder) / "scenes.db").run(items, "4-4A", workers=2, progress=False)
        ours, our_work = time.perf_counter() - begin, time.process_time() - busy
        assert done.made == CATALOGUED
        loop = partial(notebook_loop, items, Path(folder) / "notebook.db")
        busy = time.process_time()
        other = seconds(loop, 1)
        other_work = time.process_time() - busy
        again = seconds(lambda: Catalog(Path(folder) / "scenes.db").run(items, "4-4A", progress=False), 1)
    what = f"{CATALOGUED} scenes of {CATALOGUED_SIZE}² × 4 from disk, 4-4A"
    row(f"{what}: the notebook's loop", f"{other:.1f} s")
    row(f"{what}: Catalog.run, 2 workers", f"{ours:.1f} s, {other / ours:.1f} × the notebook")
    row(f"{what}: a second run", f"{again:.2f} s")
    row(
        "processor seconds per scene, Catalog.run and the notebook",
        f"{our_work / CATALOGUED:.2f} and {other_work / CATALOGUED:.2f}",
    )
    row("load of the machine meanwhile", f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")
