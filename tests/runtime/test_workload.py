"""Operations and energy of small networks, against numbers worked out by hand."""

import json

import numpy as np
import pytest

from spikeport.converter.errors import SimulationError
from spikeport.converter.ir import (
    DifferentialFire,
    Graph,
    IntegrateFire,
    LeakyFire,
    Node,
    Pulse,
    SpikingMaxPool,
)
from spikeport.converter.ir.graded import Burst
from spikeport.converter.ir.ops import AveragePool, Conv, Dense, Flatten, Input
from spikeport.converter.ir.scheduled import SignedFire
from spikeport.converter.ir.types import TensorType
from spikeport.converter.passes import PASSES
from spikeport.runtime.energy import (
    Constants,
    break_even,
    energy_per_step,
    energy_rows,
    matched_bits,
    parse_constants,
)
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.workload import active_fan_out

ONES = {rank: np.ones((1,) * rank, np.float32) for rank in (1, 3)}


def dense(weight) -> Dense:
    weight = np.array(weight, np.float32)
    return Dense(weight, np.zeros(len(weight)))


def small() -> Graph:
    """3 inputs, 2 neurons with threshold 1 and no initial potential, 2 outputs.

    Weights of the first layer: one of six is zero; of the second: one of four.
    """
    return Graph(
        (
            Node("x", Input((3,))),
            Node("hidden", dense([[0.5, 0.0, 0.5], [0.25, 0.25, 0.25]]), ("x",)),
            Node("n", IntegrateFire(ONES[1], 0 * ONES[1]), ("hidden",)),
            Node("out", dense([[1.0, 0.0], [1.0, 1.0]]), ("n",)),
        ),
        ("x",),
        ("out",),
    )


X = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]], np.float32)
# Currents: sample 0: 0.5 and 0.25; sample 1: 0.5 and 0.5.
# T = 4. Sample 0: neuron 0 fires at steps 2 and 4, neuron 1 at step 4.
#        Sample 1: both neurons fire at steps 2 and 4.
# Neuron 0 reaches both outputs, neuron 1 one output through a weight that is not zero.
ACS = [0.0, (2 + 2 + 1) / 2, 0.0, (2 + 1 + 2 + 1) / 2]


@pytest.fixture(params=["event", "reference"])
def workload(request):
    return evaluate(small(), (X,), n_steps=4, engine=request.param, batch_size=1).workload


def test_operations_by_hand(workload):
    assert workload.dense_macs == 3 * 2 + 2 * 2
    assert workload.input_macs == 6
    # nonzero inputs: sample 0: x0 with weights 0.5, 0.25; sample 1: also x1, with one weight
    assert workload.input_effective_macs == (2 + 3) / 2
    assert sum(workload.effective_acs) == sum(ACS)
    assert workload.effective_macs == (0.0,) * 4
    assert workload.membrane_updates == 2 * 4
    assert workload.activation_sparsity == 1 - 7 / (2 * 4 * 2)
    assert workload.connection_sparsity == 2 / 10
    assert workload.parameter_bytes == 4 * (6 + 2 + 4 + 2)
    assert workload.state_bytes == 4 * 2
    assert workload.footprint_bytes == 4 * 16


def test_operations_per_step_without_zero_weights():
    graph = small()
    nodes = [*graph.nodes[:3], Node("out", dense([[1.0, 2.0], [1.0, 1.0]]), ("n",))]
    workload = evaluate(graph.replace(nodes=tuple(nodes)), (X,), n_steps=4).workload
    assert workload.effective_acs == (0.0, (2 + 4) / 2, 0.0, (4 + 4) / 2)


def test_json_of_the_workload(workload):
    block = json.loads(json.dumps(workload.to_json()))
    assert block["dense"] == 4 * 10
    assert block["effective_macs"] == 2.5
    assert block["effective_macs_input_every_step"] == 4 * 2.5
    assert block["effective_acs"] == sum(ACS)


