"""Names and kinds of files that no name or file should have."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

import xr_cloudmask
from fuzz.base import Try
from fuzz.masks import FLAGS
from fuzz.networks import recipe_of
from xr_cloudmask import export, files
from xr_cloudmask.models import state_dicts, universal, weights


def paths(folder: Path) -> Try:
    """Names and kinds of files that no name or file should have."""
    import os

    (folder / "loop").symlink_to(folder / "loop")
    (folder / "dead.tif").symlink_to(folder / "nothing")
    (folder / "empty.tif").touch()
    (folder / "empty.nc").touch()
    (folder / "folder.nc").mkdir()
    (folder / "a.SAFE").mkdir()
    (folder / "b.zarr").mkdir()
    (folder / "b.zarr" / "zarr.json").mkdir()
    (folder / "c").mkdir()
    (folder / "c" / "X_MTL.txt").mkdir()
    (folder / "d").mkdir()
    os.mkfifo(folder / "d" / "X_MTL.json")
    (folder / "e").mkdir()
    (folder / "e" / "MTD_MSIL1C.xml").symlink_to("/dev/zero")
    (folder / "f").mkdir()
    (folder / "f" / "CBERS_4A_WPM_20200730_209_139_L4_BAND2.xml").symlink_to("/dev/zero")
    names = [str(path) for path in folder.iterdir()]
    names += [
        "",
        ".",
        "/",
        "..",
        "~",
        "x" * 300,
        "/".join("x" * 2000),
        "a\0b",
        "\ud800",
        "/dev/null",
        "*.tif",
        "-o",
        "http://x/y.tif",
    ]
    mask = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), attrs=FLAGS)

    def attempt(random: Random) -> None:
        name = random.choice(names) + random.choice(("", "", ".tif", ".nc", ".zarr", "/", "/x.tif"))
        read = random.choice(
            (
                files.open_cube,
                export.open_mask,
                xr_cloudmask.parse_cbers_metadata,
                weights.WeightsFile.of,
                state_dicts.read_state,
                partial(weights.resolve, "sensei"),
                partial(export.to_file, mask),
                recipe_of,
                universal.facts_of,
            )
        )
        if read.__class__ is partial and read.func is export.to_file and not name.startswith(str(folder)):
            name = name if not Path(name.replace("\0", "")).suffix else f"{folder}/no/{name}"
        read(name)

    return attempt
