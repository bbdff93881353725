"""A spiking graph as hardware runs it: integer weights, thresholds, charges and potentials."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..errors import PassError, UnsupportedOpError
from ..ir import AddOnce, Array, Graph, Neuron, Node, Op, Pulse, SpikingMaxPool
from ..ir.bounds import find_overflows
from ..ir.integers import MAX_INTEGER, Quantize, SumPool
from ..ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    Input,
    InsertZeros,
    MaxPool,
    Pad,
    Reshape,
    Scale,
    Select,
    Transpose,
)
from .integer_steps import Steps, Values, pool_counts
from .narrow_currents import narrow_currents
from .rescaling import compact

TOO_LARGE = (
    "use fewer steps, or fewer bits: --set use_integers.input_bits=6; "
    "or recipe exact, which computes in float32"
)


def use_integers(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    weight_bits: int = 8,
    input_bits: int = 8,
) -> Graph:
    """Round weights to integers of 8 bits, and everything else to integers of the same steps.

    All weights that reach the neurons of one channel share a step: that of the channel's largest
    weight, a little longer, so that the threshold is an even integer. Biases, charges and initial
    potentials are rounded to that step, shortcuts become integer weights, averages become sums.
    Weights of an output share one step, so that a decision compares integers. Inputs are rounded to
    8 bits of their range in calibration.

    Currents that go around neurons into a sum decide its step, and layers beside them have a whole
    multiple of it; constant ones are rounded to about the step of the sum. Where a layer takes
    spikes beside sums of many, the spikes are multiplied (integer_steps.py).

    Integers are carried in float32; a bound on every sum proves that none leaves the range in which
    these are exact (ir/bounds.py). So every engine gives the same bits. The constant currents of a
    layer behind the input that is so wide that its sums over T steps would are rounded.

    Before:  conv2 (Conv) -> relu2 (WaitFire, threshold 1)
    After:   conv2 (Conv, weights -127..127) -> relu2 (WaitFire, threshold e.g. 214)

    Args:
        graph: Spiking, scheduled or causal.
        calibration: Inputs, one array [N, ...] per graph input.
        n_steps: T of a causal graph; a schedule knows its own.
        weight_bits: 2 to 16, the sign included.
        input_bits: Likewise.

    Raises:
        PassError: Bits outside their range, or sums may grow too large.
        UnsupportedOpError: Ops that have no integer form; all of them are listed.

    Keeps: the inputs and the shapes of the outputs; `Node.unit` says what an integer stands for.
    Source: Jacob et al. 2018 (integer arithmetic with steps per channel).
    """
    for option, value in (("weight_bits", weight_bits), ("input_bits", input_bits)):
        if not 2 <= value <= 16:
            raise PassError(
                f"use_integers: {option} {value}, expected 2 to 16", hint="8 is the default"
            )
    if "integers" in graph.metadata:
        return graph
    reasons = tuple(
        f"{node}: has no integer form"
        for node in graph.nodes
        if type(node.op) not in _RULES and not isinstance(node.op, Neuron)
    )
    if reasons:
        raise UnsupportedOpError(
            f"use_integers: {len(reasons)} nodes have no integer form",
            reasons=reasons,
            hint="use recipe exact, which computes in float32",
        )
    builder = _Builder(graph, weight_bits, input_bits, calibration)
    for node in graph.nodes:
        builder.add(node)
    run_steps = graph.metadata.get("schedule", {}).get("n_steps", n_steps)
    facts = {"weight_bits": weight_bits, "input_bits": input_bits, "n_steps": run_steps}
    result = graph.replace(
        nodes=tuple(builder.nodes), metadata={**graph.metadata, "integers": facts}
    )
    result = narrow_currents(result, run_steps)
    overflows = find_overflows(result, run_steps)
    if overflows:
        raise PassError(
            f"use_integers: T={n_steps} is beyond what integers hold: {overflows[0]}",
            hint=TOO_LARGE,
        )
    return result


class _Builder:
    """The nodes made so far and, by name, what one integer of a result stands for."""

    def __init__(
        self, graph: Graph, weight_bits: int, input_bits: int, calibration: tuple[Array, ...]
    ) -> None:
        self.graph = graph
        self.input_bits = input_bits
        self.ranges = {
            name: (float(array.min()), float(array.max()))
            for name, array in zip(graph.inputs, calibration, strict=True)
        }
        self.steps = Steps(graph, 2 ** (weight_bits - 1) - 1)
        self.nodes: list[Node] = []
        self.renamed: dict[str, str] = {}

    def add(self, node: Node) -> None:
        """Append a node in integers."""
        rule = _neuron if isinstance(node.op, Neuron) else _RULES[type(node.op)]
        rule(self, node)

    def append(self, node: Node, op: Op, inputs: tuple[str, ...] | None = None) -> None:
        """Append the node with another op; its unit becomes what an integer stands for."""
        if inputs is None:
            inputs = tuple(self.renamed.get(name, name) for name in node.inputs)
        self.nodes.append(
            dataclasses.replace(node, op=op, inputs=inputs, unit=self.unit(node.name))
        )

    def unit(self, name: str) -> Array | None:
        """Return what an integer of a result stands for in the source's units."""
        step, old = self.steps.unit(name), self.graph.by_name[name].unit
        unit = compact(np.asarray(step if old is None else step * old, np.float32))
        return None if (unit == 1).all() else unit

    def insert(self, wanted: str, op: Op, operand: str) -> str:
        """Append a node that the graph did not have."""
        name = self.graph.fresh_name(wanted)
        taken = {node.name for node in self.nodes}
        while name in taken:
            name += "_"
        self.nodes.append(Node(name, op, (operand,)))
        return name


