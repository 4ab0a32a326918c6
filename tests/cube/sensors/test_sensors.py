"""The sensor tables: complete, consistent, and in agreement with what others publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from xr_cloudmask.cube.sensors import Sensor, common_names, named, normalised, sensors
from xr_cloudmask.cube.spelling import key
from xr_cloudmask.errors import BandError

IDS = [
    *("amazonia-1-wfi", "cbers-4-mux", "cbers-4-wfi", "cbers-4a-mux", "cbers-4a-wfi", "cbers-4a-wpm", "dea-landsat"),
    *("dea-sentinel-2", "emit", "enmap", "gaofen-1-2", "goes-abi", "himawari-ahi", "hls-l30", "hls-s30", "landsat-4-5"),
    *("landsat-7", "landsat-8-9", "landsat-mss-1-3", "landsat-mss-4-5", "modis", "mtg-fci", "planetscope-4"),
    *("planetscope-8", "pleiades", "pleiades-neo", "prisma", "rapideye", "sentinel-2", "sentinel-3-olci", "spot-6-7"),
    *("theia-sentinel-2", "viirs-i", "viirs-m", "worldview-2", "worldview-3"),
]
HYPERSPECTRAL = ["emit", "enmap", "prisma"]  # every product states its own wavelengths
# Bands that STAC has no common name for, or where another band of the sensor has it.
WITHOUT_A_ROLE = {
    "goes-abi": {"C07", "C08", "C09", "C10", "C11", "C12", "C13", "C16"},
    "himawari-ahi": {"B07", "B08", "B09", "B10", "B11", "B12", "B13", "B16"},
    "landsat-mss-1-3": {"B6"},
    "landsat-mss-4-5": {"B3"},
    "modis": {"sur_refl_b05"},
    "mtg-fci": {"ir_38", "wv_63", "wv_73", "ir_87", "ir_97", "ir_133"},
    "sentinel-3-olci": {f"Oa{number:02d}" for number in (1, 2, 7, 9, 10, 13, 14, 15, 18, 19, 21)},
    "viirs-i": {"I04"},
    "viirs-m": {"M01", "M08", "M12", "M13", "M14"},
    "worldview-3": {f"swir{number}" for number in (1, 3, 4, 5, 7, 8)},
}

every_sensor = pytest.mark.parametrize("sensor", sensors().values(), ids=lambda sensor: sensor.id)


def test_every_sensor_of_the_design_has_a_table():
    assert sorted(sensors()) == IDS


@every_sensor
def test_table_is_complete(sensor: Sensor):
    assert sensor.title
    assert sensor.source
    assert sensor.gsd > 0
    assert sensor.radiometry
    assert {rule.level for rule in sensor.radiometry} <= {"TOA", "BOA"}
    assert len({rule.level for rule in sensor.radiometry}) == len(sensor.radiometry)


@every_sensor
def test_wavelengths_are_ordered_nanometres(sensor: Sensor):
    for band in sensor.bands:
        assert 390 <= band.min_wavelength < band.max_wavelength <= 14_000, band.name
        assert (band.kind == "brightness_temperature") == (band.min_wavelength > 3000), band.name


@every_sensor
def test_names_and_roles_are_unique(sensor: Sensor):
    names = [name for band in sensor.bands for name in {key(n) for n in (*band.names, *band.also)}]
    assert len(names) == len(set(names))
    assert not set(names) & set(map(key, sensor.quality))
    roles = [band.role for band in sensor.bands if band.role]
    assert len(roles) == len(set(roles))


@every_sensor
def test_centres_lie_in_the_range_of_their_common_name(sensor: Sensor):
    for band in sensor.bands:
        if band.role is None:
            continue
        common = common_names()[band.role]
        centre = (band.min_wavelength + band.max_wavelength) / 2
        assert common.min_wavelength <= centre <= common.max_wavelength, (band.name, centre)


@every_sensor
def test_bands_without_a_role_are_only_those_stac_has_no_name_for(sensor: Sensor):
    assert {band.name for band in sensor.bands if band.role is None} == WITHOUT_A_ROLE.get(sensor.id, set())


def test_only_hyperspectral_sensors_have_no_bands():
    assert [sensor.id for sensor in sensors().values() if not sensor.bands] == HYPERSPECTRAL


def test_common_names_agree_with_pystac():
    from pystac.extensions.eo import Band

    for name, ours in common_names().items():
        theirs = Band.band_range(name)  # eo 1.1, whose ranges version 2 moved a little
        if theirs is not None:
            low, high = (1000 * limit for limit in theirs)
            assert ours.min_wavelength < high, name
            assert low < ours.max_wavelength, name


@pytest.mark.parametrize(
    ("sensor", "platform"),
    [
        ("sentinel-2", "sentinel2a"),
        ("sentinel-2", "sentinel2b"),
        ("landsat-4-5", "landsat5"),
        ("landsat-7", "landsat7"),
        ("landsat-8-9", "landsat8"),
    ],
)
def test_centres_agree_with_spyndex(sensor: str, platform: str):
    spyndex = pytest.importorskip("spyndex")
    compared = 0
    for published in spyndex.bands.values():
        entry = getattr(published, platform, None)
        if entry is None:
            continue
        band = sensors()[sensor].band(entry.band)
        assert band is not None, entry.band
        centre = (band.min_wavelength + band.max_wavelength) / 2
        assert abs(centre - entry.wavelength) <= 0.015 * entry.wavelength, entry.band
        compared += 1
    assert compared >= 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sentinel-2", "sentinel-2"), ("Sentinel-2A", "sentinel-2"), ("S2B", "sentinel-2"),
        ("sentinel-2c", "sentinel-2"),
        ("SENTINEL2A", "sentinel-2"), ("Sentinel 2", "sentinel-2"), ("MSI", "sentinel-2"), ("LANDSAT_8", "landsat-8-9"),
        ("landsat-9", "landsat-8-9"), ("OLI_TIRS", "landsat-8-9"), ("Landsat-5", "landsat-4-5"), ("TM", "landsat-4-5"),
        ("LANDSAT_7", "landsat-7"), ("ETM", "landsat-7"), ("HLSS30", "hls-s30"), ("HLS.L30", "hls-l30"),
        ("WPM", "cbers-4a-wpm"), ("CBERS-4A-WFI", "cbers-4a-wfi"), ("CB4-WFI-L4-SR-1", "cbers-4-wfi"),
        ("AMAZONIA-1", "amazonia-1-wfi"), ("AMAZONIA_1_WFI", "amazonia-1-wfi"), ("Terra", "modis"),
        ("MOD09A1", "modis"), ("PSB.SD", "planetscope-8"), ("WV03", "worldview-3"), ("WorldView-2", "worldview-2"),
        ("PHR1A", "pleiades"), ("Pléiades Neo 3".replace("é", "e"), "pleiades-neo"), ("SPOT-7", "spot-6-7"),
        ("RapidEye-3", "rapideye"), ("Sentinel-3B", "sentinel-3-olci"), ("OLCI", "sentinel-3-olci"),
        ("Suomi-NPP", "viirs-i"), ("NOAA-20", "viirs-m"), ("VIIRS", "viirs-m"), ("EnMAP", "enmap"),
        ("PRISMA", "prisma"), ("EMIT", "emit"), ("GF-2", "gaofen-1-2"), ("GaoFen1", "gaofen-1-2"),
        ("GOES-16", "goes-abi"), ("abi", "goes-abi"), ("Meteosat-12", "mtg-fci"), ("MTG-I1", "mtg-fci"),
        ("Himawari-9", "himawari-ahi"), ("LANDSAT_2", "landsat-mss-1-3"), ("MSS", "landsat-mss-4-5"),
    ],
)  # fmt: skip
def test_obvious_spellings(text: str, expected: str):
    assert expected in {sensor.id for sensor in named(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CBERS_4A", {"cbers-4a-wpm", "cbers-4a-mux", "cbers-4a-wfi"}),
        ("CBERS-4", {"cbers-4-mux", "cbers-4-wfi"}),
        ("WFI", {"cbers-4a-wfi", "cbers-4-wfi", "amazonia-1-wfi"}),
        ("PlanetScope", {"planetscope-4", "planetscope-8"}),
    ],
)
def test_spellings_that_several_sensors_share(text: str, expected: set[str]):
    assert {sensor.id for sensor in named(text)} == expected


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        ("S2A_MSIL2A_20230910T100031_N0509_R122_T33TVL_20230910T150000", "sentinel-2"),
        ("COPERNICUS/S2_SR_HARMONIZED", "sentinel-2"),
        ("S2-16D-2", "sentinel-2"),
        ("sentinel-2-c1-l2a", "sentinel-2"),
        ("LC08_L2SP_195025_20230910_20230918_02_T1", "landsat-8-9"),
        ("LANDSAT/LE07/C02/T1_L2", "landsat-7"),
        ("LT05_L1TP_195025_19980910_20200908_02_T1", "landsat-4-5"),
        ("HLS.S30.T33UUP.2023253T100559.v2.0", "hls-s30"),
        ("hls2-l30", "hls-l30"),
        ("MOD09A1.A2023249.h18v04.061.2023259032516", "modis"),
        ("CBERS_4A_WPM_20250129_215_128_L4", "cbers-4a-wpm"),
        ("CB4A-WPM-L4-DN-1", "cbers-4a-wpm"),
        ("CBERS_4A_MUX_20200808_201_137_L4", "cbers-4a-mux"),
        ("CBERS_4_AWFI_20170409_167_123_L4", "cbers-4-wfi"),
        ("AMZ1-WFI-L4-SR-1", "amazonia-1-wfi"),
        ("ga_ls8c_ard_3", "dea-landsat"),
        ("ga_ls5t_ard_3", "dea-landsat"),
        ("ga_s2am_ard_3", "dea-sentinel-2"),
        ("ls8_sr", "landsat-8-9"),
        ("20190101T184751_20190101T184752_T10SEG", "sentinel-2"),
        ("LM05_L1TP_044034_19850101_20200101_02_T2", "landsat-mss-4-5"),
        ("LANDSAT/LM01/C02/T1", "landsat-mss-1-3"),
        ("ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z", "enmap"),
        ("PRS_L2D_STD_20210810102030_20210810102034_0001", "prisma"),
        ("EMIT L2A Estimated Surface Reflectance 60 m V001", "emit"),
        ("EMIT_L2A_RFL_001_20220903T163129_2224611_012", "emit"),
        ("S3A_OL_1_EFR____20230910T100031_20230910T100331", "sentinel-3-olci"),
        ("OR_ABI-L2-MCMIPF-M6_G16_s20232531200208", "goes-abi"),
    ],
)
def test_products_point_at_one_sensor(product: str, expected: str):
    assert [sensor.id for sensor in sensors().values() if sensor.is_product(product)] == [expected]


@pytest.mark.parametrize(("text", "close"), [("worldwiew3", "worldview-3"), ("zzz", "sentinel-2")])
def test_unknown_sensor_lists_some_known_ones_and_one_that_may_be_meant(text, close):
    with pytest.raises(BandError) as error:
        named(text)
    assert error.value.found == f"sensor {text!r}"
    assert all(name in error.value.expected for name in IDS[:10])
    assert f"and {len(IDS) - 10} more" in error.value.expected
    assert error.value.remedy == f"sensor={close!r}"


# --- numbers that others publish


@pytest.mark.parametrize(
    ("sensor", "band", "limits"),
    [
        ("worldview-2", "BAND_N2", (860, 1040)),
        ("worldview-3", "SWIR-6", (2185, 2225)),
        ("pleiades", "B0", (430, 550)),
        ("pleiades-neo", "Deep Blue", (400, 450)),
        ("spot-6-7", "red", (625, 695)),
        ("rapideye", "Red Edge", (690, 730)),
        ("sentinel-3-olci", "Oa09_radiance", (670, 677.5)),
        ("viirs-i", "I1", (600, 680)),
        ("viirs-m", "SurfReflect_M11_1", (2225, 2275)),
        ("gaofen-1-2", "B4", (770, 890)),
        ("goes-abi", "CMI_C02", (590, 690)),
        ("mtg-fci", "vis_06", (615, 665)),
        ("himawari-ahi", "B01", (430, 480)),
        ("landsat-mss-4-5", "B4", (800, 1100)),
    ],
)
def test_limits_of_bands(sensor, band, limits):
    found = sensors()[sensor].band(band)
    assert (found.min_wavelength, found.max_wavelength) == limits


@pytest.mark.parametrize(
    ("sensor", "reader", "tolerance"),
    [
        ("goes-abi", "abi_l1b", 0),
        ("viirs-i", "viirs_sdr", 0),
        ("viirs-m", "viirs_sdr", 0),
        ("sentinel-3-olci", "olci_l1b", 2),  # which doubles the width of Oa14
        ("mtg-fci", "fci_l1c_nc", None),
        ("himawari-ahi", "ahi_hsd", None),
    ],
)
def test_wavelengths_agree_with_satpy(sensor, reader, tolerance):
    yaml = pytest.importorskip("yaml")
    satpy = pytest.importorskip("satpy")
    folder = Path(satpy.__file__).parent / "etc" / "readers"

    class Loader(yaml.SafeLoader):
        """Without the classes that a reader names."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    published = yaml.load((folder / f"{reader}.yaml").read_text(), Loader)["datasets"]
    entries = list(published.values()) if isinstance(published, dict) else published
    by_name = {entry["name"]: entry["wavelength"] for entry in entries if "wavelength" in entry}
    for band in sensors()[sensor].bands:
        low, centre, high = (1000 * limit for limit in by_name[band.name])
        if tolerance is None:  # other definitions of width
            assert (
                band.min_wavelength <= centre <= band.max_wavelength
                or abs(band.min_wavelength - centre) < 0.03 * centre
            )
        else:
            assert (band.min_wavelength, band.max_wavelength) == pytest.approx((low, high), abs=tolerance + 0.01), (
                band.name
            )


