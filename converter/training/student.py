"""From a graph to the Keras model that is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..calibration.mmse import find_mmse_thresholds
from ..errors import PassError
from ..exports.keras import build_keras, layer_names
from ..ir import Array, Graph, Node
from ..ir.ops import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    QuantizedRelu,
    Relu,
)
from ..passes import PASSES
from .binary_weights import find_binarizable
from .constraints import CONSTRAINTS, count_steps

ANALOG_OPS = (Conv, BatchNorm, MaxPool, AveragePool, GlobalAveragePool)


@dataclass(frozen=True)
class Binarization:
    """Which weights become binary, and how.

    Attributes:
        scheme: A key of binary_weights.SCHEMES.
        all_layers: The first and the last layers, too.
    """

    scheme: str = "scaled"
    all_layers: bool = False


@dataclass(frozen=True)
class Student:
    """A model to train, and what its layers stand for.

    Attributes:
        model: From inputs to the potentials of the output.
        inner: One step of it, with a layer for every node: the model itself but for `surrogate`.
        with_rates: The model, and the means of its activations behind the potentials.
        graph: What it was built from; simplified, its ReLUs as in the source.
        activations: By ReLU node: the name of its layer.
        binary: By node of binary weights: the name of its layer.
        scheme: Of these.
        constraint: The activation constraint; "" where ReLUs stay.
        options: Of it.
    """

    model: Any
    inner: Any
    with_rates: Any
    graph: Graph
    activations: Mapping[str, str]
    binary: Mapping[str, str]
    scheme: str
    constraint: str
    options: Mapping[str, Any]

    @property
    def n_steps(self) -> int:
        """Spikes of a neuron whose rate is 1."""
        return count_steps(self.constraint, self.options)


def simplify(graph: Graph) -> Graph:
    """Return the graph without what does nothing and without the activation of its output."""
    return PASSES["strip_output_activation"](PASSES["remove_no_ops"](graph))


def build_student(
    graph: Graph,
    constraints: Mapping[str, Mapping[str, Any]],
    calibration: tuple[Array, ...],
    *,
    binarization: Binarization | None = None,
    seed: int = 0,
) -> Student:
    """Return a graph as a Keras model with the constraints' layers in place of its own.

    Thresholds start where the squared error of the levels is least on the calibration inputs.

    Args:
        graph: Analog, as read.
        constraints: As `choose_constraints` gives them.
        calibration: One array [N, ...] per input.
        binarization: None for weights of full precision.
        seed: Of noise and of stochastic weights.

    Raises:
        PassError: A layer is never active, or there is nothing to binarize.
        UnsupportedOpError: No layer of Keras computes a node.
    """
    graph = simplify(graph)
    names = layer_names(graph)
    nodes = {layer: graph.by_name[node] for node, layer in names.items()}
    name = next((key for key in constraints if CONSTRAINTS[key].is_activation), "")
    options = dict(constraints.get(name, {}))
    relus = [node for node in graph.nodes if isinstance(node.op, Relu | QuantizedRelu)]
    if name and not relus:
        raise PassError(
            f"--constraint {name}: the network has no ReLU, expected one at least",
            hint="only networks with ReLUs become spiking",
        )
    binary: set[str] = set()
    if binarization is not None:
        binary = set(find_binarizable(graph, all_layers=binarization.all_layers))
        if not binary:
            raise PassError(
                "binarize: every layer is a first, a last or a depthwise one, expected others",
                hint="--all-layers binarizes the first and the last layers, too",
            )
    # Folded copies of weights are no longer binary where thresholds differ between channels.
    per_channel = bool(options.get("per_channel", False)) and not binary
    thresholds = _initial_thresholds(graph, name, options, calibration, per_channel)
    limit = constraints.get("weight_clipping", {}).get("limit")
    made: dict[str, Any] = {}

    def create(kind: str, **settings: Any) -> Any:
        from .table import find_layer

        node = nodes.get(settings["name"])
        if node is not None and kind == "ReLU" and name:
            per = per_channel and is_channels_last(graph, node)
            layer = _make_activation(name, options, settings["name"], per_channel=per, seed=seed)
            made[node.name] = layer
            return layer
        if node is not None and node.name in binary:
            return _make_binary(kind, node, settings, binarization, seed)
        if limit is not None and node is not None and isinstance(node.op, Conv | Dense):
            from .binary_layers import ClipWeights

            key = "depthwise_constraint" if kind.startswith("Depthwise") else "kernel_constraint"
            settings[key] = ClipWeights(limit)
        layer = find_layer(kind)(**settings)
        if kind == "QuantizedReLU":  # of an earlier training; only a constraint moves thresholds
            layer.trainable = False
        return layer

    model = build_keras(_with_plain_relus(graph) if name else graph, create=create)
    for node_name, layer in made.items():
        if hasattr(layer, "threshold"):
            start = thresholds[node_name].reshape(-1)
            layer.threshold.assign(start if layer.threshold.shape[0] > 1 else [start.max()])
    import keras

    results = [model.get_layer(names[node.name]).output for node in relus]
    with_rates = keras.Model(model.input, [*model.outputs, *results])
    outer = model
    if name == "surrogate":
        with_rates = _over_time(with_rates, int(options["n_steps"]))
        outer = keras.Model(with_rates.input, with_rates.outputs[0])
    return Student(
        outer,
        model,
        with_rates,
        graph,
        {node.name: names[node.name] for node in relus},
        {node: names[node] for node in sorted(binary)},
        binarization.scheme if binarization else "",
        name,
        options,
    )


def is_channels_last(graph: Graph, node: Node) -> bool:
    """Return whether Keras has the channels of an activation's operand at the end."""
    if len(graph.types[node.name].shape) == 1:
        return True
    while node.inputs and not isinstance(node.op, ANALOG_OPS):
        if len(graph.types[node.inputs[0]].shape) == 1:
            return False
        node = graph.by_name[node.inputs[0]]
    return isinstance(node.op, ANALOG_OPS)


