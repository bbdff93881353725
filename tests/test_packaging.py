"""What holds for the tree as a whole: packages, imports, start-up time."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("commands", "converter", "runtime", "models")
MAY_IMPORT = {
    "commands": ("converter", "runtime", "models"),
    "converter": (),
    "runtime": ("converter.ir", "converter.errors"),
    "models": ("converter.ir", "converter.errors", "converter.frontends.keras.hdf5"),
    "runtime/sweep": ("converter", "models"),
}
"""By folder, what it may import besides its own part; a sweep drives the other parts."""
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def source_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_every_folder_with_code_is_listed_as_a_package():
    found = {"spikeport"}
    for folder in FOLDERS:
        for path in source_files(folder):
            found.add(".".join(("spikeport", *path.parent.relative_to(ROOT).parts)))
            assert (path.parent / "__init__.py").is_file()
    assert set(CONFIG["tool"]["setuptools"]["packages"]) == found


def imported_parts(path: Path, folder: str) -> list[str]:
    """The dotted names below the root that a module imports relatively."""
    depth = len(path.relative_to(ROOT).parts) - 1
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.relative_to(ROOT).parts[: depth - node.level + 1]
            module = ".".join((*base, *(node.module or "").split("."))).strip(".")
            names.extend([module] if module else [alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spikeport"):
            pytest.fail(f"{path}: absolute import of {node.module}, expected a relative one")
    return names


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_only_what_they_may(folder):
    for path in source_files(folder):
        for name in imported_parts(path, folder):
            is_own = name.split(".")[0] == folder
            places = [place for place in MAY_IMPORT if (ROOT / place) in path.parents]
            may = [each for place in places for each in MAY_IMPORT[place]]
            allowed = any(name == a or name.startswith(f"{a}.") for a in may)
            assert is_own or allowed, f"{path} imports {name}"


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys, spikeport.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'tensorflow', 'keras', 'onnx', 'onnxruntime', 'rich', 'h5py', 'numba'}\n"
        "print(heavy & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
    assert "spikeport convert lenet --calibration fashion-mnist:train -o lenet.snn" in run.stdout


def test_no_file_is_long():
    lengths = {
        path.relative_to(ROOT): len(path.read_text("utf-8").splitlines())
        for folder in FOLDERS
        for path in source_files(folder)
    }
    assert {path: n for path, n in lengths.items() if n > 400} == {}


def test_shipped_networks_are_small_and_complete():
    from spikeport.models.registry import MODELS, WEIGHTS, training_record

    for name in MODELS:
        for suffix in (".keras", ".onnx"):
            assert (WEIGHTS / f"{name}{suffix}").stat().st_size < 4_000_000
        assert len(training_record(name)["accuracy"]) == 2


def test_lower_bounds_are_the_ones_that_were_tested():
    """tests/lowest-versions.txt is the oldest environment in which the suite passed."""
    tested = dict(
        line.split("==")
        for line in (ROOT / "tests" / "lowest-versions.txt").read_text().splitlines()
        if "==" in line
    )
    for requirement in CONFIG["project"]["dependencies"]:
        name, bound = requirement.split(";")[0].strip().split(">=")
        assert tested[name].startswith(bound), requirement
