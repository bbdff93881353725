"""Running an ONNX network in onnxruntime, for comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConversionError
from ...ir import Array, Graph
from ...ir.interpret import check_inputs
from .files import OnnxModel

if TYPE_CHECKING:
    import onnxruntime

BATCH_SIZE = 100
"""Samples at a time, where the file does not fix their number."""


def make_run(
    graph: Graph, model: OnnxModel, where: str
) -> Callable[[tuple[Array, ...]], tuple[Array, ...]]:
    """Return the function that computes the outputs [N, ...] in onnxruntime.

    The network is loaded at the first call. A file with a fixed batch size gets batches of that
    size, the last one filled up with copies of a sample.
    """
    names = tuple(declared.name for declared in model.inputs)
    fixed = next((shape[0] for each in model.inputs if (shape := each.shape) and shape[0]), None)
    open_session = cache(partial(_open_session, model, where))
    return partial(_run, graph, names, model.outputs, fixed, where, open_session)


def make_inner(
    graph: Graph, model: OnnxModel, where: str, tensors: Mapping[str, str]
) -> Callable[[tuple[Array, ...]], Mapping[str, Array]]:
    """Return the function that computes tensors inside the network, for `Source.inner`.

    Args:
        graph: Of the file.
        model: The file.
        where: Start of messages.
        tensors: Which of the file's tensors a node of the graph stands for, by node.
    """

    def inner(inputs: tuple[Array, ...]) -> Mapping[str, Array]:
        import onnx

        proto = onnx.load_model_from_string(model.content)
        outputs = {output.name for output in proto.graph.output}
        # What is inside a function has no name there.
        there = {name for node in proto.graph.node for name in node.output}
        there.update(each.name for each in proto.graph.input)
        asked = {node: name for node, name in tensors.items() if name in there}
        for name in asked.values():
            if name not in outputs:
                proto.graph.output.add().name = name
        run = make_run(
            graph,
            dataclasses.replace(
                model, content=proto.SerializeToString(), outputs=tuple(asked.values())
            ),
            where,
        )
        return dict(zip(asked, run(inputs), strict=True))

    return inner


def _run(
    graph: Graph,
    names: tuple[str, ...],
    outputs: tuple[str, ...],
    fixed: int | None,
    where: str,
    open_session: Callable[[], onnxruntime.InferenceSession],
    inputs: tuple[Array, ...],
) -> tuple[Array, ...]:
    arrays = check_inputs(graph, inputs)
    n_samples = len(arrays[0])
    size = fixed or BATCH_SIZE
    if not n_samples:
        return tuple(np.zeros((0, *graph.types[name].shape), np.float32) for name in graph.outputs)
    session = open_session()
    batches = []
    for start in range(0, n_samples, size):
        places = np.arange(start, start + size if fixed else min(start + size, n_samples))
        feeds = {
            name: array[np.minimum(places, n_samples - 1)]
            for name, array in zip(names, arrays, strict=True)
        }
        try:
            batches.append(session.run(list(outputs), feeds))
        except Exception as error:
            raise _runtime_error(where, error) from error
    return tuple(
        np.asarray(np.concatenate(results)[:n_samples], np.float32)
        for results in zip(*batches, strict=True)
    )


def _open_session(model: OnnxModel, where: str) -> onnxruntime.InferenceSession:
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Else it multiplies by quantized weights with integers, which is less precise than the file.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        if model.external:
            values = [
                onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array))
                for array in model.external.values()
            ]
            options.add_external_initializers(list(model.external), values)
        return onnxruntime.InferenceSession(
            model.content, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        # The exceptions of onnxruntime share no narrower class.
        raise _runtime_error(where, error) from error


def _runtime_error(where: str, error: Exception) -> ConversionError:
    detail = " ".join(str(error).split())[:300]
    return ConversionError(
        f"{where}: onnxruntime cannot run the network ({detail}), expected it to",
        hint="upgrade onnxruntime, or export the network with an older opset",
    )
