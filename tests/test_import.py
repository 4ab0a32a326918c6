"""Importing the package is quick and light, and its modules keep their order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

LATE = (
    "dask.array", "filelock", "geopandas", "matplotlib", "numba", "odc", "onnxruntime", "pyproj", "pystac",
    "pystac_client", "rasterio", "requests", "rioxarray", "safetensors", "scipy", "spyndex", "torch", "tqdm",
    "xr_cloudmask.catalog", "xr_cloudmask.simulate", "zarr",
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


def test_no_module_is_hidden_by_a_function_of_its_name() -> None:
    import importlib
    import pkgutil

    import xr_cloudmask

    for found in pkgutil.walk_packages(xr_cloudmask.__path__, "xr_cloudmask."):
        if not found.name.endswith("__main__"):
            parent, _, name = found.name.rpartition(".")
            assert importlib.import_module(found.name) is getattr(sys.modules[parent], name)
    assert xr_cloudmask.models().index.names == ["model", "variant"]


def test_tests_lie_where_their_package_does() -> None:
    packages = {path.parent.relative_to(ROOT / "xr_cloudmask") for path in (ROOT / "xr_cloudmask").glob("*/**/*.py")}
    assert [str(folder) for folder in sorted(packages) if not list((ROOT / "tests" / folder).rglob("test_*.py"))] == []


def test_files_of_tests_have_names_of_their_own() -> None:
    names = sorted(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) == len(set(names))


def test_a_test_cannot_reach_the_network() -> None:
    import socket

    with socket.socket() as sock, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        sock.connect(("192.0.2.1", 80))  # TEST-NET-1, which no machine has
