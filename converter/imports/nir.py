"""NIR files: nodes and edges as a spiking graph. What has no meaning here is refused by name.

A current I adds r I dt to the potential of an IF; it fires where the potential is above the
threshold. Up to nir 1.0.5 it is then reset by subtraction, later to v_reset. Files that spikeport
wrote say in their metadata what NIR cannot.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, SpikeportError, UnsupportedOpError
from ..exports.json_text import parse_object
from ..exports.nir.writer import LEAKLESS_DT
from ..files import read_bounded
from ..ir import Array, Graph, IntegrateFire, Node, Op, Reset, SumPool, TensorType
from ..ir.ops import Add, AveragePool, Conv, Dense, Flatten, Identity, Input, Scale, Transpose
from .nir_edges import flatten_graph, sort_nodes
from .nir_file import HINT, MAX_FILE_BYTES, open_nir

MAX_MESSAGE = 300


def read_nir(path: Path, dt: float | None = None) -> Graph:
    """Read a NIR file, as `read_graph` says."""
    data = read_bounded(path, MAX_FILE_BYTES)
    try:
        return _read(data, path.name, dt)
    except UnsupportedOpError as error:
        raise error.at(str(path)) from error
    except SpikeportError as error:
        text = "".join(c if c.isprintable() else "?" for c in str(error))[:MAX_MESSAGE]
        raise FormatError(f"{path}: {text}", hint=error.hint or HINT) from error


def _read(data: bytes, name: str, dt: float | None) -> Graph:
    content = open_nir(data)
    nodes, edges = flatten_graph(content, "", 0)
    own = _own(content)
    order = sort_nodes(nodes, edges)
    subtracts = _is_before(content["version"], (1, 0, 6))
    builder = _Builder(nodes, edges, own, _step(content, dt), subtracts=subtracts)
    for node in order:
        builder.add(node)
    if builder.reasons:
        raise UnsupportedOpError(
            f"{len(builder.reasons)} of its nodes have no meaning here",
            reasons=tuple(builder.reasons),
            hint="take these nodes out, or replace them by Affine, Conv, Scale, pooling and IF",
        )
    digest = hashlib.sha256(data).hexdigest()
    imported = {"format": "nir", "name": name, "sha256": digest, "dt": builder.dt}
    metadata = own.get("metadata", {})
    metadata = {**(metadata if isinstance(metadata, dict) else {}), "imported": imported}
    if not builder.outputs:
        raise FormatError("graph: has no Output node, expected one")
    outputs = sorted(builder.outputs)
    listed = own.get("outputs")
    if isinstance(listed, list) and all(isinstance(n, str) for n in listed):
        outputs = [n for n in listed if n in builder.outputs] or outputs
    units = own.get("units")
    for output, unit in units.items() if isinstance(units, dict) else ():
        builder.set_unit(output, unit)
    return Graph(
        tuple(builder.nodes),
        tuple(builder.inputs),
        tuple(builder.outputs[output] for output in outputs),
        metadata,
    )


def _is_before(version: str, bound: tuple[int, ...]) -> bool:
    """Return whether a version is older; one that is no numbers and dots is the newest."""
    parts = version.split(".")
    return all(part.isdecimal() for part in parts) and tuple(map(int, parts)) < bound


def _step(content: dict[str, Any], dt: float | None) -> float:
    found = content.get("metadata", {})
    text = found.get("dt", 1.0) if isinstance(found, dict) else 1.0
    try:
        value = float(text if dt is None else dt)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise FormatError(f"dt is {text!r}, expected a positive number")
    return value


def _own(content: dict[str, Any]) -> dict[str, Any]:
    """Return what spikeport wrote into the metadata, {} in files of other tools."""
    metadata = content.get("metadata", {})
    text = metadata.get("spikeport") if isinstance(metadata, dict) else None
    return parse_object(text) if isinstance(text, str) else {}


class _Builder:
    """Nodes of the graph so far; `values` is what a node of the file gives."""

    def __init__(
        self,
        nodes: dict[str, dict[str, Any]],
        edges: list[tuple[str, str]],
        own: dict[str, Any],
        dt: float,
        *,
        subtracts: bool,
    ) -> None:
        self.subtracts = subtracts
        self.file = nodes
        self.dt = dt
        self.own = own
        self.before: dict[str, list[str]] = {name: [] for name in nodes}
        for a, b in edges:
            self.before[b].append(a)
        self.nodes: list[Node] = []
        self.taken: set[str] = set()
        self.types: dict[str, TensorType] = {}
        self.inputs: list[str] = []
        self.outputs: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.reasons: list[str] = []
        self.charges: set[str] = set()

    def add(self, name: str) -> None:
        fields = self.file[name]
        type_name = fields["type"]
        if type_name not in READERS:
            self.reasons.append(f"{name} ({type_name:.60}): has no meaning here")
            return
        sources = [s for s in self.before[name] if s not in self.charges]
        if self.before[name] and not sources:
            self.charges.add(name)
            return
        if any(source not in self.values for source in sources):
            return  # a node before it was refused
        try:
            operands = [self.values[source] for source in sources]
            if len(operands) > 1:
                operands = [self.append(f"{name}_sum", Add(), *operands)]
            READERS[type_name](self, name, fields, *operands)
        except UnsupportedOpError as error:
            self.reasons.append(f"{name} ({type_name}): {error}")
        except (SpikeportError, TypeError, ValueError, IndexError, OverflowError) as error:
            reason = str(error).partition("\n")[0]
            raise FormatError(f"{name} ({type_name}): {reason}", hint=HINT) from error

    def own_of(self, name: str) -> dict[str, Any]:
        """Return what spikeport wrote about a node of the file; {} in files of other tools."""
        nodes = self.own.get("nodes")
        found = nodes.get(name) if isinstance(nodes, dict) else None
        return found if isinstance(found, dict) else {}

    def append(self, wanted: str, op: Op, *inputs: str, file: str = "") -> str:
        """Append a node, check it against its operands, and return its name.

        Args:
            wanted: Its name, but for what the file says, and if it is free.
            op: What it computes.
            inputs: Its operands.
            file: Name of the node of the file that it stands for.
        """
        metadata = self.own_of(file)
        text = metadata.get("name")
        name = text if isinstance(text, str) and text and text not in self.taken else wanted
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        source = metadata.get("source")
        node = Node(name, op, inputs, source if isinstance(source, str) else "")
        self.types[name] = op.infer(*(self.types[operand] for operand in inputs))
        self.nodes.append(node)
        return name

    def set_unit(self, output: str, unit: Any) -> None:
        """Give an output what one unit of it stands for, [shape, numbers] in the metadata."""
        if output not in self.outputs:
            raise FormatError(f"{output:.60}: has a unit in the metadata, but is no output")
        values = _shaped(unit, f"{output:.60} unit")
        name = self.outputs[output]
        self.nodes = [
            dataclasses.replace(node, unit=values) if node.name == name else node
            for node in self.nodes
        ]

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of a result."""
        return self.types[name].shape


