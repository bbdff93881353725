"""Every op's meaning against a slow loop or values by hand, its shape rule, its connections."""

import dataclasses
import itertools

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import OPS, Neuron, OfMean, Op, StatefulOp, StepInput, TensorType
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    Input,
    InsertZeros,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)

RANDOM = np.random.default_rng(11)


def fractions(*shape: int) -> np.ndarray:
    """Multiples of 1/16: sums and products of a few are exact in any order."""
    return (RANDOM.integers(-32, 33, shape) / 16).astype(np.float32)


def conv(shape, strides, dilation, padding, groups=1) -> Conv:
    return Conv(fractions(*shape), fractions(shape[0]), strides, dilation, padding, groups)


CONVS = {
    "1-D": (conv((3, 2, 3), (1,), (1,), ((0, 0),)), (2, 8)),
    "1-D, stride, dilation, padding": (conv((2, 1, 3), (2,), (2,), ((3, 1),)), (1, 9)),
    "2-D": (conv((3, 2, 3, 2), (1, 1), (1, 1), ((0, 0),) * 2), (2, 5, 4)),
    "2-D, same with a stride": (conv((2, 3, 3, 3), (2, 2), (1, 1), ((0, 1),) * 2), (3, 6, 6)),
    "2-D, every option": (conv((4, 1, 2, 3), (2, 1), (1, 2), ((1, 0), (2, 3)), 2), (2, 5, 6)),
    "pointwise": (conv((5, 3, 1, 1), (1, 1), (1, 1), ((0, 0),) * 2), (3, 4, 4)),
    "depthwise": (conv((6, 1, 3, 3), (1, 1), (1, 1), ((1, 1),) * 2, 3), (3, 4, 5)),
    "to one pixel": (conv((7, 2, 4, 4), (1, 1), (1, 1), ((0, 0),) * 2), (2, 4, 4)),
    "3-D": (conv((2, 2, 2, 1, 2), (1, 2, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 1))), (2, 4, 3, 3)),
}


def connections(op: Conv, shape: tuple[int, ...]):
    """Every (output, weight, input) index of one sample that a product joins."""
    sizes = op.infer(TensorType(shape)).shape[1:]
    n_out, per_group = len(op.weight), op.weight.shape[1]
    for out in range(n_out):
        first = out // (n_out // op.groups) * per_group
        for at, channel in itertools.product(
            itertools.product(*map(range, sizes)), range(per_group)
        ):
            for entry in itertools.product(*map(range, op.weight.shape[2:])):
                position = tuple(
                    i * s + k * d - before
                    for i, k, s, d, (before, _) in zip(
                        at, entry, op.strides, op.dilation, op.padding, strict=True
                    )
                )
                if all(0 <= p < n for p, n in zip(position, shape[1:], strict=True)):
                    yield (out, *at), (out, channel, *entry), (first + channel, *position)


@pytest.mark.parametrize("name", CONVS)
def test_conv_against_a_loop(name):
    op, shape = CONVS[name]
    x = fractions(2, *shape)
    found = op.apply(x)
    expected = np.zeros(found.shape)
    for n in range(2):
        for out, weight, position in connections(op, shape):
            expected[n][out] += float(op.weight[weight]) * x[n][position]
    expected += op.bias.reshape(-1, *(1,) * (len(shape) - 1))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    assert found.shape[1:] == op.infer(TensorType(shape)).shape


@pytest.mark.parametrize("name", CONVS)
def test_fan_out_counts_every_connection_once(name):
    op, shape = CONVS[name]
    expected = np.zeros(shape)
    for _, _, position in connections(op, shape):
        expected[position] += 1
    np.testing.assert_array_equal(op.fan_out(TensorType(shape)), expected)


def test_dense_against_a_loop():
    op = Dense(fractions(3, 4), fractions(3))
    x = fractions(5, 4)
    found = op.apply(x)
    for n, out in itertools.product(range(5), range(3)):
        assert found[n, out] == op.bias[out] + sum(op.weight[out, i] * x[n, i] for i in range(4))
    assert op.infer(TensorType((4,), spiking=True)) == TensorType((3,))
    np.testing.assert_array_equal(op.fan_out(TensorType((4,))), [3, 3, 3, 3])


