"""The catalogue: what it keeps of a scene, that it does each once, and what others can read of it."""

from __future__ import annotations

import copy
import io
import json
import re
import shlex
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import geopandas
import notebook_44a
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import scenes
import shapely
import stac_server
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from paths import DOCS, TESTS
from pystac.validation import JsonSchemaSTACValidator, RegisteredValidator

from xr_cloudmask import Catalog, CatalogError, CloudMaskError, ModelError, cli, predict, stac
from xr_cloudmask.catalog import archive, runs, schema, work
from xr_cloudmask.catalog import items as items_module
from xr_cloudmask.models.index.four_four_a import FourFourAThresholds

COVERS = (0.05, 0.3, 0.6, 0.9)
SIZE = (72, 96)
MODEL = "physical"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wpm")


@pytest.fixture(scope="session")
def items(folder):
    made = [scenes.make_wpm(folder, str(folder), i, size=SIZE, cover=cover) for i, cover in enumerate(COVERS)]
    return [pystac.Item.from_dict(scene.item) for scene in made]


@pytest.fixture(scope="session")
def direct(items):
    """What predict gives for each item, without a catalogue."""
    return {item.id: predict(stac.load([item]), MODEL).isel(time=0).compute() for item in items}


@pytest.fixture(scope="session", params=archive.KINDS)
def catalog(request, tmp_path_factory, items):
    found = Catalog(tmp_path_factory.mktemp(request.param) / "scenes.db", request.param)
    done = found.run(items, MODEL, workers=2, progress=False)
    assert (len(done.done), done.failed, done.running, done.made) == (4, (), (), 4)
    return found


def renamed(item, **changes):
    """Return an item with another id or collection."""
    return pystac.Item.from_dict(copy.deepcopy(item.to_dict()) | changes)


def statuses(catalog):
    return catalog.to_dataframe()["status"].to_dict()


# What is kept of a scene.


def test_masks_are_those_of_predict(catalog, items, direct):
    for item in items:
        kept = catalog.open(item.id)
        assert kept["cloud_mask"].chunks is not None
        np.testing.assert_array_equal(kept["cloud_mask"], direct[item.id]["cloud_mask"])
        assert kept["cloud_mask"].attrs["model"] == MODEL
        assert str(kept["time"].values)[:10] == str(item.datetime.date())


def test_the_table_says_what_was_measured(catalog, items, direct):
    table = catalog.to_dataframe()
    assert table.index.tolist() == [item.id for item in items]
    for name in ("cloud_fraction", "cloud_shadow_fraction", "clear_fraction", "valid_fraction"):
        assert table[name].tolist() == [float(direct[item.id][name]) for item in items]
    row = table.iloc[0]
    assert (row["crs"], row["height"], row["width"]) == ("EPSG:32722", *SIZE)
    with rasterio.open(items[0].assets["BAND1"].href) as file:
        assert json.loads(row["transform"]) == list(file.transform)[:6]
    assert row["datetime"] == pd.Timestamp(items[0].datetime)
    assert (row["collection"], row["model"], row["version"]) == (scenes.COLLECTION, MODEL, "3")
    assert row["seconds"] > 0
    assert row["provenance"]["bands"] == "BAND1 BAND2 BAND3 BAND4"
    assert table.crs.to_epsg() == 4326
    assert shapely.equals(row["geometry"], shapely.geometry.shape(items[0].geometry))


@pytest.mark.parametrize("room", [0, 1 << 30], ids=["on disk", "in memory"])
def test_scene_pipelines_leave_their_statistics(tmp_path, items, monkeypatch, room):
    monkeypatch.setattr(work, "IN_MEMORY", room)
    catalog = Catalog(tmp_path / "scenes.db")
    catalog.run(items[:1], "4-4A", workers=1, progress=False)
    out = predict(stac.load(items[:1]), "4-4A").isel(time=0)
    row = catalog.to_dataframe().iloc[0]
    assert row["water_fraction"] == float(out["water_fraction"])
    assert row["band_mismatch"] == bool(out["band_mismatch"])
    assert row["statistics"] == dict(zip(out["statistic"].values, out["scene_statistics"].values, strict=True))
    np.testing.assert_array_equal(catalog.open(items[0].id)["cloud_mask"], out["cloud_mask"])