def _numbers(fields: dict[str, Any], key: str) -> Any:
    value = fields.get(key)
    if not isinstance(value, np.ndarray):
        raise FormatError(f"has no numbers {key!r}, expected some")
    return value


def _integers(fields: dict[str, Any], key: str, n: int) -> tuple[int, ...]:
    values = _numbers(fields, key).ravel()
    if values.size not in {1, n} or (values != np.rint(values)).any():
        raise FormatError(f"{key} is {values[:8].tolist()}, expected {n} integers")
    return tuple(int(value) for value in np.broadcast_to(values, (n,)))


def _shape(fields: dict[str, Any]) -> tuple[int, ...]:
    sizes = _numbers(fields, "shape").ravel()
    return _integers(fields, "shape", sizes.size)


def _input(builder: _Builder, name: str, fields: dict[str, Any]) -> None:
    shape = _shape(fields)
    pulses = builder.own.get("pulses")
    if isinstance(pulses, list) and name in pulses:
        builder.charges.add(name)  # the neuron's own entry says what it is charged with
        return
    known = builder.own.get("inputs")
    layout = known.get(name) if isinstance(known, dict) else None
    if layout is None:
        builder.values[name] = builder.append(name, Input(shape), file=name)
        builder.inputs.append(builder.values[name])
        return
    match layout:
        case [list(sizes), list(permutation)]:
            first = builder.append(name, Input(tuple(sizes)), file=name)
            builder.inputs.append(first)
            turned = Transpose(tuple(permutation))
            builder.values[name] = builder.append(f"{first}/channels_first", turned, first)
            if builder.shape_of(builder.values[name]) != shape:
                raise FormatError(f"its layout in the metadata does not give {shape}")
        case _:
            raise FormatError("its layout in the metadata is no shape and permutation")