BATCHED = {
    "dense": (Dense(RANDOM.normal(size=(37, 301)), RANDOM.normal(size=37)), (301,)),
    "one unit": (Dense(RANDOM.normal(size=(1, 1000)), RANDOM.normal(size=1)), (1000,)),
    "conv": (
        Conv(RANDOM.normal(size=(9, 5, 3, 3)), np.ones(9), (1, 1), (1, 1), ((1, 1),) * 2),
        (5, 13, 11),
    ),
    "depthwise": (
        Conv(RANDOM.normal(size=(6, 1, 3, 3)), np.ones(6), (2, 2), (1, 1), ((1, 1),) * 2, 6),
        (6, 9, 9),
    ),
    "to one pixel": (
        Conv(RANDOM.normal(size=(8, 16, 5, 5)), np.ones(8), (1, 1), (1, 1), ((0, 0),) * 2),
        (16, 5, 5),
    ),
    "average": (AveragePool((3, 3), (2, 2), ((1, 1),) * 2), (3, 9, 9)),
    "average to one pixel": (AveragePool((9, 9), (9, 9), ((0, 0),) * 2), (3, 9, 9)),
    "global average": (GlobalAveragePool(), (3, 17, 19)),
    "softmax": (Softmax(0), (101,)),
    "log softmax": (LogSoftmax(0), (101,)),
    "sigmoid": (Sigmoid(), (101,)),
    "local response norm": (LocalResponseNorm(5, 0.1, 0.75, 1.0), (7, 5, 5)),
}


@pytest.mark.parametrize("name", BATCHED)
def test_results_never_depend_on_the_batch(name):
    """Bit for bit: BLAS sums in another order when it is handed the batch as one matrix."""
    op, shape = BATCHED[name]
    x = np.random.default_rng(5).normal(size=(33, *shape)).astype(np.float32)
    together = op.apply(x)
    for n_samples in (1, 2, 7, 32):
        np.testing.assert_array_equal(op.apply(x[:n_samples]), together[:n_samples])
    np.testing.assert_array_equal(op.apply(x[20:21]), together[20:21])
    np.testing.assert_array_equal(op.apply(x[::-1].copy()), together[::-1])


def test_batch_norm_against_its_formula():
    mean, scale, shift = RANDOM.normal(size=(3, 4))
    variance = RANDOM.uniform(0.1, 2, 4)
    op = BatchNorm(mean, variance, scale, shift, 1e-3)
    for shape in [(4,), (4, 3, 2)]:
        x = RANDOM.normal(size=(2, *shape)).astype(np.float32)
        found = op.apply(x)
        for c in range(4):
            expected = scale[c] * (x[:, c] - mean[c]) / np.sqrt(variance[c] + 1e-3) + shift[c]
            np.testing.assert_allclose(found[:, c], expected, rtol=1e-5, atol=1e-5)
        assert op.infer(TensorType(shape, spiking=True)) == TensorType(shape)


def test_scale_broadcasts_and_counts_its_connections():
    op = Scale(np.array([2.0, -1.0]).reshape(2, 1), np.array([[0.5]]))
    x = fractions(3, 2, 4)
    np.testing.assert_array_equal(op.apply(x), x * [[2], [-1]] + 0.5)
    np.testing.assert_array_equal(op.fan_out(TensorType((2, 4))), np.ones((2, 4)))
    assert Scale(np.ones((1, 1)), np.ones((1, 1))).fan_out(TensorType((2, 4))) is None


def test_relu_with_and_without_a_cap():
    x = np.array([[-1.0, 0.25, 2.0]], np.float32)
    np.testing.assert_array_equal(Relu().apply(x), [[0, 0.25, 2]])
    np.testing.assert_array_equal(Relu(np.array([1.0, 0.125, 6.0])).apply(x), [[0, 0.125, 2]])
    assert Relu().apply(x).dtype == np.float32


POOLS = [
    (((2,), (2,), (1,), ((0, 0),)), (2, 7)),
    (((3, 2), (2, 1), (1, 2), ((2, 1), (0, 1))), (2, 6, 5)),
    (((2, 2, 2), (1, 2, 1), (1, 1, 1), ((0, 1), (0, 0), (1, 0))), (1, 3, 4, 3)),
]


