"""``xr-cloudmask models | weights``: what is there to predict with."""

from __future__ import annotations

import argparse

import pandas as pd

from xr_cloudmask.cli.printing import shown
from xr_cloudmask.errors import WeightsError
from xr_cloudmask.models import hub, weights
from xr_cloudmask.models.registry import models


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add ``models``, which has no options."""
    parser.set_defaults(run=_models)


def add_weights(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add the actions of ``weights``."""
    actions = parser.add_subparsers(required=True, metavar="fetch | list | verify | path")
    get = actions.add_parser("fetch", parents=[common], help="download official weights, after showing their licence")
    get.add_argument("name", nargs="?", default=weights.SENSEI.default, metavar="NAME", help="default: %(default)s")
    get.add_argument("--revision", help="branch, tag or commit; default: what is there already, else main")
    get.set_defaults(run=_fetch)
    listing = actions.add_parser("list", parents=[common], help="list the weights in the cache")
    listing.set_defaults(run=_list)
    check = actions.add_parser("verify", parents=[common], help="compare the cache with the checksums of the download")
    check.set_defaults(run=_verify)
    path = actions.add_parser("path", parents=[common], help="print the files that a prediction would use")
    path.add_argument("model", nargs="?", default=weights.SENSEI.model, metavar="MODEL", help="default: %(default)s")
    path.set_defaults(run=_path)
    for action in (get, path):
        action.set_defaults(weights=None)  # the option of predict that their messages suggest


def _models(_: argparse.Namespace) -> None:
    print(shown(models().to_string()))


def _fetch(arguments: argparse.Namespace) -> None:
    for file in hub.fetch(arguments.name, arguments.revision):
        print(file.path)


def _list(_: argparse.Namespace) -> None:
    rows = [
        {"name": name, "licence": entry.licence, "repository": entry.repository, "commit": entry.commit[:10]}
        | {"MB": f"{sum(file.size for file in entry.files) / 1e6:.1f}"}
        for name, entry in weights.fetched().items()
    ]
    if rows:
        print(shown(pd.DataFrame(rows).to_string(index=False)))
    else:
        print(f"none in {weights.cache_folder()}; to download the official ones: xr-cloudmask weights fetch")


def _verify(_: argparse.Namespace) -> None:
    """Check all weights in the cache before complaining about the first that are damaged."""
    damaged = {}
    for name, entry in weights.fetched().items():
        damaged[name] = weights.damaged(weights.cache_folder() / name, entry)
        state = "damaged " + ", ".join(damaged[name]) if damaged[name] else "whole"
        print(shown(f"{name}: {state}"))
    bad = [name for name, files in damaged.items() if files]
    if bad:
        raise WeightsError(f"damaged weights {bad}", "files as they were downloaded", weights.again(bad[0]))


def _path(arguments: argparse.Namespace) -> None:
    for file in weights.resolve(arguments.model):
        print(file.path)
