"""Writes .onnx files node by node, and compares what is read with onnxruntime."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from spikeport.converter.equality import relative_error
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.converter.ir import Graph, run

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = (7, 9, 11, 13, 17, NEWEST)
FLOAT = onnx.TensorProto.FLOAT


class Writer:
    """A model that is being written; every method returns the name of a tensor."""

    def __init__(self, opset: int = 17, seed: int = 0, batch: int | str | None = "N") -> None:
        self.opset = opset
        self.random = np.random.default_rng(seed)
        self.batch = batch
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def input(self, *shape: int | str | None, name: str = "x", dtype: int = FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, (self.batch, *shape)))
        return name

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(array, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def draw(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self.random.normal(0, scale, shape))

    def positive(self, *shape: int) -> str:
        return self.constant(self.random.uniform(0.5, 2, shape))

    def op(self, op_type: str, *inputs: str, n_outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{op_type.lower()}{len(self.nodes)}" + "abc"[i] for i in range(n_outputs)]
        node = helper.make_node(op_type, inputs, names, name=names[0][:-1], **attributes)
        self.nodes.append(node)
        return names if n_outputs > 1 else names[0]

    def axes(self, op_type: str, x: str, axes: Sequence[int], **attributes: Any) -> str:
        """An operator whose axes became an operand in a newer opset."""
        since = {"Squeeze": 13, "Unsqueeze": 13, "ReduceMean": 18, "ReduceMax": 18}[op_type]
        if self.opset >= since:
            return self.op(op_type, x, self.integers(*axes), **attributes)
        return self.op(op_type, x, axes=list(axes), **attributes)

    def conv(self, x: str, *shape: int, bias: bool = True, **attributes: Any) -> str:
        weight = self.draw(*shape, scale=(2 / np.prod(shape[1:])) ** 0.5)
        operands = (weight, self.draw(shape[0], scale=0.3)) if bias else (weight,)
        return self.op("Conv", x, *operands, **attributes)

    def batch_norm(self, x: str, n: int, **attributes: Any) -> str:
        parts = self.positive(n), self.draw(n), self.draw(n), self.positive(n)
        return self.op("BatchNormalization", x, *parts, **attributes)

    def gemm(self, x: str, n_in: int, n_out: int) -> str:
        weight = self.draw(n_out, n_in, scale=(2 / n_in) ** 0.5)
        return self.op("Gemm", x, weight, self.draw(n_out), transB=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            self.inputs,
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
            self.initializers,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=10,
            producer_name="writer",
            producer_version="1.0",
        )

    def save(self, folder: Path, *outputs: str) -> Path:
        return save(self.model(*outputs), folder)


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def check(path: Path, n_samples: int = 3, tolerance: float = 1e-4) -> Graph:
    """Read a file, compare all outputs with onnxruntime on random samples, return the graph."""
    source = read_onnx(path)
    random = np.random.default_rng(1)
    inputs = tuple(
        random.normal(0, 1, (n_samples, *source.graph.types[name].shape)).astype(np.float32)
        for name in source.graph.inputs
    )
    expected, found = source.run(inputs), run(source.graph, inputs)
    assert len(expected) == len(found) == len(source.graph.outputs)
    for a, b in zip(expected, found, strict=True):
        assert relative_error(a, b) < tolerance
    return source.graph


def op_names(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


Case = Callable[[Writer], str]


def on(op_type: str, *shape: int, **attributes: Any) -> Case:
    """One operator on an input."""
    return lambda w: w.op(op_type, w.input(*shape), **attributes)


def cases_of(*groups: tuple[int, int, dict[str, Case]]) -> dict[tuple[str, int], Case]:
    """Cases by name and opset, from (first opset, last opset, cases): at both ends."""
    return {
        (name, opset): case
        for first, last, cases in groups
        for name, case in cases.items()
        for opset in (first, last)
    }
