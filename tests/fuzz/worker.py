"""A process that reads damaged files, or runs them in their own framework: fuzz/test_fuzz.py.

`python worker.py reader FD` and `python worker.py framework FD`; requests and answers go through
the connection FD. A reader has a limit on its memory and notes what no reader of models may do:
run code, start processes, use the network, write, or open files outside the model's folder. The
framework's process is another one, because a damaged file may crash it.
"""

from __future__ import annotations

import os
import resource
import sys
import sysconfig
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = 2 * 2**30
FRAMEWORK_MEMORY = 16 * 2**30
N_SAMPLES = 2
MAX_ENTRIES = 2_000_000
MAX_PRODUCTS = 50_000_000
"""Of a graph that is run after it was read."""

ROOTS = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("platstdlib"),
    os.path.realpath(sysconfig.get_path("purelib")),
    sysconfig.get_path("purelib"),
    str(Path(__file__).resolve().parents[2]),
    "/proc/",
    "/dev/null",
)
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.", "socket.",
             "pickle.", "marshal.load", "ctypes.dlopen", "shutil.", "os.remove", "os.rename",
             "os.mkdir", "os.link", "os.symlink", "os.chmod", "winreg.")  # fmt: skip


class Watch:
    """Notes forbidden acts while a file is read."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.found: list[str] = []

    def start(self, folder: Path) -> None:
        self.folder, self.found = str(folder.resolve()), []

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            self._opened(*args)
        elif event == "exec":
            self._ran(args[0].co_filename)
        elif event.startswith(FORBIDDEN):
            self.found.append(f"{event}{args!r:.200}")

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        real = os.path.realpath(os.fsdecode(path))
        writes = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        is_ours = real.startswith(ROOTS)
        if real != self.folder and not real.startswith((f"{self.folder}/", *ROOTS)):
            self.found.append(f"opens {real}")
        if writes and not is_ours:
            self.found.append(f"writes {real}")

    def _ran(self, path: str) -> None:
        # Modules are imported when they are first needed; generated code is dataclasses' own.
        if not (path.startswith(ROOTS) or path.startswith("<")):
            self.found.append(f"runs {path}")


def read_file(path: Path, watch: Watch) -> dict[str, Any]:
    """Read as a user would; run what was read if it is small."""
    from spikeport.converter.errors import SpikeportError
    from spikeport.converter.exports.snn import read_snn
    from spikeport.converter.frontends import read
    from spikeport.converter.ir import run

    started = time.process_time()
    watch.start(path.parent)
    try:
        graph = read_snn(path) if path.suffix == ".snn" else read(path).graph
    except SpikeportError as error:
        answer: dict[str, Any] = {"refused": f"{type(error).__name__}: {error}"}
    else:
        answer = {"graph": True}
    watch.folder = None
    answer["seconds"] = time.process_time() - started
    if watch.found:
        answer["defect"] = "; ".join(watch.found[:5])
    if "graph" in answer and path.suffix != ".snn":
        answer["runs"] = is_small(graph)
        if answer["runs"]:
            random = np.random.default_rng(0)
            answer["inputs"] = tuple(
                random.uniform(0, 1, (N_SAMPLES, *graph.types[name].shape)).astype(np.float32)
                for name in graph.inputs
            )
            with np.errstate(all="ignore"):
                answer["outputs"] = run(graph, answer["inputs"])
    return answer


def is_small(graph: Any) -> bool:
    from spikeport.converter.ir.ops import Conv

    sizes = {name: type_.size for name, type_ in graph.types.items()}
    products = sum(
        sizes[node.name] * node.op.weight[0].size
        for node in graph.nodes
        if isinstance(node.op, Conv)
    )
    return sum(sizes.values()) < MAX_ENTRIES and products < MAX_PRODUCTS


def run_file(path: Path, inputs: tuple[np.ndarray, ...]) -> dict[str, Any]:
    """Compute the outputs in the framework, as directly as it can be."""
    from spikeport.converter.errors import SpikeportError
    from spikeport.converter.frontends import read

    try:
        outputs = run_onnx(path, inputs) if path.suffix == ".onnx" else run_keras(path, inputs)
    except Exception as error:
        # Damaged elsewhere than spikeport looks; the gate's own run has the last word.
        direct = f"{type(error).__name__}: {error}"[:300]
    else:
        return {"outputs": outputs, "how": "direct"}
    try:
        return {"outputs": read(path).run(inputs), "how": f"gate ({direct})"}
    except SpikeportError as error:
        return {"refused": f"{error} ({direct})"}


def run_onnx(path: Path, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {}
    for place, array in zip(session.get_inputs(), inputs, strict=True):
        n_fixed = place.shape[0] if isinstance(place.shape[0], int) else N_SAMPLES
        feeds[place.name] = array[np.arange(n_fixed) % N_SAMPLES]
    outputs = session.run(None, feeds)
    return tuple(np.asarray(output[:N_SAMPLES], np.float32) for output in outputs)


def run_keras(path: Path, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    import keras

    model = keras.models.load_model(path, compile=False)
    outputs = keras.tree.flatten(model(inputs[0] if len(inputs) == 1 else list(inputs)))
    return tuple(np.asarray(output, np.float32) for output in outputs)


def limit_memory(n_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(kind: str, fd: int) -> None:
    connection = Connection(fd)
    watch = Watch()
    for path in connection.recv():  # undamaged files: everything is imported, and they work
        answer = read_file(path, watch)
        if kind == "framework" and path.suffix != ".snn":
            run_file(path, answer["inputs"])
    if kind == "reader":
        sys.addaudithook(watch.hook)
    limit_memory(MEMORY if kind == "reader" else FRAMEWORK_MEMORY)
    connection.send("ready")
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            answer = read_file(*request, watch) if kind == "reader" else run_file(*request)
        except BaseException:
            answer = {"defect": traceback.format_exc()[-1000:]}
        connection.send(answer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
