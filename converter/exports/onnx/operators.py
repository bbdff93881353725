"""OPERATORS: what every op is in ONNX, opset 17; and STATEFUL: the same for ops with a state.

A batch axis stands in front of every sample, as in the IR. Where numpy and ONNX could differ by the
order of float32 operations (thresholds, scales), the operations are written one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...ir import Graph, IntegrateFire, Node, Reset
from ...ir.ops import (
    AveragePool,
    BatchNorm,
    Concatenate,
    Conv,
    Dense,
    MaxPool,
    Pad,
    Relu,
    Scale,
    Softmax,
    Transpose,
)


class Draft:
    """The nodes and constants of an ONNX graph while it is written; every name is used once."""

    def __init__(self, reserved: set[str]) -> None:
        self.names = reserved
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def fresh(self, wanted: str) -> str:
        """Return `wanted`, or `wanted` with the first number that makes it unique."""
        name, number = wanted, 2
        while name in self.names:
            name, number = f"{wanted}_{number}", number + 1
        self.names.add(name)
        return name

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Append a node with one result, and return the result's name."""
        result = self.fresh(name)
        self.nodes.append(helper.make_node(operator, inputs, [result], name=result, **attributes))
        return result

    def constant(self, values: Any, *, name: str, dtype: Any = np.float32) -> str:
        """Add an initializer, and return its name."""
        result = self.fresh(name)
        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))
        self.constants.append(numpy_helper.from_array(array, result))
        return result


