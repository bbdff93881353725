"""Writer: the nodes and edges of a NIR graph; WRITERS, the table of what every op is in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import Graph, IntegrateFire, Node, Reset
from ...ir.ops import AveragePool, Conv, Dense, Scale

LEAKLESS_TAU = 1e6
LEAKLESS_DT = 1e-4
"""snnTorch's step. 1 - dt / tau is 1 in float32."""


class Writer:
    """Nodes and edges so far; and by name of a result: the nodes whose outputs add up to it."""

    def __init__(self, graph: Graph, rewrites: tuple[str, ...]) -> None:
        self.graph = graph
        self.rewrites = rewrites
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: list[tuple[str, str]] = []
        self.sources: dict[str, tuple[str, ...]] = {}
        self.names: dict[str, str] = {}
        self.factors: dict[str, float] = {}
        self.reasons: list[str] = []
        self.notes: list[str] = []
        self.lost: dict[str, list[str]] = {"reset": [], "zero": [], "initial": []}
        self.own: dict[str, dict[str, Any]] = {}
        self.pulses: list[str] = []
        self.subtracts = "nir-1.0.5" in rewrites

    def add(self, node: Node) -> None:
        """Write a node, or note why that is not possible."""
        WRITERS[type(node.op).__name__](self, node)

    def new(self, wanted: str, type_name: str, **fields: Any) -> str:
        """Append a node of NIR, and return its name: letters, digits and _, as all readers take."""
        name = plain = re.sub(r"\W", "_", wanted, flags=re.ASCII) or "_"
        number = 2
        while name in self.nodes:
            name, number = f"{plain}_{number}", number + 1
        self.nodes[name] = {"type": type_name, **fields}
        return name

    def write(self, node: Node, type_name: str, **fields: Any) -> str:
        """Append the node that stands for a node of the graph, behind its operands."""
        own = fields.pop("own", {})
        name = self.new(node.name, type_name, **fields)
        # Not in the node's own metadata, which nir 1.0.4 does not read.
        self.own[name] = {"name": node.name, "source": node.source, **own}
        self.names[node.name] = name
        self.sources[node.name] = (name,)
        for operand in node.inputs:
            self.connect(operand, name)
        return name

    def connect(self, operand: str, target: str) -> None:
        """Add edges for a result; there can be only one from a node to another."""
        for source in self.sources[operand]:
            if (source, target) in self.edges:
                shape = self.graph.types[operand].shape
                again = self.new(f"{source}_again", "Scale", scale=np.ones(shape, np.float32))
                self.edges.append((source, again))
                source = again
            self.edges.append((source, target))

    def factor(self, node: Node) -> float:
        """Return what the operand of a layer is to be multiplied with: 1 but behind a SumPool."""
        factors = {self.factors.get(name, 1.0) for name in node.inputs}
        if len(factors) > 1:
            self.reasons.append(f"{node}: sum-pool left its operands with different divisors")
        return min(factors)

    def output_of(self, name: str) -> str:
        """Return the name of the Output node of a result."""
        (first, *_) = self.sources[name]
        ends = [b for a, b in self.edges if a == first and self.nodes[b]["type"] == "Output"]
        return ends[0]

    def list_losses(self) -> list[str]:
        """Return one line for every kind of loss, with the nodes that it concerns."""
        texts = {
            "reset": "reset by subtraction, NIR's IF is reset to v_reset",
            "zero": "reset to zero, NIR 1.0.5's IF is reset by subtraction",
            "initial": "initial potential, NIR's IF starts at 0; --rewrite initial-pulse says it",
        }
        return [f"{', '.join(nodes)}: {texts[kind]}" for kind, nodes in self.lost.items() if nodes]


def _input(writer: Writer, node: Node) -> None:
    writer.write(node, "Input", shape=np.array(writer.graph.types[node.name].shape, np.int64))


def _sum(writer: Writer, node: Node) -> None:
    """An addition, or nothing at all: the edges to the next node say it."""
    writer.sources[node.name] = tuple(s for name in node.inputs for s in writer.sources[name])
    writer.names[node.name] = writer.sources[node.name][0]
    if any(name in writer.factors for name in node.inputs):
        writer.factors[node.name] = writer.factor(node)


