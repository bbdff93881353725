"""OWN_LAYERS: spikeport's own Keras layers, with which networks are trained under constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ...errors import FormatError
from ...ir import Array
from ...ir.ops import Add, QuantizedRelu, Relu, Scale
from ...training.binary_weights import SCHEMES, binarize
from .activations import fill
from .draft import Site, Value
from .hdf5 import DAMAGED
from .layers import emit_dense
from .model import Layer
from .rules import LayerRule
from .settings import get_flag, get_integer, get_number
from .spatial import emit_conv

LEAST_WIDTH = 1e-3
"""Of a Whetstone layer's ramp, as in training/activations.py."""


def _threshold(site: Site, x: Value, *names: str) -> tuple[Array, dict[str, Array]]:
    """Return the threshold with the axes of `x`'s node, and the layer's other weights."""
    rank = len(x.shape)
    per_channel = get_flag(site.layer, "per_channel", default=False)
    n_values = x.shape[-1] if per_channel else 1
    weights = site.weights({"threshold": (n_values,), **dict.fromkeys(names, ())})
    shape = [1] * rank
    shape[x.axis(rank - 1)] = n_values
    return weights["threshold"].reshape(shape), weights


def emit_quantized_relu(site: Site, x: Value) -> Value:
    """QuantizedReLU."""
    threshold, _ = _threshold(site, x)
    shift = get_number(site.layer, "shift", 0.5)
    op = QuantizedRelu(threshold, get_integer(site.layer, "n_levels"), shift)
    return site.add(op, x, moved=x.moved)


def emit_clipped_relu(site: Site, x: Value) -> Value:
    """ClippedReLU; noise is for training, the leak for the neurons."""
    threshold, _ = _threshold(site, x)
    leak = get_number(site.layer, "leak", 0.0)
    if not 0 <= leak < 1:
        raise FormatError(f"{site.layer}: leak is {leak:g}, expected 0 <= leak < 1", hint=DAMAGED)
    result = site.add(Relu(threshold), x, moved=x.moved)
    if leak:
        site.draft.leaks[result.node] = leak
    return result


def emit_slip_relu(site: Site, x: Value) -> Value:
    """SlipReLU, both of its parts: two neurons per unit."""
    threshold, _ = _threshold(site, x)
    share = get_number(site.layer, "share", 0.5)
    shift = get_number(site.layer, "shift", 0.5)
    op = QuantizedRelu(threshold, get_integer(site.layer, "n_levels"), shift)
    parts = []
    for inner, part, factor in (("line", Relu(threshold), share), ("levels", op, 1 - share)):
        result = site.add(part, x, inner=inner, moved=x.moved)
        weight = Scale(fill(x, factor), fill(x, 0))
        parts.append(site.add(weight, result, inner=f"weighted_{inner}", moved=x.moved))
    return site.add(Add(), *parts, moved=x.moved)


def emit_whetstone(site: Site, x: Value) -> Value:
    """Whetstone, as sharp as it is."""
    threshold, weights = _threshold(site, x, "sharpness")
    width = np.maximum(1 - weights["sharpness"], np.float32(LEAST_WIDTH))
    slope: Array = np.asarray(np.ones_like(threshold) / width, np.float32)
    shift: Array = np.asarray(-(1 - width) / 2 * slope * threshold, np.float32)
    ramp = site.add(Scale(slope, shift), x, inner="ramp", moved=x.moved)
    return site.add(Relu(threshold), ramp, moved=x.moved)


def emit_binary_sign(site: Site, x: Value) -> Value:
    """BinarySign: a step from 0 to 1, scaled to -1 and 1."""
    step = site.add(QuantizedRelu(fill(x, 1), 1, 1.0), x, inner="step", moved=x.moved)
    return site.add(Scale(fill(x, 2), fill(x, -1)), step, moved=x.moved)


class _BinarySite(Site):
    """A layer's site whose kernel is what the layer makes of its latent weights."""

    def weights(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
        found = super().weights(shapes)
        scheme = str(self.layer.settings.get("scheme", "scaled"))
        kernel = np.moveaxis(found["kernel"], -1, 0)
        return found | {"kernel": np.moveaxis(binarize(kernel, scheme), 0, -1)}


def _binary(emit: Callable[[Site, Value], Value]) -> Callable[[Site, Value], Value]:
    return lambda site, x: emit(_BinarySite(site.draft, site.layer, site.name), x)


def _refuse_scheme(layer: Layer) -> Iterator[str]:
    scheme = layer.settings.get("scheme", "scaled")
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        yield f"scheme is {scheme!r:.80}, expected {', '.join(SCHEMES)}"


_THRESHOLD = frozenset({"initial_threshold", "per_channel"})
_QUANTIZED = _THRESHOLD | {"n_levels", "shift"}
_BINARY = frozenset({"scheme", "seed", "use_bias", "activation"})
_BINARY_CONV = _BINARY | {
    "padding", "strides", "data_format", "kernel_size", "dilation_rate", "filters", "groups",
}  # fmt: skip
_CONVOLUTION = LayerRule(_binary(emit_conv), _BINARY_CONV, reasons=_refuse_scheme)

OWN_LAYERS: dict[str, LayerRule] = {
    "QuantizedReLU": LayerRule(emit_quantized_relu, _QUANTIZED),
    "ClippedReLU": LayerRule(
        emit_clipped_relu, _THRESHOLD | {"noise", "poisson_steps", "seed", "leak"}
    ),
    "SlipReLU": LayerRule(emit_slip_relu, _QUANTIZED | {"share"}),
    "Whetstone": LayerRule(emit_whetstone, _THRESHOLD | {"gradient_width"}),
    "BinarySign": LayerRule(emit_binary_sign, frozenset({"estimator"})),
    "BinaryDense": LayerRule(_binary(emit_dense), _BINARY | {"units"}, reasons=_refuse_scheme),
    "BinaryConv1D": _CONVOLUTION,
    "BinaryConv2D": _CONVOLUTION,
    "BinaryConv3D": _CONVOLUTION,
}  # fmt: skip
"""By class name, which Keras registers with OWN_PREFIX of config.py in front."""
