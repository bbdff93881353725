"""--recipe auto of `convert`: search recipes, options and T for a target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .inputs import load_samples, read_model, resolve_reading
from .screen import make_console, show_search

if TYPE_CHECKING:
    from ..converter.ir import Graph
    from ..runtime.sweep.auto import Found
    from ..runtime.sweep.points import Method

AUTO = "auto"
HELD_BACK = 14_000
"""Samples to search on and to promise on, beside those that calibrate."""


def refuse_search_options(given: dict[str, Any]) -> None:
    """Refuse options of a search where none is made; `given` by name on the command line."""
    from ..converter.errors import PassError

    for name, value in given.items():
        if value:
            raise PassError(
                f"{name}: belongs to a search, expected --recipe auto with it",
                hint="for example --recipe auto --target accuracy-drop=0.5",
            )


def run_search(
    model: str,
    shapes: tuple[str, ...],
    calibration: str,
    output: Path,
    *,
    targets: Sequence[str],
    candidates: Sequence[str],
    n_calibration: int,
    held_back: int | None,
    settings: Sequence[str],
    keep_analog: tuple[str, ...],
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Search, print the front and write the chosen point.

    Raises:
        DataError: There are too few samples.
        SimulationError: No such target, or it was not reached; the best that was found is written
            all the same.
    """
    from ..converter.convert import convert
    from ..converter.errors import DataError, SimulationError
    from ..converter.exports.snn import write_snn
    from ..converter.recipes import parse_options
    from ..runtime.report.text import make_table
    from ..runtime.sweep.auto import count_layers, search, split
    from ..runtime.sweep.measuring import Samples
    from ..runtime.sweep.points import choose_methods, with_options
    from ..runtime.sweep.targets import parse_targets

    wanted = parse_targets(targets)
    names = [name for text in candidates for name in text.split(",")]
    methods = with_options(choose_methods(names), parse_options(tuple(settings)))
    n_held_back = HELD_BACK if held_back is None else held_back
    for name, number, hint in (
        ("--calibration-samples", n_calibration, "1000 is the default"),
        ("--held-back", n_held_back, f"{HELD_BACK} is the default"),
    ):
        if number < 1:
            raise DataError(f"{name} {number}: expected at least 1 sample", hint=hint)
    source = read_model(model, shapes)
    data = load_samples(calibration, source.graph, n_calibration + n_held_back, **reading)
    part, searched, unseen = split(Samples(data.inputs, data.labels), n_calibration)

    def make(method: Method, n_steps: int) -> Graph:
        return convert(
            source,
            part.inputs,
            recipe=method.recipe,
            n_steps=n_steps,
            options=method.options,
            keep_analog=keep_analog,
            calibration_name=f"{data.name}, {len(part)} drawn from them",
            preprocessing=resolve_reading(source.graph, reading)["preprocessing"],
        ).graph

    with show_search() as show:
        found = search(
            make,
            source.run,
            searched,
            unseen,
            wanted,
            n_layers=count_layers(source.graph),
            methods=methods,
            progress=show,
        )
    chosen = {"targets": str(wanted), "met": found.is_met, **found.chosen.to_json()}
    graph = found.graph.replace(metadata={**found.graph.metadata, "search": chosen})
    digest = write_snn(graph, output)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        _show(found, data.name, len(part), len(searched), len(unseen))
        make_console().print(make_table(*found.table()))
        click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")
    if not found.is_met:
        raise SimulationError(
            found.sentence,
            hint=f"{output} is the best found; allow more, or give more samples: with few of them "
            "little can be promised",
        )
    if not as_json:
        click.echo(found.sentence)


def _show(found: Found, name: str, n_calibration: int, n_searched: int, n_unseen: int) -> None:
    click.echo(
        f"{name}, in random order: calibrated on {n_calibration}, searched on {n_searched}, "
        f"measured on {n_unseen} unseen ones"
    )
    if found.ann_accuracy is None:
        click.echo("no labels: every decision that is not the ANN's counts as lost")
    else:
        click.echo(f"ANN on the unseen ones: {100 * found.ann_accuracy:.2f} %")
    for name, reason in found.failures.items():
        click.echo(f"left out: {name}: {reason.splitlines()[0]}")
