"""A catalogue under fire: ``python storm.py FOLDER SCENES KILLS FAULTS SEED`` prints what became of it, as JSON.

Scenes come from a server that stalls, drops, cuts, garbles and misstates what it sends; the processes that mask them
are killed, one or two at a time. What the masks must be is made beforehand, from the files themselves. Benchmarks use
its parts for longer.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pystac
import rasterio
import rasterio.shutil
import scenes
import stac_server

from xr_cloudmask import Catalog
from xr_cloudmask.catalog import archive, work

MODEL = "4-4A"
SIZE = (48, 48)
KINDS = ("stall", *("garble", "cut", "short", "long", "drop", 503) * 2)
SHARE = 0.15  # of the answers of the server that go wrong
STALL = 4.0  # seconds, longer than anybody waits
LIMITS = "connect=1,idle=1,patience=6,total=20"
DISTINCT = 6  # scenes
ROUNDS = 60  # of runs that nobody kills, in which everything has to be done
PATIENCE = 40.0  # seconds for a run that is to be killed to come to the moment
HANG = 240.0  # seconds for a run that nobody kills
COUNTING = """
CREATE TABLE IF NOT EXISTS finishes (scene);
CREATE TRIGGER IF NOT EXISTS count_finishes AFTER UPDATE OF status ON scenes WHEN new.status = 'done'
BEGIN INSERT INTO finishes VALUES (new.scene); END;
"""


def make_scenes(folder: Path, count: int) -> list[dict[str, Any]]:
    """Write a few scenes, compressed with checksums, and return as many items as are asked for, of local files.

    Every item has addresses of its own, so that nothing is remembered from another.
    """
    made = [scenes.make_wpm(folder, str(folder), i, size=SIZE).item for i in range(DISTINCT)]
    for path in folder.rglob("*.tif"):
        plain = path.with_suffix(".plain")
        path.rename(plain)
        with rasterio.Env():
            rasterio.shutil.copy(plain, path, driver="GTiff", compress="deflate", predictor=2)
        plain.unlink()
    text = json.dumps(made)
    items = []
    for i in range(count):
        copy = folder / f"copy_{i:04d}"
        copy.symlink_to(folder, target_is_directory=True)
        item = json.loads(text.replace(f"{folder}/", f"{copy}/"))[i % DISTINCT]
        items.append(item | {"id": f"scene_{i:04d}"})
    return items


def expected(items: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return the masks of the files themselves, by the ids of their items."""
    return {item["id"]: work.make(json.dumps(item), work.Request(MODEL, {}, {})).cog for item in items}


@dataclass
class Storm:
    """A catalogue, its scenes, and what was seen of it.

    Attributes
    ----------
    database : Path
    items : list of dict
        At the addresses of the server.
    masks : dict
        What every mask has to be.
    seen : dict
        When each scene was finished, as it was seen first.
    counts : Counter
        Kills, hangs, and of masks: lost, wrong.
    """

    database: Path
    items: list[dict[str, Any]]
    masks: dict[str, bytes]
    seen: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Make the database; it counts itself how often each scene is finished."""
        Catalog(self.database)
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.executescript(COUNTING)

    def start(self, *, room: int | None = None) -> int:
        """Run in a child process, with a disk that has only so much room; return its id."""
        child = os.fork()
        if child:
            return child
        try:
            logging.disable(logging.CRITICAL)  # odc-stac tells of every failure
            if room is not None:
                import resource

                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            found = [pystac.Item.from_dict(item) for item in self.items]
            Catalog(self.database).run(found, MODEL, workers=2, progress=False)
        except BaseException as error:
            print(f"run: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(0)  # whatever happens, a child does not go on as its parent

    def done(self) -> dict[str, str]:
        """Return when each scene that is done was finished."""
        with closing(sqlite3.connect(self.database, timeout=60)) as connection, connection:
            return dict(connection.execute("SELECT id, finished FROM scenes WHERE status = 'done'"))

    def kill(self, rng: random.Random, twins: bool, room: int | None = None) -> None:
        """Start one run or two at once, kill them at a random moment, and look at what is there."""
        before = len(self.done())
        children = [self.start(room=room) for _ in range(1 + twins)]
        wanted, begin = before + rng.randrange(5), time.monotonic()
        while len(self.done()) < wanted and time.monotonic() - begin < PATIENCE:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        for child in children:
            self.counts["kills"] += 1
            self.counts["kills after the first scene"] += bool(self.done())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.look()

    def finish(self, *, room: int | None = None, twins: bool = False) -> None:
        """Run until a run has nothing left that it may do; one that takes too long has hung."""
        children = [self.start(room=room) for _ in range(1 + twins)]
        begin = time.monotonic()
        for child in children:
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if time.monotonic() - begin > HANG:
                    self.counts["hangs"] += 1
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    break
                time.sleep(0.05)
        self.look()

    def look(self) -> None:
        """Compare everything that is done with what was done before, and with what it has to be."""
        with closing(sqlite3.connect(self.database, timeout=60)) as connection, connection:
            self.counts["damaged databases"] += connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok"
            rows = connection.execute("SELECT id, name, finished FROM scenes WHERE status = 'done'").fetchall()
        done = {scene: finished for scene, _, finished in rows}
        self.counts["lost"] += sum(done.get(scene) != finished for scene, finished in self.seen.items())
        folder = archive.folder_of(self.database)
        new = [(scene, name) for scene, name, _ in rows if scene not in self.seen]
        self.counts["wrong"] += sum((folder / f"{name}.tif").read_bytes() != self.masks[scene] for scene, name in new)
        self.seen |= done

    def end(self) -> dict[str, int]:
        """Return the counts, with those that can be told at the end only."""
        self.seen = {}  # all masks are looked at once more
        self.look()
        with closing(sqlite3.connect(self.database, timeout=60)) as connection, connection:
            finishes = [count for (count,) in connection.execute("SELECT count(*) FROM finishes GROUP BY scene")]
        self.counts["twice"] = sum(count > 1 for count in finishes)
        self.counts["done"] = len(self.seen)
        self.counts["missing"] = len(self.items) - len(self.seen)
        self.counts["pieces left"] = len(list(archive.folder_of(self.database).glob(".*")))
        return dict(self.counts)


def main(folder: str, count: str, kills: str, faults: str, seed: str) -> None:
    """Let a storm go over a catalogue, and print what became of it."""
    place, rng = Path(folder), random.Random(int(seed))
    files = place / "files"
    files.mkdir(parents=True)
    local = make_scenes(files, int(count))
    masks = expected(local)
    with stac_server.serve_files(files) as server:
        text = json.dumps(local).replace(f"{files}/", f"{server.url}/")
        storm = Storm(place / "scenes.db", json.loads(text), masks)
        storm.begin()
        server.fail(share=SHARE, kinds=KINDS, stall=STALL)
        while storm.counts["kills"] < int(kills):
            storm.kill(rng, twins=rng.random() < 0.2)
        for _ in range(ROUNDS):
            storm.finish(twins=rng.random() < 0.3)
            if server.faults >= int(faults):
                server.fail()
            if len(storm.seen) == len(local):
                break
        failed = Counter(str(request.fault) for request in server.log if request.fault is not None)
    found = (
        storm.end() | {"scenes": len(local), "faults": failed.total()} | {f"fault {k}": n for k, n in failed.items()}
    )
    print(json.dumps(found), flush=True)
    shutil.rmtree(files)


if __name__ == "__main__":
    os.environ["XR_CLOUDMASK_LIMITS"] = LIMITS
    main(*sys.argv[1:])
