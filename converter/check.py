"""check: what every node of a network becomes, before any calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .frontends import Source
from .ir import Activation, Graph, Node, Op
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
    InsertZeros,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)
from .passes.remove_no_ops import remove_no_ops
from .passes.strip_output_activation import READOUTS, strip_output_activation

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
    simple = remove_no_ops(source.graph)
    heads = simple.by_name.keys() - strip_output_activation(simple).by_name.keys()
    behind_neuron: set[str] = set()
    findings = []
    for node in source.graph.nodes:
        if node.name in heads and type(node.op) in READOUTS:
            findings.append(_finding(node, _HEAD))
            continue
        if isinstance(node.op, Relu) or behind_neuron.intersection(node.inputs):
            behind_neuron.add(node.name)
        findings.append(_finding(node, _RULES[type(node.op)](source.graph, node, behind_neuron)))
    return tuple(findings)


def refusals(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Return one line for every node that is refused."""
    return tuple(f"{f.node} ({f.op}): {f.note}" for f in findings if f.status == REFUSED)


_HEAD = ("read-out of the potential", EXACT, "applied to the accumulated potential")


def _finding(node: Node, verdict: tuple[str, str, str]) -> Finding:
    return Finding(node.name, type(node.op).__name__, *verdict)


_Rule = Callable[[Graph, Node, set[str]], tuple[str, str, str]]


def _becomes(text: str) -> _Rule:
    return lambda graph, node, behind: (text, EXACT, "")


def _relu(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    is_clipped = isinstance(node.op, Relu) and node.op.max_value is not None
    note = "T+1 rates, clipped at the threshold"
    return "integrate-and-fire neurons", APPROXIMATE, note + (" or the cap" if is_clipped else "")


def _inside(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    name = READOUTS[type(node.op)]
    return "nothing", REFUSED, f"{name} inside the network, expected at an output only"


def _without_translation(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    name = node.op.function if isinstance(node.op, Activation) else type(node.op).__name__
    return "nothing", REFUSED, f"{name} is not a ReLU, no rate of spikes stands for it"


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
    Select: _becomes("the same"),
    InsertZeros: _becomes("the same"),
    Add: _becomes("sum of currents"),
    Concatenate: _becomes("the same"),
    Softmax: _inside,
    Sigmoid: _inside,
    Activation: _without_translation,
}
