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
from xr_cloudmask.models.fingerprint import fingerprint

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
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry("toy", "toys:OTHER")])
    monkeypatch.setattr(toys, "OTHER", replace(toys.TOY, version="other"), raising=False)
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

    one, again, other = (fingerprint(module(forward)) for forward in (bright, same, dark))
    assert one == again != other


THRESHOLD = 0.5


class Cut(torch.nn.Module):
    """Calls bright what is brighter than a number that is no weight."""

    def __init__(self, cut):
        super().__init__()
        self.cut = cut

    def bright(self, bands):
        return bands.mean(dim=1) - self.cut

    def forward(self, bands):
        bright = self.bright(bands)
        return torch.stack([-bright, bright], dim=1) * 100


def of_class(**entries):
    return type("Cut", (Cut,), entries)(0.1)


def closed_over(cut):
    return of_class(forward=lambda self, bands: bands - cut)


def of_global(self, bands):
    return bands - THRESHOLD


def hooked(factor):
    module = Cut(0.1)
    module.register_forward_hook(lambda module, inputs, output: output * factor)
    return module


def buffered(number):
    module = Cut(0.1)
    module.register_buffer("shift", torch.tensor(number, dtype=torch.bfloat16), persistent=False)
    return module


def nested(cut):
    return torch.nn.Sequential(torch.nn.Identity(), Cut(cut))


