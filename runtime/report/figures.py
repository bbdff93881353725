"""FIGURES: what a report shows, each as a function from its data to a drawing or None."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..energy import energy_per_step, energy_rows
from ..error_split import CAUSES
from ..metrics import confusion_matrix, stable_after
from .data import Content
from .style import GRID, MUTED, SERIES, TEXT, new_figure, use_log_axis

MAX_CLASSES = 30
"""Of a confusion matrix with figures in its cells; more are drawn as shades."""

MARKERS = "os^vP*Xh"
"""Of causes of error, one for each of them."""


@dataclass(frozen=True)
class Plot:
    """One entry of FIGURES.

    Attributes:
        title: Heading.
        caption: What is to be seen, in a sentence.
        draw: Returns None where the data for it are not there.
        missing: What to do so that they are.
    """

    title: str
    caption: str
    draw: Callable[[Content], Figure | None]
    missing: str = ""


def accuracy_over_steps(content: Content) -> Figure | None:
    """Accuracy with its confidence band, the ANN's, agreement."""
    run = content.evaluation
    if run.accuracy is None and run.agreement is None:
        return None
    figure, axes = new_figure()
    steps = np.arange(1, run.n_steps + 1)
    if run.accuracy is not None:
        bands = np.array([run.interval(share) for share in run.accuracy])
        axes.fill_between(
            steps, *(100 * bands.T), color=SERIES[0], alpha=0.25, linewidth=0, label="95 % interval"
        )
        axes.plot(steps, 100 * np.array(run.accuracy), color=SERIES[0], label="spiking network")
    if run.agreement is not None:
        label = "same decision as the ANN"
        axes.plot(steps, 100 * np.array(run.agreement), color=MUTED, ls=":", label=label)
    _draw_references(axes, content)
    axes.set(xlabel="time steps", ylabel="accuracy (%)", xlim=(1, max(2, run.n_steps)))
    axes.legend(loc="best")
    return figure


def accuracy_over_operations(content: Content) -> Figure | None:
    """Accuracy against accumulated synaptic operations."""
    run = content.evaluation
    per_step = [sum(values) for values in zip(*run.synaptic_operations.values(), strict=True)]
    if run.accuracy is None or not sum(per_step):
        return None
    figure, axes = new_figure()
    operations = np.cumsum(per_step)
    some = operations > 0
    axes.plot(operations[some], 100 * np.array(run.accuracy)[some], color=SERIES[0],
              label="spiking network")  # fmt: skip
    if run.ann_accuracy is not None:
        axes.plot(run.macs_per_sample, 100 * run.ann_accuracy, "o", color=SERIES[1],
                  label="ANN (multiply-accumulates)")  # fmt: skip
    use_log_axis(axes, [*operations[some], max(1, run.macs_per_sample)])
    axes.set(xlabel="synaptic operations per sample", ylabel="accuracy (%)")
    axes.legend(loc="best")
    return figure


def accuracy_over_energy(content: Content) -> Figure | None:
    """Accuracy against the energy of the integer arithmetic."""
    run = content.evaluation
    if run.accuracy is None:
        return None
    figure, axes = new_figure()
    energy = np.array(energy_per_step(run.workload, content.constants))
    some = energy > 0
    if not some.any():
        return None
    axes.plot(energy[some], 100 * np.array(run.accuracy)[some], color=SERIES[0],
              label="spiking, after every step")  # fmt: skip
    ann, _, quantised, _ = energy_rows(run.workload, content.constants)
    if run.ann_accuracy is not None:
        axes.plot(ann.arithmetic_nj, 100 * run.ann_accuracy, "o", color=SERIES[1], label=ann.name)
    if content.quantised is not None:
        axes.plot(quantised.arithmetic_nj, 100 * content.quantised.accuracy, "s", color=SERIES[2],
                  label=f"ANN, {content.quantised.n_bits}-bit activations")  # fmt: skip
    use_log_axis(axes, [*energy[some], ann.arithmetic_nj or 1.0])
    axes.set(xlabel="arithmetic, nJ per sample", ylabel="accuracy (%)")
    axes.legend(loc="best")
    return figure


