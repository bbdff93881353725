"""Samples that end early: the same in both engines, the work skipped, the loss as stated."""

from dataclasses import replace

import numpy as np
import pytest

from spikeport.converter.errors import SimulationError
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Dense, Input
from spikeport.runtime.early_exit import ExitRule, calibrate, leads
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.evaluate import evaluate

ONES = np.ones(1, np.float32)
X = np.array([[1.0, 0.0], [0.5, 0.25], [0.5, 0.5], [0.25, 1.0]], np.float32)


def graph() -> Graph:
    """Two neurons with threshold 1, seen by two outputs; a lead of k means k spikes more."""
    weight = np.eye(2, dtype=np.float32)
    return Graph(
        (
            Node("x", Input((2,))),
            Node("n", IntegrateFire(ONES, 0 * ONES), ("x",)),
            Node("out", Dense(weight, np.zeros(2)), ("n",)),
        ),
        ("x",),
        ("out",),
    )


# spikes until step t: sample 0: t and 0; 1: t/2 and t/4; 2: t/2 and t/2; 3: t/4 and t
# a lead of 3, looked for every 2 steps: at t = 4; at t = 10 (5 - 2); never; at t = 4 (4 - 1)
STEPS = [4, 10, 12, 4]


@pytest.mark.parametrize("engine", ["event", "reference"])
def test_samples_end_at_the_first_look_that_is_certain(engine):
    runner = ENGINES[engine](graph())
    run = runner.run((X,), 12, count_spikes=True, exit_rule=ExitRule(3.0, every=2))
    np.testing.assert_array_equal(run.steps, STEPS)
    whole = runner.run((X,), 12)
    for sample, n_steps in enumerate(STEPS):
        np.testing.assert_array_equal(
            run.outputs[0][:n_steps, sample], whole.outputs[0][:n_steps, sample]
        )
        assert (run.outputs[0][n_steps:, sample] == run.outputs[0][n_steps - 1, sample]).all()
    spikes = [4 + 0, 5 + 2, 6 + 6, 1 + 4]
    assert run.n_spikes["n"] == sum(spikes)
    np.testing.assert_array_equal(run.spike_counts["n"].sum(axis=1), spikes)
    np.testing.assert_array_equal(
        run.synaptic_operations["out"], [2 * n for n in (2, 5, 2, 7, 0, 3, 0, 4, 0, 3, 0, 2)]
    )


@pytest.mark.parametrize("engine", ["event", "reference"])
def test_leads_are_in_the_units_of_the_source(engine):
    """With an output that counts double, a lead of 6 is what was a lead of 3."""
    nodes = [*graph().nodes[:2], replace(graph().nodes[2], unit=2 * ONES)]
    double = graph().replace(nodes=tuple(nodes))
    run = ENGINES[engine](double).run((X,), 12, exit_rule=ExitRule(6.0, every=2))
    np.testing.assert_array_equal(run.steps, STEPS)
    result = evaluate(double, (X,), n_steps=12, engine=engine, exit_rule=ExitRule(6.0, every=2))
    assert result.early_exit.undecided == 0.25


@pytest.mark.parametrize("engine", ["event", "reference"])
def test_a_batch_that_is_finished_is_left(engine):
    run = ENGINES[engine](graph()).run((X[:1],), 10**5, exit_rule=ExitRule(3.0, every=1))
    np.testing.assert_array_equal(run.steps, [3])
    assert (run.outputs[0][3:] == run.outputs[0][2]).all()


def test_evaluation_counts_what_was_simulated():
    result = evaluate(
        graph(), (X,), np.array([0, 0, 1, 1]), n_steps=12, exit_rule=ExitRule(3.0, every=2)
    )
    assert result.early_exit.mean_steps == sum(STEPS) / 4
    assert result.early_exit.undecided == 0.25
    assert result.workload.membrane_updates == 2 * sum(STEPS) / 4
    assert result.firing_rate["n"] == 28 / (2 * sum(STEPS))
    assert result.accuracy[-1] == 0.75
    block = result.to_json(graph="", data="")
    assert block["early_exit"] == {
        "lead": 3.0, "every": 2, "mean_steps": 7.5, "undecided": 0.25
    }  # fmt: skip
    assert evaluate(graph(), (X,), n_steps=2).early_exit is None


