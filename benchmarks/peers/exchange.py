"""What every tool is given: the same network, weights, images and settings, as .npz and .onnx.

The analog network is given behind our own folding of batch norm and without its softmax, as a chain
of layers. Layouts: convolutions [C_out, C_in, H, W], dense [out, in]; the columns of a dense layer
behind a feature map are in the order of [C, H, W]; images are [N, C, H, W].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.converter.convert import convert
from spikeport.converter.errors import ConversionError
from spikeport.converter.exports.snn import write_snn
from spikeport.converter.frontends import Source, read
from spikeport.converter.ir import Array, Graph, Node, run
from spikeport.converter.ir.neurons import IntegrateFire, Reset
from spikeport.converter.ir.ops import (
    AveragePool,
    Conv,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Relu,
    Reshape,
    Transpose,
)
from spikeport.converter.passes import PASSES
from spikeport.converter.recipes import SIMPLIFY
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path


def write_exchange(
    folder: Path, *, network: str, n_steps: int, n_images: int, batch_size: int, n_threads: int
) -> dict[str, Any]:
    """Write ann.npz, ann.onnx and ours.snn, and return what they hold, for the report.

    Args:
        folder: Exists.
        network: A key of MODELS; a chain of layers.
        n_steps: T.
        n_images: Of the test split, the first ones.
        batch_size: Images that a tool takes at a time.
        n_threads: Threads that a tool may use.
    """
    path = weights_path(network, ".onnx")
    source = read(path)
    shape = source.graph.types[source.graph.inputs[0]].shape
    calibration = load_data("fashion-mnist:train", (shape,), limit=1000)
    test = load_data("fashion-mnist:test", (shape,), limit=n_images)
    graph = source.graph
    for name in SIMPLIFY:
        supplied = {"calibration": calibration.inputs, "n_steps": n_steps}
        graph = PASSES[name](graph, **{key: supplied[key] for key in PASSES[name].needs})
    layers, arrays = chain_layers(graph)
    (logits,) = run(graph, test.inputs)
    settings = {
        "n_steps": n_steps,
        "batch_size": batch_size,
        "n_threads": n_threads,
        "layers": layers,
    }
    np.savez(
        folder / "ann.npz",
        settings=np.array(json.dumps(settings)),
        x=_channels_first(test.inputs[0]),
        y=np.asarray(test.labels),
        calibration=_channels_first(calibration.inputs[0]),
        logits=logits,
        **arrays,
    )
    _write_onnx_without_softmax(path, folder / "ann.onnx")
    conversion = convert(
        source, calibration.inputs, n_steps=n_steps, calibration_name=calibration.name
    )
    write_snn(conversion.graph, folder / "ours.snn")
    return {
        "network": network,
        "data": test.name,
        "calibration": calibration.name,
        "n_images": len(test.inputs[0]),
        "n_steps": n_steps,
        "batch_size": batch_size,
        "n_threads": n_threads,
        "recipe": conversion.graph.metadata["recipe"],
        "ann_sha256": source.sha256,
        "ann_relative_error": _relative_error(source, graph, test.inputs),
    }


def chain_layers(graph: Graph) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """Return a graph as a list of layers, first to last, and their arrays by name.

    Raises:
        ConversionError: The graph is no chain, or has an operation other than convolutions, dense
            layers, ReLUs, integrate-and-fire neurons, poolings and one flattening.
    """
    layers: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    columns: np.ndarray | None = None
    before = ""
    for place, node in enumerate(graph.nodes):
        if node.inputs not in {(), (before,)}:
            raise ConversionError(f"{node}: expected a chain of layers", hint="try vgg or lenet")
        before = node.name
        shapes = [graph.types[name].shape for name in node.inputs]
        op = node.op
        if columns is not None and not isinstance(op, Flatten | Dense):
            raise _refuse(node)
        match op:
            case Input():
                pass
            case Reshape() if place == 1 and shapes[0] == (*op.shape[1:], 1) and op.shape[0] == 1:
                pass
            case Transpose() if place > 1:
                columns = np.arange(np.prod(shapes[0])).reshape(shapes[0])
                columns = columns.transpose(op.permutation).reshape(-1)
            case Flatten():
                layers.append({"kind": "flatten"})
            case Conv() | Dense():
                weight = op.weight
                if isinstance(op, Dense) and columns is not None:
                    weight = np.empty_like(op.weight)
                    weight[:, columns] = op.weight
                    columns = None
                arrays |= {f"weight{place}": weight, f"bias{place}": op.bias}
                layers.append({"kind": "dense", "place": place})
                if isinstance(op, Conv):
                    layers[-1] = _describe_conv(node, place)
            case Relu(max_value=None):
                layers.append({"kind": "relu"})
            case IntegrateFire(reset=Reset.SUBTRACT):
                arrays |= {
                    f"threshold{place}": op.threshold,
                    f"potential{place}": np.broadcast_to(op.initial_potential, shapes[0]),
                }
                layers.append({"kind": "fire", "place": place})
            case AveragePool() | MaxPool() if not np.any(op.padding):
                kind = "average_pool" if isinstance(op, AveragePool) else "max_pool"
                layers.append({"kind": kind, "kernel": op.kernel, "strides": op.strides})
            case _:
                raise _refuse(node)
    return layers, arrays


def _describe_conv(node: Node, place: int) -> dict[str, Any]:
    """Return a convolution whose padding is none, or as much as keeps the size."""
    op = node.op
    kernel = op.weight.shape[2:]
    same = tuple(((size - 1) // 2, size // 2) for size in kernel)
    if (
        op.groups != 1
        or any(d != 1 for d in op.dilation)
        or op.padding not in {same, ((0, 0),) * 2}
    ):
        raise _refuse(node)
    padding = tuple(low for low, high in op.padding)
    if any(low != high for low, high in op.padding):
        raise _refuse(node)
    if any(padding) and any(stride != 1 for stride in op.strides):  # Keras pads another side then
        raise _refuse(node)
    return {"kind": "conv", "place": place, "strides": op.strides, "padding": padding}


def _refuse(node: Node) -> ConversionError:
    return ConversionError(
        f"{node}: is not handed to other tools, expected plain convolutions, dense layers, ReLU, "
        "pooling without padding, and one flattening",
        hint="try vgg or lenet",
    )


def _channels_first(images: Array) -> Array:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _relative_error(source: Source, graph: Graph, inputs: tuple[Array, ...]) -> float:
    """Return how far the folded graph's probabilities are from the source's own."""
    (logits,), (expected,) = run(graph, inputs), source.run(inputs)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found = powers / powers.sum(axis=1, keepdims=True)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _write_onnx_without_softmax(path: Path, target: Path) -> None:
    import onnx

    model = onnx.load(path)
    last = model.graph.node[-1]
    if last.op_type != "Softmax":
        raise ConversionError(
            f"{path.name}: ends in {last.op_type}, expected Softmax", hint="use a shipped network"
        )
    model.graph.output[0].name = last.input[0]
    model.graph.node.remove(last)
    onnx.checker.check_model(model)
    onnx.save(model, target)
