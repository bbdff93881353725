"""What several commands read: networks, data, clusters, and the options that say how."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .screen import show_progress, show_status

if TYPE_CHECKING:
    from ..converter.frontends import Source
    from ..converter.ir import Graph
    from ..models.arrays import OpenedData
    from ..models.datasets import Data
    from ..runtime.evaluate import Evaluation
    from ..runtime.sweep.cluster import Cluster

DATA_HELP = (
    "fashion-mnist:test, keras:NAME:SPLIT, tfds:NAME:SPLIT, an .npz with x (and y), a folder of "
    "images, or events:FOLDER"
)
SCHEDULER_HELP = "Simulate on a Dask cluster, as tcp://host:8786."
CODE_HELP = "Of the input: constant, poisson, rate, ttfs, phase, burst or recorded."
READ_OUT_HELP = "Of decisions: potential, count, first or window."
SHAPE_HELP = (
    "Sizes that an .onnx file leaves open, such as 3,224,224; several inputs: NAME=3,224,224."
)


def parse_numbers(text: str) -> tuple[float, ...]:
    """Return one number, or several with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r}, expected numbers such as 0.5 or 0.5,0.4,0.6") from None


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how data are read; the command gets them as `reading`."""

    @functools.wraps(command)
    def gathered(**others: Any) -> Any:
        names = ("input_scale", "input_offset", "preprocess", "shipped", "skip_broken")
        reading = {name: others.pop(name) for name in names}
        return command(reading=reading, **others)

    for option in (
        click.option("--skip-broken", is_flag=True, help="Leave out files that cannot be read."),
        click.option("--shipped", is_flag=True, help="Named data: only the shipped subset."),
        click.option(
            "--input-offset",
            type=parse_numbers,
            metavar="NUMBERS",
            help="Added behind the scale: one number, or one per channel.",
        ),
        click.option(
            "--input-scale",
            type=parse_numbers,
            metavar="NUMBERS",
            help="Factor, or one per channel with commas; default: the .snn file's, or 1.",
        ),
        click.option(
            "--preprocess",
            metavar="NAME",
            help="none, or of pixels 0..255: unit, tf, torch or caffe.",
        ),
    ):
        gathered = option(gathered)
    return gathered


def read_model(model: str, shapes: tuple[str, ...] = ()) -> Source:
    """Read a file or a shipped network; `shapes` as --input-shape gives them."""
    import difflib

    from ..converter.errors import FormatError
    from ..converter.frontends import parse_input_shapes, read
    from ..models.registry import MODELS, find_model

    if not Path(model).suffix and not Path(model).exists() and model not in MODELS:
        nearest = difflib.get_close_matches(model.lower(), MODELS, n=1)
        if nearest:
            raise FormatError(
                f"{model}: no such file or shipped network, expected one of {', '.join(MODELS)}",
                hint=f"did you mean {nearest[0]}?",
            )
    return read(find_model(model), parse_input_shapes(shapes))


def read_ann(model: str, graph: Graph, path: Path) -> Source:
    """Read the network that the graph of `path` was converted from; refuse any other."""
    from ..converter.errors import DataError

    converted = graph.metadata.get("source", {})
    source = _read_again(model, converted)
    if converted.get("sha256") != source.sha256:
        raise DataError(
            f"--ann {model}: sha256 {source.sha256[:16]} is not that of the network {path} was "
            f"converted from, expected {str(converted.get('sha256'))[:16]}",
            hint=f"the source was {converted.get('name')}; give that file, or convert again",
        )
    return source


def _read_again(model: str, converted: Mapping[str, Any]) -> Source:
    """Read the network that a graph was converted from, with the input shapes given then."""
    shapes = converted.get("input_shapes")
    if not isinstance(shapes, dict) or Path(model).suffix.lower() != ".onnx":
        return read_model(model)
    parts = {name: sizes if isinstance(sizes, list) else [] for name, sizes in shapes.items()}
    return read_model(model, tuple(f"{name}={','.join(map(str, s))}" for name, s in parts.items()))


def load_samples(
    spec: str, graph: Graph, limit: int | None = None, *, n_steps: int | None = None, **reading: Any
) -> Data:
    """Read data for a network into memory; recordings of events are cut into T steps."""
    from ..models.datasets import load_data

    reading = {**resolve_reading(graph, reading), "n_steps": choose_steps(graph, n_steps)}
    return load_data(spec, _shapes(graph), limit=limit, **reading)


def open_samples(
    spec: str, graph: Graph, limit: int | None = None, *, n_steps: int | None = None, **reading: Any
) -> OpenedData:
    """Open data for a network, to be read in parts; recordings of events are cut into T steps."""
    from ..models.datasets import open_data

    reading = {**resolve_reading(graph, reading), "n_steps": choose_steps(graph, n_steps)}
    return open_data(spec, _shapes(graph), limit=limit, **reading)


def choose_steps(graph: Graph, n_steps: int | None) -> int:
    """Return T as it was given, else the file's, else the default.

    Raises:
        SimulationError: It is out of range.
    """
    from ..converter.ir.types import DEFAULT_N_STEPS
    from ..runtime.checks import check_n_steps

    chosen = graph.metadata.get("n_steps", DEFAULT_N_STEPS) if n_steps is None else n_steps
    check_n_steps(chosen)
    return int(chosen)


def resolve_reading(graph: Graph, reading: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the graph's preprocessing where none is given."""
    from ..converter.ir.preprocessing import choose_preprocessing, read_preprocessing

    names = ("preprocess", "input_scale", "input_offset")
    others = {name: value for name, value in reading.items() if name not in names}
    given = [reading.get(name) for name in names]
    return {**others, "preprocessing": choose_preprocessing(read_preprocessing(graph), *given)}


