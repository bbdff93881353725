"""Neurons whose threshold, initial potential and bias are chosen on spikes, layer by layer."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..calibration.spiking_fit import Neuron, draw_entries, fit_neuron
from ..calibration.thresholds import find_halves
from ..errors import PassError
from ..ir import Array, Graph, IntegrateFire, Node, StatefulOp
from ..ir.interpret import check_inputs
from ..ir.ops import Add, Conv, Dense, Input, Op, Relu, Scale
from .insert_neurons import insert_neurons
from .rescaling import rescale

MAX_ENTRIES = 2**28
"""Currents of one layer that are held at a time, over steps and samples."""
BATCH_SIZE = 50


def calibrate_neurons(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    n_samples: int = 300,
    mean_weight: float = 10.0,
) -> Graph:
    """Replace ReLUs by neurons fitted, layer by layer, to the spikes that arrive in T steps.

    In topological order every layer is simulated for T steps behind the layers that are already
    spiking. For each of its channels the threshold, the initial potential and a correction of the
    bias are chosen that bring  threshold * count / T  closest to the ANN's activation: clipping,
    quantisation and the uneven arrival of spikes are weighed against one another on the spikes
    themselves. Outputs get a correction of their bias by the mean error that is left.

    Before:  conv1 (Conv) -> relu1 (Relu)
    After:   conv1 (Conv) -> relu1 (IntegrateFire)     threshold 1; unit: the threshold chosen

    Args:
        graph: ANN without batch norm.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        n_steps: T.
        n_samples: Of the calibration inputs, the first so many; fewer where the currents of a
            layer over T steps would take more than a gigabyte.
        mean_weight: Weight of a channel's mean error against its mean square error.

    Raises:
        PassError: A layer is never active on the calibration inputs, or an option is out of range.
        UnsupportedOpError: As `insert_neurons`.

    Keeps: the inputs and the shapes of the outputs.
    Source: Li et al. 2021 (bias correction and calibrated initial potentials against the spiking
    output); the joint search per channel on the arriving spikes is spikeport's.
    """
    if n_samples < 1 or mean_weight < 0:
        raise PassError(
            f"calibrate_neurons: n_samples {n_samples}, mean_weight {mean_weight:g}, expected at "
            "least 1 and at least 0",
            hint="300 and 10 are the defaults",
        )
    if not any(isinstance(node.op, Relu) for node in graph.nodes):
        return graph  # nothing to fit
    largest = max(type_.size for type_ in graph.types.values())
    n_used = max(1, min(n_samples, MAX_ENTRIES // (n_steps * largest)))
    samples = check_inputs(graph, tuple(array[:n_used] for array in calibration))
    layers, shifts = _fit(graph, samples, n_steps, mean_weight)
    shifts |= {name: layer.bias for name, layer in layers.items()}
    corrected = _shift(graph, layers, shifts)
    scaled = rescale(corrected, {name: layer.threshold for name, layer in layers.items()})
    return _set_potentials(insert_neurons(scaled), layers)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Per channel, with the rank of a sample: see `Neuron`."""

    threshold: Array
    initial_potential: Array
    bias: Array


def _fit(
    graph: Graph, samples: tuple[Array, ...], n_steps: int, mean_weight: float
) -> tuple[dict[str, _Layer], dict[str, Array]]:
    """Return the layers by ReLU and the corrections of the outputs by name."""
    spiking = insert_neurons(graph)
    halves = find_halves(graph)
    fed = dict(zip(graph.inputs, samples, strict=True))
    uses = Counter(operand for node in graph.nodes for operand in node.inputs)
    exact: dict[str, Array] = {}
    trains: dict[str, Array] = {}  # [T, N, ...]; of neurons uint8, times their threshold
    layers: dict[str, _Layer] = {}
    shifts: dict[str, Array] = {}
    for node, made in zip(graph.nodes, spiking.nodes, strict=True):
        if isinstance(node.op, Input):
            exact[node.name] = fed[node.name]
        else:
            exact[node.name] = _apply(node.op, [exact[name] for name in node.inputs])
        if isinstance(node.op, Relu):
            (operand,) = node.inputs
            currents = _all_steps(operand, trains, exact, layers, n_steps)
            # Of two signs, one may be never active: its currents are of the other one's scale.
            scale = float(np.abs(exact[operand]).max()) if node.name in halves else 0.0
            layers[node.name] = _fit_layer(node, currents, exact[node.name], mean_weight, scale)
            trains[node.name] = _simulate(currents, layers[node.name])
        elif made.name in spiking.varying:
            operands = [_all_steps(name, trains, exact, layers, n_steps) for name in node.inputs]
            trains[node.name] = _run(made.op, operands, spiking.types[node.inputs[0]].shape)
            if node.name in graph.outputs and isinstance(node.op, Dense | Conv):
                error = exact[node.name] - trains[node.name].mean(axis=0)
                axes = (0, *range(2, error.ndim))
                shifts[node.name] = error.mean(axis=axes).reshape(-1, *(1,) * (error.ndim - 2))
        for name in node.inputs:
            uses[name] -= 1
            if not uses[name]:
                exact.pop(name, None)
                trains.pop(name, None)
    return layers, shifts


