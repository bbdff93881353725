"""A network that becomes spiking layer by layer, simulated for T steps as far as it is."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from ..ir import Array, Graph, Node, Op, StatefulOp
from ..ir.interpret import check_inputs
from ..ir.ops import Input, QuantizedRelu, Relu
from .biases import apply_in_parts
from .insert_neurons import insert_neurons

MAX_ENTRIES = 3 * 2**27
"""Currents of one layer that are held at a time, over steps and samples: 1.5 GiB."""
MAX_STEPS = 12_800
"""Of all samples together: the more steps, the less there is to measure, and the less it varies."""


def to_relus(graph: Graph) -> Graph:
    """Return the graph with a ReLU in the place of every quantised one, and without leaks."""
    nodes = (
        dataclasses.replace(node, op=Relu()) if isinstance(node.op, QuantizedRelu) else node
        for node in graph.nodes
    )
    metadata = {key: value for key, value in graph.metadata.items() if key != "leaks"}
    return graph.replace(nodes=tuple(nodes), metadata=metadata)


class SpikingLayers:
    """Results of the ANN and of the spiking network, node by node and while needed.

    Subclasses say what the neurons of a layer are, once they see its currents.

    Attributes:
        graph: ANN without batch norm; its ReLUs may be quantised.
        n_steps: T.
        thresholds: By ReLU, in the ANN's units, with the rank of a sample.
    """

    def __init__(
        self, graph: Graph, calibration: tuple[Array, ...], n_steps: int, n_samples: int
    ) -> None:
        """Take the first samples: fewer than n_samples where T or a layer is large."""
        self.graph = graph
        self.n_steps = n_steps
        self.thresholds: dict[str, Array] = {}
        largest = max(type_.size for type_ in graph.types.values())
        n_used = max(1, min(n_samples, MAX_STEPS // n_steps, MAX_ENTRIES // (n_steps * largest)))
        samples = check_inputs(graph, tuple(array[:n_used] for array in calibration))
        self._fed = dict(zip(graph.inputs, samples, strict=True))
        spiking = insert_neurons(to_relus(graph))
        self._spiking = {node.name: node.op for node in spiking.nodes}
        self._varying = spiking.varying
        self._uses = Counter(operand for node in graph.nodes for operand in node.inputs)
        self._exact: dict[str, Array] = {}
        self._trains: dict[str, Array] = {}  # [T or 1, N, ...]; of neurons one byte per spike

    def fire(self, node: Node, currents: Array, exact: Array) -> tuple[Array, Array]:
        """Choose the neurons of a ReLU; return their threshold and spikes [T, N, ...].

        Args:
            node: The ReLU.
            currents: [T or 1, N, ...], in the ANN's units.
            exact: Its activations in the ANN, [N, ...].
        """
        raise NotImplementedError

    def prepare(self, node: Node, op: Op, exact: Array) -> Op:
        """Return the op of a node that is no neuron, before it is simulated."""
        return op

    def finish(self, node: Node, exact: Array, train: Array) -> None:
        """See what a node that is no neuron gives, [T or 1, N, ...]."""

    def run(self) -> None:
        """Go through the network."""
        for node in self.graph.nodes:
            self._add(node)
            for name in node.inputs:
                self._uses[name] -= 1
                if not self._uses[name]:
                    del self._exact[name], self._trains[name]

    def rates(self, name: str) -> Array:
        """Return the mean of a result over the steps, [N, ...], in the ANN's units."""
        mean = self._trains[name].mean(axis=0, dtype=np.float32)
        return np.asarray(mean * self._unit(name), np.float32)

    def varies(self, name: str) -> bool:
        """Return whether a result comes of spikes."""
        return name in self._varying

    def _add(self, node: Node) -> None:
        if isinstance(node.op, Input):
            exact = self._fed[node.name]
            train = exact[None]
        else:
            exact = apply_in_parts(node.op, [self._exact[name] for name in node.inputs])
            if isinstance(node.op, Relu | QuantizedRelu):
                currents = self._trains[node.inputs[0]]
                self.thresholds[node.name], train = self.fire(node, currents, exact)
            else:
                train = self._send(node, self.prepare(node, self._spiking[node.name], exact), exact)
                self.finish(node, exact, train)
        self._exact[node.name], self._trains[node.name] = exact, train

    def _send(self, node: Node, op: Op, exact: Array) -> Array:
        n_different = max(len(self._trains[name]) for name in node.inputs)
        state = None
        if isinstance(op, StatefulOp):
            state = op.start((len(exact), *self.graph.types[node.inputs[0]].shape))
        sent = np.empty((n_different, *exact.shape), np.float32)
        for step in range(n_different):
            operands = [self._at(name, step) for name in node.inputs]
            if isinstance(op, StatefulOp) and state is not None:
                sent[step], state = op.step(operands[0], state)
            else:
                apply_in_parts(op, operands, sent[step])
        return sent

    def _unit(self, name: str) -> Array:
        return self.thresholds.get(name, np.ones((), np.float32))

    def _at(self, name: str, step: int) -> Array:
        train = self._trains[name]
        return np.asarray(train[min(step, len(train) - 1)] * self._unit(name), np.float32)
