"""Which ONNX node comes when: from a checked file to nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...errors import FormatError, GraphError, UnsupportedOpError
from ...ir import Activation
from ...ir.analog import ANALOG, explain
from ...ir.ops import Identity, Input, LogSoftmax, Sigmoid, Softmax
from ...meanings import SourceNode
from .curves import NAMED, combine, recognize
from .draft import Curve, Draft, Mask, Tensor, Value
from .files import OnnxModel
from .folding import BATCH_SIZES, FOLDABLE, SLACK_ELEMENTS, Constant, Folder
from .reasons import ELEMENTWISE, REASONS, UnsupportedNodeError, find_reason
from .site import Site
from .structure import OnnxInput, OnnxNode
from .tensors import DAMAGED, Numbers, decode, type_name

Emit = Callable[[Site], Tensor | Mask]
"""Appends the nodes of one ONNX node and returns its result."""

READOUTS = {Softmax, LogSoftmax, Sigmoid}
"""Ops that have a translation at an output."""

FREE_SIZES = "expected fixed sizes behind the batch"
LOST = (
    "is a constant whose numbers Keras' exporter left out of the file, as those of a "
    "Normalization; read the .keras file instead"
)
MAX_BATCH = 1024
"""Fixed batch size of a file; every run fills that many samples."""


@dataclass
class Translation:
    """The translation of one file.

    Attributes:
        model: The file.
        operators: Translations by op type.
        reasons: Why nodes cannot be read, one line each.
        not_spiking: Which nodes are read but have no spiking translation, and why, behind how
            many reasons.
    """

    model: OnnxModel
    operators: Mapping[str, Emit]
    reasons: list[str] = field(default_factory=list)
    not_spiking: list[tuple[int, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        consumers: dict[str, list[OnnxNode | None]] = {}
        for node in self.model.nodes:
            for name in filter(None, node.inputs):
                consumers.setdefault(name, []).append(node)
        for name in self.model.outputs:
            consumers.setdefault(name, []).append(None)
        self.draft = Draft({}, consumers, self._find_batch())
        n_bytes = len(self.model.content)
        n_bytes += sum(array.nbytes for array in self.model.external.values())
        self.folder = Folder(self.model.opset, SLACK_ELEMENTS + n_bytes)

    def translate(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Append the nodes of the whole network; return the names of its inputs and outputs.

        Raises:
            FormatError: Nodes do not fit one another or their weights.
        """
        inputs = tuple(self._add_input(declared) for declared in self.model.inputs)
        self._decode_initializers()
        for node in self.model.nodes:
            self._fold(node)
        for node in self.model.nodes:
            if not all(name in self.draft.values for name in filter(None, node.outputs)):
                self._translate_node(node)
        outputs = tuple(self._output(name) for name in self.model.outputs)
        self.draft.remove_unused(outputs)
        return inputs, outputs

    def all_reasons(self) -> tuple[str, ...]:
        """Return the reasons with what would be refused next, if there are any."""
        found = list(self.reasons)
        for place, _, reason in reversed(self.not_spiking):
            found.insert(place, reason)
        return tuple(found) if self.reasons else ()

    def list_nodes(self) -> tuple[SourceNode, ...]:
        """Return all inputs and nodes of the file that its outputs need."""
        found = [SourceNode(each.name, "input", ("Input",)) for each in self.model.inputs]
        for node in self.model.nodes:
            results = [self.draft.values.get(name) for name in filter(None, node.outputs)]
            is_constant = all(isinstance(result, Constant) for result in results)
            part = "Constant" if is_constant else node.op_type
            found.append(SourceNode(node.name, node.op_type, (part,)))
        return tuple(found)

    def _find_batch(self) -> int | None:
        inputs = [each for each in self.model.inputs if not self._is_lost(each)]
        sizes = {declared.shape[0] for declared in inputs if declared.shape} - {None}
        if len(sizes) > 1:
            self._refuse("inputs", f"have the batch sizes {sorted(map(str, sizes))}, expected one")
        return next(iter(sizes), None)

    def _is_lost(self, declared: OnnxInput) -> bool:
        """Whether an input is a constant whose numbers Keras' exporter left out.

        It does so with the mean and variance of a Normalization. The exporter names what is inside
        the network SCOPE/NAME:0, and no such constant has an axis for the batch.
        """
        is_inside = "/" in declared.name and declared.name.endswith(":0")
        others = [each.shape[0] for each in self.model.inputs if each.shape]
        is_one = declared.shape is not None and declared.shape[:1] == (1,)
        return self.model.producer.startswith("tf2onnx") and is_inside and is_one and None in others

    def _add_input(self, declared: OnnxInput) -> str:
        try:
            if self._is_lost(declared):
                raise UnsupportedNodeError(LOST)
            shape = _sample_shape(declared)
        except UnsupportedNodeError as error:
            self._refuse(f"{declared.name} (input)", error)
            self.draft.values[declared.name] = None
            return declared.name
        try:
            tensor = self.draft.add(declared.name, Input(shape), (), declared.name)
        except GraphError as error:
            raise FormatError(f"{declared.name} (input): {error}", hint=DAMAGED) from error
        self.draft.values[declared.name] = tensor
        return tensor.node

    def _output(self, name: str) -> str:
        value = self.draft.values[name]
        if isinstance(value, Constant):
            self._refuse(f"{name} (output)", "does not depend on the input, expected it to")
        elif isinstance(value, Curve):
            self._refuse_curve(value)
        elif isinstance(value, Mask):
            self._refuse(f"{name} (output)", "is a comparison, expected a value")
        elif value is not None and value.has_rows:
            self._refuse(
                f"{name} (output)", "mixes the batch with other axes, expected it in front"
            )
        return value.node if isinstance(value, Tensor) else name

    def _refuse(self, where: str, reason: object) -> None:
        self.reasons.append(f"{where}: {reason}")

    def _decode_initializers(self) -> None:
        for name, tensor in self.model.initializers.items():
            if name in self.draft.consumers:
                try:
                    array = self.model.external.get(name)
                    self.draft.values[name] = Constant((
                        decode(tensor) if array is None else array,
                    ))
                except UnsupportedOpError as error:
                    self.reasons.append(str(error))
                    self.draft.values[name] = None

    def _fold(self, node: OnnxNode) -> bool:
        """Evaluate a node if all that it takes is constant; return whether it was."""
        names = [name for name in node.inputs if name]
        operands = [self.draft.values.get(name) for name in names]
        constants = [each for each in operands if isinstance(each, Constant)]
        is_foldable = node.op_type == "Constant" or (node.op_type in FOLDABLE and names)
        is_constant = len(constants) == len(names)
        if not (is_foldable and is_constant):
            return False
        try:
            if node.op_type == "Constant":
                results: tuple[Constant, ...] = (Constant((_constant(Site(self.draft, node, 0)),)),)
            else:
                by_name = dict(zip(names, constants, strict=True))
                results = self.folder.fold(node, tuple(map(by_name.get, node.inputs)))
        except UnsupportedNodeError as error:
            self._refuse(str(node), error)
            self.draft.values[node.outputs[0]] = None
            return True
        except GraphError as error:
            raise FormatError(f"{node}: {error}", hint=DAMAGED) from error
        self.draft.values.update(zip(node.outputs, results, strict=True))
        return True

    def _translate_node(self, node: OnnxNode) -> None:
        for name in filter(None, node.outputs):
            self.draft.values.setdefault(name, None)
        operands = [self.draft.values[name] for name in node.inputs if name]
        if self._fold(node) or self._follow_curve(node, operands):
            return
        operands = [self.draft.values[name] for name in node.inputs if name]
        if node.op_type in {"Shape", "Size"} and operands:
            measured = operands[0].x if isinstance(operands[0], Mask) else operands[0]
            if isinstance(measured, Tensor):
                self._measure(node, measured)
        elif node.op_type in self.operators:
            if None not in operands:
                self._emit(node, operands)
        elif node.op_type not in FOLDABLE:
            reason = find_reason(node.op_type)
            self._refuse(str(node), f"{reason}, expected an operator with a translation")
            self._pass_through(node, operands)
        elif None not in operands:
            reason = REASONS.get(node.op_type, "takes a value that depends on the input")
            self._refuse(str(node), f"{reason}, expected only constants")
            self._pass_through(node, operands)

    def _emit(self, node: OnnxNode, operands: list[Value]) -> None:
        try:
            site = Site(self.draft, node, self.model.opset)
            # What overflows is refused as a parameter that is not finite.
            with np.errstate(over="ignore", invalid="ignore"):
                result = self.operators[node.op_type](site)
            site.check_finished()
            self._note_analog(node)
            self.draft.values[site.result] = result
            self.draft.values.update(site.further)
        except UnsupportedNodeError as error:
            self._refuse(str(node), error)
            self._pass_through(node, operands)
        except GraphError as error:
            raise FormatError(f"{node}: {error}", hint=error.hint or DAMAGED) from error

    def _note_analog(self, node: OnnxNode) -> None:
        last = self.draft.nodes[-1]
        if type(last.op) in ANALOG and type(last.op) not in READOUTS:
            reason = f"{node}: {explain(last.op)}"
            self.not_spiking.append((len(self.reasons), last.name, reason))

    def _follow_curve(self, node: OnnxNode, operands: list[Value]) -> bool:
        """Translate a node that makes a curve, or a function of a curve; return whether it did."""
        names = [name for name in node.inputs if name]
        curve = combine(self.draft, node, operands)
        if curve is None:
            for name, operand in zip(names, operands, strict=True):
                if isinstance(operand, Curve):  # what follows is looked at all the same
                    if node.op_type not in {"Shape", "Size"}:
                        self._refuse_curve(operand)
                    self.draft.values[name] = operand.tensor
            return False
        found = recognize(self.draft, curve)
        if found is None:
            self.draft.values[node.outputs[0]] = curve
            return True
        function, root, inner = found
        site = Site(self.draft, node, self.model.opset)
        x = Tensor(root, curve.tensor.shape, curve.tensor.has_rows)
        result = site.map(Activation(function, NAMED[function]), x)
        self.draft.values[node.outputs[0]] = result
        self.not_spiking = [each for each in self.not_spiking if each[1] not in inner]
        self._note_analog(node)
        return True

    def _refuse_curve(self, curve: Curve) -> None:
        if curve.origin not in self.reasons:
            self.reasons.append(curve.origin)

    def _pass_through(self, node: OnnxNode, operands: list[Value]) -> None:
        """Let an operand stand for a refused result of the same shape."""
        if node.op_type not in ELEMENTWISE or None in operands:
            return
        tensors = [each for each in operands if isinstance(each, Tensor)]
        for each in tensors:
            if all(_broadcasts(other.shape, each.shape) for other in tensors):
                self.draft.values[node.outputs[0]] = self.draft.add(
                    node.name, Identity(), (each.node,), ""
                )
                return

    def _measure(self, node: OnnxNode, tensor: Tensor) -> None:
        """Give the shape of a tensor as a constant that depends on the batch size."""
        n_rows = tensor.shape[0] if tensor.has_rows else 1
        shapes = [np.array([n * n_rows, *tensor.row_shape], np.int64) for n in BATCH_SIZES]
        try:
            site = Site(self.draft, node, self.model.opset)
            site.operand(0)
            start, end = 0, len(shapes[0])
            if node.op_type == "Shape":
                start, end = site.integer("start", start), site.integer("end", end)
            site.check_finished()
        except UnsupportedNodeError as error:
            self._refuse(str(node), error)
            return
        except GraphError as error:
            raise FormatError(f"{node}: {error}", hint=DAMAGED) from error
        values: tuple[Numbers, ...] = tuple(shape[start:end] for shape in shapes)
        if node.op_type == "Size":
            values = tuple(np.array(shape.prod()) for shape in shapes)
        self.draft.values[node.outputs[0]] = Constant(values)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) == len(to) and all(a in {1, b} for a, b in zip(shape, to, strict=True))


