"""Many results in one page: accuracy against what it costs, and which no other result beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..metrics import wilson_interval
from ..sweep.table import Entry, format_rows, format_value, split_common
from .html import fill
from .style import MUTED, SERIES, TEXT, drawing, new_figure, to_inline, to_svg, use_log_axis

TEMPLATE = "results.html.jinja"
MARKERS = "os^Dvp"
MAX_SERIES = 12
"""With a line of their own in the legend."""
WIDE = 12.0
"""Points of accuracy from which on the axis is one of errors, on a logarithmic scale."""
APART = 0.05
"""Of the axes' width: where the numbers of two results are nearer, the second is left out."""


@dataclass(frozen=True)
class Cost:
    """One entry of COSTS.

    Attributes:
        title: Heading.
        label: Of the axis.
        caption: What the cost is.
    """

    title: str
    label: str
    caption: str


COSTS = {
    "steps": Cost(
        "Accuracy against steps",
        "time steps per sample",
        "All steps until the decision, those in which layers wait included.",
    ),
    "synaptic_operations": Cost(
        "Accuracy against operations",
        "synaptic operations per sample",
        "Every spike times the connections that leave it.",
    ),
    "energy_nj": Cost(
        "Accuracy against energy",
        "arithmetic, nJ per sample",
        "Integer arithmetic only, priced by Horowitz' constants; no measurement of a chip.",
    ),
}


def find_front(
    costs: npt.NDArray[np.float64], gains: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which results no other one beats, [N]: less cost and no less gain, or the reverse.

    Of results that are equal in both, all are in the front.
    """
    cheaper = costs[:, None] <= costs
    better = gains[:, None] >= gains
    strictly = (costs[:, None] < costs) | (gains[:, None] > gains)
    return ~np.asarray((cheaper & better & strictly).any(axis=0))


def render_results(
    table: Sequence[Entry], *, title: str, provenance: Sequence[tuple[str, str]]
) -> str:
    """Return the page; results of another network or on other data are in sections of their own.

    Args:
        table: As `tabulate` gives it.
        title: Of the page.
        provenance: Pairs of name and value.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in table:
        groups.setdefault((entry["model_sha256"], entry["data_sha256"]), []).append(entry)
    with drawing():
        sections = [_section(entries, number) for number, entries in enumerate(groups.values())]
    return fill(
        TEMPLATE, title=title, n_results=len(table), sections=sections, provenance=provenance
    )


def _section(table: Sequence[Entry], number: int) -> dict[str, Any]:
    with_labels = [place for place, entry in enumerate(table) if entry["accuracy"] is not None]
    gains = np.array([table[place]["accuracy"] for place in with_labels], np.float64)
    fronts: dict[int, list[str]] = {}
    figures = []
    for key, cost in COSTS.items() if with_labels else ():
        costs = np.array([table[place][key] for place in with_labels], np.float64)
        on_front = find_front(costs, gains)
        for place in np.flatnonzero(on_front):
            fronts.setdefault(with_labels[place], []).append(
                key.split("_")[-1].replace("nj", "energy")
            )
        shown = [table[place] for place in with_labels]
        figure = draw_front(shown, np.array(with_labels) + 1, costs, on_front, cost.label)
        name = f"data{number}-{key.replace('_', '-')}"
        figures.append({"name": name, "title": cost.title, "caption": cost.caption,
                        "svg": to_inline(to_svg(figure), name)})  # fmt: skip
    common, keys = split_common(table)
    headings, rows = format_rows(table, keys)
    return {
        "title": f"{table[0]['model']} on {table[0]['data']}",
        "figures": figures,
        "common": [
            (key.replace("_", " "), format_value(key, value)) for key, value in common.items()
        ],
        "headings": ["", *headings, "95 % interval", "on the front of"],
        "rows": [
            [str(place + 1), *row, _interval(table[place]), ", ".join(fronts.get(place, []))]
            for place, row in enumerate(rows)
        ],
    }


def draw_front(
    table: Sequence[Entry],
    numbers: npt.NDArray[np.int64],
    costs: npt.NDArray[np.float64],
    on_front: npt.NDArray[np.bool_],
    label: str,
) -> Figure:
    """Return accuracies against a cost, the front as a line, its results with their numbers."""
    figure, axes = new_figure(height=3.6)
    gains = 100 * np.array([entry["accuracy"] for entry in table])
    positive = np.maximum(costs, 1e-3)  # nothing at all has no place on a logarithmic axis
    series: dict[str, list[int]] = {}
    for place, entry in enumerate(table):
        name = " ".join(str(entry[key]) for key in ("recipe", "code") if entry.get(key))
        series.setdefault(name, []).append(place)
    ann = table[0]["ann_accuracy"]
    values = gains if ann is None else np.append(gains, 100 * ann)
    best = 100 - 50 / table[0]["n_samples"]  # no error at all has no place, either
    is_wide = float(np.ptp(values)) > WIDE
    heights = 100 - np.minimum(gains, best) if is_wide else gains
    for number, (name, places) in enumerate(series.items()):
        axes.plot(positive[places], heights[places], MARKERS[number % len(MARKERS)],
                  color=SERIES[number % len(SERIES)], markersize=5, linestyle="none",
                  label=name if number < MAX_SERIES else None)  # fmt: skip
    order = sorted(np.flatnonzero(on_front), key=lambda place: (costs[place], gains[place]))
    axes.plot(positive[order], heights[order], color=TEXT, lw=1, drawstyle="steps-post", zorder=1,
              label="front")  # fmt: skip
    if ann is not None:
        height = 100 - min(100 * ann, best) if is_wide else 100 * ann
        axes.axhline(height, color=MUTED, ls="--", lw=1, zorder=0, label=f"ANN, {100 * ann:.2f} %")
    use_log_axis(axes, positive)
    axes.margins(x=0.08, y=0.1)
    if is_wide:
        _use_error_axis(axes)
    axes.set(xlabel=label, ylabel="accuracy (%)")
    _write_numbers(axes, positive[order], heights[order], numbers[order])
    figure.legend(loc="outside lower left", ncols=3, fontsize=9)
    return figure


def _use_error_axis(axes: Axes) -> None:
    """Let what is drawn be errors in percent: 10, 1, 0.1 are as far apart, named as accuracies."""
    axes.set_yscale("log")
    axes.invert_yaxis()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:.6g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _write_numbers(
    axes: Axes,
    costs: npt.NDArray[np.float64],
    heights: npt.NDArray[np.float64],
    numbers: npt.NDArray[np.int64],
) -> None:
    width = float(np.ptp(np.log10(axes.get_xlim())))
    last = -np.inf
    for cost, height, number in zip(costs, heights, numbers, strict=True):
        if np.log10(cost) - last >= APART * width:
            axes.annotate(str(number), (cost, height), (-4, 5), textcoords="offset points",
                          fontsize=9, color=TEXT)  # fmt: skip
            last = np.log10(cost)


def _interval(entry: Entry) -> str:
    if entry["accuracy"] is None:
        return ""
    low, high = wilson_interval(round(entry["accuracy"] * entry["n_samples"]), entry["n_samples"])
    return f"{100 * low:.2f} .. {100 * high:.2f}"