def _input(builder: _Builder, node: Node) -> None:
    low, high = builder.ranges[node.name]
    signed = low < 0
    largest = 2 ** (builder.input_bits - signed) - 1
    step = max(abs(low), abs(high)) / largest or 1.0
    builder.steps.units[node.name] = np.full((1,) * len(builder.graph.types[node.name].shape), step)
    builder.nodes.append(node)
    op = Quantize(float(np.float32(step)), -largest if signed else 0, largest)
    builder.renamed[node.name] = builder.insert(f"{node.name}/quantized", op, node.name)


def _layer(builder: _Builder, node: Node) -> None:
    op = node.op
    if not isinstance(op, Conv | Dense):
        raise TypeError(f"{node}: expected Conv or Dense")
    unit = builder.steps.unit(node.name).reshape(-1)
    per_row = np.broadcast_to(unit, op.bias.shape)
    weight = builder.steps.weight(node) / per_row.reshape(-1, *(1,) * (op.weight.ndim - 1))
    limit = builder.steps.largest
    weight = np.clip(np.rint(weight), -limit, limit)
    bias = np.rint(op.bias.astype(np.float64) / per_row)
    _, factors = builder.steps.arriving(node)
    (operand,) = (builder.renamed.get(name, name) for name in node.inputs)
    if (factors != 1).any():
        scale = Scale(_array(factors), np.zeros_like(factors, np.float32))
        operand = builder.insert(f"{node.inputs[0]}/multiplied", scale, operand)
    new = dataclasses.replace(op, weight=_array(weight), bias=_array(bias))
    builder.append(node, new, (operand,))


def _scale(builder: _Builder, node: Node) -> None:
    op = node.op
    if not isinstance(op, Scale):
        raise TypeError(f"{node}: expected Scale")
    unit = builder.steps.unit(node.name)
    limit = builder.steps.largest
    scale = np.clip(np.rint(builder.steps.weight(node) / unit), -limit, limit)
    shift = np.rint(op.shift.astype(np.float64) / unit)
    builder.append(node, Scale(_array(compact(scale)), _array(compact(shift))))


def _add(builder: _Builder, node: Node) -> None:
    """Bring all operands to one unit: a connection with an integer weight where they differ."""
    unit = builder.steps.unit(node.name)
    inputs = []
    for name in node.inputs:
        found = builder.renamed.get(name, name)
        shape = builder.graph.types[name].shape
        have = np.broadcast_to(builder.steps.unit(name), shape)
        if not np.array_equal(have, np.broadcast_to(unit, shape)):
            factor = compact(_array(np.rint(have / unit)))
            found = builder.insert(f"{name}/weighted", Scale(factor, np.zeros_like(factor)), found)
        inputs.append(found)
    builder.append(node, node.op, tuple(inputs))


