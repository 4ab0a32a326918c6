"""Weights: found, fetched by the real hub client from a server on this machine, verified, read without running code."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from loopback_hub import COMMITS, REPOSITORY, serve

from xr_cloudmask.cli import main
from xr_cloudmask.errors import WeightsError
from xr_cloudmask.models import hub, state_dicts, weights
from xr_cloudmask.models.weights import SENSEI, WeightsFile

NAME = SENSEI.default
FOLDER = f"{SENSEI.folder}/{NAME}"
CONFIG = b"MODEL_TYPE: segformerB2\nCLASSES: 7\n"
# Clients before 1.0 leave the sockets of failed requests to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
WAYS = ("weights='weights.pt'", "XR_CLOUDMASK_WEIGHTS=", "xr-cloudmask weights fetch", "GPL-3.0")
SHELL_WAYS = ("--weights weights.pt", *WAYS[1:])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A real, if small, PyTorch file."""
    import torch

    path = tmp_path_factory.mktemp("checkpoint") / "weights.pt"
    torch.save({"layer.weight": torch.arange(20000.0)}, path)
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, no weights in the environment, and a home of its own for the hub's client."""
    from huggingface_hub import constants

    monkeypatch.delenv("XR_CLOUDMASK_WEIGHTS", raising=False)
    monkeypatch.setenv("XR_CLOUDMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))  # for other processes
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("HF_HUB_CACHE", "HF_TOKEN_PATH"):
        monkeypatch.setattr(constants, name, str(tmp_path / "hf" / name))
    # Newer clients ask for this list before anything else, and not behind HF_ENDPOINT if that was set after import.
    known = tmp_path / "hf" / ".agent_harnesses.json"
    known.parent.mkdir()
    known.write_text('{"harnesses": {}}')
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(known), raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server(cache, checkpoint, monkeypatch):
    """A hub with two revisions and two sets of weights."""
    first = {f"{FOLDER}/config.yaml": CONFIG, f"{FOLDER}/weights.pt": checkpoint, "README.md": b"licence: gpl-3.0\n"}
    first |= {f"{SENSEI.folder}/other/config.yaml": CONFIG, f"{SENSEI.folder}/other/weights.pt": checkpoint[::-1]}
    second = first | {f"{FOLDER}/weights.pt": checkpoint + b"2"}
    with serve({"main": first, "v2": second}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def sleeps(monkeypatch):
    """Seconds that retries would have waited."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tree(folder):
    """Everything in a folder, with the time it was changed."""
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "xr_cloudmask", *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_licence(process):
    """Read what a process says up to the licence."""
    said = ""
    while SENSEI.licence not in said:
        line = process.stderr.readline()
        assert line, said
        said += line


# --- fetching


def test_fetch_downloads_verifies_and_caches(server, cache, checkpoint, capsys):
    (file,) = hub.fetch()
    assert file == WeightsFile(str(cache / NAME / "weights.pt"), sha256(checkpoint))
    assert Path(file.path).read_bytes() == checkpoint
    weights.verify(file)
    assert state_dicts.read_config(file.path) == {"MODEL_TYPE": "segformerB2", "CLASSES": 7}
    assert state_dicts.read_state(file.path)["layer.weight"].numpy().tolist() == list(range(20000))
    assert "GPL-3.0" in capsys.readouterr().err
    manifest = json.loads((cache / NAME / "manifest.json").read_text())
    assert manifest["commit"] == COMMITS["main"]
    assert manifest["licence"] == "GPL-3.0"
    assert {entry["name"]: entry["sha256"] for entry in manifest["files"]} == {
        "config.yaml": sha256(CONFIG),
        "weights.pt": sha256(checkpoint),
    }
    assert sorted(path.name for path in (cache / NAME).iterdir()) == ["config.yaml", "manifest.json", "weights.pt"]
    assert weights.resolve("sensei") == (file,)
    assert weights.available("sensei")


def test_what_is_there_is_not_fetched_again(server, cache, capsys):
    files = hub.fetch()
    asked, before = len(server.log), tree(cache)
    capsys.readouterr()
    assert hub.fetch() == files
    assert hub.fetch(revision=COMMITS["main"]) == files
    assert len(server.log) == asked
    assert tree(cache) == before
    assert capsys.readouterr().err == ""
    assert hub.fetch(revision="main") == files  # which may have moved, so the hub is asked
    assert server.count("GET", "/cdn/") == 1


def test_another_revision_replaces_the_first(server, cache, checkpoint):
    hub.fetch()
    (file,) = hub.fetch(revision="v2")
    assert file.sha256 == sha256(checkpoint + b"2")
    assert weights.fetched()[NAME].commit == COMMITS["v2"]
    weights.verify(file)


def test_sets_of_weights_lie_side_by_side(server, cache, checkpoint):
    hub.fetch()
    (other,) = hub.fetch("other")
    assert sorted(weights.fetched()) == sorted([NAME, "other"])
    assert weights.resolve("sensei", "other") == (other,)
    assert other.sha256 == sha256(checkpoint[::-1])


def test_a_token_stays_with_the_hub(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.fetch()
    authorised = {path.split("/")[1]: value for _, path, _, value in server.log}
    assert authorised == {"api": "Bearer hf_secret", "aliFrancis": "Bearer hf_secret", "cdn": None}


def test_a_cut_connection_resumes(server, cache):
    # Larger than the 10 MB that the client reads at a time, which is all that it keeps of a broken stream.
    content = np.random.default_rng(0).bytes(25_000_000)
    server.content["main"][f"{FOLDER}/weights.pt"] = content
    server.cuts = [12_000_000, 13_000_000]
    while server.cuts:
        with suppress(WeightsError):  # clients before 1.0 resume when they are called again, newer ones at once
            hub.fetch()
    assert hub.fetch()[0].sha256 == sha256(content)
    assert server.ranges() == [None, f"bytes={10 * 2**20}-", f"bytes={20 * 2**20}-"]


def test_a_connection_that_never_holds_leaves_nothing_half_done(server, cache, sleeps):
    server.cuts = [1] * 50
    with pytest.raises(
        WeightsError, match=r"RemoteProtocolError|ChunkedEncodingError|ConnectionError|OSError"
    ) as caught:
        hub.fetch()
    assert all(way in str(caught.value) for way in WAYS)
    assert not weights.available("sensei")
    server.cuts = []
    weights.verify(*hub.fetch())


@pytest.mark.parametrize("what", ["info", "head", "get"])
def test_server_errors_are_clear_and_pass(server, cache, sleeps, what):
    server.status = {what: [500] * 50}
    with pytest.raises(WeightsError, match="500") as caught:
        hub.fetch()
    assert REPOSITORY in caught.value.found
    assert all(way in str(caught.value) for way in WAYS)
    assert weights.fetched() == {}
    server.status = {}
    weights.verify(*hub.fetch())


def test_server_errors_leave_what_was_there(server, cache):
    (file,) = hub.fetch()
    server.status = {"info": [503]}
    with pytest.raises(WeightsError, match="503"):
        hub.fetch(revision="v2")
    assert weights.resolve("sensei") == (file,)
    weights.verify(file)


def test_an_unknown_name_lists_the_known_ones(server, cache):
    with pytest.raises(WeightsError, match="SegFormerB7") as caught:
        hub.fetch("SEnSeIv2-SegFormerB7")
    assert caught.value.expected == f"one of {sorted([NAME, 'other'])}"


def test_an_unknown_revision(server, cache):
    with pytest.raises(WeightsError, match="RevisionNotFound"):
        hub.fetch(revision="v9")


@pytest.mark.parametrize("name", ["", "../outside", "a/b", ".hidden"])
def test_a_name_is_no_path(server, cache, name):
    with pytest.raises(WeightsError, match="full-models"):
        hub.fetch(name)
    assert server.log == []


def test_a_mirror_without_the_repository(server, cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/mirror")
    with pytest.raises(WeightsError, match=r"/mirror does not give aliFrancis/SEnSeIv2: RepositoryNotFound"):
        hub.fetch()


def test_a_captive_portal_is_no_hub(server, cache):
    server.portal = True
    with pytest.raises(WeightsError, match="does not give"):
        hub.fetch()
    assert not weights.available("sensei")


def test_a_byte_that_flips_on_the_way_is_noticed(server, cache, checkpoint):
    server.tamper = True
    with pytest.raises(WeightsError, match="not what") as caught:
        hub.fetch()
    assert sha256(checkpoint) in caught.value.expected
    assert not weights.available("sensei")
    server.tamper = False
    weights.verify(*hub.fetch())


def test_nobody_at_home(cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9 does not give") as caught:
        hub.fetch()
    assert all(way in str(caught.value) for way in WAYS)


def test_offline_asks_nobody(server, cache):
    process = start("weights", "fetch", HF_HUB_OFFLINE="1")
    printed, error = process.communicate(timeout=60)
    assert (process.returncode, printed) == (1, "")
    assert "OfflineModeIsEnabled" in error
    assert all(way in error for way in SHELL_WAYS)
    assert server.log == []


def test_the_licence_is_shown_first_and_two_processes_download_once(server, cache):
    server.gate.clear()
    pair = [start("weights", "fetch") for _ in range(2)]
    for process in pair:
        until_licence(process)
    assert server.count("GET", "/cdn/") == 0  # every answer still waits at the gate
    server.gate.set()
    outputs = [process.communicate(timeout=60) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    assert {printed for printed, _ in outputs} == {f"{cache / NAME / 'weights.pt'}\n"}
    assert server.count("GET", "/cdn/") == 1
    weights.verify(*weights.resolve("sensei"))


def test_a_process_killed_midway_leaves_no_weights(server, cache):
    server.midway.clear()
    process = start("weights", "fetch")
    assert server.halfway.wait(60)
    process.kill()
    process.communicate()
    assert not weights.available("sensei")
    server.midway.set()
    weights.verify(*hub.fetch())
    assert [path.name for path in cache.iterdir() if path.name.endswith(".partial")] == []


# --- the cache


def test_a_flipped_byte_is_refused_and_mended(server, cache, capsys):
    (file,) = hub.fetch()
    flip(cache / NAME / "weights.pt")
    with pytest.raises(WeightsError, match="sha256") as caught:
        weights.verify(file)
    assert file.sha256 in caught.value.expected
    assert main(["weights", "verify"]) == 1
    assert f"{NAME}: damaged weights.pt" in capsys.readouterr().out
    assert hub.fetch() == (file,)
    weights.verify(file)


def test_a_flipped_byte_of_the_configuration_is_refused(server, cache):
    (file,) = hub.fetch()
    flip(cache / NAME / "config.yaml")
    with pytest.raises(WeightsError, match=r"config\.yaml"):
        state_dicts.read_config(file.path)


def test_a_truncated_file_is_refused_before_anything_is_built(server, cache):
    (file,) = hub.fetch()
    os.truncate(file.path, 1000)
    with pytest.raises(WeightsError, match="1000 bytes"):
        weights.resolve("sensei")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"files": [{"name": "a"}]}'])
def test_a_damaged_manifest_is_refused_and_mended(server, cache, content):
    files = hub.fetch()
    (cache / NAME / "manifest.json").write_text(content)
    with pytest.raises(WeightsError, match=r"manifest\.json") as caught:
        weights.resolve("sensei")
    assert caught.value.remedy == f"xr-cloudmask weights fetch {NAME}"
    assert hub.fetch() == files


def test_a_read_only_cache_is_enough(server, cache, monkeypatch):
    (file,) = hub.fetch()
    for path in (*cache.rglob("*"), cache):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(cache)  # where the tests run as root, modes stop nobody: nothing must have changed
    try:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        assert weights.resolve("sensei") == hub.fetch() == (file,)
        weights.verify(file)
        state_dicts.read_config(file.path)
        state_dicts.read_state(file.path)
        assert main(["weights", "verify"]) == 0
        assert tree(cache) == before
    finally:
        for path in (cache, *cache.rglob("*")):
            path.chmod(0o755)


def test_a_cache_that_cannot_be_written(server, cache, monkeypatch):
    cache.write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match="cannot be written") as caught:
        hub.fetch()
    assert "XR_CLOUDMASK_CACHE=" in caught.value.remedy
    assert server.count("GET", "/cdn/") == 0


def test_a_copied_folder_keeps_its_checksums(server, cache, tmp_path, monkeypatch, checkpoint):
    hub.fetch()
    carried = (cache / NAME).rename(tmp_path / "usb-stick")
    flip(carried / "weights.pt")
    (file,) = weights.resolve("sensei", carried)
    assert file.sha256 == sha256(checkpoint)
    with pytest.raises(WeightsError, match="sha256"):
        weights.verify(file)


# --- finding


@pytest.fixture
def own(cache, tmp_path, checkpoint):
    """Weights of the user's own, in the layouts of both public codes."""
    files = {
        "one/weights.pt": checkpoint,
        "pair/spectral_embedding.pt": b"embedding",
        "pair/cloudmask_weights.pt": b"segmenter",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def names(files):
    return [Path(file.path).name for file in files]


PAIR = ["spectral_embedding.pt", "cloudmask_weights.pt"]
SPELLINGS = {
    "file": (lambda own: own / "one/weights.pt", ["weights.pt"]),
    "text": (lambda own: str(own / "one/weights.pt"), ["weights.pt"]),
    "folder": (lambda own: str(own / "one"), ["weights.pt"]),
    "folder of a pair": (lambda own: own / "pair", PAIR),
    "pair": (lambda own: [own / "pair" / name for name in PAIR], PAIR),
    "the other way round": (lambda own: tuple(str(own / "pair" / name) for name in PAIR[::-1]), PAIR[::-1]),
    "joined": (lambda own: os.pathsep.join(str(own / "pair" / name) for name in PAIR), PAIR),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling(own, spelling):
    given, expected = SPELLINGS[spelling]
    files = weights.resolve("sensei", given(own))
    assert names(files) == expected
    assert [file.sha256 for file in files] == [sha256(Path(file.path).read_bytes()) for file in files]
    assert all(Path(file.path).is_absolute() for file in files)


@pytest.mark.parametrize("spelling", ["text", "folder", "joined"])
def test_every_spelling_in_the_environment(own, monkeypatch, spelling):
    given, expected = SPELLINGS[spelling]
    monkeypatch.setenv("XR_CLOUDMASK_WEIGHTS", given(own))
    assert weights.available("sensei")
    assert names(weights.resolve("sensei")) == expected


def test_what_is_given_wins_over_the_environment_and_that_over_the_cache(server, own, monkeypatch):
    (fetched,) = hub.fetch()
    assert weights.resolve("sensei") == (fetched,)
    monkeypatch.setenv("XR_CLOUDMASK_WEIGHTS", str(own / "pair"))
    assert names(weights.resolve("sensei")) == PAIR
    assert names(weights.resolve("sensei", own / "one")) == ["weights.pt"]


def test_nothing_there_names_three_ways_and_the_licence(cache):
    with pytest.raises(WeightsError) as caught:
        weights.resolve("sensei")
    assert all(way in str(caught.value) for way in WAYS)
    assert not weights.available("sensei")


@pytest.mark.parametrize(
    ("given", "words"),
    [("missing.pt", "missing.pt"), (["a.pt", "b.pt"], "a.pt"), (__file__ + os.pathsep + "none.pt", "none.pt")],
)
def test_what_is_not_there_is_named(cache, given, words):
    with pytest.raises(WeightsError, match="which is no file") as caught:
        weights.resolve("sensei", given)
    assert words in caught.value.found


def test_a_variable_that_leads_nowhere_is_no_reason_to_take_others(server, cache, monkeypatch):
    hub.fetch()
    monkeypatch.setenv("XR_CLOUDMASK_WEIGHTS", "/nowhere/weights.pt")
    with pytest.raises(WeightsError, match="XR_CLOUDMASK_WEIGHTS='/nowhere"):
        weights.resolve("sensei")
    assert not weights.available("sensei")


def test_three_files_and_an_empty_folder_are_refused(own):
    with pytest.raises(WeightsError, match="3 files"):
        weights.resolve("sensei", [own / "one/weights.pt"] * 3)
    with pytest.raises(WeightsError, match="without weights") as caught:
        weights.resolve("sensei", own)
    assert "spectral_embedding.pt with cloudmask_weights.pt" in caught.value.expected


def test_a_model_without_official_weights(cache):
    with pytest.raises(WeightsError, match="'mine'") as caught:
        weights.resolve("mine")
    assert "fetch" not in str(caught.value)


def test_a_file_that_changes_gets_another_checksum(own):
    path = own / "one/weights.pt"
    (before,) = weights.resolve("sensei", path)
    flip(path)
    os.utime(path, ns=(1, 1))
    (after,) = weights.resolve("sensei", path)
    assert after.sha256 == sha256(path.read_bytes()) != before.sha256
    with pytest.raises(WeightsError, match=before.sha256):
        weights.verify(before)


def test_a_worker_that_does_not_see_the_file_says_so(own):
    (file,) = pickle.loads(pickle.dumps(weights.resolve("sensei", own / "one")))
    Path(file.path).unlink()
    with pytest.raises(WeightsError, match="every worker"):
        weights.verify(file)


def test_finding_weights_imports_nothing_heavy(own):
    probe = f"""
import sys
import xr_cloudmask.cli
from xr_cloudmask.models import weights
assert weights.resolve("sensei", {str(own / "one")!r})
assert not {{"torch", "huggingface_hub", "safetensors", "yaml"}} & set(sys.modules) - set(before)
"""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, xarray; before = list(sys.modules)" + probe],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- from the hub to a mask


@pytest.fixture
def official(server):
    """A checkpoint as SEnSeIv2 saves it, of SegFormer B0 with random weights, on the server."""
    import torch

    from xr_cloudmask.models.networks.embedding import CHANNELS, SpectralEmbedding
    from xr_cloudmask.models.networks.segformer import CONFIGS, Segformer

    blocks = {"fcl_block": "blocks.1", "attention_block": "blocks.2", "band_embedding": "blocks.3"}
    torch.manual_seed(0)
    state = {f"segmenter.{name}": value for name, value in Segformer(CONFIGS["B0"], CHANNELS, 7).state_dict().items()}
    for name, value in SpectralEmbedding().state_dict().items():
        block, rest = name.split(".", 1)
        state[f"senseiv2.{blocks[block]}.{rest}"] = value
    content = io.BytesIO()
    torch.save(state | {"recovery_module.weight": torch.zeros(2)}, content)
    server.content["main"][f"{FOLDER}/weights.pt"] = content.getvalue()
    return content.getvalue()


def test_a_mask_from_fetched_weights_says_whose_they_are(official):
    from xr_cloudmask import models, predict, simulate

    cube = simulate.series(bands=["B04", "B03", "B02"], dates=1, size=(64, 64), chunks={}).drop_vars("truth")
    with pytest.raises(WeightsError) as caught:
        predict(cube, "sensei")
    assert all(way in str(caught.value) for way in WAYS)
    row = models().loc["sensei"].iloc[0]
    assert not row["runs here"]
    assert "xr-cloudmask weights fetch" in row["what to type"]

    (file,) = hub.fetch()
    assert models().loc["sensei"].iloc[0]["runs here"]
    mask = predict(cube, "sensei")["cloud_mask"]
    assert mask.attrs["model_licence"] == "GPL-3.0"
    assert mask.attrs["weights_sha256"] == sha256(official) == file.sha256
    flip(Path(file.path))
    with pytest.raises(WeightsError, match="sha256"):
        mask.compute()
    flip(Path(file.path))
    assert mask.compute().shape == (1, 64, 64)


# --- reading


class Intruder:
    """Unpickled, it runs a command."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    import torch

    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    torch.save({"layer": torch.zeros(1), "intruder": Intruder(trace)}, path)
    with pytest.raises(WeightsError, match="never run") as caught:
        state_dicts.read_state(path)
    assert "weights_only=False" not in str(caught.value)
    path.write_bytes(pickle.dumps({"intruder": Intruder(trace)}))
    with pytest.raises(WeightsError, match="never run"):
        state_dicts.read_state(path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_both_formats(tmp_path, suffix):
    import torch
    from safetensors.torch import save_file

    state = {"a.weight": torch.rand(3, 4), "a.steps": torch.tensor(7)}
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    read = state_dicts.read_state(path)
    assert sorted(read) == sorted(state)
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("left", [0, 5, 100, 0.5, 0.99])
def test_a_damaged_file_is_an_error_of_ours(tmp_path, suffix, left):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)({"a": torch.rand(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: left if isinstance(left, int) else int(left * len(content))])
    with pytest.raises(WeightsError, match="cannot be read"):
        state_dicts.read_state(path)


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {"a": 1}}, 5, {"epoch": 3}])
def test_more_than_tensors_is_refused(tmp_path, content):
    import torch

    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="more than tensors"):
        state_dicts.read_state(tmp_path / "weights.pt")


def test_an_unknown_format_is_refused():
    with pytest.raises(WeightsError, match=r"weights\.h5") as caught:
        state_dicts.read_state("weights.h5")
    assert ".safetensors" in caught.value.expected


@pytest.mark.parametrize(
    "content", [b"- a\n- b\n", b"a: [1\n", b"!!python/object/apply:os.getcwd []\n", b"\xff\xfe\x00"]
)
def test_a_configuration_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.yaml"):
        state_dicts.read_config(tmp_path / "weights.pt")


def test_a_configuration_is_optional(tmp_path):
    assert state_dicts.read_config(tmp_path / "weights.pt") == {}


# --- the command line


def test_command_line(server, cache, capsys):
    assert main(["weights", "list"]) == 0
    assert "xr-cloudmask weights fetch" in capsys.readouterr().out
    assert main(["weights", "path"]) == 1
    message = capsys.readouterr().err
    assert all(way in message for way in SHELL_WAYS)
    assert main(["weights", "fetch"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{cache / NAME / 'weights.pt'}\n"
    assert "licence of these weights: GPL-3.0" in printed.err
    assert main(["weights", "path"]) == 0
    assert capsys.readouterr().out == printed.out
    assert main(["weights", "list"]) == 0
    assert capsys.readouterr().out.split()[5:9] == [NAME, "GPL-3.0", REPOSITORY, "a" * 10]
    assert main(["weights", "verify"]) == 0
    assert capsys.readouterr().out == f"{NAME}: whole\n"


def test_the_default_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("XR_CLOUDMASK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.cache_folder().parts[-2:] == ("xr-cloudmask", "weights")
