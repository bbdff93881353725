"""The table of routes: one line per row and recipe, seeds put together."""

from __future__ import annotations

import re
import statistics
from typing import Any

HEAD = (
    "route", "seeds", "recipe", "T", "accuracy, %", "network, %", "same decisions, %",
    "quantised ANN, %", "synaptic operations", "energy, nJ", "file, KB", "ms per image",
)  # fmt: skip
ROUTES = {
    "converted, `rate`": ("vgg", "converted", "rate", 8),
    "converted, `exact`, 5 x 4 steps": ("vgg", "converted", "exact", 4),
    "binary weights, untrained, no data": (
        "vgg",
        "binary weights, untrained, no data: thresholds of noise",
        "binary",
        16,
    ),
    "binary weights, untrained, 1000 samples": (
        "vgg",
        "binary weights, untrained, correction: moments",
        "binary",
        16,
    ),
    "QCFS, 4 levels, exact, 5 x 4 steps": ("vgg", "vgg-qcfs4", "trained_exact", 4),
    "the same in 8-bit integers": ("vgg", "vgg-qcfs4", "trained_integer", 4),
    "QCFS, 2 levels, exact, 5 x 2 steps": ("vgg", "vgg-qcfs2", "trained_exact", 2),
    "QCFS, 4 levels, causal, `rate`": ("vgg", "vgg-qcfs4", "rate", 8),
    "QCFS, 4 levels, causal, no data": ("vgg", "vgg-qcfs4", "trained", 8),
    "Whetstone": ("vgg", "vgg-whetstone", "trained", 1),
    "binary activations 0 and 1": ("vgg", "vgg-step", "trained", 1),
    "binary activations -1 and 1": ("vgg", "vgg-sign", "trained", 1),
    "binary weights, 8 levels, exact, 5 x 8 steps": ("vgg", "vgg-weights", "trained_exact", 8),
    "both binary": ("vgg", "vgg-both", "trained", 1),
    "hybrid (surrogate gradients)": ("vgg", "vgg-surrogate4", "trained", 4),
}
"""The short table of the README: network, row, recipe and T asked for, by what it is called."""
FIRST = ("converted", "binary weights, untrained")
"""Routes without training come first."""


SHORT = (3, 4, 7, 8, 9, 10, 11)
"""Columns of HEAD that the short table has, beside the route."""


def to_markdown(entries: list[dict[str, Any]]) -> str:
    """Return all routes and the short table; with several seeds, mean and standard deviation."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=_order):
        key = (entry["network"], _row(entry), entry["recipe"], entry["asked_steps"])
        groups.setdefault(key, []).append(entry)
    lines = [*_head(HEAD), *(f"| {' | '.join(_cells(group))} |" for group in groups.values())]
    lines += ["", *_head(("route", *(HEAD[place] for place in SHORT)))]
    for name, key in ROUTES.items():
        if key in groups:
            cells = _cells(groups[key])
            lines.append(f"| {' | '.join([name, *(cells[place] for place in SHORT)])} |")
    return "\n".join(lines) + "\n"


def _head(columns: tuple[str, ...]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]


def _order(entry: dict[str, Any]) -> tuple[Any, ...]:
    is_trained = not entry["route"].startswith(FIRST)
    return (entry["network"] != "vgg", is_trained, _route(entry), entry["recipe"] == "trained",
            entry["recipe"] == "rate", entry["asked_steps"], entry["recipe"])  # fmt: skip


def _row(entry: dict[str, Any]) -> str:
    """Return the route without the seed."""
    return re.sub(r"-\d+$", "", entry["route"]) if "training" in entry else str(entry["route"])


def _route(entry: dict[str, Any]) -> str:
    """Return the route with the network's name in front."""
    return _row(entry) if "training" in entry else f"{entry['network']}, {entry['route']}"


def _cells(group: list[dict[str, Any]]) -> list[str]:
    first = group[0]
    bits = None if first["quantised"] is None else first["quantised"]["bits"]
    quantised = [e["quantised"]["accuracy"] for e in group if e["quantised"] is not None]
    energy = [next(v for k, v in e["energy_nj"].items() if k.startswith("spiking, 8"))
              for e in group]  # fmt: skip
    steps = first["n_steps"]
    shown = str(steps) if steps == first["asked_steps"] else f"{steps} ({first['asked_steps']})"
    return [
        _route(first),
        str(len(group)) if "training" in first else "",
        f"`{first['recipe']}`",
        shown,
        _spread([e["accuracy"] for e in group]),
        _spread([e["source_accuracy"] for e in group]),
        f"{statistics.mean(e['agreement'] for e in group):.2f}",
        f"{bits} bit{'s' * (bits > 1)}: {statistics.mean(quantised):.2f}" if quantised else "",
        f"{statistics.mean(e['synaptic_operations'] for e in group):,.0f}",
        f"{statistics.mean(energy):,.0f}",
        f"{statistics.mean(e['file_bytes'] for e in group) / 1000:,.0f}",
        f"{statistics.mean(e['milliseconds'] for e in group):.2f}",
    ]


def _spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"
