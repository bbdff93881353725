"""Single samples over time, as pictures."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from .data import Example
from .style import MUTED, PAPER, SERIES, WIDTH

SHOWN = 4
"""Classes whose score is drawn: those that lead most."""


def draw_example(example: Example) -> Figure:
    """Return the sample's image and the scores of its leading classes against steps."""
    figure = Figure(figsize=(WIDTH, 2.0), layout="constrained")
    left, axes = figure.subplots(1, 2, width_ratios=(1, 2.4))
    left.set_axis_off()
    if example.image is not None:
        left.imshow(example.image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    n_steps = len(example.scores)
    steps = np.arange(1, n_steps + 1)
    leading = set(np.argsort(-example.scores.max(axis=0), kind="stable")[:SHOWN].tolist())
    leading |= {example.decision} | ({example.label} - {None})
    for number, name in enumerate(sorted(leading)):
        label = f"class {name}" + (" (true)" if name == example.label else "")
        axes.plot(steps, 100 * example.scores[:, name], color=SERIES[number % len(SERIES)],
                  lw=1.6, label=label)  # fmt: skip
    axes.axvline(example.stable, color=MUTED, ls=":", lw=1)
    axes.grid(True)
    axes.set(xlabel="time steps", ylabel="score (%)", ylim=(-3, 103), xlim=(1, max(2, n_steps)))
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    legend.get_frame().set_facecolor(PAPER)
    return figure


def describe_example(example: Example) -> str:
    """Return a sentence about the sample."""
    verdict = ""
    if example.label is not None:
        is_right = example.decision == example.label
        verdict = ", which is right" if is_right else f", wrong: it is class {example.label}"
    return (
        f"Sample {example.number}: decided for class {example.decision}{verdict}; "
        f"the decision does not change any more after step {example.stable}."
    )