def _average_pool(builder: _Builder, node: Node) -> None:
    op = node.op
    if not isinstance(op, AveragePool):
        raise TypeError(f"{node}: expected AveragePool")
    pool = SumPool(op.kernel, op.strides, op.padding)
    counts, common = pool_counts(op, builder.graph.types[node.inputs[0]].shape)
    if (counts == common).all():
        builder.append(node, pool)
        return
    operand = builder.renamed.get(node.inputs[0], node.inputs[0])
    summed = builder.insert(f"{node.name}/sum", pool, operand)
    factor = _array(common / counts)
    builder.append(node, Scale(factor, np.zeros((1,) * factor.ndim, np.float32)), (summed,))


def _global_average_pool(builder: _Builder, node: Node) -> None:
    sizes = builder.graph.types[node.inputs[0]].shape[1:]
    pool = SumPool(sizes, (1,) * len(sizes), ((0, 0),) * len(sizes))
    operand = builder.renamed.get(node.inputs[0], node.inputs[0])
    summed = builder.insert(f"{node.name}/sum", pool, operand)
    builder.append(node, Flatten(), (summed,))


def _same(builder: _Builder, node: Node) -> None:
    builder.append(node, node.op)


def _pulse(builder: _Builder, node: Node) -> None:
    """Round a constant current that is much finer than the sum it flows into."""
    divisor = builder.steps.divisor(node)
    (operand,) = (builder.renamed.get(name, name) for name in node.inputs)
    if divisor > 1:
        limit = (MAX_INTEGER - 1) // int(divisor)
        operand = builder.insert(
            f"{node.inputs[0]}/rounded", Quantize(divisor, -limit, limit), operand
        )
    builder.append(node, node.op, (operand,))


def _add_once(builder: _Builder, node: Node) -> None:
    op = node.op
    if not isinstance(op, AddOnce):
        raise TypeError(f"{node}: expected AddOnce")
    charge = np.rint(op.charge.astype(np.float64) / builder.steps.unit(node.name))
    builder.append(node, AddOnce(_array(compact(charge))))


def _neuron(builder: _Builder, node: Node) -> None:
    """Round the threshold to an even integer: half of it is one, too."""
    op = node.op
    if not isinstance(op, Neuron):
        raise TypeError(f"{node}: expected a neuron")
    (operand,) = node.inputs
    unit, found = builder.steps.unit(operand), builder.renamed.get(operand, operand)
    if not builder.steps.is_weighted(operand, node.name):  # spikes that come without a weight
        ratio = op.threshold / unit
        factor = 2 if (ratio == np.rint(ratio)).all() else builder.steps.largest - 1
        unit = unit / factor
        one = np.ones((1,) * len(builder.graph.types[operand].shape), np.float32)
        found = builder.insert(f"{operand}/weighted", Scale(factor * one, 0 * one), found)
    threshold = np.maximum(2, 2 * np.rint(op.threshold.astype(np.float64) / unit / 2))
    initial = np.rint(op.initial_potential.astype(np.float64) / unit)
    builder.append(
        node,
        dataclasses.replace(
            op,
            threshold=_array(compact(threshold)),
            initial_potential=_array(compact(initial)),
        ),
        (found,),
    )


def _array(values: Values) -> Array:
    if np.abs(values).max(initial=0) >= MAX_INTEGER:
        raise PassError(
            f"use_integers: an integer would be {np.abs(values).max():,.0f}, "
            f"expected below {MAX_INTEGER:,}",
            hint=TOO_LARGE,
        )
    return np.asarray(values, np.float32)


_RULES: dict[type[Op], Callable[[_Builder, Node], None]] = {
    Input: _input,
    Conv: _layer,
    Dense: _layer,
    Scale: _scale,
    Add: _add,
    AddOnce: _add_once,
    AveragePool: _average_pool,
    GlobalAveragePool: _global_average_pool,
    Concatenate: _same,
    Flatten: _same,
    Identity: _same,
    InsertZeros: _same,
    MaxPool: _same,
    Pad: _same,
    Pulse: _pulse,
    Reshape: _same,
    Select: _same,
    SpikingMaxPool: _same,
    Transpose: _same,
}
