"""ROUND_TRIPS: by format, a check that a graph comes out of its file as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeport.converter.exports import FORMATS, export
from spikeport.converter.exports.keras.rates import to_rates
from spikeport.converter.exports.snn import read_snn
from spikeport.converter.imports import read_graph
from spikeport.converter.ir import Graph, Quantize, run
from spikeport.runtime.engines.reference import simulate

from .examples import draw_inputs
from .runners import GCC, compile_all, run_model, run_program, run_steps

N_STEPS = 12
ROUNDED = {
    "Softmax", "LogSoftmax", "Sigmoid", "Activation", "SoftmaxOfMean", "LogSoftmaxOfMean",
    "SigmoidOfMean", "ActivationOfMean", "LocalResponseNorm", "LocalResponseNormOfMean",
}  # fmt: skip
"""Their exponentials differ in the last bits; spikes behind them are the same in the examples."""


def _write(graph: Graph, name: str, folder: Path, *, lossy: bool = False) -> Path:
    path = folder / f"net{FORMATS[name].suffix}"
    assert export(graph, name, path, lossy=lossy).files
    return path


def _expect_outputs(graph: Graph, found, expected) -> None:
    is_rounded = any(type(node.op).__name__ in ROUNDED for node in graph.nodes)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype == np.float32
        if is_rounded:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(a, b)


def _expect_same(graph: Graph, found: Graph) -> None:
    """Equal counts of every neuron, equal outputs at every step."""
    inputs = draw_inputs(graph)
    expected, result = (simulate(each, inputs, N_STEPS) for each in (graph, found))
    assert list(expected.spike_counts) == list(result.spike_counts)
    for name, counts in expected.spike_counts.items():
        assert counts.any()
        np.testing.assert_array_equal(result.spike_counts[name], counts)
    for a, b in zip(result.outputs, expected.outputs, strict=True):
        np.testing.assert_array_equal(a, b)


def through_snn(graph: Graph, folder: Path) -> None:
    path = _write(graph, "snn", folder)
    found = read_snn(path)
    _expect_same(graph, found)
    again = folder / "again.snn"
    export(found, "snn", again)
    assert again.read_bytes() == path.read_bytes()


def through_onnx(graph: Graph, folder: Path) -> None:
    inputs = draw_inputs(graph)
    found = run_model(_write(graph, "onnx", folder).read_bytes(), graph, inputs, N_STEPS)
    _expect_outputs(graph, found, simulate(graph, inputs, N_STEPS).outputs)


def through_onnx_step(graph: Graph, folder: Path) -> None:
    inputs = draw_inputs(graph)
    expected = simulate(graph, inputs, N_STEPS)
    data = _write(graph, "onnx-step", folder).read_bytes()
    means, counts = run_steps(data, graph, inputs, N_STEPS)
    _expect_outputs(graph, means, expected.outputs)
    assert counts.keys() == expected.spike_counts.keys()
    for name, count in counts.items():
        np.testing.assert_array_equal(count, expected.spike_counts[name])


def through_c(graph: Graph, folder: Path) -> None:
    if GCC is None:
        pytest.skip("there is no gcc on this machine")
    inputs = draw_inputs(graph)
    given = inputs
    for node in graph.nodes:
        if isinstance(node.op, Quantize):
            given = (node.op.apply(inputs[0]),)
    _write(graph, "c", folder)
    program = compile_all({"net": graph}, folder)
    expect_c_equal(program, "net", graph, inputs, given, N_STEPS)


def expect_c_equal(program: Path, name: str, graph: Graph, inputs, given, n_steps: int) -> None:
    """Equal counts of every neuron, equal sums at every step; `given` are integers."""
    expected = simulate(graph, inputs, n_steps)
    sums, counts = run_program(program, name, graph, given, n_steps)
    n_samples = len(inputs[0])
    wanted = [count.reshape(n_samples, -1) for count in expected.spike_counts.values()]
    np.testing.assert_array_equal(counts, np.concatenate(wanted, axis=1))
    assert counts.any()
    means = [output.reshape(n_steps, n_samples, -1) for output in expected.outputs]
    steps = np.arange(1, n_steps + 1)[:, None]
    if all(graph.by_name[output].unit is None for output in graph.outputs):
        # Means are float32: sums of integers come back where they are below 2^24.
        found = np.rint(np.concatenate(means, axis=2).transpose(1, 0, 2) * steps)
        np.testing.assert_array_equal(sums, found)


def through_nir(graph: Graph, folder: Path) -> None:
    import nir

    path = _write(graph, "nir", folder, lossy=True)
    assert isinstance(nir.read(path), nir.NIRGraph)
    _expect_same(graph, read_graph(path))


def through_keras(graph: Graph, folder: Path) -> None:
    import keras

    analog, _ = to_rates(graph)
    assert not analog.varying
    inputs = draw_inputs(graph)
    expected = run(analog, inputs)
    model = keras.models.load_model(_write(graph, "keras", folder, lossy=True))
    found = np.asarray(model(inputs[0], training=False))
    assert expected[0].any()
    assert np.abs(found - expected[0]).max() < 1e-5 * np.abs(expected[0]).max()


ROUND_TRIPS: dict[str, Callable[[Graph, Path], None]] = {
    "snn": through_snn,
    "onnx": through_onnx,
    "onnx-step": through_onnx_step,
    "c": through_c,
    "nir": through_nir,
    "keras": through_keras,
}
