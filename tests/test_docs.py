"""The tables of docs/reading.md list exactly what the front-ends read."""

import re
from pathlib import Path

import pytest

from spikeport.converter.frontends.keras.activations import NAMED_ACTIVATIONS
from spikeport.converter.frontends.keras.functions import FUNCTIONS
from spikeport.converter.frontends.keras.table import LAYERS
from spikeport.converter.frontends.onnx import OPERATORS
from spikeport.converter.frontends.onnx.folding import FOLDABLE
from spikeport.converter.meanings import MEANINGS

READING = (Path(__file__).parents[1] / "docs" / "reading.md").read_text()


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the first two cells of every row of the table with this heading."""
    table = READING.split(f"| {heading} |\n|---|---|\n")[1].split("\n\n")[0]
    return [tuple(row.strip("| ").split(" | ")) for row in table.splitlines()]


def names(heading: str) -> list[str]:
    return [name for cell, _ in rows(heading) for name in re.findall(r"`(\w+)`", cell)]


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("layers | become", LAYERS.keys()),
        ("activations | become", NAMED_ACTIVATIONS.keys()),
        ("functions | become", {name.removeprefix("ops.") for name in FUNCTIONS}),
        ("operators | become", OPERATORS.keys()),
        ("operators | of", (FOLDABLE.keys() - OPERATORS.keys()) | {"Constant"}),
    ],
)
def test_tables_list_exactly_what_is_read(heading: str, expected: set[str]) -> None:
    listed = names(heading)
    assert len(listed) == len(set(listed)), "a name is listed twice"
    assert set(listed) == set(expected), "docs/reading.md is not what the front-ends read"


def test_every_type_has_a_meaning_without_its_node() -> None:
    """What `check` says of a network that cannot be read."""
    types = {*LAYERS, *NAMED_ACTIVATIONS, *OPERATORS, "Constant", "Input"} - {"linear"}
    types |= {name.removeprefix("ops.") for name in FUNCTIONS}
    assert types == MEANINGS.keys() - {"Erf", "Pow"}


def test_analog_functions_are_called_so() -> None:
    listed = {
        name
        for heading in ("layers | become", "functions | become")
        for cell, becomes in rows(heading)
        if becomes == "analog function"
        for name in re.findall(r"`(\w+)`", cell)
    }
    rules = {**LAYERS, **{name.removeprefix("ops."): rule for name, rule in FUNCTIONS.items()}}
    assert listed == {name for name, rule in rules.items() if rule.analog}
