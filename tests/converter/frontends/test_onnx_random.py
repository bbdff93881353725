"""Random networks of the operators with a translation: what is read equals onnxruntime."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.converter.frontends.onnx import OPERATORS, read_onnx
from spikeport.converter.ir import run_nodes

from .onnx_writer import NEWEST, Writer

N_NETWORKS = 500
MAX_SIZE = 600

Shape = tuple[int, ...]
Made = tuple[str, Shape]


class Builder:
    """Draws operators; every method takes a tensor and returns one with its shape, or None."""

    def __init__(self, data: st.DataObject, opset: int) -> None:
        self.data = data
        self.writer = Writer(opset, seed=self.integer(0, 1000))
        self.pool: list[Made] = []

    def integer(self, low: int, high: int) -> int:
        return int(self.data.draw(st.integers(low, high)))

    def pick(self, choices: Any) -> Any:
        return self.data.draw(st.sampled_from(list(choices)))

    def entrywise(self, x: str, shape: Shape) -> Made:
        w = self.writer
        kinds = [
            "Abs", "Clip", "Elu", "HardSigmoid", "Identity", "LeakyRelu", "Neg", "PRelu", "Relu",
            "Relu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "gate",
        ]  # fmt: skip
        kinds += ["HardSwish"] * (w.opset >= 14) + ["Mish"] * (w.opset >= 18)
        kind = self.pick(kinds)
        if kind == "gate":
            return w.op("Mul", x, w.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)), shape
        if kind == "Clip":
            low = self.pick((None, -0.5, 0.0, 0.2))
            high = self.pick((None, 0.6, 6.0))
            bounds = ["" if bound is None else w.constant(bound) for bound in (low, high)]
            return w.op("Clip", x, *bounds), shape
        if kind == "PRelu":
            return w.op("PRelu", x, w.draw(shape[0], *(1,) * (len(shape) - 1))), shape
        return w.op(kind, x), shape

    def with_constant(self, x: str, shape: Shape) -> Made:
        kind = self.pick(("Add", "Div", "Max", "Min", "Mul", "Sub", "Sum", "Mean"))
        sizes = [size if self.integer(0, 1) else 1 for size in shape]
        operands = [x, self.writer.positive(*sizes[self.integer(0, len(sizes)) :])]
        if kind != "Div" and self.integer(0, 1):
            operands.reverse()
        return self.writer.op(kind, *operands), shape

    def two(self, x: str, shape: Shape) -> Made | None:
        fitting = [name for name, other in self.pool if other == shape]
        kind = self.pick(("Add", "Sub", "Max", "Min", "Mean", "Sum"))
        return self.writer.op(kind, x, self.pick(fitting)), shape

    def broadcast(self, x: str, shape: Shape) -> Made | None:
        axis = self.integer(0, len(shape) - 1)
        small = self.writer.axes("ReduceMean", x, [axis + 1], keepdims=1)
        return self.writer.op(self.pick(("Add", "Sub", "Max")), small, x), shape

    def concat(self, x: str, shape: Shape) -> Made | None:
        axis = self.integer(0, len(shape) - 1)
        rest = (*shape[:axis], *shape[axis + 1 :])
        fitting = [
            (name, other)
            for name, other in self.pool
            if len(other) == len(shape) and (*other[:axis], *other[axis + 1 :]) == rest
        ]
        name, other = self.pick(fitting)
        total = shape[axis] + other[axis]
        result = (*shape[:axis], total, *shape[axis + 1 :])
        return self.writer.op("Concat", x, name, axis=axis + 1), result

    def batch_norm(self, x: str, shape: Shape) -> Made:
        return self.writer.batch_norm(x, shape[0]), shape

    def conv(self, x: str, shape: Shape) -> Made | None:
        if not 2 <= len(shape) <= 4:
            return None
        n, w = len(shape) - 1, self.writer
        groups = self.pick([g for g in (1, 2, shape[0]) if shape[0] % g == 0])
        n_out = groups * self.integer(1, 3)
        kernel = [self.integer(1, 3) for _ in range(n)]
        strides, dilations = ([self.integer(1, 2) for _ in range(n)] for _ in range(2))
        pads = [self.integer(0, 2) for _ in range(2 * n)]
        if self.integer(0, 1):
            sizes = [
                (size + pads[i] + pads[i + n] - (kernel[i] - 1) * dilations[i] - 1) // strides[i]
                + 1
                for i, size in enumerate(shape[1:])
            ]
            if min(sizes) < 1:
                return None
            weight = w.draw(n_out, shape[0] // groups, *kernel, scale=0.5)
            y = w.op("Conv", x, weight, *self.bias(n_out), strides=strides, dilations=dilations,
                     pads=pads, group=groups)  # fmt: skip
            return y, (n_out, *sizes)
        more = [self.integer(0, strides[i] - 1) for i in range(n)]
        sizes = [
            (size - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
            - pads[i] - pads[i + n] + more[i]
            for i, size in enumerate(shape[1:])
        ]  # fmt: skip
        reaches = [(kernel[i] - 1) * dilations[i] for i in range(n)]
        only_bias = any(
            max(pads[i] - reaches[i], 0)
            >= (size - 1) * strides[i] + 1 - max(pads[i + n] - more[i] - reaches[i], 0)
            for i, size in enumerate(shape[1:])
        )
        if min(sizes) < 1 or only_bias:  # what is refused
            return None
        weight = w.draw(shape[0], n_out // groups, *kernel, scale=0.5)
        y = w.op("ConvTranspose", x, weight, *self.bias(n_out), strides=strides, group=groups,
                 dilations=dilations, pads=pads, output_padding=more)  # fmt: skip
        return y, (n_out, *sizes)

    def bias(self, n: int) -> list[str]:
        return [self.writer.draw(n)] if self.integer(0, 1) else []

    def pooling(self, x: str, shape: Shape) -> Made | None:
        if not 2 <= len(shape) <= 4:
            return None
        n = len(shape) - 1
        if self.integer(0, 3) == 0:
            kind = self.pick(("GlobalAveragePool", "GlobalMaxPool"))
            return self.writer.op(kind, x), (shape[0], *(1,) * n)
        kernel, strides = [self.integer(1, 3) for _ in range(n)], [self.integer(1, 3)] * n
        pads = [self.integer(0, kernel[i % n] - 1) for i in range(2 * n)]
        sizes = [
            (size + pads[i] + pads[i + n] - kernel[i]) // strides[i] + 1
            for i, size in enumerate(shape[1:])
        ]
        if min(sizes) < 1:
            return None
        kind = self.pick(("AveragePool", "MaxPool"))
        more = {"count_include_pad": self.integer(0, 1)} if kind == "AveragePool" else {}
        y = self.writer.op(kind, x, kernel_shape=kernel, strides=strides, pads=pads, **more)
        return y, (shape[0], *sizes)

    def reduction(self, x: str, shape: Shape) -> Made:
        axes = sorted({self.integer(0, len(shape) - 1) for _ in range(2)})
        keeps = len(axes) == len(shape) or bool(self.integer(0, 1))
        result = tuple(
            1 if i in axes else size for i, size in enumerate(shape) if keeps or i not in axes
        )
        kind = self.pick(("ReduceMax", "ReduceMean"))
        places = [axis + 1 for axis in axes]
        return self.writer.axes(kind, x, places, keepdims=int(keeps)), result

    def product(self, x: str, shape: Shape) -> Made:
        w, n_out = self.writer, self.integer(1, 6)
        if len(shape) == 1 and self.integer(0, 1):
            return w.gemm(x, shape[0], n_out), (n_out,)
        y = w.op("MatMul", x, w.draw(shape[-1], n_out, scale=0.5))
        return (w.op("Add", y, w.draw(n_out)) if self.integer(0, 1) else y), (*shape[:-1], n_out)

    def reshaped(self, x: str, shape: Shape) -> Made:
        w, kind = self.writer, self.integer(0, 3)
        if kind == 0:
            return w.op("Flatten", x), (math.prod(shape),)
        if kind == 1:
            order = self.data.draw(st.permutations(range(len(shape))))
            result = tuple(shape[axis] for axis in order)
            return w.op("Transpose", x, perm=[0, *(axis + 1 for axis in order)]), result
        if kind == 2 and len(shape) < 4:
            axis = self.integer(0, len(shape))
            return w.axes("Unsqueeze", x, [axis + 1]), (*shape[:axis], 1, *shape[axis:])
        if 1 in shape and len(shape) > 1:
            axis = shape.index(1)
            return w.axes("Squeeze", x, [axis + 1]), (*shape[:axis], *shape[axis + 1 :])
        total = math.prod(shape)
        first = self.pick([size for size in range(1, total + 1) if total % size == 0])
        return w.op("Reshape", x, w.integers(-1, first, total // first)), (first, total // first)

    def selected(self, x: str, shape: Shape) -> Made:
        w, axis = self.writer, self.integer(0, len(shape) - 1)
        n = shape[axis]
        kind = self.pick(("Gather", "Pad", "Slice", "Split", "Tile"))
        if kind == "Gather":
            places = [self.integer(-n, n - 1) for _ in range(self.integer(1, 4))]
            size, y = len(places), w.op("Gather", x, w.integers(*places), axis=axis + 1)
        elif kind == "Pad":
            pads = [0] * (2 * len(shape) + 2)
            before, behind = self.integer(0, 2), self.integer(0, 2)
            pads[axis + 1], pads[axis + 2 + len(shape)] = before, behind
            size, y = n + before + behind, w.op("Pad", x, w.integers(*pads))
        elif kind == "Slice":
            start, step = self.integer(0, n - 1), self.pick((1, 2, -1))
            end = self.integer(start + 1, n + 2) if step > 0 else -100
            size = len(range(*slice(start, end, step).indices(n)))
            bounds = [w.integers(value) for value in (start, end, axis + 1, step)]
            y = w.op("Slice", x, *bounds)
        elif kind == "Split" and n > 1:
            size = self.integer(1, n - 1)
            if w.opset >= 13:
                parts = w.op("Split", x, w.integers(size, n - size), axis=axis + 1, n_outputs=2)
            else:
                parts = w.op("Split", x, axis=axis + 1, split=[size, n - size], n_outputs=2)
            self.add((parts[1], (*shape[:axis], n - size, *shape[axis + 1 :])))
            y = parts[0]
        else:
            times = [1] * (len(shape) + 1)
            times[axis + 1] = self.integer(1, 3)
            size, y = n * times[axis + 1], w.op("Tile", x, w.integers(*times))
        return y, (*shape[:axis], size, *shape[axis + 1 :])

    def resized(self, x: str, shape: Shape) -> Made | None:
        if len(shape) != 3:
            return None
        w, c = self.writer, shape[0]
        if self.integer(0, 1):
            factors = [self.pick((1, 2, 3)) for _ in range(2)]
            scales = w.constant([1.0, 1.0, *map(float, factors)])
            modes = ("asymmetric", "half_pixel", "pytorch_half_pixel")
            y = w.op("Resize", x, w.constant([]), scales, nearest_mode="floor",
                     coordinate_transformation_mode=self.pick(modes))  # fmt: skip
            return y, (c, shape[1] * factors[0], shape[2] * factors[1])
        if c % 4 == 0:
            y = w.op("DepthToSpace", x, blocksize=2, mode=self.pick(("DCR", "CRD")))
            return y, (c // 4, 2 * shape[1], 2 * shape[2])
        if shape[1] % 2 == shape[2] % 2 == 0:
            return w.op("SpaceToDepth", x, blocksize=2), (4 * c, shape[1] // 2, shape[2] // 2)
        return None

    def softmax(self, x: str, shape: Shape) -> Made:
        kind = self.pick(("Softmax", "LogSoftmax"))
        return self.writer.op(kind, x, axis=len(shape)), shape

    def add(self, made: Made | None) -> None:
        if made is not None and math.prod(made[1]) <= MAX_SIZE:
            self.pool.append(made)

    def build(self) -> list[str]:
        """Draw a network; return its outputs."""
        steps: list[Callable[[str, Shape], Made | None]] = [
            self.batch_norm, self.broadcast, self.concat, self.conv, self.conv, self.entrywise,
            self.entrywise, self.pooling, self.product, self.reduction, self.reshaped,
            self.resized, self.selected, self.softmax, self.two, self.with_constant,
        ]  # fmt: skip
        shape = self.pick(((6,), (3, 8), (4, 5, 6), (2, 6, 6), (2, 3, 4, 3)))
        self.pool.append((self.writer.input(*shape), shape))
        for _ in range(self.integer(1, 8)):
            # The newest value most of the time, so that the network is deep.
            place = -1 if self.integer(0, 2) else self.integer(0, len(self.pool) - 1)
            self.add(self.pick(steps)(*self.pool[place]))
        if len(self.pool) == 1:
            self.add(self.entrywise(*self.pool[0]))
        outputs = {self.pool[-1][0], self.pick(self.pool[1:])[0]}
        return sorted(outputs)


SEEN: set[str] = set()


@pytest.mark.slow
@settings(
    max_examples=N_NETWORKS,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_random_network_equals_onnxruntime(data: st.DataObject, tmp_path: Path) -> None:
    builder = Builder(data, data.draw(st.sampled_from((11, 13, 18, NEWEST))))
    outputs = builder.build()
    source = read_onnx(builder.writer.save(tmp_path, *outputs))
    SEEN.update(node.op_type for node in builder.writer.nodes)
    shapes = dict(builder.pool)
    x = np.random.default_rng(1).normal(0, 1, (3, *shapes["x"])).astype(np.float32)
    values = {node.name: value for node, value in run_nodes(source.graph, (x,))}
    largest = max(float(np.abs(value).max()) for value in values.values())
    for name, result, expected in zip(outputs, source.graph.outputs, source.run((x,)), strict=True):
        assert values[result].shape == expected.shape == (3, *shapes[name])
        # What cancels keeps the rounding errors of the terms.
        allowed = max(1e-4 * float(np.abs(expected).max()), 1e-6 * largest)
        assert float(np.abs(values[result] - expected).max()) <= allowed


@pytest.mark.slow
def test_most_operators_were_drawn() -> None:
    if not SEEN:
        pytest.skip("no network was drawn in this process")
    assert len(SEEN & set(OPERATORS)) > 40
