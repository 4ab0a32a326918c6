"""A cache gives back what it has, predicts the rest, and never gives what was made of something else."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import dask
import numpy as np
import pytest
import toys
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TESTS
from toy_cubes import ROLES, SCENE, chunked, cube

from xr_cloudmask import CloudMaskError, ModelError, predict
from xr_cloudmask.models import registry

EXPECTED = predict(cube(), "toy", probabilities=True, resolution="native")
CHUNKS = {"time": 1, "y": 64, "x": 80}  # 3 x 3 x 3


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Return a function that says how many windows were predicted since it was called last, in any process."""
    log = tmp_path / "log"
    log.touch()
    spec = replace(toys.COUNTING, citation=str(log))
    monkeypatch.setitem(registry._SPECS, "counting", (spec,))
    monkeypatch.setenv("PYTHONPATH", str(TESTS))  # of processes that are started

    def count():
        windows = len(log.read_text().splitlines())
        log.write_text("")
        return windows

    return count


def counting(data, cache, **options):
    return predict(data, "counting", cache=cache, resolution="native", **options)


def whole(counted, tmp_path):
    """Return how many windows the scene has."""
    counting(cube(), tmp_path / "other.zarr")
    return counted()


def chunk_files(store):
    return sorted(path for path in store.glob("*/*/c/**/*") if path.is_file())


def test_a_mask_that_is_used_again_and_again_is_predicted_once(counted, tmp_path):
    windows = whole(counted, tmp_path)
    data = cube().to_dataset("band").chunk(CHUNKS)
    out = counting(data, tmp_path / "masks.zarr")
    assert not (tmp_path / "masks.zarr").exists()  # building writes nothing
    kept = data.cloudmask.filter(max_cloud=1.0, mask=out)
    assert counted() == windows
    assert len(chunk_files(tmp_path / "masks.zarr")) == 27
    composed = kept.cloudmask.composite("median", mask=out).compute()
    kept.cloudmask.plot(mask=out)
    mask = out["cloud_mask"].compute()
    again = counting(data, tmp_path / "masks.zarr").compute()  # as in a new session
    assert counted() == 0
    for found in (mask, again["cloud_mask"]):
        np.testing.assert_array_equal(found, EXPECTED["cloud_mask"])
    direct = kept.cloudmask.composite("median", mask=predict(data, "toy", resolution="native"))
    xr.testing.assert_equal(composed, direct.compute())


@pytest.mark.parametrize(
    "change",
    [
        lambda data, cache: counting((data + 0.001).assign_attrs(data.attrs), cache),
        lambda data, cache: counting(data.isel(time=[0, 2]), cache),
        lambda data, cache: counting(data, cache, scheme="validity"),
        lambda data, cache: counting(data, cache, halo=16),
        lambda data, cache: counting(data, cache, probabilities=True),
        lambda data, cache: counting(data.chunk(x=-1), cache),
    ],
)
def test_what_is_made_of_something_else_is_something_else(counted, tmp_path, change):
    data, cache = cube().chunk(CHUNKS), tmp_path / "masks.zarr"
    counting(data, cache).compute()
    counted()
    other = change(data, cache).compute()
    assert counted() > 0
    xr.testing.assert_identical(other, change(data, None).compute())
    counted()
    xr.testing.assert_identical(other, change(data, cache).compute())
    assert counted() == 0


def test_how_a_mask_is_made_does_not_matter_to_what_is_kept(counted, tmp_path):
    data, cache = cube().chunk(CHUNKS), tmp_path / "masks.zarr"
    counting(data, cache).compute()
    counted()
    counting(data, cache, batch_size=1, device="cpu").compute()
    assert counted() == 0


