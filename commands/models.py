"""The shipped networks: models list, show and train, and the demo."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .inputs import evaluate_samples, load_samples, read_model
from .screen import make_console, show_status

DEMO_MODEL, DEMO_SAMPLES, DEMO_STEPS = "lenet", 200, 64
DEMO_RECIPE = "light"
"""It follows a network closely enough for two files of one network to be compared step by step."""


@click.group()
def models() -> None:
    """List, show or train the shipped networks.

    \b
    Example:
      spikeport models list
    """  # noqa: D301


@models.command("list")
def list_models() -> None:
    """List the shipped networks and what they reached.

    \b
    Example:
      spikeport models list
    """  # noqa: D301
    from ..models.registry import MODELS, training_record
    from ..runtime.report.text import make_table, percent

    rows = []
    for name, model in MODELS.items():
        record = training_record(name)
        accuracy = [percent(share) for share in record["accuracy"].values()]
        rows.append([name, model.summary, f"{record['n_parameters']:,}", *accuracy])
    headings = ["name", "network", "parameters", "training accuracy", "test accuracy"]
    make_console().print(make_table(headings, rows))


@models.command("show")
@click.argument("name")
def show_model(name: str) -> None:
    """Print how the shipped network NAME was trained, and its graph.

    \b
    Example:
      spikeport models show lenet
    """  # noqa: D301
    from ..converter.errors import find
    from ..converter.ir.text import format_graph
    from ..models.registry import MODELS, training_record, weights_path

    click.echo(f"{name}: {find(MODELS, name, 'model').summary}")
    click.echo(json.dumps(training_record(name), indent=2))
    click.echo(f"files: {weights_path(name)} and {weights_path(name, '.onnx').name} beside it")
    click.echo(format_graph(read_model(name).graph))


@models.command("train")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder.  [default: NAME]")
@click.option("--n-epochs", type=click.IntRange(1), help="Instead of the schedule's number.")
def train_model(name: str, output: Path | None, n_epochs: int | None) -> None:
    """Train the network NAME as the shipped one was: minutes to an hour.

    Needs the 60000 training images of Fashion-MNIST on this machine.

    \b
    Example:
      spikeport models train mlp -o trained
    """  # noqa: D301
    from ..converter.errors import find
    from ..models.registry import MODELS
    from ..models.training import train

    find(MODELS, name, "model")
    path = train(name, folder=output or Path(name), n_epochs=n_epochs)
    click.echo(f"{path} and the .onnx and .json beside it")


@click.command()
def demo() -> None:
    """Convert a shipped network from Keras and from ONNX, evaluate both, print the table.

    \b
    Example:
      spikeport demo
    """  # noqa: D301
    from ..converter.convert import convert as run
    from ..models.registry import weights_path
    from ..runtime.compare import CountRecorder, compare_counts
    from ..runtime.report.text import comparison_table, summary_lines

    evaluations, recorders = {}, []
    for suffix in (".keras", ".onnx"):
        source = read_model(str(weights_path(DEMO_MODEL, suffix)))
        samples = load_samples("fashion-mnist:train", source.graph, None, shipped=True)
        with show_status(f"converting {source.name}") as show:
            graph = run(
                source, samples.inputs, recipe=DEMO_RECIPE, n_steps=DEMO_STEPS, progress=show
            ).graph
        test = load_samples("fashion-mnist:test", source.graph, DEMO_SAMPLES, shipped=True)
        recorder = CountRecorder()
        evaluations[source.name] = evaluate_samples(graph, test, source, observe=recorder)
        recorders.append(recorder)
    click.echo(f"{DEMO_MODEL} as a spiking network, recipe {DEMO_RECIPE}, on {test.name}")
    make_console().print(comparison_table(evaluations))
    for name, evaluation in evaluations.items():
        click.echo(f"{name}: {'; '.join(summary_lines(evaluation))}")
    first, second = evaluations.values()
    n_other = int((first.decisions != second.decisions).any(axis=0).sum())
    worst = max(compare_counts(*recorders))
    click.echo(
        f"{' and '.join(evaluations)}: {DEMO_SAMPLES - n_other} of {DEMO_SAMPLES} samples with the "
        f"same decision at every step; at most {100 * worst:.4f} % of a layer's spike counts differ"
    )
