"""The same search and the same run against pgstac, which the large public catalogues use."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import numpy as np
import pgstac_server
import psycopg
import pystac
import pytest
import rasterio
import scenes
import stac_server

from xr_cloudmask import Catalog, CatalogError, StacError, cli, predict, stac
from xr_cloudmask.catalog import pgstac

pytestmark = [
    pytest.mark.pgstac,
    pytest.mark.skipif(bool(pgstac_server.missing()), reason=pgstac_server.missing() or "all there"),
]
COUNT = 12  # more than a page, which is ten


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The address of an API, and the items behind it."""
    folder = tmp_path_factory.mktemp("wpm")
    with stac_server.serve_files(folder) as files:
        made = [
            scenes.make_wpm(folder, files.url, i, size=(48, 64), cloud_cover=None if i == 1 else 5.0 * i).item
            for i in range(COUNT)
        ]
        with pgstac_server.serve(made) as url:
            yield url, made


def test_search_by_area_date_and_property(api):
    url, made = api
    names = [item["id"] for item in made]
    found = stac.search(url, scenes.COLLECTION, bbox=(-53.2, -20, -45.9, -12.4), datetime="2025-01")
    assert [item.id for item in found] == names
    assert found[1].properties.get("eo:cloud_cover") is None  # pgstac leaves null out
    few = stac.search(url, scenes.COLLECTION, query={"eo:cloud_cover": {"lt": 20}})
    assert [item.id for item in few] == [names[0], *names[2:4]]
    west, south, east, north = made[3]["bbox"]
    inside = {"type": "Point", "coordinates": [(west + east) / 2, (south + north) / 2]}
    assert [item.id for item in stac.search(url, intersects=inside)] == [names[3]]
    assert len(stac.search(url, scenes.COLLECTION, limit=11)) == 11
    with pytest.raises(StacError, match="no collection"):
        stac.search(url, "'; DROP TABLE items; --")


