"""``xr-cloudmask run | list | show | export | verify``: a catalogue of scenes."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from xr_cloudmask import stac
from xr_cloudmask.catalog import FILTERS, Catalog
from xr_cloudmask.catalog.archive import KINDS
from xr_cloudmask.catalog.catalog import SHOWN
from xr_cloudmask.catalog.formats import COLLECTION, FORMATS, TABLE
from xr_cloudmask.cli.options import DONE, UNUSABLE, add_mask_options, fraction, predict_options
from xr_cloudmask.cli.printing import cell, shown
from xr_cloudmask.errors import CatalogError, listed

CATALOGUE = Path("scenes.db")
PGSTAC = "pgstac"  # no folder: a database


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``run``."""
    parser.set_defaults(run=_run)
    search = parser.add_argument_group("the scenes")
    search.add_argument("--stac", required=True, metavar="URL", help="root of a STAC API")
    search.add_argument("--collection", required=True, nargs="+", metavar="C", help="ids of collections")
    search.add_argument("--bbox", metavar="W,S,E,N", help="west, south, east, north in degrees")
    search.add_argument("--datetime", metavar="FROM/TO", help="2025-01, 2025-01-01/2025-01-31 …")
    search.add_argument("--limit", type=int, metavar="N", help="largest number of scenes")
    search.add_argument(
        "--allow-local", action="store_true", help="let items of the internet name files and servers of this network"
    )
    add_mask_options(parser)
    parser.add_argument("--db", type=Path, default=CATALOGUE, help="the catalogue; default: %(default)s")
    parser.add_argument("--masks", choices=KINDS, default=KINDS[0], help="where they are kept; default: %(default)s")
    parser.add_argument("--workers", type=int, metavar="N", help="scenes at once; default: as many as cores")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def add_readers(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands that read a catalogue."""
    database = argparse.ArgumentParser(add_help=False, parents=[common])
    database.add_argument("--db", type=Path, default=CATALOGUE, help="the catalogue; default: %(default)s")
    chosen = argparse.ArgumentParser(add_help=False, parents=[database])
    for name in FILTERS:
        what = name[len("max_") :]
        chosen.add_argument(_flag(name), type=fraction, metavar="F", help=f"{what}, such as 0.15 or 15%%")
    chosen.add_argument("--model", help="as it was asked for")

    listing = commands.add_parser("list", parents=[chosen], help="list the scenes of a catalogue")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="everything, as JSON")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="everything, as CSV")
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", parents=[database], help="show all that is known of a scene")
    show.add_argument("id", metavar="ID", help="id of the item")
    show.set_defaults(run=_show)
    writing = commands.add_parser("export", parents=[chosen], help="write masks for other programs and databases")
    writing.add_argument(
        "--to",
        required=True,
        metavar="DIR",
        help="folder, made where there is none; of pgstac, postgresql://user@host/db",
    )
    writing.add_argument("--format", choices=(*FORMATS, TABLE, PGSTAC), default="tif", help="default: %(default)s")
    writing.add_argument(
        "--masks-at",
        metavar="URL",
        help="of geoparquet and pgstac: where others find the GeoTIFFs; default: where they are",
    )
    writing.set_defaults(run=_export)
    checking = commands.add_parser("verify", parents=[database], help="compare the masks with their checksums")
    checking.set_defaults(run=_verify)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _run(arguments: argparse.Namespace) -> int:
    found = stac.search(
        arguments.stac,
        arguments.collection,
        bbox=arguments.bbox,
        datetime=arguments.datetime,
        limit=arguments.limit,
    )
    catalog = Catalog(arguments.db, arguments.masks)
    shown = not arguments.quiet and sys.stderr.isatty()
    load = {"allow_local": True} if arguments.allow_local else {}
    done = catalog.run(found, load=load, workers=arguments.workers, progress=shown, **predict_options(arguments))
    if not arguments.quiet:
        print(f"{len(found)} scenes: {done}")
    if done.failed:
        print(f"why: xr-cloudmask list --db {shlex.quote(str(arguments.db))}; run again to retry", file=sys.stderr)
    return UNUSABLE if done.failed else DONE


def _catalogue(arguments: argparse.Namespace) -> Catalog:
    """Open a catalogue that is there, and of it what is asked for."""
    if not arguments.db.exists():
        raise CatalogError(f"no file {str(arguments.db)!r}", "a catalogue", "--db scenes.db, or xr-cloudmask run first")
    limits = {name: getattr(arguments, name, None) for name in FILTERS}
    return Catalog(arguments.db).filter(**limits, model=getattr(arguments, "model", None))


def _list(arguments: argparse.Namespace) -> None:
    table = _catalogue(arguments).to_dataframe()
    if arguments.form == "json":
        print(json.dumps(_records(table), indent=1))
    elif arguments.form == "csv":
        plain = pd.DataFrame(table.drop(columns=["statistics", "provenance", "geometry"])).reset_index()
        print(plain.map(cell).to_csv(index=False), end="")
    elif len(table):
        errors = table["error"].fillna("").str.partition("\n")[0]
        listed = pd.DataFrame(table.assign(error=errors)[list(SHOWN)])
        print(shown(listed.to_string(float_format="%.3f", na_rep="-")))


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
    catalog = _catalogue(arguments)
    if arguments.format == PGSTAC:
        count = catalog.to_pgstac(arguments.to, masks_at=arguments.masks_at)
        print(f"{count} items in collection {COLLECTION!r}")
        return
    for path in catalog.export(arguments.to, arguments.format, masks_at=arguments.masks_at):
        print(shown(path))


def _verify(arguments: argparse.Namespace) -> None:
    table = _catalogue(arguments).verify()
    wrong = table[table["problem"] != ""]
    print(f"{len(table) - len(wrong)} masks whole, {len(wrong)} with a problem")
    if len(wrong):
        problems = [f"{scene} ({problem})" for scene, problem in wrong["problem"].items()]
        raise CatalogError(
            f"{len(wrong)} of {len(table)}: {listed(problems)}",
            "masks as they were made",
            "xr-cloudmask run as before, which makes them again",
        )
