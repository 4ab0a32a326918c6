"""Digital numbers become reflectance exactly once, whoever loaded them, or an error says what to pass."""

from __future__ import annotations

import math
import pickle
from typing import Any, NamedTuple

import dask
import dask.array as da
import loaders
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.calibration import Calibration
from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.nodata import declared_nodata
from xr_cloudmask.cube.reflectance import measured, to_reflectance, to_units
from xr_cloudmask.errors import BandError, CubeError, ReflectanceError

# stackstac's and rioxarray's readers multiply affine transforms the old way while dask computes.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

NAN = math.nan


def sentinel(values: Any = 3000, dtype: str = "uint16", dates: int = 1, chunks: Any = None, **attrs: Any) -> xr.Dataset:
    data = np.full((dates, 4, 4), values, dtype)
    bands = {name: (("time", "y", "x"), data.copy()) for name in ("B02_10m", "B04_10m")}
    cube = xr.Dataset(bands, attrs={"platform": "Sentinel-2A", "processing:level": "L2A"} | attrs)
    return cube if chunks is None else cube.chunk(chunks)


class Radiometry(NamedTuple):
    """What is settled of the reflectance bands of a cube."""

    level: str | None
    calibrations: tuple[Calibration, ...]
    provenance: str


def radiometry(cube: layout.Cube, **options: Any) -> Radiometry:
    described = DescribedCube.of(cube, Told(**options))
    used = [d for d in described.descriptors if d.kind == "reflectance"]
    return Radiometry(described.level, tuple(described.calibrated(used).values()), described.provenance_of(used))


def apply(dn: np.ndarray, scale: float, offset: float, nodata: tuple[float, ...]) -> np.ndarray:
    return to_units(dn, Calibration((scale,), (offset,), nodata), 0)


def ramp(low: float, high: float, dtype: str = "float64", shape: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.linspace(low, high, math.prod(shape)).reshape(shape).astype(dtype)


def first(cube: layout.Cube) -> np.ndarray:
    """Centre pixel of the first band, per date."""
    values = next(iter(layout.view(cube).bands.values())).values
    return np.atleast_1d(values[..., 2, 2])


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("computed")


# --- the kernel


@given(
    st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
    st.sampled_from([1e-4, 2.75e-5, 0.01]),
    st.sampled_from([0.0, -0.1, -0.2]),
    st.lists(st.sampled_from([0.0, 105.0, -9999.0, NAN]), max_size=2).map(tuple),
)
def test_kernel_is_the_formula(dtype, scale, offset, nodata):
    dn = np.arange(60).reshape(3, 4, 5).astype(dtype) + np.dtype(dtype).type(100)
    dn[0, 0, 0] = 0
    result = apply(dn, scale, offset, nodata)
    expected = dn.astype("float64") * scale + offset
    for value in nodata:
        expected[dn == value] = np.nan
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_kernel_never_changes_its_input_and_drops_infinities():
    dn = np.array([np.nan, np.inf, 0.5, -np.inf], "float32")
    kept = dn.copy()
    np.testing.assert_array_equal(apply(dn, 1.0, 0.0, ()), np.array([NAN, NAN, 0.5, NAN], "float32"))
    np.testing.assert_array_equal(dn, kept)
    assert apply(np.zeros((0, 3), "float32"), 1.0, 0.0, ()).shape == (0, 3)


def test_kernel_agrees_with_xarray():
    raw = xr.Dataset({"b": ("x", np.array([0, 1000, 2000, 30000], "uint16"))})
    raw.b.attrs = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": np.uint16(0)}
    decoded = xr.decode_cf(raw).b.values
    np.testing.assert_allclose(apply(raw.b.values, 1e-4, -0.1, (0,)), decoded, atol=1e-6)


def test_numbers_taken_for_reflectance_and_the_reverse_are_refused():
    one, small = Calibration((1.0,), (0.0,)), Calibration((1e-4,), (0.0,))
    with pytest.raises(ReflectanceError, match="floating-point values that are above 2 in most pixels"):
        measured([ramp(1000, 4000)], [one], 0)
    with pytest.raises(ReflectanceError, match="fractions from 0 to 1 where digital numbers were expected"):
        measured([ramp(0.1, 0.4)], [small], 0)
    assert measured([np.array([[1.0]])], [small], 0)[0][0, 0] == pytest.approx(1e-4)  # a dark pixel is whole
    assert np.isnan(apply(np.full((2, 2), -9999.0), 1.0, 0.0, (-9999.0,))).all()


@pytest.mark.parametrize("number", [9.969209968386869e36, 1e30, -1e30, -9999, 65535, 255])
def test_what_is_beyond_reflectance_is_marked_and_dropped(number):
    values = np.full((8, 8), 0.3, "float32")
    values[2, 3] = number
    assert np.isinf(apply(values, 1.0, 0.0, ())[2, 3])
    (found,) = measured([values], [Calibration((1.0,), (0.0,))], 0)
    assert np.isnan(found[2, 3])
    assert np.isnan(found).sum() == 1


def test_saturated_integers_stay_data_unless_all_bands_are():
    rule = Calibration((1e-4,), (0.0,))
    one, other = ramp(1000, 4000, "uint16"), ramp(1000, 4000, "uint16")
    one[:2] = 65535
    other[:1] = 65535
    found = measured([one, other], [rule, rule], 0)
    assert np.isnan(found[0][0]).all()
    np.testing.assert_allclose(found[0][1], 3.0)
    image = np.full((4, 4), 255, "uint8")  # white, of an 8-bit image
    np.testing.assert_allclose(measured([image, image], [Calibration((1 / 255,), (0.0,))] * 2, 0), 1.0, rtol=1e-6)


def test_low_sun_stretches_what_can_be_measured():
    rule = Calibration((4e-4,), (-0.4,), stretch=(4.0,))
    np.testing.assert_allclose(apply(np.array([26000], "uint16"), *(*rule.linear(0), ())), np.inf)
    np.testing.assert_allclose(to_units(np.array([26000], "uint16"), rule, 0), 10.0)


# --- every loader


def test_odc_stac_has_no_item_properties(tmp_path):
    cube = loaders.odc_stac(tmp_path)
    cube = cube + np.arange(cube.sizes["x"], dtype="float32")  # a scene has more than one value
    with pytest.raises(ReflectanceError, match="above 2 in most pixels") as error:
        to_reflectance(cube).compute(scheduler="sync")
    assert "xr_cloudmask.stac.attach(cube, items)" in error.value.remedy
    integers = loaders.odc_stac(tmp_path, dtype="uint16", nodata=0)
    with pytest.raises(ReflectanceError, match="unknown processing baseline"):
        radiometry(integers)
    np.testing.assert_allclose(first(to_reflectance(integers, offset=-0.1)), [0.2, 0.2], atol=1e-6)


def test_planetary_computer_through_stackstac(tmp_path):
    cube = loaders.stackstac_planetary_computer(tmp_path)
    found = radiometry(cube)
    assert found.level == "BOA"
    assert found.calibrations[0] == Calibration((1e-4,), (0.0, -0.1), (0.0,))
    assert found.provenance == (
        "sentinel-2 table: DN * 0.0001, offset 0 on 1 dates and -0.1 on 1 dates (processing baseline 03.01, 05.09)"
    )
    np.testing.assert_allclose(first(to_reflectance(cube)), [0.3, 0.2], atol=1e-6)


def test_cubo(tmp_path, monkeypatch):
    cube = loaders.cubo(tmp_path, monkeypatch)
    np.testing.assert_allclose(first(to_reflectance(cube)), [0.3, 0.2], atol=1e-6)


def test_stackstac_rescales_and_we_do_not_again(tmp_path):
    cube = loaders.stackstac_earth_search(tmp_path, applied=False)
    found = to_reflectance(cube)
    np.testing.assert_allclose(first(found), first(cube), atol=1e-6)
    assert found.attrs["reflectance_provenance"] == "STAC: applied by the loader, offset -0.1 (declared)"


def test_earth_search_offset_that_stackstac_added_twice_is_taken_back(tmp_path):
    cube = loaders.stackstac_earth_search(tmp_path, applied=True)
    found = to_reflectance(cube)
    np.testing.assert_allclose(first(found), [0.3, 0.3], atol=1e-6)
    assert found.attrs["reflectance_provenance"] == (
        "STAC: applied by the loader, offset 0 (offset applied by the provider), "
        "0.1 added to what the loader made of it"
    )


@pytest.mark.parametrize(("applied", "expected"), [(True, 0.3), (False, 0.2)])
def test_stackstac_integers(tmp_path, applied, expected):
    found = to_reflectance(loaders.stackstac_integers(tmp_path, applied))
    np.testing.assert_allclose(first(found), expected, atol=1e-6)
    assert np.isnan(found.values[:, :, 0, 0][:, :6]).all()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.sel(band="scl").values[:, 2, 2], 4)  # the quality band keeps its codes


