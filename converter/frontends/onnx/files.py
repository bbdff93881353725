"""Opening .onnx files from strangers: what the file says, with its structure checked.

Nothing of a file is run, and nothing outside the model's folder is opened.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import FormatError, SpikeportError
from .external import load_external_data
from .functions import Key, inline_functions, key_of
from .structure import (
    DEFAULT_DOMAINS,
    OnnxInput,
    OnnxNode,
    check_names,
    check_order,
    close_shapes,
    collect_initializers,
    describe_input,
    find_needed,
    name_nodes,
    names_given,
)
from .tensors import DAMAGED, MAX_BYTES, Numbers

if TYPE_CHECKING:
    import onnx

MIN_OPSET = 7


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A file whose structure is in order; what its nodes mean was not looked at.

    Attributes:
        nodes: Those that the outputs need; each comes behind what it takes. Where a function was
            called, the nodes of its body.
        inputs: Without those that have an initializer.
        outputs: Names.
        initializers: Checked, not decoded.
        external: Those whose numbers are not in `content`, by name; none unless the network is
            larger than one encoded message can be.
        opset: Version of ONNX' own operators.
        producer: Who wrote the file, with the version.
        content: The network as one encoded message: without what the outputs do not need.
        sha256: Of the file's bytes, followed by those of its external data.
    """

    nodes: tuple[OnnxNode, ...]
    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    initializers: Mapping[str, onnx.TensorProto]
    external: Mapping[str, Numbers]
    opset: int
    producer: str
    content: bytes
    sha256: str


def read_model(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> OnnxModel:
    """Read a file and check its structure.

    Args:
        path: Of the file.
        input_shapes: Sizes of one sample, by input, where the file leaves them open.

    Raises:
        ConversionError: The input shapes do not fit the file.
        FormatError: It cannot be read, is damaged, too large, of an unknown version, or its nodes
            do not form a graph.
    """
    content = _read_bytes(path)
    digest = hashlib.sha256(content)
    try:
        model = _parse(content)
        check_names(model)
        graph = model.graph
        opset = _find_opset(model)
        if not graph.node:
            raise FormatError("has no nodes, expected a network", hint=DAMAGED)
        if graph.sparse_initializer:
            raise FormatError(
                "has sparse initializers, expected dense ones",
                hint="store the weights as dense tensors",
            )
        n_external, external = load_external_data(model, path.parent, len(content), digest)
        protos, called = inline_functions(model, opset)
        initializers = collect_initializers(graph, protos)
        nodes = name_nodes(protos)
        declared = tuple(
            describe_input(value) for value in graph.input if value.name not in initializers
        )
        inputs = close_shapes(declared, input_shapes or {})
        outputs = tuple(value.name for value in graph.output)
        check_order(nodes, names_given(graph, initializers), outputs)
        needed = find_needed(nodes, outputs)
        # What is run keeps the calls: so the comparison with it also covers putting them in.
        own = find_needed(name_nodes(graph.node), outputs) if called else needed
        is_complete = not n_external and not model.training_info
        if len(own) < len(graph.node) or len(called) < len(model.functions) or not is_complete:
            content = _encode(model, own, called)
    except SpikeportError as error:
        raise error.at(str(path)) from error
    return OnnxModel(
        needed,
        inputs,
        outputs,
        initializers,
        external,
        opset,
        f"{model.producer_name} {model.producer_version}".strip(),
        content,
        digest.hexdigest(),
    )


def check_nodes(model: OnnxModel) -> None:
    """Compare every node with ONNX' own definition of its operator: attributes, operands.

    The graph around them was checked by us: ONNX' checker also refuses files that mean something,
    such as those without declared shapes.

    Raises:
        FormatError: A node is not what the definition allows.
    """
    import onnx

    context = onnx.checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = {"": model.opset}
    for node in model.nodes:
        try:
            onnx.checker.check_node(node.proto, context)
        except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
            detail = " ".join(str(error).split())[:300]
            raise FormatError(
                f"{node}: is no valid ONNX ({detail}), expected what opset {model.opset} defines",
                hint=DAMAGED,
            ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"{path}: is no regular file, expected a .onnx file")
        if status.st_size > MAX_BYTES:
            raise FormatError(
                f"{path}: has {status.st_size} bytes, expected at most {MAX_BYTES}",
                hint="save the weights as external data",
            )
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(content: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise FormatError(
            "is no ONNX model or is cut, expected an encoded network", hint=DAMAGED
        ) from error


def _find_opset(model: onnx.ModelProto) -> int:
    import onnx

    versions = {each.version for each in model.opset_import if each.domain in DEFAULT_DOMAINS}
    if len(versions) != 1:
        raise FormatError(
            f"imports the opsets {sorted(versions)}, expected one version of ONNX' own operators",
            hint="this is no ONNX model, or " + DAMAGED,
        )
    (opset,) = versions
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise FormatError(
            f"has opset {opset}, expected at most {newest}, the newest that the installed onnx "
            "knows",
            hint=f"export the network with opset {newest} or lower, or upgrade onnx",
        )
    if opset < MIN_OPSET:
        raise FormatError(
            f"has opset {opset}, expected {MIN_OPSET} to {newest}",
            hint="convert it: onnx.version_converter.convert_version(model, 13)",
        )
    return int(opset)


def _encode(model: onnx.ModelProto, nodes: Sequence[OnnxNode], called: frozenset[Key]) -> bytes:
    """Return the model with these nodes and functions only: the rest is neither checked nor run."""
    protos = [node.proto for node in nodes]
    functions = [each for each in model.functions if key_of(each) in called]
    del model.graph.node[:]
    model.graph.node.extend(protos)
    del model.functions[:]
    model.functions.extend(functions)
    model.ClearField("training_info")
    return bytes(model.SerializeToString())
