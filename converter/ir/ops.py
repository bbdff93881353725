"""The operations of the IR, and OPS, the one table of them.

An op holds parameters only. `infer` is its shape rule, `apply` its meaning: numpy float32, one
batch of samples [N, ...], channels first. Each sample is computed by itself, in one order of
additions, so that a result never depends on the batch it was computed with.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import GraphError
from . import windows
from .types import MAX_AXES, Array, TensorType, freeze

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Op:
    """One operation. Fields annotated `Array` are frozen on construction (float32, read-only)."""

    n_inputs: ClassVar[int | None] = 1
    """Number of operands; None for one or more."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, freeze(value))

    def infer(self, *types: TensorType) -> TensorType:
        """Return the type of the result.

        Raises:
            GraphError: The operands do not fit the op or one another.
        """
        raise NotImplementedError

    def apply(self, *arrays: Array) -> Array:
        """Return the result for a batch; all operands are [N, ...]."""
        raise NotImplementedError

    def fan_out(self, type_: TensorType) -> Array | None:
        """Return how many connections leave each entry of an operand; None: the op has no synapses.

        Exact at borders and strides: the sum over all entries is the op's number of
        multiply-accumulates, products with padded zeros not counted.
        """
        return None


@dataclass(frozen=True, eq=False)
class Input(Op):
    """What the network is fed, [N, *shape], in the layout of the source model."""

    shape: tuple[int, ...]
    n_inputs: ClassVar[int | None] = 0

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(self.shape)


