"""A few damaged inputs for every reader; ``make fuzz`` tries many."""

from __future__ import annotations

import time

import pytest

from fuzz.run import run
from fuzz.targets import targets
from fuzz.watch import watched
from xr_cloudmask.models import registry

TARGETS = {target.name: target for target in targets()}
# What C libraries read, which can end a process: in another one.
NATIVE = [name for name in TARGETS if name.endswith("bytes") or name == "mask .nc"]
SECONDS = 1.5  # for each reader
APART = 40  # inputs in another process


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Undo what readers of models do to the list of models."""
    monkeypatch.setattr(registry, "entry_points", registry.entry_points)
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    monkeypatch.setattr(registry, "_LOADED", dict(registry._LOADED))
    yield
    registry._discover.cache_clear()


# rasterio cannot decode what libtiff says of damaged tags, and logs that from C.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. 'rasterio._env.log_error':pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", [name for name in TARGETS if name not in NATIVE])
def test_nothing_but_clear_errors(name, tmp_path):
    end = time.monotonic() + SECONDS
    results = (result for _, result in run(TARGETS[name], tmp_path / "input", 10_000, patience=0))
    result = next(result for result in results if time.monotonic() > end)
    assert not result.faults, "\n".join(result.faults.values())


@pytest.mark.parametrize("name", NATIVE)
def test_nothing_but_clear_errors_of_c_libraries(name):
    result, _ = watched(TARGETS[name], APART, 0)
    assert result.outcomes.total() == APART
    assert not result.faults, "\n".join(result.faults.values())
