"""FUNCTIONS, the table of what is read of keras.ops and keras.activations."""

from __future__ import annotations

from collections.abc import Callable

from .activations import (
    ANALOG_ACTIVATIONS,
    NAMED_ACTIVATIONS,
    emit_celu,
    emit_elu,
    emit_gelu,
    emit_identity,
    emit_leaky_relu,
    emit_log_softmax,
    emit_relu,
    emit_softmax,
    refuse_relu,
    refuse_softmax,
)
from .arithmetic import (
    emit_absolute,
    emit_clip,
    emit_difference,
    emit_larger,
    emit_multiple,
    emit_negative,
    emit_quotient,
    emit_smaller,
    emit_sum,
    refuse_cast,
    refuse_factors,
)
from .draft import Value
from .merging import (
    emit_concatenate,
)
from .rearranging import (
    emit_moved_axis,
    emit_new_axes,
    emit_new_shape,
    emit_squeeze,
    emit_stack,
    emit_swapped_axes,
    emit_transpose,
)
from .reductions import as_layer, emit_largest, emit_mean, emit_total
from .rules import LayerRule
from .selecting import (
    emit_flip,
    emit_item,
    emit_pad,
    emit_repeat,
    emit_split,
    emit_take,
    emit_tile,
    refuse_pad,
)
from .spatial import (
    emit_average_pool,
    emit_max_pool,
)

_RELU = frozenset({"max_value", "negative_slope", "threshold"})
_POOL = frozenset({"padding", "strides", "data_format", "pool_size"})
_AXIS = frozenset({"axis"})


def _analog(module: str, name: str) -> LayerRule:
    return LayerRule(NAMED_ACTIVATIONS[name], module=module, analog=ANALOG_ACTIVATIONS[name][0])


_NN, _NUMPY, _CORE = "keras.src.ops.nn", "keras.src.ops.numpy", "keras.src.ops.core"
_ACTIVATIONS = "keras.src.activations.activations"


def _two(emit: Callable[..., Value]) -> LayerRule:
    return LayerRule(emit, n_operands=2, module=_NUMPY)


def _one(emit: Callable[..., Value | tuple[Value, ...]], *settings: str) -> LayerRule:
    return LayerRule(emit, frozenset(settings), module=_NUMPY)


FUNCTIONS: dict[str, LayerRule] = {
    "ops.Relu": LayerRule(NAMED_ACTIVATIONS["relu"], module=_NN),
    "ops.Relu6": LayerRule(NAMED_ACTIVATIONS["relu6"], module=_NN),
    "ops.ReLU": LayerRule(emit_relu, _RELU, reasons=refuse_relu, module=_ACTIVATIONS),
    "ops.LeakyRelu": LayerRule(emit_leaky_relu, frozenset({"negative_slope"}), module=_NN),
    "ops.HardTanh": LayerRule(NAMED_ACTIVATIONS["hard_tanh"], module=_NN),
    "ops.HardSigmoid": LayerRule(NAMED_ACTIVATIONS["hard_sigmoid"], module=_NN),
    "ops.Sigmoid": LayerRule(NAMED_ACTIVATIONS["sigmoid"], module=_NN),
    "ops.Softmax": LayerRule(emit_softmax, _AXIS, reasons=refuse_softmax, module=_NN),
    "ops.LogSoftmax": LayerRule(emit_log_softmax, _AXIS, reasons=refuse_softmax, module=_NN),
    "ops.Elu": LayerRule(emit_elu, frozenset({"alpha"}), module=_NN, analog="elu"),
    "ops.Celu": LayerRule(emit_celu, frozenset({"alpha"}), module=_NN, analog="celu"),
    "ops.Gelu": LayerRule(emit_gelu, frozenset({"approximate"}), module=_NN, analog="gelu"),
    "ops.Selu": _analog(_NN, "selu"),
    "ops.Silu": _analog(_NN, "silu"),
    "ops.HardSilu": _analog(_NN, "hard_silu"),
    "ops.Softplus": _analog(_NN, "softplus"),
    "ops.Softsign": _analog(_NN, "softsign"),
    "ops.LogSigmoid": _analog(_NN, "log_sigmoid"),
    "ops.Tanh": _analog(_NUMPY, "tanh"),
    "ops.Exp": _analog(_NUMPY, "exponential"),
    "ops.MaxPool": LayerRule(as_layer("MaxPooling", emit_max_pool), _POOL, module=_NN),
    "ops.AveragePool": LayerRule(as_layer("AveragePooling", emit_average_pool), _POOL, module=_NN),
    "ops.Add": _two(emit_sum),
    "ops.Subtract": _two(emit_difference),
    "ops.Multiply": LayerRule(emit_multiple, n_operands=2, reasons=refuse_factors, module=_NUMPY),
    "ops.Divide": _two(emit_quotient),
    "ops.TrueDivide": _two(emit_quotient),
    "ops.Maximum": _two(emit_larger),
    "ops.Minimum": _two(emit_smaller),
    "ops.Clip": _one(emit_clip, "x_min", "x_max"),
    "ops.Negative": _one(emit_negative),
    "ops.Absolute": _one(emit_absolute),
    "ops.Mean": _one(emit_mean, "axis", "keepdims"),
    "ops.Sum": _one(emit_total, "axis", "keepdims"),
    "ops.Max": _one(emit_largest, "axis", "keepdims"),
    "ops.Amax": _one(emit_largest, "axis", "keepdims"),
    "ops.Concatenate": LayerRule(emit_concatenate, _AXIS, n_operands=None, module=_NUMPY),
    "ops.Stack": LayerRule(emit_stack, _AXIS, n_operands=None, module=_NUMPY),
    "ops.Reshape": _one(emit_new_shape, "newshape"),
    "ops.Transpose": _one(emit_transpose, "axes"),
    "ops.Swapaxes": _one(emit_swapped_axes, "axis1", "axis2"),
    "ops.Moveaxis": _one(emit_moved_axis, "source", "destination"),
    "ops.ExpandDims": _one(emit_new_axes, "axis"),
    "ops.Squeeze": _one(emit_squeeze, "axis"),
    "ops.GetItem": _two(emit_item),
    "ops.Take": LayerRule(emit_take, _AXIS, n_operands=2, module=_NUMPY),
    "ops.Split": _one(emit_split, "axis", "indices_or_sections"),
    "ops.Repeat": _one(emit_repeat, "axis", "repeats"),
    "ops.Tile": _one(emit_tile, "repeats"),
    "ops.Flip": _one(emit_flip, "axis"),
    "ops.Pad": LayerRule(
        emit_pad, frozenset({"pad_width", "mode"}), reasons=refuse_pad, module=_NUMPY
    ),
    "ops.Cast": LayerRule(emit_identity, frozenset({"dtype"}), reasons=refuse_cast, module=_CORE),
    "ops.StopGradient": LayerRule(emit_identity, frozenset({"variable"}), module=_CORE),
}
"""Functions of keras.ops and keras.activations by class name, with the prefix of functions."""