def _copy(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    return draft.add("Identity", *operands, name=node.name)


def _dense(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    weight = draft.constant(op.weight, name=f"{node.name}.weight")
    bias = draft.constant(op.bias, name=f"{node.name}.bias")
    return draft.add("Gemm", *operands, weight, bias, name=node.name, transB=1)


def _conv(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    weight = draft.constant(op.weight, name=f"{node.name}.weight")
    bias = draft.constant(op.bias, name=f"{node.name}.bias")
    return draft.add(
        "Conv", *operands, weight, bias, name=node.name, strides=op.strides, dilations=op.dilation,
        pads=_pads(op.padding), group=op.groups, kernel_shape=op.weight.shape[2:],
    )  # fmt: skip


def _batch_norm(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return _scaled(draft, node, op.as_scale(len(graph.types[node.name].shape)), *operands)


def _scale(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return _scaled(draft, node, op, *operands)


def _scaled(draft: Draft, node: Node, op: Scale, *operands: str) -> str:
    scale = draft.constant(op.scale, name=f"{node.name}.scale")
    shift = draft.constant(op.shift, name=f"{node.name}.shift")
    product = draft.add("Mul", *operands, scale, name=f"{node.name}.product")
    return draft.add("Add", product, shift, name=node.name)


def _relu(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    if op.max_value is None:
        return draft.add("Relu", *operands, name=node.name)
    positive = draft.add("Relu", *operands, name=f"{node.name}.positive")
    cap = draft.constant(op.max_value, name=f"{node.name}.max_value")
    return draft.add("Min", positive, cap, name=node.name)


def _max_pool(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("MaxPool", *operands, name=node.name, **_window(op))


def _window(op: Any) -> dict[str, Any]:
    return {
        "kernel_shape": op.kernel,
        "strides": op.strides,
        "dilations": op.dilation,
        "pads": _pads(op.padding),
    }


def _average_pool(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add(
        "AveragePool", *operands, name=node.name, kernel_shape=op.kernel, strides=op.strides,
        pads=_pads(op.padding), count_include_pad=int(op.count_padding),
    )  # fmt: skip


def _global_average_pool(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    axes = range(2, len(graph.types[node.inputs[0]].shape) + 1)
    return draft.add("ReduceMean", *operands, name=node.name, axes=axes, keepdims=0)


def _reshape(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    shape = (-1, *graph.types[node.name].shape)
    sizes = draft.constant(shape, name=f"{node.name}.shape", dtype=np.int64)
    return draft.add("Reshape", *operands, sizes, name=node.name)


def _transpose(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    axes = (0, *(axis + 1 for axis in op.permutation))
    return draft.add("Transpose", *operands, name=node.name, perm=axes)


def _pad(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    pads = _pads(((0, 0), *op.padding))
    sizes = draft.constant(pads, name=f"{node.name}.pads", dtype=np.int64)
    return draft.add("Pad", *operands, sizes, name=node.name)


def _add(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    if len(operands) == 1:
        return _copy(draft, graph, node, *operands)
    total = operands[0]
    for place, operand in enumerate(operands[1:], 2):
        name = node.name if place == len(operands) else f"{node.name}.sum"
        total = draft.add("Add", total, operand, name=name)
    return total


def _concatenate(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("Concat", *operands, name=node.name, axis=op.axis + 1)


def _softmax(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("Softmax", *operands, name=node.name, axis=op.axis + 1)


def _log_softmax(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("LogSoftmax", *operands, name=node.name, axis=op.axis + 1)


def _sigmoid(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    return draft.add("Sigmoid", *operands, name=node.name)


def _pads(padding: Any) -> list[int]:
    return [before for before, _ in padding] + [after for _, after in padding]


Translation = Callable[..., str]
"""(draft, graph, node, names of the operands) -> name of the result; appends to the draft."""

OPERATORS: dict[str, Translation] = {
    "Identity": _copy,
    Dense.__name__: _dense,
    Conv.__name__: _conv,
    BatchNorm.__name__: _batch_norm,
    Scale.__name__: _scale,
    Relu.__name__: _relu,
    MaxPool.__name__: _max_pool,
    AveragePool.__name__: _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "Flatten": _reshape,
    "Reshape": _reshape,
    Transpose.__name__: _transpose,
    Pad.__name__: _pad,
    "Add": _add,
    Concatenate.__name__: _concatenate,
    Softmax.__name__: _softmax,
    "LogSoftmax": _log_softmax,
    "Sigmoid": _sigmoid,
}


def _integrate_fire(draft: Draft, graph: Graph, node: Node, current: str, state: str) -> Any:
    op: Any = node.op
    threshold = draft.constant(op.threshold[None], name=f"{node.name}.threshold")
    reached = draft.add("Add", state, current, name=f"{node.name}.reached")
    fires = draft.add("GreaterOrEqual", reached, threshold, name=f"{node.name}.fires")
    spikes = draft.add("Cast", fires, name=node.name, to=onnx.TensorProto.FLOAT)
    if op.reset is Reset.SUBTRACT:
        taken = draft.add("Mul", spikes, threshold, name=f"{node.name}.taken")
        return spikes, draft.add("Sub", reached, taken, name=f"{node.name}.next_state")
    one = draft.constant(np.float32(1), name=f"{node.name}.one")
    kept = draft.add("Sub", one, spikes, name=f"{node.name}.kept")
    return spikes, draft.add("Mul", reached, kept, name=f"{node.name}.next_state")


def _spiking_max_pool(draft: Draft, graph: Graph, node: Node, current: str, state: str) -> Any:
    total = draft.add("Add", state, current, name=f"{node.name}.next_state")
    before, after = (
        draft.add("MaxPool", name, name=f"{node.name}.{when}", **_window(node.op))
        for name, when in ((state, "before"), (total, "after"))
    )
    return draft.add("Sub", after, before, name=node.name), total


STATEFUL: dict[str, Callable[..., Any]] = {
    "IntegrateFire": _integrate_fire,
    "SpikingMaxPool": _spiking_max_pool,
}
"""(draft, graph, node, current, state) -> names of the result and of the next state."""

INITIAL_STATES: dict[str, Callable[[Any], Any]] = {
    IntegrateFire.__name__: lambda op: op.initial_potential,
    "SpikingMaxPool": lambda op: np.zeros((), np.float32),
}
"""What every sample's state is before the first step; broadcasts to the operand's shape."""

RESETS = frozenset({Reset.SUBTRACT, Reset.ZERO})
