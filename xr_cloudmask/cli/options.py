"""Options that several commands have, and what all of them print alike."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xr_cloudmask.cube.described import WAYS
from xr_cloudmask.masks.labels import DECISIONS
from xr_cloudmask.masks.schemes import SCHEME_NAMES

DONE, UNUSABLE, INTERRUPTED, CLOSED = 0, 1, 130, 141  # exit codes, as of shells; argparse itself exits with 2
LEVELS = ("TOA", "BOA")
PRECISIONS = ("auto", "fp32", "bf16")
# Options that go to predict() as they are, if given.
PREDICT = (
    "scale",
    "offset",
    "model",
    "sensor",
    "level",
    "scheme",
    "resolution",
    "nodata",
    "weights",
    "precision",
    "decision",
    "device",
    "window",
    "halo",
)


def add_cube_options(parser: argparse.ArgumentParser) -> None:
    """Add the input, and what it is where it does not say so itself."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT",
        help="a multi-band GeoTIFF, one per band, Sentinel-2 .SAFE, Landsat or CBERS folders, netCDF or Zarr",
    )  # fmt: skip
    cube = parser.add_argument_group("what the input is, where it does not say so itself")
    cube.add_argument(
        "--bands", type=names, metavar="A,B,…", help="names of a GeoTIFF's bands; of others, which to open"
    )
    cube.add_argument("--sensor", help="such as sentinel-2, landsat-8-9, cbers-4a-wpm, planetscope-4")
    cube.add_argument("--level", choices=LEVELS, help="top or bottom of atmosphere")
    cube.add_argument(
        "--scale", type=scale, help="reflectance = number * SCALE + OFFSET; display for images, or estimate"
    )
    cube.add_argument("--offset", type=float)
    cube.add_argument("--nodata", type=float, help="number that marks missing pixels, besides those declared")


def add_mask_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what decides which mask is made, and how."""
    mask = parser.add_argument_group("the mask")
    mask.add_argument("--model", help="one that `xr-cloudmask models` lists, or several as A+B; default: auto")
    mask.add_argument("--scheme", help=f"classes: {', '.join(SCHEME_NAMES)}; default: cloudsen12")
    mask.add_argument("--resolution", type=resolution, help="auto, native, or metres the model works at")
    mask.add_argument("--window", type=int, help="largest window, in model pixels")
    mask.add_argument("--halo", type=int, help="margin of a window that is discarded, in model pixels")
    mask.add_argument(
        "--weights",
        help=f"for models that take them: file, pair joined by {os.pathsep!r}, folder, or name as in `weights list`",
    )
    mask.add_argument("--precision", choices=PRECISIONS, help="what networks multiply in; default: auto")
    mask.add_argument("--decision", choices=DECISIONS, help="how classes of a coarser scheme win; default: sum")
    mask.add_argument("--device", help="cpu, cuda …")
    return mask


def predict_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was given of the options of predict()."""
    given = {name: getattr(arguments, name, None) for name in PREDICT}
    return {name: value for name, value in given.items() if value is not None}


def names(text: str) -> list[str]:
    """Read names that commas separate."""
    return [name.strip() for name in text.split(",")]


def scale(text: str) -> str | float:
    """Read ``display``, ``estimate``, a number or a fraction such as ``1/255``."""
    if text in WAYS:
        return text
    number, _, divisor = text.partition("/")
    return float(number) / float(divisor or 1)


def fraction(text: str) -> float:
    """Read a fraction from 0 to 1, or percent with their sign.

    Examples
    --------
    >>> fraction("15%"), fraction("0.15")
    (0.15, 0.15)
    """
    number, sign, rest = text.partition("%")
    value = float(number) / (100 if sign else 1)
    if rest or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no fraction: 0.15 or 15% for fifteen percent")
    return value


def resolution(text: str) -> str | float:
    """Read ``auto``, ``native`` or metres."""
    return text if text in ("auto", "native") else float(text)


@contextmanager
def progress(quiet: bool) -> Iterator[None]:
    """Show a bar on a terminal; a log file or a pipe gets none."""
    from dask.diagnostics.progress import ProgressBar

    bar: Any = ProgressBar  # dask is typed in part
    if quiet or not sys.stderr.isatty():
        yield
        return
    with bar(out=sys.stderr):
        yield