def test_a_file_has_colours_classes_and_no_data(catalog, tmp_path):
    for path in catalog.export(tmp_path, "tif"):
        with rasterio.open(path) as file:
            assert file.nodata == 255
            assert file.crs.to_epsg() == 32722
            assert file.colormap(1)[1][:3] != file.colormap(1)[0][:3]
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert "cloud_shadow" in path.with_name(f"{path.name}.aux.xml").read_text()


# Every scene once.


def test_what_is_done_is_skipped(tmp_path, items, monkeypatch):
    catalog = Catalog(tmp_path / "scenes.db")
    catalog.run(items[:2], MODEL, workers=2, progress=False)
    before = catalog.to_dataframe()["finished"].tolist()
    monkeypatch.setattr(runs, "attempt", None)  # would fail if it were called
    again = catalog.run(items[:2], MODEL, workers=2, progress=False)
    assert (len(again.done), again.made) == (2, 0)
    assert str(again) == "2 done (0 of them now), 0 failed"
    assert catalog.to_dataframe()["finished"].tolist() == before


def test_another_request_is_another_row(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    shared = {"workers": 1, "progress": False}
    wider = FourFourAThresholds(dark_nir=2.0)
    part = {"resolution": 16.0, "crs": "EPSG:32722"}
    for keywords in ({}, {"scheme": "binary"}, {"thresholds": wider}, {"load": part}):
        assert catalog.run(items[:1], "4-4A", **shared, **keywords).made == 1
        assert catalog.run(items[:1], "4-4A", **shared, **keywords).made == 0
    assert catalog.run(items[:1], MODEL, **shared).made == 1
    assert catalog.run([renamed(items[0], collection="other")], MODEL, **shared).made == 1
    # How a mask is made does not make it another one.
    assert catalog.run(items[:1], MODEL, load={"patch_url": str, "chunks": {"y": 32}}, **shared).made == 0
    assert len(catalog) == 6
    with pytest.raises(CatalogError, match=r"5 masks of (.|\n)* one of .*binary"):
        catalog.filter(collection=scenes.COLLECTION).open(items[0].id)
    for number in catalog.to_dataframe()["scene"]:
        assert catalog.open(int(number))["cloud_mask"].dtype == "uint8"


def test_a_cluster_gives_the_same_masks(tmp_path, items, direct):
    from distributed import Client

    catalog = Catalog(tmp_path / "scenes.db")
    with Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as client:
        done = catalog.run(items, MODEL, client=client, progress=False)
    assert done.made == 4
    for item in items:
        np.testing.assert_array_equal(catalog.open(item.id)["cloud_mask"], direct[item.id]["cloud_mask"])


def test_a_bar_is_shown(tmp_path, items, capsys):
    Catalog(tmp_path / "scenes.db").run(items[:2], MODEL, workers=1)
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"model": "csmsk"}, ModelError, "csmask"),
        ({"shceme": "binary"}, CatalogError, r"Catalog.run\(scheme="),
        ({"probabilities": True}, CatalogError, "unknown keyword 'probabilities'"),
        ({"load": {"bbx": 1}}, CatalogError, r"load=\{'bbox'"),
        ({"weights": "w.pt"}, ModelError, "brings its own"),
        ({"workers": 0}, CatalogError, "one or more"),
    ],
)
def test_what_cannot_work_for_any_scene_is_said_at_once(tmp_path, items, keywords, error, words):
    catalog = Catalog(tmp_path / "scenes.db")
    with pytest.raises(error, match=words):
        catalog.run(items, progress=False, **({"model": MODEL} | keywords))
    assert len(catalog) == 0


# What can be asked.