def _same(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    builder.values[name] = builder.append(name, Identity(), x)


def _output(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    shape, found = _shape(fields), builder.shape_of(x)
    if shape != found:
        raise FormatError(f"has the shape {shape}, but gets {found}")
    builder.values[name] = builder.outputs[name] = x


def _affine(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    weight = _numbers(fields, "weight")
    bias = np.zeros(weight.shape[:1]) if fields["type"] == "Linear" else _numbers(fields, "bias")
    builder.values[name] = builder.append(name, Dense(weight, bias), x, file=name)


def _conv(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    weight = _numbers(fields, "weight")
    n = int(fields["type"][4])
    strides, dilation = _integers(fields, "stride", n), _integers(fields, "dilation", n)
    padding = fields.get("padding")
    if weight.ndim != n + 2:
        raise FormatError(f"weight has shape {weight.shape}, expected {n + 2} axes")
    if isinstance(padding, str) and padding == "valid":
        pairs = ((0, 0),) * n
    elif isinstance(padding, str) and padding == "same":
        extents = [(size - 1) * d for size, d in zip(weight.shape[2:], dilation, strict=True)]
        pairs = tuple((extent // 2, extent - extent // 2) for extent in extents)
    else:
        pairs = tuple((side, side) for side in _integers(fields, "padding", n))
    (groups,) = _integers(fields, "groups", 1)
    op = Conv(weight, _numbers(fields, "bias"), strides, dilation, pairs, groups)
    builder.values[name] = builder.append(name, op, x, file=name)


def _scale(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    scale = _numbers(fields, "scale")
    op = Scale(scale, np.zeros((1,) * scale.ndim))
    builder.values[name] = builder.append(name, op, x, file=name)


def _pool(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    kernel, strides = _integers(fields, "kernel_size", 2), _integers(fields, "stride", 2)
    pairs = tuple((side, side) for side in _integers(fields, "padding", 2))
    op: Op = AveragePool(kernel, strides, pairs, count_padding=any(map(any, pairs)))
    if fields["type"] == "SumPool2d":
        op = SumPool(kernel, strides, pairs)
    builder.values[name] = builder.append(name, op, x, file=name)


def _flatten_axes(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    shape = builder.shape_of(x)
    (start,), (end,) = _integers(fields, "start_dim", 1), _integers(fields, "end_dim", 1)
    # Some writers count the batch axis: 1 is then the first axis of a sample.
    if (start, end) not in {(0, -1), (1, -1), (0, len(shape) - 1), (1, len(shape))}:
        raise UnsupportedOpError(f"flattens axes {start} to {end} only, expected all of {shape}")
    builder.values[name] = builder.append(name, Flatten(), x, file=name)


def _integrate_fire(builder: _Builder, name: str, fields: dict[str, Any], x: str) -> None:
    shape = builder.shape_of(x)
    threshold = _spread(_numbers(fields, "v_threshold"), shape)
    reset = _spread(fields.get("v_reset", np.zeros(())), shape)
    gain = np.asarray(_spread(_numbers(fields, "r"), shape), np.float64) * builder.dt
    if fields["type"] == "LIF":
        tau, leak = _numbers(fields, "tau"), _numbers(fields, "v_leak")
        steps = LEAKLESS_DT if builder.own else builder.dt
        if leak.any() or (1 - np.float32(steps / tau) != 1).any():
            raise UnsupportedOpError("leaks, expected an IF or a time constant without effect")
        gain = _spread(_numbers(fields, "r") * steps / tau, shape).astype(np.float64)
    if threshold.shape != shape or reset.shape != shape:
        raise FormatError(f"v_threshold has shape {threshold.shape}, expected {shape}")
    if not np.allclose(gain, 1, rtol=1e-6):
        small = np.asarray(gain.reshape(shape), np.float32)
        x = builder.append(f"{name}_r", Scale(small, small[(slice(1),) * small.ndim] * 0), x)
    # The next larger number, because NIR's neurons fire above the threshold, not at it.
    above = np.nextafter(threshold, np.float32(np.inf))
    own = builder.own_of(name)
    if own.get("reset") in set(Reset):
        threshold = _shaped(own.get("threshold"), "threshold")
        initial = _shaped(own.get("initial_potential"), "initial_potential")
        op = IntegrateFire(threshold, initial, Reset(own["reset"]))
    elif builder.subtracts and "v_reset" not in fields:
        op = IntegrateFire(above, np.zeros_like(above), Reset.SUBTRACT)
    else:
        # Potentials count from v_reset here: it is 0 after a spike.
        op = IntegrateFire(above - reset, -reset, Reset.ZERO)
    builder.values[name] = builder.append(name, op, x, file=name)


def _spread(values: Any, shape: tuple[int, ...]) -> Array:
    """Return an array of a neuron's shape; tools write one number for all neurons, too."""
    array = np.asarray(values, np.float32)
    return np.full(shape, array.item(), np.float32) if array.size == 1 else array


def _shaped(value: Any, key: str) -> Array:
    """Return an array of the metadata, [shape, numbers]."""
    match value:
        case [list(shape), list(numbers)]:
            return np.array(numbers, np.float32).reshape(shape)
        case _:
            raise FormatError(f"its {key} in the metadata is no shape and numbers")


READERS: dict[str, Callable[..., None]] = {
    "Input": _input,
    "Identity": _same,
    "Output": _output,
    "Affine": _affine,
    "Linear": _affine,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Scale": _scale,
    "AvgPool2d": _pool,
    "SumPool2d": _pool,
    "Flatten": _flatten_axes,
    "IF": _integrate_fire,
    "LIF": _integrate_fire,
}
"""(builder, name, fields, operand): appends nodes; sets `values`."""
