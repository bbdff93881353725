"""Training under constraints, and binarisation: train, binarize."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .inputs import DATA_HELP, SHAPE_HELP, input_options, load_samples, read_model, resolve_reading
from .screen import show_status

if TYPE_CHECKING:
    from ..converter.frontends import Source
    from ..converter.training.data import Samples
    from ..converter.training.student import Binarization

CONSTRAINT_HELP = (
    "qcfs, clipped, slip_relu, whetstone, gaussian_noise, poisson_noise, step, sign or surrogate; "
    "weight_clipping, firing_rate and synaptic_operations beside it; repeatable."
)
SET_HELP = "Option of a constraint, such as qcfs.n_levels=2; repeatable."
RECIPE_HELP = "Of the conversion.  [default: what the training promises]"
HOLD_HELP = "Use the last so many samples of DATA for validation only."
SCHEMES_HELP = "scaled, connect, stochastic or ternary; none keeps full precision."
ACTIVATIONS_HELP = "step (0, 1), sign (-1, 1), qcfs (several levels) or none (ReLUs stay)."
AFTER_HELP = "Do not train: binarize the weights as they are."


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every training; the command gets them as `training`."""
    names = (
        "epochs", "batch_size", "learning_rate", "seed", "patience", "distillation",
        "temperature", "shift", "flip", "validation", "hold_back", "calibration_samples",
        "recipe", "n_steps", "keras_output",
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
    _run(model, data, output, shapes, chosen, None, 0.0, training, reading)


@click.command()
@click.argument("model")
@click.option("--data", metavar="DATA", help=DATA_HELP)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.snn")
@click.option("--weights", default="scaled", show_default=True, help=SCHEMES_HELP)
@click.option("--activations", default="step", show_default=True, help=ACTIVATIONS_HELP)
@click.option("--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE", help=SET_HELP)
@click.option("--all-layers", is_flag=True, help="The first and the last layers, too.")
@click.option("--progressive", default=0.3, show_default=True,
              help="Share of the epochs in which only activations are binary.")  # fmt: skip
@click.option("--post-training", is_flag=True, help=AFTER_HELP)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
@training_options
@input_options
def binarize(
    model: str,
    data: str | None,
    output: Path,
    weights: str,
    activations: str,
    settings: tuple[str, ...],
    all_layers: bool,
    progressive: float,
    post_training: bool,
    shapes: tuple[str, ...],
    training: dict[str, Any],
    reading: dict[str, Any],
) -> None:
    """Make weights and activations of MODEL binary, by training, and convert what comes out.

    With --post-training weights are binarized as they are; --data then serves the correction of
    biases and the conversion.

    \b
    Example:
      spikeport binarize lenet --data fashion-mnist:train --epochs 6 -o binary.snn
    """  # noqa: D301
    from ..converter.errors import PassError, find
    from ..converter.training.binary_weights import SCHEMES
    from ..converter.training.constraints import choose_constraints, parse_settings
    from ..converter.training.student import Binarization

    if weights != "none":
        find(SCHEMES, weights, "--weights")
    if activations not in {"step", "sign", "qcfs", "none"}:
        raise PassError(
            f"--activations {activations}: expected step, sign, qcfs or none",
            hint="step is what neurons do in one step",
        )
    if weights == "none" and activations == "none":
        raise PassError(
            "--weights none --activations none: nothing is binary, expected one of them",
            hint="leave one of them out for its default",
        )
    if data is None:
        raise PassError(
            "--data: is missing, expected samples to train on, or to correct biases and convert",
            hint="--data fashion-mnist:train, or your own .npz with x and y",
        )
    binarization = None if weights == "none" else Binarization(weights, all_layers)
    if post_training:
        _convert_untrained(model, data, output, shapes, binarization, training, reading)
        return
    names = () if activations == "none" else (activations,)
    chosen = choose_constraints(names, parse_settings(settings))
    share = progressive if binarization is not None and names else 0.0
    _run(model, data, output, shapes, chosen, binarization, share, training, reading)


def _run(
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
    from ..converter.exports.snn import write_snn
    from ..converter.files import check_output, write_atomically
    from ..converter.training.checkpoint import checkpoint_path
    from ..converter.training.data import hold_back, make_augmentation
    from ..converter.training.finish import encode_trained
    from ..converter.training.settings import Distillation, Settings
    from ..converter.training.train import train as run

    check_output(output, suffixes=(".snn",))
    keras_output = options["keras_output"]
    if keras_output is not None:
        check_output(keras_output, suffixes=(".keras",))
    share = Distillation(options["distillation"], options["temperature"])
    settings = Settings(
        n_epochs=options["epochs"], batch_size=options["batch_size"],
        learning_rate=options["learning_rate"], seed=options["seed"],
        patience=options["patience"], distillation=share if share.weight else None,
        progressive=progressive,
    )  # fmt: skip
    source = read_model(model, shapes)
    augment = make_augmentation(source.graph, options["shift"], options["flip"])
    samples, validation = hold_back(_load(data, source, reading), options["hold_back"])
    if options["validation"] is not None:
        validation = _load(options["validation"], source, reading)
    checkpoint = checkpoint_path(output)
    if checkpoint.exists():
        click.echo(f"{checkpoint}: goes on from there", err=True)
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
        progress=click.echo,
        warn=lambda text: click.echo(f"Warning: {text}", err=True),
    )
    with show_status("converting") as show:
        encoded = encode_trained(result.graph, name=output.stem)
        if keras_output is None:
            import tempfile

            with tempfile.TemporaryDirectory(prefix="spikeport-") as folder:
                path = Path(folder) / f"{output.stem}.keras"
                path.write_bytes(encoded)
                conversion = _convert(path, result.graph, samples, options, source, reading, show)
        else:
            write_atomically(keras_output, encoded)
            conversion = _convert(
                keras_output, result.graph, samples, options, source, reading, show
            )
    digest = write_snn(conversion.graph, output)
    checkpoint.unlink(missing_ok=True)
    metadata = conversion.graph.metadata
    click.echo(f"recipe {metadata['recipe']}, T = {metadata['n_steps']}")
    if keras_output is not None:
        click.echo(f"{keras_output}: {keras_output.stat().st_size:,} bytes")
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")


def _convert(
    path: Path, graph: Any, samples: Samples, options: dict[str, Any], source: Source,
    reading: dict[str, Any], show: Callable[[str], None],
) -> Any:  # fmt: skip
    from ..converter.training.finish import convert_trained

    n_samples = options["calibration_samples"]
    return convert_trained(
        path, graph, samples.inputs[:n_samples], recipe=options["recipe"],
        n_steps=options["n_steps"], calibration_name=samples.name,
        preprocessing=resolve_reading(source.graph, reading)["preprocessing"], progress=show,
    )  # fmt: skip


def _convert_untrained(
    model: str,
    data: str,
    output: Path,
    shapes: tuple[str, ...],
    binarization: Binarization | None,
    options: dict[str, Any],
    reading: dict[str, Any],
) -> None:
    from ..converter.convert import convert
    from ..converter.errors import PassError
    from ..converter.exports.snn import write_snn
    from ..converter.files import check_output

    check_output(output, suffixes=(".snn",))
    if binarization is None:
        raise PassError(
            "--post-training --weights none: nothing is binary, expected a scheme",
            hint="leave --weights out for scaled",
        )
    source = read_model(model, shapes)
    samples = load_samples(
        data, source.graph, options["calibration_samples"], labels=False, **reading
    )
    settings = {
        "binarize_weights": {
            "scheme": binarization.scheme, "all_layers": binarization.all_layers,
        }
    }  # fmt: skip
    with show_status("binarizing") as show:
        conversion = convert(
            source, samples.inputs, recipe=options["recipe"] or "binary",
            n_steps=options["n_steps"] or 16, options=settings, calibration_name=samples.name,
            preprocessing=resolve_reading(source.graph, reading)["preprocessing"], progress=show,
        )  # fmt: skip
    digest = write_snn(conversion.graph, output)
    click.echo("binarized without training; `spikeport evaluate` says what that costs")
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")


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