@dataclass(frozen=True, eq=False)
class Identity(Op):
    """y = x: what dropout and other layers are at inference."""

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def apply(self, *arrays: Array) -> Array:
        return arrays[0]


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y = weight x + bias; weight [C_out, C_in], bias [C_out]."""

    weight: Array
    bias: Array

    def infer(self, *types: TensorType) -> TensorType:
        _expect(self.weight.ndim == 2, f"weight has shape {self.weight.shape}, expected [out, in]")
        n_out, n_in = self.weight.shape
        _expect(
            self.bias.shape == (n_out,), f"bias has shape {self.bias.shape}, expected ({n_out},)"
        )
        _expect(
            types[0].shape == (n_in,), f"operand has shape {types[0].shape}, expected ({n_in},)"
        )
        return TensorType((n_out,))

    def apply(self, *arrays: Array) -> Array:
        product = np.matmul(self.weight, arrays[0][:, :, None])[:, :, 0]
        return np.asarray(product + self.bias, np.float32)

    def fan_out(self, type_: TensorType) -> Array:
        return np.full(type_.shape, self.weight.shape[0], np.float32)


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """Cross-correlation over 1 to 3 spatial axes.

    Attributes:
        weight: [C_out, C_in / groups, K...].
        bias: [C_out].
        strides: One per spatial axis.
        dilation: One per spatial axis.
        padding: Zeros before and after, a pair per spatial axis.
        groups: C_in for depthwise.
    """

    weight: Array
    bias: Array
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Pairs
    groups: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        n_axes = self.weight.ndim - 2
        _expect(1 <= n_axes <= 3, f"weight has shape {self.weight.shape}, expected [out, in, K...]")
        n_out, n_in = self.weight.shape[0], self.weight.shape[1] * self.groups
        _expect(
            self.bias.shape == (n_out,), f"bias has shape {self.bias.shape}, expected ({n_out},)"
        )
        _expect(
            self.groups >= 1 and n_out % self.groups == 0,
            f"groups = {self.groups} does not divide the {n_out} output channels",
        )
        shape = types[0].shape
        _expect(
            len(shape) == n_axes + 1 and shape[0] == n_in,
            f"operand has shape {shape}, expected {n_in} channels and {n_axes} spatial axes",
        )
        window = windows.Window(self.weight.shape[2:], self.strides, self.dilation, self.padding)
        return TensorType((n_out, *window.output_sizes(shape[1:])))

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        window = windows.Window(self.weight.shape[2:], self.strides, self.dilation, self.padding)
        sizes = window.output_sizes(x.shape[2:])
        patches = window.patches(x, fill=0.0)  # [N, C_in, K..., out...]
        n_products = self.weight[0].size
        columns = patches.reshape(len(x), self.groups, n_products, math.prod(sizes))
        weight = self.weight.reshape(self.groups, -1, n_products)
        result = np.matmul(weight, columns).reshape(len(x), len(self.weight), *sizes)
        return np.asarray(result + _per_channel(self.bias, len(sizes)), np.float32)

    def fan_out(self, type_: TensorType) -> Array:
        window = windows.Window(self.weight.shape[2:], self.strides, self.dilation, self.padding)
        coverage = window.coverage(type_.shape[1:]) * (len(self.weight) // self.groups)
        return np.broadcast_to(coverage, type_.shape).astype(np.float32)


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """y = scale (x - mean) / sqrt(variance + epsilon) + shift, all per channel [C]."""

    mean: Array
    variance: Array
    scale: Array
    shift: Array
    epsilon: float

    def infer(self, *types: TensorType) -> TensorType:
        _expect(bool(types[0].shape), "operand is a scalar, expected [C, ...]")
        n_channels = types[0].shape[0]
        for name in ("mean", "variance", "scale", "shift"):
            shape = getattr(self, name).shape
            _expect(shape == (n_channels,), f"{name} has shape {shape}, expected ({n_channels},)")
        _expect(
            bool((self.variance.astype(np.float64) + self.epsilon > 0).all()),
            "variance + epsilon is not positive",
        )
        with np.errstate(over="ignore"):
            self.as_scale(len(types[0].shape))  # refuses a quotient that overflows float32
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        return self.as_scale(arrays[0].ndim - 1).apply(arrays[0])

    def as_scale(self, rank: int) -> Scale:
        """Return the same function as a Scale, for samples of `rank` axes."""
        # float32 after every step, in the order in which exporters fold it: most weights of a
        # Keras file and of its exported ONNX file then agree bit for bit.
        variance = (self.variance + np.float32(self.epsilon)).astype(np.float64)
        scale = (1 / np.sqrt(variance)).astype(np.float32) * self.scale
        shift = self.shift - self.mean * scale
        return Scale(_per_channel(scale, rank - 1), _per_channel(shift, rank - 1))


@dataclass(frozen=True, eq=False)
class Scale(Op):
    """y = scale x + shift, entry by entry.

    Attributes:
        scale: Has the rank of a sample and broadcasts to its shape: [C, 1, 1] is per channel.
        shift: Likewise.
    """

    scale: Array
    shift: Array

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        for name in ("scale", "shift"):
            sizes = getattr(self, name).shape
            fits = len(sizes) == len(shape) and all(
                a in {1, b} for a, b in zip(sizes, shape, strict=True)
            )
            _expect(fits, f"{name} has shape {sizes}, expected one that broadcasts to {shape}")
        return TensorType(shape)

    def apply(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] * self.scale + self.shift, np.float32)

    def fan_out(self, type_: TensorType) -> Array | None:
        is_bias = bool((self.scale == 1).all())
        return None if is_bias else np.ones(type_.shape, np.float32)


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """y = min(max(x, 0), max_value).

    Attributes:
        max_value: None for no upper bound; else has the rank of a sample and broadcasts to it.
    """

    max_value: Array | None = None

    def infer(self, *types: TensorType) -> TensorType:
        if self.max_value is not None:
            Scale(self.max_value, self.max_value).infer(*types)
            _expect(bool((self.max_value > 0).all()), "max_value is not positive")
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        positive = np.maximum(arrays[0], np.float32(0))
        return positive if self.max_value is None else np.minimum(positive, self.max_value)


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """Maximum over windows; padding never wins.

    Attributes:
        kernel: One size per spatial axis.
        strides: One per spatial axis.
        dilation: One per spatial axis.
        padding: A pair per spatial axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Pairs

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(_pooled(self.window, types[0].shape))

    def apply(self, *arrays: Array) -> Array:
        patches = self.window.patches(arrays[0], fill=-np.inf)
        n_axes = len(self.kernel)
        return np.ascontiguousarray(patches.max(axis=tuple(range(2, 2 + n_axes))))

    @property
    def window(self) -> windows.Window:
        """Geometry of the windows."""
        return windows.Window(self.kernel, self.strides, self.dilation, self.padding)


