"""Cubes of every loader become masks: without an argument where it says enough, else with what the error asks."""

import loaders
import numpy as np
import pytest

from xr_cloudmask import CloudMaskError, predict


def check(out, level, bands="B02 B03 B04 B08"):
    """The mask is whole, its fill is no data, and the reflectance was that of the digital number 3000."""
    mask = out["cloud_mask"]
    assert mask.attrs["level"] == level
    assert mask.attrs["bands"] == bands
    codes = mask.transpose("time", ...).values if "time" in mask.dims else mask.values[None]
    assert (codes[:, 0, 0] == 255).all()
    assert (codes[:, 1:, 1:] != 255).all()


@pytest.mark.parametrize(
    ("load", "bands"),
    [
        (loaders.stackstac_planetary_computer, "B02 B03 B04 B08"),
        (loaders.stackstac_earth_search, "blue green red nir"),
        (loaders.stackstac_integers, "blue green red nir"),
    ],
    ids=["Planetary Computer", "Earth Search", "Earth Search integers"],
)
def test_stackstac(load, bands, tmp_path):
    check(predict(load(tmp_path)), "BOA", bands)


def test_cubo(tmp_path, monkeypatch):
    check(predict(loaders.cubo(tmp_path, monkeypatch)), "BOA")


def test_odc_stac_drops_item_properties_and_the_error_asks_for_them(tmp_path):
    cube = loaders.odc_stac(tmp_path, dtype="uint16", nodata=0)
    with pytest.raises(CloudMaskError, match="level='BOA'"):
        predict(cube)
    with pytest.raises(CloudMaskError, match=r"offset=-0\.1"):
        predict(cube, level="BOA")
    check(predict(cube, level="BOA", offset=-0.1), "BOA")


def test_rioxarray(tmp_path):
    cube = loaders.rioxarray(tmp_path, scale=1e-4, offset=0.0)
    check(predict(cube, level="TOA"), "TOA", "blue green red nir")


def test_satpy():
    cube = loaders.satpy()
    out = predict(cube)
    assert out["cloud_mask"].attrs["level"] == "TOA"
    assert np.isin(out["cloud_mask"].values, [0, 1, 3]).all()


def test_eopf(tmp_path):
    check(predict(loaders.eopf(tmp_path)), "BOA", "b02 b03 b04 b08")