def test_arrays_of_other_chunks_or_stores_have_other_names(tmp_path):
    ragged = cube().chunk(time=1, y=(40, 60, 50), x=-1)
    stores = (None, tmp_path / "one.zarr", tmp_path / "other.zarr")
    masks = [predict(ragged, "toy", cache=store)["cloud_mask"] for store in stores]
    assert len({mask.data.name for mask in masks}) == 3
    counts = dask.compute(*((mask == 1).sum() for mask in masks))
    assert len(set(map(int, counts))) == 1
    assert (tmp_path / "other.zarr").exists()


def test_a_new_version_of_the_package_starts_anew(counted, tmp_path, monkeypatch):
    data, cache = cube().chunk(CHUNKS), tmp_path / "masks.zarr"
    counting(data, cache).compute()
    counted()
    monkeypatch.setattr("xr_cloudmask.engine.lazy.version", lambda _: "9.9")
    counting(data, cache).compute()
    assert counted() > 0


@settings(max_examples=15)
@given(data=st.data(), probabilities=st.booleans(), resolution=st.sampled_from(["native", "auto"]))
def test_any_chunks_can_be_kept(data, probabilities, resolution, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache") / "masks.zarr"
    ragged = chunked(data.draw, cube())
    first = data.draw(st.integers(0, 2))
    options = {"probabilities": probabilities, "resolution": resolution}
    expected = predict(cube(), "toy", **options)
    predict(ragged, "toy", cache=cache, **options).isel(time=first).compute(scheduler="synchronous")
    for _ in range(2):
        out = predict(ragged, "toy", cache=cache, **options).compute(scheduler="synchronous")
        np.testing.assert_array_equal(out["cloud_mask"], expected["cloud_mask"])
        np.testing.assert_array_equal(out["cloud_fraction"], expected["cloud_fraction"])
        if probabilities:
            np.testing.assert_allclose(out["probability"], expected["probability"], atol=1e-5)


def test_arrays_in_memory_are_known_by_their_values(counted, tmp_path):
    windows = whole(counted, tmp_path)
    cache = tmp_path / "masks.zarr"
    out = counting(cube(), cache, probabilities=True)
    assert counted() == windows
    assert isinstance(out["cloud_mask"].data, np.ndarray)
    np.testing.assert_allclose(out["probability"], EXPECTED["probability"], atol=1e-6)
    xr.testing.assert_identical(counting(cube(SCENE.copy()), cache, probabilities=True), out)
    assert counted() == 0
    one = counting(cube().isel(time=0), cache)
    np.testing.assert_array_equal(one["cloud_mask"], EXPECTED["cloud_mask"][0])


def test_only_what_is_missing_is_predicted(counted, tmp_path):
    windows = whole(counted, tmp_path)
    data, cache = cube().chunk(CHUNKS), tmp_path / "masks.zarr"
    counting(data, cache).isel(time=1).compute()
    one_date = counted()
    assert one_date == windows // 3
    counting(data, cache).compute()
    assert counted() == windows - one_date
    files = chunk_files(cache)
    for path in files[::5]:
        path.unlink()
    files[1].with_suffix(".0123.partial").write_bytes(b"half")  # as a process that was killed leaves it
    before = {path: path.stat().st_mtime_ns for path in chunk_files(cache)}
    out = counting(data, cache).compute()
    np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["cloud_mask"])
    assert 0 < counted() < windows
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(files) <= set(chunk_files(cache))


def test_a_store_that_was_removed_is_made_again(counted, tmp_path):
    data, cache = cube().chunk(CHUNKS), tmp_path / "masks.zarr"
    out = counting(data, cache)
    out.compute()
    shutil.rmtree(cache)
    windows = counted()
    out.compute()
    assert counted() == windows
    out.compute()
    assert counted() == 0


def test_a_damaged_chunk_is_said_and_not_returned(tmp_path):
    data, cache = cube().chunk(CHUNKS), tmp_path / "masks.zarr"
    predict(data, "toy", cache=cache).compute()
    path = chunk_files(cache)[3]
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CloudMaskError, match=f"rm .*{path.relative_to(cache)}"):
        predict(data, "toy", cache=cache).compute()
    path.unlink()
    predict(data, "toy", cache=cache).compute()


