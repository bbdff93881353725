"""A network that is misread: the gate asks the source's framework where that begins."""

import dataclasses
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as kl

from spikeport.converter.convert import convert
from spikeport.converter.equality import compare_with_source
from spikeport.converter.errors import ConversionError
from spikeport.converter.frontends import Source, read
from spikeport.converter.ir import Graph, Node, run
from spikeport.converter.ir.ops import Conv, Dense, Input, QuantizedRelu

from .frontends.onnx_writer import Writer

X = np.random.default_rng(3).uniform(0, 1, (6, 8, 8, 2)).astype(np.float32)


def model() -> keras.Model:
    """Channels last, with a nested model: other names and another order of axes than the graph."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 2), name="x")
    block = keras.Sequential(
        [kl.Input((8, 8, 3)), kl.Conv2D(8, 3, activation="relu", name="second")], name="block"
    )
    h = block(kl.Conv2D(3, 3, padding="same", activation="relu", name="first")(x))
    return keras.Model(x, kl.Dense(4, name="logits")(kl.Flatten(name="flat")(h)))


def onnx_file(folder: Path) -> Path:
    w = Writer()
    h = w.op("Relu", w.conv(w.input(2, 8, 8), 3, 2, 3, 3))
    h = w.op("Flatten", w.op("Relu", w.conv(h, 4, 3, 3, 3)))
    return w.save(folder, w.gemm(h, 64, 4))


def misread(source: Source, name: str) -> Source:
    """As if the translation had mirrored the weight of one layer."""
    nodes = tuple(
        dataclasses.replace(node, op=dataclasses.replace(node.op, weight=node.op.weight[..., ::-1]))
        if node.name == name and isinstance(node.op, Conv | Dense)
        else node
        for node in source.graph.nodes
    )
    return dataclasses.replace(source, graph=source.graph.replace(nodes=nodes))


def refuse(source: Source, name: str, named: str, samples: np.ndarray) -> None:
    assert name in source.graph.types
    pattern = rf"^{re.escape(named)}: differs from the source after reading: .* expected [-\d.]+ "
    with pytest.raises(ConversionError, match=pattern):
        convert(misread(source, name), samples)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("first/linear", "first (Relu)"),
        ("block/second/linear", "block/second (Relu)"),
        ("logits", "logits (Dense)"),
    ],
)
def test_keras(broken: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    network = model()
    network.save(path)
    for source in (read(path), read(network)):
        refuse(source, broken, named, X)
    again = convert(network, X)  # nothing of the search is left in the model
    assert again.log[0].relative_error is not None


def test_onnx(tmp_path: Path) -> None:
    source = read(onnx_file(tmp_path))
    samples = X.transpose(0, 3, 1, 2)
    for name in ("conv0", "conv2", "gemm5"):
        named = next(str(node) for node in source.graph.nodes if node.name == name)
        refuse(source, name, named, samples)


def test_source_that_cannot_say(tmp_path: Path) -> None:
    source = read(onnx_file(tmp_path))

    def fail(inputs: object) -> dict[str, np.ndarray]:
        raise ConversionError("out of luck")

    unknown = dataclasses.replace(misread(source, "conv0"), inner=fail)
    with pytest.raises(ConversionError, match=r"^gemm\d+ \(Dense\): differs from the source"):
        convert(unknown, X.transpose(0, 3, 1, 2))


def test_activations_that_jump_may_differ_in_a_few_samples():
    """A sum next to a step may fall on either side; a misread network differs everywhere."""
    nodes = (
        Node("x", Input((2,))),
        Node("dense", Dense(np.eye(2, dtype=np.float32), np.zeros(2)), ("x",)),
        Node("steps", QuantizedRelu(np.ones(1, np.float32), 2), ("dense",)),
    )
    graph = Graph(nodes, ("x",), ("steps",))
    x = np.random.default_rng(0).uniform(0, 1, (8, 2)).astype(np.float32)
    (outputs,) = run(graph, (x,))
    few, many = outputs.copy(), outputs.copy()
    few[:3] += 0.5
    many[:5] += 0.5
    _, error = compare_with_source(graph, (x,), (few,))
    assert error == 0
    with pytest.raises(ConversionError, match=r"steps \(QuantizedRelu\): differs from the source"):
        compare_with_source(graph, (x,), (many,))
