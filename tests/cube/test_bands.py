"""Which band is which, for every loader and every lookup."""

from __future__ import annotations

import json
import warnings
from typing import Any

import dask
import dask.array as da
import loaders
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from paths import SHARED

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.bands import BandDescriptor, candidate_sensors, describe, identify_sensor, left_out
from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.errors import BandError, ModelError
from xr_cloudmask.models.registry import choose

ITEMS = SHARED / "data/bdc/stac"
SIX = ["blue", "green", "red", "nir", "swir16", "swir22"]


def dataset(names: list[str], **attrs: Any) -> xr.Dataset:
    return xr.Dataset({name: (("y", "x"), np.zeros((2, 2), "uint16")) for name in names}, attrs=attrs)


def array(names: list[Any], **coords: Any) -> xr.DataArray:
    along = {key: ("band", value) for key, value in coords.items()}
    return xr.DataArray(np.zeros((len(names), 2, 2)), dims=("band", "y", "x"), coords={"band": names} | along)


def roles(cube: layout.Cube, **options: Any) -> dict[str, str | None]:
    return {band.name: band.role for band in describe(layout.view(cube), **options)}


def sensor_of(cube: layout.Cube, **options: Any) -> str | None:
    sensor = identify_sensor(layout.view(cube), **options)
    return sensor.id if sensor else None


# --- loaders


def test_odc_stac(tmp_path):
    cube = loaders.odc_stac(tmp_path)
    assert roles(cube) == loaders.SENTINEL_2  # without SCL
    assert sensor_of(cube) == "sentinel-2"


@pytest.mark.parametrize(
    ("load", "names"),
    [
        (loaders.stackstac_planetary_computer, loaders.SENTINEL_2),
        (loaders.stackstac_earth_search, loaders.EARTH_SEARCH),
        (loaders.stackstac_integers, loaders.EARTH_SEARCH),
    ],
)
def test_stackstac(tmp_path, load, names):
    cube = load(tmp_path)
    assert roles(cube) == names
    assert sensor_of(cube) == "sentinel-2"
    blue = describe(layout.view(cube))[0]
    assert (blue.min_wavelength, blue.max_wavelength) == (441, 539)  # 0.49 µm, 0.098 µm wide


def test_cubo(tmp_path, monkeypatch):
    cube = loaders.cubo(tmp_path, monkeypatch)
    assert roles(cube) == loaders.SENTINEL_2
    assert sensor_of(cube) == "sentinel-2"


def test_brazil_data_cube(tmp_path):
    cube = loaders.stackstac_bdc(tmp_path)
    assert roles(cube) == {"BAND1": "blue", "BAND2": "green", "BAND3": "red", "BAND4": "nir"}
    assert sensor_of(cube) == "amazonia-1-wfi"


def test_rioxarray(tmp_path):
    assert roles(loaders.rioxarray(tmp_path)) == {name: name for name in ("blue", "green", "red", "nir")}
    named = loaders.rioxarray(tmp_path, bands=("SR_B2", "SR_B3", "SR_B6"), chunks={})
    assert roles(named) == {"SR_B2": "blue", "SR_B3": "green", "SR_B6": "swir16"}


def test_satpy():
    cube = loaders.satpy()
    assert roles(cube) == {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
    blue = describe(layout.view(cube))[0]
    assert (blue.min_wavelength, blue.max_wavelength) == (440, 540)


def test_eopf(tmp_path):
    cube = loaders.eopf(tmp_path)
    assert sorted(roles(cube).values()) == sorted(SIX)
    assert sensor_of(cube) == "sentinel-2"


@pytest.mark.parametrize("name", ["bdc_AMZ1-WFI-L4-SR-1_eo_bands.json"])
def test_real_eo_bands_of_brazil_data_cube(name):
    if not (ITEMS / name).exists():
        pytest.skip("the reference STAC items are not beside this checkout")
    entries = json.loads((ITEMS / name).read_text())["eo:bands"]
    cube = dataset([entry["name"] for entry in entries])
    for entry in entries:
        cube[entry["name"]].attrs["eo:bands"] = [entry]
    described = describe(layout.view(cube))
    assert [band.role for band in described] == ["blue", "green", "red", "nir"]
    assert [(band.min_wavelength, band.max_wavelength) for band in described][3] == (770, 890)


# --- names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["B02_10m", "B03_10m", "B8A_20m"], "sentinel-2"),
        (["b02", "b03", "b8a"], "sentinel-2"),
        (["B02", "B03", "B04", "B08", "SCL"], "sentinel-2"),
        (["B02", "B03", "B04", "B8A", "Fmask"], "hls-s30"),
        (["blue", "green", "red", "rededge1", "nir"], "sentinel-2"),
        (["SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"], "landsat-8-9"),
        (["BAND5", "BAND6"], None),
        (["BAND0", "BAND1", "BAND2", "BAND3", "BAND4"], "cbers-4a-wpm"),
        (["coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"], "planetscope-8"),
        (["sur_refl_b01", "sur_refl_b02"], "modis"),
        (SIX, None),
    ],
)
def test_names_alone_decide_where_one_sensor_fits(names, expected):
    if expected is None and names is not SIX:
        with pytest.raises(BandError, match="fit several sensors"):
            sensor_of(dataset(names))
    else:
        assert sensor_of(dataset(names)) == expected


def test_common_names_need_no_sensor():
    described = describe(layout.view(dataset(["Blue", "green", "swir1", "qa", "angle"])))
    assert [(band.name, band.role) for band in described] == [("Blue", "blue"), ("green", "green"), ("swir1", "swir16")]
    assert (described[0].min_wavelength, described[0].max_wavelength) == (450, 530)  # STAC eo 2.0.0


@pytest.mark.parametrize(
    ("names", "candidates"),
    [
        (["B02", "B03", "B04", "B08"], ["hls-s30", "sentinel-2"]),
        (["BAND1", "BAND2", "BAND3", "BAND4"], ["amazonia-1-wfi", "cbers-4a-wpm"]),
        (["BAND13", "BAND14"], ["cbers-4-wfi", "cbers-4a-wfi"]),
    ],
)
def test_ambiguous_names_list_the_sensors(names, candidates):
    with pytest.raises(BandError) as error:
        identify_sensor(layout.view(dataset(names)))
    assert error.value.found == f"bands {', '.join(names)}, which fit several sensors: {', '.join(candidates)}"
    assert error.value.expected == "one sensor"
    assert error.value.remedy == f"sensor='{candidates[0]}' or sensor='{candidates[1]}'"
    for candidate in candidates:
        assert roles(dataset(names), sensor=candidate)


@pytest.mark.parametrize("sensor", sensors().values(), ids=lambda sensor: sensor.id)
def test_every_name_of_every_table_is_understood(sensor):
    for band in sensor.bands:
        for name in band.names:
            (described,) = describe(layout.view(dataset([name])), sensor=sensor.id)
            assert described == BandDescriptor(name, band.role, band.min_wavelength, band.max_wavelength, band.kind)


SIX_ROLES = ["blue", "green", "red", "nir", "swir16", "swir22"]


@pytest.mark.parametrize(
    ("names", "expected", "sensor"),
    [
        (["Blue", "GREEN", " red ", "Near Infrared", "SWIR 1", "SWIR-2"], SIX_ROLES, None),
        (["blue", "green", "red", "nir", "swir_1", "swir_2"], SIX_ROLES, None),  # Digital Earth Africa, Landsat
        (["blue", "green", "red", "red_edge_1", "nir_1", "nir_2", "swir_1", "swir_2"],
         ["blue", "green", "red", "rededge071", "nir", "nir08", "swir16", "swir22"], "sentinel-2"),  # and Sentinel-2
        (["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"], [*SIX_ROLES[:3], "nir08", *SIX_ROLES[4:]], None),
        ([f"nbart_{name}" for name in ("blue", "green", "red", "nir", "swir_1", "swir_2")],
         [*SIX_ROLES[:3], "nir08", *SIX_ROLES[4:]], "dea-landsat"),
        ([f"nbart_{name}" for name in ("blue", "green", "red", "nir_1", "swir_2", "swir_3")],
         SIX_ROLES, "dea-sentinel-2"),
        ([f"LC08_044034_20140318_SR_B{number}" for number in (2, 3, 4, 5, 6, 7)],
         [*SIX_ROLES[:3], "nir08", *SIX_ROLES[4:]], "landsat-8-9"),
        ([f"20190101T184751_20190101T184752_T10SEG_{name}" for name in ("B2", "B3", "B4", "B8", "B11", "B12")],
         SIX_ROLES, "sentinel-2"),
        ([f"T32TQM_20220811T101559_{name}.jp2" for name in ("B02", "B03", "B04", "B08", "B11", "B12")],
         SIX_ROLES, "sentinel-2"),
        ([f"FRE_{name}" for name in ("B2", "B3", "B4", "B8", "B11", "B12")], SIX_ROLES, "theia-sentinel-2"),
        ([f"SRE_{name}" for name in ("B2", "B3", "B4", "B8", "B11", "B12")], SIX_ROLES, "theia-sentinel-2"),
        ([f"{name}-jp2" for name in ("blue", "green", "red", "nir", "swir16", "swir22")], SIX_ROLES, None),
        (["b2", "b3", "b4", "b8", "b8a", "b11", "b12"], [*SIX_ROLES[:4], "nir08", *SIX_ROLES[4:]], "sentinel-2"),
        (["C01", "C02", "C03", "C05", "C06"], ["blue", "red", "nir08", "swir16", "swir22"], "goes-abi"),
        (["vis_05", "vis_06", "vis_08", "nir_16", "nir_22"], ["green", "red", "nir08", "swir16", "swir22"], "mtg-fci"),
        (["I01", "I02", "I03"], ["red", "nir08", "swir16"], "viirs-i"),
        (["Oa04_radiance", "Oa06_radiance", "Oa08_radiance", "Oa17_radiance"], ["blue", "green", "red", "nir08"],
         "sentinel-3-olci"),
        (["450-520 nm", "0.665 µm", "Band 3 (865.5 nm)"], ["blue", "red", "nir08"], None),
    ],
)  # fmt: skip
def test_names_as_people_and_loaders_spell_them(names, expected, sensor):
    for cube in (dataset(names), array(names)):
        assert roles(cube) == dict(zip(names, expected, strict=True))
    found = candidate_sensors(layout.view(dataset(names)))
    assert [table.id for table in found] == ([sensor] if sensor else [])


@given(st.sampled_from(["swir16", "rededge", "nir08", "coastal", "B8A_20m", "sur_refl_b01"]), st.data())
def test_case_and_separators_of_a_name_do_not_matter(name, data):
    spelt = "".join(data.draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in name)
    spelt = spelt.replace("_", data.draw(st.sampled_from(["_", "-", " ", "."])))
    options = {"sensor": "sentinel-2"} if name == "B8A_20m" else {"sensor": "modis"} if "refl" in name else {}
    assert list(roles(dataset([spelt]), **options).values()) == list(roles(dataset([name]), **options).values())


@pytest.mark.parametrize(
    "names", [["band_1", "band_2", "band_3"], ["Band 1", "Band 2"], ["Band1", "Band2", "Band3", "Band4"], ["1", "2"]]
)
def test_numbers_of_bands_are_nobodys_names(names):
    """GDAL and rioxarray number the bands of any file: band 1 of an RGB image is red."""
    with pytest.raises(BandError, match="none of which is known"):
        describe(layout.view(dataset(names)))


def test_numbered_names_are_known_where_the_sensor_is():
    cube = dataset(["Band1", "Band2", "Band3", "Band4"], platform="CBERS-4A", instruments=["WPM"])
    assert list(roles(cube).values()) == ["blue", "green", "red", "nir"]


def test_bands_as_variables_go_by_their_descriptions(tmp_path):
    cube = loaders.rioxarray(tmp_path, band_as_variable=True)
    assert roles(cube) == {"band_1": "blue", "band_2": "green", "band_3": "red", "band_4": "nir"}
    named = loaders.rioxarray(tmp_path, bands=("SR_B2", "SR_B3", "SR_B6"), band_as_variable=True)
    assert roles(named) == {"band_1": "blue", "band_2": "green", "band_3": "swir16"}
    assert sensor_of(named) == "landsat-8-9"


@pytest.mark.parametrize(
    "labels",
    [
        pd.CategoricalIndex(SIX),
        np.array(SIX, "S"),
        np.array(SIX, object),
        np.array(SIX, np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else np.array(SIX),
        pd.Index(SIX, dtype="string"),
    ],
)
def test_labels_of_any_type(labels):
    cube = xr.DataArray(np.zeros((6, 2, 2)), dims=("band", "y", "x"), coords={"band": labels})
    assert list(roles(cube)) == SIX
    assert list(roles(cube).values()) == SIX_ROLES


def test_numbered_bands_by_descriptors():
    cube = array(np.arange(1, 4, dtype="uint8"))
    mine = [BandDescriptor(1, "blue", 450, 520), BandDescriptor(np.int64(3), "red", 630, 690)]
    assert [band.name for band in describe(layout.view(cube), descriptors=mine)] == ["1", "3"]


def test_without_sensor_the_second_nir_and_numbered_swir_bands_are_nobodys():
    names = ["blue", "green", "red", "nir_1", "nir_2", "swir_2", "swir_3"]
    with pytest.warns(UserWarning, match="bands nir_2, swir_2, swir_3 are left out"):
        assert list(roles(dataset(names)).values()) == ["blue", "green", "red", "nir"]
    assert list(roles(dataset(names, collection="ga_s2am_ard_3")).values())[3:] == ["nir", "nir08", "swir16", "swir22"]
    of_worldview = roles(dataset(["blue", "nir_2", "swir1", "swir2", "swir3"], platform="WV03"))
    assert list(of_worldview.values()) == ["blue", "nir09", None, "swir16", None]


@pytest.mark.parametrize("extra", ["swir_x", "B17", "rededge9", "band_5", "SWIR3"])
def test_bands_that_look_spectral_are_not_left_out_without_a_word(extra):
    cube = dataset(["blue", "green", "red", "nir", extra, "cloud", "ndvi", "valid", "qa"])
    with pytest.warns(UserWarning, match=f"bands {extra} are left out.*cube.rename"):
        found = describe(layout.view(cube))
    assert len(found) == 4
    assert left_out(layout.view(cube), found) == (extra,)


def test_bands_of_several_images_are_refused():
    names = [f"LC08_044034_{day}_B{number}" for day in ("20140318", "20140403") for number in (2, 3, 4)]
    with pytest.raises(BandError, match="several images side by side") as error:
        describe(layout.view(dataset(names)))
    kept = eval(error.value.remedy, {"cube": dataset(names), "str": str})  # what it says to type
    assert list(roles(kept)) == names[:3]
    with pytest.raises(BandError) as error:
        describe(layout.view(array(names)))
    assert list(roles(eval(error.value.remedy, {"cube": array(names), "str": str}))) == names[:3]


# --- hints


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({"platform": "Sentinel-2A"}, "sentinel-2"),
        ({"platform_name": "Sentinel-2C"}, "sentinel-2"),
        ({"sensor": {"msi"}}, "sentinel-2"),
        ({"instruments": ["msi"]}, "sentinel-2"),
        ({"constellation": "sentinel-2"}, "sentinel-2"),
        ({"collection": "sentinel-2-l2a", "stac": "https://example.org"}, "sentinel-2"),
        ({"collection": "hls2-s30", "platform": "sentinel-2a"}, "hls-s30"),
        ({"id": "HLS.S30.T33UUP.2023253T100559.v2.0"}, "hls-s30"),
        ({"platform": "landsat-8", "collection": "landsat-c2-l2"}, "landsat-8-9"),
        ({"stac_discovery": {"properties": {"platform": "sentinel-2a"}}}, "sentinel-2"),
        ({"platform_name": "Himawari-8", "sensor": {"ahi"}}, "himawari-ahi"),
        ({"id": "SENTINEL2A_20220811-101559-123_L2A_T32TQM_C_V3-0"}, "theia-sentinel-2"),
        ({"platform": "landsat-8", "odc:product": "ga_ls8c_ard_3"}, "dea-landsat"),
    ],
)
def test_metadata_settle_what_names_leave_open(hints, expected):
    assert (
        sensor_of(dataset(["B2", "B3", "B4"] if "landsat" in expected else ["B02", "B03", "B04"], **hints)) == expected
    )


