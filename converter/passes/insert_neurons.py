"""From activations to integrate-and-fire neurons."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..errors import PassError, UnsupportedOpError
from ..ir import Graph, IntegrateFire, LeakyFire, Neuron, Node, Reset, SpikingMaxPool
from ..ir.analog import ANALOG, of_mean
from ..ir.ops import BatchNorm, MaxPool, QuantizedRelu, Relu
from .neuron_options import choose_neuron
from .rescaling import multiply_units, rescale


def insert_neurons(
    graph: Graph,
    *,
    n_steps: int | None = None,
    initial_potential: float = 0.5,
    reset: str = Reset.SUBTRACT,
    leak: float = 0.0,
    refractory: int = 0,
    relative: float = 0.0,
    decay: float = 0.5,
    signed: bool = False,
) -> Graph:
    """Replace ReLUs by neurons with threshold 1, max-pooling behind them by SpikingMaxPool.

    Before:  conv1 (Conv) -> relu1 (Relu)               activations in [0, 1]
    After:   conv1 (Conv) -> relu1 (IntegrateFire)      spikes; rates in [0, 1]

    A quantised ReLU brings its own initial potential, `shift` thresholds. The caps of ReLUs, which
    neurons do not have, are noted for passes that compare with activations: `metadata["caps"]`.

    Nodes that `metadata["keep_analog"]` names stay analog, on the mean so far (OfMean).

    Neurons leak as `metadata["leaks"]` says of their ReLUs, which training writes, else as `leak`.
    With leak or a refractory period neurons are LeakyFire, signed ones SignedFire. A neuron that
    rests for r steps after a spike fires at most every r + 1 steps: its spikes then stand for r + 1
    times as much, so that the largest activation still has a rate.

    Args:
        graph: Normalised, so that activations reach about 1.
        n_steps: T; the most that signed neurons send.
        initial_potential: In thresholds; 1/2 makes the expected quantisation error zero.
        reset: `subtract` or `zero`.
        leak: Share of the potential that is lost in a step.
        refractory: Steps after a spike without another one.
        relative: By how much the threshold is higher in the step after a spike, in thresholds.
        decay: What is left of that a step later.
        signed: Neurons take back with spikes of -1 what they sent too early.

    Raises:
        PassError: An option is out of its range, two exclude one another, a quantised ReLU is not
            normalised, or a trained leak does not fit the graph and the options.
        UnsupportedOpError: An op has no meaning per time step; all of them are listed.

    Keeps: the inputs and the shapes of the outputs.
    Source: Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682.
    """
    make = choose_neuron(
        initial_potential=initial_potential,
        reset=reset,
        leak=leak,
        refractory=refractory,
        relative=relative,
        decay=decay,
        signed=signed,
        n_steps=n_steps,
    )
    if refractory:
        graph = _slow_down(graph, refractory)
    rests = {"leak": leak, "refractory": refractory, "relative": relative, "signed": signed}
    given = [name for name, value in rests.items() if value]
    given += ["reset"] * (reset != Reset.SUBTRACT)
    trained = graph.metadata.get("leaks", {})
    for node in graph.nodes if given else ():
        if isinstance(node.op, QuantizedRelu) or node.name in trained:
            raise PassError(
                f"{given[0]}: {node} has neurons that training chose, expected none of "
                "reset, leak, refractory, relative, signed",
                hint="convert the network as it was before training under spiking constraints",
            )
    caps = {
        node.name: node.op.max_value.tolist()
        for node in graph.nodes
        if isinstance(node.op, Relu) and node.op.max_value is not None
    }
    if caps:
        graph = graph.replace(metadata={**graph.metadata, "caps": caps})
    return put_neurons(graph, make)


def put_neurons(graph: Graph, make: Callable[[int], Neuron]) -> Graph:
    """Do what `insert_neurons` does, with neurons that `make` makes of a sample's rank."""
    kept = set(graph.metadata.get("keep_analog", ()))
    reasons = tuple(
        f"{node}: changes its result with the sum over time steps, expected at an output only"
        for node in graph.nodes
        if isinstance(node.op, BatchNorm) or (type(node.op) in ANALOG and node.name not in kept)
    )
    if reasons:
        raise UnsupportedOpError("no spiking translation", reasons=reasons)
    for node in graph.nodes:
        if isinstance(node.op, QuantizedRelu) and not (node.op.threshold == 1).all():
            raise PassError(
                f"{node}: has a trained threshold of its own, expected 1, normalised",
                hint="use one for such: trained, trained_exact, trained_integer; or rate",
            )
    leaks = _find_leaks(graph)
    nodes: list[Node] = []
    varying: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, Relu):
            op = make(len(graph.types[node.name].shape))
            if node.name in leaks:
                op = LeakyFire(op.threshold, op.initial_potential, leaks[node.name])
            node = dataclasses.replace(node, op=op)
            varying.add(node.name)
        elif isinstance(node.op, QuantizedRelu):
            # What training chose; `reset` and `initial_potential` are for ReLUs.
            threshold = node.op.threshold
            neuron = IntegrateFire(threshold, threshold * np.float32(node.op.shift))
            node = dataclasses.replace(node, op=neuron)
            varying.add(node.name)
        elif varying.intersection(node.inputs):
            varying.add(node.name)
            if isinstance(node.op, MaxPool):
                pool = node.op
                gate = SpikingMaxPool(pool.kernel, pool.strides, pool.dilation, pool.padding)
                node = dataclasses.replace(node, op=gate)
            elif type(node.op) in ANALOG:
                node = dataclasses.replace(node, op=of_mean(node.op))
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


def activation_of(graph: Graph, node: Node) -> Relu:
    """Return the ReLU that neurons of `insert_neurons` stand for, with its cap."""
    cap = graph.metadata.get("caps", {}).get(node.name)
    return Relu(None if cap is None else np.asarray(cap, np.float32))


def _find_leaks(graph: Graph) -> dict[str, float]:
    """Return the leaks of training, by ReLU."""
    leaks = dict(graph.metadata.get("leaks", {}))
    relus = {node.name for node in graph.nodes if isinstance(node.op, Relu)}
    lost = [name for name in leaks if name not in relus]
    if lost:
        raise PassError(
            f"insert_neurons: neurons were trained in the place of {', '.join(lost)}, "
            "expected ReLUs of these names",
            hint="use --recipe trained, without place_poolings.max_pool=before",
        )
    return leaks


def refuse_leaks(graph: Graph, name: str) -> None:
    """Raise if training chose leaks, which the neurons of pass `name` cannot have.

    Raises:
        PassError: It did.
    """
    if graph.metadata.get("leaks"):
        raise PassError(
            f"{name}: {', '.join(graph.metadata['leaks'])} were trained with a leak, expected none",
            hint="use --recipe trained, or rate, which fits neurons without",
        )


def _slow_down(graph: Graph, refractory: int) -> Graph:
    """Make every spike stand for as many steps as it takes until the next one can come."""
    relus = (node.name for node in graph.nodes if isinstance(node.op, Relu))
    worth = np.float32(refractory + 1)
    units = {name: np.full((1,) * len(graph.types[name].shape), worth) for name in relus}
    return multiply_units(rescale(graph, units), graph)