def pooled_entries(geometry, shape):
    """For every output place: its index and the values' index arrays that are not padding."""
    kernel, strides, dilation, padding = geometry
    sizes = MaxPool(*geometry).infer(TensorType(shape)).shape[1:]
    for at in itertools.product(*map(range, sizes)):
        entries = []
        for entry in itertools.product(*map(range, kernel)):
            position = tuple(
                i * s + k * d - before
                for i, k, s, d, (before, _) in zip(
                    at, entry, strides, dilation, padding, strict=True
                )
            )
            if all(0 <= p < n for p, n in zip(position, shape[1:], strict=True)):
                entries.append(position)
        yield at, entries


@pytest.mark.parametrize(("geometry", "shape"), POOLS)
def test_max_pool_against_a_loop(geometry, shape):
    x = fractions(2, *shape) - 3  # all negative: padding must never win
    found = MaxPool(*geometry).apply(x)
    for at, entries in pooled_entries(geometry, shape):
        values = np.stack([x[:, :, *position] for position in entries])
        np.testing.assert_array_equal(found[:, :, *at], values.max(axis=0))


@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize(("geometry", "shape"), POOLS)
def test_average_pool_against_a_loop(geometry, shape, count_padding):
    kernel, strides, _, padding = geometry
    geometry = (kernel, strides, (1,) * len(kernel), padding)
    x = fractions(2, *shape)
    found = AveragePool(kernel, strides, padding, count_padding).apply(x)
    for at, entries in pooled_entries(geometry, shape):
        total = np.stack([x[:, :, *position] for position in entries]).sum(axis=0)
        n = np.prod(kernel) if count_padding else len(entries)
        np.testing.assert_allclose(found[:, :, *at], total / n, rtol=1e-6)


def test_global_average_pool():
    x = fractions(2, 3, 4, 4)
    np.testing.assert_array_equal(GlobalAveragePool().apply(x), x.mean(axis=(2, 3)))
    assert GlobalAveragePool().infer(TensorType((3, 4, 4), spiking=True)) == TensorType((3,))


def test_shapes_without_arithmetic():
    """Same entries, elsewhere: what goes in as spikes comes out as spikes."""
    x = np.arange(48, dtype=np.float32).reshape(2, 2, 3, 4)
    spikes = TensorType((2, 3, 4), spiking=True)
    cases = {
        Identity(): x,
        Flatten(): x.reshape(2, 24),
        Reshape((4, 6)): x.reshape(2, 4, 6),
        Transpose((1, 2, 0)): np.moveaxis(x, 1, 3),
        Pad(((0, 0), (1, 0), (0, 2))): np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 2))),
    }
    for op, expected in cases.items():
        found = op.apply(x)
        np.testing.assert_array_equal(found, expected)
        assert op.infer(spikes) == TensorType(found.shape[1:], spiking=True)
        assert not op.infer(TensorType((2, 3, 4))).spiking
        assert op.fan_out(spikes) is None


def test_add_sums_left_to_right():
    big, one = np.full((1, 1), 2.0**24, np.float32), np.ones((1, 1), np.float32)
    assert Add().apply(big, one, one) == 2.0**24
    assert Add().apply(one, one, big) == 2.0**24 + 2
    assert Add().apply(one) == 1
    spikes = TensorType((1,), spiking=True)
    assert Add().infer(spikes, spikes) == TensorType((1,))
    np.testing.assert_array_equal(Add().fan_out(spikes), [1])
    assert Add().fan_out(TensorType((1,))) is None


def test_concatenate_along_every_axis():
    x, y = fractions(2, 3, 4), fractions(2, 3, 4)
    for axis in (0, 1):
        found = Concatenate(axis).apply(x, y, x)
        np.testing.assert_array_equal(found, np.concatenate((x, y, x), axis=axis + 1))
        type_ = TensorType((3, 4), spiking=True)
        assert Concatenate(axis).infer(type_, type_, type_).shape == found.shape[1:]
        assert Concatenate(axis).infer(type_, type_).spiking
        assert not Concatenate(axis).infer(type_, TensorType((3, 4))).spiking


