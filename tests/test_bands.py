"""Which band is which, for every loader and every lookup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import loaders
import numpy as np
import pytest
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.bands import BandDescriptor, describe, identify_sensor
from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.errors import BandError

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "bdc" / "stac"
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
    if not (SHARED / name).exists():
        pytest.skip("the reference STAC items are not beside this checkout")
    entries = json.loads((SHARED / name).read_text())["eo:bands"]
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
    ],
)
def test_metadata_settle_what_names_leave_open(hints, expected):
    assert (
        sensor_of(dataset(["B2", "B3", "B4"] if "landsat" in expected else ["B02", "B03", "B04"], **hints)) == expected
    )


def test_platform_and_names_together():
    assert sensor_of(dataset(["BAND13", "BAND14"], platform="CBERS-4A")) == "cbers-4a-wfi"
    assert sensor_of(dataset(["BAND5", "BAND6"], platform="CBERS-4A", instruments=["MUX"])) == "cbers-4a-mux"


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
        describe(layout.view(dataset(["B02_10m"], platform="worldview-3")))
    assert roles(dataset(["blue", "red"], platform="worldview-3")) == {"blue": "blue", "red": "red"}


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
    assert "sentinel-2" in error.value.expected
    assert "descriptors=" in error.value.remedy
    with pytest.raises(BandError, match="band names of Sentinel-2 A/B/C MSI: B01"):
        describe(layout.view(dataset(["foo"])), sensor="sentinel-2")


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
