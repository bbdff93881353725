"""A trace as a picture: raster and potentials of every node, and the decision below them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..trace import NodeTrace, Trace
from .style import GRID, MUTED, SERIES, TEXT, drawing, to_png, to_svg

MAX_NODES = 12
LOWEST = -3.0
"""Thresholds; potentials of silent neurons fall on and on, and would hide the others."""
SHOWN = 3
"""Neurons whose potential is drawn: those that spike most, half of them, and least."""


def draw_trace(found: Trace) -> dict[str, bytes]:
    """Return the picture as SVG and PNG, by suffix."""
    with drawing():
        figure = _draw(found)
        return {".svg": to_svg(figure).encode(), ".png": to_png(figure)}


def _draw(found: Trace) -> Figure:
    nodes = found.nodes[:MAX_NODES]
    figure = Figure(figsize=(9.5, 1.9 * len(nodes) + 2.6), layout="constrained")
    grid = figure.add_gridspec(len(nodes) + 1, 2, height_ratios=[*([1.9] * len(nodes)), 2.4])
    for row, node in enumerate(nodes):
        _raster(figure.add_subplot(grid[row, 0]), node)
        _potentials(figure.add_subplot(grid[row, 1]), node)
    _decision(figure.add_subplot(grid[-1, :]), found)
    more = len(found.nodes) - len(nodes)
    title = f"sample {found.sample}" + ("" if found.label is None else f", class {found.label}")
    figure.suptitle(title + (f"; {more} more nodes are in the .npz" if more else ""), fontsize=11)
    return figure


def _raster(axes: Axes, node: NodeTrace) -> None:
    steps, places = np.nonzero(node.spikes)
    signs = node.spikes[steps, places]
    for chosen, color in ((signs > 0, SERIES[0]), (signs < 0, SERIES[1])):
        axes.plot(steps[chosen] + 1, places[chosen], "|", color=color, ms=_mark(node), mew=0.9)
    n_kept = len(node.chosen)
    axes.set(ylim=(-0.7, n_kept - 0.3), xlim=(0.5, len(node.spikes) + 0.5), xlabel="time steps")
    axes.set_ylabel(f"{n_kept} of {node.n_neurons:,}\nneurons" if n_kept < node.n_neurons
                    else f"{n_kept} neurons")  # fmt: skip
    axes.set_title(f"{_short(node.name)}: spikes", fontsize=10, loc="left")


def _potentials(axes: Axes, node: NodeTrace) -> None:
    order = np.argsort(-np.abs(node.spikes).sum(axis=0), kind="stable")
    active = order[np.abs(node.spikes).sum(axis=0)[order] > 0]
    picks = active if len(active) else order
    picks = picks[np.unique(np.linspace(0, len(picks) - 1, SHOWN).round().astype(int))]
    steps = np.arange(1, len(node.spikes) + 1)
    axes.axhline(1, color=TEXT, lw=1, ls="--")
    axes.axhline(0, color=GRID, lw=1)
    for number, place in enumerate(picks):
        ratio = node.potentials[:, place] / node.thresholds[place]
        color = SERIES[number % len(SERIES)]
        axes.plot(steps, ratio, color=color, lw=1.2, label=f"neuron {node.chosen[place]}")
        fired = node.spikes[:, place] != 0
        axes.plot(steps[fired], np.full(fired.sum(), 1.0), "|", color=color, ms=7)
    low = (node.potentials[:, picks] / node.thresholds[picks]).min()
    axes.set_ylim(bottom=max(LOWEST, min(-0.1, 1.1 * float(low))))
    axes.set(xlim=(0.5, len(steps) + 0.5), xlabel="time steps", ylabel="potential /\nthreshold")
    axes.set_title("membrane potential behind the spike", fontsize=10, loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def _decision(axes: Axes, found: Trace) -> None:
    outputs = found.outputs.reshape(len(found.outputs), -1)
    steps = np.arange(1, len(outputs) + 1)
    leading = set(np.argsort(-outputs.max(axis=0), kind="stable")[:4].tolist())
    leading.add(int(outputs[-1].argmax()))
    if found.label is not None and found.label < outputs.shape[1]:
        leading.add(found.label)
    for number, place in enumerate(sorted(leading)):
        label = f"class {place}" + (" (true)" if place == found.label else "")
        axes.plot(steps, outputs[:, place], color=SERIES[number % len(SERIES)], label=label)
    for step in np.flatnonzero(np.diff(found.decisions)) + 2:
        axes.axvline(float(step), color=MUTED, lw=0.8, ls=":")
    last = int(found.decisions[-1])
    axes.set(xlim=(0.5, len(steps) + 0.5), xlabel="time steps", ylabel="mean potential so far")
    axes.set_title(f"running decision: {last} in the end; dotted where it changes", fontsize=10,
                   loc="left")  # fmt: skip
    axes.grid(True)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def _mark(node: NodeTrace) -> float:
    """Size of a mark, so that rows do not touch."""
    return float(np.clip(90 / max(1, len(node.chosen)), 1.2, 9))


def _short(name: str) -> str:
    """Return a name without what cannot be printed, at most 40 characters."""
    text = "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in name)
    return text if len(text) <= 40 else f"...{text[-37:]}"
