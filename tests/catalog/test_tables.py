"""Tables of STAC items for many scenes: GeoParquet, and what is said of databases."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import rustac
import scenes
import shapely
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask import Catalog, CatalogError, cli
from xr_cloudmask.catalog import archive, parquet, pgstac, stream
from xr_cloudmask.catalog import items as items_module
from xr_cloudmask.errors import MissingError

MODEL = "physical"
SIZE = (48, 48)
COUNT = 5


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Items that do not all have the same properties; the last one says wrong things."""
    folder = tmp_path_factory.mktemp("wpm")
    made = [copy.deepcopy(scenes.make_wpm(folder, str(folder), i, size=SIZE).item) for i in range(COUNT)]
    for i, item in enumerate(made):
        for name in items_module.CARRIED:
            item["properties"].pop(name, None)
        item["properties"] |= {} if i < 3 else {"platform": "CBERS-4A", "gsd": 8.0, "instruments": ["WPM"]}
    made[-1]["properties"] |= {"gsd": "8 m", "instruments": "WPM"}
    return [pystac.Item.from_dict(item) for item in made]


@pytest.fixture(scope="module", params=archive.KINDS)
def catalog(request, tmp_path_factory, items):
    found = Catalog(tmp_path_factory.mktemp(request.param) / "scenes.db", request.param)
    assert found.run(items, MODEL, workers=2, progress=False).made == COUNT
    return found


@pytest.fixture
def changed(catalog, tmp_path):
    """A copy of a catalogue, to be spoilt."""
    target = tmp_path / "copy.db"
    with closing(sqlite3.connect(catalog.path)) as source, closing(sqlite3.connect(target)) as new:
        source.backup(new)
    folder = archive.folder_of(catalog.path)
    archive.folder_of(target).mkdir()
    for path in folder.glob("*.tif*"):
        (archive.folder_of(target) / path.name).write_bytes(path.read_bytes())
    return Catalog(target)


def address_of(table):
    return [assets["cloud_mask"]["href"] for assets in table["assets"]]


def exported(catalog, folder, **keywords):
    (path,) = catalog.export(folder, "geoparquet", **keywords)
    return geopandas.read_parquet(path)


# GeoParquet.


@pytest.mark.parametrize("batch", [2, 8192])
def test_a_row_is_the_item_of_the_collection(catalog, items, tmp_path, monkeypatch, batch):
    """Read by two others, it says what the STAC collection says; batches do not all have the same columns."""
    monkeypatch.setattr(parquet, "BATCH", batch)
    (path,) = catalog.export(tmp_path / "table", "geoparquet")
    assert path.name == "cloudmasks.parquet"
    assert not list(path.parent.glob(".*"))
    _, *others = catalog.export(tmp_path / "stac", "stac")
    expected = {item["id"]: item for item in (json.loads(other.read_text()) for other in others)}

    table = geopandas.read_parquet(path)
    assert table.crs.to_epsg() == 4326
    assert table["id"].tolist() == list(expected)  # by date
    assert table["datetime"].tolist() == [pd.Timestamp(item.datetime) for item in items]
    assert table["eo:cloud_cover"].tolist() == [item["properties"]["eo:cloud_cover"] for item in expected.values()]
    for outline, item in zip(table.geometry, expected.values(), strict=True):
        assert shapely.equals(outline, shapely.geometry.shape(item["geometry"]))
        assert list(outline.bounds) == pytest.approx(item["bbox"])
    for href, other in zip(address_of(table), others, strict=True):
        with rasterio.open(href) as ours, rasterio.open(other.with_suffix(".tif")) as theirs:
            np.testing.assert_array_equal(ours.read(), theirs.read())

    for item in asyncio.run(_read(path)):
        other = expected[item["id"]]
        assert item["bbox"] == pytest.approx(other["bbox"])
        properties = {name: value for name, value in item["properties"].items() if value is not None}
        assert set(properties) == {name for name, value in other["properties"].items() if value is not None}
        for name in set(properties):
            read = pd.Timestamp if name.endswith("datetime") else lambda value: value
            assert read(properties[name]) == read(other["properties"][name])
        asset = item["assets"]["cloud_mask"]
        classes = [{k: v for k, v in entry.items() if v is not None} for entry in asset["classification:classes"]]
        assert classes == other["assets"]["cloud_mask"]["classification:classes"]


async def _read(path):
    return (await rustac.read(str(path)))["features"]


def test_what_is_no_stac_is_not_carried(catalog, tmp_path):
    table = exported(catalog, tmp_path)
    assert table["platform"].fillna("").tolist() == ["", "", "", "CBERS-4A", "CBERS-4A"]
    assert table["gsd"].fillna(0).tolist() == [0, 0, 0, 8, 0]


def test_no_mask_is_opened(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(items_module, "open_mask", None)  # would fail if it were called
    monkeypatch.setattr(archive, "_bytes_of", None)
    assert len(exported(catalog, tmp_path)) == COUNT


def test_classes_of_a_model_are_those_of_its_masks(items, tmp_path, monkeypatch):
    catalog = Catalog(tmp_path / "scenes.db")
    catalog.run(items[:3], MODEL, scheme="native", workers=2, progress=False)
    opened = []
    monkeypatch.setattr(
        items_module, "open_mask", lambda path, real=items_module.open_mask: opened.append(path) or real(path)
    )
    table = exported(catalog, tmp_path)
    assert len(opened) == 1
    mask = catalog.open(items[0].id)["cloud_mask"]
    for assets in table["assets"]:
        names = [entry["name"] for entry in assets["cloud_mask"]["classification:classes"]]
        assert names == mask.attrs["flag_meanings"].split()


def test_a_view_is_a_table_of_its_own(catalog, tmp_path):
    limit = catalog.to_dataframe()["cloud_fraction"].median()
    assert len(exported(catalog.filter(max_cloud=limit), tmp_path)) == 3
    with pytest.raises(CatalogError, match="no scene that is done"):
        catalog.filter(model="none").export(tmp_path, "geoparquet")


@pytest.mark.parametrize(
    ("place", "start"), [("https://some.org/masks/", "https://some.org/masks/"), ("s3://a/b", "s3://a/b/")]
)
def test_masks_may_be_elsewhere(changed, tmp_path, place, start):
    """Then they need not be here; names are those of the GeoTIFFs."""
    names = {path.name for path in changed.export(tmp_path / "masks", "tif")}
    for path in archive.folder_of(changed.path).iterdir():
        path.unlink()
    addresses = address_of(exported(changed, tmp_path / "table", masks_at=place))
    assert {address.removeprefix(start) for address in addresses} == names
    here = address_of(exported(changed, tmp_path / "table", masks_at=str(tmp_path / "masks")))
    assert {Path(address).name for address in here} == names
    assert all(Path(address).is_file() for address in here)
    with pytest.raises(CatalogError, match="leave masks_at out"):
        changed.export(tmp_path, "tif", masks_at=place)


def test_masks_in_a_database_lie_beside_the_table(catalog, tmp_path):
    table = exported(catalog, tmp_path)
    inside = catalog._inside
    assert all((Path(href).parent == tmp_path) == inside for href in address_of(table))
    assert len(list(tmp_path.glob("*.tif"))) == COUNT * inside


@pytest.mark.parametrize("spoil", [lambda cog: None, lambda cog: cog[:200], lambda cog: b""])
def test_masks_that_are_missing_or_cut_are_noticed(changed, tmp_path, spoil):
    name, *_ = _spoil(changed, spoil)
    with pytest.raises(CatalogError, match=rf"(?s)1 of {COUNT} masks .*missing or damaged: '{name}'.*catalog.run"):
        exported(changed, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.parquet"))


def _spoil(catalog, spoil):
    with closing(sqlite3.connect(catalog.path)) as database, database:
        item, name, scene, mask = database.execute("SELECT id, name, scene, mask FROM scenes").fetchone()
        if mask == "file":
            path = archive.folder_of(catalog.path) / f"{name}.tif"
            new = spoil(path.read_bytes())
            path.unlink() if new is None else path.write_bytes(new)
        else:
            (cog,) = database.execute("SELECT cog FROM masks WHERE scene = ?", (scene,)).fetchone()
            new = spoil(bytes(cog))
            if new is None:
                database.execute("DELETE FROM masks WHERE scene = ?", (scene,))
            else:
                database.execute("UPDATE masks SET cog = ? WHERE scene = ?", (new, scene))
    return item, scene


@pytest.mark.parametrize(
    ("column", "value"),
    [("item", "{"), ("item", '{"geometry": null}'), ("provenance", "{}"), ("transform", None), ("crs", "EPSG:nowhere")],
)
def test_rows_that_cannot_be_read_are_left_out(changed, tmp_path, column, value):
    with closing(sqlite3.connect(changed.path)) as database, database:
        database.execute(f"UPDATE scenes SET {column} = ? WHERE scene = 2", (value,))
    with pytest.warns(UserWarning, match=r"left out: 2 \("):
        assert len(exported(changed, tmp_path)) == COUNT - 1


def test_a_folder_that_cannot_be_written_is_one_error(catalog, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="room and permission"):
        catalog.export(tmp_path / "file" / "folder", "geoparquet")


def test_the_command_writes_a_table(catalog, tmp_path, capsys):
    command = ["export", "--db", str(catalog.path), "--format", "geoparquet", "--masks-at", "https://some.org/m"]
    assert cli.main([*command, "--to", str(tmp_path / "out")]) == 0
    table = geopandas.read_parquet(capsys.readouterr().out.strip())
    assert all(href.startswith("https://some.org/m/CBERS") for href in address_of(table))


@pytest.mark.parametrize("module", ["stac_geoparquet.arrow", "psycopg"])
def test_what_is_missing_says_what_to_type(catalog, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    write = (lambda: exported(catalog, tmp_path)) if "arrow" in module else (lambda: catalog.to_pgstac("dbname=x"))
    with pytest.raises(MissingError, match=re.escape("pip install 'xr-cloudmask[database]'")):
        write()


def test_batches():
    assert list(stream.batches(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(stream.batches([], 2)) == []


# Databases: what is said of those that are not there.

SECRET = "geheim"
UNREADABLE = (
    f"postgresql://user:{SECRET}@more@host/db",
    f"postgresql://user:{SECRET}/more@host/db",
    f"postgresql://user:1/{SECRET}@host/db",
    f"postgresql://user:{SECRET}%ZZ@host/db",
    f"postgresql://host/db?pass word={SECRET}",
    f"host=a password='{SECRET}",
    f"masks {SECRET}",
)
NOBODY = (
    f"postgresql://user:{SECRET}@127.0.0.1:1/db",
    f"postgres://user@127.0.0.1:1/db?password={SECRET}",
    f"host=127.0.0.1 port=1 dbname=db user=user password={SECRET}",
)


@pytest.mark.parametrize("address", [*UNREADABLE, *NOBODY])
def test_a_database_that_is_not_there_is_one_error_without_the_password(
    catalog, address, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogError) as caught:
        catalog.to_pgstac(address, masks_at="https://some.org")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert ("127.0.0.1, db" in str(caught.value)) == (address in NOBODY)
    for fmt in ("pgstac", "tif", "geoparquet"):
        if fmt == "pgstac" or "://" in address:
            assert cli.main(["export", "--db", str(catalog.path), "--to", address, "--format", fmt]) != 0
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert not list(tmp_path.iterdir())


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_no_part_of_a_password_becomes_a_name(text):
    import psycopg

    found, said = {}, ""
    try:
        found = pgstac._parameters(psycopg, f"postgresql://user:{SECRET}{text}{SECRET}@127.0.0.1:1/db")
    except CatalogError as error:
        said = str(error)
    assert SECRET not in said
    if not said:
        assert (found["host"], found["port"], found["dbname"], found["user"]) == ("127.0.0.1", "1", "db", "user")


def test_masks_in_a_database_are_not_named_where_nobody_finds_them(catalog):
    if catalog._inside:
        items = stream.Stream(catalog.path, "TRUE", ()).items(pgstac._kept_as_file, "any")
        with pytest.raises(CatalogError, match="masks_at="):
            next(items)
