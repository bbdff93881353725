"""What the README shows is what happens."""

import ast
import contextlib
import io
import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from spikeport.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_commands_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "spikeport"
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, (line, result.output)
    assert sorted(os.listdir(tmp_path)) == ["lenet.snn", "sharp.json", "sharp.snn"]


def test_example_of_the_readme():
    (code,) = blocks("python")
    shown = re.search(r"^```python\n.*?^```\n\n```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert shown
    assert len(code.splitlines()) <= 8
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    # Processors round sums differently, so one decision of the 200 may be another one elsewhere.
    measured, promised = (ast.literal_eval(text) for text in (printed.getvalue(), shown[1]))
    assert measured == pytest.approx(promised, abs=0.0101)


def test_links_of_the_documentation():
    root = Path(__file__).parents[1]
    for page in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
