"""Weights and neurons that are fitted, layer by layer, to the spikes that arrive in T steps."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..calibration import least_squares
from ..calibration.dynamics import Dynamics, dynamics_of
from ..calibration.spiking_fit import N_ROUNDS, Neuron, draw_entries, fit_neuron
from ..calibration.thresholds import find_halves
from ..errors import PassError
from ..ir import Array, Graph, Node, Op, Reset
from ..ir.ops import Conv, Dense, QuantizedRelu, Relu
from .biases import add_biases, channel_means
from .insert_neurons import put_neurons
from .neuron_options import FIRING, choose_neuron
from .rescaling import rescale
from .spiking_layers import SpikingLayers, to_relus

SPREAD = 0.25
"""Initial potentials are 1/2 plus or minus this, in thresholds, different from channel to channel:
neurons that are driven alike do not fire at the same step."""
GOLDEN = (np.sqrt(5) - 1) / 2


def calibrate_neurons(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    n_samples: int = 500,
    fit_weights: bool = True,
    ridge: float = 0.1,
    hold_back: bool = True,
    reset: str = Reset.SUBTRACT,
    leak: float = 0.0,
    refractory: int = 0,
    relative: float = 0.0,
    decay: float = 0.5,
    signed: bool = False,
) -> Graph:
    """Replace ReLUs by neurons fitted, layer by layer, to the spikes that arrive in T steps.

    In topological order every layer is simulated for T steps behind the layers that already spike:
    its weights are moved, in closed form, so that they make of the spikes' rates what the source's
    make of activations; then the threshold, the charge that is held back and the bias of each
    channel are chosen that bring  threshold * count / T  closest to the ANN's activation. So
    clipping, quantisation and the uneven arrival of spikes are weighed against one another on the
    spikes themselves. Outputs are shifted by the mean error that is left.

    Of a network that was trained on levels (QuantizedRelu) these are the activations that rates are
    brought close to; thresholds and leaks of training are given up.

    Before:  conv1 (Conv) -> relu1 (Relu)
    After:   conv1 (Conv) -> relu1 (IntegrateFire)     threshold 1; unit: the threshold chosen

    Args:
        graph: ANN without batch norm.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        n_steps: T.
        n_samples: Of the calibration inputs, the first so many; fewer where T or a layer is large.
        fit_weights: Move the weights of layers behind neurons; else biases only.
        ridge: How strongly weights are kept, see calibration/least_squares.py.
        hold_back: Let neurons wait with a charge that comes back until step T: better after T
            steps, worse after few of them.
        reset: As in insert_neurons, like the rest: everything is fitted to spikes of such neurons.
        leak: See reset.
        refractory: See reset.
        relative: See reset.
        decay: See reset.
        signed: See reset.

    Raises:
        PassError: A layer is never active on the calibration inputs, or an option is out of range.
        UnsupportedOpError: As `insert_neurons`.

    Keeps: the inputs and the shapes of the outputs.
    Source: Li et al. 2021 (layer by layer against the spiking output, biases and weights); the
    closed form, the choice per channel and the initial potentials are spikeport's.
    """
    if n_samples < 1 or not 0 < ridge < np.inf:
        raise PassError(
            f"calibrate_neurons: n_samples {n_samples}, ridge {ridge:g}, expected at least 1 and "
            "a positive number",
            hint="500 and 0.1 are the defaults",
        )
    make = choose_neuron(
        initial_potential=0.5,
        reset=reset,
        leak=leak,
        refractory=refractory,
        relative=relative,
        decay=decay,
        signed=signed,
        n_steps=n_steps,
    )
    if not any(isinstance(node.op, Relu | QuantizedRelu) for node in graph.nodes):
        return graph  # nothing to fit
    layers = _FittedLayers(graph, calibration, n_steps, n_samples)
    layers.ridge = ridge if fit_weights else None
    layers.hold_back = hold_back
    layers.dynamics = dynamics_of(make(1))
    layers.run()
    nodes = (dataclasses.replace(n, op=layers.ops.get(n.name, n.op)) for n in graph.nodes)
    fitted = to_relus(graph.replace(nodes=tuple(nodes)))
    corrected = add_biases(fitted, layers.shifts)
    spiking = put_neurons(rescale(corrected, layers.thresholds), make)
    return _set_potentials(spiking, layers.potentials)


class _FittedLayers(SpikingLayers):
    """Layers whose weights and neurons are chosen as `calibrate_neurons` says.

    Attributes:
        ridge: None keeps the weights.
        hold_back: See `fit_neuron`.
        dynamics: How neurons fire.
        ops: By node, those with fitted weights.
        potentials: Initial ones by ReLU, in thresholds.
        shifts: Corrections of biases, by ReLU and output.
    """

    ridge: float | None = None
    hold_back = True
    dynamics = Dynamics()

    def __init__(
        self, graph: Graph, calibration: tuple[Array, ...], n_steps: int, n_samples: int
    ) -> None:
        super().__init__(graph, calibration, n_steps, n_samples)
        self.ops: dict[str, Op] = {}
        self.potentials: dict[str, Array] = {}
        self.shifts: dict[str, Array] = {}

    def prepare(self, node: Node, op: Op, exact: Array) -> Op:
        if isinstance(op, Dense | Conv) and self.varies(node.inputs[0]) and self.ridge is not None:
            rates = self.rates(node.inputs[0])
            try:
                op = least_squares.fit_weights(op, rates, exact, self.ridge)
            except PassError as error:
                raise error.at(str(node)) from error
            self.ops[node.name] = op
        return op

    def finish(self, node: Node, exact: Array, train: Array) -> None:
        if isinstance(node.op, Dense | Conv) and not self.graph.consumers[node.name]:
            self.shifts[node.name] = channel_means(exact - train.mean(axis=0))

    def fire(self, node: Node, currents: Array, exact: Array) -> tuple[Array, Array]:
        n_samples, n_channels = exact.shape[:2]
        spread = currents.reshape(*currents.shape[:3], -1)
        neurons = self._fit_channels(node, spread, exact.reshape(n_samples, n_channels, -1))
        thresholds, potentials, biases = np.array(
            [dataclasses.astuple(neuron) for neuron in neurons], np.float32
        ).T
        spikes = np.empty((self.n_steps, *spread.shape[1:]), np.int8)
        wanted = channel_means(exact).reshape(-1)
        n_entries = self.n_steps * n_samples * spread.shape[3]
        for _ in range(N_ROUNDS):
            counts = self.dynamics.fire(spread, thresholds, potentials, biases, spikes)
            biases = np.asarray(biases + wanted - thresholds * counts / n_entries, np.float32)
        self.dynamics.fire(spread, thresholds, potentials, biases, spikes)
        shape = (n_channels, *(1,) * (exact.ndim - 2))
        self.potentials[node.name] = (potentials / thresholds).reshape(shape)
        self.shifts[node.name] = biases.reshape(shape)
        return thresholds.reshape(shape), spikes.reshape(self.n_steps, *exact.shape)

    def _fit_channels(self, node: Node, currents: Array, wanted: Array) -> list[Neuron]:
        """Fit every channel; one that is never active gets the layer's largest threshold.

        If no channel is: of two signs, one may be never active; it is of the other one's scale.

        Args:
            node: The ReLU.
            currents: [T or 1, N, C, M].
            wanted: [N, C, M].
        """
        n_different, n_samples, n_channels, n_places = currents.shape
        drawn = draw_entries(n_samples * n_places, self.n_steps)
        sample, place = np.divmod(drawn, n_places)
        seen = currents[:, sample, :, place].T  # [C, T or 1, M]
        shape = (n_channels, self.n_steps, len(drawn))
        seen = np.ascontiguousarray(np.broadcast_to(seen, shape))
        chosen = np.ascontiguousarray(wanted[sample, :, place].T)
        spread = SPREAD * (1 - 1 / self.n_steps)  # with one step there is nothing to spread
        if node.name in self.graph.outputs:
            spread = 0.0
        starts = 0.5 + spread * (2 * ((np.arange(n_channels) + 1) * GOLDEN % 1) - 1)
        waits = self.hold_back and n_different > 1
        found = [
            fit_neuron(*channel, start=float(start), hold_back=waits, dynamics=self.dynamics)
            for *channel, start in zip(seen, chosen, starts, strict=True)
        ]
        scale = float(np.abs(currents).max()) if node.name in find_halves(self.graph) else 0.0
        largest = max((neuron.threshold for neuron in found if neuron is not None), default=scale)
        if not largest:
            raise PassError(
                f"{node}: is never active on the calibration inputs, expected positive activations",
                hint="calibrate on more samples, or remove the layer",
            )
        return [Neuron(largest, largest / 2, 0.0) if x is None else x for x in found]


def _set_potentials(graph: Graph, potentials: dict[str, Array]) -> Graph:
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, FIRING) and node.name in potentials:
            op = dataclasses.replace(node.op, initial_potential=potentials[node.name])
            node = dataclasses.replace(node, op=op)
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))
