"""The shipped networks keep their accuracy as spiking networks, and both formats agree."""

import pytest

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.compare import CountRecorder, compare_counts
from spikeport.runtime.evaluate import evaluate

SHAPES = ((28, 28, 1),)


def converted(name: str, suffix: str, recipe: str = "rate"):
    source = read(weights_path(name, suffix))
    calibration = load_data("fashion-mnist:train", SHAPES, shipped=True)
    return source, convert(source, calibration.inputs, recipe=recipe, n_steps=64).graph


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "allowed_drop"), [("mlp", 0.01), ("lenet", 0.01), ("vgg", 0.01), ("resnet", 0.02)]
)
def test_accuracy_at_64_steps_is_close_to_the_ann(name, allowed_drop):
    source, graph = converted(name, ".onnx")
    test = load_data("fashion-mnist:test", SHAPES, shipped=True)
    result = evaluate(graph, test.inputs, test.labels, ann=source.run)
    assert result.accuracy is not None
    assert result.ann_accuracy is not None
    assert result.n_samples == 1000
    assert result.accuracy[-1] >= result.ann_accuracy - allowed_drop


@pytest.mark.slow
def test_keras_and_onnx_of_one_network_decide_alike_at_every_step():
    """Recipe light: rate fits weights to spikes, which makes more of the exporter's rounding."""
    test = load_data("fashion-mnist:test", SHAPES, shipped=True, limit=200)
    recorders = [CountRecorder(), CountRecorder()]
    decisions = []
    for suffix, recorder in zip((".keras", ".onnx"), recorders, strict=True):
        _, graph = converted("lenet", suffix, "light")
        decisions.append(evaluate(graph, test.inputs, observe=recorder).decisions)
    assert (decisions[0] == decisions[1]).all()
    assert max(compare_counts(*recorders)) < 0.001
