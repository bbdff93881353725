"""The typed graph that every stage of the converter reads and writes."""

from __future__ import annotations

from .analog import OfMean
from .graph import Graph, Node
from .interpret import run, run_nodes
from .neurons import IntegrateFire, Reset, SpikingMaxPool, StatefulOp
from .ops import OPS, Activation, Op
from .types import Array, TensorType

__all__ = [
    "OPS",
    "Activation",
    "Array",
    "Graph",
    "IntegrateFire",
    "Node",
    "OfMean",
    "Op",
    "Reset",
    "SpikingMaxPool",
    "StatefulOp",
    "TensorType",
    "run",
    "run_nodes",
]
