"""CBERS and Amazonia-1: INPE's XML files, and reflectance from calibration coefficient, sun and date."""

from __future__ import annotations

import math
import pickle

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st
from paths import SHARED
from products import CBERS_COEFFICIENTS, CBERS_SUN, cbers_xml, make_cbers

from xr_cloudmask import CbersMetadata, CloudMaskError, FileError, ReflectanceError, parse_cbers_metadata
from xr_cloudmask.cube.radiance import earth_sun_distance
from xr_cloudmask.cube.reflectance import to_reflectance
from xr_cloudmask.cube.sensors import sensors
from xr_cloudmask.files import open_cube

REAL = SHARED / "data/bdc/xml"
WPM = {0: 0.184471, 1: 0.29107, 2: 0.297832, 3: 0.232504, 4: 0.178993}
ESUN = {"blue": 1957.9, "green": 1848.6, "red": 1550.8, "nir": 1061.8}
SENSORS = sorted(name for name in sensors() if name.startswith(("cbers", "amazonia")))


def cube(names=("BAND5", "BAND6", "BAND7", "BAND8"), value=200, dates=None, **coords) -> xr.Dataset:
    dims = ("y", "x") if dates is None else ("time", "y", "x")
    data = np.full((len(dates or [0]), 4, 4), value, "uint16").reshape(-1, 4, 4)
    found = xr.Dataset({name: (dims, data[0] if dates is None else data.copy()) for name in names}, coords=coords)
    return found if dates is None else found.assign_coords(time=np.array(dates, "datetime64[ns]"))


def wpm(value=300, day="2020-07-30", sun=44.3304, **more) -> xr.Dataset:
    said = {"platform": "cbers-4a", "instruments": "WPM", "processing:level": "L4-DN", "view:sun_elevation": sun}
    return cube(("BAND1", "BAND2", "BAND3", "BAND4"), value, **said, time=np.datetime64(day, "ns"), **more)


def distance(day: np.datetime64) -> float:
    """Return the Earth-Sun distance by the Fourier series of Spencer 1971, which knows only the day of the year."""
    angle = 2 * math.pi * ((day - day.astype("datetime64[Y]")) / np.timedelta64(1, "D")) / 365
    series = 1.000110 + 0.034221 * math.cos(angle) + 0.001280 * math.sin(angle)
    return (series + 0.000719 * math.cos(2 * angle) + 0.000077 * math.sin(2 * angle)) ** -0.5


def toa(dn, coefficient, esun, sun, day):
    """Return reflectance by the formula as it is written: the zenith angle's cosine."""
    return math.pi * dn * coefficient * distance(day) ** 2 / (esun * math.cos(math.radians(90 - sun)))


# --- the XML


REAL_FILES = {
    "AMAZONIA_1_WFI_20220810_033_018_L4_LEFT_BAND2": ("amazonia-1", "WFI", 1, 0.24, 48.9478),
    "AMAZONIA_1_WFI_20220811_036_018_L4_BAND2": ("amazonia-1", "WFI", 1, 0.24, (49.2274 + 50.8577) / 2),
    "CBERS_4A_MUX_20200808_201_137_L4_BAND6": ("cbers-4a", "MUX", 5, 0.947982, 47.8578),
    "CBERS_4A_WFI_20200801_221_156_L4_BAND13": ("cbers-4a", "WFI", 13, 0.245, (32.4378 + 33.2494) / 2),
    "CBERS_4A_WPM_20200730_209_139_L4_BAND2": ("cbers-4a", "WPM", 0, None, 44.3304),
    "CBERS_4_AWFI_20170409_167_123_L4_BAND14": ("cbers-4", "AWFI", 13, 1.4351, 53.4479),
    "Stars_CBERS_4A_WPM_20200730_209_139_L4_BAND0": ("cbers-4a", "WPM", 0, None, 44.3535),
}


@pytest.mark.skipif(not REAL.is_dir(), reason="INPE's XML files are not on this machine")
def test_every_real_file_parses():
    found = {path.stem: parse_cbers_metadata(path) for path in sorted(REAL.glob("*.xml"))}
    assert len(found) >= len(REAL_FILES)
    for metadata in found.values():
        assert len(metadata.bands) in (4, 5)
        assert 0 < metadata.sun_elevation < 90
    for name, (platform, instrument, first, coefficient, elevation) in REAL_FILES.items():
        metadata = found[name]
        assert (metadata.platform, metadata.instrument, metadata.bands[0]) == (platform, instrument, f"BAND{first}")
        assert metadata.coefficients[f"BAND{first}"] == coefficient
        assert metadata.sun_elevation == pytest.approx(elevation)
        assert bool(metadata.notes) == (coefficient is None or len(metadata.cameras) == 2)


@pytest.mark.skipif(not REAL.is_dir(), reason="INPE's XML files are not on this machine")
@pytest.mark.parametrize("name", REAL_FILES)
def test_real_metadata_calibrate_a_cube(name):
    metadata = parse_cbers_metadata(REAL / f"{name}.xml")
    found = to_reflectance(metadata.attach(cube(metadata.bands[-4:], 100)))
    assert found.attrs["level"] == "TOA"
    for band in found.values():
        assert 0.02 < float(band[0, 0]) < 0.7


def test_the_fields_of_one_camera():
    metadata = parse_cbers_metadata(cbers_xml())
    assert (metadata.platform, metadata.instrument, metadata.level) == ("cbers-4a", "MUX", "L4")
    assert metadata.time == np.datetime64("2020-08-08T13:26:08.950786", "ns")
    assert metadata.coefficients == {f"BAND{band}": value for band, value in CBERS_COEFFICIENTS.items()}
    assert (metadata.sun_elevation, metadata.sun_azimuth) == pytest.approx(CBERS_SUN)
    assert metadata.notes == ()
    assert pickle.loads(pickle.dumps(metadata)) == metadata
    assert hash(metadata)


def test_two_cameras_are_averaged_and_that_is_told():
    metadata = parse_cbers_metadata(cbers_xml(suns=((40.0, 350.0), (42.0, 20.0)), instrument="WFI"))
    assert [camera.name for camera in metadata.cameras] == ["leftCamera", "rightCamera"]
    assert metadata.sun_elevation == 41.0
    assert metadata.sun_azimuth == pytest.approx(5.0)
    assert metadata.notes == ("sun elevation: mean of 40 (leftCamera) and 42 (rightCamera)",)


def test_what_is_missing_is_none_and_told():
    metadata = parse_cbers_metadata(cbers_xml(dict.fromkeys(WPM), suns=(None,), instrument="WPM"))
    assert set(metadata.coefficients.values()) == {None}
    assert metadata.sun_elevation is None
    assert metadata.sun_azimuth is None
    assert metadata.notes == (
        "the XML has no calibration coefficient of BAND0, BAND1, BAND2, BAND3, BAND4",
        "the XML has no sun position",
    )


def test_a_path_and_its_content_say_the_same(tmp_path):
    (tmp_path / "band.xml").write_bytes(cbers_xml())
    assert parse_cbers_metadata(tmp_path / "band.xml") == parse_cbers_metadata(str(tmp_path / "band.xml"))
    assert parse_cbers_metadata(tmp_path / "band.xml") == parse_cbers_metadata(cbers_xml())


BOMB = b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><prdf>&b;</prdf>"
OUTSIDE = b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><prdf>&a;</prdf>"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (BOMB, "EntitiesForbidden"),
        (OUTSIDE, "EntitiesForbidden"),
        (b"", "no readable XML"),
        (b"<prdf>", "no readable XML"),
        (b"<?xml version='1.0' encoding='no-such'?><prdf/>", "no readable XML"),
        (b"<html/>", "satellite/name"),
        (cbers_xml().replace(b"<level>4</level>", b""), "image/level"),
        (cbers_xml().replace(b"2020-08-08T13:26:08", b"yesterday"), "time 'yesterday"),
        (cbers_xml().replace(b"availableBands", b"bands"), "availableBands/band"),
        (cbers_xml({5: "1,5"}), "band '1,5'"),
        (cbers_xml({5: "nan"}), "band 'nan'"),
        (cbers_xml(suns=(("", 3.0),)), "elevation None"),
    ],
)
def test_what_is_no_metadata_is_refused(content, found):
    with pytest.raises(FileError, match=found) as error:
        parse_cbers_metadata(content)
    assert isinstance(error.value, CloudMaskError)


def test_a_missing_file():
    with pytest.raises(FileError, match=r"no-such\.xml"):
        parse_cbers_metadata("no-such.xml")


# --- reflectance


def test_distance_agrees_with_another_formula_and_with_an_ephemeris():
    dates = np.arange("2014-12-01", "2040-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
    np.testing.assert_allclose(earth_sun_distance(dates), [distance(day) for day in dates], atol=6e-4)
    extremes = np.array(["2020-01-05T07:48", "2020-07-04T11:35"], "datetime64[ns]")
    np.testing.assert_allclose(earth_sun_distance(extremes), [0.9832436, 1.0166943], atol=5e-5)


@pytest.mark.parametrize("sensor", SENSORS)
def test_formula_for_every_sensor_and_band(sensor):
    table = sensors()[sensor]
    day = np.datetime64("2021-03-04T13:00", "ns")
    names = [band.name for band in table.bands]
    coefficients = {f"calibration_coefficient:{name}": 0.2 + i / 10 for i, name in enumerate(names)}
    found = to_reflectance(
        cube(names, 321, time=day, **coefficients, **{"view:sun_elevation": 37.5}), sensor=sensor, level="TOA"
    )
    for i, band in enumerate(table.bands):
        expected = toa(321, 0.2 + i / 10, band.solar_illumination, 37.5, day)
        np.testing.assert_allclose(found[band.name], expected, rtol=1e-3)
        assert band.solar_illumination == {**ESUN, "pan": 1493.0}[band.role]


@given(st.floats(0.05, 1.5), st.floats(10, 90), st.integers(0, 9000), st.integers(1, 255), st.floats(900, 2000))
def test_formula_for_any_coefficient_sun_date_and_illumination(coefficient, sun, days, dn, illumination):
    day = np.datetime64("2015-01-01", "ns") + np.timedelta64(days, "D")
    said = {"calibration_coefficient:BAND5": coefficient, "solar_illumination:BAND5": illumination}
    expected = toa(dn, coefficient, illumination, sun, day)
    assume(expected < 1.9)
    found = to_reflectance(
        cube(["BAND5"], dn, time=day, **said, **{"view:sun_elevation": sun}), sensor="cbers-4a-mux", level="TOA"
    )
    np.testing.assert_allclose(found.BAND5, expected, rtol=2e-3)
    assert found.attrs["reflectance_provenance"].count("(cube)") == 2


def test_the_xml_on_a_cube_is_all_it_takes():
    found = to_reflectance(parse_cbers_metadata(cbers_xml()).attach(cube()))
    day = np.datetime64("2020-08-08T13:26", "ns")
    for name, (band, coefficient), esun in zip(found, CBERS_COEFFICIENTS.items(), ESUN.values(), strict=True):
        assert name == f"BAND{band}"
        np.testing.assert_allclose(found[name], toa(200, coefficient, esun, CBERS_SUN[0], day), rtol=1e-3)
    assert found.attrs["level"] == "TOA"
    assert (
        "BAND8: DN * 0.739644 W m-2 sr-1 um-1 (cube) over solar illumination 1061.8 W m-2 um-1 (cbers-4a-mux table)"
        in (found.attrs["reflectance_provenance"])
    )
    assert found["view:sun_azimuth"] == CBERS_SUN[1]


def test_every_layout_and_every_name_of_a_band(tmp_path):
    metadata = parse_cbers_metadata(cbers_xml())
    expected = to_reflectance(metadata.attach(cube())).to_dataarray("band").transpose("band", "y", "x").values
    roles = dict(zip(cube(), ESUN, strict=True))
    array = metadata.attach(cube().rename(roles).to_dataarray("band"))
    np.testing.assert_array_equal(to_reflectance(array), expected)
    metadata.attach(cube()).to_netcdf(tmp_path / "cube.nc")
    with xr.open_dataset(tmp_path / "cube.nc", mask_and_scale=False) as stored:
        np.testing.assert_array_equal(to_reflectance(stored).to_dataarray(), expected)
    np.testing.assert_array_equal(to_reflectance(metadata.attach(cube().chunk(2)).chunk(1)).to_dataarray(), expected)


def test_floats_that_a_loader_made_of_digital_numbers():
    masked = cube().astype("float32").where(np.arange(4) != 1)
    for band in masked.values():
        band.encoding["dtype"] = np.dtype("uint16")
    found = to_reflectance(parse_cbers_metadata(cbers_xml()).attach(masked)).BAND5
    assert found.isnull().sum() == 4
    assert found[0, 0] == to_reflectance(parse_cbers_metadata(cbers_xml()).attach(cube())).BAND5[0, 0]


def test_zero_is_no_data_and_saturated_pixels_are_bright_data():
    numbers = cube(value=100)
    numbers.BAND5[0, 0], numbers.BAND5[0, 1] = 0, 1023
    found = to_reflectance(parse_cbers_metadata(cbers_xml()).attach(numbers)).BAND5
    assert np.isnan(found[0, 0])
    assert found[0, 1] == pytest.approx(10.23 * float(found[1, 1]), rel=1e-5)


def test_nothing_is_computed():
    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        lazy = to_reflectance(parse_cbers_metadata(cbers_xml()).attach(cube().chunk(2)))
    assert lazy.chunks
    assert lazy.BAND5[0, 0].compute() > 0


def test_every_date_has_its_own_sun_distance_and_coefficient():
    days = ["2020-01-05", "2020-07-04"]
    parts = [
        parse_cbers_metadata(cbers_xml({5: value}, suns=((sun, 30.0),), day=day)).attach(cube(["BAND5"], dates=[day]))
        for day, sun, value in zip(days, (60.0, 35.0), (0.9, 0.95), strict=True)
    ]
    found = to_reflectance(xr.concat(parts, "time")).BAND5
    expected = [
        toa(200, value, ESUN["blue"], sun, np.datetime64(day, "ns"))
        for day, sun, value in zip(days, (60.0, 35.0), (0.9, 0.95), strict=True)
    ]
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-3)
    assert "DN * 0.95 on 1 dates and 0.9 on 1 dates" in found.attrs["reflectance_provenance"]