def _with_plain_relus(graph: Graph) -> Graph:
    """Return the graph with ReLUs without bounds and levels: the constraint brings its own."""
    nodes = tuple(
        dataclasses.replace(node, op=Relu()) if isinstance(node.op, QuantizedRelu | Relu) else node
        for node in graph.nodes
    )
    return graph.replace(nodes=nodes)


def _initial_thresholds(
    graph: Graph,
    name: str,
    options: Mapping[str, Any],
    calibration: tuple[Array, ...],
    per_channel: bool,
) -> dict[str, Array]:
    found = {
        node.name: np.asarray(node.op.threshold)
        for node in graph.nodes
        if isinstance(node.op, QuantizedRelu)
    }
    if not name:
        return found
    n_levels = count_steps(name, options)
    fitted = find_mmse_thresholds(graph, calibration, n_levels=n_levels, per_channel=per_channel)
    return fitted | found


def _make_activation(
    name: str, options: Mapping[str, Any], layer_name: str, *, per_channel: bool, seed: int
) -> Any:
    from . import activations, spiking

    match name:
        case "qcfs":
            return activations.QuantizedReLU(
                options["n_levels"], per_channel=per_channel, name=layer_name
            )
        case "slip_relu":
            return activations.SlipReLU(
                options["n_levels"], share=options["share"], per_channel=per_channel,
                name=layer_name,
            )  # fmt: skip
        case "step":
            return activations.QuantizedReLU(1, name=layer_name)
        case "sign":
            return activations.BinarySign(options["estimator"], name=layer_name)
        case "whetstone":
            return activations.Whetstone(gradient_width=options["gradient_width"], name=layer_name)
        case "surrogate":
            return spiking.SpikingNeuron(
                options["n_steps"], surrogate=options["surrogate"], width=options["width"],
                leak=options["leak"], train_leak=options["train_leak"], name=layer_name,
            )  # fmt: skip
    return activations.ClippedReLU(
        per_channel=per_channel, noise=options.get("noise", 0.0),
        poisson_steps=options.get("n_steps", 0), seed=seed, name=layer_name,
    )  # fmt: skip


def _make_binary(
    kind: str, node: Node, settings: dict[str, Any], binarization: Binarization | None, seed: int
) -> Any:
    from . import binary_layers

    op = node.op
    weight = op.weight if isinstance(op, Conv | Dense) else np.ones(1, np.float32)
    limit = float(np.abs(weight).max()) or 1.0
    scheme = binarization.scheme if binarization else "scaled"
    return getattr(binary_layers, f"Binary{kind}")(
        scheme=scheme, seed=seed, kernel_constraint=binary_layers.ClipWeights(limit), **settings
    )


def _over_time(model: Any, n_steps: int) -> Any:
    """Return the model with its inputs repeated and its outputs averaged."""
    import keras

    from .spiking import MeanOverSteps, RepeatSteps

    repeat, mean = RepeatSteps(n_steps, name="repeat"), MeanOverSteps(n_steps, name="mean")

    (tensor,) = model.inputs
    start = keras.Input(tensor.shape[1:], name=tensor.name)
    return keras.Model(start, [mean(result) for result in model(repeat(start))])
