"""The typed graph that every stage of the converter reads and writes."""

from __future__ import annotations

from .analog import OfMean
from .differential import DifferentialFire, DifferentialMaxPool, FromDifferences
from .graded import BinaryWeighted, Burst
from .graph import Graph, Node
from .integers import Quantize, SumPool
from .interpret import run, run_nodes
from .leaky import LeakyFire
from .neurons import IntegrateFire, Neuron, Reset, SpikingMaxPool, StatefulOp, StepInput
from .ops import OPS, Activation, Op
from .scheduled import AddOnce, FirstSpikeFire, Pulse, SignedFire, WaitFire
from .types import Array, Samples, TensorType

__all__ = [
    "OPS",
    "Activation",
    "AddOnce",
    "Array",
    "BinaryWeighted",
    "Burst",
    "DifferentialFire",
    "DifferentialMaxPool",
    "FirstSpikeFire",
    "FromDifferences",
    "Graph",
    "IntegrateFire",
    "LeakyFire",
    "Neuron",
    "Node",
    "OfMean",
    "Op",
    "Pulse",
    "Quantize",
    "Reset",
    "Samples",
    "SignedFire",
    "SpikingMaxPool",
    "StatefulOp",
    "StepInput",
    "SumPool",
    "TensorType",
    "WaitFire",
    "run",
    "run_nodes",
]
