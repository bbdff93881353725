"""Networks whose outputs are no classes: read, converted, evaluated by their values."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
from keras import layers as kl

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.runtime.evaluate import Evaluation, evaluate
from spikeport.runtime.report.text import value_lines

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(0, 1, (24, 8, 8, 2)).astype(np.float32)


def save(model: keras.Model, path: Path) -> Path:
    random = np.random.default_rng(1)
    for variable in model.weights:
        fan_in = np.prod(variable.shape[:-1])
        variable.assign(random.normal(0.0, np.sqrt(2 / max(fan_in, 25)), variable.shape))
    model.save(path)
    return path


def evaluate_file(path: Path, x: tuple[np.ndarray, ...], n_steps: int = 64) -> Evaluation:
    source = read(path)
    snn = convert(source, x, n_steps=n_steps).graph
    return evaluate(snn, x, ann=source.run, n_threads=1)


def regression() -> keras.Model:
    x = kl.Input((8, 8, 2), name="x")
    y = kl.Flatten()(kl.Conv2D(6, 3, activation="relu")(x))
    return keras.Model(x, kl.Dense(3, name="angles")(kl.Dense(16, activation="relu")(y)))


def several_outputs() -> keras.Model:
    x, z = kl.Input((8, 8, 2), name="image"), kl.Input((4,), name="state")
    y = kl.GlobalAveragePooling2D()(kl.Conv2D(12, 3, activation="relu")(x))
    y = kl.Concatenate()([y, kl.Dense(8, activation="relu")(z)])
    y = kl.Dense(24, activation="relu")(y)
    outputs = {
        "kind": kl.Dense(3, activation="softmax", name="kind")(y),
        "box": kl.Dense(4, name="box")(y),
        "there": kl.Dense(1, activation="sigmoid", name="there")(y),
    }
    return keras.Model({"image": x, "state": z}, outputs)


def dense_map() -> keras.Model:
    x = kl.Input((8, 8, 2), name="x")
    y = kl.Conv2D(6, 3, padding="same", activation="relu")(x)
    z = kl.Conv2D(8, 3, 2, padding="same", activation="relu")(y)
    up = kl.Conv2DTranspose(6, 2, 2, activation="relu")(z)
    other = kl.UpSampling2D()(z)
    merged = kl.Concatenate()([up, y, other])
    return keras.Model(x, kl.Conv2D(3, 1, activation="softmax", name="map")(merged))


def test_regression(tmp_path: Path) -> None:
    result = evaluate_file(save(regression(), tmp_path / "net.keras"), (IMAGES,))
    (angles,) = result.values
    assert angles.mean_error < 0.05
    assert angles.correlation > 0.99
    (line,) = value_lines(result)
    assert line.startswith("output angles: off by ")


def test_more_steps_come_nearer(tmp_path: Path) -> None:
    path = save(regression(), tmp_path / "net.keras")
    few, many = (evaluate_file(path, (IMAGES,), n).values[0].mean_error for n in (8, 256))
    assert many < few / 4


def test_several_outputs(tmp_path: Path) -> None:
    states = RANDOM.uniform(-1, 1, (24, 4)).astype(np.float32)
    path = save(several_outputs(), tmp_path / "net.keras")
    result = evaluate_file(path, (IMAGES, states))
    assert len(result.values) == len(value_lines(result)) == 3
    assert all(each.mean_error < 0.1 for each in result.values)
    assert all(each.correlation > 0.95 for each in result.values)


def test_dense_maps(tmp_path: Path) -> None:
    result = evaluate_file(save(dense_map(), tmp_path / "net.keras"), (IMAGES,))
    (found,) = result.values
    assert found.mean_error < 0.05
    assert found.correlation > 0.98


@pytest.mark.parametrize("build", [regression, dense_map])
def test_both_files_of_a_network_give_identical_counts(build, tmp_path: Path) -> None:
    model = build()
    results = []
    for suffix in (".keras", ".h5"):
        path = save(model, tmp_path / f"net{suffix}")
        snn = convert(path, IMAGES, n_steps=16).graph
        results.append(evaluate(snn, (IMAGES,), n_threads=1))
    first, second = results
    assert first.firing_rate == second.firing_rate
    assert first.synaptic_operations == second.synaptic_operations
    np.testing.assert_array_equal(first.decisions, second.decisions)
    assert sum(first.firing_rate.values()) > 0
