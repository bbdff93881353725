"""Functions that a file defines itself: each call becomes the nodes of the function's body."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import FormatError
from .structure import DEFAULT_DOMAINS, qualify
from .tensors import DAMAGED

if TYPE_CHECKING:
    import onnx

MAX_NODES = 100_000
MAX_DEPTH = 32
"""Functions that call functions."""

Key = tuple[str, str, str]
"""Domain, name, overload."""


def key_of(proto: onnx.NodeProto | onnx.FunctionProto) -> Key:
    """Return what a call and its function share."""
    name = proto.op_type if hasattr(proto, "op_type") else proto.name
    return str(proto.domain), str(name), str(getattr(proto, "overload", ""))


def inline_functions(
    model: onnx.ModelProto, opset: int
) -> tuple[list[onnx.NodeProto], frozenset[Key]]:
    """Return the nodes without calls of functions, and which functions were called.

    Args:
        model: Its nodes are copied where they change, never written.
        opset: Of the model; functions of another one would mean something else.

    Raises:
        FormatError: A function or a call is not in order, or the nodes become too many.
    """
    functions = {key_of(each): each for each in model.functions}
    if len(functions) < len(model.functions):
        raise FormatError("defines a function twice, expected unique names", hint=DAMAGED)
    if any(domain in DEFAULT_DOMAINS for domain, _, _ in functions):
        raise FormatError(
            "defines an operator of ONNX itself, expected functions in a domain of their own",
            hint=DAMAGED,
        )
    n_nodes = _count(list(model.graph.node), functions, {}, ())
    if n_nodes > MAX_NODES:
        raise FormatError(f"has {n_nodes} nodes, expected at most {MAX_NODES}", hint=DAMAGED)
    graph = model.graph
    taken = {value.name for value in (*graph.input, *graph.output)}
    taken.update(tensor.name for tensor in graph.initializer)
    taken.update(name for node in graph.node for name in (*node.input, *node.output))
    inliner = _Inliner(functions, taken, opset, set())
    nodes = [each for node in graph.node for each in inliner.expand(node)]
    return nodes, frozenset(inliner.used)


def _count(
    nodes: list[onnx.NodeProto],
    functions: Mapping[Key, onnx.FunctionProto],
    known: dict[Key, int],
    path: tuple[Key, ...],
) -> int:
    """Return how many nodes there are without calls; every function is counted once."""
    total = 0
    for node in nodes:
        key = key_of(node)
        if key not in functions:
            total += 1
            continue
        if key in path or len(path) >= MAX_DEPTH:
            raise FormatError(
                f"function {qualify(*key[:2])}: calls itself, or through more than {MAX_DEPTH} "
                "others, expected fewer",
                hint=DAMAGED,
            )
        if key not in known:
            function = functions[key]
            n_passed = len({*function.input}.intersection(function.output))
            known[key] = _count(list(function.node), functions, known, (*path, key)) + n_passed
        total += known[key]
    return total


@dataclass
class _Inliner:
    functions: Mapping[Key, onnx.FunctionProto]
    taken: set[str]
    opset: int
    used: set[Key]

    def expand(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yield the node, or what stands for the call."""
        key = key_of(node)
        if key not in self.functions:
            yield node
            return
        function = self.functions[key]
        where = f"{node.name or next(iter(node.output), '')} ({qualify(*key[:2])})"
        self._check(where, node, function)
        self.used.add(key)
        names, passed = self._bind(node, function)
        given = {attribute.name: attribute for attribute in function.attribute_proto}
        given.update((attribute.name, attribute) for attribute in node.attribute)
        for operand, result in passed:
            yield _identity(operand, result)
        for inner in function.node:
            yield from self.expand(_rewrite(inner, names, given, where))

    def _check(self, where: str, node: onnx.NodeProto, function: onnx.FunctionProto) -> None:
        versions = {
            each.version for each in function.opset_import if each.domain in DEFAULT_DOMAINS
        }
        inputs, outputs = list(function.input), list(function.output)
        declared = {*function.attribute, *(each.name for each in function.attribute_proto)}
        given = {each.name for each in node.attribute}
        if versions - {self.opset}:
            problem = f"is a function of opset {min(versions)}, expected {self.opset} as the file"
        elif "" in inputs or len(set(inputs)) < len(inputs) or len(set(outputs)) < len(outputs):
            problem = "is a function that declares an operand or a result twice, or without a name"
        elif len(node.input) > len(inputs) or len(node.output) > len(outputs):
            problem = f"calls a function of {len(inputs)} operands and {len(outputs)} results with "
            problem += f"{len(node.input)} and {len(node.output)}, expected at most as many"
        elif given - declared:
            problem = f"gives the function {min(given - declared)!r}, expected what it declares"
        else:
            return
        raise FormatError(f"{where}: {problem}", hint=DAMAGED)

    def _bind(
        self, node: onnx.NodeProto, function: onnx.FunctionProto
    ) -> tuple[Callable[[str], str], list[tuple[str, str]]]:
        """Return what the names of the body are called, and operands that are results as well."""
        prefix = node.name or next(filter(None, node.output), "")
        inputs = [*node.input, *[""] * (len(function.input) - len(node.input))]
        outputs = [*node.output, *[""] * (len(function.output) - len(node.output))]
        known: dict[str, str] = dict(zip(function.input, inputs, strict=True))
        passed = []
        for name, outside in zip(function.output, outputs, strict=True):
            result = outside or self._fresh(f"{prefix}/{name}")
            if name in known:
                passed.append((known[name], result))
            else:
                known[name] = result

        def rename(name: str) -> str:
            if name and name not in known:
                known[name] = self._fresh(f"{prefix}/{name}")
            return known.get(name, "")

        return rename, passed

    def _fresh(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self.taken:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name)
        return name


def _rewrite(
    node: onnx.NodeProto,
    rename: Callable[[str], str],
    given: Mapping[str, onnx.AttributeProto],
    where: str,
) -> onnx.NodeProto:
    """Return a node of a body with the names and the attributes of the call."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name = f"{where.rsplit(' (', 1)[0]}/{node.name or node.op_type}"
    copy.ClearField("input")
    copy.ClearField("output")
    copy.input.extend(rename(name) for name in node.input)
    copy.output.extend(rename(name) for name in node.output)
    copy.ClearField("attribute")
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            copy.attribute.append(attribute)
        elif attribute.ref_attr_name in given:
            value = copy.attribute.add()
            value.CopyFrom(given[attribute.ref_attr_name])
            value.name = attribute.name
    return copy


def _identity(operand: str, result: str) -> onnx.NodeProto:
    import onnx

    return onnx.helper.make_node("Identity", [operand], [result])
