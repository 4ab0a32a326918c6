"""Whatever goes wrong, the catalogue loses nothing, does nothing twice and says why."""

from __future__ import annotations

import copy
import errno
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent import futures
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import catalog_killer
import numpy as np
import pystac
import pytest
import scenes
import stac_server
from paths import TESTS

from xr_cloudmask import Catalog, CatalogError, predict, stac
from xr_cloudmask.catalog import archive, runs, schema, work
from xr_cloudmask.catalog import queue as queues
from xr_cloudmask.catalog.interrupt import held_back

SIZE = (48, 48)
MODEL = "4-4A"
COUNTING = """
CREATE TABLE IF NOT EXISTS finishes (scene);
CREATE TRIGGER IF NOT EXISTS count_finishes AFTER UPDATE OF status ON scenes WHEN new.status = 'done'
BEGIN INSERT INTO finishes VALUES (new.scene); END;
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of four scenes, and ``items.json``."""
    path = tmp_path_factory.mktemp("wpm")
    made = [scenes.make_wpm(path, str(path), i, size=SIZE).item for i in range(4)]
    (path / "items.json").write_text(json.dumps(made))
    return path


@pytest.fixture
def items(folder, tmp_path):
    """Four items whose files a test may spoil."""
    shutil.copytree(folder, tmp_path / "wpm")
    return [pystac.Item.from_dict(item) for item in numbered(folder, 4, tmp_path / "wpm")]


def numbered(folder, count, root=None):
    """Return items of the scenes in a folder, as JSON, in turns: each with an id of its own; `root` has the files."""
    text = (folder / "items.json").read_text()
    found = json.loads(text.replace(str(folder), str(root or folder)))
    return [found[i % len(found)] | {"id": f"scene_{i:02d}"} for i in range(count)]


@pytest.fixture
def catalog(tmp_path):
    made = Catalog(tmp_path / "scenes.db")
    with closing(sqlite3.connect(made.path)) as database, database:
        database.executescript(COUNTING)
    return made


def finishes(catalog):
    """Return how often each row became done, whoever did it."""
    with closing(sqlite3.connect(catalog.path)) as database, database:
        return dict(database.execute("SELECT scene, count(*) FROM finishes GROUP BY scene"))


def run(catalog, items, model=MODEL, **keywords):
    return catalog.run(items, model, progress=False, **({"workers": 2} | keywords))


def column(catalog, name):
    return catalog.to_dataframe()[name].to_dict()


# A scene that cannot be done.


def band(item, number):
    return Path(item.assets[f"BAND{number}"].href)


def truncate(item):
    path = band(item, 2)
    path.write_bytes(path.read_bytes()[:900])


def take_away_a_band(item):
    del item.assets["BAND3"]


def take_away_a_file(item):
    band(item, 4).unlink()


def make_it_no_image(item):
    band(item, 1).write_text("<html>Sign in first</html>")


def make_the_xml_a_bomb(item):
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE p [<!ENTITY e0 "x">{entities}]><prdf>&e11;</prdf>'
    for number in range(1, 5):
        band(item, number).with_suffix(".xml").write_text(bomb)


SPOILED = {
    truncate: (MODEL, "BAND2.tif"),
    take_away_a_band: (MODEL, "lack red"),
    take_away_a_file: (MODEL, "BAND4.tif"),
    make_it_no_image: (MODEL, "BAND1.tif"),
    make_the_xml_a_bomb: ("csmask", "xml"),
}


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_bad_scene_says_why_and_the_others_go_on(catalog, items, folder, tmp_path, spoil, monkeypatch):
    model, words = SPOILED[spoil]
    good = copy.deepcopy(items)
    spoil(items[1])
    done = run(catalog, items, model)
    assert done.failed == (items[1].id,)
    assert len(done.done) == 3
    row = catalog.to_dataframe().loc[items[1].id]
    assert words.lower() in row["error"].lower()
    assert row["error_type"] not in (None, "Exception")
    assert row["attempts"] == 1
    with pytest.raises(CatalogError, match="failed: "):
        catalog.open(items[1].id)

    shutil.copytree(folder, tmp_path / "wpm", dirs_exist_ok=True)
    monkeypatch.setattr(queues.time, "time", lambda: time.monotonic() + 1e10)  # later
    again = run(catalog, good, model)
    assert (again.made, again.failed) == (1, ())
    assert column(catalog, "attempts")[items[1].id] == 2
    assert column(catalog, "error")[items[1].id] is None
    assert set(finishes(catalog).values()) == {1}


