"""Split: the errors of all layers of a spiking network, added up batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..converter.ir import AddOnce, Array, Graph, Neuron, Node, run_nodes
from ..converter.ir.ops import Conv, Dense, QuantizedRelu, Relu
from .advice import read_options
from .error_split import Currents, Sums, levels_of
from .mean_values import propagate
from .schedule import read_schedule
from .simulation import Counts


class Split:
    """The sums of all layers of neurons and of the outputs, and how a batch is added to them.

    Args:
        graph: Spiking.
        ann: The network it was converted from, as it was read.
        layers: Neurons of EXPLAINED that have the names of activations of the network.
        n_steps: Of the run.
    """

    def __init__(self, graph: Graph, ann: Graph, layers: Sequence[Node], n_steps: int) -> None:
        self.graph, self.ann, self.n_steps = graph, ann, n_steps
        self.layers = layers
        self.outputs = {node: _find_sum(graph, node) for node in _find_outputs(graph, ann)}
        self.sums = {node.name: Sums() for node in self.layers}
        self.sums |= {node.name: Sums(is_output=True) for node in self.outputs}
        schedule = read_schedule(graph)
        self.flows = np.float32(1 if schedule is None else n_steps / schedule.n_levels)
        fitted = "calibrate_neurons" in read_options(graph)
        self.levels = {
            node.name: levels_of(node.op, n_steps, self._gain(node), holds_back=fitted)
            for node in graph.nodes
            if isinstance(node.op, Neuron)
        }

    def add(
        self, plain: tuple[Array, ...], fed: tuple[Array, ...] | None, counts: Mapping[str, Counts]
    ) -> None:
        """Add one batch.

        Args:
            plain: Its samples, without time.
            fed: What flows in on the mean of the steps; None where it is the same.
            counts: Of spikes, by node.
        """
        wanted = {
            node.name: value for node, value in run_nodes(self.ann, plain) if node.name in self.sums
        }

        def ideally(node: Node, current: Array) -> Array:
            levels = self.levels[node.name]
            if node.name in wanted:
                per_step = wanted[node.name] / _unit(self.graph, node.name)
                return np.asarray(per_step * np.float32(levels.n_steps / self.n_steps))
            charge = current + levels.extra / np.float32(self.n_steps)
            return np.maximum(charge * self._gain(node), 0)

        def really(node: Node, current: Array) -> Array:
            return np.asarray(counts[node.name] / self.n_steps, np.float32)

        exact = propagate(self.graph, plain, self.n_steps, ideally)
        uncoded = propagate(self.graph, plain, self.n_steps, really)
        real = uncoded if fed is None else propagate(self.graph, fed, self.n_steps, really)
        for node in self.layers:
            unit, levels = _unit(self.graph, node.name), self.levels[node.name]
            scale = np.float32(self.n_steps / levels.n_steps)
            flows = (values[node.inputs[0]] * scale for values in (exact, uncoded, real))
            self.sums[node.name].add(
                wanted[node.name] / unit,
                Currents(*flows),
                counts[node.name],
                self._gain(node),
                levels,
                _activation(self.ann, node.name, unit),
            )
        for node, total in self.outputs.items():
            unit = _unit(self.graph, total)
            if total not in self.graph.outputs:  # their units make up for the longer run
                unit = unit * self.flows
            means = (values[total] * unit for values in (exact, real))
            self.sums[node.name].add_output(wanted[node.name], *means)

    def _gain(self, node: Node) -> Array | np.float32:
        """Return the ideal rate per current."""
        return _unit(self.graph, node.inputs[0]) / _unit(self.graph, node.name)


def _find_outputs(graph: Graph, ann: Graph) -> list[Node]:
    """Return the last layers with weights, whose values the network has, too."""
    ahead: set[str] = set()  # nodes with weights or neurons behind them
    found = []
    for node in reversed(graph.nodes):
        if (
            isinstance(node.op, Conv | Dense)
            and node.name not in ahead
            and node.name in ann.by_name
        ):
            found.append(node)
        if node.name in ahead or isinstance(node.op, Conv | Dense | Neuron):
            ahead.update(node.inputs)
    return found[::-1]


def _find_sum(graph: Graph, node: Node) -> str:
    """Return the result of a layer with its bias, which comes behind it under a schedule."""
    while graph.is_only_use(node.name) and isinstance(graph.consumers[node.name][0].op, AddOnce):
        (node,) = graph.consumers[node.name]
    return node.name


def _activation(ann: Graph, name: str, unit: Array | np.float32) -> Callable[[Array], Array]:
    """Return the function whose values a node of the network has, on currents in `unit`.

    Of a pooling that stands behind it there, the function in front is meant.
    """
    node = ann.by_name[name]
    while node.inputs and not isinstance(node.op, Relu | QuantizedRelu):
        node = ann.by_name[node.inputs[0]]
    function = node.op if node.inputs else Relu()
    return lambda current: function.apply(np.asarray(current * unit, np.float32)) / unit


def _unit(graph: Graph, name: str) -> Array | np.float32:
    unit = graph.by_name[name].unit
    return np.float32(1) if unit is None else unit
