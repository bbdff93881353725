"""Units through random networks of every operation: values times units stay what they were."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.converter.frontends import lowering
from spikeport.converter.ir import OPS, Activation, Graph, Node, Op, StatefulOp, run_nodes
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
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
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)
from spikeport.converter.passes.rescaling import rescale


class Grower:
    """A random network that grows node by node; every value has the shape [C, H, W]."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes = [Node("x", Input((3, 6, 6)))]
        self.shapes = {"x": (3, 6, 6)}

    def emit(self, inner: str, op: Op, operands: tuple[str, ...]) -> str:
        name = f"{inner}{len(self.nodes)}"
        self.nodes.append(Node(name, op, operands))
        graph = Graph(tuple(self.nodes), ("x",), (name,))
        self.shapes[name] = graph.types[name].shape
        return name

    def draw(self, *shape: int) -> np.ndarray:
        return self.random.normal(0, 0.5, shape).astype(np.float32)

    def choose(self, shape: tuple[int, ...] | None = None) -> str:
        """Return a value, late ones more often; of a shape if it is given."""
        names = [
            name
            for name, found in self.shapes.items()
            if len(found) == 3 and (shape is None or found == shape)
        ]
        return names[-1 - min(int(self.random.exponential(2)), len(names) - 1)]

    def conv(self, x: str) -> str:
        n_in, n_out = self.shapes[x][0], int(self.random.integers(1, 5))
        groups = n_in if self.random.random() < 0.2 else 1
        weight = self.draw(n_in if groups > 1 else n_out, n_in // groups, 3, 3)
        bias = self.draw(len(weight))
        return self.emit("", Conv(weight, bias, (1, 1), (1, 1), ((1, 1),) * 2, groups), (x,))

    def conv_transpose(self, x: str) -> str:
        n_in, *sizes = self.shapes[x]
        weight, bias = self.draw(n_in, 2, 3, 3), self.draw(2)
        crop = ((1, 1), (0, 1))
        return lowering.conv_transpose(
            self.emit, x, tuple(sizes), weight=weight, bias=bias, strides=(2, 1), dilation=(1, 1),
            crop=crop,
        )  # fmt: skip

    def select(self, x: str) -> str:
        """Upsample, crop or gather along one axis."""
        shape = self.shapes[x]
        axis = int(self.random.integers(3))
        places = [
            tuple(range(shape[axis] - 1)) or (0,),
            tuple(np.repeat(np.arange(shape[axis]), 2).tolist()),
            tuple(self.random.integers(0, shape[axis], 4).tolist()),
        ][self.random.integers(3)]
        return self.emit("", Select((None,) * axis + (places,) + (None,) * (2 - axis)), (x,))

    def scale(self, x: str) -> str:
        rank_shape = [(1, 1, 1), (self.shapes[x][0], 1, 1), self.shapes[x]][self.random.integers(3)]
        return self.emit("", Scale(self.draw(*rank_shape), self.draw(*rank_shape)), (x,))

    def leaky(self, x: str) -> str:
        slope = np.abs(self.draw(self.shapes[x][0], 1, 1))
        return lowering.leaky_relu(self.emit, x, slope)

    def several(self, x: str) -> str:
        shape = self.shapes[x]
        others = (x, self.choose(shape))
        match self.random.integers(5):
            case 0:
                return lowering.maximum(self.emit, others, shape)
            case 1:
                return lowering.minimum(self.emit, others, shape)
            case 2:
                return lowering.subtract(self.emit, x, self.scale(others[1]), rank=3)
            case 3:
                return self.emit("", Concatenate(int(self.random.integers(3))), others)
        return self.emit("", Add(), others)

    def pool(self, x: str) -> str:
        one = (1, 1)
        ops = [
            MaxPool((2, 2), one, one, ((1, 0), (0, 1))),
            AveragePool((2, 2), one, ((0, 1), (1, 0)), bool(self.random.integers(2))),
        ]
        return self.emit("", ops[self.random.integers(2)], (x,))

    def rearrange(self, x: str) -> str:
        ops = [
            Transpose((1, 2, 0)),
            Transpose((0, 2, 1)),
            Identity(),
            Pad(((0, 0), (1, 0), (0, 1))),
            Pad(((1, 0), (0, 0), (0, 0))),
        ]
        return self.emit("", ops[self.random.integers(len(ops))], (x,))

    def spread(self, x: str) -> str:
        return self.emit("", InsertZeros((2, 1)), (x,))

    def relu(self, x: str) -> str:
        cap = self.random.random() < 0.2
        return self.emit("", Relu(np.full((1, 1, 1), 0.8) if cap else None), (x,))

    def analog(self, x: str) -> str:
        axis = int(self.random.integers(3))
        ops = [Activation("gelu"), Sigmoid(), Softmax(axis), LogSoftmax(axis)]
        ops.append(LocalResponseNorm(2, 0.5, 0.75, 1.0))
        return self.emit("", ops[self.random.integers(len(ops))], (x,))

    def grow(self) -> None:
        steps = [
            self.conv, self.conv_transpose, self.select, self.scale, self.leaky, self.several,
            self.pool, self.rearrange, self.spread, self.relu, self.relu, self.analog,
        ]  # fmt: skip
        x = self.choose()
        if np.prod(self.shapes[x]) < 600:
            steps[self.random.integers(len(steps))](x)

    def finish(self) -> Graph:
        x = self.choose()
        outputs = [self.emit("", Reshape((int(np.prod(self.shapes[x])), 1, 1)), (x,))]
        flat = self.emit("", Flatten(), (self.choose(),))
        (size,) = self.shapes[flat]
        outputs.append(self.emit("", Dense(self.draw(3, size), self.draw(3)), (flat,)))
        outputs.append(self.emit("", GlobalAveragePool(), (self.choose(),)))
        return Graph(tuple(self.nodes), ("x",), tuple(outputs))


def grow(seed: int) -> Graph:
    grower = Grower(seed)
    for _ in range(12):
        grower.grow()
    return grower.finish()


def draw_units(graph: Graph, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Units of ReLUs: per channel, or one for the layer; some keep their own."""
    units = {}
    for node in graph.nodes:
        if isinstance(node.op, Relu) and random.random() < 0.9:
            shape = graph.types[node.name].shape
            n_channels = shape[0] if random.random() < 0.6 else 1
            units[node.name] = random.uniform(0.2, 5, (n_channels, *(1,) * (len(shape) - 1)))
    return {name: unit.astype(np.float32) for name, unit in units.items()}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_networks_keep_every_value(seed: int) -> None:
    graph = grow(seed)
    random = np.random.default_rng(seed)
    inputs = (random.uniform(0, 1, (3, 3, 6, 6)).astype(np.float32),)
    units = draw_units(graph, random)
    rescaled = rescale(graph, units)
    values, largest = {}, {}
    for node, value in run_nodes(graph, inputs):
        values[node.name] = value
        largest[node.name] = max([np.abs(value).max(), *map(largest.get, node.inputs)])
    for node, value in run_nodes(rescaled, inputs):
        if node.name in values:
            expected, found = values[node.name], value * (1 if node.unit is None else node.unit)
            # Terms may cancel; what is left has the rounding errors of what they were.
            allowed = max(1e-4 * np.abs(expected).max(), 1e-6 * largest[node.name])
            assert np.abs(found - expected).max() <= allowed, str(node)
    for name, unit in units.items():
        found = rescaled.by_name[name].unit
        shape = graph.types[name].shape
        np.testing.assert_array_equal(
            np.broadcast_to(1 if found is None else found, shape), np.broadcast_to(unit, shape)
        )
    for name in graph.outputs:
        output = rescaled.outputs[graph.outputs.index(name)]
        assert rescaled.by_name[output].unit is None


def test_random_networks_have_every_operation() -> None:
    counts = Counter(type(node.op).__name__ for seed in range(60) for node in grow(seed).nodes)
    plain = {name for name, op in OPS.items() if not issubclass(op, StatefulOp)}
    # batch norm is folded before, quantised ReLUs are trained, the others come to be behind neurons
    assert plain - {"BatchNorm", "Quantize", "QuantizedRelu", "SumPool"} <= counts.keys()
