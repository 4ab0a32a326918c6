"""Quality bands become masks: every code of every product, whatever says what the codes mean."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401 - it registers .rio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from toy_cubes import chunked, refuse

from xr_cloudmask import CloudMaskError, simulate
from xr_cloudmask.masks.labels import mask_of
from xr_cloudmask.masks.quality import from_quality
from xr_cloudmask.masks.quality_tables import AMBIGUOUS, PRODUCTS
from xr_cloudmask.masks.schemes import SCHEMES, VOCABULARY, flag_attrs, scheme_of
from xr_cloudmask.names import MASK_NAME

ALL = np.arange(1 << 16, dtype="uint16").reshape(256, 256)
SCL_WORDS = (
    "no_data saturated_or_defective dark_area_pixels cloud_shadows vegetation not_vegetated water unclassified "
    "cloud_medium_probability cloud_high_probability thin_cirrus snow"
)
SCL_TEXTS = [word.replace("_", " ").capitalize() for word in SCL_WORDS.split()]
SCL_FLAGS = {"flag_values": np.arange(12, dtype="uint8"), "flag_meanings": SCL_WORDS}


def band(codes, name="quality", **attrs):
    return xr.DataArray(np.asarray(codes), dims=("y", "x")[-np.ndim(codes) :], name=name, attrs=attrs)


def classes(array, kind=None, **options):
    """Return the class of each pixel as a word."""
    mask = from_quality(array, kind=kind, **options)[MASK_NAME]
    words = dict(zip(mask.attrs["flag_values"].tolist(), mask.attrs["flag_meanings"].split(), strict=True))
    return np.vectorize(words.__getitem__)(mask.values)


def landsat(code):
    """What the product guide says of a code of QA_PIXEL, read from its binary digits."""
    digits = f"{code:016b}"[::-1]
    fill, dilated, cirrus, cloud, shadow, snow, clear, water = (digit == "1" for digit in digits[:8])
    if fill:
        return "no_data"
    if cloud or dilated:
        return "thick_cloud"
    if cirrus:
        return "thin_cloud"
    if shadow:
        return "cloud_shadow"
    return "snow" if snow else "water" if water else "land" if clear else "no_data"


def test_all_codes_of_qa_pixel():
    expected = np.vectorize(landsat)(ALL)
    np.testing.assert_array_equal(classes(band(ALL, "QA_PIXEL")), expected)
    np.testing.assert_array_equal(classes(band(ALL.astype("float64"), "qa_pixel")), expected)


# Codes that the product guide explains one by one (LSDS-1619, table 6-4).
GUIDE = {
    1: "no_data", 21824: "land", 21826: "thick_cloud", 21888: "water", 21890: "thick_cloud", 21952: "water",
    22280: "thick_cloud", 23888: "cloud_shadow", 30048: "snow", 54596: "thin_cloud", 55052: "thick_cloud",
}  # fmt: skip


def test_codes_that_the_landsat_guide_explains():
    assert dict(zip(GUIDE, classes(band(np.uint16([list(GUIDE)]), "QA_PIXEL"))[0].tolist(), strict=True)) == GUIDE


def test_the_bits_that_stac_states_are_those_of_the_table():
    names = ["fill", "dilated_cloud", "cirrus", "cloud", "cloud_shadow", "snow", "clear", "water"]
    short = {"dilated_cloud": "dilated", "cloud_shadow": "shadow"}
    fields = [
        {"name": name, "offset": i, "length": 1}
        | {
            "classes": [
                {"name": f"not_{short.get(name, name)}", "value": 0},
                {"name": short.get(name, name), "value": 1},
            ]
        }
        for i, name in enumerate(names)
    ]
    levels = [{"name": level, "value": i} for i, level in enumerate(("not_set", "low", "medium", "high"))]
    fields += [
        {"name": f"{name}_confidence", "offset": 8 + 2 * i, "length": 2, "classes": levels}
        for i, name in enumerate(("cloud", "cloud_shadow", "snow", "cirrus"))
    ]
    stated = band(ALL, **{"classification:bitfields": fields})
    np.testing.assert_array_equal(classes(stated), np.vectorize(landsat)(ALL))


def fmask_of_hls(code):
    if code == 255:
        return "no_data"
    bits = [code >> i & 1 for i in range(6)]
    if bits[1] or bits[2]:
        return "thick_cloud"
    return next((w for w, i in (("thin_cloud", 0), ("cloud_shadow", 3), ("snow", 4), ("water", 5)) if bits[i]), "land")


FMASK = {0: "land", 1: "water", 2: "cloud_shadow", 3: "snow", 4: "thick_cloud"}
UDM2 = {1: "land", 2: "snow", 4: "cloud_shadow", 8: "thin_cloud", 16: "thin_cloud", 32: "thick_cloud"}
OA_FMASK = {1: "land", 2: "thick_cloud", 3: "cloud_shadow", 4: "snow", 5: "water"}
OF_BYTES = {
    "hls": fmask_of_hls,
    "fmask": lambda code: FMASK.get(code, "no_data"),
    "scl": lambda code: dict(enumerate(SCL_CLASSES)).get(code, "no_data"),
    "udm2": lambda code: UDM2.get(1 << (code & 63).bit_length() >> 1, "no_data"),
    "cmask": lambda code: {127: "clear", 255: "thick_cloud"}.get(code, "no_data"),
    "cldprb": lambda code: "no_data" if code > 100 else "thick_cloud" if code >= 50 else "clear",
    "oa_fmask": lambda code: dict(enumerate(("land", "thick_cloud", "cloud_shadow", "snow", "water"), 1)).get(
        code, "no_data"
    ),
    "viirs_qf1": lambda code: "no_data" if code & 3 == 0 else "thick_cloud" if code & 8 else "clear",
}
SCL_CLASSES = (
    *("no_data", "no_data", "land", "cloud_shadow", "land", "land", "water", "no_data", "thick_cloud", "thick_cloud"),
    *("thin_cloud", "snow"),
)


@pytest.mark.parametrize("kind", OF_BYTES)
def test_all_codes_of_a_byte(kind):
    codes = np.arange(256, dtype="uint8")[None]
    expected = [OF_BYTES[kind](code) for code in range(256)]
    assert classes(band(codes), kind)[0].tolist() == expected


@pytest.mark.parametrize(
    ("kind", "code", "meaning"),
    [
        ("qa60", 0, "clear"), ("qa60", 1 << 10, "thick_cloud"), ("qa60", 1 << 11, "thin_cloud"), ("qa60", 7, "no_data"),
        ("pixel_qa", 322, "land"), ("pixel_qa", 324, "water"), ("pixel_qa", 328, "cloud_shadow"),
        ("pixel_qa", 1, "no_data"),
        ("pixel_qa", 336, "snow"), ("pixel_qa", 352, "thick_cloud"), ("pixel_qa", 834, "thin_cloud"),
        ("bqa", 1, "no_data"), ("bqa", 2720, "land"), ("bqa", 2800, "thick_cloud"), ("bqa", 6816, "thin_cloud"),
        ("bqa", 2976, "cloud_shadow"), ("bqa", 3744, "snow"),
        ("state_1km", 8, "land"), ("state_1km", 9, "thick_cloud"), ("state_1km", 10, "thick_cloud"),
        ("state_1km", 11, "no_data"), ("state_1km", 12, "cloud_shadow"), ("state_1km", 0, "water"),
        ("state_1km", 776, "thin_cloud"), ("state_1km", 4104, "snow"), ("state_1km", 65535, "no_data"),
        ("maja", 0, "clear"), ("maja", 1, "thick_cloud"), ("maja", 3, "thick_cloud"), ("maja", 7, "thick_cloud"),
        ("maja", 33, "cloud_shadow"), ("maja", 65, "cloud_shadow"), ("maja", 16, "thin_cloud"),
        ("maja", 131, "thin_cloud"),
        ("qai", 0, "land"), ("qai", 1, "no_data"), ("qai", 2, "thick_cloud"), ("qai", 4, "thick_cloud"),
        ("qai", 6, "thin_cloud"), ("qai", 8, "cloud_shadow"), ("qai", 16, "snow"), ("qai", 32, "water"),
        ("kappamask", 0, "no_data"), ("kappamask", 1, "clear"), ("kappamask", 3, "thin_cloud"),
        ("kappamask", 5, "no_data"),
        ("clm", 0, "clear"), ("clm", 255, "no_data"), ("clp", 101, "clear"), ("clp", 102, "thick_cloud"),
        ("udm", 0, "clear"), ("udm", 1, "no_data"), ("udm", 2, "thick_cloud"), ("udm", 4, "no_data"),
        ("oa_s2cloudless", 0, "no_data"), ("oa_s2cloudless", 1, "clear"), ("oa_s2cloudless", 2, "thick_cloud"),
    ],
)  # fmt: skip
def test_codes_of_other_products(kind, code, meaning):
    assert classes(band(np.int32([[code]])), kind).item() == meaning


def test_tables_are_whole():
    for product in PRODUCTS.values():
        assert {rule.meaning for rule in product.rules} <= set(VOCABULARY)
        assert product.title
        assert product.source
    names = [name for product in PRODUCTS.values() for name in product.names]
    assert len(names) == len({*names, *AMBIGUOUS}) - len(AMBIGUOUS)


# What says what the codes mean.


@pytest.mark.parametrize(
    "attrs",
    [
        SCL_FLAGS,
        {"flag_values": "0b, 1b, 2b, 3b, 4b, 5b, 6b, 7b, 8b, 9b, 10b, 11b", "flag_meanings": SCL_WORDS.upper()},
        {"classification:classes": [{"value": i, "name": word} for i, word in enumerate(SCL_WORDS.split())]},
        {
            "classification:classes": [
                {"value": i, "description": w.replace("_", " ")} for i, w in enumerate(SCL_WORDS.split())
            ]
        },
    ],
)
def test_flags_say_it(attrs):
    codes = np.arange(16, dtype="uint8")[None]
    assert classes(band(codes, **attrs))[0].tolist() == [OF_BYTES["scl"](code) for code in range(16)]


def test_flags_of_bits_agree_with_cf_xarray():
    pytest.importorskip("cf_xarray")
    attrs = {
        "flag_masks": np.uint8([1, 2, 4]),
        "flag_meanings": "OPAQUE CIRRUS SNOW_ICE",
        "standard_name": "status_flag",
    }
    array = band(np.arange(8, dtype="uint8")[None], "b00", **attrs)
    opaque, cirrus, snow = (array.cf == name for name in attrs["flag_meanings"].split())
    expected = np.select([opaque, cirrus, snow], ["thick_cloud", "thin_cloud", "snow"], "land")
    np.testing.assert_array_equal(classes(array), expected)
    values = {"flag_masks": np.uint8([3, 3, 3, 4]), "flag_values": np.uint8([0, 1, 2, 4])}
    both = band(np.arange(8, dtype="uint8")[None], **values, flag_meanings="clear cirrus cloud shadow")
    assert classes(both)[0].tolist() == [
        *("clear", "thin_cloud", "thick_cloud", "no_data", "cloud_shadow", "thin_cloud", "thick_cloud", "cloud_shadow")
    ]


@pytest.mark.parametrize("word", ["no_data", "nodata", "not_observed", "saturated", "fill"])
def test_a_bit_that_says_no_data_is_heard(word):
    masks = band(np.uint8([[0, 1, 2, 3]]), flag_masks=np.uint8([1, 2]), flag_meanings=f"{word} cloud")
    bits = [
        {
            "name": name,
            "offset": i,
            "length": 1,
            "classes": [{"name": f"not_{name}", "value": 0}, {"name": name, "value": 1}],
        }
        for i, name in enumerate((word if word != "saturated" else "fill", "cloud"))
    ]
    for array in (masks, band(np.uint8([[0, 1, 2, 3]]), **{"classification:bitfields": bits})):
        assert classes(array)[0].tolist() == ["clear", "no_data", "thick_cloud", "no_data"]


@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        (band([[1]]), {}, "whose name tells no product"),
        (band([[1]], "Fmask"), {}, "kind='hls'"),
        (band([[1]], "clm"), {}, "which of"),
        (band([[1]], flag_values=[0, 1], flag_meanings="fog murk"), {}, r"mapping=\{'fog': 'clear'\}"),
        (band([[1]], "SCL"), {"kind": "sl"}, "kind='scl'"),
        (band([[1]], "SCL"), {"mapping": {7: "meadow"}}, "meadow"),
        (band([[1]], "SCL"), {"scheme": "none"}, "scheme='cloudsen12'"),
        (band([[1]], "QA60"), {"scheme": "sensei"}, "does not tell water and snow"),
        (xr.Dataset({"SCL": band([[1]]), "QA60": band([[1]])}), {}, "band='SCL'"),
        (xr.Dataset({"B02": band([[1]])}), {}, "none of which is known"),
        (xr.Dataset({"SCL": band([[1]])}), {"band": "SLC"}, "band='SCL'"),
        (np.zeros((2, 2)), {}, "ndarray"),
    ],
)
def test_what_is_not_known_is_asked_for(array, options, words):
    with pytest.raises(CloudMaskError, match=words):
        from_quality(array, **options)


def test_a_mapping_says_otherwise():
    codes = band(np.uint8([[7, 4, 10]]), "SCL", **SCL_FLAGS)
    assert classes(codes, mapping={7: "land"})[0].tolist() == ["land", "land", "thin_cloud"]
    assert classes(codes, mapping={"thin_cirrus": "land"})[0].tolist() == ["no_data", "land", "land"]
    murky = band(np.uint8([[0, 1]]), flag_values=[0, 1], flag_meanings="clear murk")
    assert classes(murky, mapping={"murk": "thin_cloud"})[0].tolist() == ["clear", "thin_cloud"]


@pytest.mark.parametrize(
    "attrs",
    [
        {"flag_values": {"a": 1}, "flag_meanings": "clear cloud"},
        {"flag_values": [0, None], "flag_meanings": "clear cloud"},
        {"flag_values": np.nan, "flag_meanings": np.nan},
        {"flag_values": b"0b, 1b", "flag_meanings": b"clear cloud"},
        {
            "classification:classes": [
                {"value": None, "name": "clear"},
                {"value": "x"},
                {"value": np.nan},
                {"value": 0.5},
            ]
        },
        {"classification:bitfields": [{"offset": None, "classes": [{"value": 1, "name": "cloud"}]}]},
        {"classification:bitfields": [{"offset": -1, "length": 1, "classes": [{"value": 1, "name": "cloud"}]}]},
        {"classification:bitfields": [{"offset": 10**9, "length": 10**9, "classes": [{"value": 1, "name": "cloud"}]}]},
        {"classification:bitfields": [{"offset": 1, "length": 1, "classes": [{"name": "cloud"}]}]},
    ],
)
def test_what_is_no_code_says_nothing(attrs):
    with pytest.raises(CloudMaskError, match="without flags"):
        from_quality(band([[1]], **attrs))
    assert set(classes(band([[4]], "SCL", **attrs)).flat) == {"land"}


@pytest.mark.parametrize(
    "options",
    [
        *({"mapping": mapping} for mapping in (5, [7], "land", {7.0: "land"}, {None: "land"}, {True: "land"})),
        *({"mapping": {key: "land"}} for key in (-1, 1 << 16)),
        *({name: value} for name in ("band", "kind", "scheme") for value in (["SCL"], {}, 1)),
    ],
)
def test_arguments_of_odd_types(options):
    with pytest.raises(CloudMaskError):
        from_quality(xr.Dataset({"SCL": band([[1]])}), **options)


@pytest.mark.parametrize("dtype", ["bool", "U3", "object", "complex64", "datetime64[ns]", "timedelta64[ns]"])
def test_codes_are_numbers(dtype):
    with pytest.raises(CloudMaskError, match="integers, or floats"):
        from_quality(band(np.uint8([[4, 9]]).astype(dtype), "SCL"))


def test_the_last_bit_of_a_byte_has_a_sign():
    """A writer of netCDF 3 has no other bytes."""
    flags = {"flag_masks": np.int8([1, -128]), "flag_meanings": "clear cloud"}
    assert classes(band(np.uint8([[1, 128, 129]]), **flags))[0].tolist() == ["clear", "thick_cloud", "thick_cloud"]


@pytest.mark.parametrize("key", ["nodata", "_FillValue"])
@pytest.mark.parametrize(("kind", "meaning"), [("fmask", "land"), ("qa60", "clear"), ("hls", "land")])
def test_no_data_that_is_a_class_is_asked_for(key, kind, meaning):
    """A loader fills with it what lies outside of a scene."""
    stated = band(np.uint16([[0]]), **{key: 0})
    with pytest.raises(CloudMaskError, match=rf"0: 'no_data'}}\), or '{meaning}'"):
        from_quality(stated, kind=kind)
    assert classes(stated, kind, mapping={0: "no_data"}).item() == "no_data"
    assert classes(stated, kind, mapping={0: meaning}).item() == meaning
    assert classes(stated.assign_attrs({key: 255}), kind).item() == meaning


def test_a_band_is_known_by_the_name_that_its_loader_gives_it():
    codes = np.uint8([[[4, 9]]])
    by_rioxarray = xr.DataArray(codes, dims=("band", "y", "x"), coords={"band": [1]}, name="SCL")
    by_stackstac = xr.DataArray(codes, dims=("band", "y", "x"), coords={"band": ["SCL"]}, name="stackstac-5f2a")
    for array in (by_rioxarray, by_stackstac):
        for form in (array, array.isel(band=0), array.isel(band=[0])):
            assert classes(form)[0].tolist() == ["land", "thick_cloud"]
            assert mask_of(form).dims == ("y", "x")


# As masks.


@pytest.fixture(scope="module")
def cube():
    return simulate.series(dates=4, size=(48, 40), cover=[0.05, 0.9, 0.1, 0.95], chunks=None, seed=3)


def scl_of(truth):
    """Return the truth of a simulated cube as SCL's codes."""
    words = dict(zip(truth.attrs["flag_values"].tolist(), truth.attrs["flag_meanings"].split(), strict=True))
    codes = {"clear": 4, "land": 4, "water": 6, "snow": 11, "thin_cloud": 10, "thick_cloud": 9, "cloud_shadow": 3}
    table = np.zeros(256, "uint8")
    for code, word in words.items():
        table[code] = codes.get(word, 0)
    return truth.copy(data=table[truth.values]).drop_attrs(deep=False).assign_attrs(SCL_FLAGS).rename("SCL")


