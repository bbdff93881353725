"""The structure of an ONNX graph: names, order, declared sizes; not what its nodes mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import ConversionError, FormatError
from .tensors import DAMAGED, check_tensor

if TYPE_CHECKING:
    import onnx

DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """One node of the file.

    Attributes:
        name: The node's own name, or its first output's where that is missing or used twice.
        op_type: With its domain in front unless that is ONNX' own.
        inputs: Names of the operands; "" for one that is left out.
        outputs: Names of the results; "" likewise.
        proto: As the file has it.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    proto: onnx.NodeProto

    def __str__(self) -> str:
        return f"{self.name} ({self.op_type})"


@dataclass(frozen=True)
class OnnxInput:
    """What the network is fed.

    Attributes:
        name: Of the tensor.
        data_type: ONNX' number of it; 0 for what is no tensor.
        shape: With the batch; None for an axis without a fixed size. None: no shape is declared.
    """

    name: str
    data_type: int
    shape: tuple[int | None, ...] | None


def check_names(model: onnx.ModelProto) -> None:
    """Refuse names that are no text: protobuf gives them as bytes.

    Raises:
        FormatError: A name is not encoded in UTF-8.
    """
    for name in _all_names(model):
        if not isinstance(name, str):
            raise FormatError(
                f"has the name {name[:40]!r}, expected text encoded in UTF-8", hint=DAMAGED
            )


def _all_names(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    yield from (model.producer_name, model.producer_version)
    yield from (each.domain for each in model.opset_import)
    for function in model.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
        yield from function.attribute
        yield from (attribute.name for attribute in function.attribute_proto)
    yield from (value.name for value in (*graph.input, *graph.output))
    nodes = all_nodes(model)
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
    for tensor in (*graph.initializer, *(each for node in nodes for each in tensors_of(node))):
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)


def all_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes of the graph and of all functions."""
    return [*model.graph.node, *(node for each in model.functions for node in each.node)]


def names_given(graph: onnx.GraphProto, initializers: Mapping[str, onnx.TensorProto]) -> set[str]:
    """Return the names that exist before the first node: inputs and initializers.

    Raises:
        FormatError: An input has no name, or one that is used twice.
    """
    names = [value.name for value in graph.input]
    if len(set(names)) < len(names) or "" in names:
        raise FormatError(
            f"has the inputs {names[:20]}, expected each of them once and with a name",
            hint=DAMAGED,
        )
    return {*names, *initializers}


def collect_initializers(
    graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]
) -> dict[str, onnx.TensorProto]:
    """Return the initializers by name; their sizes and those of the nodes' constants are checked.

    Raises:
        FormatError: A name is missing or used twice, or a tensor is not as large as declared.
    """
    found: dict[str, onnx.TensorProto] = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in found:
            raise FormatError(
                f"has two initializers named {tensor.name!r}, or one without a name, expected "
                "unique names",
                hint=DAMAGED,
            )
        check_tensor(tensor)
        found[tensor.name] = tensor
    for node in nodes:
        for tensor in tensors_of(node):
            check_tensor(tensor)
    return found


def tensors_of(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors among the attributes of a node."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def name_nodes(protos: Sequence[onnx.NodeProto]) -> tuple[OnnxNode, ...]:
    """Return the nodes with a name for each.

    Raises:
        FormatError: A node has no result.
    """
    uses = Counter(node.name for node in protos)
    nodes = []
    for node in protos:
        outputs = tuple(node.output)
        first = next(filter(None, outputs), "")
        if not first:
            raise FormatError(
                f"{node.name} ({node.op_type}): has no result, expected at least one", hint=DAMAGED
            )
        name = node.name if node.name and uses[node.name] == 1 else first
        op_type = qualify(node.domain, node.op_type)
        nodes.append(OnnxNode(name, op_type, tuple(node.input), outputs, node))
    return tuple(nodes)


def qualify(domain: str, name: str) -> str:
    """Return an op type with its domain in front unless that is ONNX' own."""
    return name if domain in DEFAULT_DOMAINS else f"{domain}.{name}"


def describe_input(value: onnx.ValueInfoProto) -> OnnxInput:
    """Return what the file declares of an input."""
    if value.type.WhichOneof("value") != "tensor_type":
        return OnnxInput(value.name, 0, None)
    tensor = value.type.tensor_type
    shape: tuple[int | None, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            int(size.dim_value) if size.HasField("dim_value") and size.dim_value > 0 else None
            for size in tensor.shape.dim
        )
    return OnnxInput(value.name, tensor.elem_type, shape)


def close_shapes(
    inputs: tuple[OnnxInput, ...], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[OnnxInput, ...]:
    """Return the inputs with the sizes of a sample that the file leaves open; "" is the only one.

    Raises:
        ConversionError: There is no such input, or it is declared with other sizes.
    """
    names = [declared.name for declared in inputs]
    by_name = dict(shapes)
    if "" in by_name and len(names) == 1 and names[0] not in by_name:
        by_name[names[0]] = by_name.pop("")
    unknown = by_name.keys() - set(names)
    if unknown:
        what = f"for {min(unknown)!r}" if min(unknown) else "without a name"
        raise ConversionError(
            f"has no input shape {what} to fill in, expected {' or '.join(names) or 'none'}",
            hint=f"name the input: --input-shape {(names or ['NAME'])[0]}=3,224,224",
        )
    closed = []
    for declared in inputs:
        sizes = by_name.get(declared.name)
        if sizes is None:
            closed.append(declared)
            continue
        before = (None, *[None] * len(sizes)) if declared.shape is None else declared.shape
        fits = len(before) == len(sizes) + 1 and all(
            size in {None, wanted} for size, wanted in zip(before[1:], sizes, strict=True)
        )
        if not fits:
            shown = ", ".join("?" if size is None else str(size) for size in before[1:])
            raise ConversionError(
                f"{declared.name} (input): is given the input shape {list(sizes)}, expected one "
                f"that fits [{shown}], the batch not counted",
                hint="the sizes that the file fixes cannot be changed",
            )
        closed.append(OnnxInput(declared.name, declared.data_type, (before[0], *sizes)))
    return tuple(closed)


def check_order(nodes: tuple[OnnxNode, ...], given: set[str], outputs: tuple[str, ...]) -> None:
    """Refuse names that are given twice, too late, or never.

    Raises:
        FormatError: The nodes and outputs do not form a graph in topological order.
    """
    later = {name for node in nodes for name in node.outputs}
    known = set(given)
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in known:
                what = "is computed later, or from itself" if name in later else "does not exist"
                raise FormatError(
                    f"{node}: takes {name!r}, which {what}, expected the result of an earlier node",
                    hint=DAMAGED,
                )
        for name in filter(None, node.outputs):
            if name in known:
                raise FormatError(
                    f"{node}: gives {name!r}, which exists already, expected unique names",
                    hint=DAMAGED,
                )
            known.add(name)
    if not outputs:
        raise FormatError("has no outputs, expected at least one", hint=DAMAGED)
    for name in outputs:
        if name not in known:
            raise FormatError(
                f"output {name!r}: does not exist, expected the result of a node", hint=DAMAGED
            )


def find_needed(nodes: tuple[OnnxNode, ...], outputs: tuple[str, ...]) -> tuple[OnnxNode, ...]:
    """Return the nodes that the outputs need."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(filter(None, node.outputs)):
            wanted.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
