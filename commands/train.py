"""Training under constraints: train; what it shares with binarize."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .inputs import DATA_HELP, SHAPE_HELP, input_options, load_samples, read_model, resolve_reading
from .screen import show_epochs, show_status

if TYPE_CHECKING:
    from ..converter.frontends import Source
    from ..converter.ir import Graph
    from ..converter.training.data import Samples
    from ..converter.training.settings import Settings
    from ..converter.training.student import Binarization

CONSTRAINT_HELP = (
    "qcfs, clipped, slip_relu, whetstone, gaussian_noise, poisson_noise, step, sign or surrogate; "
    "weight_clipping, firing_rate and synaptic_operations beside it; repeatable."
)
SET_HELP = "Option of a constraint, such as qcfs.n_levels=2; repeatable."
RECIPE_HELP = "Of the conversion.  [default: what the training promises]"
HOLD_HELP = "Use the last so many samples of DATA for validation only."
SCHEDULE_HELP = "Of the learning rate: cosine, linear or exponential, to nothing; or constant."


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every training; the command gets them as `training`."""
    names = (
        "epochs", "batch_size", "learning_rate", "schedule", "warmup", "seed", "patience",
        "distillation", "temperature", "shift", "flip", "validation", "hold_back",
        "calibration_samples", "recipe", "n_steps", "keras_output",
    )  # fmt: skip

    @functools.wraps(command)
    def gathered(**options: Any) -> Any:
        training = {name: options.pop(name) for name in names}
        return command(training=training, **options)

    for option in (
        click.option("--keras", "keras_output", type=click.Path(path_type=Path), help="OUT.keras"),
        click.option("--n-steps", type=int, help="T of the conversion.  [default: the levels]"),
        click.option("--recipe", help=RECIPE_HELP),
        click.option("--calibration-samples", default=1000, show_default=True),
        click.option("--hold-back", default=0, show_default=True, help=HOLD_HELP),
        click.option("--validation", metavar="DATA", help="Looked at after every epoch."),
        click.option("--flip", is_flag=True, help="Mirror images left to right at random."),
        click.option("--shift", default=0, show_default=True, help="Shift images, in pixels."),
        click.option("--temperature", default=2.0, show_default=True, help="Of distillation."),
        click.option("--distillation", default=0.5, show_default=True,
                     help="Share of the source network in the loss; 0 for labels alone."),
        click.option("--patience", type=int, help="Stop after so many epochs without progress."),
        click.option("--seed", default=1, show_default=True, help="Of all that is random."),
        click.option("--learning-rate", default=1e-3, show_default=True, help="At the start."),
        click.option("--warmup", default=0.0, show_default=True,
                     help="Share of the epochs in which the learning rate rises from 0."),
        click.option("--schedule", default="cosine", show_default=True, help=SCHEDULE_HELP),
        click.option("--batch-size", default=128, show_default=True),
        click.option("--epochs", default=10, show_default=True),
    ):  # fmt: skip
        gathered = option(gathered)
    return gathered


@click.command()
@click.argument("model")
@click.option("--data", required=True, metavar="DATA", help=DATA_HELP)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.snn")
@click.option("--constraint", "constraints", multiple=True, default=("qcfs",), show_default=True,
              metavar="NAME", help=CONSTRAINT_HELP)  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE", help=SET_HELP)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
@training_options
@input_options
def train(
    model: str,
    data: str,
    output: Path,
    constraints: tuple[str, ...],
    settings: tuple[str, ...],
    shapes: tuple[str, ...],
    training: dict[str, Any],
    reading: dict[str, Any],
) -> None:
    """Train MODEL under constraints and convert what comes out.

    Starts from the weights of MODEL, which also teaches (--distillation). Killed, the same command
    goes on after the last whole epoch, from the file OUT.snn.checkpoint.

    \b
    Example:
      spikeport train lenet --constraint qcfs --set qcfs.n_levels=4 \\
          --data fashion-mnist:train --hold-back 5000 --shift 1 --flip --epochs 3 -o lenet4.snn
    """  # noqa: D301
    from ..converter.training.constraints import choose_constraints, parse_settings

    chosen = choose_constraints(constraints, parse_settings(settings))
    run_training(model, data, output, shapes, chosen, None, 0.0, training, reading)


def run_training(
    model: str,
    data: str,
    output: Path,
    shapes: tuple[str, ...],
    constraints: dict[str, dict[str, Any]],
    binarization: Binarization | None,
    progressive: float,
    options: dict[str, Any],
    reading: dict[str, Any],
) -> None:
    """Train, write the network if it is asked for, convert, and say what the conversion keeps.

    Whatever can be refused is refused before the training.
    """
    from ..converter.errors import PassError
    from ..converter.frontends.keras.run import start_keras
    from ..converter.training.checkpoint import checkpoint_path
    from ..converter.training.data import hold_back, make_augmentation
    from ..converter.training.train import train as run

    checkpoint = checkpoint_path(output)
    _check_outputs(model, output, checkpoint, options["keras_output"])
    check_conversion(options)
    settings = _settings(options, progressive)
    if options["hold_back"] and options["validation"] is not None:
        raise PassError(
            f"--hold-back {options['hold_back']}: --validation is given, too, expected one of them",
            hint="leave --hold-back out: what it holds back would be used for nothing",
        )
    source = read_model(model, shapes)
    augment = make_augmentation(source.graph, options["shift"], options["flip"])
    samples, validation = hold_back(_load(data, source, reading), options["hold_back"])
    if options["validation"] is not None:
        validation = _load(options["validation"], source, reading)
    start_keras()
    with _say_what_is_left(checkpoint), show_epochs() as bar:
        result = run(
            source,
            samples,
            constraints,
            settings,
            validation=validation,
            binarization=binarization,
            augment=augment,
            augmentation=f"shift {options['shift']}, flip {options['flip']}",
            checkpoint=checkpoint,
            callbacks=bar,
            progress=functools.partial(print, flush=True),  # click.echo would write into the bar
            warn=lambda text: click.echo(f"Warning: {text}", err=True),
        )
    _convert(result.graph, samples, output, options, source, reading)
    checkpoint.unlink(missing_ok=True)


