"""Model universal for one set of bands as an ONNX graph, straight from the weights: float32 on a CPU needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.models.networks.architecture import Architecture, residual_names
from xr_cloudmask.models.networks.stem import State, convolution_for, with_norm

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "input", "output"
OPSET, IR_VERSION = 17, 8


def onnx_of(state: State, architecture: Architecture, limits: Sequence[tuple[float, float]]) -> ModelProto:
    """Build the graph of a network for a set of bands.

    Parameters
    ----------
    state : mapping of str to ndarray
        float32 weights of the network.
    architecture : Architecture
        Of the network.
    limits : sequence of pairs of float
        Shortest and longest wavelength of each band, nanometres.

    Returns
    -------
    onnx.ModelProto
        ``input`` float32 ``(window, band + 1, y, x)``, as `stem.entering` returns it → ``output``, logits
        ``(window, class, y, x)``.
    """
    from onnx import TensorProto, helper

    graph = _Graph(state)
    first = graph.relu(graph.conv(INPUT, *convolution_for(state, limits)))
    graph.add("Identity", [graph.trunk(architecture, first)], OUTPUT)
    channels = {INPUT: len(limits) + 1, OUTPUT: architecture.classes}
    ends = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["window", number, "y", "x"])
        for name, number in channels.items()
    }
    made = helper.make_graph(graph.nodes, "universal", [ends[INPUT]], [ends[OUTPUT]], graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class _Graph:
    """Nodes and constants; every method adds some and returns the name of its output."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def relu(self, x: str) -> str:
        return self.add("Relu", [x])

    def conv(self, x: str, weight: npt.NDArray[Any], bias: npt.NDArray[Any], stride: int = 1, dilation: int = 1) -> str:
        pads = [weight.shape[2] // 2 * dilation] * 4
        constants = [self.constant(weight), self.constant(bias)]
        return self.add("Conv", [x, *constants], pads=pads, strides=[stride] * 2, dilations=[dilation] * 2)

    def point(self, x: str, name: str) -> str:
        """Add a 1 × 1 convolution."""
        return self.conv(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def conv_norm(self, x: str, name: str, *, stride: int = 1, dilation: int = 1, relu: bool = True) -> str:
        weight, bias = with_norm(self.state, f"{name}.norm", self.state[f"{name}.conv.weight"], 0)
        out = self.conv(x, weight, bias, stride, dilation)
        return self.relu(out) if relu else out

    def residual(self, x: str, name: str) -> str:
        first, second = residual_names(name)
        return self.relu(self.add("Add", [self.conv_norm(self.conv_norm(x, first), second, relu=False), x]))

    def context(self, x: str, dilations: Sequence[int]) -> str:
        out = x
        for step, dilation in enumerate(dilations):
            out = self.conv_norm(out, f"trunk.context.body.{step}", dilation=dilation)
        return self.add("Add", [out, x])

    def up(self, x: str, skip: str, name: str) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], "float32"))
        options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        wide = self.add("Resize", [self.point(x, f"{name}.project"), "", scales], **options)
        return self.conv_norm(self.add("Add", [wide, skip]), f"{name}.mix")

    def trunk(self, architecture: Architecture, x: str) -> str:
        skips = []
        for level in range(len(architecture.widths) - 1):
            skips.append(x)
            x = self.conv_norm(x, f"trunk.down.{level}.0", stride=2)
            x = self.residual(x, f"trunk.down.{level}.1") if level else self.conv_norm(x, f"trunk.down.{level}.1")
        x = self.context(x, architecture.dilations)
        for level, skip in reversed(list(enumerate(skips))):
            x = self.up(x, skip, f"trunk.up.{level}")
        return self.point(x, "trunk.head")
