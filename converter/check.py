"""check: what every node of a network becomes, before any calibration."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from .calibration.thresholds import find_halves
from .errors import PassError, UnsupportedOpError
from .frontends import Source
from .ir import Activation, Graph, Node, Op
from .ir.analog import ANALOG, explain
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
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Pad,
    QuantizedRelu,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)
from .meanings import APPROXIMATE, EXACT, KEPT, REFUSED, describe
from .passes.remove_no_ops import remove_no_ops
from .passes.strip_output_activation import READOUTS, strip_output_activation


@dataclass(frozen=True)
class Finding:
    """What one node becomes.

    Attributes:
        node: Its name.
        op: Its operation.
        becomes: What stands in the spiking graph.
        status: EXACT, APPROXIMATE, KEPT or REFUSED.
        note: Why, or what to do; "" where there is nothing to say.
    """

    node: str
    op: str
    becomes: str
    status: str
    note: str = ""


def check(source: Source, keep_analog: tuple[str, ...] = ()) -> tuple[Finding, ...]:
    """Return a finding per node, in topological order. Needs no data and runs nothing.

    Args:
        source: The network.
        keep_analog: Nodes without a spiking translation that are to stay analog.

    Raises:
        PassError: A node of `keep_analog` does not exist, or has a translation.
    """
    simple = remove_no_ops(source.graph)
    heads = simple.by_name.keys() - strip_output_activation(simple).by_name.keys()
    halves = find_halves(source.graph)
    behind_neuron: set[str] = set()
    findings = []
    for node in source.graph.nodes:
        if node.name in heads and type(node.op) in READOUTS:
            findings.append(_finding(node, _HEAD))
            continue
        is_varying = bool(behind_neuron.intersection(node.inputs))
        if node.name in keep_analog and type(node.op) in ANALOG:
            findings.append(_finding(node, _kept(is_varying=is_varying)))
            behind_neuron.update({node.name} if is_varying else ())
            continue
        if isinstance(node.op, Relu | QuantizedRelu) or is_varying:
            behind_neuron.add(node.name)
        verdict = _RULES[type(node.op)](source.graph, node, behind_neuron)
        if node.name in halves:
            note = f"signed: {halves[node.name]} has the other sign; {verdict[2]}"
            verdict = ("neurons of one sign", APPROXIMATE, note)
        findings.append(_finding(node, verdict))
    _check_kept(tuple(findings), keep_analog)
    return tuple(findings)


def findings_of(error: UnsupportedOpError) -> tuple[Finding, ...]:
    """Return findings of a network that cannot be read.

    One for each of its layers or operators, as far as their types say what they would become;
    before them, what is refused of the network as a whole.
    """
    refused: dict[tuple[str, str], list[str]] = {}
    for reason in error.reasons:
        match = _REASON.fullmatch(reason)
        name, _, note = reason.partition(": ")
        name, op, note = match.groups() if match else (name, "", note)
        refused.setdefault((name, op), []).append(note)
    findings = []
    for node in error.nodes:
        notes = refused.pop((node.name, node.op), None)
        verdict = describe(node) if notes is None else ("nothing", REFUSED, "; ".join(notes))
        findings.append(Finding(node.name, node.op, *verdict))
    others = [
        Finding(name, op, "nothing", REFUSED, "; ".join(notes))
        for (name, op), notes in refused.items()
    ]
    return (*others, *findings)


def hint_of(findings: tuple[Finding, ...]) -> str:
    """Return what to do about the nodes that are refused."""
    names = [finding.node for finding in findings if finding.status == REFUSED]
    options = " ".join(f"--keep-analog {shlex.quote(name)}" for name in names[:3])
    more = f" and so on, {len(names)} in all" if len(names) > 3 else ""
    return f"take them out of the network, or keep them analog: {options}{more}"


def refusals(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Return one line for every node that is refused."""
    return tuple(f"{f.node} ({f.op}): {f.note}" for f in findings if f.status == REFUSED)


_REASON = re.compile(r"(.+?) \(([^()]*)\): (.*)", re.DOTALL)
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


def _quantized_relu(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    op = node.op
    n_levels = op.n_levels if isinstance(op, QuantizedRelu) else 0
    note = f"trained for T={n_levels}; recipes trained, trained_exact, trained_integer, rate"
    return "integrate-and-fire neurons", EXACT, note


def _without_translation(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    return "nothing", REFUSED, explain(node.op)


def _kept(*, is_varying: bool) -> tuple[str, str, str]:
    if is_varying:
        return "the same, of the mean so far", KEPT, "stays analog: sends numbers, not spikes"
    return "the same, computed once", KEPT, "stays analog, on constant input"


def _check_kept(findings: tuple[Finding, ...], keep_analog: tuple[str, ...]) -> None:
    by_name = {finding.node: finding for finding in findings}
    for name in keep_analog:
        if name in by_name and by_name[name].status == KEPT:
            continue
        what = f"becomes {by_name[name].becomes}" if name in by_name else "does not exist"
        names = [finding.node for finding in findings if finding.status in {KEPT, REFUSED}]
        raise PassError(
            f"--keep-analog {name}: {what}, expected a node without a spiking translation",
            hint=f"these can be kept: {', '.join(names)}"
            if names
            else "leave it out: every node of this network has a spiking translation",
        )


def _max_pool(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    if node.name in behind:
        return (
            "max-pool of accumulated spikes",
            APPROXIMATE,
            ("exact on the counts of every step; place_poolings.max_pool has other ways"),
        )
    return "max-pool of the constant input", EXACT, ""


def _average_pool(graph: Graph, node: Node, behind: set[str]) -> tuple[str, str, str]:
    if node.name in behind:
        return "linear pooling of spikes", EXACT, "place_poolings.average_pool=neurons: spikes only"
    return "average pool of the constant input", EXACT, ""


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
    QuantizedRelu: _quantized_relu,
    MaxPool: _max_pool,
    AveragePool: _average_pool,
    GlobalAveragePool: _average_pool,
    Flatten: _becomes("the same"),
    Reshape: _becomes("the same"),
    Transpose: _becomes("the same"),
    Pad: _becomes("the same"),
    Select: _becomes("the same"),
    InsertZeros: _becomes("the same"),
    Add: _becomes("sum of currents"),
    Concatenate: _becomes("the same"),
    Softmax: _without_translation,
    LogSoftmax: _without_translation,
    Sigmoid: _without_translation,
    Activation: _without_translation,
    LocalResponseNorm: _without_translation,
}
