"""Processes of dask.distributed: one model each, no weights in the graph, no window twice, a worker that dies."""

import os
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import dask
import numpy as np
import pytest
import toys
from paths import TESTS
from toy_cubes import cube

from xr_cloudmask import predict
from xr_cloudmask.engine.lattice import fit
from xr_cloudmask.models import csmask, registry

distributed = pytest.importorskip("distributed")

HOST = {"host": "127.0.0.1"}
CHUNKS = {"time": 1, "y": 50, "x": 64}
WINDOWS = 3 * len(fit(150, 64, 8, 8)) * len(fit(203, 64, 8, 8))
ENVIRONMENT = {"PYTHONPATH": str(TESTS)}  # where workers find the models of tests
EXPECTED = predict(cube(), "toy", resolution="native")


@pytest.fixture(scope="module")
def client():
    """Two processes of one thread, as on a laptop, one of them with what stands for a GPU."""
    workers = {
        name: {"cls": distributed.Nanny, "options": {**HOST, "nthreads": 1, "resources": resources, "env": ENVIRONMENT}}
        for name, resources in (("plain", {}), ("gpu", {"GPU": 1}))
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {**HOST, "dashboard": False, "dashboard_address": "127.0.0.1:0", "port": 0},
    }
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 5}),
        distributed.SpecCluster(workers=workers, scheduler=scheduler) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        yield client


def logged(tmp_path, monkeypatch, spec):
    """Make a model of tests write its windows into a log; return the log."""
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setitem(registry._SPECS, spec.name, (replace(spec, citation=str(log)),))
    return log


def lines(log):
    return log.read_text().splitlines()


def test_each_window_once_and_one_model_per_worker(client, tmp_path, monkeypatch):
    log = logged(tmp_path, monkeypatch, toys.COUNTING)
    out = predict(cube().chunk(CHUNKS), "counting", resolution="native").compute()
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["cloud_mask"])
    assert len(lines(log)) == WINDOWS
    assert len(Counter(lines(log))) == 2  # both worked
    predict(cube().chunk(CHUNKS), "toy", resolution="native").compute()
    predict(cube().chunk(CHUNKS), "toy", resolution="auto").compute()
    assert set(client.run(loads).values()) <= {1, 0}
    assert sum(client.run(loads).values()) >= 1


def loads():
    import toys

    return toys.LOADS.count("toy")


def test_a_model_has_the_threads_of_its_worker(client):
    assert client.submit(csmask.threads_of_this_worker, pure=False).result() == 1


def test_the_graph_holds_no_weights():
    out = predict(cube().isel(time=0).chunk(y=75, x=102), "universal", resolution="native")
    array = out["cloud_mask"].data
    sizes = {name: len(pickle.dumps(dict(layer))) for name, layer in array.dask.layers.items() if "predict" in name}
    assert sizes
    assert sum(sizes.values()) < 20_000  # the weights have 4.6 MB


def test_a_worker_that_dies_changes_nothing(client, tmp_path, monkeypatch):
    log = logged(tmp_path, monkeypatch, toys.DYING)
    out = predict(cube().chunk(CHUNKS), "dying", resolution="native").compute()
    assert log.with_suffix(".died").exists()
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["cloud_mask"])
    np.testing.assert_array_equal(out["cloud_fraction"], EXPECTED["cloud_fraction"])


def test_a_worker_that_dies_loses_no_chunk_that_is_kept(client, tmp_path, monkeypatch):
    log = logged(tmp_path, monkeypatch, toys.DYING)
    data, cache = cube().chunk(CHUNKS), tmp_path / "masks.zarr"
    out = predict(data, "dying", resolution="native", cache=cache).compute()
    assert log.with_suffix(".died").exists()
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["cloud_mask"])
    log.write_text("")
    again = predict(data, "dying", resolution="native", cache=cache).compute()
    np.testing.assert_array_equal(again["cloud_mask"], EXPECTED["cloud_mask"])
    assert lines(log) == []


SESSION = """
import sys, toys, distributed, dask
from dataclasses import replace
from toy_cubes import cube
from xr_cloudmask import predict
from xr_cloudmask.models import registry
name, cache, log = sys.argv[1:]
registry._SPECS[name] = (replace(registry._SPECS[name][0], citation=log),)
if __name__ == "__main__":
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"):
        data = cube().chunk(time=1, y=50, x=64)
        predict(data, name, cache=cache, resolution="native")["cloud_mask"].isel(time=DATES).compute()
"""


def test_a_cluster_that_is_started_again_computes_what_is_missing(tmp_path):
    """The first cluster is gone with two of three dates kept; the second one predicts the third alone."""
    (tmp_path / "log").touch()
    counts = []
    for dates in ("[0, 2]", "slice(None)"):
        script = tmp_path / "session.py"
        script.write_text(SESSION.replace("DATES", dates))
        command = [sys.executable, script, "counting", tmp_path / "masks.zarr", tmp_path / "log"]
        subprocess.run(command, check=True, timeout=240, env=os.environ | ENVIRONMENT)
        counts.append(len(lines(tmp_path / "log")))
    assert counts == [WINDOWS * 2 // 3, WINDOWS]


def test_a_resource_keeps_predictions_where_it_is(client, tmp_path, monkeypatch):
    log = logged(tmp_path, monkeypatch, toys.COUNTING)
    with dask.annotate(resources={"GPU": 1}):
        out = predict(cube().chunk(CHUNKS), "counting", resolution="native", halo=4)
    with dask.config.set({"optimization.fuse.active": False}):  # dask's fusion forgets annotations
        out.compute()
    (pid,) = set(lines(log))
    resources = {worker["pid"]: worker["resources"] for worker in client.run(of_worker).values()}
    assert resources[int(pid)] == {"GPU": 1}


def of_worker(dask_worker):
    import os

    return {"pid": os.getpid(), "resources": dict(dask_worker.state.total_resources)}
