"""What is checked before anything is simulated: settings, samples, labels."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError, SimulationError, find
from ..converter.ir import Graph, Samples
from ..converter.ir.types import DEFAULT_N_STEPS, MAX_N_STEPS
from .decoding import read_readouts
from .engines import ENGINES
from .simulation import check_threads

Labels = npt.NDArray[np.int64]


def check_settings(*, n_steps: object, batch_size: int, engine: str, n_threads: int | None) -> None:
    """Check what needs neither graph nor samples.

    Raises:
        SimulationError: n_steps, batch_size or n_threads out of range, or no such engine.
    """
    check_n_steps(n_steps)
    if batch_size < 1:
        raise SimulationError(
            f"batch_size {batch_size}, expected at least 1", hint="100 is the default"
        )
    find(ENGINES, engine, "engine", SimulationError)
    if n_threads is not None:
        check_threads(n_threads)


def check_n_steps(n_steps: object) -> None:
    """Check a number of steps.

    Raises:
        SimulationError: It is out of range.
    """
    if type(n_steps) is not int or not 1 <= n_steps <= MAX_N_STEPS:
        raise SimulationError(
            f"n_steps {n_steps!r}, expected an integer of at least 1 and at most {MAX_N_STEPS}",
            hint=f"try --n-steps {DEFAULT_N_STEPS}",
        )


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_samples(
    graph: Graph,
    inputs: tuple[Samples, ...],
    labels: Labels | None,
    shapes: tuple[tuple[int, ...], ...] | None = None,
) -> None:
    """Check that samples and labels can be evaluated; `shapes` of samples are the inputs' if None.

    Raises:
        DataError: They do not fit the graph, or there are none.
    """
    if len(inputs) != len(graph.inputs):
        raise DataError(
            f"data: has {len(inputs)} input arrays, expected {len(graph.inputs)}",
            hint="give one array per network input",
        )
    if shapes is None:
        shapes = tuple(graph.types[name].shape for name in graph.inputs)
    for name, array, shape in zip(graph.inputs, inputs, shapes, strict=True):
        if array.shape[1:] != shape:
            raise DataError(
                f"data: samples have shape {array.shape[1:]}, expected {shape} for input {name}",
                hint="the network is fed in exactly the layout that the source model takes",
            )
        if len(array) != len(inputs[0]) or not len(array):
            raise DataError(
                f"data: has {len(array)} samples for input {name}, expected {len(inputs[0]) or 1}",
                hint="every input needs the same number of samples, at least one",
            )
    if labels is None:
        return
    if labels.shape != (len(inputs[0]),):
        raise DataError(
            f"labels: have shape {labels.shape}, expected ({len(inputs[0])},)",
            hint="give one class index per sample",
        )
    type_ = graph.types[graph.outputs[0]]
    is_binary = type_.size == 1 and read_readouts(graph)[0].function == "sigmoid"
    n_classes = 2 if is_binary else type_.size
    if len(type_.shape) != 1:
        raise DataError(
            f"labels: the first output has shape {type_.shape}, expected a vector of classes",
            hint="leave y out: accuracy is measured for classes only, agreement for every output",
        )
    if n_classes == 1:
        raise DataError(
            "labels: the first output is one linear unit, expected a vector of classes or one "
            "sigmoid unit",
            hint="leave y out; a binary classifier needs its sigmoid in the model",
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise DataError(
            f"labels: lie in {labels.min()}..{labels.max()}, expected 0..{n_classes - 1}",
            hint="labels are indices of the network's outputs, counted from 0",
        )
