"""The kernels' cache on disk; the same spikes without this machine's instructions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikeport.runtime.kernels import cache

SCRIPT = """
import hashlib, sys
import numpy as np
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Conv, Input
from spikeport.runtime.engines import event

random = np.random.default_rng(0)
one = np.ones((1, 1, 1))
shapes = ((48, 1, 3, 3), (20, 48, 3, 3), (3, 20, 3, 3))
nodes, last = [Node("x", Input((1, 9, 9)))], "x"
for number, shape in enumerate(shapes):
    conv = Conv(random.normal(0, 0.3, shape), np.zeros(shape[0]), (1, 1), (1, 1), ((1, 1),) * 2)
    nodes += [Node(f"c{number}", conv, (last,)),
              Node(f"n{number}", IntegrateFire(one, one / 2), (f"c{number}",))]
    last = f"n{number}"
runner = event.compile_graph(Graph(tuple(nodes), ("x",), (last,)))
result = runner.run((random.random((2, 1, 9, 9), np.float32),), 33, count_spikes=True)
digest = hashlib.sha256(result.outputs[0].tobytes())
for counts in result.spike_counts.values():
    digest.update(counts.tobytes())
print(sum(result.n_spikes.values()), digest.hexdigest(), runner.engine, list(runner.notices))
print(event.has_compiled(), file=sys.stderr)
"""


def simulate(*, with_compiled: bool = False, **variables: str) -> str:
    run = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True,
                         text=True, env=os.environ | variables)  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout + (run.stderr if with_compiled else "")


def test_second_process_finds_the_kernels(tmp_path):
    first, compiled = simulate(with_compiled=True, XDG_CACHE_HOME=str(tmp_path)).splitlines()
    assert compiled == "True"
    (folder,) = (tmp_path / "spikeport").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}
    assert files
    again = simulate(with_compiled=True, XDG_CACHE_HOME=str(tmp_path))
    assert again.splitlines() == [first, "False"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")} == files


@pytest.mark.slow
def test_same_spikes_with_the_oldest_instructions(tmp_path):
    plain = simulate(XDG_CACHE_HOME=str(tmp_path), NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert plain == simulate()
    assert int(plain.split()[0]) > 1000


def test_cache_folder_that_cannot_be_written(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(cache.numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(cache.tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    assert cache.prepare_cache() == (cache.NOTICE,)
    assert str(tmp_path / "spikeport-") == cache.numba.config.CACHE_DIR


def test_no_folder_at_all_is_no_error(tmp_path, monkeypatch):
    def fail(prefix):
        raise PermissionError

    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(cache.tempfile, "mkdtemp", fail)
    before = cache.numba.config.CACHE_DIR
    assert cache.prepare_cache() == (cache.NOTICE,)
    assert before == cache.numba.config.CACHE_DIR


def test_folder_that_the_user_chose_is_kept(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "somewhere")
    before = cache.numba.config.CACHE_DIR
    assert cache.prepare_cache() == ()
    assert before == cache.numba.config.CACHE_DIR


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/spikeport"),
        ("linux", {}, "/home/me/.cache/spikeport"),
        ("darwin", {}, "/home/me/Library/Caches/spikeport"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/spikeport"),
        ("win32", {}, "/home/me/AppData/Local/spikeport"),
    ],
)
def test_cache_folder_of_every_platform(monkeypatch, platform, variables, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache.user_cache_folder().as_posix() == expected
