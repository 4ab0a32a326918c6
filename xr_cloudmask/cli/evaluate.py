"""``xr-cloudmask evaluate``: score a model on labelled scenes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from xr_cloudmask.cli.options import LEVELS, PRECISIONS, names, resolution
from xr_cloudmask.masks.agreement import Agreement

# Options that go to evaluate() as they are, if given.
EVALUATE = ("model", "bands", "sensor", "level", "resolution", "weights", "precision", "device")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    parser.set_defaults(run=_evaluate)
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="FILE",
        help="a labelled .npz patch, or a netCDF or Zarr cube with a cloud_mask variable",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="auto", help="one that `xr-cloudmask models` lists, or several as A+B; default: auto"
    )
    parser.add_argument("--bands", type=names, metavar="A,B,…", help="that the model sees; default: all")
    parser.add_argument(
        "--layout", type=names, metavar="A,B,…", help="bands of a patch's image; default: six from blue"
    )
    parser.add_argument(
        "--codes", type=_codes, metavar="0=cloud,…", help="labels of a patch: cloud, land, cloud_shadow …"
    )
    parser.add_argument("--sensor", help="where the files do not say")
    parser.add_argument("--level", choices=LEVELS, help="where the files do not say")
    parser.add_argument("--resolution", type=resolution, help="auto, native, or metres the model works at")
    parser.add_argument("--weights", help="for models that take them")
    parser.add_argument("--precision", choices=PRECISIONS, help="what networks multiply in; default: auto")
    parser.add_argument("--device", help="cpu, cuda …")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")


def _codes(text: str) -> dict[int, str]:
    pairs = [entry.split("=") for entry in text.split(",")]
    return {int(code): name.strip() for code, name in pairs}


def _evaluate(arguments: argparse.Namespace) -> None:
    from xr_cloudmask import evaluation

    given = {"bands": tuple(arguments.layout) if arguments.layout else None, "codes": arguments.codes}
    layout = evaluation.PatchLayout(**{name: value for name, value in given.items() if value is not None})
    keywords = {name: getattr(arguments, name) for name in EVALUATE if getattr(arguments, name) is not None}
    found = {str(path): evaluation.evaluate(evaluation.read(path, layout), **keywords) for path in arguments.inputs}
    if arguments.json:
        print(json.dumps({name: _scores(one) for name, one in found.items()}, indent=2, allow_nan=False))
        return
    for name, one in found.items():
        print(f"{name}\nCohen's kappa {one.kappa:.3f}\n{one.table().to_string(float_format='%.3f')}")


def _scores(agreement: Agreement) -> dict[str, Any]:
    """Return kappa and the table as JSON has them: null where there is nothing to count."""
    table = agreement.table()
    scores: dict[Any, Any] = table.astype(object).where(table.notna(), None).to_dict("index")
    return {"kappa": None if np.isnan(agreement.kappa) else agreement.kappa, **scores}
