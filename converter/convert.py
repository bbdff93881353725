"""convert: a trained network, a recipe and calibration samples give a spiking graph."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .check import check, hint_of, refusals
from .equality import Reference, choose_inputs, compare_with_reference, compare_with_source
from .errors import DataError, GraphError, PassError, UnsupportedOpError
from .frontends import Source, read
from .ir import Array, Graph
from .ir.interpret import check_inputs
from .ir.preprocessing import NO_PREPROCESSING, Preprocessing
from .ir.types import DEFAULT_N_STEPS, MAX_N_STEPS
from .passes import PASSES, Keeps
from .passes.place_poolings import MaxPooling
from .recipes import DEFAULT_RECIPE, choose_options

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LogEntry:
    """One step of a conversion.

    Attributes:
        step: Name of the pass, or "read".
        n_nodes: Of the graph behind it.
        seconds: Its own time, the comparison included.
        relative_error: Against the source; None where the pass does not keep the function.
    """

    step: str
    n_nodes: int
    seconds: float
    relative_error: float | None


@dataclass(frozen=True)
class Conversion:
    """What `convert` gives: the spiking graph and how it came to be."""

    graph: Graph
    log: tuple[LogEntry, ...]


def convert(
    source: Source | Path | str | keras.Model,
    calibration: Array | tuple[Array, ...],
    *,
    recipe: str = DEFAULT_RECIPE,
    n_steps: int = DEFAULT_N_STEPS,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    keep_analog: tuple[str, ...] = (),
    calibration_name: str = "array",
    preprocessing: Preprocessing = NO_PREPROCESSING,
    progress: Callable[[str], None] = lambda step: None,
) -> Conversion:
    """Turn a trained network into a spiking graph.

    The graph as read, and every graph behind a pass that keeps values, is compared with the
    source's own framework on calibration samples and on noise of their range.

    Args:
        source: Path of a .keras, .h5 or .onnx file, a Keras model, or what `frontends.read` gave.
        calibration: Inputs as the source takes them, [N, ...]; one array per input.
        recipe: A key of RECIPES.
        n_steps: T for which the graph is meant; evaluation uses it unless told otherwise.
        options: Options by pass, over those of the recipe.
        keep_analog: Nodes without a spiking translation that stay analog, on the mean so far.
        calibration_name: What the file says the samples are.
        preprocessing: What the samples went through, for the file: evaluation does the same to its
            own.
        progress: Called with the name of every step before it runs.

    Raises:
        ConversionError: With its children: the source cannot be read, translated or converted.
        DataError: The calibration samples do not fit.
    """
    chosen = choose_options(recipe, options)
    if type(n_steps) is not int or not 1 <= n_steps <= MAX_N_STEPS:
        raise PassError(
            f"n_steps {n_steps!r}, expected an integer of at least 1 and at most {MAX_N_STEPS}",
            hint=f"{DEFAULT_N_STEPS} is the default",
        )
    if keep_analog and "schedule_neurons" in chosen:
        raise PassError(
            f"recipe {recipe}: is exact, but {', '.join(keep_analog)} would stay analog",
            hint="use a causal recipe such as rate for networks that keep analog nodes",
        )
    is_or = chosen.get("place_poolings", {}).get("max_pool") == MaxPooling.OR
    if is_or and "schedule_neurons" not in chosen:
        raise PassError(
            f"recipe {recipe}: is causal, but place_poolings.max_pool is or, which is exact under "
            "schedules only",
            hint="use --recipe exact, or place_poolings.max_pool=counts",
        )
    progress("read")
    started = time.perf_counter()
    if not isinstance(source, Source):
        source = read(source)
    findings = check(source, keep_analog)
    reasons = refusals(findings)
    if reasons:
        have = "has" if len(reasons) == 1 else "have"
        raise UnsupportedOpError(
            f"{source.name}: {len(reasons)} of its operations {have} no spiking translation",
            reasons=reasons,
            hint=f"`spikeport check` shows every node; {hint_of(findings)}",
        )
    samples = _check_calibration(source.graph, calibration)
    inputs = choose_inputs(samples)
    reference, error = compare_with_source(source.graph, inputs, source.run(inputs), source.inner)
    graph = source.graph
    if keep_analog:
        graph = graph.replace(metadata={**graph.metadata, "keep_analog": list(keep_analog)})
    log = [LogEntry("read", len(graph.nodes), time.perf_counter() - started, error)]
    applied = []
    for name, settings in chosen.items():
        progress(name)
        started = time.perf_counter()
        pass_ = PASSES[name]
        supplied: dict[str, Any] = {"calibration": samples, "n_steps": n_steps}
        extra = {key: value for key, value in supplied.items() if key in pass_.needs}
        graph = pass_(graph, **settings, **extra)
        compared = _compare(graph, reference, pass_.keeps, name)
        log.append(LogEntry(name, len(graph.nodes), time.perf_counter() - started, compared))
        applied.append({"name": name, "options": settings, "source": pass_.source})
    metadata = {
        "readout": ["linear"] * len(graph.outputs),
        **graph.metadata,
        "recipe": recipe,
        "passes": applied,
        "n_steps": graph.metadata.get("schedule", {}).get("n_steps", n_steps),
        "calibration": describe_samples(samples, calibration_name),
        "preprocessing": preprocessing.to_metadata(),
        "versions": _versions(),
    }
    return Conversion(graph.replace(metadata=metadata), tuple(log))


def describe_samples(samples: tuple[Array, ...], name: str) -> dict[str, Any]:
    """Return name, number, hash and range of samples, for the file."""
    digest = hashlib.sha256()
    for array in samples:
        digest.update(np.ascontiguousarray(array, np.float32).data)
    return {
        "name": name,
        "n_samples": len(samples[0]),
        "sha256": digest.hexdigest(),
        "low": [float(array.min()) for array in samples],
        "high": [float(array.max()) for array in samples],
    }


def _check_calibration(graph: Graph, calibration: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    arrays = calibration if isinstance(calibration, tuple) else (calibration,)
    try:
        samples = check_inputs(graph, arrays)
    except GraphError as error:
        raise DataError(
            f"calibration: {error}", hint="give inputs as the source takes them"
        ) from error
    if not len(samples[0]):
        raise DataError("calibration: has no samples, expected at least one", hint="give more data")
    for array in samples:
        if not np.isfinite(array).all():
            raise DataError(
                "calibration: holds NaN or infinity, expected finite numbers",
                hint="clean the data first",
            )
        if array.size > 1 and array.min() == array.max():
            raise DataError(
                f"calibration: every value is {array.flat[0]:g}, expected samples like those the "
                "network was trained on",
                hint="thresholds and ranges of such data mean nothing; look at the file",
            )
    return samples


def _compare(graph: Graph, reference: Reference, keeps: Keeps, step: str) -> float | None:
    if keeps < Keeps.DECISION:
        return None
    return compare_with_reference(graph, reference, step)


def _versions() -> dict[str, str]:
    names = ("spikeport", "numpy")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }
