"""Weights and neurons fitted to spikes: by hand, and against what the neurons mean."""

import numpy as np
import pytest

from spikeport.converter.calibration import spiking_fit
from spikeport.converter.calibration.spiking_fit import fire, fit_neuron, measure_errors
from spikeport.converter.errors import PassError
from spikeport.converter.ir import Graph, IntegrateFire, Node, run
from spikeport.converter.ir.ops import Dense, Input, QuantizedRelu, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines.reference import simulate


def test_errors_by_hand():
    # potential .5, threshold 1: .5+.5 fires, 0, .5, 1 fires: 2 of 4 spikes; wanted .25 and 1
    currents = np.ascontiguousarray(np.float32([[0.5, 0, 0.5, 0.5], [1, 1, 1, 1]]).T)
    square, mean = measure_errors(
        currents, np.float32([0.25, 1]), *np.float32([[1.0], [0.5], [0.0]])
    )
    np.testing.assert_allclose(square, [0.25**2 / 2])
    np.testing.assert_allclose(mean, [0.25 / 2])


@pytest.mark.parametrize("n_different", [1, 6])
def test_fire_is_what_the_neuron_means(n_different):
    random = np.random.default_rng(4)
    currents = random.normal(0.4, 0.8, (n_different, 3, 5, 7)).astype(np.float32)
    thresholds = random.uniform(0.5, 2, 5).astype(np.float32)
    potentials, biases = random.normal(size=(2, 5)).astype(np.float32)
    spikes = np.empty((6, 3, 5, 7), np.uint8)
    counts = fire(currents, thresholds, potentials, biases, spikes)
    op = IntegrateFire(thresholds[:, None], potentials[:, None])
    state = op.start((3, 5, 7))
    for step in range(6):
        current = currents[min(step, n_different - 1)] + biases[:, None]
        expected, state = op.step(current, state)
        np.testing.assert_array_equal(spikes[step], expected)
    np.testing.assert_array_equal(counts, spikes.sum(axis=(0, 1, 3)))


def test_late_currents_want_another_neuron():
    """All charge arrives in the last steps: no more than two spikes can follow."""
    activations = np.linspace(0, 1, 500, dtype=np.float32)
    currents = np.float32([0, 0, 2, 2])[:, None] * activations
    fitted = fit_neuron(currents, activations)
    given = np.float32([[fitted.threshold], [fitted.initial_potential], [fitted.bias]])
    square, mean = measure_errors(currents, activations, *given)
    plain, plain_mean = measure_errors(currents, activations, *np.float32([[1.0], [0.5], [0.0]]))
    assert square[0] < 0.92 * plain[0]
    assert abs(mean[0]) < 0.5 * abs(plain_mean[0])


def test_charge_is_held_back_where_early_currents_are_taken_back():
    """Half the entries get a current first that is gone in the end: spikes would be too many."""
    activations = np.float32([0, 0.5] * 200 + [1])
    early = np.float32([1.2, 0, 0, 0, -1.2, 0, 0, 0])
    currents = np.where(activations[:, None] > 0, activations[:, None], early)
    fitted = fit_neuron(np.ascontiguousarray(currents.T), activations)
    assert fitted.initial_potential < 0
    assert fitted.bias > 0


def test_less_charge_is_held_back_where_there_are_many_steps(monkeypatch):
    """A quarter of a threshold is just enough here, and the most at 32 steps."""
    monkeypatch.setattr(spiking_fit, "THRESHOLDS", (1.0,))
    activations = np.float32([0, 0.5] * 200)
    early = np.zeros(32, np.float32)
    early[0], early[4] = 0.34, -0.34
    currents = np.where(activations[:, None] > 0, activations[:, None], early)
    fitted = fit_neuron(np.ascontiguousarray(currents.T), activations)
    assert fitted.initial_potential == pytest.approx((0.5 - 8 / 32) * 0.5)
    assert fitted.bias == pytest.approx(8 / 32 * 0.5 / 32)


def test_near_ties_are_shared(monkeypatch):
    """Two thresholds that fit as well as each other: their mean, not one that rounding picks."""
    monkeypatch.setattr(spiking_fit, "THRESHOLDS", (0.5, 1.0))
    monkeypatch.setattr(spiking_fit, "HELD_BACK", (0.0,))
    activations = np.full(8, 0.4, np.float32)
    errors = {0.5: 0.01, 1.0: 0.011}

    def measure(currents, activations, thresholds, potentials, biases):
        square = [errors[round(float(x) / 0.4, 3)] for x in thresholds]
        return np.array(square), np.zeros(len(thresholds))

    monkeypatch.setattr(spiking_fit, "measure_errors", measure)
    fitted = fit_neuron(np.zeros((4, 8), np.float32), activations)
    shares = np.exp([0, -1])  # a tenth more error counts 1/e
    assert fitted.threshold == pytest.approx(0.4 * (shares @ [0.5, 1.0]) / shares.sum())


def test_silent_channel_has_no_fit():
    currents = np.full((4, 9), -1, np.float32)
    assert fit_neuron(currents, np.zeros(9, np.float32)) is None


