"""Binarisation: binarize, by training or without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .inputs import DATA_HELP, SHAPE_HELP, input_options, load_samples, read_model, resolve_reading
from .screen import show_status
from .train import SET_HELP, check_conversion, run_training, training_options

if TYPE_CHECKING:
    from ..converter.frontends import Source
    from ..converter.ir import Graph
    from ..converter.training.student import Binarization

SCHEMES_HELP = "scaled, connect, stochastic or ternary; none keeps full precision."
ACTIVATIONS_HELP = "step (0, 1), sign (-1, 1), qcfs (several levels) or none (ReLUs stay)."
AFTER_HELP = "Do not train: binarize the weights as they are."
CORRECT_HELP = (
    "With --post-training: none, or bias (means) or moments (deviations, too), which need DATA.  "
    "[default: moments with DATA, else none]"
)

_TRAINING_ONLY = {
    "activations", "settings", "progressive", "epochs", "batch_size", "learning_rate", "schedule",
    "warmup", "seed", "patience", "distillation", "temperature", "shift", "flip", "hold_back",
    "keras_output",
}  # fmt: skip
DEFAULT_STEPS = 16
N_NOISE = 300
NOISE = "noise, no data"


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
@click.option("--correct", help=CORRECT_HELP)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
@training_options
@input_options
@click.pass_context
def binarize(
    context: click.Context,
    /,
    model: str,
    data: str | None,
    output: Path,
    weights: str,
    activations: str,
    settings: tuple[str, ...],
    all_layers: bool,
    progressive: float,
    post_training: bool,
    correct: str | None,
    shapes: tuple[str, ...],
    training: dict[str, Any],
    reading: dict[str, Any],
) -> None:
    """Make weights and activations of MODEL binary, by training, and convert what comes out.

    With --post-training weights are binarized as they are, and neurons take --n-steps steps (16);
    --data then serves corrections and thresholds, and may be left out.

    \b
    Example:
      spikeport binarize lenet --data fashion-mnist:train --epochs 6 -o binary.snn
      spikeport binarize lenet --post-training -o plain.snn
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
    if weights == "none" and (post_training or activations == "none"):
        other = "--post-training" if post_training else "--activations none"
        raise PassError(
            f"--weights none {other}: nothing is binary, expected one of {', '.join(SCHEMES)}",
            hint="leave --weights out for scaled",
        )
    binarization = None if weights == "none" else Binarization(weights, all_layers)
    if post_training and binarization is not None:
        _check_untrained(context, data, correct)
        _convert_untrained(model, data, output, shapes, binarization, correct, training, reading)
        return
    if correct is not None:
        raise PassError(
            f"--correct {correct}: is for weights that are not trained, expected --post-training",
            hint="leave it out: training corrects by itself",
        )
    if data is None:
        raise PassError(
            "--data: is missing, expected samples to train on",
            hint="--data fashion-mnist:train, or your own .npz with x and y; or --post-training",
        )
    names = () if activations == "none" else (activations,)
    chosen = choose_constraints(names, parse_settings(settings))
    share = progressive if binarization is not None and names else 0.0
    run_training(model, data, output, shapes, chosen, binarization, share, training, reading)


def _check_untrained(context: click.Context, data: str | None, correct: str | None) -> None:
    """Refuse what would do nothing without training."""
    from ..converter.errors import PassError
    from ..converter.passes.binarize_weights import Correction

    given = [
        option.opts[0]
        for option in context.command.params
        if (option.name in _TRAINING_ONLY)
        and context.get_parameter_source(option.name) == ParameterSource.COMMANDLINE
    ]
    if given:
        raise PassError(
            f"{given[0]}: is for trainings, expected none beside --post-training",
            hint=f"leave {given[0]} out, or train: leave --post-training out",
        )
    if correct is not None and correct not in set(Correction):
        raise PassError(
            f"--correct {correct}: expected one of {', '.join(Correction)}",
            hint="leave it out for moments",
        )
    if data is None and correct not in {None, Correction.NONE}:
        raise PassError(
            f"--correct {correct}: needs samples, expected --data",
            hint="give --data, or --correct none",
        )


def _convert_untrained(
    model: str,
    data: str | None,
    output: Path,
    shapes: tuple[str, ...],
    binarization: Binarization,
    correct: str | None,
    options: dict[str, Any],
    reading: dict[str, Any],
) -> None:
    from ..converter.convert import convert
    from ..converter.errors import PassError
    from ..converter.exports.snn import write_snn
    from ..converter.files import check_output
    from ..converter.passes.binarize_weights import Correction
    from ..converter.recipes import choose_options

    check_output(output, suffixes=(".snn",))
    check_conversion(options)
    recipe = options["recipe"] or "binary"
    if "binarize_weights" not in choose_options(recipe):
        raise PassError(
            f"--recipe {recipe}: binarizes no weights, expected binary",
            hint="leave it out",
        )
    source = read_model(model, shapes)
    samples = None
    if data is not None:
        n_samples = options["calibration_samples"]
        samples = load_samples(data, source.graph, n_samples, labels=False, **reading)
    settings = {
        "binarize_weights": {
            "scheme": binarization.scheme, "all_layers": binarization.all_layers,
            "correct": correct or (Correction.NONE if data is None else Correction.MOMENTS).value,
        }
    }  # fmt: skip
    with show_status("binarizing") as show:
        conversion = convert(
            source, samples.inputs if samples else _draw_noise(source.graph, reading),
            recipe=recipe, n_steps=options["n_steps"] or DEFAULT_STEPS, options=settings,
            calibration_name=samples.name if samples else NOISE,
            preprocessing=resolve_reading(source.graph, reading)["preprocessing"], progress=show,
        )  # fmt: skip
    digest = write_snn(conversion.graph, output)
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")
    with show_status("measuring what that costs"):
        cost = _describe_cost(
            source, conversion.graph, options["validation"] or data, options, reading
        )
    click.echo(f"binarized without training; {cost}")


def _draw_noise(graph: Graph, reading: dict[str, Any]) -> tuple[Any, ...]:
    """Return inputs without data: uniform from 0 to 1, of pixels where --preprocess says so."""
    import numpy as np

    random = np.random.default_rng(0)
    high = 255 if reading.get("preprocess") not in {None, "none"} else 1
    preprocessing = resolve_reading(graph, reading)["preprocessing"]
    shapes = (graph.types[name].shape for name in graph.inputs)
    return tuple(
        preprocessing.apply(random.uniform(0, high, (N_NOISE, *shape)).astype(np.float32), shape)
        for shape in shapes
    )


def _describe_cost(
    source: Source, graph: Graph, data: str | None, options: dict[str, Any], reading: dict[str, Any]
) -> str:
    """Say what is left of the accuracy and of the decisions, on samples of the user."""
    from ..runtime.evaluate import evaluate

    if data is None:
        return "thresholds are those of noise: `spikeport evaluate` says what that costs"
    limit = None if options["validation"] else options["calibration_samples"]
    samples = load_samples(data, graph, limit, **reading)
    found = evaluate(graph, samples.inputs, samples.labels, ann=source.run)
    kept = 0.0 if found.agreement is None else 100 * found.agreement[-1]
    text = f"{kept:.2f} % of the decisions are as before on {samples.name}"
    if found.accuracy is None or found.ann_accuracy is None:
        return text
    after, before = 100 * found.accuracy[-1], 100 * found.ann_accuracy
    return f"accuracy {after:.2f} % after {before:.2f} %, {text}"
