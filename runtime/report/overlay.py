"""Several runs in one figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..compare_runs import accuracies, per_step
from ..metrics import wilson_interval
from ..results import Run
from .style import SERIES, drawing, new_figure, to_png, to_svg, use_log_axis

STYLES = ("-", "--", "-.", ":")


def draw_overlays(runs: Sequence[Run]) -> dict[str, bytes]:
    """Return accuracy against steps, operations and energy: file name to content.

    Raises:
        FormatError: What a run says about a figure is damaged.
    """
    files = {}
    with drawing():
        drawn = {
            "compare-accuracy": over_steps(runs),
            "compare-operations": _over(
                runs, operations(runs), "operations per sample (ACs, MACs)"
            ),
            "compare-energy": _over(runs, energies(runs), "arithmetic, nJ per sample"),
        }
        for name, figure in drawn.items():
            files[f"{name}.svg"] = to_svg(figure).encode()
            files[f"{name}.png"] = to_png(figure)
    return files


def over_steps(runs: Sequence[Run]) -> Figure:
    """Return accuracies with their confidence bands."""
    figure, axes = new_figure()
    names = short_names(runs)
    for number, run in enumerate(runs):
        shares = accuracies(run)
        steps = np.arange(1, len(shares) + 1)
        n_samples = run.decisions.shape[1]
        bands = [wilson_interval(round(share * n_samples), n_samples) for share in shares]
        color = SERIES[number % len(SERIES)]
        axes.fill_between(steps, *(100 * np.array(bands).T), color=color, alpha=0.18, linewidth=0)
        axes.plot(steps, 100 * shares, STYLES[number % len(STYLES)], color=color,
                  label=names[number])  # fmt: skip
    axes.set(xlabel="time steps", ylabel="accuracy (%)")
    axes.set_xlim(1, max(2, *(len(run.decisions) for run in runs)))
    axes.legend(loc="best")
    return figure


def short_names(runs: Sequence[Run]) -> list[str]:
    """Return the files' names without folders, or the end of their paths where these are equal."""
    names = [run.name.replace("\\", "/").split("/")[-1] for run in runs]
    if len(set(names)) < len(names):
        names = [run.name for run in runs]
    return [name if len(name) <= 40 else f"...{name[-37:]}" for name in names]


def operations(runs: Sequence[Run]) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return effective operations until every step, [T] per run; the input's are not in them."""
    return [
        np.cumsum(
            per_step(run, "workload", "effective_acs_per_step")
            + per_step(run, "workload", "effective_macs_per_step")
        )
        for run in runs
    ]


def energies(runs: Sequence[Run]) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the arithmetic until every step, [T] per run, with each run's own constants."""
    return [per_step(run, "energy", "spiking_nj_per_step") for run in runs]


def _over(
    runs: Sequence[Run], amounts: list[np.ndarray[tuple[int], np.dtype[np.float64]]], label: str
) -> Figure:
    figure, axes = new_figure()
    drawn: list[float] = []
    names = short_names(runs)
    for number, (run, amount) in enumerate(zip(runs, amounts, strict=True)):
        some = amount > 0
        drawn += amount[some].tolist()
        axes.plot(amount[some], 100 * accuracies(run)[some], STYLES[number % len(STYLES)],
                  color=SERIES[number % len(SERIES)], label=names[number])  # fmt: skip
    use_log_axis(axes, drawn or [1.0, 10.0])
    axes.set(xlabel=label, ylabel="accuracy (%)")
    axes.legend(loc="best")
    return figure
