"""Worker: SNN Toolbox with its own simulator (INI); only the simulation of batches is timed."""

from __future__ import annotations

import configparser
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from common import MIN_RUNS, Clock, Task, busy_elsewhere, check_logits, load_task, report
from snntoolbox.bin.run import main as run_toolbox
from snntoolbox.simulation.target_simulators import INI_temporal_mean_rate_target_sim as ini


def build_keras(task: Task) -> tf.keras.Model:
    """Return the network in Keras 2, channels last, compiled as the toolbox wants it."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input(task.x.shape[1:][1:] + task.x.shape[1:2])])
    weighted = [layer["kind"] in {"conv", "dense"} for layer in task.layers]
    last = max(place for place, is_weighted in enumerate(weighted) if is_weighted)
    shape: tuple[int, ...] | None = None
    for place, layer in enumerate(task.layers):
        kind = layer["kind"]
        if kind == "relu":
            continue
        if kind == "flatten":
            shape = model.output_shape[1:]
            model.add(layers.Flatten())
        elif kind in {"average_pool", "max_pool"}:
            pool = layers.AveragePooling2D if kind == "average_pool" else layers.MaxPooling2D
            model.add(pool(tuple(layer["kernel"]), tuple(layer["strides"])))
        else:
            weight = task.arrays[f"weight{layer['place']}"]
            activation = "linear" if place == last else "relu"
            if kind == "conv":
                n_out, _, *kernel = weight.shape
                padding = "same" if any(layer["padding"]) else "valid"
                added = layers.Conv2D(
                    n_out, kernel, layer["strides"], padding, activation=activation
                )
                weight = weight.transpose(2, 3, 1, 0)
            else:
                added = layers.Dense(len(weight), activation=activation)
                if shape is not None:
                    height, width, channels = shape
                    weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
                    weight = weight.reshape(len(weight), -1)
                    shape = None
                weight = weight.T
            model.add(added)
            added.set_weights([weight, task.arrays[f"bias{layer['place']}"]])
    model.compile("sgd", "categorical_crossentropy", ["accuracy"])
    return model


def run_pipeline(task: Task, model: tf.keras.Model, folder: Path, n_runs: int) -> None:
    """Convert the model and simulate the test images `n_runs` times, one after the other."""
    n_images = len(task.x) // task.batch_size * task.batch_size
    labels = np.eye(len(task.arrays["logits"][0]), dtype=np.float32)[task.arrays["y"][:n_images]]
    images = task.x_channels_last[:n_images]
    calibration = task.arrays["calibration"].transpose(0, 2, 3, 1)
    np.savez_compressed(folder / "x_test", np.tile(images, (n_runs, 1, 1, 1)))
    np.savez_compressed(folder / "y_test", np.tile(labels, (n_runs, 1)))
    np.savez_compressed(folder / "x_norm", calibration)
    model.save(folder / "ann.h5")
    config = configparser.ConfigParser()
    config["paths"] = {
        "path_wd": str(folder),
        "dataset_path": str(folder),
        "filename_ann": "ann",
    }
    config["tools"] = {"evaluate_ann": "False", "normalize": "True"}
    config["simulation"] = {
        "simulator": "INI",
        "duration": str(task.n_steps),
        "num_to_test": str(n_runs * n_images),
        "batch_size": str(task.batch_size),
        "keras_backend": "tensorflow",
    }
    config["output"] = {"plot_vars": "{}", "verbose": "0"}
    with open(folder / "config", "w", encoding="utf-8") as file:
        config.write(file)
    run_toolbox(str(folder / "config"))


def main() -> None:
    """Measure."""
    task = load_task()
    tf.config.threading.set_intra_op_parallelism_threads(task.n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = build_keras(task)
    error = check_logits(task, model.predict(task.x_channels_last, task.batch_size, verbose=0))
    seconds: list[float] = []
    others: list[float] = []
    counts: list[np.ndarray] = []
    simulate = ini.SNN.simulate

    def simulate_timed(self: Any, **batch: Any) -> np.ndarray:
        before, started = busy_elsewhere(), time.perf_counter()
        spike_counts = simulate(self, **batch)
        seconds.append(time.perf_counter() - started)
        others.append(busy_elsewhere() - before)
        counts.append(spike_counts[:, :, -1])
        return spike_counts

    ini.SNN.simulate = simulate_timed
    folder = Path(tempfile.mkdtemp(prefix="snntoolbox-"))
    try:
        run_pipeline(task, model, folder, 1 + MIN_RUNS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    n_batches = len(task.x) // task.batch_size
    clock = Clock()
    for first in range(n_batches, len(seconds), n_batches):
        chosen = slice(first, first + n_batches)
        clock.add(sum(seconds[chosen]), sum(others[chosen]))
    total = np.concatenate(counts[:n_batches])
    decisions = np.where(total.any(axis=1), total.argmax(axis=1), -1)
    report(
        task,
        clock,
        decisions,
        error,
        packages=("snntoolbox", "tensorflow-cpu", "numpy"),
        note="INI simulator, 99.9 %, the simulation of batches only",
    )


if __name__ == "__main__":
    main()
