"""advise: what helps against each cause of error, in the options of the recipe that was used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..converter.ir import Graph, SignedFire
from .encoding import DEFAULT_CODE, FirstSpike, Poisson, Rate

EVEN = f"feed spikes evenly (--code {Rate.name})"
CONSTANT = f"feed constant currents (--code {DEFAULT_CODE})"
EVEN_CODES = (Poisson.name, Rate.name)
"""Codes that come nearer to even with more steps."""
GROWING = (*EVEN_CODES, FirstSpike.name)
"""Codes that say values more finely with more steps."""
CORRECTING = ("calibrate_neurons", "correct_biases", "correct_quantization")
"""Passes that move weights or biases for T steps."""
RESTS = ("leak", "refractory", "relative")
"""Options of neurons that take charge from them, or time."""
ROUNDING = {
    "binarize_weights": "keep the weights (--recipe exact), or train binary ones "
    "(spikeport binarize)",
    "use_integers": "keep the weights (--recipe exact)",
}
"""Passes that make weights coarser: what helps."""


def advise(graph: Graph, code: str = DEFAULT_CODE, steps_run: int | None = None) -> dict[str, str]:
    """Return what helps, by key of error_split.CAUSES, going by the passes that the file names.

    Args:
        graph: Spiking.
        code: Key of ENCODERS, of the input.
        steps_run: Steps of the run; None for those that the graph is meant for.
    """
    options = read_options(graph)
    schedule = graph.metadata.get("schedule")
    n_steps = steps_run or graph.metadata.get("n_steps")
    if isinstance(schedule, dict):
        n_steps = schedule.get("n_levels")
    more = "take more steps (--n-steps)"
    if type(n_steps) is int:
        more = f"take more steps (--n-steps {2 * n_steps})"
    half = ""
    if options.get("insert_neurons", {}).get("initial_potential") == 0:
        half = ", or start half way (--set insert_neurons.initial_potential=0.5)"
    pass_name = "calibrate_neurons" if "calibrate_neurons" in options else "insert_neurons"
    return {
        "weights": _restore(graph, options, steps_run),
        "threshold": "convert again",
        "code": f"{more if code in GROWING else EVEN}, or {CONSTANT}",
        "clipping": f"calibrate with samples like these, scaled alike, or {_raise(options, more)}",
        "quantisation": more + half,
        "reset": f"let the neurons reset by subtraction (--set {pass_name}.reset=subtract)",
        "leak": _keep_charge(options.get(pass_name, {}), pass_name),
        "unevenness": _even_out(graph, code, more, pass_name if pass_name in options else ""),
    }


def _keep_charge(options: Mapping[str, Any], pass_name: str) -> str:
    """Return which options make neurons forget and rest."""
    given = {name: options[name] for name in RESTS if options.get(name)}
    if not given:
        return "train and convert without a leak"
    shown = ", ".join(f"{pass_name}.{name}={value}" for name, value in given.items())
    return f"leave out or lower what makes neurons forget and rest ({shown})"


def _restore(graph: Graph, options: Mapping[str, Any], steps_run: int | None) -> str:
    """Return what brings weights and biases closer to the network's."""
    meant_for = graph.metadata.get("n_steps")
    corrected = [name for name in CORRECTING if name in options]
    if corrected and "schedule" not in graph.metadata and steps_run not in {None, meant_for}:
        return (
            f"run the steps that {corrected[0]} made them for (--n-steps {meant_for}), or convert "
            f"again for {steps_run}"
        )
    for name, way in ROUNDING.items():
        if name in options:
            return way
    if options.get("calibrate_neurons", {}).get("fit_weights"):
        return (
            "convert again, with samples like these, or keep the weights "
            "(--set calibrate_neurons.fit_weights=false)"
        )
    if corrected:
        return "convert again, with samples like these"
    return "convert again from this network"


def _even_out(graph: Graph, code: str, more: str, pass_name: str) -> str:
    """Return how spikes come more evenly; charges of codes that come at once stay uneven."""
    if code == DEFAULT_CODE:
        return f"{more}, or let layers wait for all their spikes (--recipe exact)"
    ways = [more] if code in EVEN_CODES else [EVEN]
    if pass_name and not any(isinstance(node.op, SignedFire) for node in graph.nodes):
        ways.append(f"let neurons take back what came too early (--set {pass_name}.signed=true)")
    return ", or ".join([*ways, CONSTANT])


def _raise(options: Mapping[str, Mapping[str, Any]], more: str) -> str:
    """Return how thresholds are raised."""
    percentile = options.get("normalize_weights", {}).get("percentile")
    if type(percentile) is float and percentile < 100:
        return "raise the thresholds (--set normalize_weights.percentile=100)"
    return f"{more}: the fewer there are, the lower are the thresholds that the recipe chooses"


def read_options(graph: Graph) -> dict[str, Mapping[str, Any]]:
    """Return the options by pass; what a file from elsewhere has in their place is left out."""
    passes = graph.metadata.get("passes")
    entries = passes if isinstance(passes, list) else []
    return {
        entry["name"]: entry["options"]
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("options"), dict)
    }
