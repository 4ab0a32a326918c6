"""The frozen network as an ONNX graph: float32 on a CPU, onnxruntime takes two thirds of the time of torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor, nn

from xr_cloudmask.models.networks.universal import Context, ConvNorm, Residual, Trunk, Up

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "input", "output"
OPSET, IR_VERSION = 17, 8


def onnx_of(frozen: nn.Sequential) -> ModelProto:
    """Translate what `UniversalNetwork.frozen` returns.

    Returns
    -------
    onnx.ModelProto
        ``input`` float32 ``(window, band + 1, y, x)`` → ``output``, logits ``(window, class, y, x)``.
    """
    from onnx import TensorProto, helper

    stem, _, trunk = frozen
    assert isinstance(stem, nn.Conv2d)  # noqa: S101
    assert isinstance(trunk, Trunk)  # noqa: S101
    graph = _Graph()
    out = graph.trunk(trunk, graph.relu(graph.conv(stem, INPUT)))
    graph.add("Identity", [out], OUTPUT)
    channels = {INPUT: stem.in_channels, OUTPUT: trunk.head.out_channels}
    ends = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["window", number, "y", "x"])
        for name, number in channels.items()
    }
    made = helper.make_graph(graph.nodes, "universal", [ends[INPUT]], [ends[OUTPUT]], graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class _Graph:
    """Nodes and constants; every method adds some and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: Tensor | np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(self, layer: nn.Conv2d, x: str) -> str:
        assert layer.bias is not None  # noqa: S101 - BatchNorm is folded into it
        pad, stride, dilation = (list(size) for size in (layer.padding, layer.stride, layer.dilation))
        weights = [self.constant(tensor.cpu().numpy()) for tensor in (layer.weight, layer.bias)]
        return self.add("Conv", [x, *weights], pads=pad * 2, strides=stride, dilations=dilation)

    def relu(self, x: str) -> str:
        return self.add("Relu", [x])

    def conv_norm(self, layer: ConvNorm, x: str) -> str:
        out = self.conv(layer.conv, x)
        return self.relu(out) if layer.relu else out

    def chain(self, layers: nn.Sequential, x: str) -> str:
        for layer in layers:
            x = self.residual(layer, x) if isinstance(layer, Residual) else self.conv_norm(cast("ConvNorm", layer), x)
        return x

    def residual(self, layer: Residual, x: str) -> str:
        return self.relu(self.add("Add", [self.chain(layer.body, x), x]))

    def context(self, layer: Context, x: str) -> str:
        return self.add("Add", [self.chain(layer.body, x), x])

    def up(self, layer: Up, x: str, skip: str) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], "float32"))
        options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        wide = self.add("Resize", [self.conv(layer.project, x), "", scales], **options)
        return self.conv_norm(layer.mix, self.add("Add", [wide, skip]))

    def trunk(self, trunk: Trunk, x: str) -> str:
        skips = []
        for step in cast("Iterable[nn.Sequential]", trunk.down):
            skips.append(x)
            x = self.chain(step, x)
        x = self.context(trunk.context, x)
        for layer, skip in zip(reversed(cast("Sequence[Up]", trunk.up)), reversed(skips), strict=True):
            x = self.up(layer, x, skip)
        return self.conv(trunk.head, x)
