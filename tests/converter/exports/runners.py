"""How exports are run: ONNX models in onnxruntime, C as a compiled program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime

from spikeport.converter.exports.c import encode_c
from spikeport.converter.ir import Graph

GCC = shutil.which("gcc")
FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")

HARNESS = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
%(includes)s
#define RUN(name, upper)                                                   \\
    if (!strcmp(argv[1], #name)) {                                         \\
        static int16_t input[upper##_N_INPUTS];                            \\
        while (fread(input, sizeof input, 1, stdin) == 1) {                \\
            name##_start(input);                                           \\
            for (i = 0; i < n_steps; i++) {                                \\
                name##_step();                                             \\
                fwrite(name##_sums, sizeof name##_sums, 1, stdout);        \\
            }                                                              \\
            fwrite(name##_counts, sizeof name##_counts, 1, stdout);        \\
        }                                                                  \\
    }

int main(int argc, char **argv)
{
    long i, n_steps = atol(argv[2]);
    (void)argc;
    %(runs)s
    return 0;
}
"""


def compile_all(graphs: dict[str, Graph], folder: Path, *flags: str) -> Path:
    """Compile the graphs and a harness into one program."""
    for name, graph in graphs.items():
        for suffix, data in encode_c(graph, name).files.items():
            (folder / f"{name}{suffix}").write_bytes(data)
    includes = "\n".join(f'#include "{name}.h"' for name in graphs)
    runs = "\n    ".join(f"RUN({name}, {name.upper()})" for name in graphs)
    (folder / "harness.c").write_text(HARNESS % {"includes": includes, "runs": runs})
    sources = [f"{name}.c" for name in graphs]
    command = [str(GCC), *FLAGS, *flags, "-DSPIKEPORT_COUNT", "harness.c", *sources]
    done = subprocess.run(
        [*command, "-o", "program"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr[-3000:]
    return folder / "program"


def run_program(program: Path, name: str, graph: Graph, inputs, n_steps: int):
    """Return sums [N, T, outputs] and counts [N, neurons]."""
    n_samples = len(inputs[0])
    flat = np.concatenate([array.reshape(n_samples, -1) for array in inputs], axis=1)
    assert np.array_equal(flat, np.rint(flat))
    done = subprocess.run(
        [program, name, str(n_steps)],
        input=flat.astype(np.int16).tobytes(),
        capture_output=True,
        check=False,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # needs ptrace, which may be missing
    )
    assert not done.returncode, done.stderr.decode()[-3000:]
    n_outputs = sum(graph.types[output].size for output in graph.outputs)
    found = np.frombuffer(done.stdout, np.int32).reshape(n_samples, -1)
    sums = np.ascontiguousarray(found[:, : 2 * n_steps * n_outputs]).view(np.int64)
    return sums.reshape(n_samples, n_steps, n_outputs), found[:, 2 * n_steps * n_outputs :]


def start_session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run_model(data: bytes, graph: Graph, inputs, n_steps: int):
    fed = dict(zip(graph.inputs, inputs, strict=True))
    session = start_session(data)
    return session.run(list(graph.outputs), {**fed, "n_steps": np.array(n_steps)})


def run_steps(data: bytes, graph: Graph, inputs, n_steps: int):
    """Return the means of the outputs [T, ...], and the counts of every neuron."""
    session = start_session(data)
    names = [output.name for output in session.get_outputs()]
    fed = dict(zip(graph.inputs, inputs, strict=True))
    n_samples = len(inputs[0])
    states = {
        given.name: np.full((n_samples, *given.shape[1:]), np.nan, np.float32)
        for given in session.get_inputs()
        if f"{given.name}.next" in names
    }
    sums = dict.fromkeys(names, 0.0)
    means = {name: [] for name in graph.outputs}
    for step in range(n_steps):
        results = session.run(names, {**fed, **states, "step": np.array(step)})
        found = dict(zip(names, results, strict=True))
        states = {name: found[f"{name}.next"] for name in states}
        for name in names:
            value = found[name]
            if name.endswith(".spikes"):  # counts are of spikes, whatever their size
                value = graph.by_name[name.removesuffix(".spikes")].op.sent(value)
            sums[name] = sums[name] + value.astype(np.float64)
        for name in graph.outputs:
            means[name].append((sums[name] / (step + 1)).astype(np.float32))
    counts = {n.removesuffix(".spikes"): sums[n] for n in names if n.endswith(".spikes")}
    return [np.array(means[name]) for name in graph.outputs], counts
