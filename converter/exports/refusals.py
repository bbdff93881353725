"""REFUSED: what a format cannot say, op by op, with the reason. Whatever is not here is translated.

The table test wants every op of OPS here or among the ops that a writer translates, never both.
"""

from __future__ import annotations

_NO_INTEGERS = "its results are no integers"
_ANALOG = "an analog function, NIR's nodes are linear or fire"
_LEVELS = "more than one spike per step, NIR's neurons send 0 or 1"
_CLOCK = "knows the step, NIR has no clock"
_TIME = "a schedule in time, the analog network has none"

REFUSED: dict[str, dict[str, str]] = {
    "ONNX": {},
    "C": {
        "Activation": _NO_INTEGERS,
        "ActivationOfMean": _NO_INTEGERS,
        "AveragePool": f"{_NO_INTEGERS}, sums are: SumPool",
        "BatchNorm": f"{_NO_INTEGERS}, conversion folds it",
        "GlobalAveragePool": f"{_NO_INTEGERS}, sums are: SumPool",
        "LogSoftmax": _NO_INTEGERS,
        "LogSoftmaxOfMean": _NO_INTEGERS,
        "Sigmoid": _NO_INTEGERS,
        "SigmoidOfMean": _NO_INTEGERS,
        "Softmax": _NO_INTEGERS,
        "SoftmaxOfMean": _NO_INTEGERS,
    },
    "NIR": {
        "Activation": _ANALOG,
        "ActivationOfMean": _ANALOG,
        "AddOnce": _CLOCK,
        "BatchNorm": "NIR has none, conversion folds it",
        "BinaryWeighted": _LEVELS,
        "Burst": _LEVELS,
        "Concatenate": "NIR has no node with several inputs that are not added",
        "InsertZeros": "NIR has no transposed convolution",
        "LogSoftmax": _ANALOG,
        "LogSoftmaxOfMean": _ANALOG,
        "MaxPool": "NIR has no maximum",
        "Pulse": _CLOCK,
        "Quantize": "NIR has no rounding",
        "Relu": _ANALOG,
        "Reshape": "NIR has Flatten only",
        "Select": "NIR moves no entries but by Flatten",
        "Sigmoid": _ANALOG,
        "SigmoidOfMean": _ANALOG,
        "SignedFire": "signed spikes and a count of what was sent, NIR's neurons send 0 or 1",
        "Softmax": _ANALOG,
        "SoftmaxOfMean": _ANALOG,
        "SpikingMaxPool": "NIR has no maximum; convert a network with average pooling",
        "WaitFire": _CLOCK,
    },
    "Keras": {
        "AddOnce": _TIME,
        "Pulse": _TIME,
        "SignedFire": _TIME,
        "WaitFire": _TIME,
    },
}
"""By format, as messages call it, and by op."""