# --- what is missing


def test_missing_wpm_coefficients_come_from_the_table_and_that_is_told():
    lacking = parse_cbers_metadata(cbers_xml(dict.fromkeys(WPM), instrument="WPM", day="2020-07-30"))
    for given_cube in (wpm(sun=CBERS_SUN[0]), lacking.attach(cube(("BAND1", "BAND2", "BAND3", "BAND4"), 300))):
        found = to_reflectance(given_cube)
        day = np.datetime64("2020-07-30", "ns")
        for name, band, esun in zip(found, (1, 2, 3, 4), ESUN.values(), strict=True):
            np.testing.assert_allclose(found[name], toa(300, WPM[band], esun, CBERS_SUN[0], day), rtol=1e-3)
        assert "DN * 0.29107 W m-2 sr-1 um-1 (assumed: cbers-4a-wpm table)" in found.attrs["reflectance_provenance"]
    assert "the XML has no calibration coefficient of BAND0" in found.attrs["reflectance_provenance"]


def test_what_the_xml_lacks_the_cube_may_have():
    lacking = parse_cbers_metadata(cbers_xml({5: None}, suns=(None,)))
    known = cube(["BAND5"], **{"view:sun_elevation": 40.0, "calibration_coefficient:BAND5": 0.9})
    expected = toa(200, 0.9, ESUN["blue"], 40.0, np.datetime64("2020-08-08", "ns"))
    np.testing.assert_allclose(to_reflectance(lacking.attach(known)).BAND5, expected, rtol=1e-3)


