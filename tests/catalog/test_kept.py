"""What a catalogue keeps stays what it was, or it says so; clocks, locks and other databases change nothing of it."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pystac
import pytest
import scenes
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from xr_cloudmask import Catalog, CatalogError, cli
from xr_cloudmask.catalog import archive, locks, outlines, runs, schema, scratch
from xr_cloudmask.catalog import queue as queues

MODEL = "4-4A"
SIZE = (48, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("wpm")
    made = [scenes.make_wpm(path, str(path), i, size=SIZE).item for i in range(3)]
    (path / "items.json").write_text(json.dumps(made))
    return path


@pytest.fixture
def items(folder):
    return [pystac.Item.from_dict(item) for item in json.loads((folder / "items.json").read_text())]


def run(catalog, items, **keywords):
    return catalog.run(items, MODEL, progress=False, **({"workers": 2} | keywords))


def contents(catalog):
    """Return the bytes of all masks by the ids of their items."""
    with closing(sqlite3.connect(catalog.path)) as database, database:
        rows = database.execute("SELECT id, name, scene, mask FROM scenes WHERE status = 'done'").fetchall()
        inside = dict(database.execute("SELECT scene, cog FROM masks").fetchall())
    folder = archive.folder_of(catalog.path)
    return {
        item: (folder / f"{name}.tif").read_bytes() if mask == "file" else inside[scene]
        for item, name, scene, mask in rows
    }


def change(catalog, spoil):
    """Spoil the mask of the first scene, wherever it is."""
    with closing(sqlite3.connect(catalog.path)) as database, database:
        scene, name, mask = database.execute("SELECT scene, name, mask FROM scenes ORDER BY datetime").fetchone()
        if mask == "file":
            spoil_file(archive.folder_of(catalog.path) / f"{name}.tif", spoil)
            return
        (cog,) = database.execute("SELECT cog FROM masks WHERE scene = ?", (scene,)).fetchone()
        new = spoil(bytes(cog))
        if new is None:
            database.execute("DELETE FROM masks WHERE scene = ?", (scene,))
        else:
            database.execute("UPDATE masks SET cog = ? WHERE scene = ?", (new, scene))


def spoil_file(path, spoil):
    new = spoil(path.read_bytes())
    if new is None:
        path.unlink()
    else:
        path.write_bytes(new)


SPOILED = {
    "gone": lambda cog: None,
    "truncated": lambda cog: cog[:200],
    "empty": lambda cog: b"",
    "longer": lambda cog: cog + b"\0",
    "a bit flipped": lambda cog: cog[:-9] + bytes([cog[-9] ^ 1]) + cog[-8:],
    "another file": lambda cog: bytes(len(cog)),
}


@pytest.mark.parametrize("kind", archive.KINDS)
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_mask_that_is_not_what_it_was_is_noticed_and_made_again(tmp_path, items, kind, spoil, capsys):
    catalog = Catalog(tmp_path / "scenes.db", kind)
    run(catalog, items)
    before = contents(catalog)
    assert set(catalog.verify()["problem"]) == {""}
    assert cli.main(["verify", "--db", str(catalog.path)]) == 0
    change(catalog, spoil)

    problems = catalog.verify()["problem"]
    assert [name for name, problem in problems.items() if problem] == [items[0].id]
    assert cli.main(["verify", "--db", str(catalog.path)]) == 1
    said = capsys.readouterr()
    assert "2 masks whole, 1 with a problem" in said.out
    assert items[0].id in said.err
    for use in (lambda: catalog.open(items[0].id), lambda: catalog.export(tmp_path / "out"), catalog.cube):
        with pytest.raises(CatalogError, match=rf"(?s)missing or damaged: '{items[0].id}' .*catalog.run\(items"):
            use()
    assert catalog.open(items[1].id)["cloud_mask"].shape == SIZE  # the others can be used
    assert not list(tmp_path.glob("out/*.tif"))

    done = run(catalog, items)
    assert (done.made, len(done.done), done.failed) == (1, 3, ())
    assert contents(catalog) == before
    assert run(catalog, items).made == 0
    assert len(catalog.export(tmp_path / "out")) == 3


def test_all_masks_are_gone(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, items)
    before = contents(catalog)
    shutil.rmtree(archive.folder_of(catalog.path))
    assert len(catalog) == 3
    assert run(catalog, items[:2]).made == 2  # those that were asked for
    assert run(catalog, items).made == 1
    assert contents(catalog) == before


def test_class_names_that_are_gone_are_made_again(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, items[:1])
    next(archive.folder_of(catalog.path).glob("*.aux.xml")).unlink()
    with pytest.raises(CatalogError, match="missing"):
        catalog.export(tmp_path / "out")
    assert run(catalog, items[:1]).made == 1
    assert len(list(archive.folder_of(catalog.path).glob("*.aux.xml"))) == 1


def test_a_folder_of_masks_that_cannot_be_made_is_one_error(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    (tmp_path / "scenes.masks").write_text("no folder")
    with pytest.raises(CatalogError, match="where masks are kept"):
        run(catalog, items)
    assert "Empty" not in repr(catalog)
    assert len(catalog.to_dataframe()) == 0


# Databases of others, of before, and on disks that cannot be written -------------------------------------------------


def of_version_1(catalog):
    """Make a catalogue what the first version of the package wrote."""
    with closing(sqlite3.connect(catalog.path)) as database, database:
        for name in ("mask_bytes", "mask_sha256"):
            database.execute(f"ALTER TABLE scenes DROP COLUMN {name}")
        database.execute("PRAGMA user_version = 1")


def test_an_older_catalogue_is_opened_and_used(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, items)
    before = contents(catalog)
    of_version_1(catalog)
    again = Catalog(tmp_path / "scenes.db")
    assert run(again, items).made == 0
    assert set(again.verify()["problem"]) == {""}
    assert again.open(items[0].id)["cloud_mask"].shape == SIZE
    change(again, SPOILED["gone"])
    assert again.verify()["problem"].tolist() == ["missing", "", ""]
    assert run(again, items).made == 1
    assert contents(again) == before


def test_masks_of_an_older_catalogue_come_out_of_the_folder_that_it_shares(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.sqlite")
    run(catalog, items)
    before = contents(catalog)
    archive.folder_of(catalog.path).rename(tmp_path / "scenes.masks")
    of_version_1(catalog)
    assert set(Catalog(tmp_path / "scenes.sqlite").verify()["problem"]) == {""}
    assert contents(catalog) == before
    assert len(list((tmp_path / "scenes.masks").glob("*.tif"))) == 3


@pytest.mark.parametrize("other", ["scenes.sqlite", "scenes", "scenes.db.db", "scenes.masks.db", "Scenes"])
def test_no_two_databases_share_a_folder(tmp_path, other, items):
    one, two = Catalog(tmp_path / "scenes.db"), Catalog(tmp_path / other)
    run(one, items[:1])
    run(two, items[:1])
    assert archive.folder_of(one.path) != archive.folder_of(two.path)
    shutil.rmtree(archive.folder_of(two.path))
    assert set(one.verify()["problem"]) == {""}


def test_a_link_to_a_database_has_its_masks(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, items[:1])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/link.db").symlink_to(catalog.path)
    linked = Catalog(tmp_path / "elsewhere/link.db")
    assert run(linked, items).made == 2
    assert len(contents(catalog)) == 3


@pytest.mark.parametrize("older", [False, True])
def test_a_catalogue_that_cannot_be_written_can_be_read(tmp_path, items, monkeypatch, older):
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, items)
    if older:
        of_version_1(catalog)
    before = catalog.path.read_bytes()

    def refuse(path):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(schema, "_writable", refuse)
    found = Catalog(catalog.path)
    assert found.to_dataframe()["status"].tolist() == ["done"] * 3
    assert len(found) == 3
    assert set(found.verify()["problem"]) == {""}
    assert found.open(items[0].id)["cloud_mask"].shape == SIZE
    assert len(found.export(tmp_path / "out")) == 3
    assert cli.main(["list", "--db", str(catalog.path)]) == 0
    with pytest.raises(CatalogError, match="readonly"):
        run(found, items)
    assert catalog.path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_can_be_read(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, items[:1])
    tmp_path.chmod(0o555)
    try:
        assert Catalog(catalog.path).to_dataframe()["status"].tolist() == ["done"]
    finally:
        tmp_path.chmod(0o755)


CORRUPTED = {
    "item": "{", "statistics": "[1]", "provenance": "\x00", "datetime": "yesterday", "cloud_fraction": "cloudy",
    "name": "../../elsewhere", "finished": b"\xff\xfe", "band_mismatch": 7, "seconds": float("inf"),
}  # fmt: skip


@pytest.mark.parametrize("column", CORRUPTED)
def test_a_row_that_cannot_be_read_is_told_and_hides_no_other(tmp_path, items, column, capsys):
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, items)
    with closing(sqlite3.connect(catalog.path)) as database, database:
        database.execute(f"UPDATE scenes SET {column} = ? WHERE scene = 1", (CORRUPTED[column],))
    with pytest.warns(UserWarning, match=f"left out: 1 \\({column}: "):
        table = catalog.to_dataframe()
    assert sorted(table["scene"]) == [2, 3]
    with pytest.warns(UserWarning, match="left out"):
        assert len(catalog.export(tmp_path / "out")) == 2
    assert [column in problem for problem in catalog.verify().sort_values("scene")["problem"]] == [True, False, False]
    with pytest.warns(UserWarning, match="left out"):
        assert cli.main(["list", "--db", str(catalog.path)]) == 0
    assert items[2].id in capsys.readouterr().out


def test_an_item_that_was_damaged_is_mended_by_the_next_run(tmp_path, items):
    catalog = Catalog(tmp_path / "scenes.db")
    broken = items[0].clone()
    del broken.assets["BAND3"]
    assert run(catalog, [broken]).failed == (items[0].id,)
    with closing(sqlite3.connect(catalog.path)) as database, database:
        database.execute("UPDATE scenes SET item = '{'")
    assert run(catalog, items[:1]).made == 1


# Clocks --------------------------------------------------------------------------------------------------------------


class Clock:
    """The time module, with another time of day."""

    shift = 0.0

    def time(self):
        return time.time() + self.shift

    def __getattr__(self, name):
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch):
    wrong = Clock()
    monkeypatch.setattr(queues, "time", wrong)

    def now():
        return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=wrong.shift)).isoformat(timespec="microseconds")

    monkeypatch.setattr(queues, "now", now)
    return wrong


@pytest.mark.parametrize("shift", [-365 * 86400, -3600, 3600, 365 * 86400])
@pytest.mark.parametrize("kind", ["failed then", "fails now"])
def test_a_clock_that_was_set_changes_nothing(tmp_path, items, clock, monkeypatch, shift, kind):
    broken = items[0].clone()
    del broken.assets["BAND3"]
    catalog = Catalog(tmp_path / "scenes.db")
    begin = time.monotonic()
    if kind == "failed then":
        clock.shift = shift
        assert run(catalog, [broken]).failed
        clock.shift = 0.0
        assert run(catalog, items[:1]).made == 1
    else:
        original, fails = queues.Queue.fail, []

        def fail(*arguments):
            fails.append(arguments)
            clock.shift = shift
            return original(*arguments)

        monkeypatch.setattr(queues.Queue, "fail", fail)
        assert run(catalog, [broken, *items[1:]]).made == 2
        assert len(fails) == 1
    assert time.monotonic() - begin < 30


def test_two_runs_do_not_try_each_others_failures_again_and_again(tmp_path, items):
    broken = items[0].clone()
    del broken.assets["BAND3"]
    catalog = Catalog(tmp_path / "scenes.db")
    rows = runs._rows([broken], runs.asked_for(MODEL, {}, {}))
    with queues.open_queue(catalog.path) as one, queues.open_queue(catalog.path) as two:
        for queue in (one, two):
            queue.add(rows)
        one.fail(one.claim(), "E", "e")
        assert two.claim() is None
        assert two.pause() is None
        assert one.claim() is None


# Locks and temporary folders -----------------------------------------------------------------------------------------


def test_a_lock_whose_name_was_taken_away_is_taken_anew(tmp_path, monkeypatch):
    path, original, taken = tmp_path / ".run.lock", locks._lock, []

    def swiped(place):
        lock = original(place)
        acquire = lock.acquire

        def first_without_a_name(*arguments, **keywords):
            found = acquire(*arguments, **keywords)
            if not taken:
                taken.append(place)
                place.unlink()
            return found

        lock.acquire = first_without_a_name
        return lock

    monkeypatch.setattr(locks, "_lock", swiped)
    lock = locks.hold(path)
    assert taken == [path]
    assert path.exists()
    with locks.of_the_dead(path) as dead:
        assert not dead
    lock.release()
    with locks.of_the_dead(path) as dead:
        assert dead
    assert not path.exists()


LEAVING = """
import os, signal
from xr_cloudmask.catalog import scratch
(scratch.folder() / "bands.raw").write_bytes(b"x" * 1000)
print(scratch.folder(), flush=True)
os.kill(os.getpid(), signal.{signal})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="sends a Unix signal")
@pytest.mark.parametrize("sent", ["SIGKILL", "SIGTERM"])
def test_what_a_killed_process_left_is_swept(tmp_path, sent):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", LEAVING.format(signal=sent)]
    left = Path(subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stdout.strip())
    assert (left / "bands.raw").exists()
    other = tmp_path / f"{scratch.PREFIX}of-others"
    other.mkdir()
    with locks.held(tmp_path / f"{scratch.PREFIX}alive.lock"):
        scratch.sweep(tmp_path)
    assert not left.exists()
    assert other.exists()


