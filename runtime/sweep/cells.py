"""Do the cells of a sweep that a store lacks."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...converter.convert import convert, describe_samples
from ...converter.errors import SpikeportError
from ...converter.exports.snn import encode_graph
from ...converter.frontends import Source, read
from ...converter.ir.types import DEFAULT_N_STEPS
from ...converter.passes import PASSES
from ...converter.recipes import choose_options
from ...models.datasets import Data, load_data
from ...models.registry import find_model
from ..encoding import DEFAULT_CODE, is_over_time, make_encoder
from ..evaluate import evaluate
from .cluster import Cluster
from .spec import Cell
from .store import Row, Store

TIMES = ("seconds",)
"""Keys of an evaluation's JSON that differ between two runs."""


@dataclass(frozen=True)
class Outcome:
    """What became of the cells of a sweep.

    Attributes:
        n_done: Cells that were run.
        n_known: Cells that the store had.
        failures: Message by cell that could not be run.
    """

    n_done: int
    n_known: int
    failures: Mapping[str, str] = field(default_factory=dict)


def run_sweep(
    cells: Sequence[Cell],
    store: Store,
    *,
    n_threads: int | None = None,
    cluster: Cluster | None = None,
    progress: Callable[[int], None] = lambda n_done: None,
) -> Outcome:
    """Run every cell that the store lacks; each is kept as soon as it is done.

    A cell that cannot be run does not stop the others and is tried again the next time.

    Args:
        cells: What is wanted.
        store: Where results are kept and looked up, by a hash of everything they depend on: the
            bytes of model and data, the options of every pass, spikeport's version.
        n_threads: Groups of samples simulated at the same time; None takes every core.
        cluster: Where samples are simulated; None for this process.
        progress: Called with the number of cells done or known.
    """
    n_known, n_done = 0, 0
    failures: dict[str, str] = {}
    known = store.keys()
    for number, cell in enumerate(cells, start=1):
        try:
            key, settings = describe(cell)
            if key in known:
                n_known += 1
            else:
                started = time.perf_counter()
                result = run_cell(cell, n_threads=n_threads, cluster=cluster)
                store.add(Row(key, settings, result, time.perf_counter() - started))
                known.add(key)
                n_done += 1
        except SpikeportError as error:
            failures[_label(cell)] = str(error)
        progress(number)
    return Outcome(n_done, n_known, failures)


def describe(cell: Cell) -> tuple[str, dict[str, Any]]:
    """Return the key of a cell, and its settings with the hashes that the key is made of."""
    source = _read(find_model(cell.model))
    calibration = _load(cell, for_calibration=True)
    data = _load(cell, for_calibration=False)
    settings: dict[str, Any] = {
        "model": cell.model,
        "recipe": cell.recipe,
        "n_steps": cell.n_steps,
        "options": choose_options(cell.recipe, cell.options),
        "calibration": calibration.name,
        "data": data.name,
        "engine": cell.engine,
        "model_sha256": source.sha256,
        "calibration_sha256": _digest(calibration),
        "data_sha256": _digest(data),
        "spikeport": importlib.metadata.version("spikeport"),
    }
    encoder = make_encoder(cell.code, cell.seed)
    if encoder is not None:
        settings["code"] = encoder.name
        settings["seed"] = encoder.seed if encoder.is_random else None
    names = ("model", "calibration", "data")
    content = {key: value for key, value in settings.items() if key not in names}
    content["options"] = {
        name: _leave_out_later(name, options) for name, options in settings["options"].items()
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(), settings


LATER = {
    "calibrate_neurons": ("reset", "leak", "refractory", "relative", "decay", "signed"),
    "correct_biases": ("into",),
}
"""Options that a pass got when stores were kept already: their defaults leave keys as they were."""


def _leave_out_later(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    defaults, later = PASSES[name].options, LATER.get(name, ())
    return {
        key: value for key, value in options.items() if key not in later or value != defaults[key]
    }


def run_cell(
    cell: Cell, *, n_threads: int | None = None, cluster: Cluster | None = None
) -> dict[str, Any]:
    """Convert and evaluate; return what `spikeport evaluate --json` writes, without times.

    Raises:
        SpikeportError: The network cannot be converted, or the data do not fit.
    """
    source = _read(find_model(cell.model))
    calibration = _load(cell, for_calibration=True)
    data = _load(cell, for_calibration=False)
    graph = convert(
        source,
        calibration.inputs,
        recipe=cell.recipe,
        n_steps=cell.n_steps,
        options=cell.options,
        calibration_name=calibration.name,
    ).graph
    encoder = make_encoder(cell.code, cell.seed)
    where: dict[str, Any] = {"engine": cell.engine, "n_threads": n_threads}
    if cluster is not None:
        where |= cluster.settings(graph, cell.engine, encoder)
    evaluation = evaluate(graph, data.inputs, data.labels, ann=source.run, encoder=encoder, **where)
    result = evaluation.to_json(
        graph=hashlib.sha256(encode_graph(graph)).hexdigest(), data=data.name
    )
    return {key: value for key, value in result.items() if key not in TIMES}


def _label(cell: Cell) -> str:
    chosen = [
        f"{pass_name}.{option}={value}"
        for pass_name, settings in cell.options.items()
        for option, value in settings.items()
    ]
    if cell.code != DEFAULT_CODE:
        chosen += [f"code={cell.code}", f"seed={cell.seed}"]
    return " ".join([cell.model, cell.recipe, f"T={cell.n_steps}", *chosen])


@lru_cache(maxsize=2)
def _read(path: Path) -> Source:
    return read(path)


@lru_cache(maxsize=4)
def _load_cached(
    spec: str, shapes: tuple[tuple[int, ...], ...], limit: int | None, options: tuple[Any, ...]
) -> Data:
    labels, shipped, preprocessing, n_steps, over_time = options
    return load_data(
        spec, shapes, limit=limit, labels=labels, shipped=shipped, preprocessing=preprocessing,
        n_steps=n_steps, over_time=over_time,
    )  # fmt: skip


def _load(cell: Cell, *, for_calibration: bool) -> Data:
    graph = _read(find_model(cell.model)).graph
    shapes = tuple(graph.types[name].shape for name in graph.inputs)
    spec = cell.calibration if for_calibration else cell.data
    limit = cell.calibration_samples if for_calibration else cell.limit
    over_time = is_over_time(cell.code) and not for_calibration
    # other samples are the same for every T
    n_steps = cell.n_steps if over_time or spec.startswith("events:") else DEFAULT_N_STEPS
    options = (not for_calibration, cell.shipped, cell.choose_preprocessing())
    return _load_cached(spec, shapes, limit, (*options, n_steps, over_time))


def _digest(data: Data) -> str:
    digest = str(describe_samples(data.inputs, data.name)["sha256"])
    if data.labels is None:
        return digest
    return hashlib.sha256(digest.encode() + data.labels.tobytes()).hexdigest()
