"""What is written whole: files and folders that replace others, or leave them as they were."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xr_cloudmask import atomic

FILE, FOLDER = "file", "folder"


def make(path, kind, text):
    if kind == FILE:
        path.write_text(text)
    else:
        (path / "below").mkdir(parents=True)
        (path / "below" / "chunk").write_text(text)


def read(path):
    return (path / "below" / "chunk" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("old", [None, FILE, FOLDER])
@pytest.mark.parametrize("new", [FILE, FOLDER])
def test_what_was_written_takes_the_place_of_what_was_there(tmp_path, old, new):
    target = tmp_path / "made"
    if old:
        make(target, old, "old")
    with atomic.replacing(target) as path:
        assert path.parent.parent.parent == tmp_path
        make(path, new, "new")
        assert not old or read(target) == "old"
    assert read(target) == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("of a caller")])
@pytest.mark.parametrize("kind", [FILE, FOLDER])
def test_what_breaks_off_leaves_the_old(tmp_path, kind, error):
    target = tmp_path / "made"
    make(target, kind, "old")
    with pytest.raises(type(error)), atomic.replacing(target) as path:  # noqa: PT012
        make(path, kind, "half")
        raise error
    assert read(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", [FILE, FOLDER])
def test_what_is_not_on_the_disk_replaces_nothing(tmp_path, monkeypatch, kind):
    target = tmp_path / "made"
    make(target, kind, "old")

    def fail(_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"), atomic.replacing(target) as path:
        make(path, kind, "new")
    assert read(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_replaced_comes_back(tmp_path, monkeypatch):
    target = tmp_path / "made"
    make(target, FOLDER, "old")

    def fail(*_):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(PermissionError), atomic.replacing(target) as path:
        make(path, FOLDER, "new")
    assert read(target) == "old"


def test_nothing_written_is_an_error(tmp_path):
    target = tmp_path / "made"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), atomic.replacing(target):
        pass
    assert target.read_text() == "old"


def test_sidecars_come_along_before_the_file_itself(tmp_path, monkeypatch):
    moved, original = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: (moved.append(to.name), original(path, to)))
    with atomic.replacing(tmp_path / "mask.tif") as path:
        path.write_text("mask")
        path.with_name("mask.tif.aux.xml").write_text("names")
        path.with_name("a.ovr").write_text("overviews")
    assert moved == ["a.ovr", "mask.tif.aux.xml", "mask.tif"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(moved)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
@pytest.mark.parametrize("kind", [FILE, FOLDER])
def test_permissions_are_those_of_any_new_file(tmp_path, kind):
    make(tmp_path / "plain", kind, "new")
    with atomic.replacing(tmp_path / "made") as path:
        make(path, kind, "new")
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_several_at_once_do_not_meet(tmp_path):
    target = tmp_path / "made"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: atomic.write_bytes(target, b"%d" % i * 10_000), range(10)))
    content = target.read_bytes()
    assert content == content[:1] * 10_000
    assert list(tmp_path.iterdir()) == [target]


def test_long_names(tmp_path):
    target = tmp_path / ("ä" * 120)
    atomic.write_bytes(target, b"new")
    assert target.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_the_old_file_and_a_folder_with_its_mark(tmp_path):
    target = tmp_path / "made"
    target.write_text("old")
    code = (
        "import os, pathlib, sys; from xr_cloudmask import atomic\n"
        "with atomic.replacing(pathlib.Path(sys.argv[1]), 'mark') as path:\n"
        f"    path.write_text('half'); os.kill(os.getpid(), {signal.SIGKILL.value})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    (left,) = set(tmp_path.iterdir()) - {target}
    assert left.name.startswith(".mark-made-")
