"""The sensor tables: complete, consistent, and in agreement with what others publish."""

from __future__ import annotations

import pytest

from xr_cloudmask.cube.sensors import Sensor, common_names, named, normalised, sensors
from xr_cloudmask.errors import BandError

IDS = [
    *("amazonia-1-wfi", "cbers-4-mux", "cbers-4-wfi", "cbers-4a-mux", "cbers-4a-wfi", "cbers-4a-wpm", "hls-l30"),
    *("hls-s30", "landsat-4-5", "landsat-7", "landsat-8-9", "modis", "planetscope-4", "planetscope-8", "sentinel-2"),
]

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
        assert 400 <= band.min_wavelength < band.max_wavelength <= 13_000, band.name
        assert (band.kind == "brightness_temperature") == (band.min_wavelength > 3000), band.name


@every_sensor
def test_names_and_roles_are_unique(sensor: Sensor):
    names = [name for band in sensor.bands for name in band.names] + list(sensor.quality)
    assert len(names) == len(set(names))
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
    assert {band.name for band in sensor.bands if band.role is None} <= {"sur_refl_b05"}  # 1240 nm


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
        ("MOD09A1", "modis"), ("PSB.SD", "planetscope-8"),
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
    ],
)
def test_products_point_at_one_sensor(product: str, expected: str):
    assert [sensor.id for sensor in sensors().values() if sensor.is_product(product)] == [expected]


def test_unknown_sensor_lists_the_known_ones():
    with pytest.raises(BandError) as error:
        named("worldview-3")
    assert error.value.found == "sensor 'worldview-3'"
    assert all(name in error.value.expected for name in IDS)
    assert error.value.remedy == "sensor='sentinel-2'"


def test_normalised_is_idempotent():
    assert normalised(normalised("Landsat_8 (OLI)")) == normalised("Landsat_8 (OLI)") == "landsat-8-oli"


@pytest.mark.parametrize("value", [2, 2.0, ["sentinel-2"], b"sentinel-2"])
def test_sensor_that_is_no_text(value):
    with pytest.raises(BandError, match="sensor"):
        named(value)
