"""Schedules from the user's side: what is noted, shown and refused."""

import numpy as np
import pytest

from spikeport.converter.errors import PassError, SimulationError, UnsupportedOpError
from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset
from spikeport.converter.ir.analog import SigmoidOfMean
from spikeport.converter.ir.ops import Dense, Input, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.early_exit import ExitRule
from spikeport.runtime.engines import counts
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.held_back import calibrate_exit
from spikeport.runtime.report.text import summary_lines
from spikeport.runtime.schedule import read_schedule

X = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)
Y = np.zeros(6, np.int64)


def analog() -> Graph:
    weight = np.array([[1.0, -0.5], [0.25, 0.5]])
    nodes = [Node("x", Input((2,)))]
    last = "x"
    for layer in ("a", "b"):
        nodes.append(Node(f"{layer}_dense", Dense(weight, np.full(2, 0.25)), (last,)))
        nodes.append(Node(layer, Relu(), (f"{layer}_dense",)))
        last = layer
    nodes.append(Node("logits", Dense(weight, np.zeros(2)), (last,)))
    return Graph(tuple(nodes), ("x",), ("logits",))


def scheduled(name: str = "wait", n_steps: int = 4) -> Graph:
    graph = PASSES["insert_neurons"](analog())
    return PASSES["schedule_neurons"](graph, n_steps=n_steps, schedule=name)


def test_latency_is_reported_in_full():
    graph = scheduled()
    run = evaluate(graph, (X,), Y, n_steps=8)
    assert run.to_json(graph="", data="")["latency"] == {
        "pre_run": 0, "pipeline": 4, "read_out": 4, "drain": 0, "total": 8,
    }  # fmt: skip
    assert any("2 layers of 4 steps, 8 in all (pre-run 0" in line for line in summary_lines(run))
    settled = evaluate(scheduled("settle"), (X,), Y, n_steps=8)
    found = settled.to_json(graph="", data="")
    assert found["latency"]["drain"] == 7
    assert 1 <= found["quiet_after"]["largest"] <= 8
    assert any("no neuron fired after" in line for line in summary_lines(settled))


def test_a_read_out_that_is_delayed_has_latency_too():
    graph = PASSES["insert_neurons"](analog())
    graph = PASSES["delay_readout"](graph, calibration=(X,), n_steps=8, first_step=3)
    run = evaluate(graph, (X,), Y, n_steps=8)
    assert run.to_json(graph="", data="")["latency"] == {
        "pre_run": 0, "pipeline": 3, "read_out": 5, "drain": 0, "total": 8,
    }  # fmt: skip
    assert any(
        "outputs count from step 4 on: 8 steps in all (pipeline 3, read-out 5)" in line
        for line in summary_lines(run)
    )
    for step in (-1, 2.5, "soon", True):
        broken = graph.replace(metadata={"read_from_step": step})
        with pytest.raises(SimulationError, match=r"metadata: read_from_step is .*, expected what"):
            evaluate(broken, (X,), Y, n_steps=8)


def test_other_numbers_of_steps_are_refused():
    with pytest.raises(SimulationError, match="n_steps 5: the graph's schedule takes 8 steps"):
        evaluate(scheduled(), (X,), Y, n_steps=5)
    with pytest.raises(SimulationError, match="n_steps 5: the schedule takes 8 steps, no fewer"):
        counts.compile_graph(scheduled()).run((X,), 5)


def test_the_counts_engine_refuses_what_does_not_wait():
    with pytest.raises(SimulationError, match="not a schedule that waits"):
        counts.compile_graph(PASSES["insert_neurons"](analog()))
    with pytest.raises(SimulationError, match=r"a \(SignedFire\): not a schedule that waits"):
        counts.compile_graph(scheduled("settle"))


