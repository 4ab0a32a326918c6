"""A hundred kills and five hundred faults of the line later, a catalogue is what it had to be: see `storm`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from paths import TESTS

SCENES, KILLS, FAULTS = 340, 100, 500


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to start a run in no time")
def test_a_storm_loses_nothing_and_repeats_nothing(tmp_path):
    command = [sys.executable, TESTS / "storm.py", tmp_path / "storm", SCENES, KILLS, FAULTS, 1]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = os.environ | {"XR_CLOUDMASK_LIMITS": "connect=1,idle=1,patience=6,total=20"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=TESTS,
        env=environment | {"TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["kills"] >= KILLS
    assert found["kills after the first scene"] >= 60
    assert found["faults"] >= FAULTS
    for kind in ("stall", "garble", "cut", "short", "long", "drop", "503"):
        assert found[f"fault {kind}"] >= 10, kind
    assert found["done"] == found["scenes"] == SCENES
    for wrong in ("lost", "twice", "wrong", "missing", "damaged databases", "pieces left"):
        assert found[wrong] == 0, wrong
    assert found.get("hangs", 0) == 0
