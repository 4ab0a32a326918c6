"""Model "sensei" through the whole path: phicloudmask's numbers, every input it knows, the engine's promises."""

import subprocess
import sys
from functools import cache

import dask
import numpy as np
import oracle
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xr_cloudmask import ModelError, ReflectanceError, WeightsError, models, predict, simulate
from xr_cloudmask.models import registry, sensei
from xr_cloudmask.models.networks import embedding, segformer

EXACT = {"probabilities": True, "resolution": "native", "precision": "fp32", "window": 512, "halo": 0}
CLOUDSEN12_STYLE = {0: 0, 1: 0, 2: 0, 6: 0, 4: 1, 3: 2, 5: 3}


@pytest.fixture(autouse=True)
def _forget_models():
    yield
    registry._LOADED.clear()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Checkpoints of the full network, as phicloudmask has them."""
    return oracle.checkpoint(tmp_path_factory.mktemp("pair"), "pair.pt")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Checkpoint of a small network, quick enough for properties; every part of it is as in the full one."""
    generator = torch.manual_seed(3)
    networks = embedding.SpectralEmbedding(), segformer.Segformer(segformer.CONFIGS["B0"], embedding.CHANNELS, 7)
    for network in networks:
        oracle.disturb(network, generator)
    return oracle.checkpoint(
        tmp_path_factory.mktemp("small"), "single.safetensors", [network.state_dict() for network in networks]
    )[0]


def cube(descriptors, values, **attrs):
    """Return an array whose bands are named as `oracle.ours` names them."""
    names = [entry.name for entry in oracle.ours(descriptors)]
    return xr.DataArray(values, dims=("band", "y", "x"), coords={"band": names}, attrs={"level": "TOA", **attrs})


def rgb(shape=(150, 203), dates=2):
    values = oracle.scene((dates, 3, *shape))
    names = ["red", "green", "blue"]
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords={"band": names}, attrs={"level": "TOA"})


@cache
def one_forward_pass():
    values = oracle.scene((13, 512, 512))
    return values, oracle.reference(oracle.sentinel2(), values[None])[0]


@pytest.mark.parametrize("style", ["pair.pt", "pair.safetensors", "single.pt", "single.safetensors"])
def test_a_prediction_is_one_forward_pass_of_phicloudmask(style, tmp_path):
    pytest.importorskip("phicloudmask")
    from phicloudmask.constant import SENTINEL2_BANDS

    values, expected = one_forward_pass()
    names = [band["name"] for band in SENTINEL2_BANDS]
    data = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": names})
    out = data.cloudmask.predict(
        "sensei",
        sensor="sentinel-2",
        level="TOA",
        weights=oracle.checkpoint(tmp_path, style),
        scheme="sensei",
        **EXACT,
    )
    np.testing.assert_allclose(out["probability"], expected, atol=1e-5, rtol=0)
    assert out["class"].values.tolist() == list(sensei.SPEC.classes)
    np.testing.assert_array_equal(out["cloud_mask"], out["probability"].argmax("class"))


@pytest.mark.parametrize("name", ["rgb", "landsat", "radar"])
def test_every_input_by_its_descriptors(name, pair):
    descriptors = oracle.inputs()[name]
    values = oracle.scene((len(descriptors), 256, 256))
    values[[i for i, entry in enumerate(descriptors) if entry["band_type"] == "fill"]] = 0
    data = cube(descriptors, values)
    out = predict(
        data, "sensei", descriptors=oracle.ours(descriptors), weights=pair, scheme="native", **{**EXACT, "window": 256}
    )
    expected = oracle.reference(descriptors, values[None])[0]
    np.testing.assert_allclose(out["probability"], expected, atol=1e-5, rtol=0)
    assert out["cloud_mask"].attrs["bands"].split() == data["band"].values.tolist()


LANDSAT_BANDS = [f"B{i}" for i in range(1, 12)]


def landsat(size=128):
    numbers = (oracle.scene((11, size, size), seed=4) * 20000 + 8000).astype("uint16")
    coords = {"band": LANDSAT_BANDS, "view:sun_elevation": 50.0, "platform": "landsat-8"}
    return xr.DataArray(numbers, dims=("band", "y", "x"), coords=coords, attrs={"processing:level": "L1TP"})


def landsat_values(data):
    """Return what the public Landsat loader makes of the digital numbers, from the bands' published constants."""
    pytest.importorskip("phicloudmask")
    from phicloudmask.constant import LANDSAT89_BANDS

    out = []
    for numbers, band in zip(data.values.astype("float64"), LANDSAT89_BANDS, strict=True):
        value = numbers * band["GAIN"] + band["OFFSET"]
        if band["SOLAR_CORRECTION"]:
            value = value / np.sin(np.deg2rad(50.0))
        else:
            temperature = band["K2"] / np.log(band["K1"] / value + 1)
            value = (temperature - band["MINIMUM_BT"]) / (band["MAXIMUM_BT"] - band["MINIMUM_BT"])
        out.append(value)
    return np.float32(out)


def test_landsat_with_thermal_bands_from_digital_numbers(pair):
    data = landsat()
    out = predict(data, "sensei", weights=pair, scheme="sensei", **{**EXACT, "window": 128})
    expected = oracle.reference(oracle.inputs()["landsat"], landsat_values(data)[None])[0]
    np.testing.assert_allclose(out["probability"], expected, atol=1e-4, rtol=0)
    assert "Planck" in out["cloud_mask"].attrs["reflectance_provenance"]


def test_landsat_in_reflectance_and_kelvin_is_the_same(small):
    data = landsat()
    options = {"weights": small, "scheme": "sensei", **EXACT, "window": 128}
    expected = predict(data, "sensei", **options)
    bands = data.to_dataset("band")
    physical = bands.cloudmask.reflectance()
    for name, (k1, k2) in {"B10": (774.8853, 1321.0789), "B11": (480.8883, 1201.1442)}.items():
        radiance = bands[name] * 3.342e-4 + 0.1
        kelvin = (k2 / np.log(k1 / radiance + 1)).astype("float32")
        physical[name] = kelvin.assign_attrs(units="K")
    out = predict(physical, "sensei", **options)
    np.testing.assert_allclose(out["probability"], expected["probability"], atol=1e-4, rtol=0)


def test_thermal_constants_are_those_of_the_platform(small):
    options = {"weights": small, "scheme": "sensei", **EXACT, "window": 128}
    eight, nine = (
        predict(landsat().assign_coords(platform=name), "sensei", **options) for name in ("landsat-8", "LANDSAT_9")
    )
    assert float(abs(eight["probability"] - nine["probability"]).max()) > 1e-4
    nameless = landsat().drop_vars("platform")
    with pytest.raises(ReflectanceError, match="platform"):
        predict(nameless, "sensei", sensor="landsat-8-9", **options)
    spelt = predict(nameless, "sensei", sensor="landsat-9", **options)
    xr.testing.assert_equal(spelt["probability"], nine["probability"].drop_vars("platform", errors="ignore"))


def test_thermal_values_that_are_no_kelvin_are_refused(small):
    bands = landsat(64).to_dataset("band").cloudmask.reflectance()
    for wrong in (25000.0, 0.6):
        bands["B10"] = bands["B1"] * 0 + np.float32(wrong)
        with pytest.raises(ReflectanceError, match="kelvin"):
            predict(bands, "sensei", weights=small)


def test_missing_pixels_enter_as_zero(pair):
    descriptors = oracle.inputs()["rgb"]
    values = oracle.scene((3, 128, 128))
    values[:, 30:60, :50] = np.nan
    data = cube(descriptors, values)
    out = predict(
        data, "sensei", descriptors=oracle.ours(descriptors), weights=pair, scheme="sensei", **{**EXACT, "window": 128}
    )
    missing = np.isnan(values[0])
    expected = oracle.reference(descriptors, np.nan_to_num(values)[None])[0]
    np.testing.assert_allclose(out["probability"].values[:, ~missing], expected[:, ~missing], atol=1e-5, rtol=0)
    assert (out["cloud_mask"].values[missing] == 6).all()


def test_both_decisions(pair):
    descriptors = oracle.inputs()["rgb"]
    values = oracle.scene((3, 256, 256))
    chances = oracle.reference(descriptors, values[None])[0]
    options = {"descriptors": oracle.ours(descriptors), "weights": pair, **EXACT, "window": 256}
    summed, translated = (
        predict(cube(descriptors, values), "sensei", decision=decision, **options) for decision in ("sum", "argmax")
    )
    sums = np.stack([chances[:3].sum(axis=0), chances[4], chances[3], chances[5]])
    agree = summed["cloud_mask"].values == sums.argmax(axis=0)
    assert agree.mean() > 0.999  # rounding moves pixels between classes as probable as each other
    expected = np.vectorize(CLOUDSEN12_STYLE.get)(chances.argmax(axis=0))
    assert (translated["cloud_mask"].values == expected).mean() > 0.999
    assert (summed["cloud_mask"] != translated["cloud_mask"]).any()
    np.testing.assert_allclose(translated["probability"], sums, atol=1e-5, rtol=0)
    native = predict(cube(descriptors, values), "sensei", decision="argmax", scheme="sensei", **options)
    assert (native["cloud_mask"].values == chances.argmax(axis=0)).mean() > 0.999


@pytest.mark.parametrize("scheme", ["cloudsen12", "sensei", "binary", "validity", "native"])
def test_every_scheme(scheme, small):
    out = predict(rgb(dates=1), "sensei", weights=small, scheme=scheme)["cloud_mask"]
    assert set(np.unique(out)) <= set(out.attrs["flag_values"].tolist())
    meanings = out.attrs["flag_meanings"].split()
    assert meanings.count("no_data") == 1


@cache
def network(weights):
    return sensei.load(registry.configured(sensei.SPEC, weights, "fp32"), None)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.sampled_from([32, 64]))
def test_a_window_never_depends_on_its_batch(small, batch, size):
    model = network(small)
    descriptors = oracle.ours(oracle.inputs()["radar"])
    windows = oracle.scene((5, len(descriptors), size, size)) * np.float32([0.1, 1, 3, 0, 1])[:, None, None, None]
    alone = np.concatenate([model.probabilities(window[None], descriptors) for window in windows])
    together = model.probabilities(windows[batch], descriptors)
    np.testing.assert_allclose(together, alone[batch], atol=1e-6, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_labels_are_the_same_for_every_chunking(small, precision):
    options = {"weights": small, "probabilities": True, "window": 64, "halo": 16, "precision": precision}
    data = rgb()
    expected = predict(data, "sensei", **options)
    assert len(np.unique(expected["cloud_mask"])) > 1
    for chunks in ({"time": 1, "y": 61, "x": 203}, {"band": 1, "y": 150, "x": 40}, {"y": (3, 100, 47), "x": 99}):
        for batch_size in (1, 3):
            out = predict(data.chunk(chunks), "sensei", batch_size=batch_size, **options).compute(num_workers=2)
            np.testing.assert_array_equal(out["cloud_mask"], expected["cloud_mask"])
            np.testing.assert_allclose(out["probability"], expected["probability"], atol=1e-6, rtol=0)


def test_labels_are_the_same_on_a_cluster(small):
    from distributed import Client

    expected = predict(rgb(), "sensei", weights=small, window=64, halo=16, precision="fp32")
    with Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"):
        lazy = predict(rgb().chunk(time=1, y=64), "sensei", weights=small, window=64, halo=16, precision="fp32")
        np.testing.assert_array_equal(lazy["cloud_mask"].compute(), expected["cloud_mask"])


def test_bfloat16_is_close(small):
    exact, rough = (
        predict(rgb(), "sensei", weights=small, precision=precision, probabilities=True, scheme="sensei")
        for precision in ("fp32", "bf16")
    )
    difference = abs(exact["probability"] - rough["probability"])
    assert 0 < float(difference.max()) < 0.05
    assert float((exact["cloud_mask"] == rough["cloud_mask"]).mean()) > 0.97


def test_building_a_prediction_imports_no_framework(small, tmp_path):
    code = f"""
import sys, numpy as np, xarray as xr, dask, xr_cloudmask
data = xr.DataArray(np.ones((3, 32, 32), "float32"), dims=("band", "y", "x"),
                    coords={{"band": ["red", "green", "blue"]}}, attrs={{"level": "TOA"}}).chunk()
out = xr_cloudmask.predict(data, "sensei", weights={str(small)!r})
assert not {{"torch", "onnxruntime", "safetensors", "huggingface_hub"}} & set(sys.modules)
import pickle
assert len(pickle.dumps(dict(out["cloud_mask"].data.__dask_graph__()))) < 50_000
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_other_weights_and_precisions_have_other_names(small, pair):
    lazy = rgb().chunk()
    options = [{"weights": small}, {"weights": pair}, {"weights": small, "precision": "fp32"}]
    with dask.config.set(scheduler="nothing may be computed"):
        names = {predict(lazy, "sensei", **option)["cloud_mask"].data.name for option in options}
    assert len(names) == 3


def test_the_mask_says_whose_weights_it_is_made_with(small):
    attrs = predict(rgb(), "sensei", weights=small, precision="fp32")["cloud_mask"].attrs
    assert attrs["weights_sha256"] == registry.configured(sensei.SPEC, small, "auto").weights[0].sha256
    assert attrs["precision"] == "fp32"
    assert "given" in attrs["model_licence"]


@pytest.fixture
def _no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("XR_CLOUDMASK_WEIGHTS", raising=False)
    monkeypatch.setenv("XR_CLOUDMASK_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_no_weights")
def test_without_weights_an_error_names_the_ways_to_get_them():
    with pytest.raises(WeightsError) as caught:
        predict(rgb(), "sensei")
    for way in ("weights=", "XR_CLOUDMASK_WEIGHTS", "xr-cloudmask weights fetch", "GPL-3.0"):
        assert way in str(caught.value)
    assert not models().loc[("sensei", "v2"), "runs here"]
    assert "weights fetch" in models().loc[("sensei", "v2"), "what to type"]


@pytest.mark.usefixtures("_no_weights")
def test_weights_from_the_environment(small, monkeypatch):
    monkeypatch.setenv("XR_CLOUDMASK_WEIGHTS", str(small))
    xr.testing.assert_identical(predict(rgb(), "sensei"), predict(rgb(), "sensei", weights=small))
    assert models().loc[("sensei", "v2"), "runs here"]


def test_weights_that_changed_are_refused(small, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(small.read_bytes())
    lazy = predict(rgb().chunk(), "sensei", weights=path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="sha256"):
        lazy.compute(scheduler="synchronous")


def test_weights_of_another_network_are_refused(pair, tmp_path):
    with pytest.raises(WeightsError, match="do not fit"):
        predict(rgb(), "sensei", weights=pair[0])
    state = {"segformer.encoder.block.0.0.mlp.dense1.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="cloudmask_weights"):
        predict(rgb(), "sensei", weights=tmp_path / "weights.pt")


def test_a_config_for_other_classes_is_refused(small, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(small.read_bytes())
    path.with_name("config.yaml").write_text("CLASSES: 4\n")
    with pytest.raises(WeightsError, match="4 classes"):
        predict(rgb(), "sensei", weights=path)
    path.with_name("config.yaml").write_text("CLASSES: 7\nPATCH_SIZE: 512\n")
    predict(rgb(dates=1), "sensei", weights=path)


def test_what_the_model_cannot_take_is_refused(small):
    with pytest.raises(ModelError, match="TOA"):
        predict(rgb().assign_attrs(level="BOA"), "sensei", weights=small)
    with pytest.raises(ModelError, match="'bf16'"):
        predict(rgb(), "sensei", weights=small, precision="fp16")
    with pytest.raises(ModelError, match="'cpu'"):
        predict(rgb(), "sensei", weights=small, device="quantum")
    with pytest.raises(ModelError, match="fp32"):
        predict(simulate.scene(size=(64, 64)), "csmask", precision="bf16")


def test_the_largest_window_is_what_the_user_says(small):
    out = predict(rgb((100, 300), dates=1), "sensei", weights=small, window=96, halo=0)
    assert out["cloud_mask"].attrs["window"] == "64 x 96"
