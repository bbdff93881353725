"""The report: one HTML file without scripts that needs nothing from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from ...converter.errors import FormatError
from ..energy import break_even, energy_rows, matched_bits
from .data import Content
from .examples import describe_example, draw_example
from .figures import FIGURES
from .style import drawing, to_inline, to_png, to_svg
from .text import percent, steps_to_show

TEMPLATE = "report.html.jinja"
MAX_LAYERS = 200
"""Rows of the table of layers."""


def render(content: Content) -> str:
    """Return the page."""
    figures, missing = [], []
    with drawing():
        for name, plot in FIGURES.items():
            figure = plot.draw(content)
            if figure is None:
                missing.append((plot.title, plot.missing))
            else:
                svg = to_inline(to_svg(figure), name)
                figures.append({"name": name, "title": plot.title, "caption": plot.caption,
                                "svg": svg})  # fmt: skip
        examples = [
            {
                "name": f"example-{example.number}",
                "caption": describe_example(example),
                "svg": to_inline(to_svg(draw_example(example)), f"example-{example.number}"),
            }
            for example in content.examples
        ]
    return fill(
        TEMPLATE,
        content=content,
        run=content.evaluation,
        workload=content.evaluation.workload,
        figures=figures,
        missing=missing,
        examples=examples,
        rows=energy_rows(content.evaluation.workload, content.constants),
        bits=matched_bits(content.evaluation.workload.n_levels),
        meeting=break_even(content.evaluation.workload, content.constants),
        accuracies=_accuracies(content),
        layers=_layers(content)[:MAX_LAYERS],
        summary=_summary(content),
    )


def fill(template: str, **values: Any) -> str:
    """Return a template of this folder with its values, which are escaped but for marked ones."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template(template).render(**values)


def save_figures(content: Content, folder: Path) -> dict[Path, bytes]:
    """Return every figure as an SVG and a PNG file: path to content."""
    files: dict[Path, bytes] = {}
    with drawing():
        drawn = {name: plot.draw(content) for name, plot in FIGURES.items()}
        drawn |= {f"example-{e.number}": draw_example(e) for e in content.examples}
        for name, figure in drawn.items():
            if figure is not None:
                files[folder / f"{name}.svg"] = to_svg(figure).encode()
                files[folder / f"{name}.png"] = to_png(figure)
    return files


def check_folder(folder: Path) -> None:
    """Refuse a folder for figures that cannot be one, before the work whose result it would hold.

    Raises:
        FormatError: It is a file.
    """
    try:
        is_other = folder.exists() and not folder.is_dir()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FormatError(
            f"{folder}: cannot be looked at ({getattr(error, 'strerror', None) or error})",
            hint="check the name and its permissions",
        ) from error
    if is_other:
        raise FormatError(
            f"{folder}: is a file, expected a folder or a new name",
            hint="give the name of a folder; it is created where it does not exist",
        )


def make_folder(folder: Path) -> None:
    """Create the folder that figures are written into.

    Raises:
        FormatError: It is a file, or cannot be created.
    """
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{folder}: cannot be created ({getattr(error, 'strerror', None) or error})",
            hint="give a folder that you may write into",
        ) from error


def _accuracies(content: Content) -> list[dict[str, str]]:
    run = content.evaluation
    rows = []
    for step in steps_to_show(run.n_steps):
        row = {"steps": f"{step:,}"}
        if run.accuracy is not None:
            low, high = run.interval(run.accuracy[step - 1])
            row["accuracy"] = percent(run.accuracy[step - 1])
            row["95 % interval"] = f"{100 * low:.2f} .. {100 * high:.2f}"
        if run.agreement is not None:
            row["as the ANN"] = percent(run.agreement[step - 1])
        rows.append(row)
    return rows


def _layers(content: Content) -> list[dict[str, Any]]:
    """Return the table that says which layer a number in a figure is."""
    found = {} if content.explanation is None else {x.node: x for x in content.explanation.layers}
    rows = []
    for number, (name, rate) in enumerate(content.evaluation.firing_rate.items(), 1):
        layer = found.get(name)
        rows.append({
            "number": number,
            "name": name,
            "rate": f"{rate:.4f}",
            "correlation": "" if layer is None else f"{layer.correlation:.4f}",
            "error": "" if layer is None else percent(layer.error),
            "silent": "" if layer is None else percent(layer.silent),
        })
    return rows


def _summary(content: Content) -> list[tuple[str, str]]:
    """Return the figures on top of the page: value and what it is."""
    run = content.evaluation
    tiles = []
    if run.accuracy is not None:
        low, high = run.interval(run.accuracy[-1])
        about = f"accuracy after {run.n_steps} steps ({100 * low:.2f} .. {100 * high:.2f})"
        tiles.append((percent(run.accuracy[-1]), about))
    if run.ann_accuracy is not None:
        tiles.append((percent(run.ann_accuracy), "accuracy of the ANN"))
    if content.quantised is not None:
        q = content.quantised
        about = f"quantised ANN, {q.n_bits} bits, first {q.n_samples:,} samples"
        tiles.append((percent(q.accuracy), about))
    if run.agreement is not None:
        tiles.append((percent(run.agreement[-1]), "same decision as the ANN"))
    if run.early_exit is not None:
        tiles.append((f"{run.early_exit.mean_steps:.1f}", f"steps per sample of {run.n_steps}"))
    tiles.append((f"{run.synaptic_operations_per_sample:,.0f}", "synaptic operations per sample"))
    return tiles
