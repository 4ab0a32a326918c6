"""Importing the package is quick and light, and its modules keep their order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LATE = (
    "dask.array", "filelock", "geopandas", "matplotlib", "numba", "odc", "onnxruntime", "pyproj", "pystac",
    "pystac_client", "rasterio", "requests", "rioxarray", "safetensors", "scipy", "spyndex", "torch", "tqdm", "zarr",
)  # fmt: skip
SECONDS = 0.3

PROBE = """
import json, sys, time
import xarray
before = set(sys.modules)
start = time.process_time()
import xr_cloudmask
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "new": sorted(set(sys.modules) - before)}))
"""


def probe() -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout)


def test_import_is_quick() -> None:
    # In seconds of this process, for others may keep the machine busy; the best of several.
    assert min(probe()["seconds"] for _ in range(3)) <= SECONDS


@pytest.mark.parametrize("module", LATE)
def test_heavy_packages_are_imported_late(module: str, imported: list[str]) -> None:
    assert [name for name in imported if name == module or name.startswith(f"{module}.")] == []


@pytest.fixture(scope="module")
def imported() -> list[str]:
    """Modules that importing the package adds to those of xarray."""
    return probe()["new"]


def test_import_contract() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert lint.returncode == 0, lint.stdout


def test_a_test_cannot_reach_the_network() -> None:
    import socket

    with socket.socket() as sock, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        sock.connect(("192.0.2.1", 80))  # TEST-NET-1, which no machine has