def latency(content: Content) -> Figure | None:
    """How many samples have reached their last decision."""
    run = content.evaluation
    figure, axes = new_figure()
    stable = np.sort(stable_after(run.decisions))
    steps = np.arange(1, run.n_steps + 1)
    share = np.searchsorted(stable, steps, side="right") / run.n_samples
    axes.plot(steps, 100 * share, color=SERIES[0], drawstyle="steps-post", label="all samples")
    if run.labels is not None:
        right = run.decisions[-1] == run.labels
        for chosen, color, label in ((right, SERIES[2], "right"), (~right, SERIES[1], "wrong")):
            if chosen.any():
                some = np.sort(stable_after(run.decisions)[chosen])
                share = np.searchsorted(some, steps, side="right") / len(some)
                axes.plot(steps, 100 * share, color=color, ls="--", lw=1.2,
                          drawstyle="steps-post", label=f"decided {label} in the end")  # fmt: skip
    axes.set(xlabel="time steps", ylabel="decision is the last one (%)", ylim=(0, 102))
    axes.set_xlim(1, max(2, run.n_steps))
    axes.legend(loc="best")
    return figure


def firing_rates(content: Content) -> Figure | None:
    """Boxes over the neurons of a layer."""
    if not content.rates:
        return None
    figure, axes = new_figure()
    boxes = []
    for number, (name, rates) in enumerate(content.rates.items(), 1):
        low, first, middle, third, high = np.percentile(rates, [5, 25, 50, 75, 95])
        mean = content.evaluation.firing_rate[name]
        boxes.append({"label": str(number), "whislo": low, "q1": first, "med": middle,
                      "q3": third, "whishi": high, "mean": mean, "fliers": []})  # fmt: skip
    line = {"color": MUTED}
    axes.bxp(boxes, showfliers=False, showmeans=True, patch_artist=True, widths=0.55,
             boxprops={"facecolor": SERIES[0], "alpha": 0.45, "edgecolor": SERIES[0]},
             medianprops={"color": TEXT}, whiskerprops=line, capprops=line,
             meanprops={"marker": "o", "markersize": 4, "markerfacecolor": SERIES[1],
                        "markeredgecolor": SERIES[1]})  # fmt: skip
    _thin_out(axes, len(boxes))
    axes.set(xlabel="layer of neurons", ylabel="spikes per neuron and step", ylim=(0, None))
    return figure


def error_budget(content: Content) -> Figure | None:
    """Causes of the layers' errors."""
    if content.explanation is None:
        return None
    figure, axes = new_figure()
    layers = content.explanation.neurons
    numbers = np.arange(1, len(layers) + 1)
    total = [100 * layer.error for layer in layers]
    axes.bar(numbers, total, color=GRID, width=0.7, label="whole difference")
    inherited = [100 * layer.inherited for layer in layers]
    axes.plot(numbers, inherited, "D:", color=MUTED, ms=4, lw=1.2, label="inherited")
    causes = [cause for cause in CAUSES if any(layer.causes[cause] for layer in layers)]
    for number, cause in enumerate(causes):
        values = [100 * layer.causes[cause] for layer in layers]
        color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        axes.plot(numbers, values, marker, ls="-", lw=1, color=color, ms=5, label=cause)
    _number_layers(axes, len(layers))
    axes.set(ylabel="error, % of the activations", ylim=(0, 1.45 * max(*total, *inherited, 1e-9)))
    axes.legend(loc="upper left", ncols=2)
    return figure


def correlations(content: Content) -> Figure | None:
    """Correlation of rates and activations by layer."""
    if content.explanation is None:
        return None
    figure, axes = new_figure()
    layers = content.explanation.neurons
    values = [layer.correlation for layer in layers]
    axes.plot(np.arange(1, len(layers) + 1), values, "o-", color=SERIES[0])
    _number_layers(axes, len(layers))
    axes.set(ylabel="correlation with the ANN", ylim=(min(0.9, *values) - 0.01, 1.005))
    return figure


