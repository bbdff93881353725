"""Own layers: values by hand, gradients, and the same in a file as in memory and in the graph."""

import keras
import numpy as np
import pytest
from keras import ops

from spikeport.converter.frontends import read
from spikeport.converter.ir import run
from spikeport.converter.training import activations, binary_layers, spiking
from spikeport.converter.training.binary_weights import SCHEMES, binarize
from spikeport.converter.training.estimators import ESTIMATORS, SURROGATES
from spikeport.converter.training.table import LAYERS

X = np.array([[-1.0, 0.1, 0.3, 0.5, 0.9, 3.0]], np.float32)


def gradient(function, x):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(function(x))
    return tape.gradient(y, x).numpy()


def test_quantised_relu():
    layer = activations.QuantizedReLU(2)
    np.testing.assert_array_equal(layer(X), [[0, 0, 0.5, 0.5, 1, 1]])
    np.testing.assert_array_equal(gradient(layer, X), [[0, 1, 1, 1, 1, 0]])
    layer.threshold.assign([2.0])
    np.testing.assert_array_equal(layer(X), [[0, 0, 0, 1, 1, 2]])


def test_gradient_of_the_threshold():
    import tensorflow as tf

    layer = activations.QuantizedReLU(2)
    x = tf.constant([[-1.0, 0.3, 3.0]])
    with tf.GradientTape() as tape:
        y = layer(x) * np.array([[1.0, 10.0, 100.0]])
    (found,) = tape.gradient(y, [layer.threshold.value])
    # 0 below; (h - x) / threshold = 0.5 - 0.3 within; 1 above
    np.testing.assert_allclose(found, [0 + 10 * 0.2 + 100], rtol=1e-5)


def test_clipped_and_slip_relu():
    np.testing.assert_allclose(activations.ClippedReLU()(X), [[0, 0.1, 0.3, 0.5, 0.9, 1]])
    slip = activations.SlipReLU(2, share=0.25)(X)
    np.testing.assert_allclose(slip, [[0, 0.025, 0.45, 0.5, 0.975, 1]], rtol=1e-6)


@pytest.mark.parametrize("options", [{"noise": 0.5}, {"poisson_steps": 4}])
def test_noise_is_for_training(options):
    layer = activations.ClippedReLU(seed=1, **options)
    x = np.full((2000, 1), 0.64, np.float32)
    np.testing.assert_allclose(layer(x), x)
    noisy = np.asarray(layer(x, training=True))
    assert abs(noisy.mean() - 0.64) < 0.05
    expected = 0.5 if "noise" in options else 0.4  # the square root of 0.64 / 4
    assert abs(noisy.std() - expected) < 0.05