def test_filter_keeps_clear_scenes(catalog):
    table = catalog.to_dataframe()
    limit = float(table["cloud_fraction"].median())
    expected = table.index[table["cloud_fraction"] <= limit].tolist()
    assert 0 < len(expected) < 4
    assert catalog.filter(max_cloud=limit).to_dataframe().index.tolist() == expected
    assert len(catalog.filter(max_cloud=limit)) == len(expected)
    assert len(catalog.filter(max_shadow=0.99, min_valid=0.01, model=MODEL)) == 4
    assert len(catalog.filter(model=MODEL).filter(model="csmask")) == 0
    with pytest.raises(CatalogError, match="no scene that is done"):
        catalog.filter(min_valid=1).filter(max_cloud=0).filter(model="csmask").cube()


@pytest.mark.parametrize("name", ["max_cloud", "max_shadow", "min_valid"])
def test_limits_are_fractions(catalog, name):
    with pytest.raises(CloudMaskError, match=f"{name}=0.15"):
        catalog.filter(**{name: 15})


def test_it_shows_itself(catalog):
    assert "4 done" in repr(catalog)
    html = catalog._repr_html_()
    assert "4 done" in html
    assert "cloud_fraction" in html


def test_opening_what_is_not_there(catalog):
    with pytest.raises(CatalogError, match="no scene 'none'"):
        catalog.open("none")
    with pytest.raises(CatalogError, match="no scene 99"):
        catalog.open(99)


def test_masks_make_a_cube(catalog, items, direct):
    cube = catalog.cube()
    assert cube["cloud_mask"].chunks is not None
    assert cube["cloud_mask"].dims == ("time", "y", "x")
    assert cube["id"].values.tolist() == [item.id for item in items]
    assert cube["cloud_mask"].attrs["flag_meanings"].startswith("clear")
    for i, item in enumerate(items):
        mask = direct[item.id]["cloud_mask"]
        np.testing.assert_array_equal(cube["cloud_mask"][i].sel(y=mask["y"], x=mask["x"]), mask)
    outside = cube["cloud_mask"][0].sel(x=slice(610_000, None))
    assert (outside == 255).all()
    assert cube["cloud_fraction"].values.tolist() == [float(direct[item.id]["cloud_fraction"]) for item in items]


def test_a_cube_of_some_scenes_on_a_grid(catalog, items, direct):
    cube = catalog.cube([items[1].id], crs="EPSG:32722", resolution=16)
    mask = direct[items[1].id]["cloud_mask"].values
    assert cube.sizes == {"time": 1, "y": SIZE[0] // 2, "x": SIZE[1] // 2}
    assert set(np.unique(cube["cloud_mask"])) <= set(np.unique(mask))


def test_masks_of_several_schemes_make_no_cube(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    for scheme in ("cloudsen12", "binary"):
        catalog.run(items[:1], MODEL, workers=1, progress=False, scheme=scheme)
    with pytest.raises(CatalogError, match=r"binary.*cloudsen12"):
        catalog.cube()


# What others can read.


def test_export_of_geotiffs(catalog, direct, tmp_path):
    for path, (name, mask) in zip(catalog.export(tmp_path / "new" / "folder"), direct.items(), strict=True):
        assert path.name.startswith(name)
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(1), mask["cloud_mask"])


def test_export_of_a_geopackage(catalog, direct, tmp_path):
    (path,) = catalog.export(tmp_path, "gpkg")
    footprints = geopandas.read_file(path, layer="scenes").set_index("id")
    assert footprints.crs.to_epsg() == 4326
    assert footprints["cloud_fraction"].tolist() == catalog.to_dataframe()["cloud_fraction"].tolist()
    outlines = geopandas.read_file(path, layer="classes").to_crs(32722)
    for name, mask in direct.items():
        labels = mask["cloud_mask"].values
        for code, entry in ((1, "thick_cloud"), (3, "cloud_shadow")):
            chosen = outlines[(outlines["id"] == name) & (outlines["class"] == entry)]
            assert chosen.area.sum() == pytest.approx((labels == code).sum() * 64, rel=1e-4, abs=1)
    assert set(outlines["class"]) <= {"thick_cloud", "thin_cloud", "cloud_shadow"}
    assert catalog.export(tmp_path, "gpkg") == (path,)  # a second time, it is replaced
    assert len(geopandas.read_file(path, layer="scenes")) == 4


def test_export_of_a_stac_collection(catalog, direct, tmp_path):
    collection_path, *paths = catalog.export(tmp_path, "stac")
    collection = pystac.Collection.from_file(str(collection_path))
    found = list(collection.get_items())
    assert len(found) == len(paths) == 4
    for item, (name, mask) in zip(found, direct.items(), strict=True):
        assert item.id.startswith(name)
        assert item.properties["eo:cloud_cover"] == pytest.approx(100 * float(mask["cloud_fraction"]), abs=1e-4)
        asset = item.assets["cloud_mask"]
        classes = asset.extra_fields["classification:classes"]
        assert {entry["value"]: entry["name"] for entry in classes}[3] == "cloud_shadow"
        assert all(len(entry.get("color_hint", "0" * 6)) == 6 for entry in classes)
        with rasterio.open(asset.get_absolute_href()) as file:
            assert item.properties["proj:shape"] == list(file.shape)
            assert item.properties["proj:transform"] == list(file.transform)[:6]
            np.testing.assert_array_equal(file.read(1), mask["cloud_mask"])


SCHEMAS = TESTS / "stac_schemas"
# The rules of the processing extension for the two fields that are used; its other fields would be refused.
PROCESSING = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": items_module.PROCESSING,
    "properties": {
        "properties": {
            "required": ["processing:software", "processing:lineage"],
            "properties": {
                "processing:software": {"type": "object", "additionalProperties": {"type": "string"}},
                "processing:lineage": {"type": "string", "minLength": 1},
            },
            "patternProperties": {"^processing:(?!software$|lineage$)": False},
        }
    },
}