def test_energy_by_hand(workload):
    """Every count of the small network times its price; constants that are easy to multiply."""
    constants = Constants(
        float_add=1, float_multiply=4, int_add=0.5, int_multiply=8, memory_byte=10,
        weight_bits=8, potential_bits=16, update_additions=2,
    )  # fmt: skip
    acs, macs, updates, full = sum(ACS), 2.5, 8, 10
    assert matched_bits(4) == 3
    ann, snn, quantised, integer = energy_rows(workload, constants)
    assert ann.arithmetic_nj == pytest.approx(full * 5 / 1000)
    assert ann.memory_nj == pytest.approx(full * 8 * 10 / 1000)
    assert snn.arithmetic_nj == pytest.approx((macs * 5 + acs + updates * 2) / 1000)
    assert snn.memory_nj == pytest.approx((macs * 8 + acs * 4 + updates * 2 * 2) * 10 / 1000)
    # 8 pJ for 8 x 8 bits is 3 pJ for 8 x 3 bits
    assert quantised.arithmetic_nj == pytest.approx(full * (3 + 0.5) / 1000)
    assert quantised.memory_nj == pytest.approx(full * (1 + 3 / 8) * 10 / 1000)
    assert "3-bit activations" in quantised.name
    assert integer.arithmetic_nj == pytest.approx((macs * 8.5 + (acs + updates * 2) * 0.5) / 1000)
    assert integer.total_nj == integer.arithmetic_nj + integer.memory_nj
    per_step = energy_per_step(workload, constants)
    assert per_step[0] == pytest.approx((macs * 8.5 + 2 * 2 * 0.5) / 1000)
    assert per_step[-1] == pytest.approx(integer.arithmetic_nj)


def test_break_even_by_hand(workload):
    constants = Constants(int_add=0.5, int_multiply=8, update_additions=2)
    meeting = break_even(workload, constants)
    left = 10 * 3.5 - 2.5 * 8.5 - 8 * 2 * 0.5
    assert meeting.spikes_per_connection == pytest.approx(left / (4 * 0.5))
    assert meeting.firing_rate == pytest.approx(left / (4 * 0.5) / 4)
    assert meeting.measured == pytest.approx(sum(ACS) / 4)
    assert meeting.measured_rate == pytest.approx(sum(ACS) / 16)
    assert break_even(workload, Constants(int_add=0)) is None


@pytest.mark.parametrize(("n_steps", "bits"), [(1, 1), (3, 2), (4, 3), (7, 3), (8, 4), (255, 8)])
def test_bits_with_as_many_values_as_spike_counts(n_steps, bits):
    assert matched_bits(n_steps) == bits


def test_operands_that_are_no_spikes_make_multiply_accumulates():
    """A pooled mean of two spikes is 0, 1/2 or 1: NeuroBench's rule calls that a MAC."""
    pool = AveragePool((1, 2), (1, 2), ((0, 0),) * 2)
    graph = Graph(
        (
            Node("x", Input((1, 1, 4))),
            Node("n", IntegrateFire(ONES[3], 0 * ONES[3]), ("x",)),
            Node("pool", pool, ("n",)),
            Node("flat", Flatten(), ("pool",)),
            Node("out", dense(np.ones((3, 2))), ("flat",)),
        ),
        ("x",),
        ("out",),
    )
    x = np.array([1, 1, 0, 0.5], np.float32).reshape(1, 1, 1, 4)
    # step 1: pooled (1, 0); step 2: pooled (1, 1/2)
    workload = evaluate(graph, (x,), n_steps=2).workload
    assert workload.effective_macs == (3.0, 6.0)
    assert workload.effective_acs == (0.0, 0.0)
    assert workload.input_macs == 0


@pytest.mark.parametrize(
    ("neuron", "acs", "macs"),
    [
        (SignedFire(ONES[1], 0 * ONES[1], 4), (4.0, 4.0), (0.0, 0.0)),
        (Burst(ONES[1], 0 * ONES[1], 4), (0.0, 0.0), (4.0, 4.0)),
    ],
)
def test_signed_spikes_are_accumulated_and_graded_ones_multiplied(neuron, acs, macs):
    """Two inputs of currents 2 and 1, through a flattening that leaves them what they are."""
    graph = Graph(
        (
            Node("x", Input((2,))),
            Node("n", neuron, ("x",)),
            Node("flat", Flatten(), ("n",)),
            Node("out", dense(np.ones((2, 2))), ("flat",)),
        ),
        ("x",),
        ("out",),
    )
    workload = evaluate(graph, (np.array([[2.0, 1.0]], np.float32),), n_steps=2).workload
    assert (workload.effective_acs, workload.effective_macs) == (acs, macs)
    assert workload.activation_sparsity == 0.0


