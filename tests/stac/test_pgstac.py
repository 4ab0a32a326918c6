"""The same search and the same run against pgstac, which the large public catalogues use."""

from __future__ import annotations

import json

import numpy as np
import pgstac_server
import pystac
import pytest
import rasterio
import scenes
import stac_server

from xr_cloudmask import Catalog, cli, predict, stac

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
    assert stac.search(url, "'; DROP TABLE items; --") == []


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
