"""Simulate on many machines: a runner that sends shards of a batch to a Dask cluster.

Results are sums of integers and samples in their order, so that they are the same bits whatever the
number of workers, the order in which they answer, and how often a lost one's work is done again.
Dask's messages are pickles: connect only to schedulers in a trusted network, or by tls://.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...converter.errors import SimulationError
from ...converter.exports.snn import decode_graph, encode_graph
from ...converter.ir import Array, Graph
from ...converter.ir.interpret import check_inputs
from ..early_exit import ExitRule
from ..encoding import Encoder
from ..engines import ENGINES
from ..simulation import Counts, Runner, Simulation, neurons

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 5
MAX_SHARD = 64
"""Samples of one task: some tenths of a second, and little is lost with a worker."""
SHARDS_PER_THREAD = 4
BATCH_PER_THREAD = SHARDS_PER_THREAD * MAX_SHARD
"""Samples per thread of the cluster that one call of a runner should get."""
MAX_COUNTS = 2**28
"""Spike counts of single neurons that one call may have to give, 8 bytes each."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """A connection to a Dask scheduler, made by `connect`.

    Attributes:
        client: Of the package distributed.
        n_threads: Of all workers together, when it was made.
    """

    client: Client
    n_threads: int

    def settings(self, graph: Graph, engine: str, encoder: Encoder | None = None) -> dict[str, Any]:
        """Return the settings with which `evaluate` runs a graph on the cluster."""
        n_neurons = sum(graph.types[node.name].size for node in neurons(graph))
        most = max(self.n_threads, MAX_COUNTS // max(1, n_neurons))
        batch_size = min(self.n_threads * BATCH_PER_THREAD, most)
        return {"runner": self.compile_graph(graph, engine, encoder), "batch_size": batch_size}

    def compile_graph(
        self, graph: Graph, engine: str, encoder: Encoder | None = None
    ) -> ClusterRunner:
        """Send a graph to every worker, once, and return it as a runner.

        Raises:
            SimulationError: An engine of that name cannot run it.
        """
        file = encode_graph(graph)
        digest = hashlib.sha256(file).hexdigest()
        model = self.client.scatter(file, broadcast=True, hash=True)
        about = self.client.submit(_describe, model, digest, engine, encoder, _version()).result()
        return ClusterRunner(graph, self, model, digest, encoder, *about)


@dataclass(frozen=True, eq=False)
class ClusterRunner:
    """See `simulation.Runner`; `model` is where the graph's file lies on the cluster."""

    graph: Graph
    cluster: Cluster
    model: Any
    digest: str
    encoder: Encoder | None
    engine: str
    fallbacks: tuple[str, ...]
    notices: tuple[str, ...]

    def run(
        self,
        inputs: tuple[Array, ...],
        n_steps: int,
        *,
        count_spikes: bool = False,
        exit_rule: ExitRule | None = None,
    ) -> Simulation:
        arrays = check_inputs(self.graph, inputs) if self.encoder is None else inputs
        n_samples = len(arrays[0])
        n_shards = self.cluster.n_threads * SHARDS_PER_THREAD
        size = min(MAX_SHARD, max(1, -(-n_samples // n_shards)))
        client = self.cluster.client
        futures = [
            client.submit(
                _simulate, self.model, self.digest, self.engine, self.encoder, _version(),
                tuple(array[start : start + size] for array in arrays),
                n_steps, count_spikes, exit_rule, pure=False,
            )
            for start in range(0, n_samples, size)
        ]  # fmt: skip
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            return merge(client.gather(futures))
        except (KilledWorker, CommClosedError, CancelledError) as error:
            raise SimulationError(
                f"cluster: lost the work of {len(futures)} shards ({type(error).__name__}), "
                "expected workers that stay",
                hint="look at the workers' logs: they may lack memory",
            ) from error
        except BaseException:  # what is done needs no cancelling: the scheduler logs every one
            client.cancel(futures)
            raise


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to a Dask scheduler.

    Args:
        address: As `tcp://host:8786` or `tls://host:8786`.

    Raises:
        SimulationError: The package distributed is not installed, nobody answers, there are no
            workers, or a worker has another version of spikeport.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SimulationError(
            "--scheduler: the package distributed is not installed, expected it to be",
            hint="pip install 'spikeport[cluster]'",
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        # a Client that fails would wait for twice its timeout once more when it is forgotten
        asyncio.run(_greet(address))
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # what listens there may be anything, and answer anything
        raise SimulationError(
            f"scheduler {address}: does not answer within {CONNECT_SECONDS} s, expected a Dask "
            "scheduler",
            hint="an address is like tcp://host:8786; start one with `dask scheduler`",
        ) from error
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise SimulationError(
                f"scheduler {address}: has no workers, expected at least one",
                hint=f"start one with `dask worker {address}`",
            )
        _check_versions(client)
        yield Cluster(client, sum(worker["nthreads"] for worker in workers.values()))
    finally:
        client.close()


async def _greet(address: str) -> None:
    """Connect and go."""
    from distributed.comm import connect as open_comm
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT_SECONDS):
        comm = await open_comm(address, timeout=CONNECT_SECONDS, **arguments)
        await comm.close()


def merge(parts: Sequence[Simulation]) -> Simulation:
    """Return the simulations of consecutive samples as one."""
    first = parts[0]
    outputs = tuple(
        np.concatenate([part.outputs[place] for part in parts], axis=1)
        for place in range(len(first.outputs))
    )
    return Simulation(
        outputs,
        {name: sum(part.n_spikes[name] for part in parts) for name in first.n_spikes},
        {
            name: np.sum([part.synaptic_operations[name] for part in parts], axis=0)
            for name in first.synaptic_operations
        },
        {
            name: np.concatenate([part.spike_counts[name] for part in parts])
            for name in first.spike_counts
        },
        steps=_join([part.steps for part in parts]),
        quiet_after=_join([part.quiet_after for part in parts]),
    )


def _join(arrays: Sequence[Counts | None]) -> Counts | None:
    found = [array for array in arrays if array is not None]
    return np.concatenate(found) if found else None


def _version() -> str:
    return importlib.metadata.version("spikeport")


def _check_versions(client: Client) -> None:
    for worker, version in client.run(_worker_version, on_error="return").items():
        if version != _version():
            found = version if isinstance(version, str) else "none"
            raise SimulationError(
                f"worker {worker}: has spikeport {found}, expected {_version()} as here",
                hint="install the same version on every worker and start them again",
            )


def _worker_version() -> str:
    """Run on a worker."""
    return _version()


_runners: dict[tuple[str, str, Encoder | None], Runner] = {}
_lock = threading.Lock()


def _compile(
    file: bytes, digest: str, engine: str, encoder: Encoder | None, version: str
) -> Runner:
    """Run on a worker: return the graph made ready; only the last one is kept."""
    if version != _version():  # a worker that came later
        raise SimulationError(
            f"a worker has spikeport {_version()}, expected {version} as where the run was started",
            hint="install the same version on every worker and start them again",
        )
    with _lock:
        key = (digest, engine, encoder)
        if key not in _runners:
            _runners.clear()
            graph = decode_graph(file)
            _runners[key] = ENGINES[engine](graph, n_threads=1, encoder=encoder)
        return _runners[key]


def _describe(
    file: bytes, digest: str, engine: str, encoder: Encoder | None, version: str
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Run on a worker: compile, and return what a runner says about itself."""
    runner = _compile(file, digest, engine, encoder, version)
    return runner.engine, runner.fallbacks, runner.notices


def _simulate(
    file: bytes,
    digest: str,
    engine: str,
    encoder: Encoder | None,
    version: str,
    inputs: tuple[Array, ...],
    n_steps: int,
    count_spikes: bool,
    exit_rule: ExitRule | None,
) -> Simulation:
    """Run on a worker: simulate one shard on one thread."""
    runner = _compile(file, digest, engine, encoder, version)
    return runner.run(inputs, n_steps, count_spikes=count_spikes, exit_rule=exit_rule)
