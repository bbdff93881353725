"""Results as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from ..compare_runs import Compared
from ..energy import Constants, break_even, energy_rows
from ..error_split import CAUSES
from ..evaluate import Evaluation
from ..explain import Explanation
from ..poolings import pooling_lines
from ..workload import Workload

SHOWN = 5e-5
"""The least share that `percent` does not round to 0."""


def steps_to_show(n_steps: int) -> list[int]:
    """Return 1, 2, 4, ... and the last step."""
    powers = [2**power for power in range(n_steps.bit_length()) if 2**power <= n_steps]
    return sorted({*powers, n_steps})


def accuracy_table(evaluation: Evaluation) -> Table:
    """Return accuracy with its 95 % interval, and agreement with the ANN, against steps."""
    rows = []
    waits = evaluation.schedule is not None and evaluation.schedule.name != "settle"
    for step in [evaluation.n_steps] if waits else steps_to_show(evaluation.n_steps):
        row = [str(step)]
        if evaluation.accuracy is not None:
            row += with_interval(evaluation, evaluation.accuracy[step - 1])
        if evaluation.agreement is not None:
            row.append(percent(evaluation.agreement[step - 1]))
        rows.append(row)
    if evaluation.ann_accuracy is not None:
        row = ["ANN", *with_interval(evaluation, evaluation.ann_accuracy)]
        rows.append([*row, ""])
    headings = ["steps"]
    headings += ["accuracy", "95 % interval"] if evaluation.accuracy is not None else []
    headings += ["same decision as the ANN"] if evaluation.agreement is not None else []
    return make_table(headings, rows)


def activity_table(evaluation: Evaluation) -> Table:
    """Return spikes and synaptic operations per node."""
    names = list(dict.fromkeys((*evaluation.firing_rate, *evaluation.synaptic_operations)))
    rows = []
    for name in names:
        rate = evaluation.firing_rate.get(name)
        operations = evaluation.synaptic_operations.get(name)
        rows.append([
            name,
            "" if rate is None else f"{rate:.4f}",
            "" if operations is None else f"{sum(operations):,.0f}",
        ])
    headings = ["node", "spikes per neuron and step", "synaptic operations per sample"]
    return make_table(headings, rows)


def energy_table(workload: Workload, constants: Constants) -> Table:
    """Return operations by NeuroBench's definitions and their energy, per sample."""
    headings = ["per sample", "MACs", "ACs", "membrane updates", "arithmetic nJ", "memory nJ"]
    rows = [
        [
            row.name,
            f"{row.macs:,.0f}",
            f"{row.acs:,.0f}",
            f"{row.updates:,.0f}",
            f"{row.arithmetic_nj:,.1f}",
            f"{row.memory_nj:,.1f}",
        ]
        for row in energy_rows(workload, constants)
    ]
    return make_table(headings, rows)


def workload_lines(workload: Workload, constants: Constants) -> list[str]:
    """Return footprint, sparsity and where spiking and quantised network meet, one line each."""
    lines = [
        f"{workload.footprint_bytes:,} bytes for parameters and state; activation sparsity "
        f"{percent(workload.activation_sparsity)}, connection sparsity "
        f"{percent(workload.connection_sparsity)}"
    ]
    meeting = break_even(workload, constants)
    if meeting is not None:
        least = (
            f"break-even at {meeting.spikes_per_connection:.3f}"
            if meeting.spikes_per_connection > 0
            else "no break-even: multiply-accumulates and membrane updates alone take more than "
            "the quantised ANN"
        )
        lines.append(f"{meeting.measured:.3f} spikes per connection and sample; {least}")
    return lines


def explanation_tables(explanation: Explanation) -> tuple[Table, Table]:
    """Return what neurons do, and the parts of their errors as shares of the ANN's activations.

    Causes that add nothing anywhere have no column.
    """
    layers = explanation.layers
    headings = ["neurons", "spikes per step", "always firing", "silent", "correlation"]
    activity = [
        [x.node, f"{x.firing_rate:.4f}", percent(x.saturated), percent(x.silent)]
        if not x.is_output
        else [f"{x.node} (outputs)", "", "", ""]
        for x in layers
    ]
    for row, layer in zip(activity, layers, strict=True):
        row.append(f"{layer.correlation:.4f}")
    parts = {
        "error": [x.error for x in layers],
        "inherited": [x.inherited for x in layers],
        "weights": [x.correction for x in layers],
        **{cause: [x.causes[cause] for x in layers] for cause in CAUSES if cause != "weights"},
    }
    shown = {
        key: values for key, values in parts.items() if key not in CAUSES or max(values) >= SHOWN
    }
    columns = [[percent(value) for value in values] for values in shown.values()]
    errors = zip([row[0] for row in activity], *columns, strict=True)
    return make_table(headings, activity), make_table(["neurons", *shown], map(list, errors))


