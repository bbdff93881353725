import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.runtime.decoding import Readout
from spikeport.runtime.values import ValueRecorder


def test_errors_and_correlation_over_batches() -> None:
    recorder = ValueRecorder(("a", "b"), (Readout(), Readout("relu")))
    ann = np.array([[1.0, -3.0], [2.0, 0.0]], np.float32)
    potentials = np.array([[1.5, -2.0], [2.0, 0.5]], np.float32)
    for row in (slice(0, 1), slice(1, 2)):
        recorder.add((ann[row], np.maximum(ann[row], 0)), (potentials[row], potentials[row]))
    linear, rectified = recorder.result()
    assert linear.output == "a"
    assert linear.mean_error == pytest.approx(2.0 / 6.0)
    assert linear.largest_error == pytest.approx(1.0 / 3.0)
    assert linear.correlation == pytest.approx(np.corrcoef(ann.ravel(), potentials.ravel())[0, 1])
    assert rectified.mean_error == pytest.approx(1.0 / 3.0)
    assert rectified.largest_error == pytest.approx(0.5 / 2.0)
    assert recorder.result()[0].to_json()["output"] == "a"


def test_constant_outputs_have_no_correlation() -> None:
    recorder = ValueRecorder(("a",), (Readout(),))
    recorder.add((np.zeros((2, 1), np.float32),), (np.ones((2, 1), np.float32),))
    (found,) = recorder.result()
    assert (found.mean_error, found.largest_error, found.correlation) == (None, None, None)


def test_outputs_of_another_network_are_refused() -> None:
    recorder = ValueRecorder(("a",), (Readout(),))
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(DataError, match="ann: gives 2 outputs, expected 1"):
        recorder.add((x, x), (x,))
    with pytest.raises(DataError, match=r"ann: gives \(2, 3\) for the output a, expected \(2, 1"):
        recorder.add((x,), (x[:, :1],))


def test_the_size_of_batches_changes_no_bit():
    ann, snn = np.random.default_rng(0).normal(0, 1, (2, 50, 7)).astype(np.float32)
    results = []
    for size in (1, 7, 50):
        recorder = ValueRecorder(["y"], [Readout()])
        for start in range(0, 50, size):
            part = slice(start, start + size)
            recorder.add([ann[part]], [snn[part]])
        results.append(recorder.result())
    assert results[0] == results[1] == results[2]