def _all_steps(
    name: str,
    trains: dict[str, Array],
    exact: dict[str, Array],
    layers: dict[str, _Layer],
    n_steps: int,
) -> Array:
    """Return a result over time in the ANN's units, [T, N, ...]."""
    if name not in trains:
        return np.broadcast_to(exact[name], (n_steps, *exact[name].shape))
    return trains[name] * layers[name].threshold if name in layers else trains[name]


def _apply(op: Op, operands: list[Array]) -> Array:
    parts = [
        op.apply(*(operand[start : start + BATCH_SIZE] for operand in operands))
        for start in range(0, len(operands[0]), BATCH_SIZE)
    ]
    return np.concatenate(parts)


def _run(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    results = []
    state = op.start((operands[0].shape[1], *shape)) if isinstance(op, StatefulOp) else None
    for step in range(len(operands[0])):
        if isinstance(op, StatefulOp) and state is not None:
            result, state = op.step(operands[0][step], state)
        else:
            result = _apply(op, [operand[step] for operand in operands])
        results.append(result)
    return np.stack(results)


def _fit_layer(
    node: Node, currents: Array, activations: Array, mean_weight: float, scale: float
) -> _Layer:
    """Fit every channel; a channel that is never active gets the layer's largest threshold.

    If no channel is, that is `scale`; 0 for none.
    """
    n_steps, n_samples, n_channels = currents.shape[:3]
    spread = currents.reshape(n_steps, n_samples, n_channels, -1)
    n_positions = spread.shape[3]
    sample, position = np.divmod(draw_entries(n_samples * n_positions, n_steps), n_positions)
    seen = np.moveaxis(spread[:, sample, :, position], 0, 2)  # [T, C, M]
    wanted = activations.reshape(n_samples, n_channels, -1)[sample, :, position]
    found: list[Neuron | None] = [
        fit_neuron(
            seen[:, channel], np.ascontiguousarray(wanted[:, channel]), mean_weight=mean_weight
        )
        for channel in range(n_channels)
    ]
    largest = max((neuron.threshold for neuron in found if neuron is not None), default=scale)
    if not largest:
        raise PassError(
            f"{node}: is never active on the calibration inputs, expected a positive activation",
            hint="calibrate on more samples, or remove the layer",
        )
    filled = [Neuron(largest, largest / 2, 0.0) if neuron is None else neuron for neuron in found]
    shape = (n_channels, *(1,) * (currents.ndim - 3))
    values = np.array([dataclasses.astuple(neuron) for neuron in filled], np.float32)
    return _Layer(*(column.reshape(shape) for column in values.T))


def _simulate(currents: Array, layer: _Layer) -> Array:
    """Return the spikes, uint8."""
    op = IntegrateFire(layer.threshold, layer.initial_potential)
    state = op.start(currents.shape[1:])
    spikes: Array = np.empty(currents.shape, np.uint8)
    for step, current in enumerate(currents):
        fired, state = op.step(current + layer.bias, state)
        spikes[step] = fired
    return spikes


def _shift(graph: Graph, layers: dict[str, _Layer], shifts: dict[str, Array]) -> Graph:
    """Add constants per channel in front of ReLUs and to outputs: to a bias, else as a Scale."""
    biases: dict[str, Array] = {}
    inserted: dict[str, Array] = {}
    for name, shift in shifts.items():
        if name not in layers:
            biases[name] = shift
        else:
            (operand,) = graph.by_name[name].inputs
            target = _find_bias(graph, operand)
            if target is None or target in biases:
                inserted[name] = shift
            else:
                biases[target] = shift
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in biases and isinstance(node.op, Dense | Conv):
            bias = node.op.bias + biases[node.name].reshape(-1)
            node = dataclasses.replace(node, op=dataclasses.replace(node.op, bias=bias))
        elif node.name in inserted:
            shift = inserted[node.name]
            fresh = graph.fresh_name(f"{node.name}/shifted")
            nodes.append(Node(fresh, Scale(np.ones_like(shift), shift), node.inputs))
            node = dataclasses.replace(node, inputs=(fresh,))
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


def _find_bias(graph: Graph, name: str) -> str | None:
    """Return a layer whose bias reaches this result, and nothing else, unchanged; or None."""
    if not graph.is_only_use(name):
        return None
    node = graph.by_name[name]
    if isinstance(node.op, Dense | Conv):
        return name
    if isinstance(node.op, Add) and len(set(node.inputs)) == len(node.inputs):
        return next(filter(None, (_find_bias(graph, operand) for operand in node.inputs)), None)
    return None


def _set_potentials(graph: Graph, layers: dict[str, _Layer]) -> Graph:
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, IntegrateFire) and node.name in layers:
            layer = layers[node.name]
            potential = layer.initial_potential / layer.threshold
            op = dataclasses.replace(node.op, initial_potential=potential)
            node = dataclasses.replace(node, op=op)
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))