def test_platform_and_names_together():
    assert sensor_of(dataset(["BAND13", "BAND14"], platform="CBERS-4A")) == "cbers-4a-wfi"
    assert sensor_of(dataset(["BAND5", "BAND6"], platform="CBERS-4A", instruments=["MUX"])) == "cbers-4a-mux"


def test_products_of_others_are_told_from_the_sensors_own_by_their_names():
    dea, usgs = [f"nbart_{name}" for name in SIX_ROLES[:3]], ["SR_B2", "SR_B3", "SR_B4"]
    for said in ({"sensor": "landsat-8-9"}, {"sensor": "LANDSAT_8"}):
        assert sensor_of(dataset(dea), **said) == "dea-landsat"
        assert sensor_of(dataset(usgs), **said) == "landsat-8-9"
        assert sensor_of(dataset(["blue", "red"]), **said) == "landsat-8-9"
    assert sensor_of(dataset(dea, platform="landsat-8")) == "dea-landsat"
    assert sensor_of(dataset(["FRE_B2", "FRE_B3"]), sensor="sentinel-2") == "theia-sentinel-2"
    assert sensor_of(dataset(["B02", "B03"]), sensor="sentinel-2") == "sentinel-2"


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({"platform": "LANDSAT_5", "instruments": ["mss"]}, "landsat-mss-4-5"),
        ({"id": "LM05_L1TP_044034_19850101_20200101_02_T2"}, "landsat-mss-4-5"),
        ({"platform": "LANDSAT_5", "instruments": ["tm"]}, "landsat-4-5"),
        ({"platform": "LANDSAT_5"}, "landsat-4-5"),
    ],
)
def test_two_instruments_of_one_platform(hints, expected):
    assert sensor_of(dataset(["B1", "B2", "B3", "B4"], **hints)) == expected


def test_candidates_found_before_are_not_looked_for_again(monkeypatch):
    view = layout.view(dataset(["B02", "B03"], platform="sentinel-2a"))
    found = candidate_sensors(view)
    monkeypatch.setattr("xr_cloudmask.cube.bands.candidate_sensors", lambda *_: pytest.fail("looked again"))
    assert [band.role for band in describe(view, candidates=found)] == ["blue", "green"]


def test_platforms_along_time():
    cube = dataset(["B02", "B03"]).expand_dims(time=3)
    mixed = cube.assign_coords(platform=("time", ["sentinel-2a", "sentinel-2b", "sentinel-2c"]))
    assert sensor_of(mixed) == "sentinel-2"
    with pytest.raises(BandError) as error:
        sensor_of(cube.assign_coords(platform=("time", ["sentinel-2a", "landsat-8", "landsat-8"])))
    assert error.value.found == "dates of different sensors: landsat-8-9, sentinel-2"
    assert "groupby('platform')" in error.value.remedy


def test_argument_wins_over_metadata():
    cube = dataset(["B02", "B03"], platform="sentinel-2a")
    assert sensor_of(cube, sensor="hls-l30") == "hls-l30"


