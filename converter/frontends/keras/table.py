"""LAYERS and FUNCTIONS, the tables of what is read of Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .activations import (
    ANALOG_ACTIVATIONS,
    NAMED_ACTIVATIONS,
    emit_activation,
    emit_celu,
    emit_elu,
    emit_gelu,
    emit_identity,
    emit_leaky_relu,
    emit_prelu,
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
from .layers import (
    emit_batch_norm,
    emit_dense,
    emit_flatten,
    emit_normalization,
    emit_permute,
    emit_rescaling,
    emit_reshape,
)
from .merging import (
    emit_add,
    emit_average,
    emit_concatenate,
    emit_custom_scale,
    emit_maximum,
    emit_minimum,
    emit_product,
    emit_subtract,
    refuse_product,
)
from .model import Layer
from .rearranging import (
    emit_flip,
    emit_item,
    emit_moved_axis,
    emit_new_axes,
    emit_new_shape,
    emit_pad,
    emit_repeat,
    emit_split,
    emit_squeeze,
    emit_stack,
    emit_swapped_axes,
    emit_take,
    emit_tile,
    emit_transpose,
    refuse_pad,
)
from .reductions import as_layer, emit_largest, emit_mean, emit_total
from .rules import LayerRule
from .sampling import (
    emit_conv_transpose,
    emit_cropping,
    emit_global_max_pool,
    emit_repeat_vector,
    emit_upsampling,
    refuse_dilation,
    refuse_interpolation,
)
from .spatial import (
    emit_average_pool,
    emit_conv,
    emit_depthwise_conv,
    emit_global_average_pool,
    emit_max_pool,
    emit_separable_conv,
    emit_zero_padding,
)

_WINDOW = frozenset({"padding", "strides", "data_format"})
_CONV = _WINDOW | {"kernel_size", "dilation_rate", "use_bias", "activation"}
_NOISE = frozenset({"rate", "stddev", "seed", "noise_shape", "l1", "l2", "data_format"})
_BATCH_NORM = frozenset({
    "axis", "epsilon", "center", "scale", "renorm", "momentum", "renorm_clipping",
    "renorm_momentum", "synchronized", "fused", "virtual_batch_size",
})  # fmt: skip

_NO_OP = LayerRule(emit_identity, _NOISE)
_CONVOLUTION = LayerRule(emit_conv, _CONV | {"filters", "groups"})
_DEPTHWISE = LayerRule(emit_depthwise_conv, _CONV | {"depth_multiplier"})
_SEPARABLE = LayerRule(emit_separable_conv, _CONV | {"depth_multiplier", "filters"})
_MAX_POOL = LayerRule(emit_max_pool, _WINDOW | {"pool_size"})
_AVERAGE_POOL = LayerRule(emit_average_pool, _WINDOW | {"pool_size"})
_GLOBAL_POOL = LayerRule(emit_global_average_pool, frozenset({"data_format", "keepdims"}))
_GLOBAL_MAX = LayerRule(emit_global_max_pool, _GLOBAL_POOL.settings)
_TRANSPOSED = LayerRule(
    emit_conv_transpose, _CONV | {"filters", "output_padding"}, reasons=refuse_dilation
)
_CROPPING = LayerRule(emit_cropping, frozenset({"cropping", "data_format"}))
_UPSAMPLING = LayerRule(
    emit_upsampling,
    frozenset({"size", "data_format", "interpolation"}),
    reasons=refuse_interpolation,
)
_RELU = frozenset({"max_value", "negative_slope", "threshold"})
_POOL = _WINDOW | {"pool_size"}
_AXIS = frozenset({"axis"})
_REDUCED = _AXIS | {"keepdims"}
_ZERO_PADDING = LayerRule(emit_zero_padding, frozenset({"padding", "data_format"}))


def _refuse_groups(layer: Layer) -> Iterator[str]:
    if layer.settings.get("groups", 1) != 1:  # Keras 2 wrote the key, always with 1
        yield f"groups is {layer.settings['groups']!r:.80}, expected 1"


LAYERS: dict[str, LayerRule] = {
    "InputLayer": LayerRule(emit_identity),
    "Dense": LayerRule(emit_dense, frozenset({"units", "use_bias", "activation"})),
    "Conv1D": _CONVOLUTION,
    "Conv2D": _CONVOLUTION,
    "Conv3D": _CONVOLUTION,
    "Conv1DTranspose": _TRANSPOSED,
    "Conv2DTranspose": _TRANSPOSED,
    "Conv3DTranspose": _TRANSPOSED,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": LayerRule(
        emit_depthwise_conv, _DEPTHWISE.settings | {"groups"}, reasons=_refuse_groups
    ),
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "BatchNormalization": LayerRule(emit_batch_norm, _BATCH_NORM),
    "ReLU": LayerRule(emit_relu, _RELU, reasons=refuse_relu),
    "LeakyReLU": LayerRule(emit_leaky_relu, frozenset({"negative_slope", "alpha"})),
    "PReLU": LayerRule(emit_prelu, frozenset({"shared_axes"})),
    "ELU": LayerRule(emit_elu, frozenset({"alpha"}), analog="elu"),
    "Activation": LayerRule(emit_activation, frozenset({"activation"})),
    "Softmax": LayerRule(emit_softmax, frozenset({"axis"}), reasons=refuse_softmax),
    "MaxPooling1D": _MAX_POOL,
    "MaxPooling2D": _MAX_POOL,
    "MaxPooling3D": _MAX_POOL,
    "AveragePooling1D": _AVERAGE_POOL,
    "AveragePooling2D": _AVERAGE_POOL,
    "AveragePooling3D": _AVERAGE_POOL,
    "GlobalAveragePooling1D": _GLOBAL_POOL,
    "GlobalAveragePooling2D": _GLOBAL_POOL,
    "GlobalAveragePooling3D": _GLOBAL_POOL,
    "GlobalMaxPooling1D": _GLOBAL_MAX,
    "GlobalMaxPooling2D": _GLOBAL_MAX,
    "GlobalMaxPooling3D": _GLOBAL_MAX,
    "Cropping1D": _CROPPING,
    "Cropping2D": _CROPPING,
    "Cropping3D": _CROPPING,
    "UpSampling1D": _UPSAMPLING,
    "UpSampling2D": _UPSAMPLING,
    "UpSampling3D": _UPSAMPLING,
    "ZeroPadding1D": _ZERO_PADDING,
    "ZeroPadding2D": _ZERO_PADDING,
    "ZeroPadding3D": _ZERO_PADDING,
    "Flatten": LayerRule(emit_flatten, frozenset({"data_format"})),
    "Reshape": LayerRule(emit_reshape, frozenset({"target_shape"})),
    "Permute": LayerRule(emit_permute, frozenset({"dims"})),
    "RepeatVector": LayerRule(emit_repeat_vector, frozenset({"n"})),
    "Add": LayerRule(emit_add, n_operands=None),
    "Subtract": LayerRule(emit_subtract, n_operands=2),
    "Average": LayerRule(emit_average, n_operands=None),
    "Maximum": LayerRule(emit_maximum, n_operands=None),
    "Minimum": LayerRule(emit_minimum, n_operands=None),
    "Multiply": LayerRule(emit_product, n_operands=None, reasons=refuse_product),
    "CustomScaleLayer": LayerRule(emit_custom_scale, frozenset({"scale"}), n_operands=2),
    "Concatenate": LayerRule(emit_concatenate, frozenset({"axis"}), n_operands=None),
    "Rescaling": LayerRule(emit_rescaling, frozenset({"scale", "offset"})),
    "Normalization": LayerRule(
        emit_normalization, frozenset({"axis", "mean", "variance", "invert"})
    ),
    "Identity": _NO_OP,
    "Dropout": _NO_OP,
    "SpatialDropout1D": _NO_OP,
    "SpatialDropout2D": _NO_OP,
    "SpatialDropout3D": _NO_OP,
    "AlphaDropout": _NO_OP,
    "GaussianDropout": _NO_OP,
    "GaussianNoise": _NO_OP,
    "ActivityRegularization": _NO_OP,
}
"""Keras layers by class name. Sequential and functional models are taken apart, not listed."""


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

RULES: dict[str, LayerRule] = {**LAYERS, **FUNCTIONS}
