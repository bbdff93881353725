"""ONNX files, opset 7 and newer, channels first: OPERATORS, the table by op type.

What exporters compute from shapes and weights is folded; every other node has a translation in
OPERATORS or is refused, all of them at once. Nothing of a file is run while it is read.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import FormatError, GraphError, UnsupportedOpError
from ...ir import Graph
from .. import Source
from .activations import (
    emit_clip,
    emit_max,
    emit_min,
    emit_relu,
    emit_sigmoid,
    emit_softmax,
)
from .arithmetic import (
    emit_add,
    emit_batch_norm,
    emit_div,
    emit_gemm,
    emit_mat_mul,
    emit_mul,
    emit_neg,
    emit_sub,
    emit_sum,
)
from .files import OnnxModel, check_nodes, read_model
from .run import make_inner, make_run
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
from .translation import Emit, Translation
from .windows import (
    emit_average_pool,
    emit_conv,
    emit_global_average_pool,
    emit_global_max_pool,
    emit_max_pool,
    emit_reduce_max,
    emit_reduce_mean,
)

OPERATORS: dict[str, Emit] = {
    "Add": emit_add,
    "AveragePool": emit_average_pool,
    "BatchNormalization": emit_batch_norm,
    "Cast": emit_cast,
    "Clip": emit_clip,
    "Concat": emit_concat,
    "Conv": emit_conv,
    "Div": emit_div,
    "Dropout": emit_identity,
    "Flatten": emit_flatten,
    "Gemm": emit_gemm,
    "GlobalAveragePool": emit_global_average_pool,
    "GlobalMaxPool": emit_global_max_pool,
    "Identity": emit_identity,
    "MatMul": emit_mat_mul,
    "Max": emit_max,
    "MaxPool": emit_max_pool,
    "Min": emit_min,
    "Mul": emit_mul,
    "Neg": emit_neg,
    "Pad": emit_pad,
    "ReduceMax": emit_reduce_max,
    "ReduceMean": emit_reduce_mean,
    "Relu": emit_relu,
    "Reshape": emit_reshape,
    "Sigmoid": emit_sigmoid,
    "Softmax": emit_softmax,
    "Squeeze": emit_squeeze,
    "Sub": emit_sub,
    "Sum": emit_sum,
    "Transpose": emit_transpose,
    "Unsqueeze": emit_unsqueeze,
}
"""ONNX operators by op type; FOLDABLE in folding has those that constants may take too."""


def read_onnx(path: Path) -> Source:
    """Read an ONNX file.

    Args:
        path: Of the file; external data is read if it lies in the same folder.

    Raises:
        FormatError: The file cannot be read, is damaged, too large or of an unknown version.
        UnsupportedOpError: Nodes have no translation; all of them are listed.
    """
    model = read_model(path)
    where = str(path)
    graph, tensors = _translate(model, where, path.name)
    inner = make_inner(graph, model, where, tensors)
    return Source(graph, make_run(graph, model, where), path.name, model.sha256, inner)


def _translate(model: OnnxModel, where: str, name: str) -> tuple[Graph, dict[str, str]]:
    """Return the graph, and by node the file's tensor that it stands for."""
    try:
        translation = Translation(model, OPERATORS)
        inputs, outputs = translation.translate()
        if translation.reasons:
            raise UnsupportedOpError(
                f"{where}: {len(translation.reasons)} reasons why it cannot be translated, "
                "expected none:",
                reasons=tuple(translation.reasons),
                hint=_hint(translation.reasons),
            )
        check_nodes(model)
        described = {
            "framework": "onnx",
            "name": name,
            "sha256": model.sha256,
            "version": model.producer,
            "opset": model.opset,
        }
        graph = Graph(tuple(translation.draft.nodes), inputs, outputs, {"source": described})
        return graph, translation.draft.tensors()
    except UnsupportedOpError:
        raise
    except (FormatError, GraphError) as error:
        raise FormatError(f"{where}: {error}", hint=error.hint or DAMAGED) from error


def _hint(reasons: list[str]) -> str:
    n_inputs = sum(" (input): " in reason for reason in reasons)
    parts = ["export the network with float32 inputs of fixed sizes"] if n_inputs else []
    if n_inputs < len(reasons):
        parts.append(f"operators with a translation: {', '.join(OPERATORS)}")
    return "; ".join(parts)