@pytest.mark.parametrize("named", [True, False])
def test_any_quality_band_is_a_mask_of_a_cube(cube, named):
    truth, bands = cube["truth"], cube.drop_vars("truth")
    scl = scl_of(truth)
    scl = scl.drop_attrs(deep=False) if named else scl.rename(None)
    expected = bands.cloudmask.filter(max_cloud=0.5, mask=truth)
    for mask in (scl, from_quality(scl, kind="scl"), scl.to_dataset(name="SCL"), scl.chunk(y=20)):
        kept = bands.cloudmask.filter(max_cloud=0.5, mask=mask)
        np.testing.assert_array_equal(kept.time, expected.time)
        image = kept.cloudmask.composite("median", mask=mask)
        xr.testing.assert_equal(image, expected.cloudmask.composite("median", mask=truth))
    np.testing.assert_allclose(scl.cloudmask.coverage()["cloud_fraction"], truth.cloudmask.coverage()["cloud_fraction"])
    np.testing.assert_array_equal(scl.cloudmask.to_scheme("cloudsen12"), truth.cloudmask.to_scheme("cloudsen12"))
    np.testing.assert_array_equal(scl.cloudmask.clear(), truth.cloudmask.clear())
    both = bands.assign(SCL=scl)
    np.testing.assert_array_equal(both.cloudmask.from_quality("SCL")[MASK_NAME], from_quality(scl)[MASK_NAME])
    assert both.cloudmask.from_quality()[MASK_NAME].attrs["model"] in ("scl", "flags")
    assert from_quality(scl)[MASK_NAME].rio.crs == cube.rio.crs