def test_a_live_process_keeps_its_temporary_folder():
    mine = scratch.folder()
    scratch.sweep(mine.parent)
    assert mine.is_dir()


# What a scene is known by --------------------------------------------------------------------------------------------


def request_of(item, model="csmask", load=None, **options):
    return runs._rows([item], runs.asked_for(model, options, load or {}))[0]["request"]


def test_a_scene_is_known_by_what_its_mask_depends_on(items, tmp_path):
    plain = request_of(items[0])
    same = [
        {"cache": str(tmp_path / "a.zarr")}, {"batch_size": 3}, {"device": "cpu"}, {"load": {"allow_local": True}},
        {"load": {"chunks": {"x": 512}}}, {"load": {"patch_url": str}},
    ]  # fmt: skip
    other = [
        {"precision": "bf16", "model": "universal"}, {"scheme": "binary"}, {"resolution": "native"}, {"halo": 64},
        {"load": {"bbox": (-50, -20, -49, -19)}}, {"model": "physical"}, {"window": 256},
    ]  # fmt: skip
    assert {request_of(items[0], **options) for options in same} == {plain}
    found = [request_of(items[0], **options) for options in other] + [request_of(items[0], "universal"), plain]
    assert len(set(found)) == len(found)


# Outlines ------------------------------------------------------------------------------------------------------------


