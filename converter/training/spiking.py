"""A network over time steps, as Keras layers: the steps of a sample are rows of one batch.

    RepeatSteps -> layers without state, on T N rows -> SpikingNeuron -> ... -> MeanOverSteps

Row t N + i is step t of sample i.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .activations import PACKAGE, Between, Thresholded
from .estimators import SURROGATES, fire

MAX_LEAK = 0.99


@keras.saving.register_keras_serializable(PACKAGE, "RepeatSteps")
class RepeatSteps(keras.layers.Layer):
    """[N, ...] -> [T N, ...]: the same at every step."""

    def __init__(self, n_steps: int, **options: Any) -> None:
        super().__init__(**options)
        self.n_steps = n_steps

    def call(self, inputs: Any) -> Any:
        return ops.concatenate([inputs] * self.n_steps, axis=0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (None, *input_shape[1:])

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {"n_steps": self.n_steps}


@keras.saving.register_keras_serializable(PACKAGE, "MeanOverSteps")
class MeanOverSteps(RepeatSteps):
    """[T N, ...] -> [N, ...]: the mean over the steps."""

    def call(self, inputs: Any) -> Any:
        steps = ops.reshape(inputs, (self.n_steps, -1, *inputs.shape[1:]))
        return ops.mean(steps, axis=0)


@keras.saving.register_keras_serializable(PACKAGE, "SpikingNeuron")
class SpikingNeuron(Thresholded):
    """Integrate-and-fire neurons with reset by subtraction; a spike is worth the threshold.

        u = (1 - leak) potential + current;  s = [u >= threshold];  potential = u - threshold s

    The initial potential is half the threshold. Gradients go through the jump by a surrogate, and
    through the potential from step to step. The leak is one number per layer, 0 to MAX_LEAK.

    Args:
        n_steps: T.
        surrogate: A key of SURROGATES.
        width: Of the surrogate, in thresholds.
        leak: Share of the potential that is lost in a step, at the start.
        train_leak: Let it be trained.
        initial_threshold: As Thresholded.
        per_channel: As Thresholded.
        options: Of keras.layers.Layer.
    """

    def __init__(
        self, n_steps: int = 4, initial_threshold: float = 1.0, *, surrogate: str = "linear",
        width: float = 1.0, leak: float = 0.0, train_leak: bool = True, per_channel: bool = False,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(initial_threshold, per_channel=per_channel, **options)
        if surrogate not in SURROGATES:
            raise ValueError(
                f"{self.name}: surrogate is {surrogate!r}, expected {' or '.join(SURROGATES)}"
            )
        if n_steps < 1 or not width > 0:
            raise ValueError(f"{self.name}: n_steps is {n_steps}, width {width}, expected > 0")
        if not 0 <= leak <= MAX_LEAK:
            raise ValueError(f"{self.name}: leak is {leak}, expected 0 to {MAX_LEAK}")
        self.n_steps = n_steps
        self.surrogate = surrogate
        self.width = width
        self.initial_leak = leak
        self.train_leak = train_leak

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.leak = self.add_weight(
            name="leak",
            shape=(1,),
            initializer=keras.initializers.Constant(self.initial_leak),
            constraint=Between(0.0, MAX_LEAK),
            trainable=self.train_leak,
        )

    def call(self, inputs: Any) -> Any:
        currents = ops.reshape(inputs, (self.n_steps, -1, *inputs.shape[1:]))
        potential = ops.zeros_like(currents[0]) + self.threshold / 2
        results = []
        for step in range(self.n_steps):
            potential = (1 - self.leak) * potential + currents[step]
            distance = (potential - self.threshold) / self.threshold
            spikes = fire(distance, self.surrogate, self.width)
            potential = potential - spikes * self.threshold
            results.append(spikes * self.threshold)
        return ops.concatenate(results, axis=0)

    def get_config(self) -> dict[str, Any]:
        own = {
            "n_steps": self.n_steps,
            "surrogate": self.surrogate,
            "width": self.width,
            "leak": self.initial_leak,
            "train_leak": self.train_leak,
        }
        return super().get_config() | own