def test_softmax_and_sigmoid_of_large_values():
    x = np.array([[1000.0, 999.0, -1000.0]], np.float32)
    expected = np.array([[1, np.exp(-1), 0]]) / (1 + np.exp(-1))
    np.testing.assert_allclose(Softmax(0).apply(x), expected, rtol=1e-6)
    np.testing.assert_allclose(Softmax(1).apply(x[:, None])[:, 0], expected, rtol=1e-6)
    logs = np.array([[0.0, -1.0, -2000.0]]) - np.log(1 + np.exp(-1))
    np.testing.assert_allclose(LogSoftmax(0).apply(x), logs, rtol=1e-6)
    np.testing.assert_allclose(LogSoftmax(1).apply(x[:, None])[:, 0], logs, rtol=1e-6)
    small = np.array([[-200.0, -1.0, 0.0, 2.0, 200.0]], np.float32)
    np.testing.assert_allclose(
        Sigmoid().apply(small), 1 / (1 + np.exp(-small.astype(np.float64))), atol=1e-7
    )
    for op in (Softmax(0), Sigmoid()):
        assert op.apply(x).dtype == np.float32
        assert op.infer(TensorType((3,), spiking=True)) == TensorType((3,))


ONES, EYE = np.ones(2), np.ones((2, 3))


def geometry(kernel=(2,), strides=(1,), dilation=(1,), padding=((0, 0),)):
    return kernel, strides, dilation, padding


