"""ENCODERS: what flows into a network at every step, where it is not the same constant current.

An encoder turns a batch of samples into a feed, and a feed gives the values of any range of steps,
so that memory does not grow with T. Whatever is random depends on the seed and on the content of a
sample alone: neither batches, threads, shards of a cluster nor the other samples change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError, SimulationError, find
from ..converter.ir import Array, Graph, Node, SpikingMaxPool, StepInput
from ..converter.ir.analog import ANALOG, of_mean
from ..converter.ir.interpret import check_inputs
from ..converter.ir.ops import Input, MaxPool

Feed = Callable[[int, int], tuple[Array, ...]]
"""(first step, number of steps) -> per input the values of these steps, [steps, N, ...]."""

Keys = tuple[npt.NDArray[np.uint64], ...]
MAX_SEED = 2**63 - 1
PHASES = 8
BURST = 5


@dataclass(frozen=True)
class Encoder:
    """A code of the input: over the T steps of a run, the mean of what flows is the value.

    Attributes:
        seed: Of random codes.
    """

    seed: int = 0
    name: ClassVar[str] = ""
    is_random: ClassVar[bool] = False
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Of a sample's values, in spikes per step."""

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed <= MAX_SEED:
            raise SimulationError(
                f"seed {self.seed!r}, expected an integer of 0 to {MAX_SEED}", hint="try --seed 0"
            )

    @property
    def spiking(self) -> bool:
        """Whether every value that flows is 0 or 1."""
        return False

    def sample_shape(self, shape: tuple[int, ...], n_steps: int) -> tuple[int, ...]:
        """Return the shape of one sample for an input of this shape."""
        return shape

    def constant(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """Return the samples as a network without time takes them, [N, ...] per input."""
        return inputs

    def shapes(self, graph: Graph, n_steps: int) -> tuple[tuple[int, ...], ...]:
        """Return the shape of one sample per input, of a run of T steps."""
        return tuple(self.sample_shape(graph.types[name].shape, n_steps) for name in graph.inputs)

    def open(self, graph: Graph, inputs: tuple[Array, ...], n_steps: int) -> Feed:
        """Make a batch ready.

        Args:
            graph: That will be fed.
            inputs: One array [N, ...] per input.
            n_steps: T: how long the run is, whatever is asked of the feed.

        Raises:
            GraphError: An array does not fit its input.
            DataError: Values that the code cannot express.
            SimulationError: A number of steps in which it cannot.
        """
        arrays = check_inputs(graph, inputs)
        low, high = self.limits
        for name, array in zip(graph.inputs, arrays, strict=True):
            if array.size and not (array.min() >= low and array.max() <= high):
                raise DataError(
                    f"code {self.name}: values of input {name} lie in "
                    f"{array.min():g}..{array.max():g}, expected {low:g}..{high:g}, at most one "
                    "spike per step",
                    hint="scale the data with --input-scale and --input-offset where the network "
                    "was trained so, or use --code constant",
                )
        keys = _keys(self.seed, arrays) if self.is_random else ()

        def feed(first: int, n: int) -> tuple[Array, ...]:
            steps = np.arange(first, first + n)
            return tuple(
                self.encode(array, steps, n_steps, keys[place] if keys else None)
                for place, array in enumerate(arrays)
            )

        return feed

    def encode(
        self,
        values: Array,
        steps: npt.NDArray[np.int64],
        n_steps: int,
        keys: npt.NDArray[np.uint64] | None,
    ) -> Array:
        """Return what flows at consecutive steps, [steps, N, ...].

        Args:
            values: One input of a batch, [N, ...].
            steps: Their numbers, of 0..T-1.
            n_steps: T.
            keys: [N, 2] of random codes.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Encoder):
    """The value itself, at every step ("direct coding")."""

    name: ClassVar[str] = "constant"
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    def encode(
        self,
        values: Array,
        steps: npt.NDArray[np.int64],
        n_steps: int,
        keys: npt.NDArray[np.uint64] | None,
    ) -> Array:
        return np.broadcast_to(values, (len(steps), *values.shape))


@dataclass(frozen=True)
class Poisson(Encoder):
    """A spike with probability x at every step, independently: Bernoulli trials.

    The count of T steps has mean T x and variance T x (1 - x), that of a Poisson process of rate
    x per step for small x.

    Source: Diehl et al. 2015 and others.
    """

    name: ClassVar[str] = "poisson"
    is_random: ClassVar[bool] = True

    @property
    def spiking(self) -> bool:
        return True

    def encode(
        self,
        values: Array,
        steps: npt.NDArray[np.int64],
        n_steps: int,
        keys: npt.NDArray[np.uint64] | None,
    ) -> Array:
        size = values[0].size if len(values) else 0
        padded = -(-size // 4) * 4  # a counter of Philox stands for four numbers
        limits = values.reshape(len(values), 1, size).astype(np.float64) * 2.0**53
        result = np.empty((len(steps), *values.shape), np.float32)
        for sample, key in enumerate([] if keys is None else keys):
            source = np.random.Philox(key=key, counter=int(steps[0]) * padded // 4)
            raw = source.random_raw(len(steps) * padded).reshape(len(steps), padded)
            fired = (raw[:, :size] >> np.uint64(11)) < limits[sample]
            result[:, sample] = fired.reshape(len(steps), *values.shape[1:])
        return result


@dataclass(frozen=True)
class Rate(Encoder):
    """Spikes as even as they can be: after t steps, floor(x t + 1/2) of them."""

    name: ClassVar[str] = "rate"

    @property
    def spiking(self) -> bool:
        return True

    def encode(
        self,
        values: Array,
        steps: npt.NDArray[np.int64],
        n_steps: int,
        keys: npt.NDArray[np.uint64] | None,
    ) -> Array:
        times = np.arange(steps[0], steps[-1] + 2).reshape(-1, *(1,) * values.ndim)
        counts = np.floor(values.astype(np.float64) * times + 0.5)
        return np.diff(counts, axis=0).astype(np.float32)


@dataclass(frozen=True)
class FirstSpike(Encoder):
    """One spike, the earlier the larger the value ("time to first spike").

    With n = floor(x T + 1/2) it comes at step T - n and carries the charge n, all steps that are
    left; without n there is none.

    Source: the linear kernel of TTFS networks, Rueckauer and Liu 2018.
    """

    name: ClassVar[str] = "ttfs"

    def encode(
        self,
        values: Array,
        steps: npt.NDArray[np.int64],
        n_steps: int,
        keys: npt.NDArray[np.uint64] | None,
    ) -> Array:
        left = np.floor(values.astype(np.float64) * n_steps + 0.5)
        times = steps.reshape(-1, *(1,) * values.ndim)
        return np.where((n_steps - left == times) & (left > 0), left, 0).astype(np.float32)


@dataclass(frozen=True)
class Phase(Encoder):
    """The binary digits of the value, one per step, the first one first; a period is 8 steps.

    A digit d_k flows as K 2^-(k + 1) d_k at step k of a period of K steps, so that a period's mean
    is x rounded down to K digits. Runs shorter than 8 steps are one period.

    Source: Kim et al. 2018 (weighted spikes).
    """

    name: ClassVar[str] = "phase"

    def encode(
        self,
        values: Array,
        steps: npt.NDArray[np.int64],
        n_steps: int,
        keys: npt.NDArray[np.uint64] | None,
    ) -> Array:
        period = min(PHASES, n_steps)
        if n_steps % period:
            raise SimulationError(
                f"code phase: n_steps {n_steps}, expected a multiple of its period of {period}",
                hint=f"try --n-steps {n_steps // period * period}",
            )
        top = 2**period
        whole = np.minimum(np.floor(values.astype(np.float64) * top), top - 1).astype(np.int64)
        shift = (period - 1 - steps % period).reshape(-1, *(1,) * values.ndim)
        digits = (whole >> shift) & 1
        weights = period * 2.0 ** (shift - period)
        return np.asarray(digits * weights, np.float32)


@dataclass(frozen=True)
class BurstCode(Encoder):
    """A burst from the first step on: more spikes, and closer together, the larger the value.

    n = floor(5 x + 1/2) spikes with floor((1 - x) L) + 1 steps from one to the next, L = T / 5 - 1;
    each carries the charge T / 5. Runs shorter than 5 steps have bursts of up to T spikes.

    Source: Guo et al. 2021, whose numbers of spikes are rounded up.
    """

    name: ClassVar[str] = "burst"

    def encode(
        self,
        values: Array,
        steps: npt.NDArray[np.int64],
        n_steps: int,
        keys: npt.NDArray[np.uint64] | None,
    ) -> Array:
        most = min(BURST, n_steps)
        exact = values.astype(np.float64)
        n_spikes = np.floor(exact * most + 0.5)
        apart = np.floor((1 - exact) * (n_steps // most - 1)) + 1
        times = steps.reshape(-1, *(1,) * values.ndim)
        fires = (times % apart == 0) & (times // apart < n_spikes)
        return np.where(fires, n_steps / most, 0).astype(np.float32)


@dataclass(frozen=True)
class Recorded(Encoder):
    """Samples that have their own time axis, [N, T, ...]: step t gets what was recorded there.

    Attributes:
        binary: All recorded values are 0 or 1, which is checked and simulated faster.
    """

    binary: bool = False
    name: ClassVar[str] = "recorded"
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    @property
    def spiking(self) -> bool:
        return self.binary

    def sample_shape(self, shape: tuple[int, ...], n_steps: int) -> tuple[int, ...]:
        return (n_steps, *shape)

    def constant(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(np.mean(array, axis=1, dtype=np.float32) for array in inputs)

    def open(self, graph: Graph, inputs: tuple[Array, ...], n_steps: int) -> Feed:
        for name, array in zip(graph.inputs, inputs, strict=True):
            expected = self.sample_shape(graph.types[name].shape, n_steps)
            if array.shape[1:] != expected:
                raise DataError(
                    f"code recorded: samples of input {name} have shape {array.shape[1:]}, "
                    f"expected {expected}: steps first",
                    hint="run as many steps as were recorded",
                )
            if self.binary and not np.isin(array, (0, 1)).all():
                raise DataError(
                    f"code recorded: values of input {name} are not all 0 or 1, expected spikes",
                    hint="clip the counts of a step, or leave binary out",
                )

        def feed(first: int, n: int) -> tuple[Array, ...]:
            parts = (np.asarray(array[:, first : first + n], np.float32) for array in inputs)
            return tuple(np.moveaxis(part, 0, 1) for part in parts)

        return feed


ENCODERS: dict[str, type[Encoder]] = {
    code.name: code for code in (Constant, Poisson, Rate, FirstSpike, Phase, BurstCode, Recorded)
}
DEFAULT_CODE = "constant"


def is_over_time(code: str) -> bool:
    """Return whether samples of a code have a time axis of their own."""
    return code == Recorded.name


def make_encoder(code: str, seed: int = 0) -> Encoder | None:
    """Return the encoder of a name; None for constant currents, which engines multiply only once.

    Raises:
        SimulationError: No such code, or the seed is no integer >= 0.
    """
    encoder = find(ENCODERS, code, "code", SimulationError)(seed)
    return None if code == DEFAULT_CODE else encoder


def feed_every_step(graph: Graph, encoder: Encoder | None) -> Graph:
    """Return the graph as it is when its inputs change at every step.

    What is computed on the input alone and is no sum becomes what accumulates: max-pooling a
    SpikingMaxPool, a function of ANALOG that of the mean so far.

    Raises:
        SimulationError: The graph's recipe is made for constant currents.
    """
    if encoder is None:
        return graph
    if any(key in graph.metadata for key in NEED_CONSTANT):
        raise SimulationError(
            f"code {encoder.name}: the graph was converted with recipe "
            f"{graph.metadata.get('recipe')}, which needs constant currents, expected one "
            "without a schedule, integers or differences",
            hint=f"use --code {DEFAULT_CODE}, or convert with a causal recipe such as rate",
        )
    return graph.replace(nodes=tuple(_feed(graph, node, encoder) for node in graph.nodes))


NEED_CONSTANT = ("schedule", "integers", "differential")
"""Keys of the metadata of graphs whose input's current has to be the same at every step."""


def _feed(graph: Graph, node: Node, encoder: Encoder) -> Node:
    op = node.op
    if node.name in graph.varying:
        return node
    if isinstance(op, Input):
        return Node(node.name, StepInput(op.shape, encoder.spiking), (), node.source, node.unit)
    if isinstance(op, MaxPool):
        op = SpikingMaxPool(op.kernel, op.strides, op.dilation, op.padding)
    elif type(op) in ANALOG:
        op = of_mean(op)
    return Node(node.name, op, node.inputs, node.source, node.unit)


def _keys(seed: int, arrays: tuple[Array, ...]) -> Keys:
    """Return per input a key [N, 2] for every sample, made of the seed and what the sample is."""
    per_input = [np.empty((len(arrays[0]), 2), np.uint64) for _ in arrays]
    for sample in range(len(arrays[0])):
        content = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=16)
        for array in arrays:
            content.update(np.ascontiguousarray(array[sample]).data)
        for place, keys in enumerate(per_input):
            own = hashlib.blake2b(content.digest() + place.to_bytes(4, "little"), digest_size=16)
            keys[sample] = np.frombuffer(own.digest(), "<u8")
    return tuple(per_input)