def test_platform_without_table_never_borrows_another_sensors_names():
    with pytest.raises(BandError, match="none of which is known"):
        describe(layout.view(dataset(["B02_10m"], platform="kompsat-3")))
    assert roles(dataset(["blue", "red"], platform="kompsat-3")) == {"blue": "blue", "red": "red"}


# --- wavelengths


@pytest.mark.parametrize(
    "coords",
    [
        {"min_wavelength": [450.0, 770.0], "max_wavelength": [520.0, 890.0]},
        {"min_wavelength": [0.45, 0.77], "max_wavelength": [0.52, 0.89]},
        {"center_wavelength": [0.485, 0.83], "full_width_half_max": [0.07, 0.12]},
        {"wavelength": [485.0, 830.0], "fwhm": [70.0, 120.0]},
        {"wavelength": ["485.0", "830.0"], "fwhm": ["70.0", "120.0"]},
        {"eo:bands": [[{"center_wavelength": w, "full_width_half_max": f}] for w, f in ((0.485, 0.07), (0.83, 0.12))]},
    ],
)  # fmt: skip
def test_coordinates_along_the_band_dimension(coords):
    values = {key: _objects(value) if isinstance(value[0], list) else value for key, value in coords.items()}
    described = describe(layout.view(array([1, 2], **values)))
    assert [(band.role, band.min_wavelength, band.max_wavelength) for band in described] == [
        ("blue", 450, 520),
        ("nir", 770, 890),
    ]


def _objects(values: list[Any]) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 1), ("um", 1e-3), ("µm", 1e-3), ("micrometers", 1e-3), ("Nanometers", 1)]
)
def test_units_by_attribute(unit, factor):
    cube = array(["a"], wavelength=[865 * factor], fwhm=[30 * factor])
    cube.wavelength.attrs["units"] = unit
    (band,) = describe(layout.view(cube))
    assert (band.role, band.min_wavelength, band.max_wavelength) == ("nir08", 850, 880)


@pytest.mark.parametrize(
    "attrs",
    [
        {"bands": [{"eo:common_name": "red", "eo:center_wavelength": 0.66, "eo:full_width_half_max": 0.06}]},
        {"eo:bands": [{"common_name": "red", "center_wavelength": 0.66, "full_width_half_max": 0.06}]},
        {"wavelength": (0.63, 0.66, 0.69)},
        {"radiation_wavelength": 660.0, "fwhm": 60.0},
        {"wavelength": "660", "fwhm": "60", "wavelength_units": "Nanometers"},
    ],
)  # fmt: skip
def test_variable_attributes(attrs):
    cube = dataset(["one", "quality"])
    cube["one"].attrs = attrs
    assert describe(layout.view(cube)) == (BandDescriptor("one", "red", 630, 690),)


@pytest.mark.parametrize(
    ("wavelength", "limits"),
    [
        ("0.66 µm (0.63-0.69 µm)", (630, 690)),  # satpy's, after to_netcdf
        ("660 nm (630-690 nm)", (630, 690)),
        ("630 - 690 nm", (630, 690)),
        ("660.0 nanometers", (660, 660)),
        (["0.63", "0.66", "0.69", "µm"], (630, 690)),  # satpy's, in older files
        (np.array([0.63, 0.66, 0.69]), (630, 690)),  # a list after to_netcdf
        ([630, 690], (630, 690)),
        (np.float32(660), (660, 660)),
        (np.int16(660), (660, 660)),
        (6.6e-7, (660, 660)),
        ("6600 angstrom", None),
    ],
)  # fmt: skip
def test_wavelengths_however_they_are_kept(wavelength, limits):
    cube = dataset(["one", "red"])
    cube["one"].attrs["wavelength"] = wavelength
    found = {band.name: (band.min_wavelength, band.max_wavelength) for band in describe(layout.view(cube))}
    assert found.get("one") == limits


def test_satpy_through_netcdf(tmp_path):
    cube = loaders.satpy()
    texts = {name: str(band.attrs["wavelength"]) for name, band in cube.items()}
    assert texts["B02"].replace("\xa0", " ") == "0.49 µm (0.44-0.54 µm)"
    cube = xr.Dataset({name: band.drop_attrs().assign_attrs(wavelength=texts[name]) for name, band in cube.items()})
    cube.to_netcdf(tmp_path / "cube.nc")
    with xr.open_dataset(tmp_path / "cube.nc") as opened:
        blue = describe(layout.view(opened))[0]
    assert (blue.role, blue.min_wavelength, blue.max_wavelength) == ("blue", 440, 540)


@pytest.mark.parametrize(
    "coords",
    [
        {"wavelength": np.array([490, 665, 865])},
        {"wavelengths": np.array([490, 665, 865], "uint16"), "fwhm": np.array([10, 10, 10])},
        {"wavelength": np.array([0.49, 0.665, 0.865], "float32")},
        {"Wavelength": [0.49, 0.665, 0.865], "FWHM": [10.0, 10.0, 10.0]},  # the width in nanometres
        {"center_wavelength": np.array(["490", "665", "865"])},
    ],
)
def test_numbers_of_any_type_and_unit_by_what_they_can_be(coords):
    described = describe(layout.view(array([1, 2, 3], **coords)))
    assert [band.role for band in described] == ["blue", "red", "nir08"]
    assert [round((band.min_wavelength + band.max_wavelength) / 2) for band in described] == [490, 665, 865]


