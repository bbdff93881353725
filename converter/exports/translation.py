"""What every writer shares: which ops it translates, and a refusal of everything else.

A writer has a table of ops by name. Whatever is not in it is refused, and so is an op in it that
has got a field since: a field that a writer does not know is a meaning that it would lose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from ..errors import UnsupportedOpError
from ..ir import Array, Graph, Node
from .refusals import REFUSED

KNOWN_FIELDS: dict[str, frozenset[str]] = {
    op: frozenset(fields.split())
    for op, fields in {
        "Input": "shape",
        "Identity": "",
        "Dense": "weight bias",
        "Conv": "weight bias strides dilation padding groups",
        "BatchNorm": "mean variance scale shift epsilon",
        "Scale": "scale shift",
        "Relu": "max_value",
        "QuantizedRelu": "threshold n_levels shift",
        "MaxPool": "kernel strides dilation padding",
        "AveragePool": "kernel strides padding count_padding",
        "GlobalAveragePool": "",
        "Flatten": "",
        "Reshape": "shape",
        "Transpose": "permutation",
        "Pad": "padding",
        "Add": "",
        "Concatenate": "axis",
        "Softmax": "axis",
        "LogSoftmax": "axis",
        "LocalResponseNorm": "size alpha beta bias",
        "Sigmoid": "",
        "Activation": "function parameters",
        "ActivationOfMean": "function parameters",
        "SigmoidOfMean": "",
        "SoftmaxOfMean": "axis",
        "LogSoftmaxOfMean": "axis",
        "LocalResponseNormOfMean": "size alpha beta bias",
        "Select": "indices",
        "InsertZeros": "strides",
        "SumPool": "kernel strides padding",
        "Quantize": "step low high",
        "IntegrateFire": "threshold initial_potential reset",
        "WaitFire": "threshold initial_potential first_step n_steps",
        "FirstSpikeFire": "threshold initial_potential first_step n_steps",
        "LeakyFire": "threshold initial_potential leak refractory relative decay reset",
        "DifferentialFire": "threshold initial_potential bias n_thresholds limit",
        "DifferentialMaxPool": "kernel strides dilation padding bias",
        "FromDifferences": "bias",
        "SignedFire": "threshold initial_potential n_levels",
        "Burst": "threshold initial_potential n_levels",
        "BinaryWeighted": "threshold initial_potential n_bits",
        "Pulse": "n_steps gain",
        "AddOnce": "charge",
        "SpikingMaxPool": "kernel strides dilation padding",
    }.items()
}
"""Fields of the ops that writers translate, as they were when the writers were written."""


@dataclasses.dataclass(frozen=True)
class Export:
    """What a writer gives.

    Attributes:
        files: Content by suffix; the first one has the name that was asked for.
        losses: What the files do not say of the graph; empty but for `lossy`.
        notes: What the reader of the files should know.
    """

    files: dict[str, bytes]
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_unknown(graph: Graph, translated: Collection[str], format_name: str) -> tuple[str, ...]:
    """Return a reason for every node whose op, or a field of it, has no translation.

    Args:
        graph: To be written.
        translated: Names of the ops that the writer translates.
        format_name: For the text.
    """
    return tuple(
        reason for node in graph.nodes if (reason := _unknown(node, translated, format_name))
    )


def _unknown(node: Node, translated: Collection[str], format_name: str) -> str:
    op = type(node.op).__name__
    if op not in translated:
        reason = REFUSED.get(format_name, {}).get(op, "")
        return f"{node}: {op} has no translation to {format_name}{reason and f': {reason}'}"
    fields = {field.name for field in dataclasses.fields(node.op)}
    new = sorted(fields - KNOWN_FIELDS[op])
    if new:
        return f"{node}: {', '.join(new)} of {op} has no translation to {format_name}"
    return ""


def refuse(reasons: Iterable[str], format_name: str, *, hint: str) -> None:
    """Raise with every reason at once, if there is one; a reason of several nodes is one line.

    Raises:
        UnsupportedOpError: There is a reason.
    """
    found = _merge(reasons)
    if found:
        are = "is 1 reason" if len(found) == 1 else f"are {len(found)} reasons"
        raise UnsupportedOpError(
            f"cannot be written as {format_name}, there {are}", reasons=found, hint=hint
        )


def _merge(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return the reasons, NODE (OP): TEXT, with the nodes of equal op and text in one line."""
    nodes: dict[str, list[str]] = {}
    for reason in reasons:
        name, opening, rest = reason.partition(" (")
        if opening:
            nodes.setdefault(opening + rest, []).append(name)
        else:
            nodes[reason] = [""]
    return tuple(f"{', '.join(names)}{rest}" for rest, names in nodes.items())


def is_uniform(values: Array) -> bool:
    """Return whether all entries are equal."""
    return bool((values == values.flat[0]).all())
