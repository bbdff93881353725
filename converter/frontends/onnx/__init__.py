"""ONNX files, opset 7 and newer, channels first: OPERATORS, the table by op type.

What exporters compute from shapes and weights is folded; every other node has a translation in
OPERATORS or is refused, all of them at once. Nothing of a file is run while it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import FormatError, GraphError, UnsupportedOpError
from ...ir import Graph
from .. import InputShapes, Source
from .activations import (
    emit_abs,
    emit_activation,
    emit_clip,
    emit_gelu,
    emit_hard_sigmoid,
    emit_hard_swish,
    emit_leaky_relu,
    emit_local_response_norm,
    emit_log_softmax,
    emit_max,
    emit_min,
    emit_prelu,
    emit_relu,
    emit_sigmoid,
    emit_softmax,
    emit_swish,
    emit_thresholded_relu,
)
from .arithmetic import (
    emit_add,
    emit_batch_norm,
    emit_div,
    emit_gemm,
    emit_mat_mul,
    emit_mean,
    emit_mul,
    emit_neg,
    emit_sub,
)
from .comparisons import (
    emit_greater,
    emit_greater_or_equal,
    emit_less,
    emit_less_or_equal,
    emit_not,
    emit_where,
)
from .files import OnnxModel, check_nodes, read_model
from .resizing import emit_resize, emit_upsample
from .run import make_inner, make_run
from .selecting import (
    emit_depth_to_space,
    emit_expand,
    emit_gather,
    emit_slice,
    emit_space_to_depth,
    emit_split,
    emit_tile,
)
from .shapes import (
    emit_cast,
    emit_concat,
    emit_flatten,
    emit_identity,
    emit_pad,
    emit_reshape,
    emit_squeeze,
    emit_transpose,
    emit_unsqueeze,
)
from .tensors import DAMAGED
from .translation import FREE_SIZES, LOST, Emit, Translation
from .transposed import emit_conv_transpose
from .windows import (
    emit_average_pool,
    emit_conv,
    emit_global_average_pool,
    emit_global_max_pool,
    emit_max_pool,
    emit_reduce_max,
    emit_reduce_mean,
    emit_reduce_sum,
)

OPERATORS: dict[str, Emit] = {
    "Abs": emit_abs,
    "Add": emit_add,
    "AveragePool": emit_average_pool,
    "BatchNormalization": emit_batch_norm,
    "Cast": emit_cast,
    "Celu": emit_activation("celu", alpha=1.0),
    "Clip": emit_clip,
    "Concat": emit_concat,
    "Conv": emit_conv,
    "ConvTranspose": emit_conv_transpose,
    "DepthToSpace": emit_depth_to_space,
    "Div": emit_div,
    "Dropout": emit_identity,
    "Elu": emit_activation("elu", alpha=1.0),
    "Exp": emit_activation("exponential"),
    "Expand": emit_expand,
    "Flatten": emit_flatten,
    "Gather": emit_gather,
    "Gelu": emit_gelu,
    "Gemm": emit_gemm,
    "GlobalAveragePool": emit_global_average_pool,
    "GlobalMaxPool": emit_global_max_pool,
    "Greater": emit_greater,
    "GreaterOrEqual": emit_greater_or_equal,
    "HardSigmoid": emit_hard_sigmoid,
    "HardSwish": emit_hard_swish,
    "Identity": emit_identity,
    "LRN": emit_local_response_norm,
    "LeakyRelu": emit_leaky_relu,
    "Less": emit_less,
    "LessOrEqual": emit_less_or_equal,
    "LogSoftmax": emit_log_softmax,
    "MatMul": emit_mat_mul,
    "Max": emit_max,
    "MaxPool": emit_max_pool,
    "Mean": emit_mean,
    "Min": emit_min,
    "Mish": emit_activation("mish"),
    "Mul": emit_mul,
    "Neg": emit_neg,
    "Not": emit_not,
    "PRelu": emit_prelu,
    "Pad": emit_pad,
    "ReduceMax": emit_reduce_max,
    "ReduceMean": emit_reduce_mean,
    "ReduceSum": emit_reduce_sum,
    "Relu": emit_relu,
    "Reshape": emit_reshape,
    "Resize": emit_resize,
    "Selu": emit_activation("selu", alpha=1.6732631921768188, gamma=1.0507010221481323),
    "Sigmoid": emit_sigmoid,
    "Slice": emit_slice,
    "Softmax": emit_softmax,
    "Softplus": emit_activation("softplus"),
    "Softsign": emit_activation("softsign"),
    "SpaceToDepth": emit_space_to_depth,
    "Split": emit_split,
    "Squeeze": emit_squeeze,
    "Sub": emit_sub,
    "Sum": emit_add,
    "Swish": emit_swish,
    "Tanh": emit_activation("tanh"),
    "ThresholdedRelu": emit_thresholded_relu,
    "Tile": emit_tile,
    "Transpose": emit_transpose,
    "Unsqueeze": emit_unsqueeze,
    "Upsample": emit_upsample,
    "Where": emit_where,
}
"""ONNX operators by op type; FOLDABLE in folding has those that constants may take too."""


def read_onnx(path: Path, input_shapes: InputShapes | None = None) -> Source:
    """Read an ONNX file.

    Args:
        path: Of the file; external data is read if it lies in the same folder.
        input_shapes: Sizes of one sample, for inputs whose sizes the file leaves open.

    Raises:
        ConversionError: The input shapes do not fit the file.
        FormatError: The file cannot be read, is damaged, too large or of an unknown version.
        UnsupportedOpError: Nodes have no translation; all of them are listed.
    """
    where = str(path)
    model = read_model(path, input_shapes or {})
    graph, tensors = _translate(model, where, path.name, input_shapes or {})
    inner = make_inner(graph, model, where, tensors)
    return Source(graph, make_run(graph, model, where), path.name, model.sha256, inner)


def _translate(
    model: OnnxModel, where: str, name: str, input_shapes: InputShapes
) -> tuple[Graph, dict[str, str]]:
    """Return the graph, and by node the file's tensor that it stands for."""
    try:
        translation = Translation(model, OPERATORS)
        inputs, outputs = translation.translate()
        reasons = translation.all_reasons()
        if reasons:
            raise UnsupportedOpError(
                f"{where}: {len(reasons)} reasons why it cannot be translated, expected none:",
                reasons=reasons,
                hint=_hint(reasons),
                nodes=translation.list_nodes(),
            )
        check_nodes(model)
        described: dict[str, Any] = {
            "framework": "onnx",
            "name": name,
            "sha256": model.sha256,
            "version": model.producer,
            "opset": model.opset,
        }
        if input_shapes:
            described["input_shapes"] = {key: list(sizes) for key, sizes in input_shapes.items()}
        graph = Graph(tuple(translation.draft.nodes), inputs, outputs, {"source": described})
        return graph, translation.draft.tensors()
    except UnsupportedOpError:
        raise
    except (FormatError, GraphError) as error:
        raise FormatError(f"{where}: {error}", hint=error.hint or DAMAGED) from error


def _hint(reasons: tuple[str, ...]) -> str:
    n_inputs = sum(" (input): " in reason for reason in reasons)
    parts = ["export the network with float32 inputs of fixed sizes"] if n_inputs else []
    if any(FREE_SIZES in reason for reason in reasons):
        parts = ["say which sizes with --input-shape, such as 3,224,224 or image=3,224,224"]
    if any(LOST in reason for reason in reasons):
        parts = ["read the .keras file instead"]
    if n_inputs < len(reasons):
        parts.append(f"operators with a translation: {', '.join(OPERATORS)}")
    return "; ".join(parts)
