"""NEURONS: the C of ops that fire, or that know the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir import Node, Reset
from .writer import Writer, entry_by_entry


def _neuron(writer: Writer, node: Node, *fire: str) -> list[str]:
    """Return the steps of a neuron: `fire` sets y from the potential u and the threshold."""
    op: Any = node.op
    initial = writer.per_entry(node, "initial", op.initial_potential)
    size = writer.graph.types[node.name].size
    potential = writer.state(node, "potential", size, initial)
    threshold = writer.per_entry(node, "threshold", op.threshold)
    lines = [f"const int32_t threshold = {threshold};", f"int32_t u = {potential}[i] + x;", *fire]
    return entry_by_entry(writer, node, *lines, f"{potential}[i] = u;")


def _integrate_fire(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    reset = {Reset.SUBTRACT: "u - threshold", Reset.ZERO: "0"}[op.reset]
    return _neuron(writer, node, "y = u >= threshold;", f"if (y) u = {reset};")


def _wait_fire(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    last = op.first_step + op.n_steps
    is_open = f"steps_done >= {op.first_step} && steps_done < {last}"
    return _neuron(writer, node, f"y = {is_open} && u >= threshold;", "if (y) u = u - threshold;")


def _signed_fire(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    sent = writer.state(node, "sent", writer.graph.types[node.name].size, "0")
    return _neuron(
        writer, node,
        f"y = (u >= threshold && {sent}[i] < {op.n_levels}) - (u < 0 && {sent}[i] > 0);",
        "u = u - y * threshold;",
        f"{sent}[i] += y;",
    )  # fmt: skip


def _burst(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    return _neuron(
        writer, node, "y = u > 0 ? u / threshold : 0;",
        f"if (y > {op.n_levels}) y = {op.n_levels};", "u = u - y * threshold;",
    )  # fmt: skip


def _binary_weighted(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    most = 2**op.n_bits - 1  # the bits of a number, largest first, are the number itself
    return _neuron(
        writer, node, "y = u > 0 ? u / threshold : 0;", f"if (y > {most}) y = {most};",
        "u = u - y * threshold;",
    )  # fmt: skip


def _pulse(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    return entry_by_entry(writer, node, f"y = steps_done < {op.n_steps} ? x * {int(op.gain)} : 0;")


def _add_once(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    charge = writer.per_entry(node, "charge", op.charge)
    return entry_by_entry(writer, node, f"y = steps_done ? x : x + {charge};")


NEURONS: dict[str, Callable[[Writer, Node], list[str]]] = {
    "IntegrateFire": _integrate_fire,
    "WaitFire": _wait_fire,
    "SignedFire": _signed_fire,
    "Burst": _burst,
    "BinaryWeighted": _binary_weighted,
    "Pulse": _pulse,
    "AddOnce": _add_once,
}