def test_cameras_with_their_own_coefficients_are_averaged_and_that_is_told():
    text = cbers_xml({5: 0.9}, suns=(CBERS_SUN, CBERS_SUN)).decode()
    metadata = parse_cbers_metadata(text.replace(">0.9<", ">0.7<", 1).encode())
    assert metadata.coefficients == {"BAND5": pytest.approx(0.8)}
    assert metadata.notes == ("calibration coefficients: mean of both cameras",)


def test_dates_without_coefficients_keep_the_others():
    names = ["BAND1", "BAND2"]
    texts = [cbers_xml({1: 0.3, 2: 0.31}, instrument="WPM"), cbers_xml({1: None, 2: None}, instrument="WPM")]
    parts = [parse_cbers_metadata(text).attach(cube(names, dates=["2020-08-08"])) for text in texts]
    found = to_reflectance(xr.concat(parts, "time")).BAND1
    assert float(found[0, 0, 0] / found[1, 0, 0]) == pytest.approx(0.3 / WPM[1])
    assert "assumed for 1 of 2 dates" in found.attrs["reflectance_provenance"]


def test_both_cameras_are_in_the_provenance():
    metadata = parse_cbers_metadata(cbers_xml(suns=((40.0, 30.0), (42.0, 28.0))))
    provenance = to_reflectance(metadata.attach(cube())).attrs["reflectance_provenance"]
    assert provenance.count("sun elevation: mean of 40 (leftCamera) and 42 (rightCamera)") == 1
    assert provenance.count("Earth-Sun distance of the date") == 1


@pytest.mark.parametrize("sensor", [name for name in SENSORS if name != "cbers-4a-wpm"])
def test_missing_coefficients_of_other_sensors_are_asked_for(sensor):
    name = sensors()[sensor].bands[0].name
    with pytest.raises(ReflectanceError, match=f"no absolute calibration coefficient of band '{name}'") as error:
        to_reflectance(cube([name]), sensor=sensor, level="TOA")
    assert "parse_cbers_metadata(" in error.value.remedy
    assert f"'calibration_coefficient:{name}'" in error.value.remedy


@pytest.mark.parametrize(
    ("given_cube", "found", "remedy"),
    [
        (wpm().drop_vars("view:sun_elevation"), "no sun elevation", "parse_cbers_metadata('CBERS_4A_WPM"),
        (wpm(sun=-3.0), "sun elevations", "view:sun_elevation"),
        (wpm().drop_vars("time"), "unknown date", "assign_coords(time="),
        (wpm().drop_vars("processing:level"), "unknown processing level", "level='TOA'"),
        (wpm(**{"calibration_coefficient:BAND1": 0.0}), "calibration_coefficient of band 'BAND1'", "BAND1"),
        (wpm(**{"solar_illumination:BAND4": -1.0}), "solar_illumination of band 'BAND4'", "BAND4"),
    ],
    ids=["sun", "night", "date", "level", "coefficient", "illumination"],
)
def test_what_is_missing_or_impossible_is_asked_for(given_cube, found, remedy):
    with pytest.raises(ReflectanceError, match=found) as error:
        to_reflectance(given_cube)
    assert remedy in error.value.remedy


def test_illumination_must_be_known_on_every_date():
    said = {"solar_illumination:BAND5": ("time", [1950.0, np.nan]), "calibration_coefficient:BAND5": 0.9}
    given_cube = cube(["BAND5"], dates=["2020-01-05", "2020-07-04"], **said, **{"view:sun_elevation": 40.0})
    with pytest.raises(ReflectanceError, match="no solar illumination of band 'BAND5'"):
        to_reflectance(given_cube, sensor="cbers-4a-mux", level="TOA")