def warn_of_pixels(spec: str, graph: Graph, inputs: tuple[Any, ...]) -> None:
    """Warn of pixels 0..255 that nothing scales, neither an option nor the network itself."""
    from ..converter.ir.ops import BatchNorm, Identity, Pad, Reshape, Scale, Transpose

    for name, array in zip(graph.inputs, inputs, strict=True):
        part = array[:100]
        if part.min() < 0 or not 128 <= part.max() <= 255 or (part % 1).any():
            continue
        front, readers = [name], list[str]()
        for node in graph.nodes:
            if any(operand in front for operand in node.inputs):
                is_layout = isinstance(node.op, (Identity, Pad, Reshape, Transpose))
                (front if is_layout else readers).append(node.name)
        if not any(isinstance(graph.by_name[name].op, (Scale, BatchNorm)) for name in readers):
            click.echo(
                f"Warning: {spec}: values are pixels 0..255 and reach the network as they are; if "
                "it was trained on 0..1, add --preprocess unit",
                err=True,
            )


def _shapes(graph: Graph) -> tuple[tuple[int, ...], ...]:
    return tuple(graph.types[name].shape for name in graph.inputs)


@contextlib.contextmanager
def connect_cluster(scheduler: str | None) -> Iterator[Cluster | None]:
    """Yield a connection to a Dask scheduler, None without an address."""
    if scheduler is None:
        yield None
        return
    from ..runtime.sweep.cluster import connect

    with show_status(f"connecting to {scheduler}"):
        opened = connect(scheduler)
    with opened as cluster:
        yield cluster


def evaluate_samples(
    graph: Graph,
    samples: Data | OpenedData,
    source: Source | None,
    **options: Any,
) -> Evaluation:
    """Evaluate with a progress bar on a terminal."""
    from ..runtime.evaluate import evaluate as run

    with show_progress("simulating", len(samples.inputs[0])) as show:
        return run(
            graph,
            samples.inputs,
            samples.labels,
            ann=None if source is None else source.run,
            progress=show,
            **options,
        )