def test_a_store_can_be_opened_by_others(tmp_path):
    predict(cube().chunk(CHUNKS), "toy", cache=tmp_path / "masks.zarr", probabilities=True).compute()
    (group,) = zarr.open_group(tmp_path / "masks.zarr", mode="r").group_keys()
    found = xr.open_zarr(tmp_path / "masks.zarr", group=group, consolidated=False, mask_and_scale=False)
    assert found["cloud_mask"].dims == ("time", "y", "x")
    assert found["probability"].dims == ("time", "class", "y", "x")
    expected = predict(cube(), "toy")["cloud_mask"]
    np.testing.assert_array_equal(found["cloud_mask"], expected)


SESSION = """
import sys, toys, xarray as xr, xr_cloudmask
from dataclasses import replace
from xr_cloudmask.models import registry
store, cache, log = sys.argv[1:]
registry._SPECS["counting"] = (replace(toys.COUNTING, citation=log),)
if __name__ == "__main__":
    data = xr.open_zarr(store, chunks={})
    xr_cloudmask.predict(data, "counting", cache=cache, resolution="native").compute(scheduler=SCHEDULER, num_workers=2)
"""


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_another_process_finds_what_one_has_kept(tmp_path, scheduler):
    """Tokens do not depend on the process, its hash seed, or the scheduler."""
    cube().to_dataset("band").chunk(CHUNKS).drop_encoding().to_zarr(tmp_path / "cube.zarr", zarr_format=2)
    script = tmp_path / "session.py"
    script.write_text(SESSION.replace("SCHEDULER", repr(scheduler)))
    command = [sys.executable, script, tmp_path / "cube.zarr", tmp_path / "masks.zarr", tmp_path / "log"]
    counts = []
    for seed in ("1", "2"):
        (tmp_path / "log").write_text("")
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(TESTS)}
        subprocess.run(command, check=True, env=environment, timeout=120)
        counts.append(len((tmp_path / "log").read_text().splitlines()))
    assert counts[0] > 0
    assert counts[1] == 0


def test_annotations_reach_the_tasks_of_a_cached_mask(tmp_path):
    with dask.annotate(resources={"GPU": 1}):
        out = predict(cube().chunk(CHUNKS), "toy", cache=tmp_path / "masks.zarr")
    layers = out["cloud_mask"].data.dask.layers
    annotated = [name for name, layer in layers.items() if layer.annotations == {"resources": {"GPU": 1}}]
    assert {name.split("-")[0] for name in annotated} >= {"predict", "cloud_mask"}


def test_what_cannot_be_a_cache_is_refused(tmp_path):
    (tmp_path / "file").touch()
    wrongs = ((tmp_path / "file", "a file"), (3, "the path of a Zarr store"), ("", "the path of a Zarr store"))
    for wrong, message in wrongs:
        with pytest.raises(CloudMaskError, match=message):
            predict(cube().chunk(CHUNKS), "toy", cache=wrong)
    numbers = (cube().isel(time=[0, 2]) * 1000).astype("uint16").to_dataset("band")
    with pytest.raises(CloudMaskError, match=r"\['cache'\]"):
        predict(numbers, "4-4A", cache=tmp_path / "masks.zarr")
    assert list(numbers) == ROLES
    with pytest.raises(ModelError):
        predict(cube(), "no such model", cache=tmp_path / "masks.zarr")


# Chunks that vanish, and stores that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["chunk", "array", "store"])
def test_a_chunk_that_vanishes_after_it_was_planned_is_made_anew(tmp_path, what):
    mask = predict(cube().chunk(CHUNKS), "toy", cache=tmp_path / "masks.zarr", resolution="native")["cloud_mask"]
    mask.compute()
    (planned,) = dask.optimize(mask)  # what a scheduler holds while its tasks wait
    first = chunk_files(tmp_path / "masks.zarr")[0]
    if what == "chunk":
        first.unlink()
    else:
        shutil.rmtree(tmp_path / "masks.zarr" if what == "store" else first.parents[3])
    np.testing.assert_array_equal(planned.compute(optimize_graph=False), EXPECTED["cloud_mask"])
    assert chunk_files(tmp_path / "masks.zarr")


