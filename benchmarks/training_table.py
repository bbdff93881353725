"""The table of routes: one line per row and recipe, seeds put together."""

from __future__ import annotations

import re
import statistics
from typing import Any

HEAD = (
    "route", "seeds", "recipe", "T", "accuracy, %", "network, %", "same decisions, %",
    "quantised ANN, %", "synaptic operations", "energy, nJ", "file, KB", "ms per image",
)  # fmt: skip
FIRST = ("converted", "binary weights, untrained")
"""Routes without training come first."""


def to_markdown(entries: list[dict[str, Any]]) -> str:
    """Return the table; with several seeds, mean and standard deviation."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=_order):
        key = (entry["network"], _route(entry), entry["recipe"], entry["asked_steps"])
        groups.setdefault(key, []).append(entry)
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    lines += [f"| {' | '.join(_cells(group))} |" for group in groups.values()]
    return "\n".join(lines) + "\n"


def _order(entry: dict[str, Any]) -> tuple[Any, ...]:
    is_trained = not entry["route"].startswith(FIRST)
    return (entry["network"] != "vgg", is_trained, _route(entry), entry["recipe"] == "trained",
            entry["recipe"] == "rate", entry["asked_steps"], entry["recipe"])  # fmt: skip


def _route(entry: dict[str, Any]) -> str:
    """Return the route without the seed, and with the network's name in front."""
    if "training" not in entry:
        return f"{entry['network']}, {entry['route']}"
    return re.sub(r"-\d+$", "", entry["route"])


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
