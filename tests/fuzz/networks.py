"""Networks, weights, recipes and models of others that are nearly right."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

import xr_cloudmask
from fuzz.base import CUBE, Try, as_json, changing
from fuzz.mutations import VALUES, mutate_binary, mutate_bytes, mutate_json
from xr_cloudmask.models import registry, state_dicts, universal, weights


def onnx(folder: Path) -> Try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, "y", "x"])
        for name, n in (("bands", 3), ("logits", 2))
    ]
    kernel = numpy_helper.from_array(np.full((2, 3, 3, 3), 1 / 27, "float32"), "kernel")
    node = helper.make_node("Conv", ["bands", "kernel"], ["logits"], pads=[1, 1, 1, 1])
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], [kernel]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    original = model.SerializeToString()
    path = folder / "network.onnx"
    spec = xr_cloudmask.ModelSpec(
        name="odd",
        variant="rgb",
        version="1",
        bands=(("red",), ("green",), ("blue",)),
        level="TOA",
        window=16,
        halo=0,
        classes=("clear", "thick_cloud"),
        multiple=1,
        gsd=10.0,
        licence="",
        citation="",
    )
    cube = xr.Dataset({name: (("y", "x"), np.full((16, 16), 0.2, "float32")) for name in ("red", "green", "blue")})

    def changed(random: Random) -> bytes:
        if random.random() < 0.5:
            return mutate_binary(random, original)
        odd = onnx.ModelProto.FromString(original)
        for _ in range(random.choice((1, 2))):
            change = random.choice(
                (
                    lambda: odd.graph.node[0].ClearField("input"),
                    lambda: odd.graph.node[0].MergeFrom(onnx.NodeProto(op_type=random.choice(("Relu", "None", "")))),
                    lambda: odd.graph.ClearField("initializer"),
                    lambda: odd.graph.ClearField("output"),
                    lambda: odd.graph.ClearField("input"),
                    lambda: odd.graph.initializer[0].dims.append(random.choice((0, -1, 10**9))),
                    lambda: setattr(odd.graph.input[0].type.tensor_type, "elem_type", random.randrange(20)),
                    lambda: odd.graph.output[0].type.tensor_type.shape.ClearField("dim"),
                    lambda: setattr(odd, "ir_version", random.randrange(200)),
                    lambda: setattr(odd.opset_import[0], "version", random.choice((0, 1, 99, -5))),
                    lambda: setattr(odd.graph.input[0], "name", "x"),
                )
            )
            with suppress(IndexError):
                change()
        return odd.SerializeToString()

    def attempt(random: Random) -> None:
        path.write_bytes(changed(random))
        registry._SPECS.pop("odd", None)
        registry._LOADED.clear()
        xr_cloudmask.register_model(spec, network=path)
        cube.cloudmask.predict("odd", level="TOA", resolution="native").compute(scheduler="synchronous")

    return attempt


def safetensors(folder: Path) -> Try:
    content = universal.packaged().read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    path = folder / "universal.safetensors"

    def attempt(random: Random) -> None:
        if random.random() < 0.3:
            path.write_bytes(mutate_bytes(random, content[: 8 + length]) + numbers)
        else:
            said = json.dumps(mutate_json(random, header)).encode("utf-8", "surrogatepass")
            path.write_bytes(len(said).to_bytes(8, "little") + said + numbers)
        universal.arrays_of(path, universal.architecture_of(path))
        state_dicts.read_state(path)

    return attempt


def checkpoint(folder: Path) -> Try:
    import torch

    path = folder / "weights.pt"
    torch.save({"a": torch.zeros(3), "b": {"c": torch.ones(2, 2)}}, path)
    torch.save({"a": torch.zeros(3)}, path)
    return changing([path], lambda: state_dicts.read_state(path), mutate_binary)


def manifest(folder: Path) -> Try:
    path = folder / "weights.pt"
    path.write_bytes(b"weights")
    record = weights.Record("weights.pt", 7, weights.WeightsFile.of(path).sha256)
    weights.Manifest("a", "b/c", "d" * 40, "MIT", (record,)).write(folder)
    (folder / "config.yaml").write_text("CLASSES: 7\nBANDS: [1, 2, {a: 2020-01-01}]\nNAME: &a text\nOTHER: *a\n")

    def read() -> None:
        found = weights.Manifest.read(folder)
        weights.damaged(folder, found)
        weights.resolve("sensei", path)
        state_dicts.read_config(path)

    parts = changing([folder / weights.MANIFEST], read, as_json), changing([folder / weights.CONFIG], read)
    return lambda random: random.choice(parts)(random)


def recipe_of(path: str | Path) -> Any:
    from xr_cloudmask.training.recipe import Recipe

    return Recipe.read(path)


def recipe(folder: Path) -> Try:
    from importlib.resources import files as resources

    path = folder / "recipe.toml"
    path.write_text((resources("xr_cloudmask.training") / "recipe.toml").read_text())
    return changing([path], lambda: recipe_of(path))


def entry_points(folder: Path) -> Try:
    """Models of other packages: whatever these are, the list of all has the others."""
    spec = registry.variants("csmask")[0]

    class Entry:
        group, name, value = registry.ENTRY_POINTS, "odd", "odd:SPEC"

        def __init__(self, load: Callable[[], Any]) -> None:
            self.load = load

    def loaded(random: Random) -> Any:
        if random.random() < 0.3:
            raise random.choice(
                (
                    SystemExit(3),
                    ImportError("x"),
                    RuntimeError(),
                    ModuleNotFoundError("y"),
                    GeneratorExit(),
                    RecursionError(),
                )
            )
        if random.random() < 0.3:
            return random.choice(VALUES)
        names = random.sample([*spec.__dataclass_fields__], random.choice((1, 1, 3)))
        return replace(spec, **{"name": "odd", **{name: random.choice(VALUES) for name in names}})

    def attempt(random: Random) -> None:
        registry._SPECS.pop("odd", None)
        registry._discover.cache_clear()
        registry.entry_points = lambda group: [Entry(lambda: loaded(random))]
        table = registry.models()
        assert "csmask" in table.index
        repr(table)
        xr_cloudmask.predict(CUBE, random.choice(("csmask", "odd")), level="TOA", resolution="native")

    return attempt


def patches(folder: Path) -> Try:
    from xr_cloudmask import evaluation

    path = folder / "patch.npz"
    np.savez_compressed(path, img=np.zeros((8, 8, 6), "float32"), msk=np.zeros((8, 8), "uint8"))
    return changing([path], lambda: evaluation.read(path), mutate_binary)