@pytest.fixture
def _published_schemas(monkeypatch):
    """Let pystac find the schemas of extensions on disk."""
    validator = JsonSchemaSTACValidator()
    for published in (PROCESSING, *[json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")]):
        validator.schema_cache[published["$id"].rstrip("#")] = published
    monkeypatch.setattr(RegisteredValidator, "_validator", validator)


@pytest.mark.usefixtures("_published_schemas")
def test_exported_stac_is_valid(catalog, tmp_path):
    """By the schemas of STAC and of every extension that is declared."""
    collection = pystac.Collection.from_file(str(catalog.export(tmp_path, "stac")[0]))
    assert collection.validate_all() == 4
    declared = {uri for item in collection.get_items() for uri in item.stac_extensions}
    assert declared == {items_module.EO, items_module.PROJECTION, items_module.CLASSIFICATION, items_module.PROCESSING}
    for item in collection.get_items():
        fields = [*item.properties, *item.assets["cloud_mask"].extra_fields]
        assert {name.split(":")[0] for name in fields if ":" in name} == {"eo", "proj", "processing", "classification"}


@pytest.mark.usefixtures("_published_schemas")
@pytest.mark.parametrize("crs", [None, "+proj=aea +lat_1=-5 +lat_2=-42 +lat_0=-32 +lon_0=-60 +ellps=GRS80"])
def test_stac_of_a_grid_without_a_code_is_valid(catalog, crs):
    """A projection that no authority has a number for is written in full; without any, the code is null."""
    with schema.connect(catalog.path) as database:
        row, path = catalog._chosen.done(database, None)[0]
    item = items_module.item_of(dict(row) | {"crs": crs}, path)
    item.validate()
    assert item.properties["proj:code"] is None
    assert ("proj:wkt2" in item.properties) == (crs is not None)


@pytest.mark.usefixtures("_published_schemas")
def test_the_schemas_would_notice(catalog):
    with schema.connect(catalog.path) as database:
        row, path = catalog._chosen.done(database, None)[0]
    for spoil in (
        lambda item: item.properties.update({"eo:cloud_cover": 101}),
        lambda item: item.properties.update({"proj:shape": [1.5, 2]}),
        lambda item: item.properties.update({"processing:software": "xr-cloudmask"}),
        lambda item: item.assets["cloud_mask"].extra_fields["classification:classes"][0].pop("value"),
    ):
        item = items_module.item_of(row, path)
        item.validate()
        spoil(item)
        with pytest.raises(pystac.STACValidationError):
            item.validate()


@pytest.mark.usefixtures("_published_schemas")
def test_items_without_a_footprint_have_that_of_their_mask(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    bare = pystac.Item.from_dict(items[0].to_dict() | {"geometry": None, "bbox": None})
    assert catalog.run([bare], MODEL, workers=1, progress=False).made == 1
    path, _ = catalog.export(tmp_path / "out", "stac")
    collection = pystac.Collection.from_file(str(path))
    assert collection.validate_all() == 1
    (item,) = collection.get_items()
    np.testing.assert_allclose(item.bbox, items[0].bbox, atol=1e-4)
    assert collection.extent.spatial.bboxes == [item.bbox]
    for fmt in ("tif", "gpkg"):
        assert catalog.export(tmp_path / "out", fmt)
    assert catalog.cube()["cloud_mask"].sizes["time"] == 1


def test_a_new_database_of_the_same_name_has_its_own_masks(tmp_path, items):
    """Masks inside a database are unpacked to temporary files, which outlast it."""
    for i in (0, 1):
        catalog = Catalog(tmp_path / "scenes.db", "database")
        catalog.run([renamed(items[i], id="same")], MODEL, workers=1, progress=False)
        direct = predict(stac.load([items[i]]), MODEL)["cloud_mask"][0]
        np.testing.assert_array_equal(catalog.open("same")["cloud_mask"], direct)
        for path in tmp_path.glob("scenes.db*"):
            path.unlink()


def test_an_id_that_is_no_text_is_refused(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    with pytest.raises(CatalogError, match="leave the item out"):
        catalog.run([items[0], renamed(items[0], id="half \ud800")], MODEL, progress=False)
    found = renamed(items[0])
    found.assets["BAND2"].href = "/half \ud800.tif"
    assert catalog.run([found], MODEL, progress=False).failed == (found.id,)
    assert "surrogates" in catalog.to_dataframe()["error"].iloc[0]
    assert work.Failure.of(ValueError("half \ud800")).text == "half \\ud800"


def test_export_of_nothing_and_to_nowhere(catalog, tmp_path):
    with pytest.raises(CatalogError, match="'tif', 'gpkg', 'stac'"):
        catalog.export(tmp_path, "shp")
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="room and permission"):
        catalog.export(tmp_path / "file" / "folder")


# Names that others choose.

NASTY = (
    "'; DROP TABLE scenes; --",
    "../../../etc/cron.d/evil",
    "/absolute/path",
    '"quoted" <b>id</b>',
    "..",
    "",
    "x" * 300,
    "nul\0byte",
    "名前",
)


def test_nasty_ids_and_collections_are_text(tmp_path, items):
    (tmp_path / "in").mkdir()
    catalog = Catalog(tmp_path / "in" / "scenes.db")
    nasty = [renamed(items[0], id=name, collection=name) for name in NASTY]
    assert catalog.run(nasty, "4-4A", workers=2, progress=False).made == len(NASTY)
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    masks = catalog.path.with_name("scenes.masks")
    assert len(list(masks.glob("*.tif"))) == len(NASTY)
    assert all(path.parent == masks for path in masks.rglob("*"))
    for name in NASTY:
        assert catalog.open(name)["cloud_mask"].shape == SIZE
        assert len(catalog.filter(collection=name)) == 1
    assert len(catalog.filter(model="' OR 1=1 --")) == 0
    assert "<b>id</b>" not in catalog._repr_html_()
    for fmt in ("tif", "gpkg", "stac"):
        written = catalog.export(tmp_path / "out", fmt)
        assert all(path.resolve().is_relative_to(tmp_path / "out") for path in written)


@given(st.text(), st.text(), st.text())
def test_file_names_are_safe_and_of_one_scene(item, collection, request):
    name = archive.file_name(item, collection, request)
    assert Path(name).name == name
    assert name.isascii()
    assert not name.startswith((".", "-"))
    assert len(name) <= archive.LONGEST + 13
    assert name != archive.file_name(item + "x", collection, request)
    assert name != archive.file_name(item, collection + "x", request)


# The database.


def test_the_schema_is_versioned(tmp_path, items, monkeypatch):
    catalog = Catalog(tmp_path / "scenes.db")
    catalog.run(items[:1], MODEL, workers=1, progress=False)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("ALTER TABLE scenes ADD COLUMN note TEXT",)))
    assert Catalog(catalog.path).to_dataframe()["note"].tolist() == [None]
    assert len(catalog.cube()["time"]) == 1
    monkeypatch.undo()
    with pytest.raises(CatalogError, match="of version 3\nexpected: a catalogue of version 2"):
        Catalog(catalog.path)


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = Catalog(tmp_path / "scenes.db").path
    broken = ("ALTER TABLE scenes ADD COLUMN note TEXT", "ALTER TABLE nowhere ADD COLUMN note TEXT")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    with pytest.raises(CatalogError, match="nowhere"):
        Catalog(path)
    monkeypatch.undo()
    assert "note" not in Catalog(path).to_dataframe()


def test_files_that_are_no_catalogue(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as database, database:
        database.execute("CREATE TABLE scenes (id)")
        database.execute("PRAGMA user_version = 1")
    (tmp_path / "text.db").write_text("nothing of the kind" * 100)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CatalogError, match="of another program"):
        Catalog(tmp_path / "other.db")
    with pytest.raises(CatalogError, match="not a database"):
        Catalog(tmp_path / "text.db")
    with pytest.raises(CatalogError, match="a folder that exists"):
        Catalog(tmp_path / "nowhere" / "scenes.db")
    with pytest.raises(CatalogError, match="'files', 'database'"):
        Catalog(tmp_path / "scenes.db", "blobs")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_database_and_masks_move_together(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    catalog.run(items[:1], MODEL, workers=1, progress=False)
    (tmp_path / "moved").mkdir()
    for path in [*tmp_path.glob("scenes.*")]:
        path.rename(tmp_path / "moved" / path.name)
    assert Catalog(tmp_path / "moved" / "scenes.db").open(items[0].id)["cloud_mask"].shape == SIZE


# The command line.


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.filterwarnings("ignore:model '4-4A' cannot see overcast")
def test_the_whole_workflow_in_one_command(tmp_path, capsys):
    """Search, mask every scene, choose the clear ones, write them for QGIS: as with a server far away."""
    (tmp_path / "files").mkdir()
    with stac_server.serve_files(tmp_path / "files") as files:
        made = [scenes.make_wpm(tmp_path / "files", files.url, i, size=SIZE, cover=c) for i, c in enumerate(COVERS)]
        found = [pystac.Item.from_dict(scene.item) for scene in made]
        expected = {item.id: predict(stac.load([item]), "4-4A").isel(time=0).compute() for item in found}
        with stac_server.serve_api([scene.item for scene in made], tmp_path / "api") as api:
            database = tmp_path / "scenes.db"
            search = ["--stac", api.url, "--collection", scenes.COLLECTION, "--bbox", "-53.2,-20,-45.9,-12.4"]
            command = ["run", *search, "--datetime", "2025-01-01/2025-01-31", "--model", "4-4A", "--db", database]
            assert run(*command, "--workers", 2) == 0
            assert "4 scenes: 4 done (4 of them now), 0 failed" in capsys.readouterr().out
            asked = len(files.log)
            assert run(*command, "--workers", 2) == 0
            assert "4 done (0 of them now)" in capsys.readouterr().out
            assert len(files.log) == asked

    shadows = {name: float(mask["cloud_shadow_fraction"]) for name, mask in expected.items()}
    limit = sorted(shadows.values())[1]
    clear = [name for name, shadow in shadows.items() if shadow <= limit]
    assert run("list", "--db", database, "--max-shadow", f"{100 * limit}%", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in listed] == clear
    assert listed[0]["footprint"]["type"] == "Polygon"
    assert run("export", "--db", database, "--to", tmp_path / "out", "--max-shadow", f"{100 * limit}%") == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    for path, name in zip(written, clear, strict=True):
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(1), expected[name]["cloud_mask"])


@pytest.mark.filterwarnings("ignore:model '4-4A' cannot see overcast")
def test_the_notebooks_workflow_cell_by_cell(tmp_path):
    """Search, skip what is done, process, keep, choose by cloud, write; the notebook's own functions beside ours."""
    space = notebook_44a.cells()
    space["rasterio"] = rasterio
    # Calibration scales a band, which changes nothing but what rounding makes of numbers on a threshold.
    space["get_coefficient"] = lambda _: notebook_44a.UNITS
    (tmp_path / "files").mkdir()
    catalog = Catalog(tmp_path / "scenes.db")
    with stac_server.serve_files(tmp_path / "files") as files:
        made = [scenes.make_wpm(tmp_path / "files", files.url, i, size=(150, 200)) for i in range(4)]
        for i, scene in enumerate(made):
            for number, band in enumerate(notebook_44a.scene(i, (150, 200)), 1):
                name = scene.item["id"]
                with rasterio.open(tmp_path / "files" / name / f"{name}_BAND{number}.tif", "r+") as file:
                    file.write(band, 1)
        with stac_server.serve_api([scene.item for scene in made], tmp_path / "api") as api:
            found = stac.search(
                api.url, scenes.COLLECTION, bbox=(-53.25, -19.50, -45.91, -12.39), datetime="2025-01-01/2025-01-31"
            )
            assert len(found) == 4
            first = catalog.run(found[:2], "4-4A", workers=1, progress=False)
            both = catalog.run(found, "4-4A", workers=2, progress=False)
            assert (first.made, both.made, len(both.done)) == (2, 2, 4)
            by_id = {item.id: item for item in found}
            space["service"] = SimpleNamespace(get_items=lambda name: iter([by_id[name].clone()]))
            expected = {name: space["process_item"](name) for name in by_id}
    table = catalog.to_dataframe()
    for name, cells in expected.items():
        merged = np.load(io.BytesIO(zlib.decompress(cells["raster_blob"])))
        labels = catalog.open(name)["cloud_mask"].values
        np.testing.assert_array_equal(np.select([labels == 1, labels == 3], [200, 100], 0), merged)
        for kind in ("cloud_shadow", "water"):
            assert 100 * table.loc[name, f"{kind}_fraction"] == pytest.approx(cells[f"{kind}_percentage"], abs=1e-4)
        # The notebook counts cloud before shadow covers some of it; the table counts what the mask has.
        cells["cloud"] = 100 * (merged == 200).sum() / (labels != 255).sum()
        assert cells["cloud"] <= cells["cloud_percentage"] < cells["cloud"] + 1
        assert 100 * table.loc[name, "cloud_fraction"] == pytest.approx(cells["cloud"], abs=1e-4)
        assert table.loc[name, "band_mismatch"] == cells["band_mismatch"]
    # "SELECT ... WHERE cloud_percentage < ...", and a GeoTIFF of each.
    limit = sorted(cells["cloud"] for cells in expected.values())[1] + 0.01
    clear = [name for name, cells in expected.items() if cells["cloud"] < limit]
    assert len(clear) == 2
    written = catalog.filter(max_cloud=limit / 100).export(tmp_path / "out")
    assert [path.name.rpartition("-")[0] for path in written] == clear
    for path, name in zip(written, clear, strict=True):
        with rasterio.open(path) as file:
            assert rasterio.crs.CRS.from_wkt(expected[name]["crs_wkt"]) == file.crs
            assert json.loads(expected[name]["transform_gdal"]) == list(file.transform.to_gdal())
            assert file.nodata == 255
            assert file.colormap(1)[1] != file.colormap(1)[3]


@pytest.fixture(scope="module")
def database(tmp_path_factory, items):
    catalog = Catalog(tmp_path_factory.mktemp("cli") / "scenes.db")
    broken = renamed(items[2], id="broken")
    del broken.assets["BAND4"]
    assert catalog.run([*items[:2], broken], MODEL, workers=2, progress=False).failed == ("broken",)
    return catalog.path


def test_list(database, items, capsys):
    assert run("list", "--db", database) == 0
    printed = capsys.readouterr().out
    assert all(item.id in printed for item in items[:2])
    assert "found: bands BAND1 (blue), BAND2 (green), BAND3 (red), which lack nir" in printed
    assert run("list", "--db", database, "--csv") == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table["status"].tolist() == ["done", "done", "failed"]
    assert run("list", "--db", database, "--model", "none") == 0
    assert capsys.readouterr().out == ""


def test_show(database, capsys):
    assert run("show", "broken", "--db", database) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status"], shown["error_type"], shown["attempts"]) == ("failed", "ModelError", 1)
    assert shown["cloud_fraction"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--db", "none.db"], "no file 'none.db'"),
        (["show", "none"], "no scene 'none'"),
        (["export", "--to", "out", "--model", "none"], "no scene that is done"),
    ],
)
def test_bad_commands_are_a_message(database, capsys, arguments, words):
    assert run(*arguments, *([] if "--db" in arguments else ["--db", database])) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["15", "-1", "15%%", "1.5", "nan", "cloudy"])
