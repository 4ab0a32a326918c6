"""Index layers and statistics are what the formulas and NumPy say, lazily."""

from dataclasses import replace

import dask
import notebook_44a as notebook
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_44a import SERIES, cube, stretched
from toy_cubes import chunked, refuse

from xr_cloudmask import simulate
from xr_cloudmask.errors import BandError, CloudMaskError
from xr_cloudmask.spectral_indices import OWN, indices

EXPECTED = indices(cube(SERIES), [*OWN, "NDWI"])


def test_layers_are_the_formulas_on_stretched_bands():
    blue, green, red, nir = (stretched(band) for band in SERIES[1])
    inside = (blue > 0) & (green > 0) & (red > 0) & (nir > 0)
    mean = 0.25 * blue + 0.375 * green + 0.375 * red
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = {
            "ndvi": (nir - red) / (nir + red),
            "whiteness": sum(abs((band - mean) / mean) for band in (blue, green, red)),
            "hot": blue - 0.45 * red - 0.08,
            "cloud_index": 3 * nir / (blue + green + red),
            "nscd": blue - 0.45 * red - 0.16 * nir,
            "NDWI": (green - nir) / (green + nir),
        }
    for name, values in expected.items():
        np.testing.assert_allclose(EXPECTED[name][1], np.where(inside, values, np.nan), rtol=1e-12, atol=1e-12)


def test_statistics_are_the_notebooks():
    space = notebook.cells()
    bands = [stretched(band) for band in SERIES[1]]
    blue, green, red, nir = bands
    inside = (blue != 0) & (green != 0) & (red != 0) & (nir != 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = {
            "ndvi": space["get_NDVI"](red, nir, inside)[1],
            "whiteness": space["get_WI"](blue, green, red, inside)[1],
            "hot": space["get_HOT"](blue, red, inside)[1],
            "cloud_index": space["get_CI"](blue, green, red, nir, inside)[1],
            "nscd": space["get_NSCD"](blue, red, nir, inside)[1],
            "green": space["estatisticas"](green),
            "nir": space["estatisticas"](nir),
        }
    words = {"min": "minimo", "max": "maximo", "mean": "media", "std": "std", "q25": "q25", "median": "mediana"}
    table = EXPECTED["scene_statistics"][1]
    for quantity, numbers in expected.items():
        for name, word in {**words, "q75": "q75"}.items():
            ours = float(table.sel(quantity=quantity, statistic=name))
            assert ours == pytest.approx(numbers[word], rel=1e-9), (quantity, name)


@settings(max_examples=10)
@given(st.data())
def test_the_same_bits_for_every_chunking(data):
    out = indices(chunked(data.draw, cube(SERIES)), [*OWN, "NDWI"]).compute(scheduler="synchronous")
    xr.testing.assert_equal(out, EXPECTED)


def test_building_computes_nothing():
    lazy = cube(SERIES).chunk(time=1, y=64)
    with dask.config.set(scheduler=refuse):
        out = lazy.cloudmask.indices()
    assert list(out) == [*OWN, "scene_statistics"]
    assert all(layer.chunks for layer in out.values())


def test_without_time_there_is_none():
    out = indices(cube(SERIES[1]))
    assert out["hot"].dims == ("y", "x")
    assert out["scene_statistics"].dims == ("quantity", "statistic")
    xr.testing.assert_equal(out["hot"], EXPECTED["hot"][1])


def test_of_reflectance_with_the_bands_a_sensor_has():
    scene = simulate.scene(size=(60, 70)).drop_vars("truth")
    out = indices(scene.chunk(y=30), ["ndvi", "NDSI", "EVI"], of="reflectance").compute()
    bands = scene.cloudmask.reflectance()
    expected = (bands["B08"] - bands["B04"]) / (bands["B08"] + bands["B04"])
    np.testing.assert_allclose(out["ndvi"], expected, rtol=1e-5)
    assert np.isfinite(out["EVI"].where(np.isfinite(bands["B02"]))).any()
    assert "scene_statistics" not in out


def test_reflectance_heeds_nodata_and_descriptors():
    scene = simulate.scene(size=(40, 50), sensor="landsat-8-9").drop_vars("truth")
    described = scene.cloudmask.descriptors()
    expected = indices(scene, ["ndvi"], of="reflectance")["ndvi"]
    marked = scene.copy(deep=True)
    red, nir = (next(band.name for band in described if band.role in roles) for roles in (("red",), ("nir", "nir08")))
    marked[red][:10] = 12345
    out = indices(marked, ["ndvi"], of="reflectance", nodata=12345)["ndvi"]
    assert np.isnan(out[:10]).all()
    np.testing.assert_array_equal(out[10:], expected[10:])
    swapped = [replace(band, role={red: "nir", nir: "red"}.get(band.name, band.role)) for band in described]
    turned = indices(scene, ["ndvi"], of="reflectance", descriptors=swapped)["ndvi"]
    np.testing.assert_allclose(turned, -expected, rtol=1e-6)


def test_what_is_missing_or_unknown_is_said():
    with pytest.raises(BandError, match="swir16"):
        indices(cube(SERIES), ["NDSI"])
    with pytest.raises(BandError, match="nir"):
        indices(cube(SERIES).isel(band=slice(3)))
    with pytest.raises(CloudMaskError, match="'NDV'"):
        indices(cube(SERIES), ["NDV"])
    with pytest.raises(CloudMaskError, match="scale"):
        indices(cube(SERIES), scale=0.1)
    with pytest.raises(CloudMaskError, match="of='toa'"):
        indices(cube(SERIES), of="toa")
