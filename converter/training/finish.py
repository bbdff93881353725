"""From a trained graph to what is written: a Keras file, and the spiking graph made from it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..convert import Conversion, convert
from ..exports.keras import build_keras, encode_model, layer_names
from ..frontends import read
from ..ir import Array, Graph, Node, run_nodes
from ..ir.ops import QuantizedRelu, Relu, Scale
from .constraints import N_STEPS

EXACT, CAUSAL = "trained_exact", "trained"
TIE = 1e-5
"""In thresholds: sums that are closer to a step are ties."""
BATCH = 100


def choose_recipe(graph: Graph) -> tuple[str, int]:
    """Return the recipe that keeps what training promised, and its number of steps.

    Levels are exact under a schedule, and in one step without one; bounded ReLUs have no levels.
    """
    levels = [n.op.n_levels for n in graph.nodes if isinstance(n.op, QuantizedRelu)]
    n_steps = max(levels, default=0)
    if not n_steps:
        is_bounded = all(
            node.op.max_value is not None for node in graph.nodes if isinstance(node.op, Relu)
        )
        trained: Any = graph.metadata.get("trained", {})
        return (CAUSAL if is_bounded else "exact"), int(trained.get("n_steps", N_STEPS))
    return (CAUSAL if n_steps == 1 else EXACT), n_steps


def encode_trained(graph: Graph) -> bytes:
    """Return a trained graph as a .keras file: plain layers, and spikeport's own activations."""
    plain = _with_uniform_bounds(graph)
    names = layer_names(plain)
    leaks = {names[node]: leak for node, leak in graph.metadata.get("leaks", {}).items()}

    def create(kind: str, **settings: Any) -> Any:
        from .activations import ClippedReLU
        from .table import find_layer

        if kind == "ReLU" and settings["name"] in leaks:
            name, bound = settings["name"], settings["max_value"]
            return ClippedReLU(bound, leak=leaks[name], name=name)
        return find_layer(kind)(**settings)

    return encode_model(build_keras(plain, create=create))


def convert_trained(
    path: Path,
    graph: Graph,
    calibration: Array,
    *,
    recipe: str | None = None,
    n_steps: int | None = None,
    **options: Any,
) -> Conversion:
    """Read a trained .keras file back and turn it into a spiking graph.

    Args:
        path: What `encode_trained` gave, written.
        graph: Of `train`.
        calibration: Samples to compare on; only recipes of untrained activations fit to them.
        recipe: A key of RECIPES; None for what the training promises.
        n_steps: T; None for the levels of the training.
        options: Of `convert`.
    """
    chosen, n_levels = choose_recipe(graph)
    recipe = recipe or chosen
    settings: dict[str, dict[str, Any]] = {}
    if recipe == "exact":  # one threshold per layer keeps binary weights binary
        settings["normalize_for_steps"] = {"per_channel": False}
    result = convert(
        read(path), calibration, recipe=recipe, n_steps=n_steps or n_levels, options=settings,
        **options,
    )  # fmt: skip
    trained = graph.metadata.get("trained")
    if trained:
        metadata = {**result.graph.metadata, "trained": trained}
        result = dataclasses.replace(result, graph=result.graph.replace(metadata=metadata))
    return result


def count_ties(graph: Graph, inputs: tuple[Array, ...]) -> tuple[int, int]:
    """Return how many sums are so close to a step that rounding decides, and in how many samples.

    The order of additions decides there: the trained network, an engine and another machine may
    each send one level more or less.

    Args:
        graph: Analog, trained on levels; sums without levels are not looked at.
        inputs: One array [N, ...] per input.
    """
    n_samples, n_ties = len(inputs[0]), 0
    tied = np.zeros(n_samples, bool)
    levels = {node.inputs[0]: node.op for node in graph.nodes if isinstance(node.op, QuantizedRelu)}
    for first in range(0, n_samples, BATCH):
        part = slice(first, first + BATCH)
        for node, value in run_nodes(graph, tuple(array[part] for array in inputs)):
            op = levels.get(node.name)
            if op is None:
                continue
            # In levels; a step lies at each of 1, ... n_levels.
            place = value / op.threshold * op.n_levels + op.shift
            step = np.clip(np.rint(place), 1, op.n_levels)
            is_tie = np.abs(place - step) < TIE * op.n_levels
            n_ties += int(is_tie.sum())
            tied[part] |= is_tie.reshape(len(is_tie), -1).any(axis=1)
    return n_ties, int(tied.sum())


def _with_uniform_bounds(graph: Graph) -> Graph:
    """Return the graph with bounds that differ between channels as scales around a bound of 1."""
    nodes: list[Node] = []
    for node in graph.nodes:
        bound = node.op.max_value if isinstance(node.op, Relu) else None
        if bound is None or (bound == bound.flat[0]).all():
            nodes.append(node)
            continue
        zero = np.zeros_like(bound)
        down = Node(
            f"{node.name}/down", Scale(np.float32(1) / bound, zero), node.inputs, node.source
        )
        one = np.ones((1,) * bound.ndim, np.float32)
        clipped = Node(f"{node.name}/clipped", Relu(one), (down.name,), node.source)
        up = dataclasses.replace(node, op=Scale(bound, zero), inputs=(clipped.name,))
        nodes += [down, clipped, up]
    return graph.replace(nodes=tuple(nodes))
