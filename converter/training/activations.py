"""Activations to train with, as Keras layers that anybody may put into a model of their own.

    layer            at inference                                            read as
    QuantizedReLU    threshold / n clip(floor(n x / threshold + shift), 0, n)  QuantizedRelu
    ClippedReLU      clip(x, 0, threshold)                                   Relu with a bound
    SlipReLU         a weighted mean of the two                              both
    Whetstone        a clipped ReLU that is sharpened to a step              Scale, Relu
    BinarySign       1 where x >= 0, else -1                                 QuantizedRelu, Scale

Thresholds are trainable, one per layer or one per channel (the last axis). Layers with noise add it
in training only.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .estimators import ESTIMATORS, quantize, sign, straight_through

PACKAGE = "spikeport"
LEAST_THRESHOLD = 1e-3
"""A threshold never gets below: it stays positive whatever the optimiser does."""
LEAST_WIDTH = 1e-3
"""Of a Whetstone layer's ramp; a layer sharpened to 1 is a step."""


@keras.saving.register_keras_serializable(PACKAGE, "AtLeast")
class AtLeast(keras.constraints.Constraint):
    """Keeps a weight at or above a value."""

    def __init__(self, least: float = LEAST_THRESHOLD) -> None:
        self.least = least

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, self.least)

    def get_config(self) -> dict[str, Any]:
        return {"least": self.least}


@keras.saving.register_keras_serializable(PACKAGE, "Between")
class Between(keras.constraints.Constraint):
    """Keeps a weight within two values."""

    def __init__(self, least: float, most: float) -> None:
        self.least = least
        self.most = most

    def __call__(self, w: Any) -> Any:
        return ops.clip(w, self.least, self.most)

    def get_config(self) -> dict[str, Any]:
        return {"least": self.least, "most": self.most}


class Thresholded(keras.layers.Layer):
    """What has a trainable threshold.

    Args:
        initial_threshold: A number; training sets what fits the data.
        per_channel: A threshold for every entry of the last axis, else one.
        options: Of keras.layers.Layer.
    """

    def __init__(
        self, initial_threshold: float = 1.0, *, per_channel: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        if not initial_threshold > 0:
            raise ValueError(f"{self.name}: initial_threshold is {initial_threshold}, expected > 0")
        self.initial_threshold = initial_threshold
        self.per_channel = per_channel

    def build(self, input_shape: Any) -> None:
        self.threshold = self.add_weight(
            name="threshold",
            shape=(input_shape[-1] if self.per_channel else 1,),
            initializer=keras.initializers.Constant(self.initial_threshold),
            constraint=AtLeast(),
        )
        super().build(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {
            "initial_threshold": self.initial_threshold,
            "per_channel": self.per_channel,
        }


@keras.saving.register_keras_serializable(PACKAGE, "QuantizedReLU")
class QuantizedReLU(Thresholded):
    """threshold / n clip(floor(n x / threshold + shift), 0, n), with a straight-through gradient.

    With n levels it is what a neuron sends in n steps; with one, a binary activation.

    Source: Bu et al. 2022 (QCFS).
    """

    def __init__(
        self, n_levels: int = 4, initial_threshold: float = 1.0, *, shift: float = 0.5,
        per_channel: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(initial_threshold, per_channel=per_channel, **options)
        if n_levels < 1:
            raise ValueError(f"{self.name}: n_levels is {n_levels}, expected at least 1")
        if not 0 <= shift < 1:
            raise ValueError(f"{self.name}: shift is {shift}, expected 0 <= shift < 1")
        self.n_levels = n_levels
        self.shift = shift

    def call(self, inputs: Any) -> Any:
        return quantize(inputs, self.threshold, self.n_levels, self.shift)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"n_levels": self.n_levels, "shift": self.shift}


@keras.saving.register_keras_serializable(PACKAGE, "ClippedReLU")
class ClippedReLU(Thresholded):
    """clip(x, 0, threshold), and noise in training.

    Source: Deng and Gu 2021 (a threshold on the ReLU), Ho and Chang 2021 (trainable).

    Args:
        noise: Standard deviation of Gaussian noise, in thresholds.
        poisson_steps: Noise of a Poisson rate over so many steps; 0 for none.
        seed: Of the noise.
        leak: Of the neurons that it stands for, share of the potential per step; nothing that is
            computed here depends on it.
    """

    def __init__(
        self, initial_threshold: float = 1.0, *, per_channel: bool = False, noise: float = 0.0,
        poisson_steps: int = 0, seed: int | None = None, leak: float = 0.0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(initial_threshold, per_channel=per_channel, **options)
        if noise < 0 or poisson_steps < 0:
            raise ValueError(
                f"{self.name}: noise is {noise}, poisson_steps {poisson_steps}, expected >= 0"
            )
        if not 0 <= leak < 1:
            raise ValueError(f"{self.name}: leak is {leak}, expected 0 <= leak < 1")
        self.noise = noise
        self.poisson_steps = poisson_steps
        self.seed = seed
        self.leak = leak
        if noise or poisson_steps:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        rate = ops.clip(inputs / self.threshold, 0, 1)
        result = rate * self.threshold
        if not training or not (self.noise or self.poisson_steps):
            return result
        variance = self.noise**2 * ops.ones_like(rate)
        if self.poisson_steps:
            # The variance of a Poisson number of spikes over T steps, as a share of T.
            variance = variance + ops.stop_gradient(rate) / self.poisson_steps
        drawn = keras.random.normal(ops.shape(rate), seed=self.seed_generator)
        return result + ops.sqrt(variance) * drawn * ops.stop_gradient(self.threshold)

    def get_config(self) -> dict[str, Any]:
        own = {
            "noise": self.noise,
            "poisson_steps": self.poisson_steps,
            "seed": self.seed,
            "leak": self.leak,
        }
        return super().get_config() | own


@keras.saving.register_keras_serializable(PACKAGE, "SlipReLU")
class SlipReLU(QuantizedReLU):
    """share x clipped ReLU + (1 - share) x quantised ReLU.

    Source: Jiang et al. 2023 (SlipReLU).

    Args:
        share: 0 to 1.
    """

    def __init__(
        self, n_levels: int = 4, initial_threshold: float = 1.0, *, share: float = 0.5,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(n_levels, initial_threshold, **options)
        if not 0 <= share <= 1:
            raise ValueError(f"{self.name}: share is {share}, expected 0 to 1")
        self.share = share

    def call(self, inputs: Any) -> Any:
        line = ops.clip(inputs / self.threshold, 0, 1) * self.threshold
        return self.share * line + (1 - self.share) * super().call(inputs)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"share": self.share}


@keras.saving.register_keras_serializable(PACKAGE, "Whetstone")
class Whetstone(Thresholded):
    """threshold x clip((x / threshold - s / 2) / (1 - s), 0, 1): a step at threshold / 2 for s = 1.

    Source: Severa et al. 2019 (Whetstone); the wider gradient is ours.

    Args:
        gradient_width: Of the ramp whose gradient is taken, at least, in thresholds. With 0 it is
            that of the ramp itself, as published: none at all once the layer is a step.

    Attributes:
        sharpness: s, 0 to 1, a weight that no gradient changes; training raises it.
    """

    def __init__(
        self, initial_threshold: float = 1.0, *, gradient_width: float = 1.0, **options: Any
    ) -> None:
        super().__init__(initial_threshold, **options)
        if not 0 <= gradient_width <= 1:
            raise ValueError(f"{self.name}: gradient_width is {gradient_width}, expected 0 to 1")
        self.gradient_width = gradient_width

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.sharpness = self.add_weight(
            name="sharpness", shape=(), initializer="zeros", trainable=False
        )

    def call(self, inputs: Any) -> Any:
        width = ops.maximum(1 - self.sharpness, LEAST_WIDTH)
        value = self._ramp(inputs, width)
        if self.gradient_width:
            proxy = self._ramp(inputs, ops.maximum(width, self.gradient_width))
        else:
            # The gradient of the steep ramp that stands for a step is rare and huge.
            proxy = ops.where(self.sharpness < 1, value, ops.stop_gradient(value))
        return straight_through(value, proxy) * self.threshold

    def _ramp(self, inputs: Any, width: Any) -> Any:
        return ops.clip((inputs / self.threshold - (1 - width) / 2) / width, 0, 1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"gradient_width": self.gradient_width}


@keras.saving.register_keras_serializable(PACKAGE, "BinarySign")
class BinarySign(keras.layers.Layer):
    """1 where x >= 0, else -1, with a straight-through gradient.

    Source: Courbariaux et al. 2016 (hard_tanh), Liu et al. 2018 (approx_sign).

    Args:
        estimator: A key of ESTIMATORS.
        options: Of keras.layers.Layer.
    """

    def __init__(self, estimator: str = "approx_sign", **options: Any) -> None:
        super().__init__(**options)
        if estimator not in ESTIMATORS:
            raise ValueError(
                f"{self.name}: estimator is {estimator!r}, expected {' or '.join(ESTIMATORS)}"
            )
        self.estimator = estimator

    def call(self, inputs: Any) -> Any:
        return sign(inputs, self.estimator)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {"estimator": self.estimator}
