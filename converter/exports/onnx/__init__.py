"""The spiking network itself as an ONNX model: one step, or a whole run.

    step   inputs, states, step   ->  outputs of the step, next states, spikes of every neuron
    run    inputs, n_steps        ->  outputs as evaluation sees them: means over the steps so far

What does not change over time is computed once, before the Loop. Anything that runs ONNX runs them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...errors import FormatError
from ...ir import Graph, IntegrateFire, Neuron, Node, StatefulOp
from ...ir.ops import Input
from ..translation import Export, find_unknown, refuse
from .draft import Draft
from .operators import OPERATORS
from .stateful import RESETS, STATEFUL

OPSET = 17
IR_VERSION = 8
"""What came with opset 17: readers of that age take the file."""
MAX_BYTES = 2**31 - 2**20
"""Protocol buffers end at 2 GiB."""

TRANSLATED = frozenset({"Input", *OPERATORS, *STATEFUL})
N_STEPS = "n_steps"
STEP = "step"


def encode_run(graph: Graph) -> Export:
    """Return a model of a whole run: graph inputs and `n_steps` (int64) to [T, N, ...] means.

    Raises:
        UnsupportedOpError: Lists every node that has no translation.
        FormatError: Larger than a protocol buffer can be.
    """
    _check(graph)
    outputs = list(dict.fromkeys(graph.outputs))
    draft = Draft({N_STEPS, *graph.inputs, *outputs})
    values = {name: name for name in graph.inputs}
    _compute_constants(draft, graph, values)
    batch = _batch_size(draft, graph.inputs[0])
    states = _states(graph)
    initial = [_initial_state(draft, graph, state, batch) for state in states]
    zero = draft.constant(np.zeros(()), name="zero", dtype=np.float64)
    initial += [_expand(draft, zero, graph.types[name].shape, batch, "zeros") for name in outputs]
    body, constants = _loop_body(draft, graph, values, outputs)
    last = [draft.fresh(f"{state.name}.last") for state in states]
    sums = [draft.fresh(f"{name}.sum") for name in outputs]
    draft.nodes.append(
        helper.make_node(
            "Loop", [N_STEPS, "", *initial], [*last, *sums, *outputs], name="steps", body=body
        )
    )
    draft.constants.extend(constants)
    inputs = [*_inputs(graph), helper.make_tensor_value_info(N_STEPS, TensorProto.INT64, [])]
    results = [_info(name, ("T", "N", *graph.types[name].shape)) for name in outputs]
    return _finish(draft, graph, inputs, results, "run")


def encode_step(graph: Graph) -> Export:
    """Return a model of one step, with explicit states.

    Inputs: the graph's, the index `step` (int64, 0 starts anew: the states given are not looked
    at), and the states `NAME.state`, ... of every op that has some. Outputs: the graph's outputs at
    this step, `NAME.state.next` for every state, and what every neuron sent, `NAME.spikes`.

    Raises:
        UnsupportedOpError: Lists every node that has no translation.
        FormatError: Larger than a protocol buffer can be.
    """
    _check(graph)
    outputs = list(dict.fromkeys(graph.outputs))
    states = _states(graph)
    draft = Draft({STEP, *graph.inputs, *outputs})
    given = {state.name: draft.fresh(state.name) for state in states}
    following = {state.name: draft.fresh(f"{state.name}.next") for state in states}
    firing = [node.name for node in graph.nodes if isinstance(node.op, Neuron)]
    spikes = {name: draft.fresh(f"{name}.spikes") for name in firing}
    values = {name: name for name in graph.inputs}
    _compute_constants(draft, graph, values)
    batch = _batch_size(draft, graph.inputs[0])
    zero = draft.constant(np.zeros((), np.int64), name="zero", dtype=np.int64)
    is_first = draft.add("Equal", STEP, zero, name="is_first")
    moving = {}
    for state in states:
        initial = _initial_state(draft, graph, state, batch)
        moving[state.name] = draft.add(
            "Where", is_first, initial, given[state.name], name=f"{state.name}.before"
        )
    _step(draft, graph, values, moving, STEP)
    for name, result in moving.items():
        draft.nodes.append(helper.make_node("Identity", [result], [following[name]]))
    for name in outputs:
        unit = graph.by_name[name].unit
        factor = draft.constant(np.ones(()) if unit is None else unit[None], name=f"{name}.unit")
        draft.nodes.append(helper.make_node("Mul", [values[name], factor], [name]))
    for name, result in spikes.items():
        draft.nodes.append(helper.make_node("Identity", [values[name]], [result]))
    inputs = [*_inputs(graph), helper.make_tensor_value_info(STEP, TensorProto.INT64, [])]
    results = [_info(name, ("N", *graph.types[name].shape)) for name in outputs]
    for state in states:
        inputs.append(_info(given[state.name], ("N", *state.shape)))
        results.append(_info(following[state.name], ("N", *state.shape)))
    results += [_info(result, ("N", *graph.types[name].shape)) for name, result in spikes.items()]
    return _finish(draft, graph, inputs, results, "step")


def _check(graph: Graph) -> None:
    reasons = [*find_unknown(graph, TRANSLATED, "ONNX")]
    reasons += [
        f"{node}: reset {node.op.reset} has no translation to ONNX"
        for node in graph.nodes
        if type(node.op) is IntegrateFire and node.op.reset not in RESETS
    ]
    hint = "`spikeport inspect` shows the graph; take these nodes out of it"
    if not graph.varying:
        reasons.append("graph: has no neuron, expected a spiking graph")
        hint = "convert the network first: spikeport convert"
    refuse(reasons, "ONNX", hint=hint)


@dataclass(frozen=True)
class _State:
    """A state of one node: its name in the model, its shape, its values before the first step."""

    name: str
    shape: tuple[int, ...]
    initial: Any


def _states(graph: Graph) -> list[_State]:
    return [
        _State(f"{node.name}.{key}", graph.types[node.inputs[0]].shape, values)
        for node in graph.nodes
        if isinstance(node.op, StatefulOp)
        for key, values in STATEFUL[type(node.op).__name__].initial(node.op).items()
    ]


def _compute_constants(draft: Draft, graph: Graph, values: dict[str, str]) -> None:
    """Add what is the same at every step; `values` gets the names of the results."""
    for node in graph.nodes:
        if node.name not in graph.varying and not isinstance(node.op, Input):
            values[node.name] = _translate(draft, graph, node, values)


def _step(
    draft: Draft, graph: Graph, values: dict[str, str], states: dict[str, str], step: str
) -> None:
    """Add one step; `values` gets the results' names, `states` becomes those of the next states."""
    for node in graph.nodes:
        if isinstance(node.op, StatefulOp):
            kind = STATEFUL[type(node.op).__name__]
            own = {key: states[f"{node.name}.{key}"] for key in kind.initial(node.op)}
            current = values[node.inputs[0]]
            values[node.name], following = kind.write(draft, graph, node, current, own, step)
            states.update({f"{node.name}.{key}": name for key, name in following.items()})
        elif node.name in graph.varying:
            values[node.name] = _translate(draft, graph, node, values)


