import numpy as np
import pytest

from spikeport.converter.errors import PassError, UnsupportedOpError
from spikeport.converter.ir import DifferentialFire, Graph, Node, run
from spikeport.converter.ir.ops import Activation, Input, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines.reference import simulate

INSERT = PASSES["insert_differential_neurons"]


def normalized(graph: Graph) -> tuple[Graph, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(1)
    shapes = [graph.types[name].shape for name in graph.inputs]
    calibration = tuple(rng.uniform(0, 1, (40, *shape)).astype(np.float32) for shape in shapes)
    for name in ("remove_no_ops", "strip_output_activation", "fold_batch_norm"):
        graph = PASSES[name](graph)
    graph = PASSES["normalize_weights"](graph, calibration=calibration, percentile=100.0)
    return graph, tuple(array[:6] for array in calibration)


def test_outputs_come_to_those_of_the_network(sample_graph):
    """The error is that of rates, the size of the smallest spike over the number of steps."""
    graph, inputs = normalized(sample_graph)
    expected = run(graph, inputs)
    found = simulate(INSERT(graph), inputs, 200).outputs
    for want, got in zip(expected, found, strict=True):
        scale = abs(want).max()
        errors = [abs(got[step] - want).max() / scale for step in (3, 49, 199)]
        assert errors[1] < 0.03
        assert errors[2] < 0.01


def test_biases_are_where_means_begin(sample_graphs):
    graph, inputs = normalized(sample_graphs["mlp"])
    made = INSERT(graph)
    found = simulate(made, inputs, 30)
    for node in made.nodes:
        bias = getattr(node.op, "bias", None)
        if node.name in made.varying and not isinstance(node.op, DifferentialFire):
            assert bias is None or not bias.any() or node.name.endswith("/values")
    spikes = sum(found.n_spikes.values())
    late = simulate(made, inputs, 60)
    assert sum(late.n_spikes.values()) < 1.5 * spikes  # silence: nothing changes any more


@pytest.mark.parametrize("n_thresholds", [0, 17])
def test_number_of_thresholds(n_thresholds, sample_graphs):
    with pytest.raises(PassError, match=f"n_thresholds {n_thresholds}, expected 1 to 16"):
        INSERT(sample_graphs["mlp"], n_thresholds=n_thresholds)


def test_functions_that_stay_analog_do_not_pass_differences():
    graph = Graph(
        (Node("x", Input((4,))), Node("r", Relu(), ("x",)), Node("t", Activation("tanh"), ("r",))),
        ("x",),
        ("t",),
        {"keep_analog": ["t"]},
    )
    with pytest.raises(UnsupportedOpError, match="1 nodes do not pass differences"):
        INSERT(graph)
