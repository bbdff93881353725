"""A graph as a plain Keras model: `build_keras`; as a .keras file: `encode_keras`.

    graph node  ->  a layer of the same name (`layer_names`), channels last, TensorFlow's padding

Transpositions that only change the layout cost no layer: every result remembers the order of its
axes, and a Permute is written where an op needs another one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError, UnsupportedOpError
from ...ir import Graph, Node, run
from ...ir.ops import Input
from ..translation import Export, find_unknown, refuse
from .archive import encode_model
from .draft import Create, Draft, Value, layer_names
from .functions import FUNCTIONS
from .rates import REPLACED, to_rates
from .weights import read_weights
from .windows import WINDOWS

LAYERS = {**WINDOWS, **FUNCTIONS}
"""By op: (draft, node, values of the operands) -> value."""
TRANSLATED = frozenset({"Input", *LAYERS})
SPIKING_TOO = TRANSLATED | {op.__name__ for op in REPLACED}
"""What `encode_keras` translates, with `lossy`."""
TOLERANCE = 1e-4
N_SAMPLES = 4
HINT = "Keras has no spiking neurons; `--to onnx` runs the network over time"
HINT_LOSSY = "--lossy writes the analog network of the rates; --to onnx writes the spiking one"

__all__ = [
    "LAYERS",
    "TRANSLATED",
    "build_keras",
    "encode_keras",
    "encode_model",
    "layer_names",
    "read_weights",
]


def _plain_layer(kind: str, **settings: Any) -> Any:
    from ...training.table import find_layer

    return find_layer(kind)(**settings)


def build_keras(graph: Graph, *, create: Create = _plain_layer) -> Any:
    """Return an analog graph as a functional Keras model with the graph's weights.

    The layer of a node is called as `layer_names` says; what a node needs beside it (padding,
    another order of axes) is called NAME_padding and so on. Weights come back with `read_weights`.

    Args:
        graph: Without neurons. Units of nodes are not looked at.
        create: (class name of keras.layers, **settings) -> layer; `name` is among the settings.
            Called for every layer, so that training can put its own in place of one, for example
            a quantised ReLU; convolutions and dense layers must have the weights of Keras' own.

    Returns:
        keras.Model from the graph's inputs, [N, *shape], to its outputs, in the graph's order of
        axes: a tensor for one output, else a list.

    Raises:
        UnsupportedOpError: Lists every node that no layer of Keras computes.
    """
    import keras

    refuse(find_unknown(graph, TRANSLATED, "Keras"), "Keras", hint=HINT)
    draft = Draft(graph, create)
    values: dict[str, Value] = {}
    reasons: list[str] = []
    for node in graph.nodes:
        if isinstance(node.op, Input):
            tensor = keras.Input(node.op.shape, name=draft.names[node.name])
            values[node.name] = Value(tensor, tuple(range(len(node.op.shape))))
        elif all(name in values for name in node.inputs):
            operands = (values[name] for name in node.inputs)
            try:
                values[node.name] = LAYERS[type(node.op).__name__](draft, node, *operands)
            except UnsupportedOpError as error:
                reasons.append(f"{node}: {error}")
    refuse(reasons, "Keras", hint=HINT)
    outputs = [_output(draft, graph.by_name[name], values[name]) for name in graph.outputs]
    inputs = [values[name].tensor for name in graph.inputs]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        outputs if len(outputs) > 1 else outputs[0],
        name="network",  # else Keras counts models
    )


def _output(draft: Draft, node: Node, value: Value) -> Any:
    tensor = draft.plain(value, node.name)
    if isinstance(node.op, Input):
        tensor = draft.layer("Identity", node.name, part="output")(tensor)
    return tensor


def encode_keras(graph: Graph, *, lossy: bool = False) -> Export:
    """Return a graph as a .keras file, which was loaded and compared with the graph.

    Args:
        graph: Analog; or spiking, with `lossy`.
        lossy: Write a spiking graph as the analog one of its rates, see rates.py.

    Raises:
        UnsupportedOpError: Neurons, or nodes that no layer of Keras computes.
        FormatError: The loaded file computes something else.
    """
    spiking = bool(graph.varying)
    graph, losses = to_rates(graph)
    refuse(find_unknown(graph, TRANSLATED, "Keras"), "Keras", hint=HINT)
    if losses and not lossy:
        refuse(losses, "Keras", hint=HINT_LOSSY)
    data = encode_model(build_keras(graph))
    error = _compare(graph, data)
    if not error < TOLERANCE:
        raise FormatError(
            f"the model differs from the graph by {error:.2g} of the largest output, expected "
            f"below {TOLERANCE:g}",
            hint="another version of Keras may compute a layer differently; please report this",
        )
    names = ", ".join(graph.inputs)
    what = "the rates that the neurons tend to" if spiking else "what the graph computes"
    notes = (
        f"inputs {names}; {what}; loaded and compared, relative error {error:.1e}",
    )  # fmt: skip
    return Export({".keras": data}, losses, notes)


def _compare(graph: Graph, data: bytes) -> float:
    """Return how far the loaded model's outputs are from the graph's, relative to the largest."""
    import keras

    random = np.random.default_rng(0)
    inputs = tuple(
        random.random((N_SAMPLES, *graph.types[name].shape), np.float32) for name in graph.inputs
    )
    with tempfile.TemporaryDirectory(prefix="spikeport-") as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        model = keras.models.load_model(path, compile=False)
    found = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
    found = found if isinstance(found, list | tuple) else [found]
    error = 0.0
    for expected, output in zip(run(graph, inputs), found, strict=True):
        largest = max(float(np.abs(expected).max()), 1e-30)
        difference = np.abs(np.asarray(output) - expected).max()
        error = max(error, float(difference) / largest)
    return error
