"""Random networks for property tests: convolutions, shortcuts, concatenations, poolings, dense."""

import numpy as np

from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Input,
    MaxPool,
    Op,
    Relu,
)


class RandomNetwork:
    """A network drawn from a seed.

    Args:
        seed: Of everything.
        dyadic: Weights are multiples of 1/16 and windows have powers of two: exact in floats.
        blocks: Names of the methods that blocks are drawn from.
    """

    BLOCKS = ("plain", "residual", "inception", "pool", "pool_first")

    def __init__(
        self, seed: int, *, dyadic: bool = False, blocks: tuple[str, ...] = BLOCKS
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.dyadic = dyadic
        shape = (self.pick(1, 2, 3), self.pick(4, 5, 6, 8), self.pick(4, 6, 7))
        self.nodes = [Node("x", Input(shape))]
        self.shapes = {"x": shape}
        maps = [self.relu(self.conv("x", self.pick(2, 3, 4)))]
        for _ in range(self.pick(2, 3, 4, 5)):
            maps.append(getattr(self, self.pick(*blocks))(maps))
        last = maps[-1]
        channels = self.shapes[last][0]
        spatial = self.shapes[last][1:]
        if self.pick(True, False) and (not dyadic or _is_power(spatial[0] * spatial[1])):
            last = self.add(GlobalAveragePool(), (channels,), last)
        else:
            last = self.add(Flatten(), (int(np.prod(self.shapes[last])),), last)
        for _ in range(self.pick(0, 1, 2)):
            last = self.relu(self.dense(last, self.pick(3, 5, 8)))
        output = self.dense(last, self.pick(2, 4))
        self.graph = Graph(tuple(self.nodes), ("x",), (output,))

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def inputs(self, n_samples: int) -> tuple[np.ndarray]:
        levels = self.random.integers(0, 17, (n_samples, *self.shapes["x"]))
        return ((levels / 16).astype(np.float32),)

    def draw(self, *shape: int, scale: float) -> np.ndarray:
        values = self.random.normal(0, scale, shape)
        return np.round(values * 16) / 16 if self.dyadic else values

    def add(self, op: Op, shape: tuple[int, ...], *inputs: str) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs))
        self.shapes[name] = shape
        return name

    def relu(self, x: str) -> str:
        return self.add(Relu(), self.shapes[x], x)

    def conv(self, x: str, n_out: int, *, same: bool = False, size: int | None = None) -> str:
        n_in, *spatial = self.shapes[x]
        kernel = tuple(size or self.pick(1, 2, 3) for _ in spatial)
        stride = 1 if same else self.pick(1, 1, 2)
        padding = tuple(((k - 1) // 2, k // 2) for k in kernel)
        groups = n_in if n_in == n_out and self.pick(True, False, False) else 1
        shape = (n_out, n_in // groups, *kernel)
        weight = self.draw(*shape, scale=1.2 / np.sqrt(np.prod(shape[1:])))
        weight[0] = np.abs(weight[0])  # one channel at least is active
        bias = self.draw(n_out, scale=0.3) + 0.25
        bias[0] = 0.5
        op = Conv(weight, bias, (stride,) * 2, (1, 1), padding, groups)
        sizes = tuple((s - 1) // stride + 1 for s in spatial)
        return self.add(op, (n_out, *sizes), x)

    def dense(self, x: str, n_out: int) -> str:
        (n_in,) = self.shapes[x]
        weight = self.draw(n_out, n_in, scale=1.2 / np.sqrt(n_in))
        weight[0] = np.abs(weight[0])
        bias = self.draw(n_out, scale=0.3) + 0.25
        bias[0] = 0.5
        return self.add(Dense(weight, bias), (n_out,), x)

    def plain(self, maps: list[str]) -> str:
        return self.relu(self.conv(self.pick(*maps), self.pick(2, 3, 4)))

    def residual(self, maps: list[str]) -> str:
        """With the identity, or with a convolution of any map of the same size."""
        x = self.pick(*maps)
        channels = self.shapes[x][0]
        branch = self.conv(self.relu(self.conv(x, channels, same=True)), channels, same=True)
        others = [y for y in maps if self.shapes[y][1:] == self.shapes[x][1:]]
        shortcut = self.pick(x, self.conv(self.pick(*others), channels, same=True, size=1))
        operands = self.pick((branch, shortcut), (shortcut, branch))
        return self.relu(self.add(Add(), self.shapes[x], *operands))

    def pre_activation(self, maps: list[str]) -> str:
        """Currents that go around the neurons, into sums with layers behind them."""
        channels = self.pick(2, 3)
        x = self.conv(self.pick("x", *maps), channels, same=True)
        for _ in range(self.pick(1, 2, 3)):
            branch = self.conv(self.relu(x), channels, same=True)
            x = self.add(Add(), self.shapes[x], *self.pick((branch, x), (x, branch)))
        return self.relu(x)

    def inception(self, maps: list[str]) -> str:
        """Maps of different depths side by side."""
        x = self.pick(*maps)
        others = [y for y in maps if self.shapes[y][1:] == self.shapes[x][1:]]
        y = self.pick(self.relu(self.conv(x, 2, same=True)), self.pick(*others))
        shape = (self.shapes[x][0] + self.shapes[y][0], *self.shapes[x][1:])
        return self.relu(self.conv(self.add(Concatenate(0), shape, x, y), 3, same=True))

    def pool(self, maps: list[str]) -> str:
        """Behind neurons; averages of three make no binary fractions, those at borders differ."""
        x = self.pick(*maps)
        if self.dyadic or self.pick(True, False):
            return self.window(x, 2, 0, MaxPool if self.pick(True, False) else AveragePool)
        return self.window(x, 3, 1, MaxPool if self.pick(True, False) else AveragePool)

    def pool_first(self, maps: list[str]) -> str:
        """Max-pooling between a layer and its neurons."""
        return self.relu(self.window(self.conv(self.pick(*maps), 3), 2, 0, MaxPool))

    def window(self, x: str, size: int, padding: int, kind: type) -> str:
        channels, *spatial = self.shapes[x]
        if min(spatial) < size:
            return x
        pairs = ((padding, padding),) * 2
        geometry = ((size, size), (2, 2), (1, 1), pairs)
        op = MaxPool(*geometry) if kind is MaxPool else AveragePool(geometry[0], (2, 2), pairs)
        sizes = tuple((s + 2 * padding - size) // 2 + 1 for s in spatial)
        return self.add(op, (channels, *sizes), x)


def _is_power(n: int) -> bool:
    return n & (n - 1) == 0