def test_zero_weights_behind_max_pooling():
    """The pooled count of a window is the largest count; a zero weight makes no operation."""
    graph = Graph(
        (
            Node("x", Input((1, 1, 4))),
            Node("n", IntegrateFire(ONES[3], 0 * ONES[3]), ("x",)),
            Node("pool", SpikingMaxPool((1, 2), (1, 2), (1, 1), ((0, 0),) * 2), ("n",)),
            Node("flat", Flatten(), ("pool",)),
            Node("out", dense([[1.0, 1.0], [1.0, 0.0]]), ("flat",)),
        ),
        ("x",),
        ("out",),
    )
    x = np.array([1.0, 0.5, 0.5, 0.25], np.float32).reshape(1, 1, 1, 4)
    for engine in ("event", "reference"):
        workload = evaluate(graph, (x,), n_steps=4, engine=engine).workload
        assert sum(workload.effective_acs) == pytest.approx(4 * 2 + 2 * 1)


@pytest.mark.parametrize("groups", [1, 2])
def test_connections_with_weights_that_are_not_zero(groups):
    """Without zeros it is the op's own fan-out; with zeros it is what ones through it give."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(4, 4 // groups, 3, 2)).astype(np.float32)
    type_ = TensorType((4, 6, 5))

    def conv(weight):
        return Conv(weight, np.zeros(4), (2, 1), (1, 2), ((1, 0), (1, 1)), groups)

    np.testing.assert_array_equal(
        active_fan_out(conv(weight), type_), conv(weight).fan_out(type_)
    )  # fmt: skip
    weight[random.random(weight.shape) < 0.5] = 0
    op = conv((weight != 0).astype(np.float32))
    found = active_fan_out(conv(weight), type_)
    for place in np.ndindex(*type_.shape):
        x = np.zeros((1, *type_.shape), np.float32)
        x[(0, *place)] = 1
        assert found[place] == op.apply(x).sum()


def test_constants_on_the_command_line():
    assert parse_constants(["int_add=0.03", "weight_bits=4"]) == Constants(
        int_add=0.03, weight_bits=4
    )
    assert parse_constants([]) == Constants()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("int_add", "--energy int_add: expected NAME=VALUE"),
        ("int_ad=1", "--energy 'int_ad': does not exist, expected one of float_add"),
        ("int_add=-1", "--energy int_add: '-1' is no finite number >= 0"),
        ("int_add=nan", "'nan' is no finite number"),
        ("int_add=1e999", "'1e999' is no finite number"),
        ("int_add=much", "'much' is no finite number"),
    ],
)
def test_bad_constants(setting, message):
    with pytest.raises(SimulationError, match=message):
        parse_constants([setting])


@pytest.mark.parametrize(
    ("op", "numbers"),
    [
        (IntegrateFire(ONES[1], ONES[1]), 1),
        (SignedFire(ONES[1], ONES[1], 3), 2),
        (LeakyFire(ONES[1], ONES[1], leak=0.5), 3),
        (DifferentialFire(ONES[1], ONES[1], ONES[1], 3), 5),
        (Pulse(1, 1.0), 0),
    ],
)
def test_numbers_that_neurons_keep(op, numbers):
    graph = Graph((Node("x", Input((6,))), Node("n", op, ("x",))), ("x",), ("n",))
    run = evaluate(graph, (np.ones((2, 6), np.float32),), n_steps=4, engine="reference")
    assert run.workload.state_bytes == 4 * 6 * numbers


def test_quantised_ann_of_a_schedule_has_the_values_of_one_layer():
    graph = small()
    second = (
        Node("m", IntegrateFire(ONES[1], 0 * ONES[1]), ("out",)),
        Node("end", dense([[1.0, 0.0], [1.0, 1.0]]), ("m",)),
    )
    graph = Graph((*graph.nodes, *second), ("x",), ("end",))
    scheduled = PASSES["schedule_neurons"](graph, n_steps=3, schedule="wait")
    workload = evaluate(scheduled, (X,), n_steps=6).workload
    assert (workload.n_steps, workload.n_levels) == (6, 3)
    assert "2-bit activations" in energy_rows(workload, Constants())[2].name
    causal = evaluate(graph, (X,), n_steps=6).workload
    assert (causal.n_steps, causal.n_levels) == (6, 6)
    assert "3-bit activations" in energy_rows(causal, Constants())[2].name
