"""Run a catalogue in processes that are killed: ``python catalog_killer.py DATABASE ITEMS KILLS SEED``.

Everything is imported once; each run is a fork, killed a moment after it has kept some masks, or none yet. Prints the
state after each kill.
"""

import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pystac

from xr_cloudmask import Catalog, export
from xr_cloudmask.catalog import archive, work

MODEL = "4-4A"
MASKS = 3  # fewer than these are made between two kills, on purpose
MOMENT = 0.05  # seconds
PATIENCE = 30  # seconds for a mask to appear


def run(database, items):
    """Run in a child process; return its id."""
    child = os.fork()
    if child == 0:
        try:
            Catalog(database).run(items, MODEL, workers=2, progress=False)
        finally:
            os._exit(0)
    return child


def state(database):
    """Return what the database says, and check that every mask it says is done is there and whole."""
    with closing(sqlite3.connect(database)) as connection, connection:
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
        rows = connection.execute("SELECT name, finished FROM scenes WHERE status = 'done'").fetchall()
    for name, _ in rows:
        export.open_mask(archive.folder_of(database) / f"{name}.tif")["cloud_mask"].load(scheduler="synchronous")
    return {"integrity": whole, "done": dict(rows)}


def wait_for(count, database):
    """Wait until there are so many masks."""
    begin = time.monotonic()
    while len(list(archive.folder_of(database).glob("*.tif"))) < count and time.monotonic() < begin + PATIENCE:
        time.sleep(0.002)


def main(database, items, kills, seed):
    database = Path(database)
    items = [pystac.Item.from_dict(item) for item in json.loads(Path(items).read_text())]
    rng = random.Random(seed)
    work.make(json.dumps(items[0].to_dict()), work.Request(MODEL, {}, {}))  # imports what is imported late
    made = 0
    for _ in range(int(kills)):
        child = run(database, items)
        wait_for(made + rng.randrange(MASKS), database)
        time.sleep(rng.uniform(0, MOMENT))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = state(database)
        made = len(found["done"])
        print(json.dumps(found), flush=True)
    children = [run(database, items) for _ in range(2)]  # two at once finish what is left
    for child in children:
        os.waitpid(child, 0)
    print(json.dumps(state(database)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
