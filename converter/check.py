"""check: what every node of a network becomes, before any calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .frontends import Source
from .ir import Graph, Node, Op
from .ir.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    Input,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Sigmoid,
    Softmax,
    Transpose,
)
from .passes.strip_output_activation import READOUTS

EXACT, APPROXIMATE, REFUSED = "exact", "approximate", "refused"


@dataclass(frozen=True)
class Finding:
    """What one node becomes.

    Attributes:
        node: Its name.
        op: Its operation.
        becomes: What stands in the spiking graph.
        status: EXACT, APPROXIMATE or REFUSED.
        note: Why, or what to do; "" where there is nothing to say.
    """

    node: str
    op: str
    becomes: str
    status: str
    note: str = ""


def check(source: Source) -> tuple[Finding, ...]:
    """Return a finding per node, in topological order. Needs no data and runs nothing."""
    behind_neuron: set[str] = set()
    findings = []
    for node in source.graph.nodes:
        if isinstance(node.op, Relu) or behind_neuron.intersection(node.inputs):
            behind_neuron.add(node.name)
        becomes, status, note = _RULES[type(node.op)](source.graph, node, behind_neuron)
        findings.append(Finding(node.name, type(node.op).__name__, becomes, status, note))
    return tuple(findings)


_Rule = Callable[[Graph, Node, set[str]], tuple[str, str, str]]


def _becomes(text: str) -> _Rule:
    return lambda graph, node, behind: (text, EXACT, "")


def _is_head(graph: Graph, node: Node) -> bool:
    return node.name in graph.outputs and not graph.consumers[node.name]


def _relu(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    is_clipped = isinstance(node.op, Relu) and node.op.max_value is not None
    if _is_head(graph, node) and not is_clipped:
        return "read-out of the potential", EXACT, ""
    note = "T+1 rates, clipped at the threshold"
    return "integrate-and-fire neurons", APPROXIMATE, note + (" or the cap" if is_clipped else "")


def _head(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    name = READOUTS[type(node.op)]
    if _is_head(graph, node):
        return "read-out of the potential", EXACT, f"{name} keeps the order"
    return "nothing", REFUSED, f"{name} inside the network has no spiking translation"


def _max_pool(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    if node.name in behind:
        return "max-pool of accumulated spikes", APPROXIMATE, "exact on the counts of every step"
    return "max-pool of the constant input", EXACT, ""


def _batch_norm(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    before = graph.by_name[node.inputs[0]]
    if isinstance(before.op, Conv | Dense) and graph.is_only_use(before.name):
        return f"weights of {before.name}", EXACT, ""
    return "weights behind, or a scale", EXACT, ""


_RULES: dict[type[Op], _Rule] = {
    Input: _becomes("constant current at every step"),
    Identity: _becomes("nothing"),
    Dense: _becomes("synapses"),
    Conv: _becomes("synapses"),
    BatchNorm: _batch_norm,
    Scale: _batch_norm,
    Relu: _relu,
    MaxPool: _max_pool,
    AveragePool: _becomes("linear pooling of spikes"),
    GlobalAveragePool: _becomes("linear pooling of spikes"),
    Flatten: _becomes("the same"),
    Reshape: _becomes("the same"),
    Transpose: _becomes("the same"),
    Pad: _becomes("the same"),
    Add: _becomes("sum of currents"),
    Concatenate: _becomes("the same"),
    Softmax: _head,
    Sigmoid: _head,
}