def test_whetstone_sharpens_to_a_step():
    layer = activations.Whetstone()
    np.testing.assert_allclose(layer(X), [[0, 0.1, 0.3, 0.5, 0.9, 1]], rtol=1e-6)
    layer.sharpness.assign(0.5)
    np.testing.assert_allclose(layer(X), [[0, 0, 0.1, 0.5, 1, 1]], atol=1e-6)
    layer.sharpness.assign(1.0)
    sharp = np.asarray(layer(X))[0]
    np.testing.assert_allclose(sharp[[0, 1, 2, 4, 5]], [0, 0, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("width", "soft", "half", "step"),
    [
        (1.0, [0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0]),
        (0.25, [0, 1, 1, 1, 1, 0], [0, 0, 2, 2, 0, 0], [0, 0, 0, 4, 0, 0]),
        (0.0, [0, 1, 1, 1, 1, 0], [0, 0, 2, 2, 0, 0], [0, 0, 0, 0, 0, 0]),
    ],
)
def test_gradient_of_whetstone_is_that_of_a_ramp_of_some_width(width, soft, half, step):
    layer = activations.Whetstone(gradient_width=width)
    layer(X)
    for sharpness, expected in ((0, soft), (0.5, half), (1, step)):
        layer.sharpness.assign(sharpness)
        np.testing.assert_allclose(gradient(layer, X), [expected])


def test_sign_and_its_estimators():
    x = np.array([[-2.0, -0.5, 0.0, 0.5, 2.0]], np.float32)
    expected = {"hard_tanh": [0, 1, 1, 1, 0], "approx_sign": [0, 1, 2, 1, 0]}
    for estimator in ESTIMATORS:
        layer = activations.BinarySign(estimator)
        np.testing.assert_array_equal(layer(x), [[-1, -1, 1, 1, 1]])
        np.testing.assert_allclose(gradient(layer, x), [expected[estimator]])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_binary_kernel_is_that_of_numpy_and_gradients_pass(scheme):
    import tensorflow as tf

    layer = binary_layers.BinaryDense(4, scheme=scheme, seed=1)
    x = np.eye(5, dtype=np.float32)
    layer.build(x.shape)
    used = np.asarray(layer(x))
    kernel = np.asarray(layer.kernel)
    np.testing.assert_allclose(used.T, binarize(kernel.T, scheme), rtol=1e-5)
    with tf.GradientTape() as tape:
        total = ops.sum(layer(tf.constant(x)))
    np.testing.assert_allclose(tape.gradient(total, layer.kernel.value), np.ones((5, 4)))
    layer.is_binary = False
    np.testing.assert_array_equal(layer(x), kernel)


def test_stochastic_weights_are_drawn_in_training():
    layer = binary_layers.BinaryDense(200, scheme="stochastic", seed=1)
    x = np.eye(50, dtype=np.float32)
    layer.build(x.shape)
    scale = np.abs(np.asarray(layer.kernel)).mean()
    drawn = np.mean([np.asarray(layer(x, training=True)) / scale for _ in range(40)], axis=0)
    expected = np.clip(np.asarray(layer.kernel) / scale, -1, 1)
    assert abs(drawn - expected).mean() < 0.2
    assert set(np.unique(np.sign(layer(x, training=True)))) == {-1, 1}


def test_neurons_over_time():
    """Current 0.6, threshold 1, half of it at the start: 1.1 fires, 0.7, 1.3 fires, 0.9."""
    for surrogate in SURROGATES:
        layer = spiking.SpikingNeuron(4, surrogate=surrogate)
        steps = spiking.RepeatSteps(4)(np.array([[0.6]], np.float32))
        np.testing.assert_array_equal(np.asarray(layer(steps))[:, 0], [1, 0, 1, 0])
        np.testing.assert_allclose(spiking.MeanOverSteps(4)(layer(steps)), [[0.5]])
        assert gradient(layer, steps).any()


def test_neurons_that_leak_over_time():
    """Half is lost: 0.25 + 0.6 is too little, 0.425 + 0.6 fires, 0.0125 + 0.6, 0.30625 + 0.6."""
    layer = spiking.SpikingNeuron(4, leak=0.5)
    steps = spiking.RepeatSteps(4)(np.array([[0.6]], np.float32))
    np.testing.assert_array_equal(np.asarray(layer(steps))[:, 0], [0, 1, 0, 0])


def test_leak_is_trained_within_its_limits():
    import tensorflow as tf

    layer = spiking.SpikingNeuron(4)
    steps = spiking.RepeatSteps(4)(np.array([[0.6]], np.float32))
    with tf.GradientTape() as tape:
        total = ops.sum(layer(steps))
    (found,) = tape.gradient(total, [layer.leak.value])
    assert found[0] < 0  # what leaks does not fire
    assert any(weight is layer.leak for weight in layer.trainable_weights)
    fixed = spiking.SpikingNeuron(4, leak=0.25, train_leak=False)
    fixed(steps)
    assert not any(weight is fixed.leak for weight in fixed.trainable_weights)
    limits = layer.leak.constraint
    np.testing.assert_allclose(limits(np.float32([-0.5, 0.5, 1.5])), [0, 0.5, 0.99])
    again = activations.Between.from_config(limits.get_config())
    assert (again.least, again.most) == (0, spiking.MAX_LEAK)


def test_constraint_keeps_thresholds_positive():
    assert float(activations.AtLeast()(np.float32(-3))) == np.float32(1e-3)
    np.testing.assert_array_equal(
        binary_layers.ClipWeights(0.5)(np.array([-2.0, 0.1])), [-0.5, 0.1]
    )


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: activations.QuantizedReLU(0), "n_levels is 0, expected at least 1"),
        (lambda: activations.QuantizedReLU(shift=1.0), "shift is 1.0, expected 0 <= shift < 1"),
        (lambda: activations.ClippedReLU(0.0), "initial_threshold is 0.0, expected > 0"),
        (lambda: activations.ClippedReLU(noise=-1.0), "noise is -1.0"),
        (lambda: activations.SlipReLU(share=2.0), "share is 2.0, expected 0 to 1"),
        (lambda: activations.Whetstone(gradient_width=2.0), "gradient_width is 2.0, expected 0 to"),
        (lambda: activations.BinarySign("tanh"), "estimator is 'tanh', expected hard_tanh or"),
        (lambda: binary_layers.BinaryDense(3, scheme="two"), "scheme is 'two', expected one of"),
        (lambda: activations.ClippedReLU(leak=1.0), "leak is 1.0, expected 0 <= leak < 1"),
        (lambda: spiking.SpikingNeuron(leak=1.0), "leak is 1.0, expected 0 to 0.99"),
        (lambda: spiking.SpikingNeuron(0), "n_steps is 0, width 1.0, expected > 0"),
        (lambda: spiking.SpikingNeuron(surrogate="step"), "surrogate is 'step', expected linear"),
    ],
)
def test_wrong_settings_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def model_of(kind):
    """A model with one own layer that has weights of its own."""
    options = {
        "BinaryDense": {"units": 4}, "BinaryConv1D": {"filters": 4, "kernel_size": 3},
        "BinaryConv2D": {"filters": 4, "kernel_size": 3, "padding": "same"},
        "BinaryConv3D": {"filters": 4, "kernel_size": 2},
        "QuantizedReLU": {"per_channel": True}, "ClippedReLU": {"per_channel": True, "noise": 0.1},
        "SlipReLU": {"share": 0.3}, "Whetstone": {"gradient_width": 0.5},
    }.get(kind, {})  # fmt: skip
    rank = {"BinaryConv1D": 1, "BinaryConv3D": 3, "BinaryDense": 0}.get(kind, 2)
    layer = LAYERS[kind](**options, name="own")
    model = keras.Sequential([
        keras.layers.Input((5,) * rank + (3,)),
        layer,
        keras.layers.Flatten(),
        keras.layers.Dense(3, name="last"),
    ])  # fmt: skip
    random = np.random.default_rng(2)
    for weight in layer.weights:
        drawn = random.uniform(0.1, 0.9, weight.shape)
        weight.assign(drawn - (0.5 if "kernel" in weight.name else 0))
    return model


@pytest.mark.parametrize("kind", LAYERS)
def test_front_end_reads_it_back(kind, tmp_path):
    model = model_of(kind)
    path = tmp_path / "own.keras"
    model.save(path)
    x = np.random.default_rng(1).normal(0, 1, (20, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(model(x))
    for source in (read(path), read(model)):
        np.testing.assert_allclose(run(source.graph, (x,))[0], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(source.run((x,))[0], expected, rtol=1e-4, atol=1e-5)


def test_own_layer_with_a_scheme_that_is_none(tmp_path):
    model = model_of("BinaryDense")
    model.layers[0].scheme = "two"
    path = tmp_path / "own.keras"
    model.save(path)
    from spikeport.converter.errors import UnsupportedOpError

    with pytest.raises(UnsupportedOpError, match="scheme is 'two', expected connect, stochastic"):
        read(path)
