import numpy as np
import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.ir import run
from spikeport.converter.ir.ops import Conv, Dense
from spikeport.converter.passes import PASSES

X = np.random.default_rng(0).uniform(0, 1, (60, 8, 8, 2)).astype(np.float32)


def simple(graph):
    for name in ("remove_no_ops", "strip_output_activation", "fold_batch_norm"):
        graph = PASSES[name](graph)
    return graph


def error_of(graph, **options):
    result = PASSES["binarize_weights"](graph, calibration=(X,), **options)
    expected, found = run(graph, (X,))[0], run(result, (X,))[0]
    return float(np.abs(expected - found).mean()), result


def test_only_inner_layers_become_binary(sample_graphs):
    graph = simple(sample_graphs["cnn"])
    _, result = error_of(graph)
    layers = [n.name for n in graph.nodes if isinstance(n.op, Conv | Dense)]
    first, second, last = layers
    for name in (first, last):
        assert result.by_name[name].op is graph.by_name[name].op
    weight = result.by_name[second].op.weight.reshape(6, -1)
    assert (np.abs(weight) == np.abs(weight[:, :1])).all()
    _, everything = error_of(graph, all_layers=True)
    for name in layers:
        weight = everything.by_name[name].op.weight
        flat = weight.reshape(len(weight), -1)
        assert (np.abs(flat) == np.abs(flat[:, :1])).all()


def test_corrections_make_the_error_smaller(sample_graphs):
    graph = simple(sample_graphs["cnn"])
    none, bias, moments = (
        error_of(graph, all_layers=True, correct=each)[0] for each in ("none", "bias", "moments")
    )
    assert bias < none
    assert moments < none


def test_bias_correction_makes_means_equal(sample_graphs):
    graph = simple(sample_graphs["cnn"])
    _, result = error_of(graph, all_layers=True, correct="bias")
    expected, found = (run(each, (X,))[0].mean(axis=0) for each in (graph, result))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scheme": "ternry"}, "scheme 'ternry', expected one of connect"),
        ({"correct": "all"}, "correct 'all', expected one of none, bias, moments"),
        ({"n_samples": 0}, "n_samples 0, expected at least 1"),
    ],
)
def test_wrong_options_are_refused(sample_graphs, options, match):
    with pytest.raises(PassError, match=match):
        error_of(simple(sample_graphs["cnn"]), **options)