def test_the_date_may_be_stacs_datetime():
    stated = wpm().drop_vars("time").assign_attrs(datetime="2020-07-30T13:51:24Z")
    np.testing.assert_allclose(
        to_reflectance(stated).BAND1, to_reflectance(wpm(day="2020-07-30T13:51")).BAND1, rtol=1e-6
    )
    with pytest.raises(ReflectanceError, match="unknown date"):
        to_reflectance(stated.assign_attrs(datetime="in July"))


def test_a_scale_of_the_callers_needs_nothing_else():
    found = to_reflectance(cube(), sensor="cbers-4a-mux", scale=1e-3, level="TOA")
    np.testing.assert_allclose(found.BAND5, 0.2, rtol=1e-6)
    shifted = to_reflectance(wpm(), offset=0.05)
    np.testing.assert_allclose(shifted.BAND1, to_reflectance(wpm()).BAND1 + 0.05, rtol=1e-5)


def test_metadata_of_other_scenes_are_refused():
    metadata = parse_cbers_metadata(cbers_xml())
    with pytest.raises(ReflectanceError, match="2 dates") as error:
        metadata.attach(cube(dates=["2020-08-08", "2020-08-09"]))
    assert "xarray.concat" in error.value.remedy
    with pytest.raises(ReflectanceError, match="2020-08-11T00:00 and metadata of 2020-08-08T13:26"):
        metadata.attach(cube(dates=["2020-08-11"]))
    surface = metadata.attach(cube(collection="CB4A-MUX-L4-SR-1"))
    with pytest.raises(ReflectanceError, match="both TOA and BOA"):
        to_reflectance(surface)


def test_attach_leaves_the_cube_and_its_time_alone():
    metadata: CbersMetadata = parse_cbers_metadata(cbers_xml())
    given_cube = cube(dates=["2020-08-08"])
    kept = given_cube.copy(deep=True)
    attached = metadata.attach(given_cube)
    xr.testing.assert_identical(given_cube, kept)
    xr.testing.assert_identical(attached.time.variable, kept.time.variable)
    assert attached["view:sun_elevation"].dims == ("time",)
    assert metadata.attach(given_cube.drop_vars("time")).time.values[0] == metadata.time


# --- folders


def test_a_folder_of_a_scene_opens_and_calibrates(tmp_path):
    found = open_cube(make_cbers(tmp_path))
    assert list(found.data_vars) == ["BAND5", "BAND6", "BAND7", "BAND8"]
    assert found.BAND5.dtype == np.uint16
    assert found["platform"] == "cbers-4a"
    reflectance = to_reflectance(found)
    factor = toa(1, CBERS_COEFFICIENTS[5], ESUN["blue"], CBERS_SUN[0], np.datetime64("2020-08-08T13:26", "ns"))
    np.testing.assert_allclose(reflectance.BAND5, found.BAND5 * factor, rtol=1e-3)


def test_folders_make_dates(tmp_path):
    folders = [make_cbers(tmp_path, day=day) for day in ("2020-08-13", "2020-08-08")]
    found = open_cube(folders, bands=["BAND5", "BAND8"])
    assert found.sizes["time"] == 2
    single = [to_reflectance(open_cube(folder)).BAND5 for folder in reversed(folders)]
    np.testing.assert_array_equal(to_reflectance(found).BAND5, np.stack(single))


def test_the_panchromatic_band_is_opened_where_asked_for(tmp_path):
    folder = make_cbers(tmp_path, "WPM", bands=WPM, xml=cbers_xml(dict.fromkeys(WPM), instrument="WPM"))
    assert list(open_cube(folder).data_vars) == ["BAND1", "BAND2", "BAND3", "BAND4"]
    with_pan = open_cube(folder, bands=["BAND0", "BAND4"])
    assert with_pan.sizes["y"] == 4 * open_cube(folder).sizes["y"]


def test_folders_that_are_not_one_scene(tmp_path):
    folder = make_cbers(tmp_path)
    (folder / "CBERS_4A_MUX_20200813_201_137_L4_BAND5.xml").write_bytes(cbers_xml())
    with pytest.raises(FileError, match="CBERS_4A_MUX_20200813_201_137_L4"):
        open_cube(folder)