def test_the_workflow(api, tmp_path, capsys):
    url, made = api
    database = tmp_path / "scenes.db"
    command = ["run", "--stac", url, "--collection", scenes.COLLECTION, "--datetime", "2025-01-01/2025-01-31"]
    assert cli.main([*command, "--model", "4-4A", "--db", str(database), "--workers", "2", "--limit", "3"]) == 0
    assert "3 scenes: 3 done (3 of them now)" in capsys.readouterr().out
    done = Catalog(database).to_dataframe()
    assert cli.main(["export", "--db", str(database), "--to", str(tmp_path / "out")]) == 0
    written = capsys.readouterr().out.splitlines()
    items = {item["id"]: pystac.Item.from_dict(item) for item in made}
    for name, path in zip(done.index, written, strict=True):
        direct = predict(stac.load([items[name]]), "4-4A")["cloud_mask"][0]
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(1), direct)
    assert cli.main(["list", "--db", str(database), "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == done.index.tolist()


# The catalogue's own masks in such a database.


@pytest.fixture(scope="module")
def server():
    """An empty database with pgstac: how programs find it."""
    with pgstac_server.database() as environment:
        yield environment


@pytest.fixture
def masked(tmp_path):
    """A catalogue of three masks."""
    made = [scenes.make_wpm(tmp_path / "wpm", str(tmp_path / "wpm"), i, size=(48, 48)).item for i in range(3)]
    catalog = Catalog(tmp_path / "scenes.db")
    catalog.run([pystac.Item.from_dict(item) for item in made], "physical", workers=2, progress=False)
    return catalog


def rows_of(server, collection):
    query = "SELECT count(*), count(DISTINCT id) FROM pgstac.items WHERE collection = %s"
    with psycopg.connect(pgstac_server.address(server)) as database:
        return database.execute(query, (collection,)).fetchone()


def content_of(server, collection):
    """Return a collection and its items, as pgstac's own search gives them."""
    asked = json.dumps({"collections": [collection], "sortby": [{"field": "datetime", "direction": "asc"}]})
    with psycopg.connect(pgstac_server.address(server)) as database:
        database.execute("SET search_path TO pgstac, public")
        found = database.execute("SELECT content FROM collections WHERE id = %s", (collection,)).fetchone()[0]
        return found, database.execute("SELECT search(%s)", (asked,)).fetchone()[0]["features"]


def test_masks_go_into_a_database_by_one_command(server, masked, tmp_path, capsys):
    command = [
        "export",
        "--db",
        str(masked.path),
        "--to",
        pgstac_server.address(server, "geheim"),
        "--format",
        "pgstac",
    ]
    for _ in range(2):  # again: what is there is replaced
        assert cli.main(command) == 0
        assert capsys.readouterr().out == "3 items in collection 'cloudmasks'\n"
        assert rows_of(server, "cloudmasks") == (3, 3)
    collection, found = content_of(server, "cloudmasks")
    _, *paths = masked.export(tmp_path / "stac", "stac")
    for item, path in zip(found, paths, strict=True):
        expected = json.loads(path.read_text())
        assert item["id"] == expected["id"]
        assert item["bbox"] == pytest.approx(expected["bbox"])
        for name in ("eo:cloud_cover", "proj:transform", "processing:lineage", "proj:code"):
            assert item["properties"][name] == expected["properties"][name]
        assert item["assets"]["cloud_mask"] == expected["assets"]["cloud_mask"] | {
            "href": str(masked.path.with_name("scenes.masks") / f"{item['id']}.tif")
        }
        pystac.Item.from_dict(item)
    boxes = np.array([item["bbox"] for item in found])
    west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
    assert (west, south) == pytest.approx(boxes[:, :2].min(axis=0), abs=1e-3)
    assert (east, north) == pytest.approx(boxes[:, 2:].max(axis=0), abs=1e-3)
    assert collection["extent"]["temporal"]["interval"][0][0] is not None


def test_what_changed_is_replaced_and_what_others_wrote_stays(server, masked):
    address = pgstac_server.address(server)
    assert masked.to_pgstac(address, collection="other") == 3
    with psycopg.connect(address) as database:
        database.execute(
            "UPDATE pgstac.collections SET content = content || '{\"title\": \"Ours\"}' WHERE id = 'other'"
        )
    few = masked.filter(max_cloud=masked.to_dataframe()["cloud_fraction"].median())
    assert few.to_pgstac(address, collection="other", masks_at="https://some.org/masks") == 2
    collection, found = content_of(server, "other")
    assert collection["title"] == "Ours"
    assert sorted(item["assets"]["cloud_mask"]["href"].startswith("https://some.org/masks/") for item in found) == [
        False,
        True,
        True,
    ]


def test_all_or_nothing(server, masked, monkeypatch):
    """A text that PostgreSQL cannot hold, in the last batch."""
    monkeypatch.setattr(pgstac, "BATCH", 1)
    with closing(sqlite3.connect(masked.path)) as database, database:
        scene = "(SELECT scene FROM scenes ORDER BY datetime DESC LIMIT 1)"
        spoilt = "json_set(item, '$.properties.platform', json('\"a\\u0000b\"'))"
        database.execute(f"UPDATE scenes SET item = {spoilt} WHERE scene = {scene}")
    with pytest.raises(CatalogError, match="nothing of this export was kept"):
        masked.to_pgstac(pgstac_server.address(server), collection="none")
    assert rows_of(server, "none") == (0, 0)


def test_scenes_without_a_footprint_are_left_out(server, masked):
    with closing(sqlite3.connect(masked.path)) as database, database:
        bare = "item = json_set(item, '$.geometry', NULL), crs = NULL"
        database.execute(f"UPDATE scenes SET {bare} WHERE scene = 1")
    with pytest.warns(UserWarning, match="without a footprint are left out: CBERS"):
        assert masked.to_pgstac(pgstac_server.address(server), collection="bare") == 2


def test_a_database_without_pgstac_says_what_to_type(server, masked):
    address = pgstac_server.address(server, "geheim")
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("CREATE DATABASE plain")
        database.execute("CREATE ROLE reader LOGIN")
    with pytest.raises(CatalogError, match=r"without pgstac\n.*\n.*pypgstac migrate") as caught:
        masked.to_pgstac(address.removesuffix("postgres") + "plain")
    assert "geheim" not in str(caught.value)
    with pytest.raises(CatalogError, match="permission denied"):
        masked.to_pgstac(address.replace("stac:", "reader:"))
