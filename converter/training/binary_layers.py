"""Dense and convolutional Keras layers whose weights are used as two or three values.

The weight that is trained and saved stays a number, the latent weight; `scheme` says what is used
of it (binary_weights.SCHEMES). Gradients reach the latent weight as if it were used itself.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .activations import PACKAGE
from .binary_weights import LEAST, SCHEMES, TERNARY_SHARE
from .estimators import straight_through


@keras.saving.register_keras_serializable(PACKAGE, "ClipWeights")
class ClipWeights(keras.constraints.Constraint):
    """Keeps weights within -limit..limit."""

    def __init__(self, limit: float = 1.0) -> None:
        self.limit = limit

    def __call__(self, w: Any) -> Any:
        return ops.clip(w, -self.limit, self.limit)

    def get_config(self) -> dict[str, Any]:
        return {"limit": self.limit}


class Binarizing:
    """What the layers below share.

    Args:
        scheme: A key of SCHEMES.
        seed: Of the scheme `stochastic`.
        args: As Keras' layer of this name without Binary.
        options: Likewise.

    Attributes:
        is_binary: False while the latent weights are used as they are.
    """

    def __init__(
        self, *args: Any, scheme: str = "scaled", seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        if scheme not in SCHEMES:
            raise ValueError(f"scheme is {scheme!r}, expected one of {', '.join(SCHEMES)}")
        self.scheme = scheme
        self.seed = seed
        self.is_binary = True
        if scheme == "stochastic":
            self.seed_generator = keras.random.SeedGenerator(seed)

    def use(self, kernel: Any, *, training: bool) -> Any:
        """Return what is used of a latent kernel [..., C_out]."""
        if not self.is_binary:
            return kernel
        axes = tuple(range(len(kernel.shape) - 1))
        size = ops.abs(kernel)
        signs = ops.where(kernel >= 0, ops.ones_like(kernel), -ops.ones_like(kernel))
        if self.scheme in {"connect", "stochastic"}:
            scale = ops.mean(size)
        elif self.scheme == "scaled":
            scale = ops.mean(size, axis=axes, keepdims=True)
        else:
            least = TERNARY_SHARE * ops.mean(size, axis=axes, keepdims=True)
            is_large = ops.cast(size > least, kernel.dtype)
            n_large = ops.maximum(ops.sum(is_large, axis=axes, keepdims=True), 1)
            scale = ops.sum(size * is_large, axis=axes, keepdims=True) / n_large
            signs = signs * is_large
        scale = ops.maximum(scale, LEAST)
        if self.scheme == "stochastic" and training:
            drawn = keras.random.uniform(ops.shape(kernel), seed=self.seed_generator)
            is_positive = drawn < ops.clip((kernel / scale + 1) / 2, 0, 1)
            signs = ops.where(is_positive, ops.ones_like(kernel), -ops.ones_like(kernel))
        return straight_through(signs * scale, kernel)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return config | {"scheme": self.scheme, "seed": self.seed}


@keras.saving.register_keras_serializable(PACKAGE, "BinaryDense")
class BinaryDense(Binarizing, keras.layers.Dense):
    """Dense with binary or ternary weights, see Binarizing."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = ops.matmul(inputs, self.use(self.kernel, training=training))
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)


class _Convolution(Binarizing):
    def call(self, inputs: Any, training: bool = False) -> Any:
        layer: Any = self
        padding = layer.padding
        if padding == "causal":
            inputs, padding = ops.pad(inputs, layer._compute_causal_padding()), "valid"
        outputs = ops.conv(
            inputs,
            self.use(layer.kernel, training=training),
            strides=list(layer.strides),
            padding=padding,
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )
        if layer.use_bias:
            is_last = layer.data_format == "channels_last"
            shape = (1, *(1,) * layer.rank, -1) if is_last else (1, -1, *(1,) * layer.rank)
            outputs = ops.add(outputs, ops.reshape(layer.bias, shape))
        return outputs if layer.activation is None else layer.activation(outputs)


@keras.saving.register_keras_serializable(PACKAGE, "BinaryConv1D")
class BinaryConv1D(_Convolution, keras.layers.Conv1D):
    """Conv1D with binary or ternary weights, channels last, see Binarizing."""


@keras.saving.register_keras_serializable(PACKAGE, "BinaryConv2D")
class BinaryConv2D(_Convolution, keras.layers.Conv2D):
    """Conv2D with binary or ternary weights, channels last, see Binarizing."""


@keras.saving.register_keras_serializable(PACKAGE, "BinaryConv3D")
class BinaryConv3D(_Convolution, keras.layers.Conv3D):
    """Conv3D with binary or ternary weights, channels last, see Binarizing."""