def _translate(draft: Draft, graph: Graph, node: Node, values: dict[str, str]) -> str:
    operands = (values[name] for name in node.inputs)
    return OPERATORS[type(node.op).__name__](draft, graph, node, *operands)


def _loop_body(
    draft: Draft, graph: Graph, values: dict[str, str], outputs: list[str]
) -> tuple[onnx.GraphProto, list[onnx.TensorProto]]:
    """Return the body, and its constants, which are to stand outside: both share their names."""
    body = Draft(draft.names)
    iteration, before, after = (body.fresh(name) for name in ("step", "go_on", "goes_on"))
    kept = _states(graph)
    states = {state.name: body.fresh(state.name) for state in kept}
    sums = {name: body.fresh(f"{name}.sum_before") for name in outputs}
    shapes = [state.shape for state in kept]
    infos = [
        _info(name, ("N", *shape)) for name, shape in zip(states.values(), shapes, strict=True)
    ]
    infos += [_info(sums[name], ("N", *graph.types[name].shape), double=True) for name in outputs]
    moving = dict(values)
    _step(body, graph, moving, states, iteration)
    one = body.constant(np.ones(()), name="one", dtype=np.int64)
    done = body.add("Add", iteration, one, name="steps_done")
    n_done = body.add("Cast", done, name="n_steps_done", to=TensorProto.DOUBLE)
    means, totals = [], []
    for name in outputs:
        value = body.add("Cast", moving[name], name=f"{name}.double", to=TensorProto.DOUBLE)
        totals.append(body.add("Add", sums[name], value, name=f"{name}.sum_after"))
        mean = body.add("Div", totals[-1], n_done, name=f"{name}.mean_double")
        unit = graph.by_name[name].unit
        if unit is not None:
            factor = body.constant(unit[None], name=f"{name}.unit", dtype=np.float64)
            mean = body.add("Mul", mean, factor, name=f"{name}.in_units")
        means.append(body.add("Cast", mean, name=f"{name}.mean", to=TensorProto.FLOAT))
    body.nodes.insert(0, helper.make_node("Identity", [before], [after]))
    carried = [body.add("Identity", name, name=f"{name}.carried") for name in states.values()]
    results = [helper.make_tensor_value_info(after, TensorProto.BOOL, [])]
    results += [_info(name, ("N", *shape)) for name, shape in zip(carried, shapes, strict=True)]
    results += [
        _info(total, ("N", *graph.types[name].shape), double=True)
        for total, name in zip(totals, outputs, strict=True)
    ]
    results += [
        _info(mean, ("N", *graph.types[name].shape))
        for mean, name in zip(means, outputs, strict=True)
    ]
    inputs = [
        helper.make_tensor_value_info(iteration, TensorProto.INT64, []),
        helper.make_tensor_value_info(before, TensorProto.BOOL, []),
        *infos,
    ]
    return helper.make_graph(body.nodes, "step", inputs, results), body.constants


