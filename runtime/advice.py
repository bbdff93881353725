"""advise: what helps against each cause of error, in the options of the recipe that was used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..converter.ir import Graph


def advise(graph: Graph) -> dict[str, str]:
    """Return what helps, by key of error_split.CAUSES, going by the passes that the file names."""
    options = _read_options(graph.metadata.get("passes"))
    schedule = graph.metadata.get("schedule")
    n_steps = graph.metadata.get("n_steps")
    if isinstance(schedule, dict):
        n_steps = schedule.get("n_levels")
    more = "take more steps (--n-steps)"
    if type(n_steps) is int:
        more = f"take more steps (--n-steps {2 * n_steps})"
    half = ""
    if options.get("insert_neurons", {}).get("initial_potential") == 0:
        half = ", or start half way (--set insert_neurons.initial_potential=0.5)"
    return {
        "clipping": f"calibrate with samples like these, scaled alike, or {_raise(options, more)}",
        "quantisation": more + half,
        "reset": "let the neurons reset by subtraction (--set insert_neurons.reset=subtract)",
        "unevenness": f"{more}, or let layers wait for all their spikes (--recipe exact)",
    }


def _raise(options: Mapping[str, Mapping[str, Any]], more: str) -> str:
    """Return how thresholds are raised."""
    percentile = options.get("normalize_weights", {}).get("percentile")
    if type(percentile) is float and percentile < 100:
        return "raise the thresholds (--set normalize_weights.percentile=100)"
    return f"{more}: the fewer there are, the lower are the thresholds that the recipe chooses"


def _read_options(passes: Any) -> dict[str, Mapping[str, Any]]:
    """Return the options by pass; what a file from elsewhere has in their place is left out."""
    entries = passes if isinstance(passes, list) else []
    return {
        entry["name"]: entry["options"]
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("options"), dict)
    }
