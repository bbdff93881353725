"""From a trained network to a spiking graph: check, convert, recipes, inspect."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .auto import AUTO, refuse_search_options, run_search
from .inputs import (
    DATA_HELP,
    SHAPE_HELP,
    input_options,
    load_samples,
    read_model,
    resolve_reading,
    warn_of_pixels,
)
from .screen import make_console, show_status

RECIPE_HELP = (
    "rate, light, ltb, classic, diehl, exact, integer, graded, differential, ttfs, binary or auto; "
    "trained, trained_exact or trained_integer for trained networks; `spikeport recipes` says what "
    "they do."
)
TARGET_HELP = "auto: accuracy-drop=POINTS, n-steps=N; repeatable.  [default: accuracy-drop=0.5]"
CANDIDATES_HELP = "auto: recipes to search, with commas between; default: all with spikes 0 or 1."
MAX_METADATA = 300
"""Characters that `inspect` shows of a value; files have all of it."""
KEEP_HELP = "Keep a node without a spiking translation analog; repeatable."


@click.command()
@click.argument("model")
@click.option("--keep-analog", multiple=True, metavar="NODE", help=KEEP_HELP)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(model: str, keep_analog: tuple[str, ...], shapes: tuple[str, ...], as_json: bool) -> None:
    """Say what every node of MODEL becomes, without data.

    Exit code 0 if it can be converted, 1 if not; every reason is listed at once.

    \b
    Example:
      spikeport check lenet
    """  # noqa: D301
    import dataclasses

    from ..converter.check import check as find
    from ..converter.check import findings_of, hint_of, refusals
    from ..converter.errors import UnsupportedOpError
    from ..runtime.report.text import make_table

    try:
        findings = find(read_model(model, shapes), keep_analog)
        refused = refusals(findings)
        hint = hint_of(findings)
    except UnsupportedOpError as error:
        if not error.reasons:
            raise
        findings, refused = findings_of(error), error.reasons
        hint = "take them out of the network, or replace them; docs/reading.md says what is read"
        if "--input-shape" in (error.hint or ""):
            hint = str(error.hint)
    if as_json:
        nodes = [dataclasses.asdict(finding) for finding in findings]
        click.echo(json.dumps({"convertible": not refused, "nodes": nodes, "reasons": refused}))
    else:
        headings = ["node", "op", "becomes", "status", "note"]
        rows = [[f.node, f.op, f.becomes, f.status, f.note] for f in findings]
        make_console().print(make_table(headings, rows))
        counts = Counter(finding.status for finding in findings)
        shown = ", ".join(f"{count} {status}" for status, count in counts.items())
        click.echo(f"{model}: can{'not' if refused else ''} be converted; nodes: {shown}")
        if refused:
            click.echo(f"Hint: {hint}", err=True)
    click.get_current_context().exit(1 if refused else 0)


@click.command()
@click.argument("model")
@click.option("--calibration", required=True, metavar="DATA", help=DATA_HELP)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.snn")
@click.option("--recipe", default="rate", show_default=True, help=RECIPE_HELP)
@click.option("--n-steps", default=64, show_default=True, help="T that the network is meant for.")
@click.option("--target", "targets", multiple=True, metavar="NAME=NUMBER", help=TARGET_HELP)
@click.option("--candidates", multiple=True, metavar="RECIPES", help=CANDIDATES_HELP)
@click.option("--held-back", type=int, help="auto: samples to search and promise on. [14000]")
@click.option("--calibration-samples", default=1000, show_default=True, help="The first so many.")
@click.option("--set", "settings", multiple=True, metavar="PASS.OPTION=VALUE", help="Repeatable.")
@click.option("--keep-analog", multiple=True, metavar="NODE", help=KEEP_HELP)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
@click.option("--cite", is_flag=True, help="Print the publications that the conversion used.")
@click.option("--json", "as_json", is_flag=True, help="auto: print what was found as JSON.")
@input_options
def convert(
    model: str,
    calibration: str,
    output: Path,
    recipe: str,
    n_steps: int,
    targets: tuple[str, ...],
    candidates: tuple[str, ...],
    held_back: int | None,
    calibration_samples: int,
    settings: tuple[str, ...],
    keep_analog: tuple[str, ...],
    shapes: tuple[str, ...],
    cite: bool,
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Turn MODEL into a spiking graph.

    --recipe auto searches recipes, thresholds and T for a --target on a part of the calibration
    data that is held back, prints the points that none beats, and writes the best
    (docs/auto.md). Exit code 1 if the target cannot be promised.

    \b
    Example:
      spikeport convert lenet --calibration fashion-mnist:train -o lenet.snn
      spikeport convert lenet --calibration fashion-mnist:train -o lenet.snn \\
          --set calibrate_neurons.fit_weights=false
      spikeport convert vgg --calibration fashion-mnist:train -o vgg.snn \\
          --recipe auto --target accuracy-drop=0.5
    """  # noqa: D301
    from ..converter.convert import convert as run
    from ..converter.errors import PassError, find
    from ..converter.exports.snn import write_snn
    from ..converter.files import check_output
    from ..converter.recipes import RECIPES, choose_options, parse_options
    from ..converter.references import find_citations

    check_output(output, suffixes=(".snn",))
    find({**RECIPES, AUTO: None}, recipe, "recipe")
    if recipe == AUTO:
        given = click.get_current_context().get_parameter_source("n_steps")
        if given is not ParameterSource.DEFAULT:
            raise PassError(
                f"--n-steps {n_steps}: is what a search looks for, expected a target",
                hint=f"use --target n-steps={n_steps}",
            )
        run_search(
            model,
            shapes,
            calibration,
            output,
            targets=targets,
            candidates=candidates,
            n_calibration=calibration_samples,
            held_back=held_back,
            settings=settings,
            keep_analog=keep_analog,
            as_json=as_json,
            reading=reading,
        )
        return
    refuse_search_options({
        "--target": targets, "--candidates": candidates, "--held-back": held_back,
        "--json": as_json,
    })  # fmt: skip
    options = parse_options(settings)
    choose_options(recipe, options)
    source = read_model(model, shapes)
    data = load_samples(
        calibration, source.graph, calibration_samples, labels=False, n_steps=n_steps, **reading
    )
    _expect_samples(calibration, len(data.inputs[0]), calibration_samples)
    warn_of_pixels(calibration, source.graph, data.inputs)
    with show_status("reading") as show:
        conversion = run(
            source,
            data.inputs,
            recipe=recipe,
            n_steps=n_steps,
            options=options,
            keep_analog=keep_analog,
            calibration_name=data.name,
            preprocessing=resolve_reading(source.graph, reading)["preprocessing"],
            progress=show,
        )
    digest = write_snn(conversion.graph, output)
    for entry in conversion.log:
        error = "" if entry.relative_error is None else f"relative error {entry.relative_error:.1e}"
        click.echo(f"{entry.step:24} {entry.n_nodes:4} nodes {entry.seconds:7.2f} s  {error}")
    click.echo(f"calibrated on {data.name}")
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")
    for reference in find_citations(recipe, options) if cite else ():
        click.echo(str(reference))