@dataclass(frozen=True, eq=False)
class AveragePool(Op):
    """Mean over windows.

    Attributes:
        kernel: One size per spatial axis.
        strides: One per spatial axis.
        padding: A pair per spatial axis.
        count_padding: Divide by the kernel's size everywhere; else by the entries that are not
            padding.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pairs
    count_padding: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(_pooled(self.window, types[0].shape))

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        n_axes = len(self.kernel)
        axes = tuple(range(2, 2 + n_axes))
        total = self.window.patches(x, fill=0.0).sum(axis=axes)
        if self.count_padding or not any(map(any, self.padding)):
            return np.asarray(total / np.float32(math.prod(self.kernel)), np.float32)
        ones = np.ones((1, 1, *x.shape[2:]), np.float32)
        return np.asarray(total / self.window.patches(ones, fill=0.0).sum(axis=axes), np.float32)

    @property
    def window(self) -> windows.Window:
        """Geometry of the windows."""
        return windows.Window(self.kernel, self.strides, (1,) * len(self.kernel), self.padding)


@dataclass(frozen=True, eq=False)
class GlobalAveragePool(Op):
    """Mean over all spatial axes: [C, ...] -> [C]."""

    def infer(self, *types: TensorType) -> TensorType:
        _expect(len(types[0].shape) >= 2, f"operand has shape {types[0].shape}, expected [C, ...]")
        return TensorType(types[0].shape[:1])

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        pixels = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        return np.asarray(pixels.mean(axis=2, dtype=np.float32), np.float32)


@dataclass(frozen=True, eq=False)
class Flatten(Op):
    """[A, B, ...] -> [A B ...], last axis fastest."""

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType((types[0].size,), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        return arrays[0].reshape(len(arrays[0]), math.prod(arrays[0].shape[1:]))


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """Same entries in the same order, another shape."""

    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        _expect(
            len(self.shape) <= MAX_AXES and types[0].size == math.prod(self.shape),
            f"operand {types[0]} has {types[0].size} entries, expected {math.prod(self.shape)} "
            f"for shape {self.shape}",
        )
        return TensorType(self.shape, types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        return arrays[0].reshape(len(arrays[0]), *self.shape)


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """Axis i of the result is axis permutation[i] of the operand, the batch axis not counted."""

    permutation: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        _expect(
            sorted(self.permutation) == list(range(len(shape))),
            f"permutation {self.permutation} does not fit an operand of {len(shape)} axes",
        )
        return TensorType(tuple(shape[axis] for axis in self.permutation), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        axes = (0, *(axis + 1 for axis in self.permutation))
        return np.ascontiguousarray(arrays[0].transpose(axes))


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """Zeros before and after, a pair per axis of a sample."""

    padding: Pairs

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        _expect(
            len(self.padding) == len(shape),
            f"padding {self.padding} has {len(self.padding)} pairs, expected {len(shape)}",
        )
        _expect(all(size >= 0 for pair in self.padding for size in pair), "padding is negative")
        padded = tuple(a + sum(pair) for a, pair in zip(shape, self.padding, strict=True))
        return TensorType(padded, types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        return np.pad(arrays[0], ((0, 0), *self.padding))


@dataclass(frozen=True, eq=False)
class Select(Op):
    """Entries of the operand, by place: crop, slice, gather, and nearest upsampling by repeating.

    Attributes:
        indices: Per axis of a sample, places of the operand from 0 on, in the order of the result;
            a place may come more than once. None keeps an axis as it is.
    """

    indices: tuple[tuple[int, ...] | None, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        _expect(
            len(self.indices) == len(shape),
            f"indices are given for {len(self.indices)} axes, expected {len(shape)}",
        )
        sizes = []
        for axis, (places, size) in enumerate(zip(self.indices, shape, strict=True)):
            if places is None:
                sizes.append(size)
                continue
            _expect(bool(places), f"indices of axis {axis} are empty, expected at least one")
            _expect(
                min(places) >= 0 and max(places) < size,
                f"indices of axis {axis} lie in {min(places)}..{max(places)}, "
                f"expected 0..{size - 1}",
            )
            sizes.append(len(places))
        return TensorType(tuple(sizes), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        result = arrays[0]
        for axis, places in enumerate(self.indices, start=1):
            if places is not None:
                result = result.take(np.asarray(places), axis=axis)
        return np.ascontiguousarray(result)


@dataclass(frozen=True, eq=False)
class InsertZeros(Op):
    """strides - 1 zeros between neighbors along every spatial axis: [C, n] -> [C, (n - 1) s + 1].

    With a convolution behind it, this is a transposed convolution.

    Attributes:
        strides: One per spatial axis.
    """

    strides: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        _expect(
            len(shape) == len(self.strides) + 1,
            f"operand has shape {shape}, expected channels and {len(self.strides)} spatial axes",
        )
        _expect(
            all(1 <= step <= windows.MAX_STEP for step in self.strides),
            f"strides {self.strides}: expected steps from 1 to {windows.MAX_STEP}",
        )
        sizes = ((n - 1) * step + 1 for n, step in zip(shape[1:], self.strides, strict=True))
        return TensorType((shape[0], *sizes), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        sizes = ((n - 1) * step + 1 for n, step in zip(x.shape[2:], self.strides, strict=True))
        result = np.zeros((*x.shape[:2], *sizes), np.float32)
        result[(slice(None), slice(None), *(slice(None, None, step) for step in self.strides))] = x
        return result


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Sum of operands of one shape, left to right."""

    n_inputs: ClassVar[int | None] = None

    def infer(self, *types: TensorType) -> TensorType:
        for type_ in types:
            _expect(
                type_.shape == types[0].shape,
                f"operands have shapes {types[0].shape} and {type_.shape}, expected one shape",
            )
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
        return total

    def fan_out(self, type_: TensorType) -> Array | None:
        # A spike that reaches an Add without passing a weight is a connection of weight 1.
        return np.ones(type_.shape, np.float32) if type_.spiking else None


