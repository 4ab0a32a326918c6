"""Masks under the name that version 0.1 gave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xr_cloudmask import evaluation, export, simulate
from xr_cloudmask.accessor import OF_MASKS
from xr_cloudmask.names import FORMER_MASK_NAME, MASK_NAME
from xr_cloudmask.training.cubes import LabelledCubes

CUBE = simulate.series(dates=3, size=(32, 32), chunks=None, seed=2)
FORMER = CUBE.rename(truth=FORMER_MASK_NAME)
TODAY = CUBE.rename(truth=MASK_NAME)


@pytest.mark.parametrize("name", ["mask.nc", "mask.zarr"])
def test_files_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    mask = FORMER[[FORMER_MASK_NAME]]
    mask.to_zarr(path, zarr_format=2) if name.endswith(".zarr") else mask.to_netcdf(path)
    found = export.open_mask(path)
    np.testing.assert_array_equal(found[MASK_NAME], CUBE.truth)
    assert FORMER_MASK_NAME not in found
    opened = xr.open_dataset(path, chunks=None, mask_and_scale=False)
    assert dir(opened.cloudmask) == sorted(OF_MASKS)
    assert export.to_file(opened, tmp_path / "again.nc")
    again = export.open_mask(tmp_path / "again.nc")
    np.testing.assert_array_equal(again[MASK_NAME], CUBE.truth)
    assert again.rio.crs == found.rio.crs == "EPSG:32723"


def test_cubes_carry_them(tmp_path: Path) -> None:
    assert set(dir(FORMER.cloudmask)) >= set(OF_MASKS)
    kept, expected = (cube.cloudmask.filter(max_cloud=0.4) for cube in (FORMER, TODAY))
    np.testing.assert_array_equal(kept["time"], expected["time"])
    images = [cube.cloudmask.composite("median") for cube in (FORMER, TODAY)]
    xr.testing.assert_identical(*images)
    bands = FORMER.to_dataset().drop_vars(FORMER_MASK_NAME) if isinstance(FORMER, xr.DataArray) else FORMER
    array = (
        bands.drop_vars(FORMER_MASK_NAME)
        .to_dataarray("band")
        .assign_coords(cloudmask=FORMER[FORMER_MASK_NAME].variable)
    )
    np.testing.assert_array_equal(array.cloudmask.clear(), CUBE.truth.cloudmask.clear())
    one = FORMER.isel(time=1)
    one.to_netcdf(tmp_path / "scene.nc")
    TODAY.isel(time=1).to_netcdf(tmp_path / "today.nc")
    former, today = (evaluation.read(tmp_path / name) for name in ("scene.nc", "today.nc"))
    np.testing.assert_array_equal(former.truth, today.truth)
    assert set(former.cube.data_vars) == set(today.cube.data_vars)
    assert len(LabelledCubes.of([one], 0, 32, sensor="sentinel-2", level="TOA").scenes) == 1


def test_what_is_no_mask_keeps_its_name() -> None:
    """A variable of that name without flags is somebody's own."""
    own = CUBE.drop_vars("truth").assign({FORMER_MASK_NAME: CUBE.truth.drop_attrs()})
    assert not set(OF_MASKS) <= set(dir(own.cloudmask))