def test_an_xml_without_coefficients_is_no_fault(catalog, items):
    """As in files of 2020: 4-4A needs none, and reflectance takes those of the notebook, and says so."""
    for number in range(1, 5):
        path = band(items[0], number).with_suffix(".xml")
        block = "<absoluteCalibrationCoefficient.*</absoluteCalibrationCoefficient>"
        text, removed = re.subn(block, "", path.read_text(), flags=re.DOTALL)
        assert removed == 1
        path.write_text(text)
    for model in (MODEL, "physical"):
        assert run(catalog, items[:2], model).failed == ()
    without, whole = column(catalog.filter(model="physical"), "provenance").values()
    assert without["reflectance_provenance"] != whole["reflectance_provenance"]


def test_null_cloud_cover_is_no_fault(catalog, items):
    items[0].properties["eo:cloud_cover"] = None
    assert run(catalog, items[:1]).failed == ()


def test_failures_wait_longer_each_time(catalog, items, monkeypatch):
    take_away_a_band(items[0])
    clock = [1e10]
    monkeypatch.setattr(queues.time, "time", lambda: clock[0])
    pauses = []
    for _ in range(10):
        assert run(catalog, items[:1]).failed == (items[0].id,)
        with closing(sqlite3.connect(catalog.path)) as database, database:
            (due,) = database.execute("SELECT due FROM scenes").fetchone()
        pauses.append(due - clock[0])
        clock[0] = due
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert column(catalog, "attempts")[items[0].id] == 10


def test_a_run_waits_until_a_failed_scene_is_due(catalog, items):
    good = copy.deepcopy(items[:1])
    take_away_a_band(items[0])
    run(catalog, items[:1])
    begin = time.monotonic()
    assert run(catalog, good).failed == ()
    assert 1 < time.monotonic() - begin < 10


@pytest.mark.parametrize("kind", archive.KINDS)
def test_a_full_disk_fails_scenes_and_leaves_no_pieces(tmp_path, items, monkeypatch, kind):
    catalog = Catalog(tmp_path / "scenes.db", kind)
    full = iter((True, False, True, False))

    def fill(original):
        def checked(*arguments):
            if next(full):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*arguments)

        return checked

    keep = "keep_file" if kind == "files" else "keep_inside"
    monkeypatch.setattr(archive, keep, fill(getattr(archive, keep)))
    done = run(catalog, items)
    assert (done.made, len(done.failed)) == (2, 2)
    assert {text for text in column(catalog, "error").values() if isinstance(text, str)} == {
        "[Errno 28] No space left on device"
    }
    monkeypatch.undo()
    again = run(catalog, items)
    assert (again.made, again.failed) == (2, ())
    assert not list(tmp_path.glob("scenes.masks/.*"))