REFUSED = [
    (Dense(np.ones(3), ONES), [(3,)], r"weight has shape \(3,\), expected \[out, in\]"),
    (Dense(EYE, np.ones(3)), [(3,)], r"bias has shape \(3,\), expected \(2,\)"),
    (Dense(EYE, ONES), [(2,)], r"operand has shape \(2,\), expected \(3,\)"),
    (Dense(EYE, ONES), [(3, 1)], r"operand has shape \(3, 1\), expected \(3,\)"),
    (Dense(np.ones((0, 3)), np.ones(0)), [(3,)], r"shape \(0,\): has a size that is not a posit"),
    (conv((2, 3), (), (), ()), [(3,)], r"weight has shape \(2, 3\), expected \[out, in, K\.\.\.\]"),
    (
        Conv(np.ones((2, 1, 3)), np.ones(3), (1,), (1,), ((0, 0),)),
        [(1, 5)],
        r"bias has shape \(3,\), expected \(2,\)",
    ),
    (
        conv((3, 1, 3), (1,), (1,), ((0, 0),), 2),
        [(2, 5)],
        r"groups = 2 does not divide the 3 output channels",
    ),
    (conv((3, 1, 3), (1,), (1,), ((0, 0),), 0), [(2, 5)], r"groups = 0 does not divide the 3"),
    (
        conv((2, 1, 3), (1,), (1,), ((0, 0),), 2),
        [(3, 5)],
        r"operand has shape \(3, 5\), expected 2 channels and 1 spatial axes",
    ),
    (conv((2, 1, 3), (1,), (1,), ((0, 0),)), [(5,)], r"expected 1 channels and 1 spatial axes"),
    (conv((2, 1, 3), (1,), (1,), ((0, 0),)), [(1, 2)], r"window \(3,\) does not fit into spatial"),
    (conv((2, 1, 0), (1,), (1,), ((0, 0),)), [(1, 2)], r"kernel \(0,\): expected sizes from 1"),
    (
        BatchNorm(ONES, ONES, np.ones(3), ONES, 0.1),
        [(2, 4)],
        r"scale has shape \(3,\), expected \(2,\)",
    ),
    (BatchNorm(*(np.ones(0),) * 4, 0.1), [()], r"operand is a scalar, expected \[C, \.\.\.\]"),
    (BatchNorm(ONES, 0 * ONES, ONES, ONES, 0.0), [(2,)], r"variance \+ epsilon is not positive"),
    (
        BatchNorm(ONES, 1e-30 * ONES, 1e30 * ONES, ONES, 0.0),
        [(2,)],
        r"a parameter holds NaN or infinity",
    ),
    (Scale(np.ones((2, 1)), np.ones(1)), [(2, 4)], r"shift has shape \(1,\), expected one that br"),
    (Scale(np.ones((3, 1)), np.ones((1, 1))), [(2, 4)], r"scale has shape \(3, 1\).*\(2, 4\)"),
    (Relu(np.zeros(1)), [(3,)], r"max_value is not positive"),
    (Relu(np.ones(2)), [(3,)], r"scale has shape \(2,\), expected one that broadcasts to \(3,\)"),
    (MaxPool(*geometry()), [(8,)], r"operand has shape \(8,\), expected channels and 1 spatial"),
    (MaxPool((), (), (), ()), [(8,)], r"kernel \(\): has no axes, expected at least one"),
    (MaxPool(*(((1,) * 4,) * 3), ((0, 0),) * 4), [(1,) * 5], r"expected channels and 4 spatial ax"),
    (
        MaxPool(*geometry(padding=((0, 2),))),
        [(1, 8)],
        r"padding \(\(0, 2\),\) makes empty windows",
    ),
    (
        MaxPool(*geometry(dilation=(3,), padding=((1, 2),))),
        [(1, 2)],
        r"dilation \(3,\) with padding \(\(1, 2\),\) makes empty windows",
    ),
    (AveragePool((2,), (1,), ((2, 0),)), [(1, 8)], r"padding \(\(2, 0\),\) makes empty windows"),
    (AveragePool((9,), (1,), ((0, 0),)), [(1, 8)], r"window \(9,\) does not fit"),
    (GlobalAveragePool(), [(8,)], r"operand has shape \(8,\), expected \[C, \.\.\.\]"),
    (
        Reshape((4, 2)),
        [(3, 3)],
        r"operand float32\[3, 3\] has 9 entries, expected 8 for shape \(4, 2\)",
    ),
    (Reshape((-3, -3)), [(3, 3)], r"shape \(-3, -3\): has a size that is not a positive integer"),
    (Transpose((0, 0)), [(3, 3)], r"permutation \(0, 0\) does not fit an operand of 2 axes"),
    (Transpose((0,)), [(3, 3)], r"permutation \(0,\) does not fit an operand of 2 axes"),
    (Pad(((0, 0),)), [(3, 3)], r"padding \(\(0, 0\),\) has 1 pairs, expected 2"),
    (Pad(((0, -1),)), [(3,)], r"padding is negative"),
    (Select((None,)), [(3, 3)], r"indices are given for 1 axes, expected 2"),
    (Select((None, ())), [(3, 3)], r"indices of axis 1 are empty, expected at least one"),
    (Select(((0, 3), None)), [(3, 3)], r"indices of axis 0 lie in 0\.\.3, expected 0\.\.2"),
    (Select(((-1,), None)), [(3, 3)], r"indices of axis 0 lie in -1\.\.-1, expected 0\.\.2"),
    (InsertZeros((2,)), [(3,)], r"operand has shape \(3,\), expected channels and 1 spatial axes"),
    (InsertZeros((0,)), [(3, 2)], r"strides \(0,\): expected steps from 1 to"),
    (Add(), [(3,), (4,)], r"operands have shapes \(3,\) and \(4,\), expected one shape"),
    (Concatenate(1), [(3,)], r"axis 1 does not exist in an operand of shape \(3,\)"),
    (Concatenate(-1), [(3,)], r"axis -1 does not exist in an operand of shape \(3,\)"),
    (
        Concatenate(0),
        [(3, 2), (3, 4)],
        r"shapes \(3, 2\) and \(3, 4\), expected the same sizes but for axis 0",
    ),
    (Concatenate(1), [(2, 3), (2,)], r"operands have shapes \(2, 3\) and \(2,\), expected the"),
    (Softmax(1), [(3,)], r"axis 1 does not exist in an operand of shape \(3,\)"),
    (Input((3, 0)), [], r"shape \(3, 0\): has a size that is not a positive integer"),
]


@pytest.mark.parametrize(("op", "shapes", "message"), REFUSED)
def test_shape_rules_refuse(op, shapes, message):
    with pytest.raises(GraphError, match=message):
        op.infer(*(TensorType(shape) for shape in shapes))