def test_an_outline_across_the_antimeridian_is_cut():
    ring = [[179.0, -17.0], [-179.0, -17.0], [-179.0, -16.0], [179.0, -16.0], [179.0, -17.0]]
    hole = [[179.8, -16.6], [-179.8, -16.6], [-179.8, -16.4], [179.8, -16.4], [179.8, -16.6]]
    cut = outlines.split({"type": "Polygon", "coordinates": [ring, hole]})
    shape = shapely.geometry.shape(cut)
    assert cut["type"] == "MultiPolygon"
    assert shape.is_valid
    assert shape.area == pytest.approx(2.0 - 0.4 * 0.2)
    assert all(abs(x) <= 180 for part in shape.geoms for x, _ in part.exterior.coords)
    assert max(part.bounds[2] - part.bounds[0] for part in shape.geoms) == pytest.approx(1.0)
    assert outlines.box_of(cut) == [179.0, -17.0, -179.0, -16.0]


@pytest.mark.parametrize(
    "outline",
    [
        {"type": "Polygon", "coordinates": [[[-50, -20], [-49, -20], [-49, -19], [-50, -20]]]},
        {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]},
        {"type": "Point", "coordinates": [179.9, 0]},
        None,
    ],
)
def test_other_outlines_stay(outline):
    assert outlines.split(outline) is outline


