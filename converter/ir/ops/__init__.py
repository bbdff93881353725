"""The operations of the IR, and OPS, the one table of them.

An op holds parameters only. `infer` is its shape rule, `apply` its meaning: numpy float32, one
batch of samples [N, ...], channels first. Each sample is computed by itself, in one order of
additions, so that a result never depends on the batch it was computed with.
"""

from __future__ import annotations

from .activations import Activation
from .base import Op, Pairs
from .functions import LocalResponseNorm, LogSoftmax, QuantizedRelu, Relu, Sigmoid, Softmax
from .linear import Add, BatchNorm, Conv, Dense, Scale
from .pooling import AveragePool, GlobalAveragePool, MaxPool
from .rearranging import (
    Concatenate,
    Flatten,
    Identity,
    Input,
    InsertZeros,
    Pad,
    Reshape,
    Select,
    Transpose,
)

OPS: dict[str, type[Op]] = {
    op.__name__: op
    for op in (
        Input, Identity, Dense, Conv, BatchNorm, Scale, Relu, QuantizedRelu, MaxPool,
        AveragePool, GlobalAveragePool, Flatten, Reshape, Transpose, Pad, Select, InsertZeros, Add,
        Concatenate, Softmax, LogSoftmax, Sigmoid, Activation, LocalResponseNorm,
    )
}  # fmt: skip

__all__ = [
    "OPS",
    "Activation",
    "Add",
    "AveragePool",
    "BatchNorm",
    "Concatenate",
    "Conv",
    "Dense",
    "Flatten",
    "GlobalAveragePool",
    "Identity",
    "Input",
    "InsertZeros",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool",
    "Op",
    "Pad",
    "Pairs",
    "QuantizedRelu",
    "Relu",
    "Reshape",
    "Scale",
    "Select",
    "Sigmoid",
    "Softmax",
    "Transpose",
]
