"""Median composites of simulated clouds over a real surface are nearly as good with our masks as with the true ones."""

import pytest
import xarray as xr

from xr_cloudmask import simulate
from xr_cloudmask.demo import real_surface


def image(cube, mask):
    bare = cube.drop_vars("truth")
    return bare.cloudmask.composite("median", mask=mask)[list(bare.data_vars)].to_dataarray("band")


@pytest.mark.slow
def test_median_with_our_mask_is_nearly_that_with_the_true_mask():
    options = {"size": (600, 600), "gsd": 10, "dates": 16}
    cube, cloudless = (
        simulate.series(real_surface(), cover=cover, **options).cloudmask.reflectance() for cover in (None, 0.0)
    )
    no_data = cube["truth"].attrs["nodata"]
    unmasked = cube["truth"].where(cube["truth"] == no_data, 0)
    ours = cube.drop_vars("truth").cloudmask.refine().cloudmask.dilate(30)
    assert "csmask" in ours["cloud_mask"].attrs["model"]
    masks = {"ours": ours, "true": cube["truth"], "none": unmasked}
    images = {name: image(cube, mask) for name, mask in masks.items()}
    seen = xr.concat(list(images.values()), "mask").notnull().all(["mask", "band"])
    assert seen.mean() > 0.99
    expected = image(cloudless, unmasked)
    error = {name: float((((made - expected) ** 2).where(seen)).mean() ** 0.5) for name, made in images.items()}
    assert error["ours"] < 1.25 * error["true"]
    assert error["ours"] < 0.1 * error["none"]
