"""Time and memory that a ResNet-50 takes, 25 million parameters, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .test_onnx_light import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux"),
]

BUILD = """
import sys, keras
model = keras.applications.ResNet50(weights=None)
for path in sys.argv[1:]:
    model.save(path)
"""
IMPORTS = """
import json, os, re, sys, time
import h5py, onnx, onnx.reference
import spikeport.converter.frontends.keras, spikeport.converter.frontends.onnx
from spikeport.converter.check import check
from spikeport.converter.frontends import read

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

before, started = peak(), time.process_time()
"""
READ = f"{IMPORTS}\nsource = read(sys.argv[1])\n"
CHECK = f"{READ}\nassert check(source)\n"
TELL = "\nprint(json.dumps([time.process_time() - started, peak() - before]))"
"""Seconds of the processor, because tests share it, and bytes."""


def measure(code: str, path: Path) -> tuple[float, int]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code + TELL, str(path)],
        check=True, text=True, stdout=subprocess.PIPE, env=environment,
    )  # fmt: skip
    seconds, n_bytes = json.loads(done.stdout)
    return seconds, n_bytes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("resnet50")
    paths = {suffix: folder / f"resnet50{suffix}" for suffix in (".keras", ".h5", ".onnx")}
    subprocess.run(
        [sys.executable, "-c", BUILD, str(paths[".keras"]), str(paths[".h5"])],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    paths[".onnx"].write_bytes(load("resnet50").SerializeToString())
    return paths


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx"])
def test_resnet50_in_seconds_and_little_memory(suffix: str, files: dict[str, Path]) -> None:
    path = files[suffix]
    n_bytes = path.stat().st_size
    assert n_bytes > 100e6
    seconds, memory = measure(READ, path)
    assert seconds < 30
    assert memory < 6 * n_bytes
    seconds, _ = measure(CHECK, path)
    assert seconds < 10
