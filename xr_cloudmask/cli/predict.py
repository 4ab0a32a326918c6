"""``xr-cloudmask predict``: masks of files and product folders."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xr_cloudmask import export, files
from xr_cloudmask.cli.options import add_cube_options, add_mask_options, predict_options, progress
from xr_cloudmask.cli.printing import shown
from xr_cloudmask.cube.layout import TIME_NAMES
from xr_cloudmask.errors import FileError
from xr_cloudmask.files.raster import GDAL_CACHE
from xr_cloudmask.names import FRACTIONS
from xr_cloudmask.prediction import predict

SUMMARISED = {name: name.removesuffix("_fraction").replace("_", " ") for name in FRACTIONS}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``predict``."""
    parser.set_defaults(run=_predict)
    add_cube_options(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="mask.tif (COG), mask.nc or mask.zarr")
    mask = add_mask_options(parser)
    mask.add_argument("--probabilities", action="store_true", help="write class probabilities too (netCDF and Zarr)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _predict(arguments: argparse.Namespace) -> None:
    import rasterio

    if arguments.output.resolve() in [path.resolve() for path in arguments.inputs]:
        raise FileError(f"output {str(arguments.output)!r}, which is an input", "a new name", "-o mask.tif")
    cube = files.open_cube(arguments.inputs, bands=arguments.bands)
    mask = predict(cube, **predict_options(arguments), probabilities=arguments.probabilities)
    # Every pixel is read about once: GDAL's own 5 % of the machine's memory would buy nothing.
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), progress(arguments.quiet):
        written = export.to_file(mask, arguments.output)
    if not arguments.quiet:
        print(shown(_summary(written)))


def _summary(written: Sequence[Path]) -> str:
    """Return a table with a line for each date: its fractions and its file."""
    table = pd.concat([_lines(path) for path in written])
    return str(table.to_string(index=False, float_format="%.3f", na_rep="-"))


def _lines(path: Path) -> pd.DataFrame:
    coords = export.open_mask(path).coords
    time = next((name for name in TIME_NAMES if name in coords), None)
    dates: Any = "-"
    if time is not None:
        dates = [str(date)[: len("2024-01-31T10:15")] for date in np.atleast_1d(coords[time])]
    shares = {label: np.atleast_1d(coords[name]) for name, label in SUMMARISED.items() if name in coords}
    return pd.DataFrame({"date": dates, **shares, "file": str(path)})
