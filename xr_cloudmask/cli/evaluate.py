"""``xr-cloudmask evaluate``: score models on labelled scenes and public sets."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from xr_cloudmask.cli.options import LEVELS, PRECISIONS, names, resolution, scale
from xr_cloudmask.cli.printing import shown
from xr_cloudmask.errors import CloudMaskError

# Options that go to evaluate() as they are, if given.
EVALUATE = ("sensor", "level", "resolution", "weights", "precision", "device", "scale", "offset")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    parser.set_defaults(run=_evaluate)
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="FILE",
        help="a labelled .npz patch, or a netCDF or Zarr cube with a cloud_mask variable; of a public set, its folder",
    )  # fmt: skip
    parser.add_argument(
        "--model", action="append",
        help="one that `xr-cloudmask models` lists, or several as A+B; of a public set, once or more; default: auto",
    )  # fmt: skip
    public = parser.add_argument_group("public sets")
    public.add_argument("--dataset", metavar="NAME", help="l8biome, pixbox-s2, cloudsen12 …; docs/benchmarks.md")
    public.add_argument(
        "--output", type=Path, metavar="NAME", help="writes NAME.json and NAME.md, and goes on from there"
    )
    public.add_argument("--limit", type=int, metavar="N", help="of scenes, to see that it runs")
    public.add_argument("--workers", type=int, metavar="N", default=1, help="scenes at once; default: %(default)s")
    public.add_argument("--quiet", action="store_true", help="no line for every scene")
    parser.add_argument("--threshold", type=float, metavar="P", help="cloud is what is cloud with this probability")
    parser.add_argument("--bands", type=names, metavar="A,B,…", help="that the model sees; default: all")
    parser.add_argument(
        "--layout", type=names, metavar="A,B,…", help="bands of a patch's image; default: six from blue"
    )
    parser.add_argument(
        "--codes", type=_codes, metavar="0=cloud,…", help="labels of a patch: cloud, land, cloud_shadow …"
    )
    parser.add_argument("--sensor", help="where the files do not say")
    parser.add_argument("--level", choices=LEVELS, help="where the files do not say")
    parser.add_argument("--scale", type=scale, help="reflectance = number * SCALE + OFFSET, where the files do not say")
    parser.add_argument("--offset", type=float)
    parser.add_argument("--resolution", type=resolution, help="auto, native, or metres the model works at")
    parser.add_argument("--weights", help="for models that take them")
    parser.add_argument("--precision", choices=PRECISIONS, help="what networks multiply in; default: auto")
    parser.add_argument("--device", help="cpu, cuda …")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")


def _codes(text: str) -> dict[int, str]:
    pairs = [entry.split("=") for entry in text.split(",")]
    return {int(code): name.strip() for code, name in pairs}


def _evaluate(arguments: argparse.Namespace) -> None:
    keywords = {name: getattr(arguments, name) for name in EVALUATE if getattr(arguments, name) is not None}
    keywords["threshold"] = arguments.threshold
    if arguments.dataset is not None:
        _benchmark(arguments, keywords)
        return
    from xr_cloudmask import evaluation

    models = arguments.model or ["auto"]
    if len(models) > 1:
        raise CloudMaskError(f"{len(models)} models", "one, or a public set", f"--model {models[0]}")
    given = {"bands": tuple(arguments.layout) if arguments.layout else None, "codes": arguments.codes}
    layout = evaluation.PatchLayout(**{name: value for name, value in given.items() if value is not None})
    keywords |= {"model": models[0], "bands": arguments.bands}
    found = {str(path): evaluation.evaluate(evaluation.read(path, layout), **keywords) for path in arguments.inputs}
    if arguments.json:
        print(json.dumps({name: one.to_dict() for name, one in found.items()}, indent=2, allow_nan=False))
        return
    for name, one in found.items():
        print(f"{name}\nCohen's kappa {one.kappa:.3f}\n{one.table().to_string(float_format='%.3f')}")


def _benchmark(arguments: argparse.Namespace, keywords: dict[str, Any]) -> None:
    from xr_cloudmask import evaluation

    if len(arguments.inputs) != 1:
        raise CloudMaskError(
            f"{len(arguments.inputs)} folders",
            "the one of the set",
            f"--dataset {arguments.dataset} {arguments.inputs[0]}",
        )
    unfit = [name for name in ("bands", "layout", "codes") if getattr(arguments, name) is not None]
    if unfit:
        raise CloudMaskError(f"--{unfit[0]} with --dataset", "one of them: a set brings its own", f"no --{unfit[0]}")
    report = evaluation.benchmark(
        arguments.dataset,
        arguments.inputs[0],
        arguments.model or ["auto"],
        output=arguments.output,
        limit=arguments.limit,
        workers=arguments.workers,
        progress=None if arguments.quiet else _told,
        **keywords,
    )
    print(shown(report.to_json() if arguments.json else report.to_markdown()))


def _told(scene: str, model: str, kept: bool) -> None:
    print(shown(f"{scene}: {model}{', kept from before' if kept else ''}"), file=sys.stderr, flush=True)