def test_stackstac_with_rescale_off_is_caught_when_computed(tmp_path):
    cube = loaders._stack(loaders.earth_search_items(tmp_path, applied=False), rescale=False)
    cube = cube + np.arange(cube.sizes["x"])  # a scene has more than one value
    for found in (cube, cube.compute()):
        with pytest.raises(ReflectanceError, match="above 2 in most pixels where reflectance was expected"):
            to_reflectance(found).compute(scheduler="sync")


def test_stackstac_with_raster_bands_that_differ(tmp_path):
    cube = loaders.stackstac_earth_search(tmp_path).drop_vars("raster:bands")
    with pytest.raises(ReflectanceError, match="different raster:bands") as error:
        to_reflectance(cube)
    advice = "stackstac.stack(items, rescale=False, dtype='uint16', fill_value=numpy.uint16(0))"
    assert error.value.remedy.startswith(advice)


def test_brazil_data_cube(tmp_path):
    cube = loaders.stackstac_bdc(tmp_path)
    with pytest.raises(ReflectanceError, match="unknown processing level"):
        to_reflectance(cube)
    np.testing.assert_allclose(first(to_reflectance(cube, level="BOA")), 0.3, atol=1e-6)
    collection = cube.assign_attrs(collection="AMZ1-WFI-L4-SR-1")
    np.testing.assert_allclose(first(to_reflectance(collection)), 0.3, atol=1e-6)
    assert radiometry(collection).level == "BOA"


@pytest.mark.parametrize("options", [{}, {"masked": True}, {"mask_and_scale": True}, {"chunks": {}}])
def test_rioxarray(tmp_path, options):
    cube = loaders.rioxarray(tmp_path, **options)
    found = to_reflectance(cube)
    np.testing.assert_allclose(found.values[:, 2, 2], 0.2, atol=1e-6)
    assert np.isnan(found.values[:, 0, 0]).all()
    assert found.dtype == np.float32
    assert found.rio.crs == cube.rio.crs
    assert found.attrs["long_name"] == cube.attrs["long_name"]
    assert not {"scale_factor", "add_offset", "_FillValue"} & set(found.attrs)


def test_rioxarray_of_an_unknown_sensor_needs_a_scale(tmp_path):
    cube = loaders.rioxarray(tmp_path, scaled=False)
    with pytest.raises(ReflectanceError) as error:
        to_reflectance(cube)
    assert error.value.found == "band 'blue' of dtype uint16 whose metadata name neither scale nor sensor"
    assert "scale=0.0001" in error.value.remedy
    np.testing.assert_allclose(to_reflectance(cube, scale=1e-4).values[:, 2, 2], 0.3, atol=1e-6)


def test_satpy_percent():
    cube = loaders.satpy()
    found = to_reflectance(cube)
    assert radiometry(cube).level == "TOA"
    assert found.B02.attrs["reflectance_provenance"] == "units '%'"
    assert found.B02.attrs["units"] == "1"
    np.testing.assert_allclose(first(found), 0.2, atol=1e-6)
    radiance = loaders.satpy()
    radiance.B03.attrs |= {"calibration": "radiance", "units": "W m-2 um-1 sr-1"}
    with pytest.raises(ReflectanceError, match="in units of radiance"):
        to_reflectance(radiance)


@pytest.mark.parametrize(("baseline", "offset"), [("03.01", None), ("05.09", -1000)])
def test_agrees_with_satpy(baseline, offset):
    from xml.etree import ElementTree

    pytest.importorskip("satpy")
    from satpy.readers.msi_safe import SAFEMSIMDXML

    offsets = (
        "" if offset is None else f"<Radiometric_Offset_List><O band_id='0'>{offset}</O></Radiometric_Offset_List>"
    )
    special = "".join(
        f"<Special_Values><T>{name}</T><I>{value}</I></Special_Values>"
        for name, value in (("NODATA", 0), ("SATURATED", 65535))
    )
    spectral = "<Spectral_Information bandId='0' physicalBand='B2'/>"
    reader = SAFEMSIMDXML.__new__(SAFEMSIMDXML)
    reader.process_level, reader.mask_saturated = "L1C", True
    text = f"<P><QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>{offsets}{special}{spectral}</P>"
    reader.root = ElementTree.ElementTree(ElementTree.fromstring(text))
    dn = xr.DataArray(np.array([[0, 1, 999, 1000], [2000, 9000, 20000, 65535]], "uint16"), dims=("y", "x"))
    percent = reader.calibrate_to_reflectances(dn, "B02")
    attrs = {"platform": "S2A", "processing:level": "L1C", "s2:processing_baseline": baseline}
    ours = to_reflectance(xr.Dataset({"B02": dn}, attrs=attrs)).B02
    theirs = percent.where(np.isfinite(percent)) / 100
    np.testing.assert_allclose(ours.where(dn != 65535), theirs, atol=1e-6)


def test_eopf_is_decoded_by_xarray(tmp_path):
    cube = loaders.eopf(tmp_path)
    found = to_reflectance(cube)
    np.testing.assert_allclose(first(found), 0.2, atol=1e-6)
    assert radiometry(cube).level == "BOA"
    raw = xr.open_zarr(tmp_path / "eopf.zarr", consolidated=False, mask_and_scale=False)
    np.testing.assert_allclose(first(to_reflectance(raw)), 0.2, atol=1e-6)


# --- Sentinel-2: the offset


@pytest.mark.parametrize(
    ("attrs", "offset"),
    [
        ({"s2:processing_baseline": "03.01"}, 0.0),
        ({"s2:processing_baseline": "04.00"}, -0.1),
        ({"processing_baseline": 5.11}, -0.1),
        ({"id": "S2A_MSIL2A_20170105T013442_N0204_R031_T53NMJ_20170105T013443"}, 0.0),
        ({"s2:product_uri": "S2B_MSIL2A_20230910T100559_N0509_R022_T33UUP_20230910T150532.SAFE"}, -0.1),
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, 0.0),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.09"}, -0.1),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "02.08"}, 0.0),
        ({"collection": "COPERNICUS/S2_SR_HARMONIZED"}, 0.0),
        ({"BOA_ADD_OFFSET": -1000}, -0.1),
        ({"stac_discovery": {"properties": {"s2:processing_baseline": "05.10"}}}, -0.1),
    ],
)
def test_sentinel_2_offset(attrs, offset):
    for cube in (sentinel(**attrs), sentinel(chunks=2, **attrs)):
        assert radiometry(cube).calibrations == (Calibration((1e-4,), (offset,), (0.0,)),) * 2
        np.testing.assert_allclose(first(to_reflectance(cube)), 0.3 + offset, atol=1e-6)


def test_sentinel_2_offset_that_nothing_settles():
    with pytest.raises(ReflectanceError) as error:
        to_reflectance(sentinel())
    assert error.value.found == "sentinel-2 digital numbers of an unknown processing baseline"
    assert "'s2:processing_baseline'" in error.value.expected
    otherwise = "else offset=0 before baseline 04.00 and for harmonised collections, offset=-0.1 otherwise"
    assert error.value.remedy.endswith(otherwise)
    assert error.value.keywords == {"offset": -0.1}
    for offset in (0, -0.1):
        np.testing.assert_allclose(first(to_reflectance(sentinel(), offset=offset)), 0.3 + offset, atol=1e-6)


def test_sentinel_2_declared_scale_without_offset_still_needs_the_baseline():
    cube = sentinel()
    for name in cube:
        cube[name].attrs["raster:bands"] = [{"scale": 1e-4}]
    with pytest.raises(ReflectanceError, match="unknown processing baseline"):
        to_reflectance(cube)
    dated = cube.assign_attrs({"s2:processing_baseline": "05.09"})
    np.testing.assert_allclose(first(to_reflectance(dated)), 0.2, atol=1e-6)


def test_metadata_that_contradict_each_other():
    cube = sentinel(**{"s2:processing_baseline": "03.01"})
    for name in cube:
        cube[name].attrs["raster:bands"] = [{"scale": 1e-4, "offset": -0.1}]
    with pytest.raises(ReflectanceError) as error:
        to_reflectance(cube)
    assert error.value.found == "STAC with offset -0.1, but processing baseline 03.01, which has none"
    assert error.value.remedy == "offset=-0.1, offset=0, or cube.drop_vars('raster:bands') to go by the baselines"


@given(st.lists(st.sampled_from(["02.14", "03.01", "04.00", "05.09", "05.11"]), min_size=1, max_size=6), st.booleans())
def test_offset_follows_the_baseline_of_every_date(baselines, lazy):
    cube = sentinel(dates=len(baselines)).assign_coords({"s2:processing_baseline": ("time", baselines)})
    expected = [0.2 if baseline >= "04.00" else 0.3 for baseline in baselines]
    found = to_reflectance(cube.chunk({"time": 2, "x": 3}) if lazy else cube)
    np.testing.assert_allclose(first(found), expected, atol=1e-6)
    flipped = to_reflectance(cube.transpose("y", "x", "time"))
    assert flipped.B02_10m.dims == ("y", "x", "time")
    np.testing.assert_allclose(first(flipped), expected, atol=1e-6)


# --- other sensors


def landsat(
    names: tuple[str, ...] = ("B4",), dates: int = 1, dtype: str = "uint16", value: float = 20_000, **attrs: Any
):
    data = np.full((dates, 4, 4), value, dtype)
    bands = dict.fromkeys(names, (("time", "y", "x"), data))
    return xr.Dataset(bands, attrs={"platform": "LANDSAT_8"} | attrs)


def test_landsat_level_2():
    for cube in (landsat(("SR_B4",)), landsat(id="LC08_L2SP_195025_20230910_20230918_02_T1")):
        found = radiometry(cube)
        assert found.level == "BOA"
        assert found.calibrations == (Calibration((2.75e-5,), (-0.2,), (0.0,)),)
        assert found.provenance == "landsat-8-9 table: DN * 2.75e-05, offset -0.2 (constant)"
        np.testing.assert_allclose(first(to_reflectance(cube)), 0.35, atol=1e-6)


@pytest.mark.parametrize("name", ["view:sun_elevation", "SUN_ELEVATION"])
def test_landsat_level_1_is_divided_by_the_sine_of_the_sun_elevation(name):
    cube = landsat(dates=2, id="LC08_L1TP_195025_20230910_20230918_02_T1")
    found = to_reflectance(cube.assign_coords({name: ("time", [30.0, 90.0])}))
    np.testing.assert_allclose(first(found), [0.6, 0.3], atol=1e-6)
    assert found.attrs["level"] == "TOA"
    assert found.attrs["reflectance_provenance"].endswith("over the sine of the sun elevation)")
    np.testing.assert_allclose(first(to_reflectance(cube.assign_attrs({name: 30.0}))), [0.6, 0.6], atol=1e-6)


def test_landsat_level_1_without_or_with_an_impossible_sun():
    cube = landsat(id="LC08_L1TP_195025_20230910_20230918_02_T1")
    with pytest.raises(ReflectanceError, match="no sun elevation") as error:
        to_reflectance(cube)
    assert "cube.assign_coords({'view:sun_elevation': ('time', [42.0, ...])})" in error.value.remedy
    with pytest.raises(ReflectanceError, match="sun elevations"):
        to_reflectance(cube.assign_attrs({"view:sun_elevation": -3.0}))


def test_landsat_of_unknown_level():
    with pytest.raises(ReflectanceError) as error:
        to_reflectance(landsat())
    assert error.value.found == "landsat-8-9 digital numbers of an unknown processing level"
    assert "level='BOA'" in error.value.remedy
    np.testing.assert_allclose(first(to_reflectance(landsat(), level="BOA")), 0.35, atol=1e-6)


def test_landsat_through_raster_bands():
    cube = landsat(("SR_B4",))
    cube["SR_B4"].attrs["raster:bands"] = [{"scale": 2.75e-5, "offset": -0.2, "nodata": 0}]
    assert radiometry(cube).provenance == "STAC: DN * 2.75e-05, offset -0.2 (constant)"


def test_thermal_and_other_variables_stay_as_they_are():
    cube = landsat(("SR_B4", "ST_B10")).assign(QA_PIXEL=(("y", "x"), np.ones((4, 4), "uint16")))
    found = to_reflectance(cube)
    for name in ("ST_B10", "QA_PIXEL"):
        xr.testing.assert_identical(found[name], cube[name])
    assert found.SR_B4.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "attrs", "nodata"),
    [
        ("B04", {"collection": "hls2-s30"}, -9999.0),
        ("sur_refl_b01", {"platform": "Terra"}, -28672.0),
        ("red", {"platform": "PlanetScope", "collection": "ortho_analytic_4b_sr"}, 0.0),
        ("BAND15", {"collection": "CB4A-WFI-L4-SR-1", "platform": "CBERS-4A", "instruments": ["WFI"]}, -9999.0),
        ("BAND15", {"collection": "CB4-WFI-L4-SR-1"}, -9999.0),
    ],
)
def test_surface_reflectance_products(name, attrs, nodata):
    cube = xr.Dataset({name: (("y", "x"), np.full((4, 4), 3000, "int16"))}, attrs=attrs)
    found = radiometry(cube)
    assert found.calibrations == (Calibration((1e-4,), (0.0,), (nodata,)),)
    assert found.level == "BOA"


@pytest.mark.parametrize(
    ("name", "attrs", "missing"),
    [
        ("red", {"platform": "PSB.SD", "collection": "ortho_analytic_8b"}, "reflectanceCoefficient"),
        ("red", {"platform": "PlanetScope", "collection": "ortho_analytic_4b"}, "reflectanceCoefficient"),
    ],
)
def test_digital_numbers_that_need_the_products_xml(name, attrs, missing):
    cube = xr.Dataset({name: (("y", "x"), np.full((4, 4), 300, "uint16"))}, attrs=attrs)
    with pytest.raises(ReflectanceError, match=missing) as error:
        to_reflectance(cube)
    assert error.value.remedy.startswith("scale={")
    np.testing.assert_allclose(first(to_reflectance(cube, scale={name: 1e-3}, level="TOA")), 0.3, atol=1e-6)


# --- floats


def plain(values: float, names: tuple[str, ...] = ("blue", "red"), chunks: Any = None, **attrs: Any) -> xr.Dataset:
    cube = xr.Dataset({name: (("y", "x"), np.full((4, 4), values), attrs) for name in names})
    return cube if chunks is None else cube.chunk(chunks)


def test_floats_from_0_to_1_are_reflectance():
    for cube in (plain(0.3), plain(0.3, chunks=2)):
        found = radiometry(cube)
        assert found.calibrations[0] == Calibration((1.0,), (0.0,))
        assert found.provenance == "floating-point values taken as reflectance"
        assert found.level is None


def test_floats_that_are_digital_numbers():
    cube = xr.Dataset({name: (("y", "x"), ramp(1000, 4000)) for name in ("blue", "red")})
    for lazy in (cube, cube.chunk(4)):
        with pytest.raises(ReflectanceError, match="above 2 in most pixels where reflectance was expected"):
            to_reflectance(lazy).compute(scheduler="sync")
    np.testing.assert_allclose(to_reflectance(cube, scale=1e-4).blue, cube.blue * 1e-4, atol=1e-6)


@pytest.mark.parametrize("chunks", [None, 2])
def test_floats_of_a_known_sensor_are_reflectance(chunks):
    np.testing.assert_allclose(first(to_reflectance(sentinel(0.3, "float64", chunks=chunks))), 0.3, atol=1e-6)
    with pytest.raises(ReflectanceError, match="above 2 in most pixels"):
        to_reflectance(sentinel(ramp(1000, 4000, shape=(4, 4)), "float64", chunks=chunks and 4)).load(scheduler="sync")
    for said in ({"scale": 1}, {"level": "BOA"}):
        found = to_reflectance(sentinel(0.3, "float64", chunks=chunks).drop_attrs(), sensor="sentinel-2", **said)
        np.testing.assert_allclose(first(found), 0.3, atol=1e-6)


def test_integers_that_a_loader_masked_are_still_digital_numbers():
    cube = sentinel(3000, "float32", chunks=2, **{"s2:processing_baseline": "05.09"})
    for name in cube:
        cube[name].encoding["dtype"] = np.dtype("uint16")
    np.testing.assert_allclose(first(to_reflectance(cube)), 0.2, atol=1e-6)


@pytest.mark.parametrize(("units", "value", "expected"), [("%", 20.0, 0.2), ("percent", 20.0, 0.2), ("1", 0.3, 0.3)])
def test_units(units, value, expected):
    np.testing.assert_allclose(first(to_reflectance(plain(value, units=units))), expected, atol=1e-6)


# --- priority, no data, level


def test_caller_wins_over_everything():
    cube = sentinel(**{"s2:processing_baseline": "05.09"})
    found = radiometry(cube, scale=2e-4, offset=0.05)
    assert found.calibrations[0] == Calibration((2e-4,), (0.05,), (0.0,))
    assert found.provenance == "scale and offset given by the caller"
    mapped = radiometry(cube, scale={"B02_10m": 1e-4, "B04_10m": 2e-4}, offset=0)
    assert [c.scale for c in mapped.calibrations] == [(1e-4,), (2e-4,)]
    with pytest.raises(ReflectanceError, match="no number for band 'B04_10m'"):
        radiometry(cube, scale={"B02_10m": 1e-4}, offset=0)


def test_one_of_scale_and_offset_leaves_the_other_to_the_metadata():
    assert radiometry(sentinel(), offset=0).calibrations[0] == Calibration((1e-4,), (0.0,), (0.0,))
    dated = sentinel(**{"s2:processing_baseline": "05.09"})
    assert radiometry(dated, scale=2e-4).calibrations[0] == Calibration((2e-4,), (-0.1,), (0.0,))
    assert radiometry(dated.astype("float32") / 1e5, scale=1).calibrations[0] == Calibration((1.0,), (0.0,), (-0.1,))


def test_sources_that_differ_between_bands_are_all_named():
    cube = plain(20.0)
    cube.blue.attrs["units"] = "%"
    cube["red"] = cube.red / 100
    assert radiometry(cube).provenance == "blue: units '%'; red: floating-point values taken as reflectance"


@pytest.mark.parametrize("key", ["_FillValue", "missing_value", "nodata"])
def test_no_data_of_the_band_wins_over_the_table(key):
    cube = sentinel(**{"s2:processing_baseline": "05.09"})
    for name in cube:
        cube[name].attrs[key] = 3000
    assert radiometry(cube).calibrations[0].nodata == (3000,)
    assert np.isnan(to_reflectance(cube).B02_10m.values).all()
    assert radiometry(cube, nodata=7).calibrations[0].nodata == (7, 3000)
    assert declared_nodata(cube.B02_10m) == (3000,)


def test_no_data_of_floats_is_only_what_attributes_say():
    assert radiometry(plain(0.3)).calibrations[0].nodata == ()
    assert radiometry(plain(0.3, _FillValue=-9999.0)).calibrations[0].nodata == (-9999,)
    assert radiometry(plain(0.3, _FillValue=NAN)).calibrations[0].nodata == ()


@pytest.mark.parametrize(
    ("attrs", "level"),
    [
        ({"processing:level": "L2A"}, "BOA"),
        ({"processing:level": "L1C"}, "TOA"),
        ({"processing:level": None, "collection": "sentinel-2-l2a"}, "BOA"),
        ({"processing:level": None, "collection": "COPERNICUS/S2_HARMONIZED"}, "TOA"),
        ({"processing:level": None, "s2:product_type": "S2MSI2A"}, "BOA"),
        ({"processing:level": None, "id": "S2A_MSIL1C_20230910T100031_N0509_R122_T33TVL_20230910T150000"}, "TOA"),
        ({"processing:level": None}, None),
    ],
)
def test_level_of_sentinel_2(attrs, level):
    assert DescribedCube.of(sentinel(**attrs)).level == level
    assert DescribedCube.of(sentinel(**attrs), Told(level="toa")).level == "TOA"


def test_level_of_cf_standard_names():
    for name, level in (("toa_bidirectional_reflectance", "TOA"), ("surface_bidirectional_reflectance", "BOA")):
        assert radiometry(plain(0.3, standard_name=name)).level == level


def test_level_that_is_none_or_contradictory():
    with pytest.raises(ReflectanceError, match="level 'L2A'") as error:
        radiometry(plain(0.3), level="L2A")
    assert error.value.expected == "one of 'TOA' (L1C, level 1), 'BOA' (L2A, level 2)"
    assert error.value.remedy == "level='BOA'"
    with pytest.raises(ReflectanceError, match="level='TOA'"):
        radiometry(plain(0.3), level="L1C")
    levels = sentinel(dates=2).drop_attrs().assign_coords({"processing:level": ("time", ["L1C", "L2A"])})
    with pytest.raises(ReflectanceError, match="both TOA and BOA"):
        radiometry(levels, sensor="sentinel-2")


@pytest.mark.parametrize("dtype", ["complex64", "bool", "U1"])
def test_values_that_are_no_numbers(dtype):
    cube = xr.Dataset({"red": (("y", "x"), np.zeros((2, 2), dtype))})
    with pytest.raises(CubeError, match="dtype"):
        to_reflectance(cube)


# --- exactly once, lazily, without loss


@given(
    dtype=st.sampled_from(["uint16", "int16", "int32", "float32", "float64"]),
    scale=st.sampled_from([1e-4, 2.75e-5, 2e-4]),
    offset=st.sampled_from([0.0, -0.1, -0.2, 0.05]),
    dates=st.integers(1, 3),
    how=st.sampled_from(["caller", "cf", "stac"]),
    lazy=st.booleans(),
    as_array=st.booleans(),
)
def test_exactly_once(dtype, scale, offset, dates, how, lazy, as_array):
    dn = np.random.default_rng(0).integers(1, 12_000, (dates, 5, 6)).astype(dtype)
    cube: Any = xr.Dataset(dict.fromkeys(("blue", "red"), (("time", "y", "x"), dn)))
    said = {"scale": scale, "offset": offset} if how == "caller" else {}
    if how == "cf":
        for name in cube:
            cube[name].attrs = {"scale_factor": scale, "add_offset": offset}
    if how == "stac":
        for name in cube:
            cube[name].attrs = {"raster:bands": [{"scale": scale, "offset": offset}]}
    if as_array:
        attrs = cube.blue.attrs
        cube = cube.to_array("band").transpose("time", "y", "band", "x").assign_attrs(attrs)
    cube = cube.chunk({"y": 2, "x": 5}) if lazy else cube
    kept = cube.copy(deep=True)
    once = to_reflectance(cube, **said)
    xr.testing.assert_identical(cube, kept)
    np.testing.assert_allclose(layout.view(once).bands["red"].values, dn * scale + offset, atol=2e-6)
    assert to_reflectance(once, **said) is once
    again = radiometry(once)
    assert again.calibrations == (Calibration((1.0,), (0.0,), zero=(offset,)),) * 2
    assert again.provenance == once.attrs["reflectance_provenance"]


def test_mark_survives_indexing_and_files(tmp_path):
    once = to_reflectance(sentinel(**{"s2:processing_baseline": "05.09"}))
    for later in (once.isel(x=slice(2)), once[["B02_10m"]], once.B02_10m, once.to_array("band")):
        assert to_reflectance(later, sensor="sentinel-2") is later
    once.to_netcdf(tmp_path / "once.nc")
    with xr.open_dataset(tmp_path / "once.nc", chunks={}) as opened:
        assert to_reflectance(opened) is opened
        assert radiometry(opened).level == "BOA"


def test_a_raw_band_added_later_is_not_covered_by_the_mark():
    once = to_reflectance(plain(0.3)).assign(green=(("y", "x"), np.full((4, 4), 3000, "uint16")))
    with pytest.raises(ReflectanceError, match="band 'green' of dtype uint16"):
        to_reflectance(once)


def test_everything_else_survives():
    cube = sentinel(dates=2, title="kept", **{"s2:processing_baseline": "05.09"})
    cube = cube.assign_coords(spatial_ref=0, cloud=("time", [0.1, 0.2]), SCL_note=("x", list("abcd")))
    for name in cube:
        cube[name].attrs = {"long_name": name, "scale_factor": 1e-4, "_FillValue": 0}
        cube[name].encoding = {"grid_mapping": "spatial_ref", "dtype": "uint16", "_FillValue": 0}
    found = to_reflectance(cube.transpose("x", "time", "y"))
    assert found.B02_10m.dims == ("x", "time", "y")
    xr.testing.assert_identical(found.coords.to_dataset().drop_attrs(), cube.coords.to_dataset().drop_attrs())
    assert found.attrs["title"] == "kept"
    assert found.B02_10m.encoding == {"grid_mapping": "spatial_ref"}
    assert set(found.B02_10m.attrs) == {
        *("long_name", "units", "level", "reflectance_provenance", "reflectance_of_zero")
    }


def test_lazy_stays_lazy():
    cube = sentinel(dates=3, chunks={"time": 1, "y": 3}).assign_coords(
        {"s2:processing_baseline": ("time", ["03.01", "05.09", "05.09"])}
    )
    with dask.config.set(scheduler=refuse):
        found = to_reflectance(cube)
        as_array = to_reflectance(cube.to_array("band").assign_attrs(cube.attrs))
    assert found.B02_10m.chunks == cube.B02_10m.chunks
    assert found.B02_10m.data._meta.dtype == np.float32
    assert found.B02_10m.data.name == to_reflectance(cube).B02_10m.data.name
    assert isinstance(as_array.data, da.Array)
    np.testing.assert_allclose(first(found), [0.3, 0.2, 0.2], atol=1e-6)


def test_static_band_beside_dated_ones():
    cube = sentinel(dates=2).assign_coords({"s2:processing_baseline": ("time", ["03.01", "05.09"])})
    cube["B04_10m"] = cube.B04_10m.isel(time=0, drop=True)
    np.testing.assert_allclose(to_reflectance(cube).B04_10m.isel(x=0, y=0), [0.3, 0.2], atol=1e-6)


def test_calibration_travels():
    found = radiometry(sentinel(**{"s2:processing_baseline": "05.09"}))
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(radiometry(sentinel(**{"s2:processing_baseline": "05.09"})))


# --- mistakes of scale, fill, and types


@pytest.mark.parametrize("chunks", [None, 2])
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"scale": 1}, "scale 1 for band"),
        ({"scale": 1e4, "offset": 0}, "scale 10000 for band"),
        ({"scale": 0, "offset": 0}, "scale 0 for band"),
        ({"scale": 1e-4, "offset": -1000}, "offset -1000 for band"),
    ],
)
def test_scale_and_offset_that_cannot_be_are_refused_unread(chunks, said, message):
    with dask.config.set(scheduler=refuse), pytest.raises(ReflectanceError, match=message) as error:
        radiometry(sentinel(chunks=chunks), **said)
    if "offset" in message:
        assert error.value.remedy.startswith("offset=-0.1,")


def test_declared_offset_in_digital_numbers_is_refused():
    cube = plain(3000).astype("uint16")
    for name in cube:
        cube[name].attrs["raster:bands"] = [{"scale": 1e-4, "offset": -1000}]
    with pytest.raises(ReflectanceError, match="offset -1000"):
        radiometry(cube)


def test_integers_that_do_not_become_reflectance():
    cube = xr.Dataset({"red": (("y", "x"), ramp(2000, 4000, "uint16"))})
    with pytest.raises(ReflectanceError, match=r"integer values that are above 2 in most pixels.* with scale"):
        to_reflectance(cube, scale=0.01)


@pytest.mark.parametrize(
    ("dtype", "scale", "white"), [("uint8", 1e-4, "0.0255"), ("int8", 1e-3, "0.127"), ("uint8", 2e-5, "0.0051")]
)
def test_a_scale_that_leaves_white_dark_is_refused(dtype, scale, white):
    with pytest.raises(ReflectanceError, match=f"largest number would be reflectance {white}") as error:
        radiometry(plain(30).astype(dtype), scale=scale, offset=0)
    assert "0.0001" not in error.value.remedy


def test_one_pixel_does_not_hide_that_values_are_scaled_already():
    scaled = ramp(0.25, 0.35, shape=(64, 64))
    scaled[0, 0] = 2.7
    with pytest.raises(ReflectanceError, match="fractions from 0 to 1"):
        measured([scaled], [Calibration((1e-4,), (0.0,))], 0)
    water = np.ones((64, 64))  # digital numbers of dark water that a resampling blurred at the shore
    water[:, :4] = 1.5
    assert measured([water], [Calibration((1e-4,), (0.0,))], 0)[0].max() < 0.001


@pytest.mark.parametrize(("dtype", "scale", "value"), [("float32", 1, 0.3), ("int16", 1e-4, 3000)])
@pytest.mark.parametrize("filled", [2, 40, 63])
def test_undeclared_fill_is_no_data(dtype, scale, value, filled):
    cube = xr.Dataset({"red": (("y", "x"), np.full((64, 64), value, dtype))})
    cube.red[:filled] = -9999
    assert np.isnan(to_reflectance(cube, scale=scale).red).sum() == filled * 64
    (calibration,) = radiometry(cube, scale=scale, nodata=-9999).calibrations
    assert calibration.nodata == (-9999,)


@pytest.mark.parametrize("fill", [-0.2, -0.0123, -0.0999])
def test_the_same_number_in_all_bands_that_is_not_light_is_no_data(fill):
    bands = [ramp(0.1, 0.4, "float32"), ramp(0.2, 0.5, "float32")]
    for band in bands:
        band[3:5] = fill
    bands[0][6] = fill  # in one band alone it is dark
    found = measured(bands, [Calibration((1.0,), (0.0,))] * 2, 0)
    for values in found:
        assert np.isnan(values[3:5]).all()
        assert np.isnan(values).sum() == 16


def test_no_data_that_went_through_arithmetic_is_known():
    cube = xr.Dataset({"red": (("y", "x"), ramp(1000, 4000, "int16"), {"nodata": -999})})
    cube.red[:2] = -999
    with xr.set_options(keep_attrs=True):
        scaled = cube / 10000
    assert np.isnan(to_reflectance(scaled).red).sum() == 16
    landsat = xr.Dataset({name: (("y", "x"), ramp(0.1, 0.4)) for name in ("SR_B4", "SR_B5")})
    landsat.SR_B4[0] = 0 * 2.75e-5 - 0.2  # this band ends earlier than the other
    assert np.isnan(to_reflectance(landsat, sensor="landsat-8-9").SR_B4).sum() == 8


@pytest.mark.parametrize(
    ("attrs", "dtype", "expected"),
    [
        ({"valid_range": [0, 10000]}, "int16", 4),
        ({"valid_min": 0, "valid_max": 10000}, "int16", 4),
        ({"valid_min": 0}, "int16", 2),
        ({"valid_range": [0, 10000]}, "float32", 0),  # packed bounds beside reflectance
        ({"valid_range": [0, 1]}, "float32", 4),
    ],
)
def test_valid_range_of_cf(attrs, dtype, expected):
    numbers = np.array([[-500, -1, 5000, 10000, 10001, 12000]], dtype)
    numbers = numbers / np.float32(10000) if dtype == "float32" else numbers
    cube = xr.Dataset({"red": (("y", "x"), numbers, attrs)})
    found = to_reflectance(cube, scale=1e-4 if dtype == "int16" else 1).red
    assert np.isnan(found).sum() == expected


def test_every_declared_no_data_value_counts():
    cube = plain(3000).astype("int16")
    for name in cube:
        cube[name].attrs = {"_FillValue": -9999, "missing_value": np.array([-1, 0], "int16"), "nodata": -9999}
        cube[name][0, :3] = [-9999, -1, 7]
    assert declared_nodata(cube.red) == (-9999, -1, 0)
    for said, expected in ((None, (-9999, -1, 0)), (7, (7, -9999, -1, 0)), ([7, 0], (7, 0, -9999, -1))):
        assert radiometry(cube, scale=1e-4, nodata=said).calibrations[0].nodata == expected
    for lazy in (cube, cube.chunk(2), cube.to_array("band").assign_attrs(cube.red.attrs)):
        found = layout.view(to_reflectance(lazy, scale=1e-4)).bands["red"].values
        np.testing.assert_allclose(found[0], [NAN, NAN, 7e-4, 0.3], atol=1e-6)


def test_what_digital_number_zero_has_become_is_known(tmp_path):
    raw = plain(3000).astype("uint16")
    for name in raw:
        raw[name][0, 0] = 0
        raw[name].attrs = {"scale_factor": 1e-4, "add_offset": -0.1}
    raw.to_netcdf(tmp_path / "packed.nc")
    cube = xr.open_dataset(tmp_path / "packed.nc", chunks={})
    (first_band, _) = radiometry(cube).calibrations
    assert first_band.zero == (-0.1,)
    assert float(cube.blue[0, 0]) == pytest.approx(first_band.zero[0], abs=1e-6)
    once = to_reflectance(cube)
    assert once.red.attrs["reflectance_of_zero"] == -0.1
    once.to_netcdf(tmp_path / "once.nc")
    with xr.open_dataset(tmp_path / "once.nc") as opened:
        assert [c.zero for c in radiometry(opened).calibrations] == [(-0.1,)] * 2
    assert radiometry(raw).calibrations[0].zero == (0.0,)
    assert radiometry(to_reflectance(raw)).calibrations[0].zero == (-0.1,)
    assert radiometry(to_reflectance(raw).to_array("band")).calibrations[0].zero == (-0.1,)


def test_zero_of_rescaled_stackstac(tmp_path):
    cube = loaders.stackstac_earth_search(tmp_path, applied=True)
    assert radiometry(cube).calibrations[0].zero == (-0.1,)
    assert "reflectance_of_zero" not in to_reflectance(cube).attrs  # the offset was taken back


def test_zero_that_differs_between_dates_becomes_no_data():
    cube = sentinel(dates=2).assign_coords({"s2:processing_baseline": ("time", ["03.01", "05.09"])})
    for name in cube:
        cube[name].attrs["nodata"] = 65535
        cube[name][:, 0, 0] = 0
    found = to_reflectance(cube)
    assert "reflectance_of_zero" not in found.attrs
    assert np.isnan(found.B02_10m[:, 0, 0]).all()
    np.testing.assert_allclose(first(found), [0.3, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    "said",
    [
        *({"level": 2}, {"scale": "x"}, {"scale": [1e-4]}, {"scale": NAN}, {"scale": True}, {"scale": {"blue": "x"}}),
        *({"offset": "a"}, {"nodata": "a"}, {"nodata": [0, "a"]}, {"nodata": {}}),
    ],
)
def test_arguments_of_wrong_type(said):
    with pytest.raises(ReflectanceError) as error:
        radiometry(plain(3000).astype("uint16"), **({"scale": 1e-4, "offset": 0.0} | said))
    assert error.value.found.startswith(next(iter(said)))


def test_level_scale_and_offset_of_the_caller_need_no_sensor():
    cube = xr.Dataset({name: (("y", "x"), np.full((4, 4), 3000, "uint16")) for name in ("BAND13", "BAND14")})
    found = radiometry(cube, scale=1e-4, offset=0, level="BOA")
    assert (found.level, found.calibrations) == ("BOA", (Calibration((1e-4,), (0.0,)),) * 2)
    with pytest.raises(BandError, match="fit several sensors"):
        radiometry(cube, level="BOA")


ALONE = {"scale": 1e-4, "offset": -0.1}


@pytest.mark.parametrize(
    "said",
    [
        *({"attrs": {key: value}} for key, value in (
            ("scale_factor", 2e-4), ("add_offset", -0.2), ("nodata", 7), ("valid_range", [1, 9000]), ("units", "%"),
            ("missing_value", 3), ("reflectance_scale_factor", 5000.0), ("raster:bands", [ALONE]), ("bands", [ALONE]),
            ("valid_max", 8000), ("reflectance_provenance", "by hand"), ("applied_scale", 1e-4),
        )),
        *({"encoding": {key: v}} for key, v in (("_FillValue", 9), ("scale_factor", 1e-4), ("dtype", "uint16"))),
        *({"coords": {key: value}} for key, value in (("scale_factor:B04_10m", 3e-4), ("add_offset:B04_10m", -0.3))),
        *({"dtype": dtype} for dtype in ("int16", "float32", "uint8")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_band_goes_by_what_is_said_of_it_alone(said, dtype):
    cube = sentinel(dtype=dtype, **{"s2:processing_baseline": "05.09"}).assign_coords(said.get("coords", {}))
    cube["B04_10m"] = cube["B04_10m"].astype(said.get("dtype", dtype)).assign_attrs(said.get("attrs", {}))
    cube["B04_10m"].encoding = said.get("encoding", {})
    together = DescribedCube.of(cube)
    for name in cube.data_vars:
        alone = DescribedCube.of(cube[[name]])
        for described in (together, alone):
            assert described.candidates == together.candidates
        expected = alone._settled[name]
        found = together._settled[name]
        assert (str(found), type(found)) == (str(expected), type(expected))


def test_what_is_said_of_a_band_of_the_same_kind_is_asked_once():
    names = ["B02", "B03", "B04", "B08"]
    attrs = {"units": "1", "scale_factor": 1e-4, "add_offset": -0.1}
    bands = {name: (("y", "x"), np.full((4, 4), 3000, "uint16"), attrs | {"common_name": name}) for name in names}
    rules = DescribedCube.of(xr.Dataset(bands, attrs={"platform": "sentinel-2a"}), Told(level="BOA")).calibrations
    assert len(rules) == len(names)
    assert all(rule is rules[0] for rule in rules)
