"""What becomes of the numbers of products whose rule is easily mistaken for another's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from products import make_landsat

from xr_cloudmask.errors import ReflectanceError
from xr_cloudmask.files import open_cube

SUN = 45.0
SINE = np.sin(np.radians(SUN))
L5_MULT, L5_ADD = 2.4350e-03, -0.008007  # of a band of a real Landsat 5 scene


def cube(names: list[str], value: float, dtype: str, **attrs: Any) -> xr.Dataset:
    values = np.full((4, 4), value, dtype)
    values[0, 0] = attrs.pop("fill", value)
    return xr.Dataset({name: (("y", "x"), values.copy()) for name in names}, attrs=attrs)


def value_of(converted: xr.Dataset, name: str) -> float:
    assert np.isfinite(converted[name].values[1:]).all()
    return float(converted[name][1, 1])


LEVEL_1 = {"sun_elevation": SUN, "processing:level": "L1TP"}


@pytest.mark.parametrize(
    ("platform", "instrument"), [("LANDSAT_5", "TM"), ("LANDSAT_7", "ETM"), ("LANDSAT_5", "MSS"), ("LANDSAT_2", "MSS")]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_landsat_before_oli_asks_for_the_factors_of_the_scene(platform, instrument, dtype):
    names = ["B4", "B5", "B6"] if platform == "LANDSAT_2" else ["B1", "B2", "B3", "B4"]
    raw = cube(names, 80, dtype, platform=platform, instruments=[instrument], **LEVEL_1)
    with pytest.raises(ReflectanceError, match="differ from scene to scene") as error:
        raw.cloudmask.reflectance()
    assert "MTL" in error.value.remedy
    assert f"scale={{'{names[0]}': ..., ...}}" in error.value.remedy


def test_the_scenes_own_factors_are_divided_by_the_sine_of_the_sun():
    raw = cube(["B1", "B2", "B3"], 80, "uint8", platform="LANDSAT_5", **LEVEL_1)
    for name in raw:
        raw[name].attrs = {"scale_factor": L5_MULT, "add_offset": L5_ADD}
    assert value_of(raw.cloudmask.reflectance(), "B2") == pytest.approx((80 * L5_MULT + L5_ADD) / SINE, abs=1e-6)


def test_a_folder_with_its_metadata_needs_no_table(tmp_path):
    opened = open_cube(make_landsat(tmp_path, "L1"))
    sine = np.sin(np.radians(float(opened["view:sun_elevation"])))
    found = opened.cloudmask.reflectance().B4[2, 2]
    assert float(found) == pytest.approx((float(opened.B4[2, 2]) * 2e-5 - 0.1) / sine, abs=1e-6)


@pytest.mark.parametrize(
    "said",
    [
        {"sensor": "landsat-8-9"}, {"sensor": "LANDSAT_8"}, {"sensor": "dea-landsat"}, {},
    ],
)  # fmt: skip
def test_digital_earth_australia_is_not_usgs(said):
    names = [f"nbart_{name}" for name in ("blue", "green", "red", "nir", "swir_1", "swir_2")]
    converted = cube(names, 1500, "int16", fill=-999).cloudmask.reflectance(**said)
    assert value_of(converted, "nbart_swir_2") == pytest.approx(0.15)
    assert np.isnan(converted.nbart_blue[0, 0])
    assert converted.attrs["level"] == "BOA"


@pytest.mark.parametrize("said", [{"sensor": "sentinel-2"}, {}])
@pytest.mark.parametrize(
    ("names", "fill"),
    [
        ([f"nbart_{name}" for name in ("blue", "green", "red", "nir_1", "swir_2", "swir_3")], -999),
        ([f"FRE_{name}" for name in ("B2", "B3", "B4", "B8", "B11", "B12")], -10_000),
    ],
)
def test_sentinel_2_of_other_providers_has_no_offset(names, fill, said):
    converted = cube(names, 1500, "int16", fill=fill).cloudmask.reflectance(**said)
    assert value_of(converted, names[0]) == pytest.approx(0.15)
    assert np.isnan(converted[names[0]][0, 0])


def test_rapideye_radiance_has_published_constants():
    raw = cube(["blue", "green", "red", "rededge", "nir"], 8000, "uint16", platform="RapidEye-3")
    raw = raw.assign_coords(time=np.datetime64("2015-07-04T11:00", "ns"), sun_elevation=SUN)
    converted = raw.cloudmask.reflectance(level="TOA")
    # Earth-Sun distance on that day: 1.0167 astronomical units
    assert value_of(converted, "red") == pytest.approx(80 * np.pi * 1.0167**2 / (1560.4 * SINE), rel=1e-3)


@pytest.mark.parametrize(
    ("attrs", "names"),
    [
        ({"platform": "WV03"}, ["blue", "green", "red", "nir1"]),
        ({"platform": "PHR1A"}, ["B0", "B1", "B2", "B3"]),
        ({"platform": "PNEO3"}, ["blue", "green", "red", "nir"]),
        ({"platform": "SPOT6"}, ["B0", "B1", "B2", "B3"]),
        ({"platform": "GF-1", "instruments": ["WFV1"]}, ["B1", "B2", "B3", "B4"]),
        ({"platform": "Sentinel-3A", "instruments": ["OLCI"]}, ["Oa04_radiance", "Oa08_radiance"]),
        ({"platform": "GOES-16", "sensor": "abi"}, ["C01", "C02"]),
    ],
)
def test_radiance_says_at_once_what_is_needed(attrs, names):
    with pytest.raises(ReflectanceError, match="radiance") as error:
        cube(names, 800, "uint16", **attrs).cloudmask.reflectance()
    assert f"scale={{'{names[0]}': ..., ...}}" in error.value.remedy


def hyperspectral(value: float, dtype: str, **attrs: Any) -> xr.DataArray:
    wavelength = ("band", np.linspace(420, 2400, 40))
    return xr.DataArray(
        np.full((40, 4, 4), value, dtype), dims=("band", "y", "x"), coords={"wavelength": wavelength}, attrs=attrs
    )


def test_enmap_and_emit_reflectance():
    enmap = hyperspectral(1500, "int16", platform="EnMAP", **{"processing:level": "L2A"}).cloudmask.reflectance()
    np.testing.assert_allclose(enmap, 0.15, atol=1e-6)
    title = "EMIT L2A Estimated Surface Reflectance 60 m V001"
    emit = hyperspectral(0.15, "float32", title=title)
    for loaded in (emit, emit.chunk()):
        converted = loaded.cloudmask.reflectance()
        np.testing.assert_allclose(converted, 0.15, atol=1e-6)
        assert converted.attrs["level"] == "BOA"


@pytest.mark.parametrize(("sensor", "level"), [("prisma", "BOA"), ("prisma", "TOA"), ("enmap", "TOA"), ("emit", "TOA")])
def test_hyperspectral_numbers_with_factors_of_their_own(sensor, level):
    with pytest.raises(ReflectanceError, match=f"{sensor} digital numbers"):
        hyperspectral(1500, "uint16").cloudmask.reflectance(sensor=sensor, level=level)


@pytest.mark.parametrize("key", ["reflectance_scale_factor", "reflectance scale factor"])
@pytest.mark.parametrize("factor", [10_000, "10000.0"])
def test_reflectance_scale_factor_of_envi(key, factor):
    raw = hyperspectral(1500, "int16", **{key: factor})
    converted = raw.cloudmask.reflectance(level="BOA")
    np.testing.assert_allclose(converted, 0.15, atol=1e-6)
    assert "ENVI reflectance scale factor" in converted.attrs["reflectance_provenance"]


def test_spectral_variables_beside_the_reflectance_stay_what_they_are():
    raw = hyperspectral(1500, "int16").to_dataset(name="reflectance").reset_coords()
    converted = raw.cloudmask.reflectance(sensor="enmap", level="BOA")
    np.testing.assert_allclose(converted.reflectance, 0.15, atol=1e-6)
    xr.testing.assert_identical(converted.wavelength, raw.wavelength)


@pytest.mark.parametrize("names", [[1, 2, 3], [b"blue", b"green", b"red"]])
def test_variables_called_by_numbers_or_bytes(names):
    raw = cube(names, 1500, "int16")
    for name, wavelength in zip(names, (480, 560, 660), strict=True):
        raw[name].attrs["wavelength"] = wavelength
    converted = raw.cloudmask.reflectance(scale=1e-4, offset=0)
    assert list(converted) == names
    assert value_of(converted, names[0]) == pytest.approx(0.15)


# --- processing baselines that are none


def sentinel_2(baseline: Any, **attrs: Any) -> xr.Dataset:
    said = {"platform": "sentinel-2a", "processing:level": "L2A", "s2:processing_baseline": baseline}
    return cube(["B02", "B03", "B04", "B08"], 2500, "uint16", **(said | attrs))


@pytest.mark.parametrize("baseline", ["99.99", 99.99, "N9999", "10.00", "00.00", "0.00"])
def test_numbers_that_are_no_baseline_are_not_believed(baseline):
    with pytest.raises(ReflectanceError, match="unknown processing baseline"):
        sentinel_2(baseline).cloudmask.reflectance()


@pytest.mark.parametrize(("baseline", "right"), [("00.01", 0.25), ("02.14", 0.25), ("04.00", 0.15), ("09.99", 0.15)])
def test_baselines_are_believed(baseline, right):
    assert value_of(sentinel_2(baseline).cloudmask.reflectance(), "B04") == pytest.approx(right)


def test_the_product_id_tells_where_the_baseline_is_none():
    name = "S2A_MSIL2A_20200910T100031_N0500_R122_T33TVL_20230410T150000"
    assert value_of(sentinel_2("99.99", id=name).cloudmask.reflectance(), "B04") == pytest.approx(0.15)
    unknown = "S2A_MSIL2A_20200910T100031_N9999_R122_T33TVL_20230410T150000"
    with pytest.raises(ReflectanceError, match="unknown processing baseline"):
        sentinel_2("99.99", id=unknown).cloudmask.reflectance()


def test_one_date_without_a_baseline_is_not_passed_over():
    two = sentinel_2("x").expand_dims(time=2).drop_attrs(deep=False).assign_attrs(platform="sentinel-2a")
    two = two.assign_attrs({"processing:level": "L2A"})
    two = two.assign_coords({"s2:processing_baseline": ("time", ["05.00", "99.99"])})
    with pytest.raises(ReflectanceError, match="unknown processing baseline"):
        two.cloudmask.reflectance()


# --- STAC 1.1 through stackstac, which rescales by raster:bands alone


@pytest.mark.parametrize(("key", "right"), [("raster:bands", 0.25), ("bands", 0.25)])
def test_floats_of_stackstac_are_rescaled_by_raster_bands_alone(key, right):
    entry = {"scale": 1e-4, "offset": 0.0} if key == "raster:bands" else {"raster:scale": 1e-4, "raster:offset": 0.0}
    value = right if key == "raster:bands" else 2500.0
    lists = np.empty(3, object)
    lists[:] = [[entry]] * 3
    coords = {"band": ["blue", "green", "red"], key: ("band", lists), "epsg": 32633, "id": ("time", ["a"])}
    loaded = xr.DataArray(np.full((1, 3, 4, 4), value), dims=("time", "band", "y", "x"), coords=coords)
    np.testing.assert_allclose(loaded.cloudmask.reflectance(level="BOA"), right, atol=1e-6)
