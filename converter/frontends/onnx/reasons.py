"""Why ONNX operators have no translation, where there is more to say than that."""

from __future__ import annotations


class UnsupportedNodeError(Exception):
    """A node has no translation for its attributes or operands; the text says why."""


_SUBGRAPH = "runs a network of its own"
_STATE = "keeps a state from step to step"
_STATISTICS = "divides by statistics of the sample itself, which no rate of spikes stands for"
_INTEGERS = "computes with integers; read the float32 network"
_ATTENTION = "multiplies values that depend on the input with one another"
_EXPORTER = (
    "is what Keras' exporter writes for a layer that it does not know, such as a grouped Conv2D; "
    "read the .keras file instead"
)

GATE = "takes two values that depend on the input, as gates do, expected a constant"

REASONS = {
    **dict.fromkeys(("If", "Loop", "Scan"), _SUBGRAPH),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _STATE),
    **dict.fromkeys(
        (
            "GroupNormalization", "InstanceNormalization", "LayerNormalization",
            "LpNormalization", "MeanVarianceNormalization", "RMSNormalization",
        ),
        _STATISTICS,
    ),
    **dict.fromkeys(
        (
            "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
        ),
        _INTEGERS,
    ),
    **dict.fromkeys(("Attention", "Einsum"), _ATTENTION),
    "QuantizeLinear": "rounds a value that depends on the input; read the network before its "
    "activations were quantized",
    "DequantizeLinear": "takes integers that depend on the input; read the network before its "
    "activations were quantized",
    "Erf": "is part of a GELU, which no rate of spikes stands for",
    "Erfc": "is part of a GELU as Keras' exporter writes it, which is no valid ONNX and which no "
    "rate of spikes stands for",
    "Expm1": "is part of a CELU as Keras' exporter writes it, which is no valid ONNX and which no "
    "rate of spikes stands for",
    "StatefulPartitionedCall": _EXPORTER,
}  # fmt: skip
"""By op type."""

ELEMENTWISE = frozenset((
    "Acos", "Asin", "Atan", "BitShift", "Ceil", "Clip", "Cos", "DequantizeLinear", "Erf", "Erfc",
    "Exp", "Expm1", "Floor", "Gelu", "GroupNormalization", "InstanceNormalization",
    "LayerNormalization", "Log", "LpNormalization", "MeanVarianceNormalization", "Mul", "PRelu",
    "Pow", "QuantizeLinear", "RMSNormalization", "Reciprocal", "Round", "Shrink", "Sign", "Sin",
    "Sqrt", "Swish",
))  # fmt: skip
"""Op types that keep the shape of their first operand: where one of them is refused, what follows
is looked at all the same, for all reasons at once."""


def find_reason(op_type: str) -> str:
    """Return why there is no translation."""
    import onnx

    if op_type in REASONS:
        return REASONS[op_type]
    if "." not in op_type and not onnx.defs.has(op_type):
        return "is no operator of ONNX; read the file that it was exported from, if it is .keras"
    return "has no translation"