def summary_lines(evaluation: Evaluation) -> list[str]:
    """Return operations, time and warnings, one line each."""
    operations = evaluation.synaptic_operations_per_sample
    lines = [
        f"{operations:,.0f} synaptic operations per sample in {evaluation.n_steps} steps, "
        f"after {evaluation.input_macs_per_sample:,} multiply-accumulates on the input, once; "
        f"the ANN takes {evaluation.macs_per_sample:,} multiply-accumulates",
        *exit_lines(evaluation),
        *read_out_lines(evaluation),
        *value_lines(evaluation),
        *pooling_lines(evaluation.poolings),
        f"{evaluation.seconds:.1f} s in the {evaluation.engine} engine",
    ]
    schedule = evaluation.schedule
    if schedule is not None:
        parts = schedule.latency
        lines.append(
            f"schedule {schedule.name}: {schedule.n_layers} layers of {schedule.n_levels} steps, "
            f"{parts.n_steps} in all (pre-run {parts.pre_run}, pipeline {parts.pipeline}, read-out "
            f"{parts.read_out}, drain {parts.drain}); decisions before the end mean nothing"
        )
    if evaluation.read_from_step:
        parts = evaluation.latency
        lines.append(
            f"outputs count from step {evaluation.read_from_step + 1} on: {parts.n_steps} steps in "
            f"all (pipeline {parts.pipeline}, read-out {parts.read_out})"
        )
    if evaluation.quiet_after is not None:
        quiet = evaluation.quiet_after
        lines.append(
            f"no neuron fired after {quiet.mean():.1f} steps on average, "
            f"{np.percentile(quiet, 95):.0f} for 95 % of the samples, {quiet.max()} at most"
        )
    if evaluation.fallbacks:
        waits = schedule is not None and schedule.name == "wait"
        hint = "; --engine counts may be faster" if waits else ""
        lines.append(f"in the reference engine's code: {', '.join(evaluation.fallbacks)}{hint}")
    if evaluation.analog:
        lines.append(f"stays analog, no neurons: {', '.join(evaluation.analog)}")
    return lines + [f"Warning: {warning}" for warning in evaluation.warnings]


def exit_lines(evaluation: Evaluation) -> list[str]:
    """Return what early exit did, in no or one line."""
    found = evaluation.early_exit
    if found is None:
        return []
    return [
        f"{found.mean_steps:.2f} of {evaluation.n_steps} steps in the mean: a sample ends when it "
        f"leads by {found.rule.lead:.4g}; {percent(found.undecided)} of them never do"
    ]


def read_out_lines(evaluation: Evaluation) -> list[str]:
    """Return what the read-out left open, in no or one line."""
    found = evaluation.read_out
    if found is None or (found.name == "potential" and not any(found.ties)):
        return []
    delay = "" if found.delay is None else f", without the first {found.delay} steps"
    line = f"read-out {found.name}{delay}: {percent(found.ties[-1])} of the decisions are ties"
    if any(found.silent):
        line += f", {percent(found.silent[-1])} are potentials of outputs that never fired"
    return [line]


def value_lines(evaluation: Evaluation) -> list[str]:
    """Return how near every output comes to the ANN's values, where they are not just classes."""
    values = evaluation.values or ()
    if evaluation.labels is not None and len(values) == 1:
        return []
    return [
        f"output {each.output}: off by {percent(each.mean_error)} of the ANN's mean value, at most "
        f"by {percent(each.largest_error or 0.0)} of its largest"
        + ("" if each.correlation is None else f"; correlation {each.correlation:.4f}")
        for each in values
        if each.mean_error is not None
    ]


def with_interval(evaluation: Evaluation, accuracy: float) -> list[str]:
    """Return an accuracy and its confidence interval as two cells."""
    low, high = evaluation.interval(accuracy)
    return [percent(accuracy), f"{100 * low:.2f} .. {100 * high:.2f}"]


def percent(share: float) -> str:
    """Return a share in percent, two digits behind the point."""
    return f"{100 * share:.2f} %"


def make_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a plain table; columns of figures are aligned to the right and never cut."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    cells = [list(row) for row in rows]
    for column, heading in enumerate(headings):
        is_figure = all(set(row[column]) <= set("-0123456789.,% ") for row in cells)
        justify: JustifyMethod = "right" if is_figure else "left"
        words = [*heading.split(), *(row[column] for row in cells)] if is_figure else []
        least = max(map(len, words), default=None)
        table.add_column(Text(heading), justify=justify, min_width=least, overflow="fold")
    for row in cells:
        # Text, because names of nodes may look like rich's markup.
        table.add_row(*(Text(cell) for cell in row))
    return table


def runs_table(compared: Sequence[Compared]) -> Table:
    """Return accuracies of runs and how they differ from the first one's, sample by sample."""
    headings = ["run", "steps", "accuracy", "95 % interval", "lost", "won", "p", "adjusted", ""]
    rows = []
    for entry in compared:
        low, high = entry.interval
        row = [entry.name, str(entry.step), percent(entry.accuracy)]
        row.append(f"{100 * low:.2f} .. {100 * high:.2f}")
        if entry.p_value is None or entry.adjusted is None:
            row += ["", "", "", ""]
        else:
            tests = (f"{value:.3g}" for value in (entry.p_value, entry.adjusted))
            row += [str(entry.lost), str(entry.won), *tests]
        rows.append([*row, entry.verdict])
    return make_table(headings, rows)


def comparison_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Return accuracies of several networks on the same samples against steps, and their ANNs'."""
    runs = list(evaluations.values())
    steps = steps_to_show(min(run.n_steps for run in runs))
    rows = [[str(step)] for step in steps] + [["ANN"]]
    headings = ["steps"]
    for name, run in evaluations.items():
        headings += [name, "95 % interval"]
        accuracies = [*((run.accuracy or ())[step - 1] for step in steps), run.ann_accuracy or 0.0]
        for row, accuracy in zip(rows, accuracies, strict=True):
            row += with_interval(run, accuracy)
    return make_table(headings, rows)
