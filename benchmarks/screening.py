"""Screening of scenes over HTTP."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import TESTS, row


def screening() -> None:
    """Simulated CBERS-4A WPM scenes, cloud-optimised, over HTTP: screening beside masks at full resolution."""
    sys.path.append(str(TESTS))
    from pystac import Item
    from scenes import make_wpm
    from stac_server import serve_files

    from xr_cloudmask import stac

    with tempfile.TemporaryDirectory() as folder, serve_files(Path(folder)) as files:
        covers = enumerate(np.linspace(0.05, 0.9, 12))
        scenes = [
            make_wpm(Path(folder), files.url, i, size=(1024, 1024), cover=cover, overviews=True) for i, cover in covers
        ]
        items = [Item.from_dict(scene.item) for scene in scenes]
        estimated = stac.screen(items).table["cloud_fraction"]
        read = files.sent
        files.forget()
        full = [float(stac.load([item]).cloudmask.predict()["cloud_fraction"][0]) for item in items]
        apart = np.abs(estimated - full)
        what = "screening 12 WPM scenes of 1024², with overviews"
        row(f"{what}: bytes read, of those of full loading", f"{100 * read / files.sent:.1f} %")
        row(f"{what}: cloud fraction, difference to full resolution", f"mean {apart.mean():.3f}, max {apart.max():.2f}")