@contextmanager
def disk_of(size):
    """Let no file grow beyond `size` bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1 << 30], ids=["bands on disk", "bands in memory"])
def test_masks_that_do_not_fit_fail_and_are_made_later(tmp_path, folder, monkeypatch, room):
    monkeypatch.setattr(work, "IN_MEMORY", room)
    (tmp_path / "wpm").mkdir()
    made = [scenes.make_wpm(tmp_path / "wpm", str(tmp_path / "wpm"), i, size=(600, 600)).item for i in range(2)]
    items, catalog = [pystac.Item.from_dict(item) for item in made], Catalog(tmp_path / "scenes.db")
    with disk_of(200_000):  # the database fits
        assert len(run(catalog, items).failed) == 2
    assert set(column(catalog, "error_type").values()) <= {"FileError", "OSError"}
    assert not list(tmp_path.glob("scenes.masks/*"))
    assert run(catalog, items).failed == ()
    direct = predict(stac.load(items[:1]), MODEL)["cloud_mask"][0]
    np.testing.assert_array_equal(catalog.open(items[0].id)["cloud_mask"], direct)


@pytest.mark.parametrize("fmt", ["tif", "gpkg", "stac"])
def test_exports_that_do_not_fit_say_so(tmp_path, fmt):
    (tmp_path / "wpm").mkdir()
    made = scenes.make_wpm(tmp_path / "wpm", str(tmp_path / "wpm"), size=(900, 900)).item
    catalog = Catalog(tmp_path / "scenes.db")
    run(catalog, [pystac.Item.from_dict(made)], "physical")
    with disk_of(34_000), pytest.raises(CatalogError, match="room and permission"):  # the database can be read
        catalog.export(tmp_path / "out", fmt)
    assert not [path for path in (tmp_path / "out").rglob(".*") if path.is_file()]
    assert catalog.export(tmp_path / "out", fmt)


def test_a_full_database_is_said_and_loses_nothing(tmp_path, items, monkeypatch):
    catalog = Catalog(tmp_path / "scenes.db", "database")
    run(catalog, items[:1])
    original = schema.sqlite3.connect

    def small(*arguments, **keywords):
        database = original(*arguments, **keywords)
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages + 8}")
        return database

    monkeypatch.setattr(schema.sqlite3, "connect", small)
    with pytest.raises(CatalogError, match="full"):
        run(catalog, items)
    monkeypatch.undo()
    assert catalog.open(items[0].id)["cloud_mask"].shape == SIZE
    assert run(catalog, items).failed == ()


# A bad line.


def test_a_bad_line_fails_nothing(catalog, folder):
    """One connection in five is dropped or cut, and servers are busy."""
    with stac_server.serve_files(folder) as files:
        files.fail(429, 500, 503, share=0.2)
        done = run(catalog, [pystac.Item.from_dict(item) for item in numbered(folder, 4, files.url)])
        assert files.faults > 4
    assert (done.made, done.failed) == (4, ())


# Processes that end, and several at once.


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to start a run in no time")
def test_killed_ten_times(catalog, folder, tmp_path):
    """kill -9 at random moments of 40 scenes, then two processes at once for the rest."""
    found = numbered(folder, 40)
    (tmp_path / "items.json").write_text(json.dumps(found))
    command = [sys.executable, TESTS / "catalog_killer.py", catalog.path, tmp_path / "items.json", "10", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS.parent)
    assert done.returncode == 0, done.stderr
    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(states) == 11
    assert {state["integrity"] for state in states} == {"ok"}
    counts = [len(state["done"]) for state in states]
    assert 0 < counts[9] < 40  # it was killed in the middle
    assert counts[10] == 40
    for before, after in pairwise(states):
        assert before["done"].items() <= after["done"].items()  # nothing is lost, and nothing done again
    assert finishes(catalog) == dict.fromkeys(range(1, 41), 1)
    assert not list((tmp_path / "scenes.masks").glob(".*"))  # no pieces, no locks
    masks = {path.name for path in (tmp_path / "scenes.masks").glob("*.tif")}
    assert len(masks) == 40
    for item in found[:4]:
        direct = predict(stac.load([pystac.Item.from_dict(item)]), catalog_killer.MODEL)["cloud_mask"][0]
        np.testing.assert_array_equal(catalog.open(item["id"])["cloud_mask"], direct)


def test_two_runs_at_once_share_the_work(catalog, folder):
    found = [pystac.Item.from_dict(item) for item in numbered(folder, 12)]
    with futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: run(catalog, found), range(2))
    assert first.made + second.made == 12
    assert set(finishes(catalog).values()) == {1}
    assert len(finishes(catalog)) == 12


def test_what_a_dead_run_left_is_tried_last(catalog, items):
    with schema.connect(catalog.path) as database:
        left = queues.Queue(database, archive.folder_of(catalog.path), "dead", queues.now())
        left.add(runs._rows(items, work.Request(MODEL, {}, {})))
        assert left.claim().id == items[0].id
    part = archive.folder_of(catalog.path) / ".dead-mask.tif"
    part.parent.mkdir()
    (part / "fresh").mkdir(parents=True)
    done = run(catalog, items, workers=1)
    assert len(done.done) == 4
    finished = column(catalog, "finished")
    assert max(finished, key=finished.get) == items[0].id
    assert not part.exists()


def test_what_a_live_run_has_is_left_alone(catalog, items):
    with queues.open_queue(catalog.path) as other:
        other.add(runs._rows(items, work.Request(MODEL, {}, {})))
        taken = other.claim()
        done = run(catalog, items)
        assert (done.made, done.running) == (3, (taken.id,))
        assert "1 in the hands of another run" in str(done)
    assert column(catalog, "status")[taken.id] == "queued"


def test_a_worker_that_dies_is_a_failed_scene(catalog, items, monkeypatch):
    def die(item, request, stop):
        raise MemoryError("no memory left")

    monkeypatch.setattr(runs, "attempt", die)
    assert len(run(catalog, items[:2]).failed) == 2
    assert set(column(catalog, "error_type").values()) == {"MemoryError"}


def test_interrupted_threads_stop_and_give_their_scenes_back(catalog, items, monkeypatch):
    begun = threading.Event()
    original = runs.wait

    def interrupt(*arguments, **keywords):
        begun.wait(10)
        raise KeyboardInterrupt

    def tell(cube, *arguments, **keywords):
        begun.set()
        return predict(cube, *arguments, **keywords)

    monkeypatch.setattr(runs, "wait", interrupt)
    monkeypatch.setattr(work, "predict", tell)
    with pytest.raises(KeyboardInterrupt):
        run(catalog, items)
    assert set(column(catalog, "status").values()) == {"queued"}
    assert set(column(catalog, "attempts").values()) == {0}
    monkeypatch.setattr(runs, "wait", original)
    assert run(catalog, items).made == 4


@pytest.fixture
def _interruptible():
    """As in a terminal: a session in the background of a shell ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_waits_for_a_safe_moment():
    reached = []

    def press(*looks):
        with held_back() as look:
            for looking in looks:
                signal.raise_signal(signal.SIGINT)
                reached.append("pressed")
                if looking:
                    look()

    for looks, times in (((True, True), 1), ((False,), 1), ((False, False), 1)):  # seen, seen at the end, pressed twice
        with pytest.raises(KeyboardInterrupt):
            press(*looks)
        assert len(reached) == times
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        reached.clear()


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_handlers_of_others_stay(handler):
    signal.signal(signal.SIGINT, handler)
    with held_back() as look:
        signal.raise_signal(signal.SIGINT)
        look()
        assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_in_a_transaction_leaves_no_scene_behind(catalog, items, monkeypatch):
    """Ctrl-C as a mask is written down: that one is kept, and Ctrl-C is raised afterwards."""
    original = queues.Queue.finish

    def interrupt(*arguments):
        signal.raise_signal(signal.SIGINT)
        original(*arguments)

    monkeypatch.setattr(queues.Queue, "finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(catalog, items, workers=1)
    assert sorted(column(catalog, "status").values()) == ["done", "queued", "queued", "queued"]
    monkeypatch.undo()
    assert run(catalog, items).made == 3


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_of_a_cluster_leaves_it_usable(catalog, items, monkeypatch):
    from distributed import Client

    original = queues.Queue.finish

    def interrupt(*arguments):
        signal.raise_signal(signal.SIGINT)
        original(*arguments)

    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as client:
        monkeypatch.setattr(queues.Queue, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(catalog, items, client=client)
        assert sorted(column(catalog, "status").values()) == ["done", "queued", "queued", "queued"]
        monkeypatch.undo()
        assert run(catalog, items, client=client).made == 3
    assert set(finishes(catalog).values()) == {1}


# The program, where Ctrl-C interrupts: children of a session in the background of a shell ignore it.
PROGRAM = """
import signal, sys
from xr_cloudmask.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a Unix signal")
def test_control_c_on_the_command_line(folder, tmp_path):
    """The process ends with 130 within seconds, and a second one finishes."""
    database = tmp_path / "scenes.db"
    with (
        stac_server.serve_files(folder) as files,
        stac_server.serve_api(numbered(folder, 40, files.url), tmp_path / "api") as api,
    ):
        command = [sys.executable, "-c", PROGRAM, "run", "--stac", api.url, "--collection", scenes.COLLECTION]
        command += ["--db", database, "--model", MODEL, "--workers", "2"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        done = wait_for_masks(database, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "interrupted" in errors
        before = Catalog(database).to_dataframe()
        assert (before["status"] == "done").sum() >= done
        assert set(before["status"]) == {"done", "queued"}
        again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "40 done" in again.stdout
    after = Catalog(database).to_dataframe()
    kept = before[before["status"] == "done"]
    assert after.loc[kept.index, "finished"].tolist() == kept["finished"].tolist()


def wait_for_masks(database, process):
    """Wait until some scenes are done; return how many. A mask is there a moment before its row says so."""
    for _ in range(1200):
        assert process.poll() is None, process.stderr.read()
        states = column(Catalog(database), "status") if database.exists() else {}
        done = list(states.values()).count("done")
        if done > 2:
            return done
        time.sleep(0.05)
    raise AssertionError("no masks")
