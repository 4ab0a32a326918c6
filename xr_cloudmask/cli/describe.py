"""``xr-cloudmask describe``: what is understood of files, and what is missing."""

from __future__ import annotations

import argparse

from xr_cloudmask import export, files
from xr_cloudmask.cli.options import DONE, UNUSABLE, add_cube_options
from xr_cloudmask.cli.printing import shown
from xr_cloudmask.cli.spelling import in_shell
from xr_cloudmask.description import describe
from xr_cloudmask.names import MASK_NAME

SAID = ("sensor", "level", "scale", "offset", "nodata")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``describe``."""
    parser.set_defaults(run=_describe)
    add_cube_options(parser)
    parser.add_argument("--model", default="auto", help="for which model; default: auto")


def _describe(arguments: argparse.Namespace) -> int:
    cube = files.open_cube(arguments.inputs, bands=arguments.bands)
    if list(cube) == [MASK_NAME]:  # whose flags open_cube does not read
        cube = export.open_mask(arguments.inputs[0])
    found = describe(cube, arguments.model, **{name: getattr(arguments, name) for name in SAID})
    print(shown(in_shell(str(found), vars(arguments))))
    return DONE if found.missing is None else UNUSABLE
