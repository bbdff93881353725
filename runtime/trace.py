"""trace: spikes, membrane potentials and the running decision of one sample, step by step."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError, SimulationError, find
from ..converter.ir import Array, Graph, Neuron, Node
from .checks import check_samples, check_settings
from .decoding import decide, read_readouts
from .encoding import Encoder
from .engines.reference import simulate
from .simulation import neurons

DEFAULT_NEURONS = 100
MAX_VALUES = 2**27
"""Spikes and potentials that are kept, of all nodes and steps: half a gigabyte of potentials."""


@dataclass(frozen=True, eq=False)
class NodeTrace:
    """One node over time, K of its neurons.

    Attributes:
        name: Of the node.
        n_neurons: That it has.
        chosen: Places of the K neurons in the flattened node.
        spikes: What they sent at every step, [T, K]: 0 or 1, or as many as their kind sends.
        potentials: Behind the spike of every step, [T, K].
        thresholds: [K].
    """

    name: str
    n_neurons: int
    chosen: npt.NDArray[np.int64]
    spikes: npt.NDArray[np.int16]
    potentials: Array
    thresholds: Array


@dataclass(frozen=True, eq=False)
class Trace:
    """One sample over time.

    Attributes:
        sample: Its number.
        label: Its class, if known.
        outputs: Mean of the first output so far, [T, ...].
        decisions: [T].
        nodes: Those that were asked for.
    """

    sample: int
    label: int | None
    outputs: Array
    decisions: npt.NDArray[np.int64]
    nodes: tuple[NodeTrace, ...]


def choose_nodes(graph: Graph, names: Sequence[str]) -> tuple[Node, ...]:
    """Return nodes that fire, by name; all of them if no name is given.

    Raises:
        SimulationError: There is no such node, or it does not fire.
    """
    firing = {node.name: node for node in neurons(graph)}
    for name in names:
        if name in graph.by_name and name not in firing:
            raise SimulationError(
                f"node {graph.by_name[name]}: does not fire, expected one of {', '.join(firing)}",
                hint="only neurons have spikes and a potential",
            )
        find(firing, name, "node", SimulationError)
    return tuple(firing[name] for name in names) or tuple(firing.values())


def check_sample(sample: int, n_samples: int) -> None:
    """Check the number of a sample.

    Raises:
        DataError: There is no such sample.
    """
    if not 0 <= sample < n_samples:
        raise DataError(
            f"sample {sample}: the data have {n_samples:,}, expected 0..{n_samples - 1}",
            hint="samples are counted from 0",
        )


def trace(
    graph: Graph,
    inputs: tuple[Array, ...],
    *,
    n_steps: int,
    nodes: Sequence[str] = (),
    n_neurons: int = DEFAULT_NEURONS,
    sample: int = 0,
    label: int | None = None,
    encoder: Encoder | None = None,
) -> Trace:
    """Run one sample in the reference engine and keep what was asked for, nothing else.

    Args:
        graph: As `convert` gives it.
        inputs: One array [1, ...] per input.
        n_steps: T.
        nodes: Names of neurons; () for all.
        n_neurons: The most that are kept of every node, evenly spread over it.
        sample: The number it has in its data.
        label: Its class.
        encoder: What flows at every step; None is the sample as a constant current.

    Raises:
        SimulationError: No such node, a number out of range, or more to keep than MAX_VALUES.
        DataError: The sample does not fit the graph.
    """
    check_settings(n_steps=n_steps, batch_size=1, engine="reference", n_threads=1)
    check_samples(graph, inputs, None, encoder.shapes(graph, n_steps) if encoder else None)
    if n_neurons < 1:
        raise SimulationError(
            f"--neurons {n_neurons}, expected at least 1", hint=f"{DEFAULT_NEURONS} is the default"
        )
    wanted = choose_nodes(graph, nodes)
    kept = {node.name: _spread(graph.types[node.name].size, n_neurons) for node in wanted}
    n_values = n_steps * sum(len(places) for places in kept.values())
    if n_values > MAX_VALUES:
        raise SimulationError(
            f"trace: {n_values:,} spikes and potentials to keep, expected at most {MAX_VALUES:,}",
            hint="ask for fewer --nodes, --neurons or --n-steps",
        )
    spikes = {name: np.zeros((n_steps, len(at)), np.int16) for name, at in kept.items()}
    potentials = {name: np.zeros((n_steps, len(at)), np.float32) for name, at in kept.items()}

    def watch(step: int, values: Mapping[str, Array], states: Mapping[str, Array]) -> None:
        for node in wanted:
            at = kept[node.name]
            spikes[node.name][step] = values[node.name].reshape(-1)[at]
            potentials[node.name][step] = potential_of(node, states[node.name]).reshape(-1)[at]

    outputs = simulate(graph, inputs, n_steps, watch=watch, encoder=encoder).outputs[0][:, 0]
    readout = read_readouts(graph)[0]
    return Trace(
        sample=sample,
        label=label,
        outputs=outputs,
        decisions=np.array([decide(readout.apply(mean[None]), readout)[0] for mean in outputs]),
        nodes=tuple(
            NodeTrace(
                name=node.name,
                n_neurons=graph.types[node.name].size,
                chosen=kept[node.name],
                spikes=spikes[node.name],
                potentials=potentials[node.name],
                thresholds=_thresholds(graph, node)[kept[node.name]],
            )
            for node in wanted
        ),
    )


def potential_of(node: Node, state: Array) -> Array:
    """Return the membrane potentials in a neuron's state."""
    if not isinstance(node.op, Neuron):
        raise SimulationError(f"{node}: expected a neuron")
    return node.op.potential(state)


def to_npz(found: Trace) -> bytes:
    """Return a trace as the bytes of an .npz file (docs/evaluation.md)."""
    arrays: dict[str, Any] = {
        "sample": np.int64(found.sample),
        "label": np.int64(-1 if found.label is None else found.label),
        "outputs": found.outputs,
        "decisions": found.decisions,
        "nodes": np.array([node.name for node in found.nodes]),
    }
    for number, node in enumerate(found.nodes):
        arrays |= {
            f"spikes_{number}": node.spikes,
            f"potentials_{number}": node.potentials,
            f"thresholds_{number}": node.thresholds,
            f"neurons_{number}": node.chosen,
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _spread(size: int, n_wanted: int) -> npt.NDArray[np.int64]:
    """Return at most `n_wanted` places, evenly spread over 0..size-1."""
    if n_wanted >= size:
        return np.arange(size)
    return np.linspace(0, size - 1, n_wanted).round().astype(np.int64)


def _thresholds(graph: Graph, node: Node) -> Array:
    if not isinstance(node.op, Neuron):
        raise SimulationError(f"{node}: expected a neuron")
    return np.broadcast_to(node.op.threshold, graph.types[node.name].shape).reshape(-1)