def test_certain_in_the_last_step_is_decided():
    result = evaluate(graph(), (X[:1],), n_steps=3, exit_rule=ExitRule(3.0, every=3))
    assert result.early_exit.undecided == 0.0
    assert evaluate(
        graph(), (X[:1],), n_steps=4, exit_rule=ExitRule(4.0, every=3)
    ).early_exit.undecided == 0.0  # fmt: skip


def test_lead_of_the_first_over_the_second():
    np.testing.assert_array_equal(leads(np.array([[3.0, -1.0, 2.5], [0.0, 0.0, -2.0]])), [0.5, 0])
    np.testing.assert_array_equal(leads(np.array([[-3.0], [2.0]])), [3, 2])
    np.testing.assert_array_equal(leads(np.array([[[1.0, 4.0], [2.0, 0.0]]])), [2])


def run_of(leading, right):
    """Leads [T, N] and decisions (1 is right), written sample by sample."""
    return np.array(leading, float).T, np.array(right).T


def test_calibration_by_hand():
    """Four samples, three steps. Sample 1 is wrong with lead 2 at step 1; all are right at 3."""
    lead, decisions = run_of(
        [[1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]], [[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]
    )
    labels = np.ones(4, np.int64)
    found = calibrate(lead, decisions, labels, allowed_loss=0.0, every=1)
    # sample 0 is wrong with a lead of 2 at step 2, sample 1 with 2 at step 1: more than 2 is safe,
    # and then sample 0 stops at step 3, sample 1 at step 2, samples 2 and 3 at step 1
    assert 2 < found.rule.lead <= 3
    assert found.loss == 0.0
    assert found.mean_steps == (3 + 2 + 1 + 1) / 4
    assert found.undecided == 0.0
    assert found.fixed == (0.5, 0.75, 1.0)
    # one of four may be lost: from 1.x on sample 0 stops at step 2, sample 1 at step 1: two lost;
    loose = calibrate(lead, decisions, labels, allowed_loss=0.5, every=1)
    assert loose.loss == 0.5
    assert loose.rule.lead <= 2
    assert calibrate(lead, decisions, None, allowed_loss=0.0, every=1).rule == found.rule
    sparse = calibrate(lead, decisions, labels, allowed_loss=0.0, every=2)
    assert sparse.mean_steps == (3 + 2 + 2 + 2) / 4


def test_calibration_that_finds_nothing_certain_takes_all_steps():
    lead, decisions = run_of([[9, 1]], [[0, 1]])
    found = calibrate(lead, decisions, np.array([1]), allowed_loss=0.0, every=1)
    assert found.rule.lead > 9
    assert found.mean_steps == 2
    assert found.undecided == 1.0


@pytest.mark.parametrize("loss", [-0.1, 1.0, float("nan")])
def test_losses_that_mean_nothing(loss):
    with pytest.raises(SimulationError, match=r"early exit: allowed loss .*, expected a share 0"):
        calibrate(*run_of([[1]], [[1]]), None, allowed_loss=loss)


@pytest.mark.parametrize("every", [0, -4, 2.0])
def test_looks_that_mean_nothing(every):
    with pytest.raises(SimulationError, match=r"early exit: looks every .*, expected an integer"):
        ExitRule(1.0, every)


@pytest.mark.parametrize("lead", [-1.0, float("nan")])
def test_leads_that_mean_nothing(lead):
    with pytest.raises(SimulationError, match=r"early exit: lead .*, expected a number >= 0"):
        ExitRule(lead)
