"""What every number of an integer graph can be at most, so that C needs no check while it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir import Graph, Neuron, Node
from ...ir.ops import Add, Concatenate, Conv, Dense, Input, Relu, Scale

MAX_POTENTIAL = 2**31 - 1
MAX_WEIGHT = 2**15 - 1
INPUT_RANGE = (1 - 2**15, 2**15 - 1)
"""Of int16, with a negative for every number, where the graph does not say it."""
MAX_STEPS = 10**6


@dataclass(frozen=True)
class Bounds:
    """By name: the least and the largest integer of a result; and the same for all inputs."""

    of: dict[str, tuple[int, int]]
    input_range: tuple[int, int]

    def largest(self, name: str) -> int:
        """Return the largest absolute value of a result."""
        return max(map(abs, self.of[name]))


def find_non_integers(graph: Graph) -> list[str]:
    """Return a reason for every array or number of an op that is no integer, or too large."""
    reasons = []
    for node in graph.nodes:
        if type(node.op).__name__ == "Quantize":
            continue  # its step says how to make the integers that the program takes
        for field in dataclasses.fields(node.op):
            value = getattr(node.op, field.name)
            if not isinstance(value, float | np.ndarray):
                continue
            numbers = np.asarray(value, np.float64)
            if (numbers != np.rint(numbers)).any():
                reasons.append(f"{node}: {field.name} has numbers that are no integers")
            elif np.abs(numbers).max(initial=0) > (limit := _limit(field.name)):
                largest = np.abs(numbers).max()
                reasons.append(f"{node}: {field.name} has {largest:.0f}, expected at most {limit}")
    return reasons


def _limit(field: str) -> int:
    return MAX_WEIGHT if field in {"weight", "scale"} else 2**24


def find_bounds(graph: Graph) -> tuple[Bounds, list[str]]:
    """Return the bounds of all results, and a reason for every one that does not fit 32 bits."""
    quantized: dict[str, tuple[int, int]] = {}
    of: dict[str, tuple[int, int]] = {}
    reasons = []
    for node in graph.nodes:
        if type(node.op).__name__ == "Quantize":
            op: Any = node.op
            quantized[node.inputs[0]] = op.low, op.high
            if not _is_at_input(graph, node):
                reasons.append(f"{node}: expected behind an input, as its only use")
    for node in graph.nodes:
        if isinstance(node.op, Input):
            of[node.name] = quantized.get(node.name, INPUT_RANGE)
        else:
            of[node.name] = _bound(node, [of[name] for name in node.inputs])
        low, high = of[node.name]
        if max(-low, high) > MAX_POTENTIAL:
            reasons.append(f"{node}: may be {max(-low, high):,}, expected at most 2^31 - 1")
            of[node.name] = (0, 0)  # so that only the first one is named
    ranges = [of[name] for name in graph.inputs]
    return Bounds(of, (min(r[0] for r in ranges), max(r[1] for r in ranges))), reasons


def _is_at_input(graph: Graph, node: Node) -> bool:
    (operand,) = node.inputs
    return isinstance(graph.by_name[operand].op, Input) and graph.is_only_use(operand)


def _bound(node: Node, operands: list[tuple[int, int]]) -> tuple[int, int]:
    op: Any = node.op
    low, high = operands[0]
    match type(node.op).__name__:
        case Conv.__name__ | Dense.__name__:
            # A border leaves products out: every one may also be zero.
            rows = np.asarray(op.weight, np.float64).reshape(len(op.weight), -1)
            up = np.maximum(rows * high, rows * low).clip(min=0).sum(axis=1)
            down = np.minimum(rows * high, rows * low).clip(max=0).sum(axis=1)
            return int((down + op.bias).min()), int((up + op.bias).max())
        case Scale.__name__:
            products = np.stack([np.float64(op.scale) * low, np.float64(op.scale) * high])
            sums = (products.min(axis=0) + op.shift, products.max(axis=0) + op.shift)
            return int(sums[0].min()), int(sums[1].max())
        case Add.__name__:
            return sum(pair[0] for pair in operands), sum(pair[1] for pair in operands)
        case Concatenate.__name__:
            return min(pair[0] for pair in operands), max(pair[1] for pair in operands)
        case "Pad" | "InsertZeros":
            return min(low, 0), max(high, 0)
        case Relu.__name__:
            top = high if op.max_value is None else min(high, int(op.max_value.max()))
            return max(low, 0), max(top, 0)
        case "SumPool":
            size = int(np.prod(op.kernel))
            return min(low * size, 0), max(high * size, 0)
        case "SpikingMaxPool":  # increments: the largest sum changes by at most one operand
            return min(low, 0), max(high, 0)
        case "IntegrateFire" | "WaitFire":
            return 0, 1
        case "SignedFire":
            return -1, 1
        case "Burst":
            return 0, op.n_levels
        case "BinaryWeighted":
            return 0, 2**op.n_bits - 1
        case "Pulse":
            return min(low * int(op.gain), 0), max(high * int(op.gain), 0)
        case "AddOnce":
            return (
                low + min(0, int(np.min(op.charge))),
                high + max(0, int(np.max(op.charge))),
            )
    return low, high


def largest_steps(graph: Graph, bounds: Bounds) -> int:
    """Return the number of steps within which no potential and no sum can leave 32 bits."""
    found = MAX_STEPS
    for node in graph.nodes:
        room = MAX_POTENTIAL
        if isinstance(node.op, Neuron):
            room -= int(np.abs(node.op.initial_potential).max() + node.op.threshold.max())
        elif type(node.op).__name__ != "SpikingMaxPool":
            continue
        found = min(found, room // max(bounds.largest(node.inputs[0]), 1))
    return max(found, 0)