def confusion(content: Content) -> Figure | None:
    """Which class is taken for which."""
    run = content.evaluation
    if run.labels is None:
        return None
    n_classes = max(content.n_classes, 2)
    counts = confusion_matrix(run.labels, run.decisions[-1], n_classes)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    figure, axes = new_figure(height=4.2)
    axes.grid(False)
    if n_classes > MAX_CLASSES:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    else:
        for row, column in np.argwhere(counts > 0):
            share = float(shares[row, column])
            color = SERIES[0] if row == column else SERIES[1]
            axes.fill_between([column - 0.5, column + 0.5], row - 0.5, row + 0.5, color=color,
                              alpha=0.08 + 0.5 * share, linewidth=0)  # fmt: skip
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center",
                      fontsize=9 if n_classes <= 10 else 6)  # fmt: skip
        axes.set(xlim=(-0.5, n_classes - 0.5), ylim=(n_classes - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set(xlabel=f"decided after {run.n_steps} steps", ylabel="class")
    return figure


def early_exit(content: Content) -> Figure | None:
    """Accuracy against mean latency."""
    run, calibration = content.evaluation, content.calibration
    if run.early_exit is None or calibration is None:
        return None
    figure, axes = new_figure()
    kind = "accuracy" if calibration.is_accuracy else "same decision as after T steps"
    steps, right = np.array(calibration.curve).T
    fixed = 100 * np.array(calibration.fixed)
    axes.plot(np.arange(1, len(fixed) + 1), fixed, color=MUTED, ls="--",
              label="all stop at once (held back)")  # fmt: skip
    order = np.argsort(steps)
    axes.plot(steps[order], 100 * right[order], color=SERIES[0], label="early exit (held back)")
    if run.accuracy is not None and calibration.is_accuracy:
        axes.plot(run.early_exit.mean_steps, 100 * run.accuracy[-1], "o", color=SERIES[1],
                  label="early exit (these samples)")  # fmt: skip
    axes.set(xlabel="mean steps per sample", ylabel=f"{kind} (%)")
    axes.legend(loc="best")
    return figure


def _draw_references(axes: Axes, content: Content) -> None:
    """Draw the ANN's accuracy and that of the quantised ANN."""
    ann, quantised = content.evaluation.ann_accuracy, content.quantised
    if ann is not None:
        axes.axhline(100 * ann, color=SERIES[1], ls="--", lw=1.4, label=f"ANN, {100 * ann:.2f} %")
    if quantised is not None:
        label = f"ANN, {quantised.n_levels + 1} levels ({quantised.n_samples:,} samples)"
        axes.axhline(100 * quantised.accuracy, color=SERIES[2], ls="-.", lw=1.2, label=label)


def _number_layers(axes: Axes, n_layers: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set(xlabel="layer of neurons", xlim=(0.4, n_layers + 0.6))


def _thin_out(axes: Axes, n_layers: int) -> None:
    every = -(-n_layers // 12)
    for number, label in enumerate(axes.get_xticklabels()):
        label.set_visible(number % every == 0)


NEEDS_LABELS = "needs data with labels"
NEEDS_ANN = "needs the source network: --ann MODEL, and integrate-and-fire neurons"
FIGURES: dict[str, Plot] = {
    "accuracy": Plot(
        "Accuracy against steps",
        "Share of right decisions if the network is read out after so many steps.",
        accuracy_over_steps,
        f"{NEEDS_LABELS}, or the source network: --ann MODEL",
    ),
    "operations": Plot(
        "Accuracy against operations",
        "Synaptic operations: every spike times the connections that leave it.",
        accuracy_over_operations,
        f"{NEEDS_LABELS} and a network with spikes",
    ),
    "energy": Plot(
        "Accuracy against energy",
        "Arithmetic only, priced by the constants in the table; no measurement of a chip.",
        accuracy_over_energy,
        NEEDS_LABELS,
    ),
    "latency": Plot(
        "Latency until the decision is stable",
        "Share of the samples whose decision does not change any more after so many steps.",
        latency,
    ),
    "early-exit": Plot(
        "Early exit",
        "Samples stop as soon as their decision is certain; calibrated on held-back samples.",
        early_exit,
        "needs --early-exit LOSS --exit-data DATA",
    ),
    "rates": Plot(
        "Firing rates",
        "Spread over the neurons of a layer: 5, 25, 50, 75, 95 %; the dot is the mean.",
        firing_rates,
        "needs a network with neurons",
    ),
    "errors": Plot(
        "Error budget",
        "Root mean square difference of rates and activations, and what causes it.",
        error_budget,
        NEEDS_ANN,
    ),
    "correlation": Plot(
        "Correlation with the ANN",
        "Of spike rates with the activations that they stand for, over neurons and samples.",
        correlations,
        NEEDS_ANN,
    ),
    "confusion": Plot(
        "Confusion matrix",
        "Classes in rows, decisions in columns; number of samples.",
        confusion,
        NEEDS_LABELS,
    ),
}
