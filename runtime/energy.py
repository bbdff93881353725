"""Energy from counted operations; every constant has a name and can be changed.

The constants are those of Horowitz, ISSCC 2014 (45 nm, 0.9 V). This is arithmetic and memory
traffic under stated assumptions, not a measurement of a chip.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..converter.errors import SimulationError, find
from .workload import Workload


@dataclass(frozen=True)
class Constants:
    """Energy of single operations in picojoules, and the numbers of bits they are meant for.

    Attributes:
        float_add: float32 addition.
        float_multiply: float32 multiplication.
        int_add: int32 addition; accumulates integer products and integer weights alike.
        int_multiply: 8 x 8 bits; taken as proportional to the bits of both factors.
        memory_byte: One byte from or to an SRAM of 32 KB (20 pJ for 64 bits).
        weight_bits: Of weights in the integer rows.
        potential_bits: Of membrane potentials.
        update_additions: Additions that one membrane update takes: the bias, and the comparison.
    """

    float_add: float = 0.9
    float_multiply: float = 3.7
    int_add: float = 0.1
    int_multiply: float = 0.2
    memory_byte: float = 2.5
    weight_bits: float = 8
    potential_bits: float = 32
    update_additions: float = 2


@dataclass(frozen=True)
class Row:
    """One network in the table of energies.

    Attributes:
        name: What it is.
        macs: Multiply-accumulates of a sample.
        acs: Accumulates.
        updates: Membrane updates.
        arithmetic_nj: Energy of these, in nanojoules.
        memory_nj: Of reading weights, activations and potentials, nothing being kept nearby: what
            real hardware saves by reuse is not in it, for none of the rows.
    """

    name: str
    macs: float
    acs: float
    updates: float
    arithmetic_nj: float
    memory_nj: float

    @property
    def total_nj(self) -> float:
        """Arithmetic and memory."""
        return self.arithmetic_nj + self.memory_nj


@dataclass(frozen=True)
class BreakEven:
    """The activity at which the spiking network takes what the quantised ANN takes (arithmetic).

    Attributes:
        spikes_per_connection: Of one inference, so that both are equal; negative if
            multiply-accumulates and membrane updates alone cost more.
        measured: Spikes per connection and inference that were counted.
        firing_rate: The first, per step.
        measured_rate: The second, per step.
    """

    spikes_per_connection: float
    measured: float
    firing_rate: float
    measured_rate: float


def matched_bits(n_steps: int) -> int:
    """Return the bits of an activation that has as many values as T steps have spike counts."""
    return math.ceil(math.log2(n_steps + 1))


def parse_constants(settings: Iterable[str]) -> Constants:
    """Return the constants with `NAME=VALUE` changed, as the command line takes them.

    Raises:
        SimulationError: No such constant, or its value is no finite number >= 0.
    """
    changes: dict[str, float] = {}
    table = {field.name: field for field in dataclasses.fields(Constants)}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise SimulationError(
                f"--energy {setting}: expected NAME=VALUE", hint="for example --energy int_add=0.03"
            )
        find(table, name, "--energy", SimulationError)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise SimulationError(
                f"--energy {name}: {text!r} is no finite number >= 0, expected picojoules or bits",
                hint=f"{getattr(Constants(), name):g} is the default",
            )
        changes[name] = value
    return Constants(**changes)


def energy_rows(workload: Workload, constants: Constants) -> tuple[Row, ...]:
    """Return the table: ANN and spiking network, in float32 and in integers at matched bits."""
    c = constants
    bits = matched_bits(workload.n_levels)
    macs = workload.input_effective_macs + sum(workload.effective_macs)
    acs = sum(workload.effective_acs)
    updates = float(workload.membrane_updates)
    dense = float(workload.dense_macs)
    float_mac, integer_mac = c.float_add + c.float_multiply, _integer_mac(c, c.weight_bits)

    def row(
        name: str, counts: tuple[float, float, float], prices: tuple[float, float], bytes_: float
    ) -> Row:
        mac, add = prices
        arithmetic = counts[0] * mac + (counts[1] + counts[2] * c.update_additions) * add
        return Row(name, *counts, arithmetic / 1000, bytes_ * c.memory_byte / 1000)

    ann, snn = (dense, 0.0, 0.0), (macs, acs, updates)
    moves = updates * 2 * c.potential_bits / 8
    weight = c.weight_bits / 8
    return (
        row("ANN, float32", ann, (float_mac, c.float_add), dense * 8),
        row("spiking, float32", snn, (float_mac, c.float_add), macs * 8 + acs * 4 + moves),
        row(
            f"ANN, {c.weight_bits:g}-bit weights, {bits}-bit activations",
            ann,
            (_integer_mac(c, bits), c.int_add),
            dense * (weight + bits / 8),
        ),
        row(
            f"spiking, {c.weight_bits:g}-bit weights",
            snn,
            (integer_mac, c.int_add),
            macs * (weight + 1) + acs * weight + moves,
        ),
    )


def energy_per_step(workload: Workload, constants: Constants) -> tuple[float, ...]:
    """Return the spiking network's arithmetic after every step, integers, in nanojoules, [T]."""
    c = constants
    integer_mac = _integer_mac(c, c.weight_bits)
    total = workload.input_effective_macs * integer_mac
    result = []
    for macs, acs in zip(workload.effective_macs, workload.effective_acs, strict=True):
        updates = workload.n_neurons * c.update_additions
        total += macs * integer_mac + (acs + updates) * c.int_add
        result.append(total / 1000)
    return tuple(result)


def break_even(workload: Workload, constants: Constants) -> BreakEven | None:
    """Return where spiking network and quantised ANN meet; None without connections of spikes.

    Only the accumulates depend on the activity: what is left of the ANN's energy behind
    multiply-accumulates and membrane updates is divided by that of one spike per connection.
    """
    c = constants
    connections = workload.dense_macs - workload.input_macs
    acs = sum(workload.effective_acs)
    if not connections or not acs or not c.int_add:
        return None
    ann = workload.dense_macs * _integer_mac(c, matched_bits(workload.n_levels))
    fixed = workload.input_effective_macs + sum(workload.effective_macs)
    fixed = fixed * _integer_mac(c, c.weight_bits)
    fixed += workload.membrane_updates * c.update_additions * c.int_add
    spikes, measured = (ann - fixed) / (connections * c.int_add), acs / connections
    return BreakEven(spikes, measured, spikes / workload.n_steps, measured / workload.n_steps)


def to_json(workload: Workload, constants: Constants) -> dict[str, Any]:
    """Return the block `energy` of the JSON (docs/evaluation.md)."""
    meeting = break_even(workload, constants)
    return {
        "constants": dataclasses.asdict(constants),
        "source": "Horowitz, ISSCC 2014: 45 nm, 0.9 V",
        "quantised_bits": matched_bits(workload.n_levels),
        "rows": [{**dataclasses.asdict(row), "total_nj": row.total_nj}
                 for row in energy_rows(workload, constants)],
        "spiking_nj_per_step": list(energy_per_step(workload, constants)),
        "break_even": None if meeting is None else dataclasses.asdict(meeting),
    }  # fmt: skip


def _integer_mac(constants: Constants, activation_bits: float) -> float:
    factor = constants.weight_bits * activation_bits / 64
    return constants.int_multiply * factor + constants.int_add