def _dense(writer: Writer, node: Node) -> None:
    op: Any = node.op
    weight = np.asarray(op.weight * np.float32(writer.factor(node)), np.float32)
    writer.write(node, "Affine", weight=weight, bias=op.bias)


def _conv(writer: Writer, node: Node) -> None:
    op: Any = node.op
    kernel = op.weight.shape[2:]
    if len(kernel) == 3:
        writer.reasons.append(f"{node}: has three spatial axes, NIR has Conv1d and Conv2d")
    if any(before != after for before, after in op.padding):
        writer.reasons.append(f"{node}: padding {op.padding} differs on both sides")
    if len(set(kernel)) > 1:
        writer.reasons.append(f"{node}: kernel {kernel} is not square, as the package nir needs")
    sizes = writer.graph.types[node.inputs[0]].shape[1:]
    pairs: Any = {
        "stride": op.strides,
        "padding": tuple(before for before, _ in op.padding),
        "dilation": op.dilation,
        "input_shape": sizes,
    }
    one_axis = len(kernel) == 1
    fields = {
        key: np.int64(value[0]) if one_axis else np.array(value, np.int64)
        for key, value in pairs.items()
    }
    weight = np.asarray(op.weight * np.float32(writer.factor(node)), np.float32)
    type_name = "Conv1d" if one_axis else "Conv2d"
    writer.write(node, type_name, weight=weight, bias=op.bias, groups=np.int64(op.groups), **fields)


def _scale(writer: Writer, node: Node) -> None:
    op: Any = node.op
    if op.shift.any():
        writer.reasons.append(f"{node}: has a shift, NIR's Scale has none")
    shape = writer.graph.types[node.name].shape
    factors = np.asarray(op.scale * np.float32(writer.factor(node)), np.float32)
    if "scale-conv" in writer.rewrites and len(shape) == 3 and factors.shape[1:] == (1, 1):
        one, n = np.ones(2, np.int64), shape[0]
        # Not a group per channel, which norse 1.1.0 and snnTorch 1.0.0 do not load.
        weight = np.diag(np.broadcast_to(factors.ravel(), (n,)))[:, :, None, None]
        writer.write(
            node, "Conv2d", weight=np.ascontiguousarray(weight), bias=np.zeros(n, np.float32),
            groups=np.int64(1), stride=one, dilation=one, padding=0 * one,
            input_shape=np.array(shape[1:], np.int64),
        )  # fmt: skip
        return
    scale = np.broadcast_to(factors, shape)
    writer.write(node, "Scale", scale=np.ascontiguousarray(scale, np.float32))


def _average_pool(writer: Writer, node: Node) -> None:
    op: Any = node.op
    if any(map(any, op.padding)) and not op.count_padding:
        writer.reasons.append(f"{node}: does not count padding, readers of AvgPool2d do")
    factor = writer.factor(node)
    if "sum-pool" not in writer.rewrites:
        writer.write(node, "AvgPool2d", **_window(writer, node))
        return
    writer.write(node, "SumPool2d", **_window(writer, node))
    writer.factors[node.name] = factor / float(np.prod(op.kernel))
    if node.name in writer.graph.outputs:
        writer.reasons.append(f"{node}: sum-pool needs a layer behind it, not an output")


def _sum_pool(writer: Writer, node: Node) -> None:
    writer.write(node, "SumPool2d", **_window(writer, node))
    if node.inputs[0] in writer.factors:
        writer.factors[node.name] = writer.factor(node)


def _window(writer: Writer, node: Node) -> dict[str, Any]:
    """Return the fields of a pooling, or note why it has none."""
    op: Any = node.op
    if len(op.kernel) != 2:
        writer.reasons.append(f"{node}: has {len(op.kernel)} spatial axes, NIR pools over two")
    if any(before != after for before, after in op.padding):
        writer.reasons.append(f"{node}: padding {op.padding} differs on both sides")
    return {
        "kernel_size": np.array(op.kernel, np.int64),
        "stride": np.array(op.strides, np.int64),
        "padding": np.array([before for before, _ in op.padding], np.int64),
    }