@pytest.mark.parametrize(
    "change", [{"name": "soon"}, {"n_steps": 9}, {"n_levels": -1}, {"latency": {"pre_run": 1}}]
)
def test_hostile_schedule_in_the_file(change):
    graph = scheduled()
    entry = {**graph.metadata["schedule"], **change}
    with pytest.raises(SimulationError, match=r"metadata: schedule is .*, expected what"):
        read_schedule(graph.replace(metadata={"schedule": entry}))


def test_schedules_that_cannot_be():
    neurons = PASSES["insert_neurons"](analog())
    with pytest.raises(PassError, match="schedule 'late', expected one of wait, parallel, ttfs"):
        PASSES["schedule_neurons"](neurons, n_steps=4, schedule="late")
    with pytest.raises(PassError, match="2 layers of 600000 steps, expected at most 1000000"):
        PASSES["schedule_neurons"](neurons, n_steps=600_000)
    zero = PASSES["insert_neurons"](analog(), reset=Reset.ZERO)
    with pytest.raises(PassError, match=r"a \(IntegrateFire\): is no integrate-and-fire neuron"):
        PASSES["schedule_neurons"](zero, n_steps=4)
    nodes = list(neurons.nodes)
    nodes[2] = Node("a", IntegrateFire(np.ones(1), np.full(1, 1.5)), nodes[2].inputs)
    with pytest.raises(PassError, match=r"a \(IntegrateFire\): initial potential outside of 0"):
        PASSES["schedule_neurons"](neurons.replace(nodes=tuple(nodes)), n_steps=4)


def test_analog_nodes_have_no_exact_schedule():
    neurons = PASSES["insert_neurons"](analog())
    nodes = (*neurons.nodes, Node("kept", SigmoidOfMean(), ("logits",)))
    graph = neurons.replace(nodes=nodes, outputs=("kept",))
    with pytest.raises(UnsupportedOpError, match="1 nodes have no exact schedule"):
        PASSES["schedule_neurons"](graph, n_steps=4)
    with pytest.raises(UnsupportedOpError, match="1 nodes have no integer form"):
        PASSES["use_integers"](graph, calibration=(X,), n_steps=4)


def test_integers_hold_only_so_much():
    graph = PASSES["insert_neurons"](analog())
    with pytest.raises(PassError, match="weight_bits 1, expected 2 to 16"):
        PASSES["use_integers"](graph, calibration=(X,), n_steps=4, weight_bits=1)
    with pytest.raises(
        PassError, match=r"T=100000 is beyond what integers hold: .* sums may reach"
    ):
        PASSES["use_integers"](graph, calibration=(X,), n_steps=100_000)
    integers = PASSES["use_integers"](graph, calibration=(X,), n_steps=4)
    assert evaluate(integers, (X,), Y, n_steps=4).n_steps == 4
    with pytest.raises(SimulationError, match="n_steps 100000: beyond what integers hold"):
        evaluate(integers, (X,), Y, n_steps=100_000)


def test_graded_neurons_that_cannot_be():
    with pytest.raises(PassError, match="neuron 'wide', expected one of burst, binary"):
        PASSES["insert_graded_neurons"](analog(), neuron="wide")
    with pytest.raises(PassError, match=r"levels_per_step 6, .* one less than a power of two"):
        PASSES["insert_graded_neurons"](analog(), neuron="binary", levels_per_step=6)


@pytest.mark.parametrize("schedule", ["wait", "parallel", "settle"])
def test_no_early_exit_from_a_schedule(schedule):
    graph = scheduled(schedule)
    n_steps = read_schedule(graph).latency.n_steps
    expected = rf"early exit: schedule {schedule} has no decision before its last step, {n_steps}, "
    with pytest.raises(SimulationError, match=expected) as caught:
        evaluate(graph, (X,), Y, n_steps=n_steps, exit_rule=ExitRule(1.0))
    assert "leave --early-exit out" in caught.value.hint
    with pytest.raises(SimulationError, match=expected):
        calibrate_exit(graph, (X,), Y, allowed_loss=0.1, n_steps=n_steps)