def test_select_keeps_drops_and_repeats():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    op = Select(((1,), (2, 2, 0)))
    assert op.infer(TensorType((2, 3), spiking=True)) == TensorType((1, 3), spiking=True)
    np.testing.assert_array_equal(op.apply(x), [[[5, 5, 3]]])
    np.testing.assert_array_equal(Select((None, None)).apply(x), x)


def test_insert_zeros_spreads_the_entries():
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    op = InsertZeros((2, 3))
    assert op.infer(TensorType((1, 2, 2), spiking=True)) == TensorType((1, 3, 4), spiking=True)
    np.testing.assert_array_equal(op.apply(x)[0, 0], [[1, 0, 0, 2], [0] * 4, [3, 0, 0, 4]])


def test_parameters_are_frozen_copies():
    weight = np.ones((2, 3))
    op = Dense(weight, np.zeros(2))
    weight[0, 0] = 5
    assert op.weight[0, 0] == 1
    assert op.weight.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        op.weight[0, 0] = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        op.weight = weight
    with pytest.raises(GraphError, match="holds NaN or infinity"):
        Dense(np.full((2, 3), np.nan), np.zeros(2))


def test_arguments_are_never_changed():
    x = fractions(2, 2, 4, 4)
    before = x.copy()
    x.setflags(write=False)
    for op in (
        conv((2, 2, 3, 3), (1, 1), (1, 1), ((1, 1),) * 2),
        Relu(np.ones((1, 1, 1))),
        Scale(np.ones((1, 1, 1)), np.ones((1, 1, 1))),
        MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2),
        AveragePool((2, 2), (2, 2), ((1, 1),) * 2),
        Softmax(0),
        Sigmoid(),
    ):
        op.apply(x)
    Add().apply(x, x, x)
    np.testing.assert_array_equal(x, before)


def test_table_has_every_op_under_its_own_name():
    def subclasses(kind: type[Op]) -> set[type[Op]]:
        return {kind}.union(*map(subclasses, kind.__subclasses__()))

    defined = {op for op in subclasses(Op) if op.__module__.startswith("spikeport.")}
    assert set(OPS.values()) == defined - {Op, StatefulOp, Neuron, OfMean, StepInput}
    assert all(name == op.__name__ for name, op in OPS.items())


def test_every_op_must_say_its_shape_rule_and_meaning():
    with pytest.raises(NotImplementedError):
        Op().infer()
    with pytest.raises(NotImplementedError):
        Op().apply()


def test_local_response_norm_by_hand():
    """Five channels, windows of three: 1 / (1 + (1 + 4) / 3)^2 and so on; size 2 looks behind."""
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 5, 1)
    sums = np.array([5, 14, 29, 50, 41])
    found = LocalResponseNorm(3, 1.0, 2.0, 1.0).apply(x)[0, :, 0]
    np.testing.assert_allclose(found, np.arange(1, 6) / (1 + sums / 3) ** 2, rtol=1e-6)
    found = LocalResponseNorm(2, 1.0, 1.0, 1.0).apply(x)[0, :, 0]
    sums = np.array([5, 13, 25, 41, 25])
    np.testing.assert_allclose(found, np.arange(1, 6) / (1 + sums / 2), rtol=1e-6)
    everything = LocalResponseNorm(99, 1.0, 1.0, 1.0).apply(x)[0, :, 0]
    np.testing.assert_allclose(everything, np.arange(1, 6) / (1 + 55 / 99), rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "shape", "message"),
    [
        (LocalResponseNorm(0, 1.0, 1.0, 1.0), (3,), "size 0, expected at least one channel"),
        (LocalResponseNorm(3, float("nan"), 1.0, 1.0), (3,), "nan.*expected finite numbers"),
        (LocalResponseNorm(3, 1.0, 1.0, 0.0), (3,), "bias 0 may divide by zero"),
        (LocalResponseNorm(3, -1.0, 1.0, 1.0), (3,), "alpha -1 and bias 1 may divide by zero"),
        (LocalResponseNorm(3, 1.0, 1.0, 1.0), (), "operand is a scalar"),
    ],
)
def test_local_response_norms_that_mean_nothing(op, shape, message):
    with pytest.raises(GraphError, match=message):
        op.infer(TensorType(shape))
