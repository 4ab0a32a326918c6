"""Spellings of band names: what is the same name, what counts, and what stands before or behind it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask.cube.spelling import image_id, is_number, key, keys, looks_spectral


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("swir_1", "SWIR1"), ("Red Edge 1", "red_edge_1"), ("B8A", "b8a"), ("B02_10m", "b02-10M"),
        ("nir.broad", "NIR Broad"), ("sur_refl_b01", "Sur_Refl-B01"), ("Band 1", "band_1"),
    ],
)  # fmt: skip
def test_same_names(one, other):
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("band_1", "BAND1"), ("M1_1", "M11"), ("B1", "B01"), ("nir1", "nir2"), ("B8A", "B8")]
)
def test_other_names(one, other):
    assert key(one) != key(other)


@given(st.text(min_size=1, max_size=30))
def test_keys_never_fail_and_are_their_own_keys(name):
    assert key(key(name)) == key(name)
    assert keys(name)[0] == key(name)
    assert is_number(name) in (True, False)
    assert looks_spectral(name) in (True, False)


@pytest.mark.parametrize(
    ("name", "known", "image"),
    [
        ("LC08_044034_20140318_SR_B4", "srb4", "LC08_044034_20140318"),
        ("LC09_L2SP_193028_20220811_20230402_02_T1_SR_B4", "srb4", "LC09_L2SP_193028_20220811_20230402_02_T1"),
        ("20190101T184751_20190101T184752_T10SEG_B2", "b2", "20190101T184751_20190101T184752_T10SEG"),
        ("2020_01_01_sur_refl_b01", "surreflb01", "2020_01_01"),
        ("0_B4", "b4", "0"),
        ("T32TQM_20220811T101559_B8A_20m.jp2", "b8a20m", "T32TQM_20220811T101559"),
    ],
)
def test_names_behind_the_id_of_an_image(name, known, image):
    assert known in keys(name)
    assert image_id(name, known) == image


@pytest.mark.parametrize("name", ["MSK_DETFOO_B02", "cloud_B2", "count_blue", "std_red", "median_20200101_blue_count"])
def test_words_before_a_band_make_it_another_layer(name):
    assert not {"b02", "b2", "blue", "red"} & set(keys(name))


@pytest.mark.parametrize("name", ["band_1", "Band 12", "3", "Band1", "layer.4"])
def test_what_only_counts(name):
    assert is_number(name)


@pytest.mark.parametrize("name", ["BAND1", "B1", "layer", "1_blue"])
def test_what_is_a_name(name):
    assert not is_number(name)


@pytest.mark.parametrize(
    "name", ["swir_3", "B17", "nir2", "VNIR4", "red_edge_9", "SR_B9", "band_5", "Blue-Green", "toa_red", "b12_20m"]
)
def test_what_looks_spectral(name):
    assert looks_spectral(name)


@pytest.mark.parametrize(
    "name",
    ["ndvi", "SCL", "QA_PIXEL", "cloud", "red_std", "reduced", "visual", "AOT", "elevation", "mask", "class", "bare"],
)
def test_what_does_not(name):
    assert not looks_spectral(name)
