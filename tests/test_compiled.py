"""Compiled loops work where nothing can be written, as in containers, and beside what another version kept on disk."""

import subprocess
import sys

import numpy as np
import pytest

from xr_cloudmask import compiled


def double(values, out):
    for i in range(values.size):
        out[i] = 2 * values[i]


@pytest.mark.parametrize("writable", [True, False])
def test_a_place_to_keep_compiled_code_is_not_needed(monkeypatch, writable):
    def nowhere(function):
        raise RuntimeError("cannot cache function 'double': no locator available for file")

    if not writable:
        monkeypatch.setattr(compiled, "KeptCode", nowhere)
    values, out = np.arange(4.0), np.empty(4)
    compiled.compiled(double)(values, out)
    np.testing.assert_array_equal(out, 2 * values)


VERSION = """
from typing import NamedTuple
from xr_cloudmask.compiled import compiled

class {name}(NamedTuple):
    low: float

@compiled
def above(values, limits):
    count = 0
    for value in values:
        count += value > limits.low
    return count

LIMITS = {name}(1.5)
"""
CALL = "import numpy, loops; print(loops.above(numpy.arange(4.0), loops.LIMITS), dict(loops.above.stats.cache_hits))"


def call(folder):
    done = subprocess.run([sys.executable, "-c", CALL], check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_code_of_another_version_is_compiled_anew(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    loops = tmp_path / "loops.py"
    for name in ("Bounds", "Limits"):  # a class that a loop takes gets another name
        loops.write_text(VERSION.format(name=name))
        assert call(tmp_path).split() == ["2", "{}"]
        assert call(tmp_path).startswith("2 {(")  # and is kept


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04N."])
def test_damaged_code_is_compiled_anew(tmp_path, monkeypatch, content):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "loops.py").write_text(VERSION.format(name="Limits"))
    call(tmp_path)
    (index,) = (tmp_path / "__pycache__").glob("*.nbi")
    index.write_bytes(content)
    assert call(tmp_path).split() == ["2", "{}"]