@dataclass(frozen=True, eq=False)
class Concatenate(Op):
    """Operands one after the other along `axis` of a sample."""

    axis: int
    n_inputs: ClassVar[int | None] = None

    def infer(self, *types: TensorType) -> TensorType:
        first, axis = types[0].shape, self.axis
        _expect(
            0 <= axis < len(first),
            f"axis {axis} does not exist in an operand of shape {first}",
        )
        for type_ in types:
            shape = type_.shape
            _expect(
                len(shape) == len(first)
                and (*shape[:axis], *shape[axis + 1 :]) == (*first[:axis], *first[axis + 1 :]),
                f"operands have shapes {first} and {shape}, "
                f"expected the same sizes but for axis {axis}",
            )
        total = sum(type_.shape[axis] for type_ in types)
        shape = (*first[:axis], total, *first[axis + 1 :])
        return TensorType(shape, all(type_.spiking for type_ in types))

    def apply(self, *arrays: Array) -> Array:
        return np.concatenate(arrays, axis=self.axis + 1)


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """exp(x) / sum exp(x) over `axis` of a sample."""

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        _expect(
            0 <= self.axis < len(types[0].shape),
            f"axis {self.axis} does not exist in an operand of shape {types[0].shape}",
        )
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        powers = np.exp(x - x.max(axis=self.axis + 1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=self.axis + 1, keepdims=True), np.float32)


@dataclass(frozen=True, eq=False)
class Sigmoid(Op):
    """1 / (1 + exp(-x))."""

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * arrays[0])), np.float32)


def _pooled(window: windows.Window, shape: tuple[int, ...]) -> tuple[int, ...]:
    n_axes = len(window.kernel)
    _expect(
        1 <= n_axes <= 3 and len(shape) == n_axes + 1,
        f"operand has shape {shape}, expected channels and {n_axes} spatial axes",
    )
    for (before, after), size, step in zip(
        window.padding, window.kernel, window.dilation, strict=True
    ):
        extent = (size - 1) * step + 1
        _expect(max(before, after) < extent, f"padding {window.padding} makes empty windows")
    for pair, dilation, n in zip(window.padding, window.dilation, shape[1:], strict=True):
        # Entries further apart than the operand is long may all lie on padding.
        _expect(
            not any(pair) or dilation <= n,
            f"dilation {window.dilation} with padding {window.padding} makes empty windows",
        )
    return (shape[0], *window.output_sizes(shape[1:]))


def _per_channel(values: Array, n_axes: int) -> Array:
    """[C] -> [C, 1, ...] with `n_axes` ones."""
    return values.reshape(-1, *(1,) * n_axes)


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise GraphError(message)


OPS: dict[str, type[Op]] = {
    op.__name__: op
    for op in (
        Input, Identity, Dense, Conv, BatchNorm, Scale, Relu, MaxPool, AveragePool,
        GlobalAveragePool, Flatten, Reshape, Transpose, Pad, Select, InsertZeros, Add, Concatenate,
        Softmax, Sigmoid,
    )
}  # fmt: skip
