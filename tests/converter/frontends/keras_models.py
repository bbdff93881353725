"""Keras models with random weights, compared with what is read of them."""

import os
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
from keras import layers as kl

from spikeport.converter.frontends import read
from spikeport.converter.ir import Graph, run

Model = keras.Model
FIRST = "channels_first"


def randomize(model: Model, seed: int = 0) -> Model:
    random = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.name in {"moving_variance", "moving_stddev", "renorm_stddev"}:
            variable.assign(random.uniform(0.5, 2.0, variable.shape))
        elif variable.name != "count":
            scale = 1 / np.sqrt(max(1, np.prod(variable.shape[:-1])))
            shift = 0.5 if variable.name in {"bias", "beta"} else 0.0  # else all ReLUs may be 0
            variable.assign(random.normal(shift, scale, variable.shape))
    return model


def samples(graph: Graph, n: int = 3) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(1)
    shapes = [graph.types[name].shape for name in graph.inputs]
    return tuple(random.normal(size=(n, *shape)).astype(np.float32) for shape in shapes)


def assert_equal(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.abs(b).max() > 0
        assert np.abs(a - b).max() < 1e-4 * np.abs(b).max()


def check(model: Model, folder: Path, suffixes: tuple[str, ...] = (".keras", ".h5")) -> Graph:
    """Compare the model in memory and its files with Keras; return the graph."""
    source = read(model)
    x = samples(source.graph)
    expected = source.run(x)
    assert_equal(run(source.graph, x), expected)
    for suffix in suffixes:
        path = folder / f"model{suffix}"
        model.save(path)
        graph = read(path).graph
        assert [*graph.by_name] == [*source.graph.by_name]
        assert_equal(run(graph, x), run(source.graph, x))
    return source.graph


def sequential(shape: tuple[int, ...], *layers: kl.Layer) -> Model:
    return randomize(keras.Sequential([kl.Input(shape, name="x"), *layers], name="net"))


def ops_of(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]
