"""predict(): what it says of itself, what it refuses, and the options that change its work."""

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401 - registers .rio
import toys  # noqa: F401 - registers the toy model
import xarray as xr

import xr_cloudmask
from xr_cloudmask import BandDescriptor, CloudMaskError, ModelError, models, predict
from xr_cloudmask.models import registry
from xr_cloudmask.names import FRACTIONS

ROLES = ["blue", "green", "red", "nir", "swir16", "swir22"]
RNG = np.random.default_rng(3)
TIMES = np.array(["2024-01-01", "2024-01-11"], "datetime64[ns]")


def cube(bands=ROLES[:4], size=96, gsd=10.0, dates=2):
    values = RNG.random((dates, size, size)).astype("float32") * 0.4
    steps = np.arange(size) * gsd
    out = xr.Dataset(
        dict.fromkeys(bands, (("time", "y", "x"), values)),
        coords={"time": TIMES[:dates], "y": 7.9e6 - steps, "x": 5e5 + steps, "tile": "22KGA"},
        attrs={"title": "a cube"},
    )
    return out.rio.write_crs("EPSG:32722")


def test_the_mask_says_how_it_was_made():
    out = predict(cube(), level="TOA")
    mask = out["cloud_mask"]
    assert mask.dtype == np.uint8
    assert mask.dims == ("time", "y", "x")
    assert mask.attrs["flag_meanings"] == "clear thick_cloud thin_cloud cloud_shadow no_data"
    expected = {
        "model": "csmask",
        "model_variant": "4b_l1c",
        "model_licence": "Apache-2.0",
        "level": "TOA",
        "scheme": "cloudsen12",
        "bands": "blue green red nir",
        "resolution": "30 m",
        "model_classes": "clear thick_cloud cloud_shadow",
    }
    assert {key: mask.attrs[key] for key in expected} == expected
    assert len(mask.attrs["weights_sha256"]) == 64
    assert mask.attrs["reflectance_provenance"]
    assert mask.attrs["software"].startswith("xr-cloudmask ")


def test_coords_and_crs_survive_and_the_cube_is_left_alone():
    data = cube()
    before = data.copy(deep=True)
    out = predict(data, "toy", level="TOA", probabilities=True)
    xr.testing.assert_identical(data, before)
    assert {"time", "y", "x", "tile", "spatial_ref", *FRACTIONS} <= set(out.coords)
    assert out.rio.crs == data.rio.crs
    assert out["cloud_mask"].rio.grid_mapping == "spatial_ref"
    assert out.rio.transform() == data.rio.transform()
    assert out["probability"].dims == ("time", "class", "y", "x")
    assert out["class"].values.tolist() == ["clear", "thick_cloud", "cloud_shadow"]


def test_coverage_is_an_attribute_where_there_is_no_time():
    out = predict(cube(dates=1).isel(time=0), "toy", level="TOA")
    assert out["cloud_mask"].attrs["cloud_fraction"] == float(out["cloud_fraction"])
    assert "cloud_fraction" not in predict(cube(), "toy", level="TOA")["cloud_mask"].attrs
    lazy = predict(cube(dates=1).isel(time=0).chunk(), "toy", level="TOA")
    assert not any(hasattr(value, "dask") for value in lazy["cloud_mask"].attrs.values())


def test_six_bands_are_used_where_there_are_six_and_the_level_decides():
    variants = {
        (n, level): predict(cube(ROLES[:n], size=32), "csmask", level=level)["cloud_mask"].attrs["model_variant"]
        for n in (4, 6)
        for level in ("TOA", "BOA")
    }
    assert variants == {(4, "TOA"): "4b_l1c", (4, "BOA"): "4b_l2a", (6, "TOA"): "6b_l1c", (6, "BOA"): "6b_l2a"}


def test_narrow_nir_serves_where_there_is_no_broad_one():
    out = predict(cube(["blue", "green", "red", "nir08"]), level="BOA")
    assert out["cloud_mask"].attrs["bands"] == "blue green red nir08"


def test_further_bands_are_ignored():
    data = cube(size=32)
    out = predict(data.assign(SCL=(("y", "x"), np.ones((32, 32), "uint8"))), "toy", level="TOA")
    xr.testing.assert_equal(out["cloud_mask"], predict(data, "toy", level="TOA")["cloud_mask"])


@pytest.mark.parametrize("scheme", ["cloudsen12", "binary", "validity", "native"])
def test_a_prediction_in_a_scheme_is_the_prediction_translated(scheme):
    data = cube()
    native = predict(data, "toy", level="TOA", scheme="native")["cloud_mask"]
    out = predict(data, "toy", level="TOA", scheme=scheme)
    assert out["cloud_mask"].attrs["scheme"] == scheme
    if scheme == "cloudsen12":
        xr.testing.assert_equal(out["cloud_mask"], native.cloudmask.to_scheme(scheme))


def test_descriptors_name_bands_that_nobody_knows():
    data = cube().rename(blue="a", green="b", red="c", nir="d")
    described = [
        BandDescriptor(name, role, low, high)
        for name, role, low, high in [
            ("a", "blue", 450, 520), ("b", "green", 520, 600), ("c", "red", 630, 690), ("d", "nir", 760, 900),
        ]
    ]  # fmt: skip
    with pytest.raises(CloudMaskError, match="descriptors="):
        predict(data, level="TOA")
    out = predict(data, "toy", level="TOA", descriptors=described)
    xr.testing.assert_equal(out["cloud_mask"], predict(cube_like(data), "toy", level="TOA")["cloud_mask"])


def cube_like(data):
    return data.rename(a="blue", b="green", c="red", d="nir")


@pytest.mark.parametrize(
    ("gsd", "resolution", "expected"),
    [
        (10, "auto", "30 m"),
        (20, "auto", "20 m"),
        (8, "auto", "24 m"),
        (30, "auto", "30 m"),
        (10, "native", "10 m"),
        (10, 20, "20 m"),
        (10, 60.5, "60 m"),
    ],
)
def test_resolution(gsd, resolution, expected):
    out = predict(cube(gsd=float(gsd)), "toy", level="TOA", resolution=resolution)
    assert out["cloud_mask"].attrs["resolution"] == expected
    assert out["cloud_mask"].shape == (2, 96, 96)


def test_resolution_in_degrees_and_without_georeference():
    degrees = cube().drop_vars("spatial_ref").rename(y="lat", x="lon")
    degrees = degrees.assign_coords(lat=60 + (degrees.lat - 7.9e6) / 111_412, lon=(degrees.lon - 5e5) / 55_800)
    assert predict(degrees, "toy", level="TOA")["cloud_mask"].attrs["resolution"] == "30 m"
    narrow = degrees.assign_coords(lon=degrees.lon / 2)
    assert predict(narrow, "toy", level="TOA")["cloud_mask"].attrs["resolution"] == "30 x 15 m"
    bare = cube().drop_vars(["y", "x", "spatial_ref"])
    assert predict(bare, "toy", level="TOA")["cloud_mask"].attrs["resolution"] == "native"
    with pytest.raises(CloudMaskError, match="pixel size is unknown"):
        predict(bare, "toy", level="TOA", resolution=30)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"model": "csmsk"}, "predict\\(model='csmask'\\)"),
        ({"scheme": "cloudsen13"}, "'cloudsen12'"),
        ({"scheme": "sensei"}, "room for"),
        ({"probabilites": True}, "predict\\(probabilities=...\\)"),
        ({"window": 100}, "multiple of 8"),
        ({"window": "512"}, "whole numbers"),
        ({"halo": -1}, "whole numbers"),
        ({"batch_size": 0}, "whole numbers"),
        ({"resolution": "fine"}, "'native'"),
        ({"resolution": -30.0}, "'native'"),
        ({"resolution": 25.0}, "whole multiple"),
        ({"resolution": 5.0}, "whole multiple"),
        ({"weights": "mine.pt"}, "brings its own"),
        ({"level": "middle"}, "one of 'TOA'"),
        ({"sensor": "sputnik-1"}, "sentinel-2"),
    ],
)
def test_bad_options_are_refused_with_what_to_type(keywords, message):
    with pytest.raises(CloudMaskError, match=message):
        predict(cube(), **({"model": "toy", "level": "TOA"} | keywords))


def test_missing_bands_are_named():
    with pytest.raises(ModelError, match="lack nir or nir08") as caught:
        predict(cube(ROLES[:3]), "csmask", level="TOA")
    assert "blue, green, red, nir" in caught.value.expected


def test_an_unknown_level_is_asked_for():
    with pytest.raises(ModelError, match="predict\\(level='TOA'\\)"):
        predict(cube())


def test_a_level_that_no_variant_takes_is_refused():
    with pytest.raises(ModelError, match="TOA reflectance for model 'toy'"):
        predict(cube(), "toy", level="BOA")


def test_digital_numbers_of_unknown_scale_are_refused():
    data = (cube() * 10000).astype("uint16")
    with pytest.raises(CloudMaskError, match="scale"):
        predict(data, level="TOA")


@pytest.mark.parametrize("dtype", ["complex64", "bool", "U4"])
def test_bands_that_are_no_numbers_are_refused(dtype):
    with pytest.raises(CloudMaskError, match="dtype"):
        predict(cube(size=32).astype(dtype), "toy", level="TOA")


def test_dates_without_data_are_no_data():
    data = cube()
    data["blue"][1] = np.nan
    out = predict(data, "toy", level="TOA")
    assert (out["cloud_mask"][1] == 255).all()
    assert out["valid_fraction"].values.tolist() == [1, 0]
    assert np.isnan(out["cloud_fraction"][1])


def test_models_tells_what_each_needs():
    table = models()
    assert isinstance(table, pd.DataFrame)
    row = table.loc[("csmask", "6b_l2a")]
    assert row["needs"] == "blue, green, red, nir or nir08, swir16, swir22"
    assert row["level"] == "BOA"
    assert row["runs here"]
    assert "<table" in table._repr_html_()


def test_models_tells_what_to_type_where_a_package_is_absent(monkeypatch):
    monkeypatch.setattr("xr_cloudmask.extras.find_spec", lambda name: None)
    row = models().loc[("csmask", "6b_l1c")]
    assert not row["runs here"]
    assert row["what to type"].startswith("pip install")


def test_registering_a_taken_name_is_refused():
    spec = registry._SPECS["csmask"][0]
    with pytest.raises(ModelError, match="one new name"):
        xr_cloudmask.register_model(spec)


def test_accessors_are_registered_on_both_kinds():
    data = cube(size=32).assign_attrs(level="TOA")
    as_array = data.to_dataarray("band").assign_attrs(level="TOA")
    xr.testing.assert_equal(
        data.cloudmask.predict("toy")["cloud_mask"], as_array.cloudmask.predict("toy")["cloud_mask"]
    )
    assert [d.role for d in data.cloudmask.descriptors()] == ROLES[:4]
    with pytest.raises(TypeError):
        data.cloudmask.predict("toy", "sentinel-2")


@pytest.mark.parametrize(
    "keywords",
    [{"model": None}, {"resolution": None}, {"sensor": 2}, {"level": 2}, {"scale": "x"}, {"descriptors": ["B02"]}],
    ids=str,
)
def test_arguments_of_the_wrong_type_are_refused(keywords):
    with pytest.raises(CloudMaskError):
        predict(cube(), **({"model": "toy", "level": "TOA"} | keywords))


def test_numpy_integers_are_whole_numbers():
    out = predict(cube(), "toy", level="TOA", window=np.int64(32), halo=np.int16(4))
    assert out["cloud_mask"].attrs["window"] == "32 x 32"


def test_attributes_of_the_dataset_survive():
    assert predict(cube(), "toy", level="TOA").attrs["title"] == "a cube"


def test_rioxarray_knows_the_masks_nodata():
    assert predict(cube(), "toy", level="TOA")["cloud_mask"].rio.nodata == 255


def test_a_mask_draws_itself():
    out = predict(cube(), "toy", level="TOA")
    assert len(out.cloudmask.plot().axes) >= 2
    assert len(out["cloud_mask"].cloudmask.plot().axes) >= 2


def test_fill_that_was_decoded_is_still_fill():
    numbers = (cube() * 10000).astype("uint16") + np.uint16(1000)
    for name in numbers:
        numbers[name][:, :5, :5] = 0
    raw = predict(numbers, "toy", level="TOA", scale=1e-4, offset=-0.1)
    assert (raw["cloud_mask"][:, :5, :5] == 255).all()
    converted = numbers.cloudmask.reflectance(scale=1e-4, offset=-0.1, level="TOA")
    xr.testing.assert_equal(predict(converted, "toy")["cloud_mask"], raw["cloud_mask"])


@pytest.mark.parametrize("time", [True, False])
def test_lazy_coordinates_of_an_earlier_prediction_are_not_computed(time):
    def refuse(block):
        raise AssertionError("computed")

    lazy = cube().chunk({"time": 1}) if time else cube().isel(time=0).chunk()
    lazy = lazy.map(lambda band: band.copy(data=band.data.map_blocks(refuse, dtype="float32")))
    masked = lazy.cloudmask.with_mask("toy", level="TOA").drop_vars("cloud_mask")
    assert masked["cloud_fraction"].chunks is not None
    again = predict(masked, "toy", level="TOA")
    assert again["cloud_mask"].chunks is not None
