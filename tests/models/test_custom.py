"""Networks of others run through the same engine: a torch module, an ONNX file, an entry point."""

import multiprocessing
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
import toys
import xarray as xr

import xr_cloudmask
from xr_cloudmask import ModelError, ModelSpec, WeightsError, models, predict, register_model
from xr_cloudmask.models import custom, registry

SPEC = ModelSpec(
    name="brightness", variant="rgb", version="1", bands=(("red",), ("green",), ("blue",)), level="TOA",
    classes=("clear", "thick_cloud", "cloud_shadow"), window=32, halo=4, multiple=4, gsd=10.0,
    licence="MIT", citation="nobody",
)  # fmt: skip


class Brightness(torch.nn.Module):
    """Looks at its neighbours, as a network does."""

    def __init__(self):
        super().__init__()
        self.smooth = torch.nn.Conv2d(3, 1, 5, padding=2, padding_mode="reflect")
        torch.nn.init.constant_(self.smooth.weight, 1 / 75)
        torch.nn.init.zeros_(self.smooth.bias)

    def forward(self, bands):
        bright = self.smooth(bands)
        return torch.cat([torch.full_like(bright, 0.05), bright - 0.5, 0.3 - bright], dim=1) * 20


def expected_labels(values):
    """Return the labels of the whole image at once, in NumPy."""
    from scipy import ndimage

    bright = ndimage.uniform_filter(np.nan_to_num(values), (0, 0, 5, 5), mode="mirror").mean(axis=1)
    logits = np.stack([np.full_like(bright, 0.05), bright - 0.5, 0.3 - bright])
    return np.where(np.isnan(values).any(axis=1), 255, np.uint8([0, 1, 3])[logits.argmax(axis=0)])


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    monkeypatch.setattr(registry, "_LOADED", {})
    registry._discover.cache_clear()
    yield
    registry._discover.cache_clear()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """The same network as a graph."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {
        "kernel": np.full((1, 3, 5, 5), 1 / 75, "float32"),
        "slope": np.float32([0, 20, -20]).reshape(1, 3, 1, 1),
        "shift": np.float32([1, -10, 6]).reshape(1, 3, 1, 1),
        "pads": np.int64([0, 0, 2, 2, 0, 0, 2, 2]),
    }
    nodes = [
        helper.make_node("Pad", ["bands", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Conv", ["padded", "kernel"], ["bright"]),
        helper.make_node("Mul", ["bright", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "y", "x"])
        for name, channels in (("bands", 3), ("logits", 3))
    ]
    graph = helper.make_graph(
        nodes, "brightness", ends[:1], ends[1:], [numpy_helper.from_array(v, k) for k, v in weights.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path = tmp_path_factory.mktemp("onnx") / "brightness.onnx"
    onnx.save(model, path)
    return path


def cube():
    random = np.random.default_rng(5)
    values = random.random((2, 3, 7, 9)).repeat(12, axis=2).repeat(12, axis=3)[..., :75, :101].astype("float32")
    values[1, :, 10:30, 40:] = np.nan
    return xr.DataArray(
        values, dims=("time", "band", "y", "x"), coords={"band": ["red", "green", "blue"]}, attrs={"level": "TOA"}
    )


def check(lazy=False, **options):
    data = cube()
    out = predict(data.chunk(time=1, y=30) if lazy else data, SPEC.name, resolution="native", **options)
    out = out.compute(scheduler="threads")
    np.testing.assert_array_equal(out["cloud_mask"], expected_labels(data.values))
    return out


@pytest.mark.parametrize("lazy", [False, True])
def test_a_torch_module(lazy):
    module = Brightness()
    register_model(SPEC, network=module)
    out = check(lazy, precision="fp32", probabilities=True)
    assert len(out["cloud_mask"].attrs["weights_sha256"]) == 64
    valid = out["probability"].sel({"class": "clear"}).notnull()
    np.testing.assert_allclose(out["probability"].sum("class").where(valid, 1), 1, atol=1e-5)
    assert module.training  # ours is a copy


def test_a_torch_module_that_gives_probabilities():
    register_model(replace(SPEC, logits=False), network=torch.nn.Sequential(Brightness(), torch.nn.Softmax(dim=1)))
    check(precision="fp32")


def test_a_torch_module_is_known_by_its_weights():
    module = Brightness()
    first = custom.bound(SPEC, module)
    assert custom.bound(SPEC, Brightness()) == first
    with torch.no_grad():
        module.smooth.bias += 1
    assert custom.bound(SPEC, module).sha256 != first.sha256


def test_a_torch_module_of_another_process_is_an_error_that_says_so(monkeypatch):
    register_model(SPEC, network=Brightness())
    monkeypatch.setattr(custom, "_MODULES", {})
    with pytest.raises(ModelError, match="another process") as caught:
        predict(cube(), SPEC.name)
    assert ".onnx" in caught.value.remedy


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_onnx_file(lazy, batch_size, onnx_file):
    register_model(SPEC, network=onnx_file)
    check(lazy, batch_size=batch_size)


def test_an_onnx_file_in_other_processes(onnx_file):
    register_model(SPEC, network=str(onnx_file))
    out = predict(cube().chunk(time=1, y=40), SPEC.name, resolution="native")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        mask = out["cloud_mask"].compute(scheduler="processes", pool=pool)
    np.testing.assert_array_equal(mask, expected_labels(cube().values))


def test_an_onnx_file_that_changed_is_refused(onnx_file, tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(onnx_file.read_bytes())
    register_model(SPEC, network=path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsError, match="sha256"):
        predict(cube(), SPEC.name)


def test_other_networks_are_refused(tmp_path):
    for network in (object(), "weights.pt"):
        with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
            register_model(SPEC, network=network)
    with pytest.raises(WeightsError, match="no file"):
        register_model(SPEC, network=tmp_path / "missing.onnx")


def entry(name, value):
    return EntryPoint(name, value, registry.ENTRY_POINTS)


def test_models_of_other_packages(monkeypatch):
    monkeypatch.setattr(toys, "PLUGIN", replace(toys.TOY, name="plugin"), raising=False)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry("plugin", "toys:PLUGIN")])
    data = xr_cloudmask.simulate.series(dates=1, size=(64, 64))
    out, expected = (predict(data, name, resolution="native") for name in ("plugin", "toy"))
    xr.testing.assert_equal(out["cloud_mask"], expected["cloud_mask"])
    assert "plugin" in models().index


def test_a_broken_package_is_left_out_with_a_warning(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry("broken", "toys:missing")])
    with pytest.warns(UserWarning, match="'broken'"):
        table = models()
    assert "csmask" in table.index


def test_no_package_takes_the_name_of_another_model(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry("toy", "toys:TOY")])
    with pytest.warns(UserWarning, match="one new name"):
        models()


def test_modules_that_differ_in_what_they_do_are_different():
    """Though they look the same and have the same weights: a kept mask of one is none of the other."""

    def module(forward):
        return type("Network", (torch.nn.Module,), {"forward": forward})()

    def bright(self, bands):
        return torch.stack([band[0] for band in bands])

    def same(self, bands):  # a comment
        return torch.stack([band[0] for band in bands])

    def dark(self, bands):
        return torch.stack([-band[0] for band in bands])

    one, again, other = (custom._checksum(module(forward)) for forward in (bright, same, dark))
    assert one == again != other
