import numpy as np
import pytest

from spikeport.converter.errors import DataError, SimulationError
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Dense, Input
from spikeport.runtime.compare import CountRecorder, compare_counts
from spikeport.runtime.decoding import Readout, decide
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.metrics import wilson_interval

X = np.array([[1.0, 0.0], [0.2, 0.9], [0.6, 0.5], [0.1, 0.4]], np.float32)
Y = np.array([0, 1, 1, 1])


def _readout(function: str) -> dict[str, object]:
    return {"function": function} | ({"axis": 0} if function == "softmax" else {})


def graph(n_out: int = 2, readout: str = "softmax", **metadata) -> Graph:
    ones = np.ones(1, np.float32)
    weight = np.eye(n_out, 2)
    return Graph(
        (
            Node("x", Input((2,))),
            Node("n", IntegrateFire(ones, ones / 2), ("x",)),
            Node("out", Dense(weight, np.full(n_out, -0.25)), ("n",)),
        ),
        ("x",),
        ("out",),
        {"readout": [_readout(readout)], "n_steps": 8, **metadata},
    )


def test_accuracy_agreement_and_counts():
    seen = []
    result = evaluate(graph(), (X,), Y, ann=lambda x: x, batch_size=3, progress=seen.append)
    assert seen == [0, 3, 4]
    assert result.n_samples == 4
    assert result.n_steps == 8
    assert len(result.accuracy) == len(result.agreement) == 8
    assert result.accuracy[-1] == 0.75
    assert result.agreement[-1] == 1.0
    assert result.ann_accuracy == 0.75
    counts = np.clip(np.floor(8 * X + 0.5), 0, 8)
    assert result.firing_rate["n"] == pytest.approx(counts.sum() / (4 * 8 * 2))
    assert result.synaptic_operations_per_sample == pytest.approx(2 * counts.sum() / 4)
    assert result.macs_per_sample == 4
    assert result.input_macs_per_sample == 0
    assert result.seconds > 0


def test_batches_do_not_change_the_result():
    whole, single = (evaluate(graph(), (X,), Y, batch_size=size) for size in (100, 1))
    np.testing.assert_array_equal(whole.decisions, single.decisions)
    assert whole.firing_rate == single.firing_rate
    assert whole.synaptic_operations == single.synaptic_operations


def test_json_has_the_promised_keys():
    result = evaluate(graph(), (X,)).to_json(graph="00", data="four")
    assert result["format"] == "spikeport-evaluation"
    assert result["version"] == 1
    assert result["accuracy"] is None
    assert result["agreement"] is None
    assert result["ann_accuracy"] is None
    assert result["latency_steps"] == 8
    assert {
        "n_samples", "n_steps", "synaptic_operations_per_sample", "macs_per_sample", "firing_rate",
        "seconds", "engine", "graph", "data", "seed", "input_macs_per_sample",
    } <= set(result)  # fmt: skip


def test_single_sigmoid_unit_decides_by_sign():
    result = evaluate(
        graph(1, "sigmoid"), (X,), np.array([1, 1, 1, 0]), ann=lambda x: (x[0][:, :1],)
    )
    assert result.accuracy[-1] == 1.0
    assert result.agreement[-1] == 0.75
    sigmoid, linear = Readout("sigmoid"), Readout("linear")
    logits = np.array([[-1.0], [0.0], [2.0]], np.float32)
    np.testing.assert_array_equal(decide(sigmoid.apply(logits), sigmoid), [0, 1, 1])
    np.testing.assert_array_equal(decide(np.array([[-1.0, 3.0], [5.0, 2.0]]), linear), [1, 0])


def test_relu_head_is_applied_on_both_sides():
    """All potentials negative: the ANN's outputs are all zero, and both decide for class 0."""
    result = evaluate(graph(readout="relu"), (0 * X,), ann=lambda x: (np.zeros((4, 2)),))
    assert result.agreement == (1.0,) * 8


def test_softmax_over_one_axis_of_a_map_is_applied_before_the_decision():
    potential = np.array([[[5.0, 1.0], [4.5, -9.0]]], np.float32)  # [N, C, place]
    readout = Readout("softmax", 0)
    assert decide(readout.apply(potential), readout) == [1]
    assert decide(potential, Readout()) == [0]


@pytest.mark.parametrize(
    "readout",
    [[], {}, 3, ["softmax"], [{"function": "tanh"}], [{"function": "softmax", "axis": 1}],
     [{"function": "softmax"}], [{"function": "linear", "axis": 0}], [{"code": "x"}]],
)  # fmt: skip
def test_hostile_readout_in_the_file(readout):
    hostile = graph()
    hostile = hostile.replace(metadata={**hostile.metadata, "readout": readout})
    with pytest.raises(SimulationError, match=r"metadata: readout is .*, expected one function"):
        evaluate(hostile, (X,))


