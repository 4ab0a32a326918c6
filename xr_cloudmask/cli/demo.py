"""``xr-cloudmask demo``: everything on a simulated cube."""

from __future__ import annotations

import argparse
from pathlib import Path

from xr_cloudmask.cli.options import progress


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``demo``."""
    parser.set_defaults(run=_demo)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER", help="default: demo")


def _demo(arguments: argparse.Namespace) -> None:
    from xr_cloudmask import demo

    with progress(quiet=False):
        demo.run(arguments.output)
