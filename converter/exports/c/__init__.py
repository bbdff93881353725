"""The integer graph as one self-contained pair of C99 files: no allocation, no library, no float.

    NAME_start(input)   a new sample: states and what does not change over time
    NAME_step()         one time step; adds to NAME_sums

Weights are const arrays of 8 bits where they fit, else 16; potentials have 32 bits, sums of outputs
64. Every sum is bounded here, so that none can overflow within NAME_MAX_STEPS steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import FormatError
from ...ir import Graph, Neuron, Node
from ...ir.ops import Input
from ..translation import Export, find_unknown, refuse
from .bounds import Bounds, find_bounds, find_non_integers, largest_steps
from .layers import EMITTERS
from .text import MAIN, indent, join_text
from .writer import Writer

FORMAT_NAME = "C"
HINT = "C takes graphs in integers: convert with --recipe integer (or trained_integer)"
TRANSLATED = frozenset({"Input", *EMITTERS})


def encode_c(graph: Graph, stem: str) -> Export:
    """Return NAME.c and NAME.h; NAME is the file's name, made an identifier.

    Raises:
        UnsupportedOpError: Lists every node without a translation, with numbers that are no
            integers, or with sums that do not fit.
    """
    refuse(find_unknown(graph, TRANSLATED, FORMAT_NAME), FORMAT_NAME, hint=HINT)
    refuse(find_non_integers(graph), FORMAT_NAME, hint=HINT)
    bounds, reasons = find_bounds(graph)
    refuse(reasons, FORMAT_NAME, hint=HINT)
    if not re.fullmatch(r"[\w. -]+", stem, flags=re.ASCII):
        raise FormatError(
            f"the name {stem!r} cannot stand in C, expected letters, digits and . _ -",
            hint="give the file another name with -o",
        )
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    if not name[:1].isalpha():
        name = f"net_{name}"
    program = _Program(graph, name, bounds)
    if not graph.varying:
        refuse(["graph: has no neuron, expected a spiking graph"], FORMAT_NAME, hint=HINT)
    if program.max_steps < 1:
        refuse(["graph: potentials may leave 32 bits in one step"], FORMAT_NAME, hint=HINT)
    files = {".c": program.source(stem).encode(), ".h": program.header().encode()}
    units = [node.unit for node in map(graph.by_name.get, graph.outputs) if node is not None]
    notes = [
        f"static RAM {program.ram:,} bytes, constants {program.flash:,} bytes "
        f"(code comes on top), at most {program.max_steps:,} steps",
        *_input_notes(graph),
    ]
    if any(unit is not None for unit in units):
        notes.append("NAME_sums is in integers: times the output's unit, over the steps, it is a "
                     "logit; `spikeport inspect` shows units")  # fmt: skip
    return Export(files, notes=tuple(notes))


def _input_notes(graph: Graph) -> list[str]:
    notes = []
    for node in graph.nodes:
        if type(node.op).__name__ == "Quantize":
            step, low, high = (getattr(node.op, key) for key in ("step", "low", "high"))
            notes.append(
                f"input {node.inputs[0]}: integers round(x / {step:g}), from {low} to {high}"
            )
    return notes


@dataclass
class _Program:
    """The text of the two files, and what they take."""

    graph: Graph
    name: str
    bounds: Bounds

    def __post_init__(self) -> None:
        graph = self.graph
        self.max_steps = largest_steps(graph, self.bounds)
        self.writer = Writer(graph, self.bounds)
        self.constant_code: list[str] = []
        self.moving_code: list[str] = []
        self.n_neurons = 0
        for node in graph.nodes:
            if isinstance(node.op, Input):
                self.constant_code += self._copy_input(node)
                continue
            lines = EMITTERS[type(node.op).__name__](self.writer, node)
            if not lines:
                continue
            code = [f"/* {_comment(str(node))} */", "{", *indent(lines), "}"]
            if isinstance(node.op, Neuron):
                code += self._count(node)
            is_moving = node.name in graph.varying
            (self.moving_code if is_moving else self.constant_code).extend(code)
        outputs = list(graph.outputs)
        sizes = [graph.types[name].size for name in outputs]
        self.n_outputs = sum(sizes)
        start = 0
        for name, size in zip(outputs, sizes, strict=True):
            self.moving_code.append(
                f"for (i = 0; i < {size}; i++) sums[{start} + i] += {self.writer.buffer(name)}[i];"
            )
            start += size
        self.ram = self.writer.ram + 8 * self.n_outputs + 4
        self.flash = self.writer.flash

    @property
    def n_inputs(self) -> int:
        return sum(self.graph.types[name].size for name in self.graph.inputs)

    def _copy_input(self, node: Node) -> list[str]:
        offset = 0
        for name in self.graph.inputs:
            if name == node.name:
                break
            offset += self.graph.types[name].size
        size = self.graph.types[node.name].size
        target = self.writer.buffer(node.name)
        return [f"for (i = 0; i < {size}; i++) {target}[i] = input[{offset} + i];"]

    def _count(self, node: Node) -> list[str]:
        size = self.graph.types[node.name].size
        place = f"{self.name}_counts[{self.n_neurons} + i]"
        self.n_neurons += size
        buffer = self.writer.buffer(node.name)
        return [
            "#ifdef SPIKEPORT_COUNT",
            f"for (i = 0; i < {size}; i++) {place} += {buffer}[i];",
            "#endif",
        ]

    def header(self) -> str:
        upper = self.name.upper()
        low, high = self.bounds.input_range
        return join_text(
            f"/* Spiking network in integers, by spikeport. {_comment(self._describe())} */",
            f"#ifndef {upper}_H",
            f"#define {upper}_H",
            "#include <stdint.h>",
            "",
            f"#define {upper}_N_INPUTS {self.n_inputs}",
            f"#define {upper}_N_OUTPUTS {self.n_outputs}",
            f"#define {upper}_N_NEURONS {self.n_neurons}",
            f"#define {upper}_MAX_STEPS {self.max_steps} /* within these, no sum can overflow */",
            f"#define {upper}_RAM_BYTES {self.ram} /* static */",
            f"#define {upper}_FLASH_BYTES {self.flash} /* constants; code comes on top */",
            "",
            f"/* Begin with a new sample; every entry is from {low} to {high}. */",
            f"void {self.name}_start(const int16_t input[{upper}_N_INPUTS]);",
            "/* One time step. */",
            f"void {self.name}_step(void);",
            "/* Outputs, added up over the steps since the start: the largest one is the class. */",
            f"extern int64_t {self.name}_sums[{upper}_N_OUTPUTS];",
            "#ifdef SPIKEPORT_COUNT",
            "/* Spikes of every neuron since the start, in the order of the network. */",
            f"extern int32_t {self.name}_counts[{upper}_N_NEURONS];",
            "#endif",
            "#endif",
        )

    def _describe(self) -> str:
        source = self.graph.metadata.get("source")
        return f"Source: {source.get('name')}." if isinstance(source, dict) else ""

    def source(self, stem: str) -> str:
        upper = self.name.upper()
        used = "(void)i;"
        return join_text(
            "/* Written by spikeport; see the header. Compile with -DSPIKEPORT_MAIN for a program",
            "   that takes samples as native int16 on standard input; its argument is T. */",
            f'#include "{stem}.h"',
            "",
            f"int64_t {self.name}_sums[{upper}_N_OUTPUTS];",
            "#ifdef SPIKEPORT_COUNT",
            f"int32_t {self.name}_counts[{upper}_N_NEURONS];",
            "#endif",
            f"#define sums {self.name}_sums",
            "static int32_t steps_done;",
            *self.writer.constants,
            *self.writer.declarations(),
            "",
            f"void {self.name}_start(const int16_t input[{upper}_N_INPUTS])",
            "{",
            *indent([
                "int32_t i;",
                used,
                "steps_done = 0;",
                f"for (i = 0; i < {self.n_outputs}; i++) sums[i] = 0;",
                "#ifdef SPIKEPORT_COUNT",
                f"for (i = 0; i < {upper}_N_NEURONS; i++) {self.name}_counts[i] = 0;",
                "#endif",
                *self.writer.resets,
                *self.constant_code,
            ]),
            "}",
            "",
            f"void {self.name}_step(void)",
            "{",
            *indent(["int32_t i;", used, *self.moving_code]),
            "    steps_done++;",
            "}",
            "",
            "#ifdef SPIKEPORT_MAIN",
            MAIN.replace("NAME", self.name).replace("UPPER", upper),
            "#endif",
        )


def _comment(text: str) -> str:
    """Return text from a file as it may stand in a comment of C."""
    return re.sub(r"[^ -~]|\*/|/\*|\\|\?\?", "_", text)