def _sample_shape(declared: OnnxInput) -> tuple[int, ...]:
    if declared.data_type != 1:
        what = type_name(declared.data_type) if declared.data_type else "no tensor"
        raise UnsupportedNodeError(f"holds {what}, expected float32")
    if not declared.shape:
        raise UnsupportedNodeError(f"has no shape or no axes, {FREE_SIZES}")
    if (declared.shape[0] or 1) > MAX_BATCH:
        raise UnsupportedNodeError(
            f"has the fixed batch size {declared.shape[0]}, expected at most {MAX_BATCH}"
        )
    sizes = tuple(size for size in declared.shape[1:] if size is not None)
    if len(sizes) < len(declared.shape) - 1:
        shape = ", ".join("?" if size is None else str(size) for size in declared.shape[1:])
        raise UnsupportedNodeError(f"has the shape [N, {shape}], {FREE_SIZES}")
    return sizes


def _constant(site: Site) -> Numbers:
    array = site.array("value")
    if array is None and site.has("value_float"):
        array = np.array(site.number("value_float", 0), np.float32)
    if array is None and site.has("value_floats"):
        array = np.array(site.floats("value_floats"), np.float32)
    if array is None and site.has("value_int"):
        array = np.array(site.integer("value_int", 0), np.int64)
    if array is None and site.has("value_ints"):
        array = np.array(site.integers("value_ints"), np.int64)
    site.check_finished()
    if array is None:
        raise GraphError("has no value")
    return array