def _expect_samples(calibration: str, n_found: int, n_asked: int) -> None:
    """Refuse fewer samples than the user named; without a number, what there is will do."""
    from ..converter.errors import DataError

    asked = click.get_current_context().get_parameter_source("calibration_samples")
    if n_found < n_asked and asked is ParameterSource.COMMANDLINE:
        raise DataError(
            f"--calibration-samples {n_asked}: {calibration} has {n_found} samples, expected at "
            "least as many",
            hint="leave the option out to calibrate on what there is",
        )


@click.command()
@click.argument("names", nargs=-1, metavar="[RECIPE]...")
@click.option("--cite", is_flag=True, help="Print the publications behind each recipe, too.")
def recipes(names: tuple[str, ...], cite: bool) -> None:
    """List the recipes: what they keep, cost and cite, their passes and options for --set.

    \b
    Example:
      spikeport recipes
      spikeport recipes rate exact --cite
    """  # noqa: D301
    from ..converter.errors import find
    from ..converter.recipes import RECIPES, choose_options, format_value
    from ..converter.references import find_citations

    chosen = {name: find(RECIPES, name, "recipe") for name in names or RECIPES}
    for place, (name, recipe) in enumerate(chosen.items()):
        if place:
            click.echo()
        click.echo(f"{name}: {recipe.summary} ({recipe.source})")
        click.echo(f"  keeps {recipe.keeps}")
        click.echo(f"  costs {recipe.costs}")
        for reference in find_citations(name) if cite else ():
            click.echo(f"  [{reference}]")
        for pass_name, options in choose_options(name).items():
            shown = [f"{key}={format_value(value)}" for key, value in options.items()]
            click.echo(" ".join(["  " + pass_name, *shown]))


@click.command()
@click.argument("file", type=str)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
def inspect(file: str, shapes: tuple[str, ...]) -> None:
    """Print a graph: nodes, shapes, parameters, and where it comes from.

    FILE is an .snn, .keras, .h5 or .onnx file, or the name of a shipped network.

    \b
    Example:
      spikeport inspect lenet
    """  # noqa: D301
    from ..converter.exports.snn import read_snn
    from ..converter.ir.analog import analog_nodes
    from ..converter.ir.text import count_parameters, format_graph

    is_spiking = Path(file).suffix.lower() == ".snn"
    graph = read_snn(Path(file)) if is_spiking else read_model(file, shapes).graph
    click.echo(format_graph(graph))
    click.echo(f"parameters: {count_parameters(graph):,}")
    if is_spiking and analog_nodes(graph):
        click.echo(f"stays analog: {', '.join(analog_nodes(graph))}")
    for key, value in graph.metadata.items():
        click.echo("\n".join(_describe(key, value)))


def _describe(key: str, value: Any) -> list[str]:
    """Return what the metadata say about `key`, in lines; a pass of the conversion is a line."""
    if key == "passes" and isinstance(value, list):
        return ["passes:", *(f"  {_describe_pass(entry)}" for entry in value)]
    text = value if isinstance(value, str) else json.dumps(value)
    return [f"{key}: {text if len(text) <= MAX_METADATA else text[:MAX_METADATA] + ' ...'}"]


def _describe_pass(entry: Any) -> str:
    from ..converter.recipes import format_value

    match entry:
        case {"name": str(name), "options": dict(options)}:
            shown = [f"{key}={format_value(value)}" for key, value in options.items()]
            return " ".join([name, *shown])
        case _:  # another program's file
            return json.dumps(entry)