def random_inputs(graph: Graph, n_samples: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(3)
    return tuple(
        random.uniform(0, 1, (n_samples, *graph.types[name].shape)).astype(np.float32)
        for name in graph.inputs
    )


def simplify(graph: Graph) -> Graph:
    for name in ("remove_no_ops", "strip_output_activation", "fold_batch_norm"):
        graph = PASSES[name](graph)
    return graph


def errors_of(graphs: tuple[Graph, ...], inputs: tuple[np.ndarray, ...], expected, n_steps: int):
    return [
        np.square(simulate(graph, inputs, n_steps).outputs[0][-1] - expected).mean()
        for graph in graphs
    ]


def test_outputs_come_closer_than_with_percentiles(sample_graph):
    graph = simplify(sample_graph)
    samples, n_steps = random_inputs(graph, 200), 4
    calibration = tuple(array[:100] for array in samples)
    others = tuple(array[100:] for array in samples)
    fitted = PASSES["calibrate_neurons"](graph, calibration=calibration, n_steps=n_steps)
    plain = PASSES["insert_neurons"](PASSES["normalize_weights"](graph, calibration=calibration))
    errors = errors_of((fitted, plain), others, run(graph, others)[0], n_steps)
    assert errors[0] < 1.5 * errors[1]  # two layers have little that could be put right
    for node in fitted.nodes:
        if isinstance(node.op, IntegrateFire):
            assert (node.op.threshold == 1).all()
            assert ((node.op.initial_potential > -1) & (node.op.initial_potential < 1)).all()


@pytest.mark.parametrize("n_steps", [1, 4])
def test_weights_stay_if_asked_to(sample_graph, n_steps):
    graph = simplify(sample_graph)
    calibration = random_inputs(graph, 60)
    kept, moved = (
        PASSES["calibrate_neurons"](
            graph, calibration=calibration, n_steps=n_steps, fit_weights=given
        )
        for given in (False, True)
    )
    layers = [node.name for node in graph.nodes if hasattr(node.op, "weight")]
    behind = [x for x in layers if x in kept.varying]
    assert behind

    def in_source_units(graph: Graph, name: str) -> np.ndarray:
        node = graph.by_name[name]
        unit = np.ones(1) if node.unit is None else node.unit.reshape(-1)
        before = graph.by_name[node.inputs[0]].unit
        before = np.ones(1) if before is None else before.reshape(-1)
        weight = node.op.weight
        n_axes = weight.ndim - 2
        result = weight * unit.reshape(-1, *(1,) * (weight.ndim - 1))
        if before.size in {1, weight.shape[1]}:
            return result / before.reshape(1, -1, *(1,) * n_axes)
        return result

    first = layers[0]
    np.testing.assert_allclose(
        in_source_units(kept, first), in_source_units(moved, first), rtol=1e-5
    )
    assert any(
        not np.allclose(in_source_units(kept, x), in_source_units(moved, x), rtol=1e-3)
        for x in behind
    )


def tiny(bias: float = 0.0) -> Graph:
    layer = Dense(np.ones((1, 1), np.float32), np.full(1, bias, np.float32))
    nodes = (Node("x", Input((1,))), Node("dense", layer, ("x",)), Node("relu", Relu(), ("dense",)))
    return Graph(nodes, ("x",), ("relu",))


def test_layer_that_is_never_active():
    with pytest.raises(PassError, match=r"relu \(Relu\): is never active on the calibration"):
        PASSES["calibrate_neurons"](tiny(-9), calibration=(np.ones((4, 1)),), n_steps=4)


@pytest.mark.parametrize(
    "option",
    [{"n_samples": 0}, {"ridge": 0.0}, {"ridge": float("nan")}, {"ridge": float("inf")}],
)
def test_option_out_of_range(option):
    with pytest.raises(PassError, match="expected at least 1 and a positive number"):
        PASSES["calibrate_neurons"](tiny(), calibration=(np.ones((4, 1)),), n_steps=4, **option)


@pytest.mark.parametrize("n_steps", [4, 8])
def test_levels_of_training_are_what_rates_come_close_to(n_steps):
    """Activations of 0, 0.5, 1, 1.5 or 2: the mean of what is sent is closer than half of that."""
    random = np.random.default_rng(1)
    weight = np.abs(random.normal(0.3, 0.2, (6, 5))).astype(np.float32)
    levels = QuantizedRelu(np.full(1, 2.0, np.float32), 4)
    graph = Graph(
        (
            Node("x", Input((5,))),
            Node("first", Dense(weight, np.zeros(6, np.float32)), ("x",)),
            Node("fired", levels, ("first",)),
            Node("last", Dense(np.eye(6, dtype=np.float32), np.zeros(6, np.float32)), ("fired",)),
        ),
        ("x",),
        ("last",),
    )
    x = random.random((400, 5)).astype(np.float32) * 2
    spiking = PASSES["calibrate_neurons"](graph, calibration=(x,), n_steps=n_steps)
    assert [node.name for node in spiking.nodes if isinstance(node.op, IntegrateFire)] == ["fired"]
    found = simulate(spiking, (x[:50],), n_steps).outputs[0][-1]
    (expected,) = run(graph, (x[:50],))
    assert np.abs(found - expected).mean() < 0.25