PAIRS = {
    "number": lambda: (Cut(0.1), Cut(0.1), Cut(0.9)),
    "nested": lambda: (nested(0.1), nested(0.1), nested(0.9)),
    "list": lambda: (Cut([0.1, "a"]), Cut([0.1, "a"]), Cut([0.1, "b"])),
    "set": lambda: (Cut({"a", "b"}), Cut({"b", "a"}), Cut({"a", "c"})),
    "array": lambda: (Cut(np.arange(3.0)), Cut(np.arange(3.0)), Cut(np.arange(3.0) + 1)),
    "dtype": lambda: (Cut(np.zeros(2, "f4")), Cut(np.zeros(2, "f4")), Cut(np.zeros(1, "f8"))),
    "tensor": lambda: (Cut(torch.ones(2)), Cut(torch.ones(2)), Cut(torch.zeros(2))),
    "object": lambda: (Cut(EntryPoint("a", "b", "c")), Cut(EntryPoint("a", "b", "c")), Cut(EntryPoint("a", "b", "d"))),
    "attribute of the class": lambda: (of_class(cut=0.1), of_class(cut=0.1), of_class(cut=0.9)),
    "another method": lambda: (
        of_class(bright=lambda self, bands: bands),
        of_class(bright=lambda self, bands: bands),
        of_class(bright=lambda self, bands: -bands),
    ),
    "closure": lambda: (closed_over(0.1), closed_over(0.1), closed_over(0.9)),
    "hook": lambda: (hooked(1), hooked(1), hooked(2)),
    "buffer that is not saved": lambda: (buffered(1.0), buffered(1.0), buffered(2.0)),
    "stride": lambda: tuple(torch.nn.MaxPool2d(3, stride) for stride in (1, 1, 2)),
    "traced": lambda: tuple(torch.fx.symbolic_trace(Cut(cut)) for cut in (0.1, 0.1, 0.9)),
    "scripted": lambda: tuple(torch.jit.trace(Cut(cut), torch.zeros(1, 3, 2, 2)) for cut in (0.1, 0.1, 0.9)),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("pair", PAIRS)
def test_modules_that_differ_in_an_attribute_are_different(pair):
    one, again, other = map(fingerprint, PAIRS[pair]())
    assert one == again != other


def test_a_global_that_a_network_reads_makes_a_difference(monkeypatch):
    network = of_class(forward=of_global)
    before = fingerprint(network)
    assert fingerprint(network) == before
    monkeypatch.setattr(__import__(__name__), "THRESHOLD", 0.7)
    assert fingerprint(network) != before


def test_a_network_that_nothing_tells_is_unlike_any_other():
    network = Cut(part for part in [1])
    assert fingerprint(network) != fingerprint(network)


def test_a_network_that_holds_itself_is_told():
    loops = [Cut([]), Cut([])]
    for loop in loops:
        loop.cut.append(loop)
    assert fingerprint(loops[0]) == fingerprint(loops[1])


def two_classes(**entries):
    return replace(SPEC, classes=("clear", "thick_cloud"), **entries)


def test_two_networks_that_differ_in_an_attribute_answer_for_themselves():
    for name, cut in (("low", 0.1), ("high", 0.9)):
        register_model(two_classes(name=name), network=Cut(cut))
    cube = xr.Dataset({band: (("y", "x"), np.full((64, 64), 0.5, "float32")) for band in ("red", "green", "blue")})
    clouds = [
        float(predict(cube, name, level="TOA", resolution="native")["cloud_fraction"]) for name in ("low", "high")
    ]
    assert clouds == [1.0, 0.0]


def test_the_same_model_is_registered_once_more(onnx_file):
    for network in (Cut(0.1), Cut(0.1)):  # as a cell of a notebook makes it anew
        register_model(two_classes(), network=network)
    for _ in range(2):
        register_model(replace(SPEC, name="graph"), network=onnx_file)
        register_model(replace(toys.TOY, name="plain"))
    for other in (Cut(0.2), onnx_file):
        with pytest.raises(ModelError, match="one new name"):
            register_model(two_classes(), network=other)
    with pytest.raises(ModelError, match="one new name"):
        register_model(replace(toys.TOY, name="plain", version="2"))


@pytest.mark.parametrize("specs", [(), ("csmask",), (None,), (replace(SPEC, name=5),)])
def test_what_is_no_spec_is_refused(specs):
    with pytest.raises(ModelError):
        register_model(*specs)


def graph_of(inputs, outputs):
    from onnx import TensorProto, helper

    ends = [
        [helper.make_tensor_value_info(name, getattr(TensorProto, kind), shape) for name, kind, shape in side]
        for side in (inputs, outputs)
    ]
    nodes = [helper.make_node("Identity", [inputs[0][0]], [outputs[0][0]])] if inputs else [
        helper.make_node("Constant", [], [outputs[0][0]], value=helper.make_tensor("c", TensorProto.FLOAT, [1], [0.0]))
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "graph", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


WINDOWS = ("bands", "FLOAT", [1, 3, "y", "x"])


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", b"no network", graph_of([WINDOWS], [("logits", "FLOAT", [1, 3, "y", "x"])])[:-40],
        graph_of([], [("logits", "FLOAT", [1])]),
        graph_of([WINDOWS, ("more", "FLOAT", [1, 3, 8, 8])], [("logits", "FLOAT", [1, 3, "y", "x"])]),
        graph_of([("bands", "INT64", [1, 3, "y", "x"])], [("logits", "INT64", [1, 3, "y", "x"])]),
        graph_of([("bands", "FLOAT", [3])], [("logits", "FLOAT", [3])]),
    ],
    ids=["empty", "zero", "text", "cut", "no input", "two inputs", "integers", "a vector"],
)  # fmt: skip
def test_an_onnx_file_that_is_no_such_network_is_refused(tmp_path, content):
    (tmp_path / "odd.onnx").write_bytes(content)
    register_model(replace(SPEC, name="odd"), network=tmp_path / "odd.onnx")
    (spec,) = registry.variants("odd")
    with pytest.raises(ModelError, match=r"odd\.onnx|whose file takes"):
        registry.load(spec)


@pytest.mark.parametrize("loader", ["", "nothing", "no_such_module:load", "toys:missing", ":", "toys:Path"])
def test_a_loader_that_is_none_is_refused(loader):
    with pytest.raises(ModelError, match="does not load"):
        registry.load(replace(toys.TOY, name="odd", loader=loader))
