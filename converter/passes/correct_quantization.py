"""Bias correction for the rounding and clipping of activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph, Node, Op
from ..ir.ops import Add, Conv, Dense, Input, Relu, Scale

BATCH_SIZE = 25


def correct_quantization(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    levels_per_step: int = 1,
    n_samples: int = 500,
) -> Graph:
    """Shift biases so that quantised activations have the mean of the ANN's, channel by channel.

    Layer by layer, in order, with all layers before it quantised and corrected:
    b += mean(z - z_q)  before the ReLU, then  b += mean(relu(z) - q(z_q)),
    q(z) = clip(floor(n z + 1/2), 0, n) / n. Outputs are corrected as z is.

    Before:  conv1 (Conv, bias b) -> relu1 (Relu)
    After:   conv1 (Conv, bias b + shift) -> relu1 (Relu)

    Args:
        graph: Normalised: q clips at 1.
        calibration: Inputs, one array [N, ...] per graph input.
        n_steps: T; n = n_steps * levels_per_step.
        levels_per_step: Of the neurons: 1 for binary spikes.
        n_samples: The first so many calibration samples, which must fit into memory layer by layer.

    Raises:
        PassError: n_samples or levels_per_step is below 1.

    Keeps: the inputs and the shapes of the outputs.
    Source: Li et al. 2021 (light calibration); Hao et al. 2025 (before and behind the quantiser).
    """
    for option, value in (("n_samples", n_samples), ("levels_per_step", levels_per_step)):
        if value < 1:
            raise PassError(
                f"correct_quantization: {option} {value}, expected at least 1",
                hint="leave the option out for its default",
            )
    n_levels = n_steps * levels_per_step
    fed = dict(zip(graph.inputs, (array[:n_samples] for array in calibration), strict=True))
    exact: dict[str, Array] = {}
    quantised: dict[str, Array] = {}
    shifts: dict[str, Array] = {}
    last_use = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, Input):
            exact[node.name] = quantised[node.name] = fed[node.name]
            continue
        quantised_operands = [quantised[name] for name in node.inputs]
        exact[node.name] = _apply(node.op, [exact[name] for name in node.inputs])
        if isinstance(node.op, Relu):
            (before,) = node.inputs
            levels = _quantise(quantised[before], n_levels)
            shift = _mean(exact[before] - quantised[before])
            levels = _quantise(quantised[before] + shift, n_levels)
            shift = shift + _mean(exact[node.name] - levels)
            quantised[node.name] = _quantise(quantised[before] + shift, n_levels)
            shifts[node.name] = shift
        else:
            quantised[node.name] = _apply(node.op, quantised_operands)
            is_layer = isinstance(node.op, Conv | Dense) and not graph.consumers[node.name]
            if is_layer:
                shifts[node.name] = _mean(exact[node.name] - quantised[node.name])
        for name in node.inputs:
            if last_use[name] == place:
                exact.pop(name, None)
                quantised.pop(name, None)
    return _add_biases(graph, shifts)


def _add_biases(graph: Graph, shifts: Mapping[str, Array]) -> Graph:
    """Add a shift per channel in front of every named ReLU, and to every named output."""
    by_layer: dict[str, Array] = {}
    inserted: dict[str, Array] = {}
    for name, shift in shifts.items():
        is_relu = isinstance(graph.by_name[name].op, Relu)
        layer = _find_layer(graph, graph.by_name[name].inputs[0]) if is_relu else name
        if layer is None:
            inserted[name] = shift
        else:
            by_layer[layer] = shift
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in by_layer:
            node = dataclasses.replace(node, op=_shifted(node.op, by_layer[node.name]))
        elif node.name in inserted:
            shift = inserted[node.name]
            name = graph.fresh_name(f"{node.name}/bias")
            nodes.append(Node(name, Scale(np.ones_like(shift), shift), node.inputs))
            node = dataclasses.replace(node, inputs=(name,))
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


def _find_layer(graph: Graph, name: str) -> str | None:
    """Return the layer whose bias reaches this value and nothing else, if there is one."""
    node = graph.by_name[name]
    if not graph.is_only_use(name):
        return None
    if isinstance(node.op, Conv | Dense):
        return name
    found = (_find_layer(graph, operand) for operand in node.inputs)
    return next(filter(None, found), None) if isinstance(node.op, Add) else None


def _shifted(op: Op, shift: Array) -> Op:
    if not isinstance(op, Conv | Dense):
        raise TypeError(f"{type(op).__name__}: expected Conv or Dense")
    return dataclasses.replace(op, bias=op.bias + shift.reshape(-1))


def _apply(op: Op, operands: list[Array]) -> Array:
    """Apply an op to many samples, a few at a time."""
    parts = [
        op.apply(*(operand[start : start + BATCH_SIZE] for operand in operands))
        for start in range(0, len(operands[0]), BATCH_SIZE)
    ]
    return np.concatenate(parts)


def _quantise(potential: Array, n_levels: int) -> Array:
    levels = np.clip(np.floor(potential * n_levels + np.float32(0.5)), 0, n_levels)
    return np.asarray(levels / np.float32(n_levels), np.float32)


def _mean(values: Array) -> Array:
    """Return the mean per channel, [C, 1, ...]."""
    axes = (0, *range(2, values.ndim))
    means = values.mean(axis=axes, dtype=np.float64)
    return np.asarray(means, np.float32).reshape(-1, *(1,) * (values.ndim - 2))