@pytest.mark.parametrize("numbers", [np.arange(3), np.arange(1, 4), np.arange(1.0, 4.0)])
def test_numbers_of_bands_are_no_wavelengths(numbers):
    cube = xr.DataArray(np.zeros((3, 2, 2)), dims=("wavelength", "y", "x"), coords={"wavelength": numbers})
    with pytest.raises(BandError, match="none of which is known"):
        describe(layout.view(cube))


@pytest.mark.parametrize("unit", ["cm-1", "GHz", "1/cm"])
def test_units_that_are_no_lengths(unit):
    cube = dataset(["one", "red"])
    cube["one"].attrs = {"wavelength": 900.0, "wavelength_units": unit}
    assert roles(cube) == {"red": "red"}


def test_limits_in_the_wrong_order_are_refused():
    cube = array([1, 2], min_wavelength=[520.0, 770.0], max_wavelength=[450.0, 890.0])
    with pytest.raises(BandError, match="shortest wavelength of 520 nm and a longest of 450 nm"):
        describe(layout.view(cube))


def test_a_width_that_cannot_be_is_refused():
    with pytest.raises(BandError, match="around 490 nm that is 2000 nm wide"):
        describe(layout.view(array([1], wavelength=[490.0], fwhm=[2000.0])))


# --- bad bands


def hyperspectral(count: int = 30, **coords: Any) -> xr.DataArray:
    return array(list(range(count)), wavelength=np.linspace(400, 2450, count), **coords)


BAD = [3, 7, 8]
GOOD_FLAGS = np.where(np.isin(np.arange(30), BAD), 0, 1)


@pytest.mark.parametrize(
    "flagged",
    [
        lambda: hyperspectral(good_wavelengths=GOOD_FLAGS.astype("float32")),
        lambda: hyperspectral(good_wavelengths=GOOD_FLAGS.astype(bool)),
        lambda: hyperspectral(bad_bands=GOOD_FLAGS == 0),
        lambda: hyperspectral().assign_attrs(bbl=GOOD_FLAGS.tolist()),
        lambda: hyperspectral().assign_attrs(bbl="{" + ", ".join(map(str, GOOD_FLAGS)) + "}"),  # as ENVI writes it
        lambda: hyperspectral().assign_attrs(bbl=", ".join(map(str, GOOD_FLAGS.astype(float)))),
        lambda: hyperspectral().assign_attrs(List_Cw_Vnir_Flags=GOOD_FLAGS),
        lambda: hyperspectral().to_dataset(name="reflectance").assign_attrs(bbl=GOOD_FLAGS),
        lambda: _by_variable(hyperspectral()),
        lambda: hyperspectral(good_wavelengths=GOOD_FLAGS).chunk(band=5),
        lambda: (
            hyperspectral(good_wavelengths=GOOD_FLAGS).to_dataset(name="reflectance").reset_coords()
        ),  # as in the file
    ],
)
def test_bands_that_the_product_marks_as_bad_are_left_out(flagged):
    names = [band.name for band in describe(layout.view(flagged()))]
    assert len(names) == 27
    assert not {str(number) for number in BAD} & set(names)


def _by_variable(cube: xr.DataArray) -> xr.Dataset:
    bands = {str(i): cube.isel(band=i).drop_vars("band") for i in range(cube.sizes["band"])}
    out = xr.Dataset({name: band.drop_vars("wavelength") for name, band in bands.items()})
    for i, (name, band) in enumerate(out.items()):
        band.attrs = {"wavelength": float(bands[str(name)].wavelength), "good_wavelengths": int(GOOD_FLAGS[i])}
    return out


def test_flags_of_another_length_and_all_good_flags_leave_nothing_out():
    assert len(describe(layout.view(hyperspectral().assign_attrs(bbl=[0, 1, 1])))) == 30
    assert len(describe(layout.view(hyperspectral(good_wavelengths=np.ones(30))))) == 30


def test_no_good_band_is_an_error():
    with pytest.raises(BandError, match="30 bands that are all marked as bad"):
        describe(layout.view(hyperspectral(good_wavelengths=np.zeros(30))))


def test_the_callers_descriptors_win_over_flags():
    mine = [BandDescriptor("3", None, 600, 610)]
    assert describe(layout.view(hyperspectral(good_wavelengths=GOOD_FLAGS)), descriptors=mine) == tuple(mine)


def test_a_hyperspectral_sensor_without_wavelengths_asks_for_them():
    with pytest.raises(BandError) as error:
        describe(layout.view(array(list(range(285)), band_name=["x"] * 285).assign_attrs(platform="EnMAP")))
    assert "wavelengths of the bands of EnMAP" in error.value.expected
    assert error.value.remedy.startswith("cube.assign_coords(wavelength=('band', [...]))")
    assert len(str(error.value)) < 600


