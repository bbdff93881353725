"""Functions that exporters spell in several nodes: GELU by Erf or Tanh, SiLU, hard-swish, Mish.

No spelling is known here. A product of two functions of one value, or an Erf, is a function of that
value, whatever is done to it next: it is followed as a Curve until it is one of NAMED. So what is
read is what the nodes compute, and not what they look like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...ir import Activation, Op
from ...ir.ops import Identity, Relu, Scale, Sigmoid
from ...ir.ops.activations import ACTIVATIONS, erf
from .draft import Curve, Draft, Tensor, Value
from .folding import Constant
from .reasons import GATE, find_reason
from .structure import OnnxNode

_Samples = npt.NDArray[np.float64]

MAX_CHAIN = 20
"""Nodes that are followed back from a value."""

TOLERANCE = 2e-6
"""max |found - named| <= TOLERANCE |x|: constants of exporters are float32."""

_FAR = np.logspace(math.log10(12), 6, 200)
PLACES: _Samples = np.concatenate((-_FAR[::-1], np.linspace(-12, 12, 2401), _FAR))
"""Where curves are known; far out, so that a bound of a function is seen."""

NAMED: dict[str, tuple[float, ...]] = {
    "gelu": (),
    "gelu_tanh": (),
    "silu": (),
    "mish": (),
    "hard_silu": (1 / 6, 0.5),
}
"""Functions of ACTIVATIONS that are found, with their parameters."""

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Div": np.divide,
    "Erf": erf,
    "Exp": np.exp,
    "Identity": np.positive,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
    "Softplus": lambda x: np.logaddexp(0, x),
    "Sub": np.subtract,
    "Tanh": np.tanh,
}
"""What may be done to a curve, by op type."""

_BEGINNING = {"Erf": f"{find_reason('Erf')}, expected an operator with a translation", "Mul": GATE}
_BEGINNING["Pow"] = "takes a value that depends on the input, expected only constants"
"""Op types that make curves of tensors: why they are refused if it stays none of NAMED."""


def combine(draft: Draft, node: OnnxNode, operands: Sequence[Value]) -> Curve | None:
    """Return what a node makes of its operands if that is a function of one value, else None."""
    has_curve = any(isinstance(each, Curve) for each in operands)
    n_tensors = sum(isinstance(each, Tensor) for each in operands)
    begins = node.op_type in _BEGINNING and n_tensors == (2 if node.op_type == "Mul" else 1)
    function = _FUNCTIONS.get(node.op_type)
    if not (has_curve or begins) or function is None or node.proto.attribute:
        return None
    parts = [_read_operand(draft, each) for each in operands]
    curves = [part for part in parts if isinstance(part, Curve)]
    if None in parts or not curves:
        return None
    samples = {}
    for root in curves[0].samples:
        if all(root in curve.samples for curve in curves):
            values = [part.samples[root] if isinstance(part, Curve) else part for part in parts]
            with np.errstate(all="ignore"):
                samples[root] = np.asarray(function(*values), np.float64)
    if not samples:
        return None
    origin = next((curve.origin for curve in curves if curve.origin), "")
    origin = origin or f"{node}: {_BEGINNING[node.op_type]}"
    inner = frozenset().union(*(curve.inner | curve.samples.keys() for curve in curves))
    return Curve(curves[0].tensor, samples, origin, inner)


def recognize(draft: Draft, curve: Curve) -> tuple[str, str, frozenset[str]] | None:
    """Return which of NAMED a curve is, of which node, and the nodes that it stands for."""
    for root, values in curve.samples.items():
        for name in NAMED:
            if (np.abs(values - _named(name)) <= TOLERANCE * np.abs(PLACES)).all():
                own = _follow(draft, Tensor(root, curve.tensor.shape)).samples
                return name, root, curve.inner - own.keys()
    return None


@cache
def _named(name: str) -> _Samples:
    _, function = ACTIVATIONS[name]
    return np.asarray(function(PLACES, *NAMED[name]), np.float64)


def _read_operand(draft: Draft, value: Value) -> Curve | float | None:
    """Return a curve, a single number, or None for anything else."""
    if isinstance(value, Tensor):
        return _follow(draft, value)
    if isinstance(value, Constant) and value.is_fixed and value.at(0).size == 1:
        return float(value.at(0).reshape(()).item())
    return value if isinstance(value, Curve) else None


def _follow(draft: Draft, tensor: Tensor) -> Curve:
    """Return a value as a function of itself, of what it is a function of, and so on."""
    samples = {tensor.node: PLACES}
    functions: list[Callable[[_Samples], _Samples]] = []
    node = draft.find(tensor.node)
    while len(functions) < MAX_CHAIN and (function := _entrywise(node.op)) is not None:
        functions.insert(0, function)
        node = draft.find(node.inputs[0])
        values = PLACES
        with np.errstate(all="ignore"):
            for each in functions:
                values = each(values)
        samples[node.name] = values
    return Curve(tensor, samples, "", frozenset())


def _entrywise(op: Op) -> Callable[[_Samples], _Samples] | None:
    """Return what an op does to every entry alike, None if it does something else."""
    if isinstance(op, Identity):
        return np.positive
    if isinstance(op, Sigmoid):
        return lambda x: np.asarray(_FUNCTIONS["Sigmoid"](x))
    if isinstance(op, Activation):
        _, function = ACTIVATIONS[op.function]
        return lambda x: np.asarray(function(x, *op.parameters))
    if isinstance(op, Relu) and (op.max_value is None or op.max_value.size == 1):
        largest = math.inf if op.max_value is None else float(op.max_value.reshape(()))
        return lambda x: np.clip(x, 0, largest)
    if isinstance(op, Scale) and op.scale.size == op.shift.size == 1:
        scale, shift = float(op.scale.reshape(())), float(op.shift.reshape(()))
        return lambda x: x * scale + shift
    return None