@pytest.mark.parametrize(
    ("crs", "corner"), [("EPSG:32701", (150_000, 8_100_000)), ("EPSG:32660", (660_000, 7_000_000))]
)
def test_the_grid_of_a_scene_across_the_antimeridian(tmp_path, items, crs, corner):
    """An item without a geometry: the outline of its mask, in two parts, and small."""
    grid = GeoBox((400, 400), Affine(200, 0, corner[0] - 40_000, 0, -200, corner[1]), crs)
    item = items[0].clone()
    item.geometry, item.bbox = None, None
    row = {"crs": crs, "transform": json.dumps(list(grid.transform)[:6]), "height": 400, "width": 400}
    from xr_cloudmask.catalog.items import _footprint

    outline, box = _footprint(row, item.to_dict())
    shape = shapely.geometry.shape(outline)
    assert outline["type"] == "MultiPolygon"
    assert shape.area < 2
    west, _, east, _ = box
    assert west > 170
    assert east < -170


def test_an_outline_around_a_pole_reaches_it():
    ring = [[lon, -80.0] for lon in (0, 60, 120, 180, -120, -60, 0)]
    shape = shapely.geometry.shape(outlines.split({"type": "Polygon", "coordinates": [ring]}))
    assert shape.area == pytest.approx(360 * 10)
    assert shape.bounds == (-180, -90, 180, -80)


def test_the_table_and_the_exports_have_such_outlines(tmp_path, items):
    item = items[0].clone()
    ring = [[179.9, -17.0], [-179.9, -17.0], [-179.9, -16.9], [179.9, -16.9], [179.9, -17.0]]
    item.geometry, item.bbox = {"type": "Polygon", "coordinates": [ring]}, [-179.9, -17.0, 179.9, -16.9]
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, [item, items[1]])
    table = catalog.to_dataframe()
    assert table.geometry[item.id].geom_type == "MultiPolygon"
    assert table.geometry[item.id].area == pytest.approx(0.02)
    collection, *paths = catalog.export(tmp_path / "out", "stac")
    said = [json.loads(path.read_text()) for path in paths]
    split = next(entry for entry in said if item.id in entry["properties"]["title"])
    assert split["bbox"] == pytest.approx([179.9, -17.0, -179.9, -16.9])
    assert json.loads(collection.read_text())["extent"]["spatial"]["bbox"] == [[-180, -90, 180, 90]]


def test_masks_are_the_same_bytes_whenever_they_are_made(tmp_path, items):
    """What the checksum of a row is worth: the same scene, masked again, is the same file."""
    made = []
    for name in ("one.db", "two.db"):
        catalog = Catalog(tmp_path / name)
        run(catalog, items)
        made.append(contents(catalog))
    assert made[0] == made[1]
