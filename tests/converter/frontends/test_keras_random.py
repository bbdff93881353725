"""Property: any functional model that Keras builds is read equal to Keras, from its file, too."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spikeport.converter.errors import UnsupportedOpError
from spikeport.converter.frontends import read
from spikeport.converter.ir import run

from .keras_models import FIRST, Model, keras, kl, randomize, samples

ops = keras.ops
Draw = Callable[[st.SearchStrategy[Any]], Any]
Tensor = Any

ACTIVATIONS = ("linear", "relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_tanh")
small = st.integers(1, 3)


class Spatial:
    """Draws layers for one number of spatial axes and one data format."""

    def __init__(self, draw: Draw, n_axes: int, data_format: str) -> None:
        self.draw, self.n_axes, self.data_format = draw, n_axes, data_format

    def layer(self, name: str, *args: Any, **options: Any) -> kl.Layer:
        suffix = name.partition("Transpose")[2] and "Transpose"
        stem = name.removesuffix("Transpose")
        made = getattr(kl, f"{stem}{self.n_axes}D{'Transpose' if suffix or stem != name else ''}")
        return made(*args, data_format=self.data_format, **options)

    def sizes(self) -> tuple[int, ...]:
        return tuple(self.draw(small) for _ in range(self.n_axes))

    def padding(self) -> str:
        return str(self.draw(st.sampled_from(("valid", "same"))))

    def activation(self) -> str:
        return str(self.draw(st.sampled_from(ACTIVATIONS)))

    def channel_axis(self) -> int:
        return 1 if self.data_format == FIRST else -1

    def conv(self, x: Tensor) -> Tensor:
        stride_or_dilation = {self.draw(st.sampled_from(("strides", "dilation_rate"))): 2}
        options = stride_or_dilation if self.draw(st.booleans()) else {}
        return self.layer(
            "Conv", self.draw(small), self.sizes(), padding=self.padding(),
            activation=self.activation(), use_bias=self.draw(st.booleans()), **options,
        )(x)  # fmt: skip

    def depthwise(self, x: Tensor) -> Tensor:
        name = "DepthwiseConv" if self.draw(st.booleans()) else "SeparableConv"
        if self.n_axes == 3:
            return self.conv(x)
        kernel, stride = self.draw(small), self.draw(st.integers(1, 2))
        first = (2, kernel) if name == "SeparableConv" else (kernel,)
        return self.layer(
            name, *first, strides=stride, padding=self.padding(),
            depth_multiplier=self.draw(st.integers(1, 2)), activation=self.activation(),
        )(x)  # fmt: skip

    def conv_transpose(self, x: Tensor) -> Tensor:
        return self.layer(
            "ConvTranspose", self.draw(small), self.sizes(), strides=self.sizes(),
            padding=self.padding(), activation=self.activation(),
        )(x)  # fmt: skip

    def pool(self, x: Tensor) -> Tensor:
        name = self.draw(st.sampled_from(("MaxPooling", "AveragePooling")))
        strides = self.draw(st.none() | small)
        return self.layer(name, self.draw(small), strides=strides, padding=self.padding())(x)

    def resample(self, x: Tensor) -> Tensor:
        name, key = self.draw(
            st.sampled_from((
                ("ZeroPadding", "padding"),
                ("Cropping", "cropping"),
                ("UpSampling", "size"),
            ))
        )
        if name == "UpSampling" and self.n_axes == 1:
            return kl.UpSampling1D(2)(x)  # has no data format, works on axis 1
        pairs = tuple((self.draw(st.integers(0, 2)), self.draw(small)) for _ in self.sizes())
        value = self.sizes() if name == "UpSampling" else pairs
        return self.layer(name, **{key: value[0] if self.n_axes == 1 else value})(x)

    def normalize(self, x: Tensor) -> Tensor:
        return kl.BatchNormalization(axis=self.channel_axis())(x)

    def rectify(self, x: Tensor) -> Tensor:
        shared = self.draw(st.sampled_from((None, [1], [*range(1, self.n_axes + 1)])))
        layers = (
            kl.ReLU(max_value=1.5), kl.ReLU(negative_slope=0.1), kl.ReLU(0.5, 0.25),
            kl.ReLU(negative_slope=0.1, threshold=0.25), kl.LeakyReLU(0.2),
            kl.PReLU(shared_axes=shared),
            kl.Activation("relu"), kl.Dropout(0.5), kl.GaussianNoise(0.1),
        )  # fmt: skip
        return self.draw(st.sampled_from(layers))(x)

    def compute(self, x: Tensor) -> Tensor:
        constants = np.linspace(-1, 1, x.shape[-1]).astype(np.float32)
        choices: tuple[Callable[[], Tensor], ...] = (
            lambda: x * 0.5 + 1.0, lambda: 1.0 - x, lambda: x / 2.0, lambda: -x, lambda: abs(x),
            lambda: x + constants, lambda: ops.maximum(x, 0.25), lambda: ops.minimum(x, constants),
            lambda: ops.clip(x, -0.5, 0.75), lambda: ops.relu(x), lambda: ops.leaky_relu(x, 0.3),
            lambda: kl.Rescaling(2.0, 0.5)(x), lambda: ops.hard_sigmoid(x),
        )  # fmt: skip
        return self.draw(st.sampled_from(choices))()

    def merge(self, x: Tensor) -> Tensor:
        y = self.compute(x) if self.draw(st.booleans()) else self.rectify(x)
        mean = ops.mean(y, axis=self.draw(st.integers(1, self.n_axes + 1)), keepdims=True)
        choices: tuple[Callable[[], Tensor], ...] = (
            lambda: kl.Add()([x, y, y]), lambda: kl.Subtract()([x, y]),
            lambda: kl.Average()([x, y]),
            lambda: kl.Maximum()([x, y]), lambda: kl.Minimum()([x, y]), lambda: kl.Add()([x, mean]),
            lambda: kl.Concatenate(axis=self.draw(st.integers(1, self.n_axes + 1)))([x, y]),
            lambda: x - mean, lambda: ops.maximum(mean, x),
        )  # fmt: skip
        return self.draw(st.sampled_from(choices))()

    def rearrange(self, x: Tensor) -> Tensor:
        axis = self.draw(st.integers(1, self.n_axes + 1))
        pads = [(0, 0), *((self.draw(st.integers(0, 1)), 1) for _ in range(self.n_axes + 1))]
        whole = (slice(None),) * axis
        choices: tuple[Callable[[], Tensor], ...] = (
            lambda: ops.flip(x, axis=axis), lambda: x[(*whole, slice(None, None, 2))],
            lambda: ops.pad(x, pads), lambda: ops.pad(x, pads, mode="symmetric"),
            lambda: ops.repeat(x, 2, axis=axis), lambda: ops.swapaxes(x, 1, axis),
            lambda: ops.concatenate(ops.split(x, [1], axis=axis)[::-1], axis=axis),
            lambda: ops.take(x, [0, -1], axis=axis), lambda: ops.moveaxis(x, axis, -1),
        )  # fmt: skip
        return self.draw(st.sampled_from(choices))()

    def finish(self, x: Tensor) -> Tensor:
        axes = tuple(range(1, self.n_axes + 2))
        axes = axes[1:] if self.data_format == FIRST else axes[:-1]
        choices: tuple[Callable[[], Tensor], ...] = (
            lambda: kl.Dense(2)(kl.Flatten()(x)), lambda: kl.Dense(2, activation="softmax")(x),
            lambda: self.layer("GlobalAveragePooling")(x),
            lambda: self.layer("GlobalMaxPooling")(x),
            lambda: ops.mean(x, axis=axes), lambda: ops.max(x, axis=axes), lambda: x,
            lambda: kl.Flatten(data_format=self.data_format)(x),
        )  # fmt: skip
        return self.draw(st.sampled_from(choices))()

    STEPS = (
        conv,
        depthwise,
        conv_transpose,
        pool,
        resample,
        normalize,
        rectify,
        compute,
        merge,
        rearrange,
    )


def build(draw: Draw) -> Model:
    n_axes = draw(small)
    data_format = draw(st.sampled_from(("channels_last", "channels_last", FIRST)))
    spatial = Spatial(draw, n_axes, data_format)
    shape = tuple(draw(st.integers(3, 6)) for _ in range(n_axes + 1))
    inputs = [kl.Input(shape, name=name) for name in ("x", "y")[: draw(st.integers(1, 2))]]
    tensors = list(inputs)
    for _ in range(draw(st.integers(1, 6))):
        x = draw(st.sampled_from(tensors[-2:]))
        step = draw(st.sampled_from(Spatial.STEPS))
        try:
            result = step(spatial, x)
        except ValueError:
            continue  # a window that does not fit, or nothing left of an axis
        if all(size and size < 40 for size in result.shape[1:]):
            tensors.append(result)
    outputs = [spatial.finish(each) for each in tensors[-draw(st.integers(1, 2)) :]]
    return randomize(keras.Model(inputs, outputs, name="net"))


def is_ambiguous(error: UnsupportedOpError) -> bool:
    """Keras adds some biases along either axis, which is refused."""
    return all("adds the bias along either axis" in reason for reason in error.reasons)


@pytest.mark.slow
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),  # to shrink takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_random_functional_models_equal_keras(data: st.DataObject) -> None:
    model = build(data.draw)  # in the test: Keras draws random names, which a strategy must not
    try:
        source = read(model)
    except UnsupportedOpError as error:
        if is_ambiguous(error):
            return
        raise
    x = samples(source.graph, 2)
    found = run(source.graph, x)
    for a, b in zip(found, source.run(x), strict=True):
        assert a.shape == b.shape
        # What cancels, such as a tensor less itself, has rounding errors of the terms' size.
        assert np.abs(a - b).max() < 1e-4 * max(np.abs(b).max(), 0.1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net{data.draw(st.sampled_from(('.keras', '.h5')))}"
        model.save(path)
        again = run(read(path).graph, x)
    for a, b in zip(again, found, strict=True):
        np.testing.assert_array_equal(a, b)
