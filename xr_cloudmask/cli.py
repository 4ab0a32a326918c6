"""The command line: ``xr-cloudmask demo | predict | run | list | show | export | models | weights | train …``."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xr_cloudmask import export, files, stac
from xr_cloudmask.catalog import LIMITS, Catalog
from xr_cloudmask.catalog.catalog import SHOWN
from xr_cloudmask.catalog.formats import FORMATS
from xr_cloudmask.catalog.store import KINDS
from xr_cloudmask.cube.layout import TIME_NAMES
from xr_cloudmask.errors import CatalogError, CloudMaskError, FileError, WeightsError
from xr_cloudmask.masks.agreement import Agreement
from xr_cloudmask.masks.labels import DECISIONS
from xr_cloudmask.masks.schemes import SCHEME_NAMES
from xr_cloudmask.models import hub, weights
from xr_cloudmask.models.registry import models
from xr_cloudmask.names import FRACTIONS
from xr_cloudmask.predict import predict

CATALOGUE = Path("scenes.db")
GDAL_CACHE = 256  # MiB of raster blocks
DONE, UNUSABLE, INTERRUPTED = 0, 1, 130  # argparse itself exits with 2
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
FLAGS = {"True": "--{}", "False": "no --{}"}
# What errors suggest to type in Python, as it is typed in a shell: a call, or an option with or without its value.
VALUE = r"'[^']*'|\[[^\[\]]*\]|-?\d+(?:\.\d+)?(?:e-?\d+)?|\.{3}|True|False"
OPTION = rf"({'|'.join((*PREDICT, *LIMITS, 'bands', 'probabilities', 'workers'))})=({VALUE})?"
SUGGESTION = re.compile(rf"(?P<called>[\w.]+)\((?P<arguments>[^()]*)\)|\b{OPTION}(?![\w{{(])")
LISTED = SHOWN
SUMMARISED = {name: name.removesuffix("_fraction").replace("_", " ") for name in FRACTIONS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default the process's.

    Returns
    -------
    int
        Exit code: 0 done, 1 unusable input, 130 interrupted. Arguments that cannot be understood raise SystemExit(2).
    """
    arguments = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        return int(arguments.run(arguments) or DONE)
    except CloudMaskError as error:
        if arguments.debug:
            raise
        print(CloudMaskError(error.found, error.expected, in_shell(error.remedy)), file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was left", file=sys.stderr)
        return INTERRUPTED


def _joined(argv: Sequence[str]) -> list[str]:
    """Join ``--bbox`` and its numbers, which argparse takes for an option where the first of them is negative."""
    words = iter(argv)
    return [f"{word}={next(words, '')}" if word == "--bbox" else word for word in words]


def in_shell(remedy: str) -> str:
    """Return what an error suggests with options as the command line spells them; what is no option stays.

    Examples
    --------
    >>> in_shell("predict(level='BOA', halo=32), or scale=1e-4 and offset=")
    '--level BOA --halo 32, or --scale 0.0001 and --offset'
    >>> in_shell("mask.assign_attrs(scheme='binary')")
    "mask.assign_attrs(scheme='binary')"
    """
    return re.sub(r"(--[a-z]+ \S+), (?=--)", r"\1 ", SUGGESTION.sub(_suggestion_in_shell, remedy))


def _suggestion_in_shell(found: re.Match[str]) -> str:
    if found["called"] is None:
        return _option_in_shell(found[3], found[4])
    options = [re.fullmatch(OPTION, part) for part in found["arguments"].split(", ") if part != "..."]
    if not found["called"].endswith("predict") or not options or None in options:
        return found[0]
    return " ".join(_option_in_shell(*option.groups()) for option in options if option)


def _option_in_shell(name: str, text: str | None) -> str:
    option = name.replace("_", "-")
    if text in FLAGS:
        return FLAGS[text].format(option)
    if text is None:
        return f"--{option}"
    if "..." in text:
        return f"--{option} {name.upper()}"
    value = ast.literal_eval(text)
    return f"--{option} {shlex.quote(','.join(value) if isinstance(value, list) else str(value))}"


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(prog="xr-cloudmask", description="Cloud masks for any optical satellite cube.")
    commands = parser.add_subparsers(
        required=True, metavar="demo | predict | run | list | show | export | models | weights | train | evaluate"
    )
    _add_demo(commands.add_parser("demo", parents=[common], help="mask six simulated dates over a real surface"))
    _add_predict(commands.add_parser("predict", parents=[common], help="mask files or product folders"))
    _add_run(commands.add_parser("run", parents=[common], help="search a STAC API and mask every scene once"))
    _add_catalogue(commands, common)
    listing = commands.add_parser("models", parents=[common], help="list the models, what they need, their licences")
    listing.set_defaults(run=_models)
    own = commands.add_parser("weights", help="fetch, list, verify and find weights that this package does not bring")
    _add_weights(own, common)
    _add_train(commands.add_parser("train", parents=[common], help="train model universal, or fine-tune it"))
    _add_evaluate(commands.add_parser("evaluate", parents=[common], help="score a model on labelled scenes"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_demo)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER", help="default: demo")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_predict)
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT",
        help="a multi-band GeoTIFF, one per band, Sentinel-2 .SAFE, Landsat or CBERS folders, netCDF or Zarr",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, help="mask.tif (COG), mask.nc or mask.zarr")
    cube = parser.add_argument_group("what the input is, where it does not say so itself")
    cube.add_argument(
        "--bands", type=_names, metavar="A,B,…", help="names of a GeoTIFF's bands; of others, which to open"
    )
    cube.add_argument("--sensor", help="such as sentinel-2, landsat-8-9, cbers-4a-wpm, planetscope-4")
    cube.add_argument("--level", choices=("TOA", "BOA"), help="top or bottom of atmosphere")
    cube.add_argument("--scale", type=float, help="reflectance = number * SCALE + OFFSET")
    cube.add_argument("--offset", type=float)
    cube.add_argument("--nodata", type=float, help="number that marks missing pixels")
    mask = _add_mask_options(parser)
    mask.add_argument("--probabilities", action="store_true", help="write class probabilities too (netCDF and Zarr)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _add_mask_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    mask = parser.add_argument_group("the mask")
    mask.add_argument("--model", help="one that `xr-cloudmask models` lists; default: auto")
    mask.add_argument("--scheme", help=f"classes: {', '.join(SCHEME_NAMES)}; default: cloudsen12")
    mask.add_argument("--resolution", type=_resolution, help="auto, native, or metres the model works at")
    mask.add_argument("--window", type=int, help="largest window, in model pixels")
    mask.add_argument("--halo", type=int, help="margin of a window that is discarded, in model pixels")
    mask.add_argument(
        "--weights",
        help=f"for models that take them: file, pair joined by {os.pathsep!r}, folder, or name as in `weights list`",
    )
    mask.add_argument("--precision", choices=("auto", "fp32", "bf16"), help="what networks multiply in; default: auto")
    mask.add_argument("--decision", choices=DECISIONS, help="how classes of a coarser scheme win; default: sum")
    mask.add_argument("--device", help="cpu, cuda …")
    return mask


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    search = parser.add_argument_group("the scenes")
    search.add_argument("--stac", required=True, metavar="URL", help="root of a STAC API")
    search.add_argument("--collection", required=True, nargs="+", metavar="C", help="ids of collections")
    search.add_argument("--bbox", metavar="W,S,E,N", help="west, south, east, north in degrees")
    search.add_argument("--datetime", metavar="FROM/TO", help="2025-01, 2025-01-01/2025-01-31 …")
    search.add_argument("--limit", type=int, metavar="N", help="largest number of scenes")
    _add_mask_options(parser)
    parser.add_argument("--db", type=Path, default=CATALOGUE, help="the catalogue; default: %(default)s")
    parser.add_argument("--masks", choices=KINDS, default=KINDS[0], help="where they are kept; default: %(default)s")
    parser.add_argument("--workers", type=int, metavar="N", help="scenes at once; default: as many as cores")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _add_catalogue(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add what reads a catalogue."""
    database = argparse.ArgumentParser(add_help=False, parents=[common])
    database.add_argument("--db", type=Path, default=CATALOGUE, help="the catalogue; default: %(default)s")
    chosen = argparse.ArgumentParser(add_help=False, parents=[database])
    for name in LIMITS:
        what = name[len("max_") :]
        chosen.add_argument(_flag(name), type=float, metavar="P", help=f"{what} in percent, or as a fraction below 1")
    chosen.add_argument("--model", help="as it was asked for")

    listing = commands.add_parser("list", parents=[chosen], help="list the scenes of a catalogue")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="everything, as JSON")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="everything, as CSV")
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", parents=[database], help="show all that is known of a scene")
    show.add_argument("id", metavar="ID", help="id of the item")
    show.set_defaults(run=_show)
    writing = commands.add_parser("export", parents=[chosen], help="write masks as GeoTIFF, GeoPackage or STAC")
    writing.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder; made where there is none")
    writing.add_argument("--format", choices=tuple(FORMATS), default="tif", help="default: %(default)s")
    writing.set_defaults(run=_export)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _add_weights(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="fetch | list | verify | path")
    get = actions.add_parser("fetch", parents=[common], help="download official weights, after showing their licence")
    get.add_argument("name", nargs="?", default=weights.SENSEI.default, metavar="NAME", help="default: %(default)s")
    get.add_argument("--revision", help="branch, tag or commit; default: what is there already, else main")
    get.set_defaults(run=_fetch_weights)
    listing = actions.add_parser("list", parents=[common], help="list the weights in the cache")
    listing.set_defaults(run=_list_weights)
    check = actions.add_parser("verify", parents=[common], help="compare the cache with the checksums of the download")
    check.set_defaults(run=_verify_weights)
    path = actions.add_parser("path", parents=[common], help="print the files that a prediction would use")
    path.add_argument("model", nargs="?", default=weights.SENSEI.model, metavar="MODEL", help="default: %(default)s")
    path.set_defaults(run=_weights_path)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_train)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="weights, checkpoint and log go here")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="TOML; default: the one the package was trained by")
    parser.add_argument("--patches", type=int, help="instead of the recipe's, also of a run that is resumed")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--from", dest="start", metavar="WEIGHTS", help="start from a file, or from 'universal'")
    parser.add_argument(
        "--data", nargs="+", type=Path, metavar="CUBE",
        help="learn from netCDF or Zarr cubes with a cloudmask variable, not from simulated worlds",
    )  # fmt: skip
    parser.add_argument("--sensor", help="of the cubes, where they do not say")
    parser.add_argument("--level", choices=("TOA", "BOA"), help="of the cubes, where they do not say")
    parser.add_argument("--workers", type=int, help="processes that make patches; default: one for each core")
    parser.add_argument("--device", help="cpu, cuda …")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_evaluate)
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="FILE",
        help="a labelled .npz patch, or a netCDF or Zarr cube with a cloudmask variable",
    )  # fmt: skip
    parser.add_argument("--model", default="auto", help="one that `xr-cloudmask models` lists; default: auto")
    parser.add_argument("--bands", type=_names, metavar="A,B,…", help="that the model sees; default: all")
    parser.add_argument(
        "--layout", type=_names, metavar="A,B,…", help="bands of a patch's image; default: six from blue"
    )
    parser.add_argument(
        "--codes", type=_codes, metavar="0=cloud,…", help="labels of a patch: cloud, land, cloud_shadow …"
    )
    parser.add_argument("--sensor", help="where the files do not say")
    parser.add_argument("--level", choices=("TOA", "BOA"), help="where the files do not say")
    parser.add_argument("--resolution", type=_resolution, help="auto, native, or metres the model works at")
    parser.add_argument("--weights", help="for models that take them")
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), help="what networks multiply in; default: auto"
    )
    parser.add_argument("--device", help="cpu, cuda …")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")


def _codes(text: str) -> dict[int, str]:
    pairs = [entry.split("=") for entry in text.split(",")]
    return {int(code): name.strip() for code, name in pairs}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _resolution(text: str) -> str | float:
    return text if text in ("auto", "native") else float(text)


def _predict(arguments: argparse.Namespace) -> None:
    import rasterio

    if arguments.output.resolve() in [path.resolve() for path in arguments.inputs]:
        raise FileError(f"output {str(arguments.output)!r}, which is an input", "a new name", "-o mask.tif")
    cube = files.open_cube(arguments.inputs, bands=arguments.bands)
    given = {name: getattr(arguments, name) for name in PREDICT if getattr(arguments, name) is not None}
    mask = predict(cube, **given, probabilities=arguments.probabilities)
    # Every pixel is read about once: GDAL's own 5 % of the machine's memory would buy nothing.
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), _progress(arguments.quiet):
        written = export.to_file(mask, arguments.output)
    if not arguments.quiet:
        print(_summary(written))


@contextmanager
def _progress(quiet: bool) -> Iterator[None]:
    """Show a bar on a terminal; a log file or a pipe gets none."""
    from dask.diagnostics.progress import ProgressBar

    bar: Any = ProgressBar  # dask is typed in part
    if quiet or not sys.stderr.isatty():
        yield
        return
    with bar(out=sys.stderr):
        yield


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


def _run(arguments: argparse.Namespace) -> int:
    found = stac.search(
        arguments.stac,
        arguments.collection,
        bbox=arguments.bbox,
        datetime=arguments.datetime,
        limit=arguments.limit,
    )
    given = {name: getattr(arguments, name, None) for name in PREDICT}
    options = {name: value for name, value in given.items() if value is not None}
    catalog = Catalog(arguments.db, arguments.masks)
    shown = not arguments.quiet and sys.stderr.isatty()
    done = catalog.run(found, workers=arguments.workers, progress=shown, **options)
    if not arguments.quiet:
        print(f"{len(found)} scenes: {done}")
    if done.failed:
        print(f"why: xr-cloudmask list --db {shlex.quote(str(arguments.db))}; run again to retry", file=sys.stderr)
    return UNUSABLE if done.failed else DONE


def _catalogue(arguments: argparse.Namespace) -> Catalog:
    """Open a catalogue that is there, and of it what is asked for."""
    if not arguments.db.exists():
        raise CatalogError(f"no file {str(arguments.db)!r}", "a catalogue", "--db scenes.db, or xr-cloudmask run first")
    limits = {name: getattr(arguments, name, None) for name in LIMITS}
    return Catalog(arguments.db).filter(**limits, model=getattr(arguments, "model", None))


def _list(arguments: argparse.Namespace) -> None:
    table = _catalogue(arguments).to_dataframe()
    if arguments.form == "json":
        print(json.dumps(_records(table), indent=1))
    elif arguments.form == "csv":
        print(table.drop(columns=["statistics", "provenance", "geometry"]).to_csv(), end="")
    elif len(table):
        errors = table["error"].fillna("").str.partition("\n")[0]
        print(pd.DataFrame(table.assign(error=errors)[list(LISTED)]).to_string(float_format="%.3f", na_rep="-"))


def _records(table: Any) -> list[dict[str, Any]]:
    """Return rows as JSON has them: null for what is not known, footprints as GeoJSON."""
    plain = pd.DataFrame(table.drop(columns="geometry")).reset_index()
    records = json.loads(plain.to_json(orient="records", date_format="iso"))
    outlines = [None if outline is None else outline.__geo_interface__ for outline in table.geometry]
    return [record | {"footprint": outline} for record, outline in zip(records, outlines, strict=True)]


def _show(arguments: argparse.Namespace) -> None:
    rows = [row for row in _records(_catalogue(arguments).to_dataframe()) if row["id"] == arguments.id]
    if not rows:
        raise CatalogError(f"no scene {arguments.id!r}", "an id of the catalogue", "xr-cloudmask list")
    for row in rows:
        print(json.dumps(row, indent=1))


def _export(arguments: argparse.Namespace) -> None:
    for path in _catalogue(arguments).export(arguments.to, arguments.format):
        print(path)


def _demo(arguments: argparse.Namespace) -> None:
    from xr_cloudmask import demo

    with _progress(quiet=False):
        demo.run(arguments.output)


def _models(_: argparse.Namespace) -> None:
    print(models().to_string())


def _fetch_weights(arguments: argparse.Namespace) -> None:
    for file in hub.fetch(arguments.name, arguments.revision):
        print(file.path)


def _list_weights(_: argparse.Namespace) -> None:
    rows = [
        {"name": name, "licence": entry.licence, "repository": entry.repository, "commit": entry.commit[:10]}
        | {"MB": f"{sum(file.size for file in entry.files) / 1e6:.1f}"}
        for name, entry in weights.fetched().items()
    ]
    if rows:
        print(pd.DataFrame(rows).to_string(index=False))
    else:
        print(f"none in {weights.cache_folder()}; to download the official ones: xr-cloudmask weights fetch")


def _verify_weights(_: argparse.Namespace) -> None:
    """Check all weights in the cache before complaining about the first that are damaged."""
    damaged = {}
    for name, entry in weights.fetched().items():
        damaged[name] = weights.damaged(weights.cache_folder() / name, entry)
        print(f"{name}: {'damaged ' + ', '.join(damaged[name]) if damaged[name] else 'whole'}")
    bad = [name for name, files in damaged.items() if files]
    if bad:
        raise WeightsError(f"damaged weights {bad}", "files as they were downloaded", weights.again(bad[0]))


def _weights_path(arguments: argparse.Namespace) -> None:
    for file in weights.resolve(arguments.model):
        print(file.path)


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
            workers=arguments.workers,
            device=arguments.device,
            say=lambda facts: print(json.dumps(facts), flush=True),
        )
    except KeyboardInterrupt:
        if (arguments.out / CHECKPOINT).exists():  # not while worlds are prepared
            print(f"saved in {arguments.out}; the same command with --resume goes on", file=sys.stderr)
        raise
    print(f"predict with: --model universal --weights {written}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from xr_cloudmask import evaluation

    given = {"bands": tuple(arguments.layout) if arguments.layout else None, "codes": arguments.codes}
    layout = evaluation.PatchLayout(**{name: value for name, value in given.items() if value is not None})
    options = ("model", "bands", "sensor", "level", "resolution", "weights", "precision", "device")
    keywords = {name: getattr(arguments, name) for name in options if getattr(arguments, name) is not None}
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