def test_a_band_of_unknown_flags_is_no_mask(cube):
    odd = scl_of(cube["truth"]).rename("odd").assign_attrs(flag_meanings=SCL_WORDS.replace("thin_cirrus", "murk"))
    with pytest.raises(CloudMaskError, match="murk"):
        cube.drop_vars("truth").cloudmask.filter(max_cloud=0.5, mask=odd)
    with pytest.raises(CloudMaskError, match="from_quality"):
        scheme_of(odd)


@given(st.data(), st.sampled_from(["uint8", "uint16", "int16", "int64", "float32"]))
def test_lazy_and_the_same_for_every_chunking(data, dtype):
    codes = np.random.default_rng(1).integers(0, 13, (3, 20, 30)).astype(dtype)
    if dtype == "float32":
        codes[0, :3] = np.nan
        codes[1, 0, 0], codes[1, 0, 1], codes[1, 0, 2] = 4.5, np.inf, -4
    whole = xr.DataArray(codes, dims=("time", "y", "x"), name="SCL")
    expected = from_quality(whole)
    with dask.config.set(scheduler=refuse):
        lazy = from_quality(chunked(data.draw, whole))
    assert lazy[MASK_NAME].chunks is not None
    xr.testing.assert_identical(lazy.compute(), expected)
    if dtype == "float32":
        assert (expected[MASK_NAME].values[0, :3] == SCHEMES["sensei"].no_data).all()
        assert (expected[MASK_NAME].values[1, 0, :3] == SCHEMES["sensei"].no_data).all()


@pytest.mark.parametrize("form", ["variables", "bands"])
def test_udm2_is_six_bands(form):
    names = ["clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "unusable"]
    values = np.concatenate([np.eye(8, dtype="uint8"), np.zeros((8, 1), "uint8")], axis=1)[:, None]
    bands = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": names})
    given_bands = bands.to_dataset("band") if form == "variables" else bands
    found = classes(given_bands)[0].tolist()
    assert found == ["land", "snow", "cloud_shadow", "thin_cloud", "thin_cloud", "thick_cloud", *["no_data"] * 3]
    mask = from_quality(given_bands)[MASK_NAME]
    np.testing.assert_array_equal(given_bands.cloudmask.from_quality()[MASK_NAME], mask)
    assert set(flag_attrs(SCHEMES["sensei"])) <= set(mask.attrs)


def test_one_band_of_udm2_is_no_mask():
    """Its 1 would be read as the bit of clear."""
    cloud = band(np.uint8([[0, 1]]), "cloud")
    for given_band in (cloud, cloud.to_dataset(), xr.Dataset({"clear": cloud, "cloud": cloud})):
        with pytest.raises(CloudMaskError, match="six bands"):
            from_quality(given_band, kind="udm2")
    with pytest.raises(CloudMaskError, match="six bands"):
        from_quality(xr.Dataset({"clear": cloud, "cloud": cloud}), "cloud", kind="udm2")
