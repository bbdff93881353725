"""Layers that are a few operations, against Keras and numpy."""

import itertools

import keras
import numpy as np
import pytest

from spikeport.converter.frontends import lowering
from spikeport.converter.ir import Graph, Node, Op, run
from spikeport.converter.ir.ops import Input

RANDOM = np.random.default_rng(3)


def evaluate(build, *arrays: np.ndarray) -> np.ndarray:
    """Build a graph of `build(emit, *names)` and run it on the arrays [N, ...]."""
    names = tuple(f"x{number}" for number in range(len(arrays)))
    nodes = [Node(n, Input(a.shape[1:])) for n, a in zip(names, arrays, strict=True)]
    numbers = itertools.count()

    def emit(inner: str, op: Op, operands: tuple[str, ...]) -> str:
        name = f"{inner}{next(numbers)}" if inner else "result"
        nodes.append(Node(name, op, operands))
        return name

    output = build(emit, *names)
    assert output == "result"
    (result,) = run(Graph(tuple(nodes), names, (output,)), arrays)
    return result


def draw(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def test_leaky_relu():
    x, slope = draw(4, 3, 5), np.float32([[0.1], [2.0], [-0.5]])
    found = evaluate(lambda emit, name: lowering.leaky_relu(emit, name, slope), x)
    np.testing.assert_allclose(found, np.where(x > 0, x, slope * x), rtol=1e-6)
    capped = evaluate(
        lambda emit, name: lowering.leaky_relu(emit, name, slope, np.float32([[0.3]])), x
    )
    np.testing.assert_allclose(
        capped,
        np.minimum(np.where(x > 0, x, slope * x), np.where(x > 0, np.float32(0.3), np.inf)),
        rtol=1e-6,
    )


def test_arithmetic_of_several_operands():
    a, b, c = draw(2, 3, 4), draw(2, 3, 4), draw(2, 3, 4)
    shape = (3, 4)
    for build, arrays, expected in (
        (lambda emit, *x: lowering.subtract(emit, *x, rank=2), (a, b), a - b),
        (lambda emit, *x: lowering.average(emit, x, 2), (a, b, c), (a + b + c) / 3),
        (
            lambda emit, *x: lowering.maximum(emit, x, shape),
            (a, b, c),
            np.maximum(np.maximum(a, b), c),
        ),
        (lambda emit, *x: lowering.minimum(emit, x, shape), (a, b), np.minimum(a, b)),
    ):
        np.testing.assert_allclose(evaluate(build, *arrays), expected, rtol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("kernel", "strides"), [((3, 3), (2, 2)), ((2, 4), (3, 1)), ((1, 1), (2, 3))]
)
def test_conv_transpose(kernel, strides, padding):
    layer = keras.layers.Conv2DTranspose(4, kernel, strides, padding)
    x = draw(2, 5, 6, 3)
    layer.build(x.shape)
    layer.set_weights([draw(*kernel, 4, 3), draw(4)])
    expected = np.moveaxis(np.asarray(layer(x)), 3, 1)
    weight, bias = layer.get_weights()
    crop = []
    for size, k, step, out in zip((5, 6), kernel, strides, expected.shape[2:], strict=True):
        surplus = (size - 1) * step + k - out
        before = max(surplus, 0) // 2
        crop.append((before, surplus - before))
    found = evaluate(
        lambda emit, name: lowering.conv_transpose(
            emit,
            name,
            (5, 6),
            weight=weight.transpose(3, 2, 0, 1),
            bias=bias,
            strides=strides,
            dilation=(1, 1),
            crop=tuple(crop),
        ),
        np.moveaxis(x, 3, 1),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_conv_transpose_with_groups_dilation_and_a_deep_crop():
    x, weight, bias = draw(2, 4, 5), draw(4, 3, 2), draw(6)
    found = evaluate(
        lambda emit, name: lowering.conv_transpose(
            emit,
            name,
            (5,),
            weight=weight,
            bias=bias,
            strides=(2,),
            dilation=(3,),
            crop=((5, -1),),
            groups=2,
        ),
        x,
    )
    whole = np.zeros((2, 6, 4 * 2 + 3 + 1 + 1), np.float32)
    for i, c, k, o in itertools.product(range(5), range(4), range(2), range(3)):
        whole[:, (c // 2) * 3 + o, 2 * i + 3 * k] += x[:, c, i] * weight[c, o, k]
    np.testing.assert_allclose(found, whole[..., 5:] + bias[:, None], rtol=1e-4, atol=1e-5)