@pytest.mark.parametrize("sensor", [sensor for sensor in sensors().values() if sensor.of], ids=lambda sensor: sensor.id)
def test_products_of_others_measure_what_the_sensor_does(sensor: Sensor):
    of_sensor = {band.role: band for band in sensors()[sensor.of[-1]].bands}
    for band in sensor.bands:
        original = of_sensor[band.role]
        assert (band.min_wavelength, band.max_wavelength) == (original.min_wavelength, original.max_wavelength)
        assert band.name.startswith(sensor.prefixes[0])
        assert sensor.band(band.name.removeprefix(sensor.prefixes[0])) is band
        assert sensor.band(band.name.replace(*sensor.prefixes)) is band
        assert sensor.recognises([band.name.removeprefix(sensor.prefixes[0])])[0] == 0


@pytest.mark.parametrize(
    ("sensor", "level", "scale", "offset", "nodata"),
    [
        ("landsat-8-9", "BOA", 2.75e-5, -0.2, 0),
        ("landsat-7", "BOA", 2.75e-5, -0.2, 0),
        ("landsat-4-5", "BOA", 2.75e-5, -0.2, 0),
        ("hls-s30", "BOA", 1e-4, 0, -9999),
        ("hls-l30", "BOA", 1e-4, 0, -9999),
        ("modis", "BOA", 1e-4, 0, -28672),
        ("viirs-m", "BOA", 1e-4, 0, -28672),
        ("planetscope-8", "BOA", 1e-4, 0, 0),
        ("rapideye", "BOA", 1e-4, 0, 0),
        ("dea-landsat", "BOA", 1e-4, 0, -999),
        ("dea-sentinel-2", "BOA", 1e-4, 0, -999),
        ("theia-sentinel-2", "BOA", 1e-4, 0, -10000),
        ("enmap", "BOA", 1e-4, 0, -32768),
        ("emit", "BOA", 1, 0, -9999),
    ],
)
def test_rules_of_products(sensor, level, scale, offset, nodata):
    table = sensors()[sensor]
    (rule,) = (rule for rule in table.radiometry if rule.level == level)
    assert (rule.scale, rule.offset, rule.unsupported) == (scale, offset, None)
    assert (table.nodata if rule.nodata is None else rule.nodata) == nodata


@pytest.mark.parametrize("sensor", ["landsat-4-5", "landsat-7", "landsat-mss-1-3", "landsat-mss-4-5"])
def test_landsat_before_oli_has_no_constants_at_level_1(sensor):
    (rule,) = (rule for rule in sensors()[sensor].radiometry if rule.level == "TOA")
    assert "MTL" in rule.unsupported
    assert rule.sun_elevation  # what the MTL's factors make must still be divided by it
    assert "open_cube" in rule.attach


def test_normalised_is_idempotent():
    assert normalised(normalised("Landsat_8 (OLI)")) == normalised("Landsat_8 (OLI)") == "landsat-8-oli"


@pytest.mark.parametrize("value", [2, 2.0, ["sentinel-2"], b"sentinel-2"])
def test_sensor_that_is_no_text(value):
    with pytest.raises(BandError, match="sensor"):
        named(value)
