"""What is known of a cube is settled once, and what is missing is one answer that works as typed."""

from __future__ import annotations

import json

import dask
import numpy as np
import pytest
import toys  # noqa: F401 - registers the toy model
import xarray as xr

import xr_cloudmask
from xr_cloudmask import BandDescriptor, CloudMaskError, ReflectanceError, describe, export, predict
from xr_cloudmask.cli import main
from xr_cloudmask.cube.described import DescribedCube, Told

SENTINEL = ("B02", "B03", "B04", "B08")
ROLES = ("blue", "green", "red", "nir")
LAYERS = tuple(BandDescriptor(f"layer {i}", role, 400.0 + 100 * i, 480.0 + 100 * i) for i, role in enumerate(ROLES))


def cube(names=ROLES, low=800, high=4000, dtype="uint16", size=64, **attrs) -> xr.Dataset:
    ramp = np.linspace(low, high, size * size).reshape(size, size).astype(dtype)
    metres = {"units": "m"}
    coords = {
        "y": ("y", 5e6 - 30.0 * np.arange(size), metres),
        "x": ("x", 5e5 + 30.0 * np.arange(size), metres),
    }
    apart = np.array((high - low) / 100, dtype)
    return xr.Dataset({name: (("y", "x"), ramp + i * apart) for i, name in enumerate(names)}, coords, attrs)


def refuse(*_, **__):
    raise AssertionError("computed")


LACKING = {
    "names of Sentinel-2": (cube(SENTINEL), {"sensor", "level", "offset"}),
    "Sentinel-2, nothing else": (cube(SENTINEL, platform="sentinel-2a"), {"level", "offset"}),
    "Sentinel-2 L2A": (cube(SENTINEL, platform="sentinel-2a", collection="sentinel-2-l2a"), {"offset"}),
    "Landsat": (cube(ROLES, 9000, 30000, platform="landsat-8"), {"level"}),
    "common names": (cube(), {"level", "scale", "offset"}),
    "8-bit": (cube(low=10, high=200, dtype="uint8"), {"level", "scale"}),
    "floats": (cube(low=0.02, high=0.4, dtype="float32"), {"level"}),
    "two levels": (cube(low=0.02, high=0.4, dtype="float32", product_id="L1C", title="L2A"), {"level"}),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", LACKING)
def test_everything_that_is_missing_is_one_error_that_works_as_typed(name, lazy):
    given, missing = LACKING[name]
    given = given.chunk(y=32) if lazy else given
    with dask.config.set(scheduler=refuse), pytest.raises(CloudMaskError) as error:
        predict(given)
    assert set(error.value.keywords) == missing
    line = error.value.remedy.splitlines()[0]
    assert line == ", ".join(f"{key}={value!r}" for key, value in error.value.keywords.items())
    typed = eval(f"dict({line})")
    assert (predict(given, **typed).compute()["cloud_mask"].attrs["model"]) == "csmask"
    found = describe(given)
    assert str(found.missing) == str(error.value)
    assert found.keywords == error.value.keywords
    assert describe(given, **found.keywords).missing is None


def test_the_answer_names_the_model_that_needs_less():
    with pytest.raises(CloudMaskError, match="model='universal', which needs no more than the cube tells"):
        predict(cube(low=0.02, high=0.4, dtype="float32"))
    with pytest.raises(CloudMaskError) as error:
        predict(cube())
    assert "universal" not in error.value.remedy  # it needs a scale, too


def test_what_no_keyword_settles_is_said_as_well():
    with pytest.raises(CloudMaskError, match="none of which is known"):
        predict(cube([f"layer {i}" for i in range(4)]))
    with pytest.raises(CloudMaskError) as error:
        predict(cube([f"layer {i}" for i in range(4)]), descriptors=LAYERS)
    assert set(error.value.keywords) == {"level", "scale", "offset"}


def test_a_described_cube_computes_nothing_and_is_settled_once():
    lazy = cube(SENTINEL, platform="sentinel-2a", collection="sentinel-2-l2a").chunk(y=32)
    lazy = lazy.assign_attrs({"s2:processing_baseline": "05.09"})
    with dask.config.set(scheduler=refuse):
        described = DescribedCube.of(lazy)
        assert described.sensor.id == "sentinel-2"
        assert described.level == "BOA"
        assert described.ground.pixel == pytest.approx((30, 30))
        assert described.suns == (None,)
        assert described.dates is None
        assert described.calibrated() is not described.calibrated()
        assert described.calibrations[0].offset == (-0.1,)
        assert described.ground is described.ground
    assert "spectral" not in described.view.bands


@pytest.mark.parametrize(
    "told",
    [
        Told(),
        Told(sensor="sentinel-2", level="BOA", scale=1e-4, offset=-0.1, nodata=0),
        Told(scale={"a": np.float32(0.5), "b": 2}, nodata=[0, np.int16(-1)]),
        Told(descriptors=LAYERS),
    ],
)
def test_what_was_told_survives_as_text(told):
    again = Told.of({"told": told.text()})
    assert again.text() == told.text()
    assert bool(again) == bool(told)
    if told.descriptors:
        assert again.descriptors == told.descriptors


FOREIGN = ("", "nonsense", "[]", "3", '{"descriptors": 3}', '{"descriptors": [{"a": 1}]}', None, 7)


@pytest.mark.parametrize("text", FOREIGN)
def test_an_attribute_of_somebody_else_tells_nothing(text):
    assert Told.of({"told": text}) == Told()


def test_what_predict_was_told_travels_with_the_mask(tmp_path):
    dates = [np.datetime64(f"2024-0{month}-01", "ns") for month in range(1, 8)]
    bare = xr.concat([cube() for _ in dates], "time").assign_coords(time=dates)
    said = {"level": "BOA", "scale": 1e-4, "offset": 0.0, "nodata": 0}
    out = predict(bare, **said)
    assert json.loads(out["cloud_mask"].attrs["told"]) == said
    out.drop_attrs(deep=False).to_netcdf(tmp_path / "mask.nc")
    with xr.open_dataset(tmp_path / "mask.nc") as stored:
        for mask in (out, stored):
            refined = bare.cloudmask.refine(mask)
            assert refined["cloud_mask"].attrs["told"] == out["cloud_mask"].attrs["told"]
            bare.cloudmask.plot(mask)
    foreign = out["cloud_mask"].drop_attrs().assign_attrs(scheme="cloudsen12")
    with pytest.raises(ReflectanceError):
        bare.cloudmask.refine(foreign)
    xr.testing.assert_equal(bare.cloudmask.refine(foreign, **said)["cloud_mask"], refined["cloud_mask"])
    assert len(bare.cloudmask.plot(foreign, **said).axes) >= 2


def test_estimate_says_what_it_took():
    with pytest.warns(UserWarning, match=r"scale=0\.0001 is estimated: bright pixels reach"):
        out = predict(cube(), level="BOA", scale="estimate")
    assert out["cloud_mask"].attrs["reflectance_provenance"].startswith("scale estimated: bright pixels reach")
    assert set(json.loads(out["cloud_mask"].attrs["told"])["scale"].values()) == {1e-4}


@pytest.mark.filterwarnings("ignore:scale=:UserWarning")
@pytest.mark.parametrize(
    ("low", "high", "dtype", "scale"),
    [
        (0.01, 0.6, "float32", 1.0),
        (1, 60, "float32", 0.01),
        (10, 250, "uint8", 1 / 255),
        (50, 900, "uint16", 1 / 1023),
        (50, 1900, "uint16", 1 / 2047),
        (200, 9000, "int16", 1e-4),
        (2000, 60000, "uint16", 1 / 65535),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_estimated_scales(low, high, dtype, scale, lazy):
    given = cube(low=low, high=high, dtype=dtype)
    described = DescribedCube.of(given.chunk(y=20) if lazy else given, Told(scale="estimate"))
    assert [rule.scale for rule in described.calibrations] == [(pytest.approx(scale),)] * 4


def test_display_takes_white_for_bright():
    rgb = cube(("red", "green", "blue"), low=10, high=250, dtype="uint8")
    out = predict(rgb, scale="display")
    assert "display: 255 taken for" in out["cloud_mask"].attrs["reflectance_provenance"]
    assert float(out["dropped_fraction"]) == 0
    with pytest.raises(ReflectanceError, match="one of \\['display', 'estimate'\\]"):
        predict(rgb, scale="visual")


def test_a_description_shows_itself():
    given = cube(SENTINEL, platform="sentinel-2a").assign(SCL=(("y", "x"), np.zeros((64, 64), "uint8")))
    found = given.cloudmask.describe()
    text = str(found)
    for shown in ("B02: blue, 446–542 nm", "left out: SCL", "Sentinel-2", "64 × 64, of 30 m", "missing", "level="):
        assert shown in text
    assert repr(given.cloudmask) == text
    page = given.cloudmask._repr_html_()
    assert page.startswith("<table>")
    assert "&#x27;BOA&#x27;" in page
    known = predict(cube(low=0.02, high=0.4, dtype="float32"), level="TOA")
    assert "csmask 4b_l1c" in repr(known["cloud_mask"].cloudmask)
    assert repr(known.cloudmask) == repr(known["cloud_mask"].cloudmask)
    assert "dimensions 'a'" in repr(xr.DataArray([1], dims="a").cloudmask)


def test_many_bands_are_not_all_listed():
    many = xr.concat([cube(["nir"]).nir for _ in range(200)], "wavelength")
    many = many.assign_coords(wavelength=("wavelength", np.linspace(400, 2400, 200), {"units": "nm"}))
    assert "and 188 more" in str(many.cloudmask.describe())
    assert "more" not in str(many[:13].cloudmask.describe()).split("sensor")[0]


def test_the_shell_describes_files(tmp_path, capsys):
    cube(SENTINEL, platform="sentinel-2a").to_netcdf(tmp_path / "cube.nc")
    assert main(["describe", str(tmp_path / "cube.nc")]) == 1
    said = capsys.readouterr().out
    assert "--level BOA --offset -0.1" in said
    assert main(["describe", str(tmp_path / "cube.nc"), "--level", "BOA", "--offset", "-0.1"]) == 0
    assert "csmask 4b_l2a" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr"])
def test_a_mask_describes_itself(suffix, tmp_path, capsys):
    mask = predict(cube(low=0.02, high=0.4, dtype="float32"), level="TOA")
    path = tmp_path / f"mask{suffix}"
    export.to_file(mask, path)
    assert main(["describe", str(path)]) == 0
    said = capsys.readouterr().out
    for found in (said, str(mask.cloudmask.describe()), str(describe(mask["cloud_mask"]))):
        assert found.startswith("cloud mask")
        assert "csmask 4b_l1c" in found
        assert "clear thick_cloud thin_cloud cloud_shadow no_data" in found
    assert (describe(mask).missing, describe(mask).keywords) == (None, {})


def test_describe_is_public():
    assert xr_cloudmask.describe is describe
