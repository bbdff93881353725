"""The light networks of the onnx package: ImageNet architectures as Caffe2 exported them.

Their weights are constants that are all one number, so that every output is equal and comparing
them proves nothing. Here they are random, and what is in front of the softmax is compared as well.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from spikeport.converter.check import check, refusals
from spikeport.converter.equality import relative_error
from spikeport.converter.frontends import Source
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.converter.ir import run
from spikeport.converter.ir.ops import LocalResponseNorm

from .onnx_writer import save

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
N_HIDDEN = 256
HUGE = {"vgg19", "bvlc_alexnet", "zfnet512"}
"""Networks whose dense layers get N_HIDDEN units instead of 4096, for the test's time."""


def load(name: str) -> onnx.ModelProto:
    """A network with random weights, He-scaled, and the logits as a second output."""
    random = np.random.default_rng(0)
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph = model.graph
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    norms = [node for node in graph.node if node.op_type == "BatchNormalization"]
    positive = {node.input[place] for node in norms for place in (1, 4)}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = numpy_helper.to_array(shapes[node.input[0]])
        shape = tuple(np.where(shape == 4096, N_HIDDEN, shape)) if name in HUGE else tuple(shape)
        if node.output[0] in positive:
            values = random.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            scale = np.float32((2 / np.prod(shape[1:])) ** 0.5)
            values = random.standard_normal(shape, np.float32) * scale
        else:
            values = random.normal(0, 0.3, shape)
        tensor = numpy_helper.from_array(values.astype(np.float32), node.output[0])
        graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)
    if kept[-1].op_type == "Softmax":
        graph.output.add().name = kept[-1].input[0]
    return model


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("densenet121", marks=pytest.mark.slow),
        "inception_v2",
        pytest.param("resnet50", marks=pytest.mark.slow),
        "shufflenet",
        "squeezenet",
        pytest.param("vgg19", marks=pytest.mark.slow),
    ],
)
def test_light_network_equals_onnxruntime(name: str, tmp_path: Path) -> None:
    source = read_onnx(save(load(name), tmp_path))
    assert_equal(source)


def assert_equal(source: Source) -> None:
    shape = source.graph.types[source.graph.inputs[0]].shape
    x = np.random.default_rng(1).normal(0, 1, (1, *shape)).astype(np.float32)
    outputs = zip(source.run((x,)), run(source.graph, (x,)), strict=True)
    for expected, found in outputs:
        assert expected.size == 1000
        assert relative_error(expected, found) < 1e-4
    spread = expected.std() / np.abs(expected).max()  # of the logits
    assert spread > 0.05


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("bvlc_alexnet", marks=pytest.mark.slow),
        "inception_v1",
        pytest.param("zfnet512", marks=pytest.mark.slow),
    ],
)
def test_light_network_with_lrn_is_refused(name: str, tmp_path: Path) -> None:
    """It is read, and every LRN is a reason; it may be kept analog."""
    source = read_onnx(save(load(name), tmp_path))
    assert_equal(source)
    norms = [node for node in source.graph.nodes if isinstance(node.op, LocalResponseNorm)]
    assert len(norms) == 2
    assert refusals(check(source)) == tuple(
        f"{node.name} (LocalResponseNorm): divides by the energy of neighboring channels, which no "
        "rate of spikes stands for"
        for node in norms
    )
    assert not refusals(check(source, tuple(node.name for node in norms)))