@contextlib.contextmanager
def _say_what_is_left(checkpoint: Path) -> Iterator[None]:
    """Say, where the user ends a training, that its epochs are not lost."""
    try:
        yield
    except KeyboardInterrupt:
        if checkpoint.exists():
            click.echo(f"{checkpoint}: the same command goes on after the last epoch", err=True)
        raise


def check_conversion(options: dict[str, Any]) -> None:
    """Refuse options of the conversion before the training that it comes after."""
    from ..converter.errors import DataError
    from ..converter.recipes import choose_options
    from ..runtime.checks import check_n_steps

    if options["recipe"] is not None:
        choose_options(options["recipe"])
    if options["n_steps"] is not None:
        check_n_steps(options["n_steps"])
    if options["calibration_samples"] < 1:
        raise DataError(
            f"--calibration-samples {options['calibration_samples']}: expected at least 1",
            hint="leave it out for 1000",
        )


def _check_outputs(model: str, output: Path, checkpoint: Path, network: Path | None) -> None:
    from ..converter.errors import FormatError
    from ..converter.files import check_output

    check_output(output, suffixes=(".snn",))
    check_output(checkpoint)
    if network is None:
        return
    check_output(network, suffixes=(".keras",))
    if network.exists() and Path(model).exists() and network.samefile(model):
        raise FormatError(
            f"--keras {network}: is the network that is trained, expected another file",
            hint="a training that was killed starts from it again; it teaches, too",
        )


def _settings(options: dict[str, Any], progressive: float) -> Settings:
    from ..converter.training.settings import Distillation, Settings

    share = Distillation(options["distillation"], options["temperature"])
    return Settings(
        n_epochs=options["epochs"], batch_size=options["batch_size"],
        learning_rate=options["learning_rate"], schedule=options["schedule"],
        warmup=options["warmup"], seed=options["seed"], patience=options["patience"],
        distillation=share if share.weight else None, progressive=progressive,
    )  # fmt: skip


def _convert(
    graph: Graph, samples: Samples, output: Path, options: dict[str, Any], source: Source,
    reading: dict[str, Any],
) -> None:  # fmt: skip
    """Write OUT.keras, if it is asked for, and OUT.snn."""
    import tempfile

    from ..converter.exports.snn import write_snn
    from ..converter.files import write_atomically
    from ..converter.training.data import choose_first
    from ..converter.training.finish import convert_trained, encode_trained

    used = choose_first(samples, options["calibration_samples"])
    with show_status("converting") as show, tempfile.TemporaryDirectory() as folder:
        encoded = encode_trained(graph)
        network = options["keras_output"] or Path(folder) / f"{output.stem}.keras"
        write_atomically(network, encoded)
        conversion = convert_trained(
            network, graph, used, recipe=options["recipe"], n_steps=options["n_steps"],
            calibration_name=samples.name, progress=show,
            preprocessing=resolve_reading(source.graph, reading)["preprocessing"],
        )  # fmt: skip
        digest = write_snn(conversion.graph, output)
        show("comparing decisions")
        kept = describe_kept(conversion.graph, graph, (used,))
    metadata = conversion.graph.metadata
    click.echo(f"recipe {metadata['recipe']}, T = {metadata['n_steps']}")
    click.echo(kept)
    if options["keras_output"] is not None:
        click.echo(f"{network}: {network.stat().st_size:,} bytes")
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")


def describe_kept(spiking: Graph, trained: Graph, inputs: tuple[Any, ...]) -> str:
    """Say how many decisions on training samples are those of the trained network."""
    from ..converter.ir import run
    from ..converter.training.finish import count_ties
    from ..runtime.evaluate import evaluate

    n_samples = len(inputs[0])
    found = evaluate(spiking, inputs, ann=lambda arrays: run(trained, arrays))
    share = 0.0 if found.agreement is None else found.agreement[-1]
    simulated = trained.metadata.get("trained", {}).get("as") == "surrogate"
    text = f"{round(share * n_samples)} of {n_samples} training samples are decided as by the " + (
        "analog network of the trained spikes' rates" if simulated else "trained network"
    )
    n_ties, n_tied = count_ties(trained, inputs)
    if n_ties:
        text += f"; in {n_tied} of them {n_ties} sums lie within 1e-5 of a step"
    return text


def _load(data: str, source: Source, reading: dict[str, Any]) -> Samples:
    from ..converter.errors import DataError
    from ..converter.training.data import Samples

    loaded = load_samples(data, source.graph, **reading)
    if loaded.labels is None:
        raise DataError(
            f"{data}: has no labels, expected a class per sample",
            hint="give an .npz with x and y, or a folder with one sub-folder per class",
        )
    return Samples(loaded.inputs[0], loaded.labels, loaded.name)
