"""Manifests, recipes, weights and flags that are nearly right: one clear error each."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from xr_cloudmask import CloudMaskError, WeightsError
from xr_cloudmask.masks.schemes import scheme_of
from xr_cloudmask.models import weights

RECORD = {"name": "weights.pt", "size": 7, "sha256": "a" * 64}
WHOLE = {"name": "a", "repository": "b/c", "commit": "d" * 40, "licence": "MIT", "files": [RECORD]}
ODD_MANIFESTS = {
    "empty": "",
    "null": None,
    "list": [],
    "deep": "[" * 100_000,
    "no text": b"\xff",
    "files are null": WHOLE | {"files": None},
    "files are texts": WHOLE | {"files": ["weights.pt"]},
    "file elsewhere": WHOLE | {"files": [RECORD | {"name": "../weights.pt"}]},
    "name is a number": WHOLE | {"files": [RECORD | {"name": 5}]},
    "size is a text": WHOLE | {"files": [RECORD | {"size": "7"}]},
    "sum is null": WHOLE | {"files": [RECORD | {"sha256": None}]},
    "commit is null": WHOLE | {"commit": None},
    "more": WHOLE | {"more": 1},
}


@pytest.mark.parametrize("content", ODD_MANIFESTS.values(), ids=ODD_MANIFESTS)
def test_manifests_of_another_shape(tmp_path, content):
    said = content if isinstance(content, bytes | str) else json.dumps(content)
    (tmp_path / weights.MANIFEST).write_bytes(said if isinstance(said, bytes) else said.encode())
    (tmp_path / "weights.pt").write_bytes(b"weights")
    for read in (weights.Manifest.read, lambda folder: weights.resolve("sensei", folder / "weights.pt")):
        with pytest.raises(WeightsError):
            read(tmp_path)


def test_a_manifest_that_is_a_device(tmp_path):
    (tmp_path / weights.MANIFEST).symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match="device"):
        weights.Manifest.read(tmp_path)


@pytest.mark.parametrize(
    "given", ["x" * 300, "a\0b", "\ud800", 5, [None], ["x" * 5000, "y"], {"a": 1}], ids=lambda g: str(g)[:9]
)
def test_paths_of_weights_that_are_none(given):
    with pytest.raises(WeightsError):
        weights.resolve("sensei", given)


@pytest.mark.parametrize(
    ("values", "meanings"),
    [
        ([0, 1], "clear"),
        ("abc", "clear"),
        ([0, None], "clear cloud"),
        ([[1], [2, 3]], "clear cloud"),
        (None, "clear"),
        ({}, "clear"),
    ],
)
def test_flags_that_are_none(values, meanings):
    mask = xr.DataArray(np.zeros((2, 2), "uint8"), dims=("y", "x"))
    mask.attrs = {"flag_values": values, "flag_meanings": meanings, "scheme": ["native"]}
    with pytest.raises(CloudMaskError):
        scheme_of(mask)
