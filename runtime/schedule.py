"""Schedules: how many steps a graph takes by itself, and what they are spent on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..converter.errors import SimulationError
from ..converter.ir import Graph, LeakyFire
from ..converter.ir.bounds import find_overflows
from ..converter.ir.types import MAX_N_STEPS

NAMES = ("wait", "parallel", "ttfs", "settle")


@dataclass(frozen=True)
class Latency:
    """What the steps of one sample are spent on.

    Attributes:
        pre_run: Before anything counts.
        pipeline: Until the last layer of neurons begins to fire, or until outputs count.
        read_out: In which the outputs' currents come.
        drain: After the input has ended, until no neuron fires any more.
    """

    pre_run: int
    pipeline: int
    read_out: int
    drain: int

    @property
    def n_steps(self) -> int:
        """All of them."""
        return self.pre_run + self.pipeline + self.read_out + self.drain

    def to_json(self) -> dict[str, int]:
        """Return the parts and their sum."""
        return {**dataclasses.asdict(self), "total": self.n_steps}


@dataclass(frozen=True)
class Schedule:
    """What `schedule_neurons` notes.

    Attributes:
        name: Of NAMES.
        n_levels: T: the most that a neuron sends.
        n_layers: Neurons on the longest path.
        latency: Of a sample.
    """

    name: str
    n_levels: int
    n_layers: int
    latency: Latency


def read_schedule(graph: Graph) -> Schedule | None:
    """Return the schedule that the graph's metadata tell; None for a causal graph.

    Raises:
        SimulationError: The metadata do not tell it in the way that `convert` writes it.
    """
    entry: Any = graph.metadata.get("schedule")
    if entry is None:
        return None
    try:
        latency = Latency(**entry["latency"])
        schedule = Schedule(entry["name"], entry["n_levels"], entry["n_layers"], latency)
        numbers = (schedule.n_levels, schedule.n_layers, *dataclasses.astuple(latency))
        if not all(type(number) is int and 0 <= number <= MAX_N_STEPS for number in numbers):
            raise ValueError
        if schedule.name not in NAMES or not latency.n_steps == entry["n_steps"] >= 1:
            raise ValueError
    except (TypeError, ValueError, LookupError) as error:
        raise SimulationError(
            f"metadata: schedule is {str(entry)[:100]}, expected what schedule_neurons notes",
            hint="convert the network again",
        ) from error
    return schedule


def read_delay(graph: Graph) -> int:
    """Return the step from which on the outputs count, which `delay_readout` notes; 0 the first.

    Raises:
        SimulationError: The metadata do not tell it in the way that `convert` writes it.
    """
    step: Any = graph.metadata.get("read_from_step", 0)
    if type(step) is not int or not 0 <= step <= MAX_N_STEPS:
        raise SimulationError(
            f"metadata: read_from_step is {str(step)[:100]}, expected what delay_readout notes",
            hint="convert the network again",
        )
    return step


def check_run(graph: Graph, n_steps: int, *, early_exit: bool) -> Schedule | None:
    """Return the graph's schedule, once the run fits it.

    Raises:
        SimulationError: Another number of steps than the schedule takes, early exit from it, more
            steps than integers hold, or neurons that rest for the whole run.
    """
    schedule = read_schedule(graph)
    if schedule is not None and early_exit:
        raise SimulationError(
            f"early exit: schedule {schedule.name} has no decision before its last step, "
            f"{schedule.latency.n_steps}, expected a causal graph",
            hint="leave --early-exit out, or convert with a causal recipe, such as rate",
        )
    if schedule is not None and n_steps != schedule.latency.n_steps:
        raise SimulationError(
            f"n_steps {n_steps}: the graph's schedule takes {schedule.latency.n_steps} steps, "
            f"{schedule.n_levels} for each of {schedule.n_layers} layers, expected exactly these",
            hint="leave --n-steps out; convert again for another T, or with a causal recipe",
        )
    for node in graph.nodes:
        if isinstance(node.op, LeakyFire) and node.op.refractory >= n_steps:
            raise SimulationError(
                f"n_steps {n_steps}: {node} rests for {node.op.refractory} steps after a spike, "
                "expected fewer than the run has",
                hint="take more --n-steps, or convert with a smaller insert_neurons.refractory",
            )
    if "integers" in graph.metadata:
        overflows = find_overflows(graph, n_steps)
        if overflows:
            raise SimulationError(
                f"n_steps {n_steps}: beyond what integers hold: {overflows[0]}",
                hint="use fewer steps",
            )
    return schedule