@pytest.mark.parametrize(
    "calibration",
    [5, {}, {"low": "ab", "high": "cd"}, {"low": [None], "high": [1]}, {"low": [0.0]}],
)
def test_hostile_calibration_range_in_the_file(calibration):
    assert evaluate(graph(calibration=calibration), (255 * X,)).warnings == ()


def test_one_linear_unit_has_no_classes():
    with pytest.raises(DataError, match="labels: the first output is one linear unit, expected"):
        evaluate(graph(1, "linear"), (X,), np.array([0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        ((X, X), None, "has 2 input arrays, expected 1"),
        ((X[:, :1],), None, r"samples have shape \(1,\), expected \(2,\) for input x"),
        ((X[:0],), None, "has 0 samples for input x, expected 1"),
        ((np.where(X > 0.9, np.nan, X),), None, "1 samples hold NaN or infinity"),
        ((X,), Y[:3], r"labels: have shape \(3,\), expected \(4,\)"),
        ((X,), Y + 1, r"labels: lie in 1..2, expected 0..1"),
        ((X,), Y - 1, r"labels: lie in -1..0, expected 0..1"),
    ],
)
def test_samples_that_do_not_fit(inputs, labels, message):
    with pytest.raises(DataError, match=message):
        evaluate(graph(), inputs, labels)


def test_labels_for_an_output_that_is_no_vector():
    dense = graph()
    nodes = (Node("x", Input((2, 2))), Node("n", IntegrateFire(np.ones((1, 1)), np.ones((1, 1))),
             ("x",)))  # fmt: skip
    dense = dense.replace(nodes=nodes, outputs=("n",))
    with pytest.raises(DataError, match=r"the first output has shape \(2, 2\), expected a vector"):
        evaluate(dense, (np.ones((4, 2, 2), np.float32),), Y)


@pytest.mark.parametrize("n_steps", [0, -3, 10**12])
def test_steps_below_one(n_steps):
    with pytest.raises(SimulationError, match=f"n_steps {n_steps}, expected an integer of at"):
        evaluate(graph(), (X,), n_steps=n_steps)


def test_hostile_steps_in_the_file():
    with pytest.raises(SimulationError, match="n_steps 'many', expected an integer"):
        evaluate(graph(n_steps="many"), (X,))
    with pytest.raises(SimulationError, match="n_steps True, expected an integer"):
        evaluate(graph(n_steps=True), (X,))


def test_unknown_engine_offers_the_nearest_name():
    with pytest.raises(SimulationError, match="engine 'refrence': does not exist") as caught:
        evaluate(graph(), (X,), engine="refrence")
    assert "did you mean reference?" in caught.value.hint


def test_batch_size_below_one():
    with pytest.raises(SimulationError, match="batch_size 0, expected at least 1"):
        evaluate(graph(), (X,), batch_size=0)


def test_inputs_far_outside_the_calibration_range_give_a_warning():
    calibrated = graph(calibration={"low": [0.0], "high": [1.0]})
    assert evaluate(calibrated, (X,)).warnings == ()
    (warning,) = evaluate(calibrated, (X * 255,)).warnings
    assert "data lie in 0..255, far outside the calibration range 0..1" in warning
    assert "--input-scale" in warning
    (warning,) = evaluate(calibrated, (X / 255,)).warnings
    assert "a hundredth of the calibration range" in warning


@pytest.mark.parametrize(
    ("n_right", "n_samples", "low", "high"),
    [
        # reference values: scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        (0, 10, 0.0, 0.27753280),
        (7, 10, 0.39677815, 0.89220873),
        (10, 10, 0.72246720, 1.0),
        (915, 1000, 0.89608711, 0.93073668),
    ],
)
def test_wilson_interval(n_right, n_samples, low, high):
    assert wilson_interval(n_right, n_samples) == pytest.approx((low, high), abs=1e-6)


def test_counts_of_two_runs_are_compared_neuron_by_neuron():
    recorders = [CountRecorder(), CountRecorder()]
    for recorder, x in zip(recorders, (X, np.where(X > 0.95, 0.5, X)), strict=True):
        evaluate(graph(), (x.astype(np.float32),), batch_size=3, observe=recorder)
    assert recorders[0].counts[0].shape == (4, 2)
    assert compare_counts(*recorders) == [1 / 8]
