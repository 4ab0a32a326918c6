"""What the benchmarks share: the lines of the table, bands to work on, time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROLES = ("blue", "green", "red", "nir", "swir16", "swir22")
SHARED = Path(__file__).parents[2] / "shared"
TESTS = Path(__file__).parents[1] / "tests"


def row(name: str, figure: str) -> None:
    """Print one line of the table."""
    print(f"| {name} | {figure} |", flush=True)


def scene(size: int, bands: int) -> np.ndarray:
    """Return smooth reflectance ``(band, y, x)``: what it shows does not matter for speed."""
    random = np.random.default_rng(0)
    coarse = random.random((bands, size // 16 + 1, size // 16 + 1), dtype="float32") * 0.6
    return coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :size, :size]


def seconds(function: Callable[[], object], runs: int) -> float:
    """Return the median duration."""
    durations = []
    for _ in range(runs):
        begin = time.perf_counter()
        function()
        durations.append(time.perf_counter() - begin)
    return float(np.median(durations))


def peak_gigabytes() -> float:
    """Return the largest resident memory of this process so far."""
    status = Path("/proc/self/status").read_text()  # getrusage counts what the parent had when it forked
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def part(function: Callable[..., object], *arguments: str) -> str:
    """Run a function of a benchmark in a process of its own; return what it printed."""
    name = f"{function.__module__.removeprefix('benchmarks.')}.{function.__name__}"
    return subprocess.check_output([sys.executable, "-m", "benchmarks", name, *arguments], text=True)
