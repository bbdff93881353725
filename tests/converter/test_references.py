"""Every publication that is named is in the table, and a conversion names what it used."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.converter.errors import PassError
from spikeport.converter.passes import PASSES
from spikeport.converter.recipes import RECIPES
from spikeport.converter.references import (
    OF_OPTIONS,
    REFERENCES,
    find_citations,
    find_names,
)


def test_sources_of_recipes_and_passes_are_in_the_table():
    texts = [recipe.source for recipe in RECIPES.values()]
    texts += [entry.source for entry in PASSES.values()]
    for text in texts:
        for name in find_names(text):
            assert name in REFERENCES, text
    assert all(find_names(recipe.source) for recipe in RECIPES.values())
    assert set(OF_OPTIONS.values()) <= set(REFERENCES)


def test_numbers_have_their_form_and_agree_with_the_passes():
    for reference in REFERENCES.values():
        assert re.fullmatch(r"|doi:10\.\d+/\S+|arXiv:\d{4}\.\d{5}", reference.number)
        assert str(reference.year) in str(reference)
    for entry in PASSES.values():
        for part in entry.source.split("; "):
            name, comma, number = part.partition(", ")
            assert not comma or REFERENCES[name].number == number


@pytest.mark.parametrize(("pass_name", "option", "value"), OF_OPTIONS)
def test_options_with_a_source_exist(pass_name, option, value):
    default = PASSES[pass_name].options[option]
    assert value in {str(entry.value) for entry in type(default)}


def test_options_change_what_is_cited():
    titles = [each.title for each in find_citations("classic")]
    assert titles == [REFERENCES["Rueckauer et al. 2017"].title]
    options = {"normalize_weights": {"rule": "spikes"}}
    years = [each.year for each in find_citations("classic", options)]
    assert years == [2017, 2019]
    settle = {"schedule_neurons": {"schedule": "settle"}}
    signed = REFERENCES["You et al. 2024"]
    assert signed not in find_citations("exact")
    assert signed not in find_citations("ttfs")
    assert signed in find_citations("exact", settle)
    with pytest.raises(PassError, match="recipe 'rat': does not exist"):
        find_citations("rat")


def test_list_of_recipes_with_references():
    result = CliRunner().invoke(main, ["recipes", "--cite"])
    assert result.exit_code == 0
    assert str(REFERENCES["Bu et al. 2025"]) in result.output
    assert "arXiv:2409.03368" in result.output


def test_convert_with_references(tmp_path):
    out = tmp_path / "mlp.snn"
    result = CliRunner().invoke(
        main,
        ["convert", "mlp.onnx", "--calibration", "fashion-mnist:train", "--shipped", "-o", str(out),
         "--recipe", "classic", "--cite"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert str(REFERENCES["Rueckauer et al. 2017"]) in result.output
    assert "Sengupta" not in result.output


def test_docstrings_name_no_number_that_the_table_does_not_have():
    root = Path(__file__).parents[2] / "converter"
    known = {reference.number for reference in REFERENCES.values()}
    for path in root.rglob("*.py"):
        for number in re.findall(r"(?:doi:10\.\d+/[\w./]*\w|arXiv:\d{4}\.\d{5})", path.read_text()):
            assert number in known, path
