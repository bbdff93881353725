"""Calibrate early exit on samples that nothing else has seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..converter.errors import DataError, SimulationError
from ..converter.ir import Array, Graph, Samples
from .checks import Labels, check_samples, check_settings, count_cores
from .decoding import decide, read_readouts
from .early_exit import DEFAULT_EVERY, Calibration, ExitRule, calibrate, check_loss, leads
from .encoding import Encoder
from .engines import DEFAULT_ENGINE, ENGINES
from .samples import SampleRecord, batches
from .schedule import check_run

MIN_SAMPLES = 10
DIGEST_BATCH = 1000


def calibrate_exit(
    graph: Graph,
    inputs: tuple[Array, ...],
    labels: Labels | None,
    *,
    allowed_loss: float,
    n_steps: int,
    every: int = DEFAULT_EVERY,
    engine: str = DEFAULT_ENGINE,
    n_threads: int | None = None,
    batch_size: int = 100,
    encoder: Encoder | None = None,
    progress: Callable[[int], None] = lambda n_done: None,
) -> Calibration:
    """Simulate held-back samples for T steps and find from which lead on a decision is certain.

    Args:
        graph: As `convert` gives it.
        inputs: One array [N, ...] per input, of samples that are used for nothing else.
        labels: [N]; None keeps the decisions after T steps instead of the right ones.
        allowed_loss: Share of right (or equal) decisions that may be fewer than after T steps.
        n_steps: T.
        every: Steps between two looks.
        engine: Key of ENGINES.
        n_threads: None for every core.
        batch_size: Samples at a time.
        encoder: What flows at every step, as in the run that will end early.
        progress: Called with the number of samples done.

    Raises:
        SimulationError: A setting is out of range, or the graph is not causal.
        DataError: The samples do not fit the graph.
    """
    check_loss(allowed_loss)
    ExitRule(0.0, every)
    check_settings(n_steps=n_steps, batch_size=batch_size, engine=engine, n_threads=n_threads)
    check_run(graph, n_steps, early_exit=True)
    check_samples(graph, inputs, labels, encoder.shapes(graph, n_steps) if encoder else None)
    check_enough(len(inputs[0]))
    readout = read_readouts(graph)[0]
    runner = ENGINES[engine](
        graph, n_threads=count_cores() if n_threads is None else n_threads, encoder=encoder
    )
    n_samples = len(inputs[0])
    lead = np.empty((n_steps, n_samples))
    decisions = np.empty((n_steps, n_samples), np.int64)
    record = SampleRecord(inputs)
    for chosen, batch in batches(inputs, batch_size):
        record.add(batch)
        for step, potential in enumerate(runner.run(batch, n_steps).outputs[0]):
            lead[step, chosen] = leads(potential.astype(np.float64) * (step + 1))
            decisions[step, chosen] = decide(readout.apply(potential), readout)
        progress(chosen.stop)
    return calibrate(lead, decisions, labels, allowed_loss=allowed_loss, every=every)


def held_back(
    graph: Graph, inputs: tuple[Array, ...], describe: Callable[..., dict[str, Any]]
) -> int:
    """Return how many of the first samples are those that the conversion was calibrated on.

    Args:
        graph: Its metadata hold number and hash of these samples.
        inputs: One array [N, ...] per input.
        describe: `converter.convert.describe_samples`, which made the hash.
    """
    calibration = graph.metadata.get("calibration")
    if not isinstance(calibration, dict):
        return 0
    number, digest = calibration.get("n_samples"), calibration.get("sha256")
    if type(number) is not int or not 0 < number <= len(inputs[0]):
        return 0
    first = tuple(array[:number] for array in inputs)
    return number if describe(first, "")["sha256"] == digest else 0


def check_disjoint(inputs: tuple[Samples, ...], other: tuple[Samples, ...]) -> None:
    """Check that no sample is among both, so that what is measured on one is news to the other.

    Raises:
        DataError: Some are.
    """
    n_shared = len(_digests(inputs) & _digests(other))
    if n_shared:
        raise DataError(
            f"early exit: {n_shared} of the held-back samples are among those evaluated, expected "
            "none",
            hint="calibrate on other data, for example --exit-data fashion-mnist:train",
        )


def check_enough(n_samples: int, n_seen: int = 0) -> None:
    """Check that early exit has samples to be calibrated on.

    Args:
        n_samples: How many are held back.
        n_seen: How many more there are, on which the conversion was calibrated.

    Raises:
        DataError: There are too few.
    """
    if n_samples >= MIN_SAMPLES:
        return
    seen = f" behind the {n_seen} that the conversion was calibrated on" if n_seen else ""
    fewer = ", or convert with fewer --calibration-samples" if n_seen else ""
    raise DataError(
        f"early exit: {n_samples} held-back samples, expected at least {MIN_SAMPLES}{seen}",
        hint=f"give more --exit-samples or other --exit-data{fewer}; a loss of 0.001 needs "
        "thousands",
    )


def check_needs(loss: float | None, data: str | None) -> None:
    """Check that early exit has both of its settings.

    Raises:
        SimulationError: Only one of them is given.
    """
    if (loss is None) != (data is None):
        raise SimulationError(
            "early exit: has only one of a loss and held-back data, expected both",
            hint="for example --early-exit 0.001 --exit-data fashion-mnist:train",
        )


def _digests(inputs: tuple[Samples, ...]) -> set[bytes]:
    found = set()
    for _, batch in batches(inputs, DIGEST_BATCH):
        for rows in zip(*batch, strict=True):
            whole = b"".join(row.tobytes() for row in rows)
            found.add(hashlib.blake2b(whole, digest_size=16).digest())
    return found
