"""The graphs of tests/data/golden_v*.snn, and files that lie with the right hashes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikeport.converter.exports import container
from spikeport.converter.exports.snn import encode_graph
from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset, SpikingMaxPool
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    Input,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)

METADATA = {
    "readout": ["softmax", "linear"],
    "source": {"name": "größe.keras", "sha256": "0" * 64},
    "numbers": [1, -0.5, 1e-3, 2**62, True, None, {}, []],
}


def ramp(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape)) - 3).reshape(shape) / 8


def build_golden() -> Graph:
    """Every operation of version 1; never changed, as the file is not."""
    one = np.ones((1, 1, 1))
    nodes = (
        Node("x", Input((4, 4, 2)), source="input_layer"),
        Node("nchw", Transpose((2, 0, 1)), ("x",)),
        Node("scale", Scale(2 * one, -one), ("nchw",), source="rescaling"),
        Node("pad", Pad(((0, 0), (1, 0), (0, 1))), ("scale",)),
        Node(
            "conv",
            Conv(ramp(4, 1, 2, 3), ramp(4), (1, 1), (1, 2), ((0, 0), (2, 2)), 2),
            ("pad",),
            unit=ramp(4, 1, 1) + 1,
        ),
        Node("bn", BatchNorm(*(ramp(4) + 1 for _ in range(4)), 1e-3), ("conv",)),
        Node("neuron", IntegrateFire(one, 0.5 * one, Reset.ZERO), ("bn",), "relu", ramp(4, 1, 1)),
        Node("pool", SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2), ("neuron",)),
        Node("drop", Identity(), ("pool",), "dropout"),
        Node("mean", AveragePool((2, 1), (1, 2), ((1, 0), (0, 0)), True), ("drop",)),
        Node("max", MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2), ("scale",)),
        Node("flat", Reshape((8,)), ("mean",)),
        Node("flatten", Flatten(), ("max",)),
        Node("add", Add(), ("flat", "flatten", "flat")),
        Node("gap", GlobalAveragePool(), ("pool",)),
        Node("cat", Concatenate(0), ("add", "gap")),
        Node("relu", Relu(np.full(1, 6.0)), ("cat",)),
        Node("open", Relu(), ("relu",)),
        Node("dense", Dense(ramp(3, 12), ramp(3)), ("open",)),
        Node("softmax", Softmax(0), ("dense",)),
        Node("again", IntegrateFire(np.ones(1), np.zeros(1)), ("dense",)),
        Node("sigmoid", Sigmoid(), ("dense",)),
    )
    return Graph(nodes, ("x",), ("softmax", "sigmoid", "again"), METADATA)


@pytest.fixture(scope="session")
def golden_graph() -> Graph:
    return build_golden()


def build_golden_bits() -> Graph:
    """What version 2 added; never changed, as the file is not."""
    signs = np.sign(np.sin(np.arange(1, 9 * 2 * 3 * 3 + 1))).reshape(9, 2, 3, 3)
    ternary = np.round(np.sin(np.arange(11 * 18))).reshape(11, 18)
    ternary[4] = 0
    one, ones = np.ones((1, 1, 1)), (1, 1)
    conv = Conv(signs * ramp(9, 1, 1, 1) + 0, ramp(9), ones, ones, ((0, 0),) * 2)
    nodes = (
        Node("x", Input((2, 4, 4))),
        Node("binary", conv, ("x",), unit=ramp(9, 1, 1) + 1),
        Node("neuron", IntegrateFire(one, 0.5 * one), ("binary",)),
        Node("sign", Scale(2 * one, -one), ("neuron",)),
        Node("flat", Reshape((36,)), ("sign",)),
        Node("pairs", Dense(np.array([[1, -1] * 18, [2, 2] * 18]), ramp(2)), ("flat",)),
        Node("half", Select((tuple(range(18)),)), ("flat",)),
        Node("ternary", Dense(ternary / 8 + 0, ramp(11)), ("half",)),
        Node("whole", Dense(ramp(3, 11), ramp(3)), ("ternary",)),
    )
    return Graph(nodes, ("x",), ("pairs", "whole"), {})


@pytest.fixture(scope="session")
def golden_bits() -> Graph:
    return build_golden_bits()


@pytest.fixture(scope="session")
def small_file() -> bytes:
    """A file of a few hundred bytes, for tests that try every one of them."""
    dense = Dense(ramp(2, 3), ramp(2))
    nodes = (Node("x", Input((3,))), Node("d", dense, ("x",), unit=np.full(1, 2.0)))
    return encode_graph(Graph(nodes, ("x",), ("d",), {"n_steps": 64}))


@pytest.fixture(scope="session")
def forge() -> Callable[..., bytes]:
    """Return a file with a changed document or changed tensors, and the hashes that fit."""

    def forge_file(
        file: bytes,
        change: Callable[[dict[str, Any]], Any] = lambda document: None,
        change_arrays: Callable[[dict[str, Any]], Any] = lambda arrays: None,
    ) -> bytes:
        opened = container.open_document(file)
        document, arrays = container.extract(file, opened)
        document = copy.deepcopy(document)
        del document["tensors"]
        change(document)
        change_arrays(arrays)
        return container.pack(document, list(arrays.items()))

    return forge_file
