"""A Dask scheduler and workers as processes of their own on this machine."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.converter.convert import convert
from spikeport.converter.errors import SimulationError
from spikeport.converter.exports.snn import write_snn
from spikeport.runtime.early_exit import ExitRule
from spikeport.runtime.encoding import Poisson
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.sweep import cluster as module
from spikeport.runtime.sweep.cluster import connect

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of distributed's sockets

DASK = (sys.executable, "-m", "dask")


def start(*arguments, pattern):
    """Start a process and return it with what the pattern finds in its log."""
    process = subprocess.Popen(
        [*DASK, *arguments, "--no-dashboard"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(pattern, process.stderr.readline())
        if found:
            return process, found[1]
    raise AssertionError(f"{arguments}: did not start")


@contextlib.contextmanager
def running(n_workers):
    """Yield the scheduler's address and the workers' processes."""
    processes = []
    try:
        scheduler, address = start(
            "scheduler", "--port", "0", "--host", "127.0.0.1", pattern=r"at:\s+(tcp://\S+:\d+)"
        )
        processes.append(scheduler)
        for _ in range(n_workers):
            worker, _ = start(
                "worker", address, "--nthreads", "1", "--no-nanny", pattern=r"(Registered to)"
            )
            processes.append(worker)
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small spiking network, its file, and samples."""
    from .test_sweep import write_model

    folder = tmp_path_factory.mktemp("cluster")
    write_model(folder / "net.onnx")
    random = np.random.default_rng(2)
    x = random.uniform(0, 1, (300, 8)).astype(np.float32)
    y = random.integers(0, 3, 300)
    np.savez(folder / "data.npz", x=x, y=y)
    graph = convert(folder / "net.onnx", x[:50], n_steps=16).graph
    write_snn(graph, folder / "net.snn")
    return graph, folder, (x,), y


def figures(evaluation):
    result = evaluation.to_json(graph="", data="")
    return {key: value for key, value in result.items() if key != "seconds"}


@pytest.mark.slow
def test_the_same_bits_with_a_worker_killed_on_the_way(network):
    graph, folder, x, y = network
    options = {"engine": "reference"}
    rule = ExitRule(lead=0.5, every=2)
    alone = figures(evaluate(graph, x, y, **options))
    early = figures(evaluate(graph, x, y, exit_rule=rule, **options))
    with running(3) as (address, workers), connect(address) as cluster:
        assert cluster.n_threads == 3
        settings = {**cluster.settings(graph, "reference"), "batch_size": 50}

        def kill(n_done):
            if n_done == 100:
                workers[0].send_signal(signal.SIGKILL)

        assert figures(evaluate(graph, x, y, progress=kill, **settings)) == alone
        assert figures(evaluate(graph, x, y, exit_rule=rule, **settings)) == early
        coded = {"encoder": Poisson(3), **cluster.settings(graph, "reference", Poisson(3))}
        expected = evaluate(graph, x, y, encoder=Poisson(3), **options)
        assert figures(evaluate(graph, x, y, **coded)) == figures(expected)
        arguments = ["evaluate", str(folder / "net.snn"), "--data", str(folder / "data.npz")]
        shown = CliRunner().invoke(main, [*arguments, "--scheduler", address])
        assert shown.exit_code == 0, shown.output
        assert "reference" not in shown.stdout
    assert workers[0].returncode == -signal.SIGKILL


@pytest.mark.slow
def test_workers_that_cannot_be_used(network, monkeypatch):
    with (
        running(0) as (address, _),
        pytest.raises(SimulationError, match=r"has no workers, expected at least one"),
        connect(address),
    ):
        pass
    with running(1) as (address, _):
        monkeypatch.setattr(module, "_version", lambda: "9.9")
        expected = r"worker tcp://127\.0\.0\.1:\d+: has spikeport [\d.]+, expected 9\.9 as here"
        with pytest.raises(SimulationError, match=expected), connect(address):
            pass


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    began = time.monotonic()
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with (
            pytest.raises(SimulationError, match=rf"scheduler {address}: does not answer within"),
            connect(address),
        ):
            pass
    assert time.monotonic() - began < 10


def test_something_else_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request" * 9)
                connection.recv(2**16)

        thread = threading.Thread(target=answer)
        thread.start()
        began = time.monotonic()
        expected = rf"scheduler tcp://127\.0\.0\.1:{port}: does not answer"
        with (
            pytest.raises(SimulationError, match=expected),
            connect(f"tcp://127.0.0.1:{port}"),
        ):
            pass
        thread.join(20)
    assert time.monotonic() - began < 10


def test_nobody_answers_in_time(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and says nothing
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(SimulationError, match="does not answer within 2 s"), connect(address):
            pass
    assert time.monotonic() - began < 4


def test_a_later_worker_of_another_version(network):
    with pytest.raises(SimulationError, match=r"a worker has spikeport .*, expected 9\.9 as where"):
        module._compile(b"", "", "event", None, "9.9")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(SimulationError, match=r"the package distributed is not installed"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass
