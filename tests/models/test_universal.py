"""The sensor-independent network of this package: its size, what it does not depend on, and how it is chosen."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from xr_cloudmask import BandDescriptor, models, predict
from xr_cloudmask.errors import ModelError, WeightsError
from xr_cloudmask.models import registry, universal
from xr_cloudmask.models.networks import stem, tensors
from xr_cloudmask.models.networks.architecture import Architecture, shapes_of
from xr_cloudmask.models.networks.universal import UniversalNetwork, channels_last, entering
from xr_cloudmask.models.weights import WeightsFile
from xr_cloudmask.training import Recipe
from xr_cloudmask.training.state import TrainingState

SIX = torch.tensor([[457.0, 522], [542, 578], [650, 681], [784, 900], [1565, 1655], [2100, 2280]])
BANDS = tuple(BandDescriptor(f"b{i}", None, float(low), float(high)) for i, (low, high) in enumerate(SIX))


WARM = torch.tensor([[10600.0, 11190.0], [11500.0, 12510.0]])
LIMITS_OF_SIX = tuple(tuple(pair) for pair in SIX.tolist())


def arrays_of(made):
    return {name: tensor.numpy() for name, tensor in made.state_dict().items()}


def network(architecture):
    """A network with random weights whose BatchNorm has seen something."""
    torch.manual_seed(0)
    made = UniversalNetwork(architecture)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    if architecture.thermal:
        own = torch.Generator().manual_seed(1)
        torch.nn.init.normal_(made.stem.warm, generator=own)
        torch.nn.init.normal_(made.stem.warm_bias, generator=own)
    return made.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of a small network."""
    recipe = replace(Recipe.packaged(), widths=(8, 8, 16), dilations=(2,))
    run = TrainingState(recipe, torch.device("cpu"))
    made = network(run.network.architecture)
    torch.nn.init.normal_(made.trunk.head.weight, std=2)
    run.start_from(made.state_dict())
    path = tmp_path_factory.mktemp("weights") / "universal.safetensors"
    run.export(path)
    return path


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def model(weights, request):
    spec = replace(universal.SPEC, weights=(WeightsFile.of(weights),), precision=request.param)
    return registry.load(spec, "cpu")


def windows(number=2, bands=6, size=48, seed=0):
    return np.random.default_rng(seed).random((number, bands, size, size), dtype="float32")


def cube_of(roles, size=(150, 130), **attrs):
    random = np.random.default_rng(1)
    return xr.Dataset({r: (("y", "x"), random.random(size, dtype="float32") * 0.9) for r in roles}, attrs=attrs)


def test_the_network_is_small():
    made = network(Architecture())
    size = 256
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        made.frozen(SIX)(entering(torch.rand(1, 6, size, size)))
    assert counter.get_total_flops() / size**2 <= 70_000
    assert sum(p.numel() for p in made.parameters()) <= 4_000_000  # 8 MB in half precision


def test_freezing_changes_nothing():
    made, bands = network(Architecture()), torch.from_numpy(windows())
    bands[0, :, :9] = torch.nan
    with torch.inference_mode():
        whole = made(bands, SIX.expand(2, -1, -1), torch.ones(2, 6))
        torch.testing.assert_close(made.frozen(SIX)(channels_last(entering(bands))), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("thermal", [0, 1, 2])
@pytest.mark.parametrize("takes", [True, False])
def test_onnxruntime_computes_what_torch_computes(thermal, takes):
    architecture = Architecture(widths=(8, 16, 24), thermal=takes)
    made, bands = network(architecture), warmed(windows(), thermal)
    bands[0, 2, :9] = np.nan
    bands[1, :6, 3, 3] = -0.02, 0.5, 1.7, 3.0, -np.inf, np.inf
    limits = torch.cat([SIX, WARM[:thermal]])
    with torch.inference_mode():
        expected = made.frozen(limits)(entering(torch.from_numpy(bands), thermal)).softmax(dim=1).numpy()
    run = universal._in_onnxruntime(arrays_of(made), architecture, tuple(map(tuple, limits.tolist())))
    np.testing.assert_allclose(run(bands), expected, atol=1e-5)


def warmed(values, thermal):
    """Windows with thermal bands behind the others."""
    windows, _, *size = values.shape
    kelvin = np.random.default_rng(2).uniform(210, 310, (windows, thermal, *size)).astype("float32")
    return np.concatenate([values, kelvin], axis=1)


def test_thermal_bands_are_their_mean_and_change_no_other_kernel():
    made = network(Architecture(widths=(8, 8), thermal=True))
    without, one, two = (made.frozen(torch.cat([SIX, WARM[:count]]))[0] for count in (0, 1, 2))
    torch.testing.assert_close(one.weight[:, :6], without.weight[:, :6])
    torch.testing.assert_close(two.weight[:, 6:8].sum(dim=1), one.weight[:, 6])
    assert one.weight[:, 6].abs().max() > 0
    untrained = UniversalNetwork(Architecture(widths=(8, 8), thermal=True)).eval()
    bare, warm = (untrained.frozen(torch.cat([SIX, WARM[:count]]))[0] for count in (0, 1))
    assert warm.weight[:, 6].abs().max() == 0
    torch.testing.assert_close(warm.bias, bare.bias)


def test_weights_without_a_thermal_input_start_a_network_that_has_one():
    plain = network(Architecture(widths=(8, 8, 16), dilations=(2,)))
    recipe = replace(Recipe.packaged(), widths=(8, 8, 16), dilations=(2,), balance=0.0)
    run = TrainingState(recipe, torch.device("cpu"))
    run.start_from(plain.state_dict())
    values = torch.from_numpy(warmed(windows(1), 1))
    with torch.inference_mode():
        expected = plain.frozen(SIX)(entering(values[:, :6]))
        for limits, thermal in ((SIX, 0), (torch.cat([SIX, WARM[:1]]), 1)):
            found = run.average.frozen(limits)(entering(values[:, : 6 + thermal], thermal))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@given(number=st.integers(2, 13), seed=st.integers(0, 9))
def test_numpy_generates_the_kernels_that_torch_generates(number, seed):
    made = network(Architecture())
    low = np.sort(np.random.default_rng(seed).uniform(400, 2300, number)).astype("float32")
    limits = np.stack([low, low * np.float32(1.1)], axis=1)
    first = made.frozen(torch.from_numpy(limits))[0]
    kernels, bias = stem.convolution_for(arrays_of(made), [tuple(pair) for pair in limits.tolist()])
    np.testing.assert_allclose(kernels, first.weight.numpy(), atol=2e-6)
    np.testing.assert_allclose(bias, first.bias.numpy(), atol=2e-6)


@pytest.mark.parametrize(
    "sizes",
    [{}, {"thermal": True}, {"widths": (8,)}, {"widths": (8, 16, 24), "dilations": (), "embedding": 5, "classes": 2}],
)
def test_the_shapes_of_weights_are_known_without_torch(sizes):
    made = network(Architecture(**sizes))
    assert shapes_of(made.architecture) == {name: tuple(t.shape) for name, t in made.state_dict().items()}


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "I64", "BOOL"])
def test_tensors_are_read_as_safetensors_reads_them(tmp_path, dtype):
    from safetensors.torch import load_file, save_file

    kinds = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "BOOL": "bool"}
    made = {"a": torch.arange(6).reshape(2, 3).to(getattr(torch, kinds[dtype])), "scalar": torch.tensor(2.5)}
    save_file(made, tmp_path / "w.safetensors", {"said": "much"})
    found = tensors.read_arrays(tmp_path / "w.safetensors")
    for name, tensor in load_file(tmp_path / "w.safetensors").items():
        np.testing.assert_array_equal(found[name], tensor.float().numpy() if dtype == "BF16" else tensor.numpy())
    assert tensors.read_metadata(tmp_path / "w.safetensors") == {"said": "much"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x05", b"\xff" * 9, (2).to_bytes(8, "little") + b"[]", (3).to_bytes(8, "little") + b"{a}",
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'.ljust(60),
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}'.ljust(60) + b"1234",
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F8","shape":[1],"data_offsets":[0,4]}}'.ljust(60) + b"1234",
        (60).to_bytes(8, "little") + b'{"a":[1,2]}'.ljust(60),
    ],
)  # fmt: skip
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"safetensors|tensor|Expecting"):
        tensors.read_arrays(tmp_path / "w.safetensors")


def test_what_fills_a_batch_up_does_not_matter():
    made = network(Architecture(widths=(8, 8)))
    bands = torch.from_numpy(windows(bands=8))
    wavelengths = torch.cat([SIX, torch.tensor([[500.0, 600], [700, 800]])]).expand(2, -1, -1)
    present = torch.tensor([[1.0] * 6 + [0] * 2, [1.0] * 8])
    with torch.inference_mode():
        together = made(bands, wavelengths, present)
        alone = made(bands[:1, :6], SIX[None], torch.ones(1, 6))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)


@given(order=st.permutations(range(6)))
def test_the_order_of_bands_does_not_matter(model, order):
    values = windows(1)
    expected = model.probabilities(values, BANDS)
    permuted = model.probabilities(values[:, order], [BANDS[i] for i in order])
    np.testing.assert_array_equal(permuted, expected)


def test_a_window_does_not_depend_on_its_batch(model):
    values = windows(3)
    alone = np.concatenate([model.probabilities(window[None], BANDS) for window in values])
    np.testing.assert_array_equal(model.probabilities(values, BANDS), alone)


def test_missing_pixels_get_finite_probabilities(model):
    values = windows(1)
    values[:, :, :20] = np.nan
    values[:, 2, 30:] = np.nan
    before = values.copy()
    out = model.probabilities(values, BANDS)
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(values, before)


def test_bands_are_told_apart_by_their_wavelengths(model):
    values = windows(1)
    other = [replace(BANDS[0], min_wavelength=700.0, max_wavelength=720.0), *BANDS[1:]]
    assert np.abs(model.probabilities(values, BANDS) - model.probabilities(values, other)).max() > 1e-3


def test_bfloat16_rounds_and_no_more(weights):
    spec = replace(universal.SPEC, weights=(WeightsFile.of(weights),))
    values = windows(1)
    exact, rounded = (
        registry.load(replace(spec, precision=precision), "cpu").probabilities(values, BANDS)
        for precision in ("fp32", "bf16")
    )
    assert np.abs(exact - rounded).max() < 0.1
    assert (exact.argmax(axis=1) == rounded.argmax(axis=1)).mean() > 0.98


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("chunks", [(150, 130), (64, 50), (37, 130)])
def test_labels_do_not_depend_on_chunks(weights, precision, chunks):
    cube = cube_of(("red", "green", "blue"), level="TOA")
    options = {"weights": weights, "scale": 1.0, "window": 64, "halo": 16, "precision": precision}
    expected = predict(cube, "universal", **options)["cloud_mask"]
    chunked = predict(cube.chunk(dict(zip("yx", chunks, strict=True))), "universal", **options)["cloud_mask"]
    assert isinstance(chunked.data, da.Array)
    np.testing.assert_array_equal(chunked, expected)
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize("level", ["TOA", "BOA", None])
def test_any_level_will_do(weights, level):
    mask = predict(cube_of(("red", "nir"), size=(32, 32)), "universal", weights=weights, scale=1.0, level=level)
    assert mask["cloud_mask"].attrs["level"] == (level or "unknown")


@pytest.mark.parametrize("roles", [("red",), ("nir", "swir16"), ()])
def test_two_bands_are_needed_one_of_them_visible(roles):
    described = [BandDescriptor(role, role, *limits) for role, limits in LIMITS.items() if role in roles]
    with pytest.raises(ModelError, match="visible"):
        registry.choose("universal", described, None)


LIMITS = {"blue": (450.0, 520.0), "red": (630.0, 690.0), "nir": (760.0, 900.0), "swir16": (1550.0, 1750.0)}


@pytest.mark.parametrize(
    ("roles", "name"),
    [
        ({"blue": 450, "green": 530, "red": 630, "nir": 780}, "csmask"),
        ({"blue": 450, "green": 530, "red": 630}, "universal"),
        ({"green": 530, "nir": 780}, "universal"),
        ({"pan": 500, "swir16": 1600}, "universal"),
    ],
)
def test_auto_is_a_rule_of_the_bands(roles, name):
    described = [BandDescriptor(role, role, float(low), low + 60.0) for role, low in roles.items()]
    assert registry.choose("auto", described, "TOA").name == name


def test_auto_does_not_depend_on_the_level():
    described = [BandDescriptor(r, r, 450.0 + i, 520.0 + i) for i, r in enumerate(("blue", "green", "red", "nir"))]
    with pytest.raises(ModelError, match="level="):
        registry.choose("auto", described, None)


def test_it_is_listed():
    listed = models().loc[("universal", "v2")]
    assert listed["level"] == "any"
    bands = "any 2 bands of reflectance or brightness_temperature, one of them visible"
    assert listed["needs"] == f"{bands}, one between 1500-1780 or 2030-2400 nm"
    assert models().loc[("universal", "v1"), "needs"] == "any 2 bands of reflectance, one of them visible"
    assert models().loc[("universal-1", "v1"), "needs"] == "any 2 bands of reflectance, one of them visible"


def test_other_weights_are_refused(tmp_path, weights):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(weights.read_bytes()[:1000])
    save_file({"x": torch.zeros(1)}, tmp_path / "empty.safetensors", universal.facts_of(weights))
    for name in ("other", "damaged", "empty"):
        spec = replace(universal.SPEC, weights=(WeightsFile.of(tmp_path / f"{name}.safetensors"),))
        with pytest.raises(WeightsError, match="do not fit"):
            universal.load(spec, "cpu")


def test_changed_weights_are_refused(weights):
    file = replace(WeightsFile.of(weights), sha256="0" * 64)
    with pytest.raises(WeightsError, match="sha256"):
        universal.load(replace(universal.SPEC, weights=(file,)), "cpu")


@pytest.mark.parametrize("spec", [universal.SPEC, universal.FORMER], ids=lambda spec: spec.name)
def test_weights_come_with_the_package(spec):
    path = universal.packaged(spec.name)
    assert path.stat().st_size <= 8e6
    assert WeightsFile.of(path).sha256 == spec.sha256
    assert universal.architecture_of(path) == Architecture(thermal=spec is universal.SPEC)
    assert models().loc[(spec.name, spec.variant), "runs here"]


def test_the_former_version_is_there_by_name():
    cube = cube_of(("red", "green", "blue"), size=(64, 64), level="BOA")
    mask = predict(cube, "universal-1", scale=1.0)["cloud_mask"]
    assert mask.attrs["model"] == "universal-1"
    assert mask.attrs["weights_sha256"] == universal.FORMER.sha256


THERMAL = BandDescriptor("warm", "lwir11", 10600.0, 11190.0, "brightness_temperature")


def test_thermal_bands_are_read_where_they_are(weights):
    described = [BandDescriptor(role, role, *limits) for role, limits in LIMITS.items()]
    assert universal.SPEC.inputs([THERMAL, *described]) == (THERMAL, *described)
    assert universal.FORMER.inputs([THERMAL, *described]) == tuple(described)
    cube = cube_of(LIMITS, size=(64, 64), level="TOA").assign(warm=(("y", "x"), np.full((64, 64), 250.0, "float32")))
    options = {"descriptors": [*described, THERMAL], "weights": weights, "probabilities": True}
    cold, hot = (predict(cube.assign(warm=cube.warm + more), "universal", **options) for more in (0, 50))
    assert "warm" in cold["cloud_mask"].attrs["bands"].split()
    assert float(abs(cold["probability"] - hot["probability"]).max()) > 1e-3


def test_a_thermal_band_is_none_of_the_two_that_are_needed():
    red = BandDescriptor("red", "red", *LIMITS["red"])
    with pytest.raises(ModelError, match="at least"):
        registry.choose("universal", [red, THERMAL], None)


def test_many_bands_are_merged_and_the_thermal_one_stays():
    narrow = [BandDescriptor(str(nm), None, nm - 5.0, nm + 5.0) for nm in range(450, 900, 10)]
    merged = universal.SPEC.merged([*narrow, THERMAL])
    assert [one.descriptor.role for one in merged] == ["blue", "green", "red", "nir", "lwir11"]


def test_rgb_is_masked_at_once():
    mask = predict(cube_of(("red", "green", "blue"), size=(64, 64), level="BOA"), scale=1.0)
    assert mask["cloud_mask"].attrs["model"] == "universal"
    assert mask["cloud_mask"].attrs["weights_sha256"] == universal.FORMER.sha256


@pytest.mark.parametrize(
    ("roles", "version"),
    [({"blue", "red"}, "1"), ({"blue", "red", "nir"}, "1"), ({"red", "swir16"}, "2"), ({"blue", "nir", "swir16"}, "2")],
)
def test_the_second_version_serves_where_there_is_short_wave_infrared(roles, version):
    described = [BandDescriptor(role, role, *limits) for role, limits in LIMITS.items() if role in roles]
    assert registry.choose("universal", described, "TOA").version == version
    assert registry.choose("universal", [*described, THERMAL], "TOA").version == version


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        ("classes", " ".join(reversed(universal.CLASSES))),
        ("architecture", "[16, 32]"),
        ("architecture", '{"widths": ["a"]}'),
        ("architecture", '{"widths": [4, 4, 4, 4, 4, 4]}'),
    ],
)
def test_weights_that_say_something_else_of_themselves_are_refused(tmp_path, weights, fact, text):
    from safetensors.torch import load_file, save_file

    save_file(load_file(weights), tmp_path / "w.safetensors", universal.facts_of(weights) | {fact: text})
    with pytest.raises(WeightsError, match="do not fit"):
        universal.architecture_of(tmp_path / "w.safetensors")


def test_freezing_draws_no_random_numbers():
    made = network(Architecture(widths=(4, 8), dilations=(2,)))
    before = torch.get_rng_state()
    made.frozen(SIX)
    assert torch.equal(torch.get_rng_state(), before)