def _batch_size(draft: Draft, name: str) -> str:
    """Add the number of samples, [1]."""
    return draft.add("Shape", name, name="batch_size", start=0, end=1)


def _initial_state(draft: Draft, graph: Graph, state: _State, batch: str) -> str:
    initial = draft.constant(state.initial, name=f"{state.name}.initial")
    return _expand(draft, initial, state.shape, batch, f"{state.name}.start")


def _expand(draft: Draft, values: str, shape: tuple[int, ...], batch: str, name: str) -> str:
    sizes = draft.constant(shape, name=f"{name}.sizes", dtype=np.int64)
    sizes = draft.add("Concat", batch, sizes, name=f"{name}.shape", axis=0)
    return draft.add("Expand", values, sizes, name=name)


def _info(name: str, shape: tuple[Any, ...], *, double: bool = False) -> onnx.ValueInfoProto:
    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, shape)


def _inputs(graph: Graph) -> list[onnx.ValueInfoProto]:
    return [_info(name, ("N", *graph.types[name].shape)) for name in graph.inputs]


def _finish(
    draft: Draft,
    graph: Graph,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    kind: str,
) -> Export:
    size = sum(len(tensor.raw_data) for tensor in draft.constants)
    if size > MAX_BYTES:
        raise FormatError(
            f"the weights have {size} bytes, expected at most {MAX_BYTES} in an ONNX file",
            hint="export a smaller network",
        )
    model = helper.make_model(
        helper.make_graph(draft.nodes, f"spikeport_{kind}", inputs, outputs, draft.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="spikeport",
    )
    helper.set_model_props(
        model, {"spikeport": json.dumps({"kind": kind, **graph.metadata}, sort_keys=True)}
    )
    onnx.checker.check_model(model, full_check=True)
    return Export({".onnx": model.SerializeToString(deterministic=True)}, notes=_notes(graph, kind))


def _notes(graph: Graph, kind: str) -> tuple[str, ...]:
    names = ", ".join(graph.inputs)
    if kind == "run":
        results = "outputs [T, N, ...]: means over the steps so far"
        return (f"inputs {names} and {N_STEPS} (int64); {results}",)
    results = "outputs of one step, NAME.spikes, and NAME.state.next, the next step's NAME.state"
    return (f"inputs {names}, {STEP} (int64, 0 starts anew) and states; {results}",)
