"""``xr-cloudmask train``: train model universal, or fine-tune it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from xr_cloudmask import files
from xr_cloudmask.cli.options import LEVELS


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train``."""
    parser.set_defaults(run=_train)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="weights, checkpoint and log go here")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="TOML; default: the one the package was trained by")
    parser.add_argument("--patches", type=int, help="instead of the recipe's, also of a run that is resumed")
    parser.add_argument("--minutes", type=float, help="end after so long, instead of after the recipe's patches")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--from", dest="start", metavar="WEIGHTS", help="start from a file, or from 'universal'")
    parser.add_argument(
        "--data", nargs="+", type=Path, metavar="CUBE",
        help="learn from netCDF or Zarr cubes with a cloud_mask variable, not from simulated worlds",
    )  # fmt: skip
    parser.add_argument("--sensor", help="of the cubes, where they do not say")
    parser.add_argument("--level", choices=LEVELS, help="of the cubes, where they do not say")
    parser.add_argument("--workers", type=int, help="processes that make patches; default: one for each core")
    parser.add_argument("--device", help="cpu, cuda …")


def _train(arguments: argparse.Namespace) -> None:
    from xr_cloudmask import training
    from xr_cloudmask.training.state import CHECKPOINT

    base = "finetune" if arguments.data else "recipe"
    recipe = training.Recipe.packaged(base)
    if arguments.recipe:
        recipe = training.Recipe.read(arguments.recipe, base)
    if arguments.patches is not None:
        recipe = replace(recipe, patches=arguments.patches)
    source = None
    if arguments.data:
        cubes = [files.open_cube(path) for path in arguments.data]
        reading = {"sensor": arguments.sensor, "level": arguments.level}
        source = training.LabelledCubes.of(cubes, recipe.seed, recipe.size, **reading)
    try:
        written = training.train(
            recipe,
            arguments.out,
            source=source,
            start=arguments.start,
            resume=arguments.resume,
            minutes=arguments.minutes,
            workers=arguments.workers,
            device=arguments.device,
            say=lambda facts: print(json.dumps(facts), flush=True),
        )
    except KeyboardInterrupt:
        if (arguments.out / CHECKPOINT).exists():  # not while worlds are prepared
            print(f"saved in {arguments.out}; the same command with --resume goes on", file=sys.stderr)
        raise
    print(f"predict with: --model universal --weights {written}")
