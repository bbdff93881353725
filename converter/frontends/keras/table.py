"""LAYERS, the table of what is read of keras.layers."""

from __future__ import annotations

from .activations import (
    emit_activation,
    emit_elu,
    emit_identity,
    emit_leaky_relu,
    emit_prelu,
    emit_relu,
    emit_softmax,
    refuse_relu,
    refuse_softmax,
)
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
from .rules import LayerRule
from .sampling import (
    emit_conv_transpose,
    emit_cropping,
    emit_global_max_pool,
    emit_repeat_vector,
    emit_upsampling,
    refuse_interpolation,
    refuse_transposed,
)
from .spatial import (
    emit_average_pool,
    emit_conv,
    emit_depthwise_conv,
    emit_global_average_pool,
    emit_max_pool,
    emit_separable_conv,
    emit_zero_padding,
    refuse_groups,
)

_WINDOW = frozenset({"padding", "strides", "data_format"})
_CONV = _WINDOW | {"kernel_size", "dilation_rate", "use_bias", "activation", "groups"}
_NOISE = frozenset({"rate", "stddev", "seed", "noise_shape", "l1", "l2", "data_format"})
_AUGMENTATION = _NOISE | {
    "mode", "factor", "height_factor", "width_factor", "x_factor", "y_factor", "lower", "upper",
    "scale", "fill_mode", "fill_value", "interpolation", "value_range", "data_format",
}  # fmt: skip
"""Settings that only mean something in training; at inference these layers do nothing."""
_BATCH_NORM = frozenset({
    "axis", "epsilon", "center", "scale", "renorm", "momentum", "renorm_clipping",
    "renorm_momentum", "synchronized", "fused", "virtual_batch_size",
})  # fmt: skip

_NO_OP = LayerRule(emit_identity, _NOISE)
_CONVOLUTION = LayerRule(emit_conv, _CONV | {"filters"})
_DEPTHWISE = LayerRule(emit_depthwise_conv, _CONV | {"depth_multiplier"}, reasons=refuse_groups)
_SEPARABLE = LayerRule(
    emit_separable_conv, _CONV | {"depth_multiplier", "filters"}, reasons=refuse_groups
)
_MAX_POOL = LayerRule(emit_max_pool, _WINDOW | {"pool_size"})
_AVERAGE_POOL = LayerRule(emit_average_pool, _WINDOW | {"pool_size"})
_GLOBAL_POOL = LayerRule(emit_global_average_pool, frozenset({"data_format", "keepdims"}))
_GLOBAL_MAX = LayerRule(emit_global_max_pool, _GLOBAL_POOL.settings)
_TRANSPOSED = LayerRule(
    emit_conv_transpose, _CONV | {"filters", "output_padding"}, reasons=refuse_transposed
)
_CROPPING = LayerRule(emit_cropping, frozenset({"cropping", "data_format"}))
_UPSAMPLING = LayerRule(
    emit_upsampling,
    frozenset({"size", "data_format", "interpolation"}),
    reasons=refuse_interpolation,
)
_RELU = frozenset({"max_value", "negative_slope", "threshold"})
_ZERO_PADDING = LayerRule(emit_zero_padding, frozenset({"padding", "data_format"}))


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
    "DepthwiseConv2D": _DEPTHWISE,
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
    **dict.fromkeys(
        (
            "RandomBrightness",
            "RandomContrast",
            "RandomFlip",
            "RandomRotation",
            "RandomShear",
            "RandomTranslation",
            "RandomZoom",
        ),
        LayerRule(emit_identity, _AUGMENTATION),
    ),
}
"""Keras layers by class name. Sequential and functional models are taken apart, not listed."""
