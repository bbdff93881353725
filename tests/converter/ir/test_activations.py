"""Elementwise functions without spiking translation, against Keras' own."""

import keras
import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import Activation, TensorType
from spikeport.converter.ir.ops.activations import ACTIVATIONS

X = np.concatenate([np.linspace(-6, 6, 97), [-200, 0, 200]]).astype(np.float32)[None]
SELU = (1.6732632423543772, 1.0507009873554805)

KERAS = {
    "celu": ((0.7,), lambda x: keras.ops.celu(x, 0.7)),
    "elu": ((0.5,), lambda x: keras.ops.elu(x, 0.5)),
    "exponential": ((), lambda x: keras.ops.exp(x)),
    "gelu": ((), lambda x: keras.ops.gelu(x, approximate=False)),
    "gelu_tanh": ((), lambda x: keras.ops.gelu(x, approximate=True)),
    "hard_sigmoid": ((1 / 6, 0.5), keras.ops.hard_sigmoid),
    "hard_silu": ((1 / 6, 0.5), keras.ops.hard_silu),
    "log_sigmoid": ((), keras.ops.log_sigmoid),
    "mish": ((), keras.activations.mish),
    "selu": (SELU, keras.ops.selu),
    "silu": ((), keras.ops.silu),
    "softplus": ((), keras.ops.softplus),
    "softsign": ((), keras.ops.softsign),
    "tanh": ((), keras.ops.tanh),
    "thresholded_relu": ((1.5, 0.25, 4.0), lambda x: keras.layers.ReLU(4.0, 0.25, 1.5)(x)),
}


def test_every_function_is_compared():
    assert KERAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("function", KERAS)
def test_equals_keras(function):
    parameters, expected = KERAS[function]
    x = np.clip(X, -80, 80) if function == "exponential" else X
    op = Activation(function, parameters)
    assert op.infer(TensorType((X.size,), spiking=True)) == TensorType((X.size,))
    np.testing.assert_allclose(op.apply(x), expected(x), rtol=2e-5, atol=2e-6)


def test_thresholded_relu_without_a_bound():
    op = Activation("thresholded_relu", (1.0, 0.0, 0.0))
    np.testing.assert_array_equal(op.apply(np.float32([[0.5, 1, 9]])), [[0, 0, 9]])


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Activation("nothing"), r"function 'nothing' is unknown, expected one of celu, elu"),
        (Activation("elu"), r"elu has the parameters \(\), expected finite alpha"),
        (Activation("tanh", (1.0,)), r"tanh has the parameters \(1\.0,\), expected none"),
        (Activation("elu", (float("nan"),)), r"elu has the parameters \(nan,\), expected finite"),
    ],
)
def test_refuses_what_is_not_in_the_table(op, message):
    with pytest.raises(GraphError, match=message):
        op.infer(TensorType((3,)))
