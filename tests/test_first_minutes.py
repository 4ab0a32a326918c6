"""The page on the first ten minutes: its commands print what it says that they print."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from paths import DOCS
from products import S2_RESOLUTIONS, make_safe, write_raster

from xr_cloudmask import simulate

PAGE = (DOCS / "first_minutes.md").read_text()
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", PAGE, re.DOTALL)
SIDE = 480
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def scene(*bands):
    """Return what a sensor saw: uint16 ``(band, y, x)``, the same in every run."""
    made = simulate.series(bands=bands, dates=1, size=(SIDE, SIDE), gsd=10, seed=3).isel(time=0)
    return np.stack([made[band] for band in bands])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has: a scene of four bands, a photograph, a product."""
    folder = tmp_path_factory.mktemp("masks")
    bands = tuple(S2_RESOLUTIONS)
    seen = dict(zip(bands, scene(*bands), strict=True))
    write_raster(folder / "scene.tif", np.stack([seen[band] for band in ("B02", "B03", "B04", "B08")]))
    colours = np.stack([seen[band] for band in ("B04", "B03", "B02")])
    write_raster(folder / "photo.tif", np.clip((colours - 1000.0) / 14, 0, 255).astype("uint8"), photometric="RGB")
    safe = make_safe(folder, "L1C")
    for path in safe.rglob("*.jp2"):
        band = path.stem[-3:]
        step = S2_RESOLUTIONS[band] // 10
        blocks = seen[band].reshape(SIDE // step, step, SIDE // step, step).mean((1, 3)).astype("uint16")
        write_raster(path, blocks[None], step * 10, "JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    return folder


def printed(command, folder):
    """Return what a shell prints, errors too; commands are those of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, shell=True, check=False, cwd=folder, env=os.environ | {"PATH": path, "COLUMNS": "80"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.slow
def test_the_page_as_typed(folder):
    """Blocks build on each other: one test for all."""
    code = ""
    for kind, block in BLOCKS:
        if kind == "python":
            code += block
            continue
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            if re.match(r"mkdir|cd|python3 -m venv|source|pip", command):
                continue
            got = printed(command, folder)
            assert doctest.OutputChecker().check_output(expected, got, FLAGS), f"{command}\n{got}"
    (folder / "page.py").write_text(code)
    assert printed(f"{sys.executable} -W error -W ignore::PendingDeprecationWarning page.py", folder) == ""
    clear = xr.open_dataset(folder / "clear.tif", engine="rasterio")["band_data"]
    assert 0 < float(clear.isnull().mean()) < 1
