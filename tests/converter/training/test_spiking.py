"""Trained over time: what is converted fires as it did in training."""

import numpy as np
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.errors import FormatError, PassError
from spikeport.converter.frontends import read
from spikeport.converter.ir import IntegrateFire, LeakyFire
from spikeport.converter.training import activations
from spikeport.converter.training.constraints import choose_constraints
from spikeport.converter.training.finish import choose_recipe, convert_trained, encode_trained
from spikeport.converter.training.student import build_student
from spikeport.converter.training.train import Settings, train
from spikeport.converter.training.trained_graph import trained_graph
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.engines.reference import simulate

from .tiny import samples

LEAKS = {"relu1": 0.25, "relu2": 0.0, "dense1": 0.125}


@pytest.fixture(scope="module")
def converted(tiny_source, tmp_path_factory):
    """A student with leaks that are set by hand, and the spiking graph of its .keras file."""
    data = samples()
    student = build_student(
        tiny_source.graph, choose_constraints(("surrogate",)), (data.inputs,), seed=1
    )
    for name, leak in LEAKS.items():
        student.inner.get_layer(student.activations[name]).leak.assign([leak])
    graph = trained_graph(student, tiny_source.graph)
    path = tmp_path_factory.mktemp("spiking") / "trained.keras"
    path.write_bytes(encode_trained(graph))
    return student, path, convert_trained(path, graph, data.inputs).graph


def neurons(graph):
    return {n.name: n.op for n in graph.nodes if isinstance(n.op, LeakyFire | IntegrateFire)}


def test_leaks_go_through_the_file(converted):
    _, path, spiking = converted
    assert read(path).graph.metadata["leaks"] == {"relu1": 0.25, "dense1": 0.125}
    found = {name: getattr(op, "leak", 0.0) for name, op in neurons(spiking).items()}
    assert found == LEAKS
    assert isinstance(neurons(spiking)["relu2"], IntegrateFire)
    assert (spiking.metadata["recipe"], spiking.metadata["n_steps"]) == ("trained", 4)


@pytest.mark.parametrize("engine", ["reference", "event"])
def test_fires_as_in_training(converted, engine):
    """Counts of every neuron, and outputs, are those of the simulation that was trained."""
    student, _, spiking = converted
    inputs = samples(32, seed=7).inputs
    expected, *rates = (np.asarray(found) for found in student.with_rates(inputs))
    result = ENGINES[engine](spiking).run((inputs,), 4, count_spikes=True)
    np.testing.assert_allclose(result.outputs[0][-1], expected, rtol=1e-4, atol=1e-5)
    for (name, layer), mean in zip(student.activations.items(), rates, strict=True):
        threshold = float(student.inner.get_layer(layer).threshold[0])
        counts = np.rint(mean * 4 / threshold).astype(int)
        found = result.spike_counts[name]
        if found.ndim == 4:
            found = np.moveaxis(found, 1, -1)
        assert counts.any()
        np.testing.assert_array_equal(found.reshape(counts.shape), counts)


def test_without_its_leak_it_would_fire_otherwise(converted):
    student, _, spiking = converted
    inputs = samples(32, seed=7).inputs
    expected = np.asarray(student.model(inputs))
    nodes = []
    for node in spiking.nodes:
        if isinstance(node.op, LeakyFire):
            op = IntegrateFire(node.op.threshold, node.op.initial_potential)
            node = type(node)(node.name, op, node.inputs, node.source, node.unit)
        nodes.append(node)
    found = simulate(spiking.replace(nodes=tuple(nodes)), (inputs,), 4).outputs[0][-1]
    assert np.abs(found - expected).max() > 1e-3


@pytest.mark.slow
def test_training_moves_leaks(tiny_source):
    settings = Settings(n_epochs=2, batch_size=32, learning_rate=1e-2)
    options = {"surrogate": {"leak": 0.2}}
    constraints = choose_constraints(("surrogate",), options)
    graph = train(tiny_source, samples(), constraints, settings).graph
    leaks = graph.metadata["leaks"]
    assert set(leaks) <= set(LEAKS)
    assert any(abs(leak - 0.2) > 1e-3 for leak in leaks.values())
    assert choose_recipe(graph) == ("trained", 4)
    fixed = {"surrogate": {"leak": 0.2, "train_leak": False}}
    kept = train(tiny_source, samples(), choose_constraints(("surrogate",), fixed), settings).graph
    np.testing.assert_allclose(list(kept.metadata["leaks"].values()), 0.2)


def test_recipes_that_fit_neurons_leave_leaks_out(converted):
    _, path, _ = converted
    spiking = convert(path, samples().inputs, recipe="rate", n_steps=4).graph
    assert not any(isinstance(op, LeakyFire) for op in neurons(spiking).values())
    assert "leaks" not in spiking.metadata


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("trained", {"insert_neurons": {"signed": True}}, "signed: relu1 .*training chose"),
        ("trained", {"insert_neurons": {"leak": 0.5}}, "leak: relu1 .*training chose"),
        ("graded", {}, "insert_graded_neurons: relu1, dense1 were trained with a leak"),
        ("differential", {}, "insert_differential_neurons: relu1, dense1 were trained with a leak"),
    ],
)
def test_other_neurons_than_those_of_training_are_refused(converted, recipe, options, message):
    _, path, _ = converted
    with pytest.raises(PassError, match=message):
        convert(path, samples().inputs, recipe=recipe, n_steps=4, options=options)


def test_leak_of_a_file_that_is_none(tmp_path):
    import keras

    layer = activations.ClippedReLU(name="own")
    model = keras.Sequential([keras.layers.Input((3,)), layer, keras.layers.Dense(2)])
    layer.leak = 1.5
    path = tmp_path / "own.keras"
    model.save(path)
    with pytest.raises(FormatError, match=r"leak is 1\.5, expected 0 <= leak < 1"):
        read(path)