def test_cf_coordinate():
    cube = dataset(["one"])
    cube["one"] = cube.one.assign_coords(radiation_wavelength=0.66)
    (band,) = describe(layout.view(cube))
    assert (band.role, band.min_wavelength, band.max_wavelength) == ("red", 660, 660)


def test_thermal_bands_are_brightness_temperature():
    (band,) = describe(layout.view(array(["x"], center_wavelength=[10.9], full_width_half_max=[0.6])))
    assert (band.role, band.kind) == ("lwir11", "brightness_temperature")


def test_coarse_common_names_are_refined():
    names = ["B05", "B06", "B07", "B8A"]
    coords = {"center_wavelength": [0.704, 0.74, 0.783, 0.865], "full_width_half_max": [0.019, 0.018, 0.028, 0.033]}
    cube = array(["p", "q", "r", "s"], common_name=["rededge"] * 4, **coords)
    assert list(roles(cube).values()) == ["rededge071", "rededge075", "rededge078", "nir08"]
    assert list(roles(array(names), sensor="sentinel-2").values()) == [
        "rededge071",
        "rededge075",
        "rededge078",
        "nir08",
    ]


def test_hyperspectral_bands_have_no_role_that_several_share():
    described = describe(layout.view(array(list(range(40)), wavelength=np.linspace(400, 2400, 40), fwhm=[10.0] * 40)))
    assert len(described) == 40
    named = [band.role for band in described if band.role]
    assert all(named.count(role) <= 2 for role in named)


# --- the caller's descriptors


def test_descriptors_of_the_caller_win():
    mine = [BandDescriptor("two", "red", 630, 690), BandDescriptor("one", "blue", 450, 520)]
    cube = dataset(["one", "two", "three"])
    assert [band.name for band in describe(layout.view(cube), descriptors=mine)] == ["one", "two"]


@pytest.mark.parametrize("mine", [[], [BandDescriptor("B99", "red", 630, 690)]])
def test_descriptors_of_bands_that_are_not_there(mine):
    with pytest.raises(BandError) as error:
        describe(layout.view(dataset(["one"])), descriptors=mine)
    assert error.value.expected == "descriptors of bands in the cube: one"
    assert "BandDescriptor(" in error.value.remedy


def test_nothing_recognised_says_what_is_known():
    with pytest.raises(BandError) as error:
        describe(layout.view(dataset(["foo", "bar"])))
    assert error.value.found == "bands foo, bar, none of which is known"
    assert "blue" in error.value.expected
    assert "cbers-4a-wpm" in error.value.expected
    assert "sensor='sentinel-2'" in error.value.remedy
    assert "descriptors=" in error.value.remedy
    with pytest.raises(BandError, match="band names of Sentinel-2 A/B/C MSI: B01"):
        describe(layout.view(dataset(["foo"])), sensor="sentinel-2")


@pytest.mark.parametrize("number", [int, np.int32, np.float32, np.float64, np.uint16])
def test_descriptors_hold_pythons_numbers(number):
    band = BandDescriptor("x", None, number(630), number(690))
    assert (type(band.min_wavelength), type(band.max_wavelength)) == (float, float)
    assert band == BandDescriptor("x", None, 630.0, 690.0)
    assert hash(band) == hash(BandDescriptor("x", None, 630.0, 690.0))


@pytest.mark.parametrize(("name", "text"), [(1, "1"), (np.int64(2), "2"), (b"B02", "B02"), (np.str_("B8A"), "B8A")])
def test_descriptors_of_names_that_are_no_text(name, text):
    band = BandDescriptor(name, "blue", 450, 520)
    assert (band.name, type(band.name)) == (text, str)


@pytest.mark.parametrize(
    ("role", "known"), [("SWIR_1", "swir16"), ("Red", "red"), (None, None), ("moisture", "moisture")]
)
def test_roles_are_stac_common_names_in_any_spelling(role, known):
    assert BandDescriptor("x", role, 0, 0).role == known


@pytest.mark.parametrize(
    ("low", "high", "remedy"),
    [
        (0.45, 0.52, "min_wavelength=450, max_wavelength=520"),
        (520, 450, "min_wavelength=450, max_wavelength=520"),
        (0.52, 0.45, "min_wavelength=450, max_wavelength=520"),
        (4.5e-7, 5.2e-7, "min_wavelength=630, max_wavelength=690"),
        (-450, 520, "min_wavelength=630, max_wavelength=690"),
        (450, 5.2e6, "min_wavelength=630, max_wavelength=690"),
    ],
)
@pytest.mark.parametrize("kind", ["reflectance", "brightness_temperature"])
def test_limits_that_are_no_nanometres(low, high, remedy, kind):
    with pytest.raises(BandError) as error:
        BandDescriptor("B1", "blue", low, high, kind)
    assert error.value.remedy == remedy
    BandDescriptor("B1", "blue", **eval(f"dict({remedy})"), kind=kind)  # what it says to type


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), "450", None, True, [450]])
def test_limits_that_are_no_numbers(limit):
    with pytest.raises(BandError, match="min_wavelength="):
        BandDescriptor("B1", "blue", limit, 520)