def test_elsewhere_a_chunk_that_vanishes_is_an_error_and_never_no_data(tmp_path):
    mask = predict(cube().chunk(CHUNKS), "toy", cache=tmp_path / "masks.zarr", resolution="native")["cloud_mask"]
    mask.compute()
    (planned,) = dask.optimize(mask)
    travelled = pickle.loads(pickle.dumps(planned))
    chunk_files(tmp_path / "masks.zarr")[0].unlink()
    with pytest.raises(CloudMaskError, match=r"(?s)removed while it was used.*compute again"):
        travelled.compute(optimize_graph=False, scheduler="synchronous")
    np.testing.assert_array_equal(mask.compute(), EXPECTED["cloud_mask"])  # again


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"zarr_format": 3}', b"\xff\xfe"])
@pytest.mark.parametrize("level", ["array", "group"])
def test_metadata_of_a_cache_that_were_damaged_are_one_error_that_names_it(tmp_path, content, level):
    data = cube().chunk(CHUNKS)
    predict(data, "toy", cache=tmp_path / "masks.zarr", resolution="native").compute()
    shutil.rmtree(next((tmp_path / "masks.zarr").glob("*/*/c")))  # something has to be written
    pattern = "*/*/zarr.json" if level == "array" else "*/zarr.json"
    next((tmp_path / "masks.zarr").glob(pattern)).write_bytes(content)
    told = []
    try:
        out = predict(data, "toy", cache=tmp_path / "masks.zarr", resolution="native").compute()
        np.testing.assert_array_equal(out["cloud_mask"], EXPECTED["cloud_mask"])  # what is damaged was not needed
    except CloudMaskError as error:
        told.append(str(error))
    assert all(f"cache='{tmp_path}/masks.zarr'" in text for text in told)


def test_a_cache_of_another_shape_is_refused(tmp_path):
    data = cube().chunk(CHUNKS)
    predict(data, "toy", cache=tmp_path / "masks.zarr", resolution="native").compute()
    path = next((tmp_path / "masks.zarr").glob("*/*/zarr.json"))
    said = json.loads(path.read_text())
    said["shape"] = [1, 1, 1]
    path.write_text(json.dumps(said))
    with pytest.raises(CloudMaskError, match=r"cache=.*an array of uint8 \(1, 1, 1\) instead of uint8"):
        predict(data, "toy", cache=tmp_path / "masks.zarr", resolution="native").compute()


def test_a_cache_on_a_full_disk_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = predict(cube().chunk(CHUNKS), "toy", cache=tmp_path / "masks.zarr", resolution="native")
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(CloudMaskError, match=r"(?s)cache=.*cannot be written.*df"):
            out.compute(scheduler="synchronous")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, previous)
    np.testing.assert_array_equal(out["cloud_mask"].compute(), EXPECTED["cloud_mask"])


@pytest.mark.parametrize(
    "address", ["nosuch://x/masks.zarr", "{tmp}/file/masks.zarr", "\0", "~nobody-of-that-name/x.zarr", b"masks.zarr"]
)
def test_odd_addresses_are_refused_when_a_prediction_is_built(tmp_path, address):
    (tmp_path / "file").touch()
    cache = address.format(tmp=tmp_path) if isinstance(address, str) else address
    with pytest.raises(CloudMaskError, match="cache="):
        predict(cube().chunk(CHUNKS), "toy", cache=cache)


def test_a_url_of_a_folder_is_that_folder(tmp_path):
    predict(cube().chunk(CHUNKS), "toy", cache=f"file://{tmp_path}/masks.zarr").compute()
    assert chunk_files(tmp_path / "masks.zarr")
    predict(cube().chunk(CHUNKS), "toy", cache="memory://masks.zarr").compute()
