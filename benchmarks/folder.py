"""Evaluate a generated folder of 100000 images: writes results/folder.json, with the peak memory.

The images are the shipped test images with noise, so that no two files are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from spikeport.models.datasets import load_data

RESULTS = Path(__file__).parent / "results" / "folder.json"


def generate(folder: Path, n_images: int) -> None:
    """Write images into one sub-folder per class."""
    data = load_data("fashion-mnist:test", ((28, 28),), shipped=True)
    labels = np.asarray(data.labels)
    random = np.random.default_rng(1)
    for label in range(10):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(n_images):
        place = number % len(labels)
        noise = random.integers(-8, 9, (28, 28))
        pixels = np.clip(data.inputs[0][place] * 255 + noise, 0, 255).astype(np.uint8)
        name = folder / f"class{labels[place]}" / f"{number:06}.png"
        Image.fromarray(pixels).save(name, compress_level=1)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-images", type=int, default=100_000)
    parser.add_argument("--n-steps", type=int, default=4)
    chosen = parser.parse_args()
    spikeport = [sys.executable, "-m", "spikeport.cli"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "images", chosen.n_images)
        convert = ["convert", "mlp.onnx", "--calibration", "fashion-mnist:train", "--shipped"]
        convert += ["-o", str(folder / "mlp.snn"), "--n-steps", str(chosen.n_steps)]
        subprocess.run([*spikeport, *convert], check=True, stdout=subprocess.DEVNULL)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        evaluate = ["evaluate", str(folder / "mlp.snn"), "--data", str(folder / "images")]
        evaluate += ["--input-scale", str(1 / 255), "--json", "-"]
        started = time.perf_counter()
        run = subprocess.run([*spikeport, *evaluate], check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found = json.loads(run.stdout)
    result = {
        **vars(chosen),
        "data": found["data"],
        "accuracy": found["accuracy"][-1],
        "seconds": round(seconds, 1),
        "peak_mb": round(peak / 1024),
        "peak_is_of_evaluation": peak > before,
        "load_at_end": os.getloadavg()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