@pytest.mark.parametrize("field", [{"name": 1.5}, {"name": None}, {"name": True}, {"role": 3}, {"kind": "radar"}])
def test_descriptors_that_are_none_of_a_band(field):
    with pytest.raises(BandError):
        BandDescriptor(**({"name": "B1", "role": "blue", "min_wavelength": 450, "max_wavelength": 520} | field))


def test_bands_without_light_need_no_wavelengths():
    assert BandDescriptor("vv", None, kind="SAR VV").min_wavelength == 0
    assert BandDescriptor("red", "red").max_wavelength == 0
    BandDescriptor("vv", None, 5.5e7, 5.6e7, "SAR VV")  # radar's own wavelength


@given(st.floats(200, 30_000), st.floats(200, 30_000))
def test_limits_in_order_are_kept(one, other):
    low, high = sorted((one, other))
    assert (
        BandDescriptor("x", None, low, high).min_wavelength,
        BandDescriptor("x", None, low, high).max_wavelength,
    ) == (
        low,
        high,
    )


def test_errors_list_no_hundreds_of_names():
    cube = array([f"layer {number}" for number in range(285)])
    with pytest.raises(BandError) as error:
        describe(layout.view(cube))
    assert "and 275 more" in error.value.found
    with pytest.raises(BandError) as error:
        describe(layout.view(cube), descriptors=[BandDescriptor("B1", "blue")])
    assert len(str(error.value)) < 600


def test_a_model_that_lacks_bands_lists_no_hundreds_either():
    bands = [BandDescriptor(f"b{number}", None, 400 + number, 405 + number) for number in range(285)]
    with pytest.raises(ModelError, match="and 276 more, which lack blue, green, red, nir") as error:
        choose("csmask", [*bands, BandDescriptor("r", "rededge071", 700, 710)], "TOA")
    assert error.value.found.startswith("bands r (rededge071), b0 (None)")
    assert len(str(error.value)) < 800


def test_names_that_are_known_cause_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        describe(
            layout.view(dataset(["B02", "B03", "B04", "B08", "B11", "B12", "SCL", "AOT", "WVP", "visual"])),
            "sentinel-2",
        )
        describe(layout.view(dataset(["SR_B2", "SR_B6", "QA_PIXEL", "SR_QA_AEROSOL", "ST_QA"])))
        describe(layout.view(dataset(["blue", "red", "ndvi", "red_std", "nir_mean", "elevation", "mask"])))


def test_computes_nothing():
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed")

    cube = array(["B02", "B03"]).copy(data=da.from_delayed(dask.delayed(refuse)(), (2, 2, 2), "uint16"))
    cube = cube.assign_attrs(platform="sentinel-2a").assign_coords(
        cloud=(("y", "x"), da.from_delayed(dask.delayed(refuse)(), (2, 2), "f4"))
    )
    with dask.config.set(scheduler=refuse):
        assert list(roles(cube).values()) == ["blue", "green"]


def test_rechunking_hides_no_metadata():
    coords = {"center_wavelength": [0.485, 0.83], "full_width_half_max": [0.07, 0.12]}
    cube = (
        array(["p", "q"], **coords).expand_dims(time=2).assign_coords(platform=("time", ["sentinel-2a", "sentinel-2b"]))
    )
    cube = cube.chunk(1)
    assert cube.platform.chunks is not None
    assert roles(cube) == {"p": "blue", "q": "nir"}
    assert sensor_of(cube) == "sentinel-2"


def test_sensors_that_describe_the_bands_alike_are_not_ambiguous():
    cube = dataset(["BAND13", "BAND14", "BAND15", "BAND16"])
    assert list(roles(cube).values()) == ["blue", "green", "red", "nir"]
    with pytest.raises(BandError, match="fit several sensors: cbers-4-wfi, cbers-4a-wfi"):
        identify_sensor(layout.view(cube))


@pytest.mark.parametrize("mine", [["B02"], "B02", BandDescriptor("one", "red", 630, 690), 5])
def test_descriptors_that_are_none(mine):
    with pytest.raises(BandError, match="descriptors="):
        describe(layout.view(dataset(["one"])), descriptors=mine)


def test_remedy_for_unknown_names_can_be_typed():
    cube = array([1, 2])
    with pytest.raises(BandError) as error:
        describe(layout.view(cube))
    assert error.value.remedy.startswith("cube.assign_coords(band=['blue', ...])")
    assert list(roles(cube.assign_coords(band=["blue", "red"]))) == ["blue", "red"]
    with pytest.raises(BandError) as error:
        describe(layout.view(cube.isel(band=0, drop=True)))
    assert error.value.remedy.startswith("cube.rename('red')")
