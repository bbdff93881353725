"""find_sorted: which results are spikes in the first steps of one window (thermometer code)."""

from __future__ import annotations

from .graph import Graph, Node
from .neurons import StatefulOp
from .ops import (
    Concatenate,
    Conv,
    Dense,
    Flatten,
    Identity,
    InsertZeros,
    MaxPool,
    Pad,
    Reshape,
    Scale,
    Select,
    Transpose,
)
from .scheduled import AddOnce, Pulse, WaitFire
from .types import MAX_N_STEPS

_KEEPING = (
    Concatenate, Flatten, Identity, InsertZeros, MaxPool, Pad, Reshape, Select, Transpose,
)  # fmt: skip
_NEVER = MAX_N_STEPS + 1


def find_sorted(graph: Graph) -> dict[str, int]:
    """Return by name the first step of the window of results that are sorted spikes.

    Every entry of such a result is 1 in the first steps of the window, then 0: the neurons have
    all their charge when the window begins, and what lies behind them moves spikes or takes
    maxima, of one window only.
    """
    ends: dict[str, int] = {}  # after which nothing comes any more
    windows: dict[str, int] = {}
    for node in graph.nodes:
        if node.name not in graph.varying:
            continue
        op = node.op
        end = max((ends.get(name, _NEVER) for name in node.inputs), default=_NEVER)
        if isinstance(op, Pulse):
            end = op.n_steps
        elif isinstance(op, AddOnce):
            end = max(end, 1)
        elif isinstance(op, WaitFire):
            if end <= op.first_step + 1:
                windows[node.name] = op.first_step
            end = op.first_step + op.n_steps
        elif isinstance(op, _KEEPING):
            found = {windows.get(name, -1) for name in node.inputs}
            if len(found) == 1 and -1 not in found:
                windows[node.name] = found.pop()
        elif isinstance(op, StatefulOp) or _has_constant(node):
            end = _NEVER
        ends[node.name] = end
    return windows


def _has_constant(node: Node) -> bool:
    op = node.op
    if isinstance(op, Conv | Dense):
        return bool(op.bias.any())
    return isinstance(op, Scale) and bool(op.shift.any())
