"""REFUSED: what a format cannot say, op by op, with the reason. Whatever is not here is translated.

The table test wants every op of OPS here or among the ops that a writer translates, never both.
"""

from __future__ import annotations

_NO_INTEGERS = "its results are no integers"
_ANALOG = "an analog function, NIR's nodes are linear or fire"
_LEVELS = "more than one spike per step, NIR's neurons send 0 or 1"
_CLOCK = "knows the step, NIR has no clock"
_TIME = "a schedule in time, the analog network has none"

_DIFFERENCES = "differences of rates, with a factor 1 / t"
_RESTS = "leak and refractory periods"
_FIRST = "the time of one spike stands for a charge"

REFUSED: dict[str, dict[str, str]] = {
    "ONNX": {},
    "C": {
        "Activation": _NO_INTEGERS,
        "ActivationOfMean": _NO_INTEGERS,
        "AveragePool": f"{_NO_INTEGERS}, sums are: SumPool",
        "BatchNorm": f"{_NO_INTEGERS}, conversion folds it",
        "DifferentialFire": _NO_INTEGERS,
        "DifferentialMaxPool": _NO_INTEGERS,
        "FirstSpikeFire": f"{_FIRST}, which no writer knows yet; recipe integer sends its counts",
        "FromDifferences": _NO_INTEGERS,
        "GlobalAveragePool": f"{_NO_INTEGERS}, sums are: SumPool",
        "LeakyFire": _NO_INTEGERS,
        "LocalResponseNorm": _NO_INTEGERS,
        "LocalResponseNormOfMean": _NO_INTEGERS,
        "LogSoftmax": _NO_INTEGERS,
        "LogSoftmaxOfMean": _NO_INTEGERS,
        "QuantizedRelu": f"{_NO_INTEGERS}, neurons of as many steps are",
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
        "DifferentialFire": f"{_DIFFERENCES}, NIR's neurons send 0 or 1",
        "DifferentialMaxPool": f"{_DIFFERENCES}, NIR has no clock",
        "FirstSpikeFire": _CLOCK,
        "FromDifferences": f"{_DIFFERENCES}, NIR has no clock",
        "InsertZeros": "NIR has no transposed convolution",
        "LeakyFire": f"{_RESTS}, NIR's leaky neurons have none of the latter",
        "LocalResponseNorm": _ANALOG,
        "LocalResponseNormOfMean": _ANALOG,
        "LogSoftmax": _ANALOG,
        "LogSoftmaxOfMean": _ANALOG,
        "QuantizedRelu": _ANALOG,
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
        "DifferentialFire": _DIFFERENCES,
        "DifferentialMaxPool": _DIFFERENCES,
        "FirstSpikeFire": _TIME,
        "FromDifferences": _DIFFERENCES,
        "LocalResponseNorm": "Keras has no such layer",
        "LocalResponseNormOfMean": "Keras has no such layer",
        "LeakyFire": f"{_RESTS}, no clipped ReLU stands for them",
        "Pulse": _TIME,
        "SignedFire": _TIME,
        "WaitFire": _TIME,
    },
}
"""By format, as messages call it, and by op."""