def test_shell_limits_are_fractions_or_have_their_sign(database, capsys, limit):
    with pytest.raises(SystemExit) as ended:
        run("list", f"--max-cloud={limit}", "--db", database)
    assert ended.value.code == 2
    assert "--max-cloud" in capsys.readouterr().err
    for everything in ("100%", "1", "1.0"):
        assert run("list", "--json", "--max-cloud", everything, "--db", database) == 0
        assert len(json.loads(capsys.readouterr().out)) == len(Catalog(database).filter(max_cloud=1))


def test_a_run_with_failures_is_exit_code_1(tmp_path, items, capsys, monkeypatch):
    broken = renamed(items[2], id="broken")
    del broken.assets["BAND4"]
    monkeypatch.setattr(stac, "search", lambda *_, **__: [items[0], broken])
    command = ["run", "--stac", "http://127.0.0.1:9", "--collection", "c", "--db", tmp_path / "s.db", "--model", MODEL]
    assert run(*command, "--masks", "database") == 1
    printed = capsys.readouterr()
    assert "1 done (1 of them now), 1 failed" in printed.out
    assert "xr-cloudmask list --db" in printed.err
    assert not list((tmp_path / "s.masks").glob("*.tif"))


def test_reading_needs_no_prediction(catalog):
    """Opened masks are masks to everything else in the package."""
    cube = catalog.cube()
    assert isinstance(cube.cloudmask.coverage(), xr.Dataset)
    assert cube.cloudmask.to_scheme("binary").attrs["scheme"] == "binary"


# The page.


def test_every_block_of_the_page(tmp_path, monkeypatch):
    page = (DOCS / "catalog.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    made = [scenes.make_wpm(tmp_path / "wpm", "", i, size=SIZE, cover=cover).item for i, cover in enumerate(COVERS)]
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    # Another process of tests may have a cluster, and so the port of its dashboard.
    code = code.replace("Client(", "Client(dashboard_address='127.0.0.1:0', ")
    with stac_server.serve_files(tmp_path / "wpm") as files:
        found = json.loads(json.dumps(made).replace('"href": "/', f'"href": "{files.url}/'))
        with stac_server.serve_api(found, tmp_path / "api") as api:
            exec(code.replace("https://data.inpe.br/bdc/stac/v1/", api.url), names)
    assert len(names["catalog"]) == 5
    assert set(names["table"].columns) > {"eo:cloud_cover", "geometry"}
    assert names["cube"].sizes["time"] == len(list(Path("masks").glob("*.tif"))) > 0


def test_every_command_of_the_page():
    page = (DOCS / "catalog.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^xr-cloudmask (.*)$", page, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        assert cli._parser().parse_args(cli._joined(shlex.split(command))).db == Path("scenes.db")