def _flatten(writer: Writer, node: Node) -> None:
    shape = np.array(writer.graph.types[node.inputs[0]].shape, np.int64)
    writer.write(
        node, "Flatten", start_dim=np.int64(0), end_dim=np.int64(-1), input_type=shape
    )  # fmt: skip
    if node.inputs[0] in writer.factors:
        writer.factors[node.name] = writer.factor(node)


def _refuse_layout(writer: Writer, node: Node) -> None:
    where = {
        "Transpose": "NIR has none; one before the first layer, or before flattening and a dense "
        "layer, is folded away",
        "GlobalAveragePool": "NIR pools over two spatial axes",
        "Pad": "NIR has none; one before a convolution is folded into it",
    }[type(node.op).__name__]
    writer.reasons.append(f"{node}: {where}")
    _sum(writer, node)


def _integrate_fire(writer: Writer, node: Node) -> None:
    op: Any = node.op
    shape = writer.graph.types[node.name].shape
    if writer.factor(node) != 1:
        writer.reasons.append(f"{node}: sum-pool needs a layer between the pooling and the neuron")
    threshold, initial = (
        np.ascontiguousarray(np.broadcast_to(values, shape), np.float32)
        for values in (op.threshold, op.initial_potential)
    )
    reset = np.zeros(shape, np.float32)
    below = threshold
    by_pulse = "initial-pulse" in writer.rewrites and initial.any()
    if op.reset is Reset.ZERO and initial.any() and not by_pulse and not writer.subtracts:
        below, reset = threshold - initial, -initial
        if not (below > 0).all():
            writer.reasons.append(f"{node}: initial potential reaches the threshold")
        elif ((below + initial) != threshold).any():
            writer.notes.append(f"{node}: threshold minus initial potential is rounded")
    elif op.reset not in {Reset.SUBTRACT, Reset.ZERO}:
        writer.reasons.append(f"{node}: reset {op.reset} has no translation to NIR")
    else:
        if writer.subtracts is not (op.reset is Reset.SUBTRACT):
            writer.lost["zero" if writer.subtracts else "reset"].append(node.name)
        if initial.any() and not by_pulse:
            writer.lost["initial"].append(node.name)
    below = np.nextafter(below, np.float32(-np.inf))
    own = {
        "reset": str(op.reset),
        "threshold": shaped(op.threshold),
        "initial_potential": shaped(op.initial_potential),
    }
    fields: dict[str, Any] = {"v_threshold": below, "own": own}
    if reset.any():  # nir 1.0.5 and older do not read the field
        fields["v_reset"] = reset
    if "leakless-lif" in writer.rewrites:
        fields["tau"] = np.full(shape, LEAKLESS_TAU, np.float32)
        fields["r"] = np.full(shape, LEAKLESS_TAU / LEAKLESS_DT, np.float32)
        fields["v_leak"] = np.zeros(shape, np.float32)
        writer.write(node, "LIF", **fields)
    else:
        writer.write(node, "IF", r=np.ones(shape, np.float32), **fields)
    if by_pulse:
        pulse = writer.new(
            f"{node.name}_pulse", "Input", shape=np.array(shape, np.int64)
        )  # fmt: skip
        writer.pulses.append(pulse)
        charge = writer.new(f"{node.name}_charge", "Scale", scale=initial)
        writer.edges += [(pulse, charge), (charge, writer.names[node.name])]
        writer.notes.append(f"input {pulse}: feed 1 at the first step, and 0 after it")


def shaped(values: Any) -> list[Any]:
    """Return an array as JSON: its shape and its numbers."""
    return [list(values.shape), values.ravel().tolist()]


WRITERS: dict[str, Callable[[Writer, Node], None]] = {
    "Input": _input,
    "Identity": _sum,
    "Add": _sum,
    Dense.__name__: _dense,
    Conv.__name__: _conv,
    Scale.__name__: _scale,
    AveragePool.__name__: _average_pool,
    "SumPool": _sum_pool,
    "GlobalAveragePool": _refuse_layout,
    "Flatten": _flatten,
    "Transpose": _refuse_layout,
    "Pad": _refuse_layout,
    IntegrateFire.__name__: _integrate_fire,
}
