"""train: a network, data and constraints give a trained network that is ready to convert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..frontends import Source
from ..ir import Graph
from .checkpoint import check_same, load_checkpoint, save_checkpoint
from .data import Augment, Samples, choose_first
from .demands import check_demands, list_facts
from .run import Run
from .settings import Settings
from .student import Binarization
from .trained_graph import trained_graph

N_CALIBRATION = 500
"""Training samples on which thresholds start."""


@dataclass(frozen=True)
class Trained:
    """What training gives.

    Attributes:
        graph: As the source's, with trained weights and activations.
        history: By epoch: loss, accuracy, validation_accuracy (None without), seconds, and what
            there was of every thing that has a target: firing_rate, synaptic_operations.
        warnings: One line each.
    """

    graph: Graph
    history: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def train(
    source: Source,
    samples: Samples,
    constraints: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    *,
    validation: Samples | None = None,
    binarization: Binarization | None = None,
    augment: Augment | None = None,
    augmentation: str = "none",
    checkpoint: Path | None = None,
    callbacks: tuple[Any, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Train a network from its weights, under constraints.

    Args:
        source: The network; it is the teacher, too.
        samples: To train on.
        constraints: As `choose_constraints` gives them.
        settings: How.
        validation: Looked at after every epoch; needed for `patience`.
        binarization: None for weights of full precision.
        augment: Applied to the samples of every epoch, anew.
        augmentation: Its name, so that a checkpoint is not continued with another one.
        checkpoint: File that holds the state after every epoch; where it exists, training goes on
            from it. It stays when training ends.
        callbacks: Of Keras, for `fit`.
        progress: Called with a line per epoch.
        warn: Called with a line per warning, before training begins.

    Raises:
        UnsupportedOpError: Operations of the network have no spiking translation.
        PassError: The network has no single output of classes, or the settings do not fit.
        DataError: The samples do not fit, or the loss is no number any more.
        FormatError: The checkpoint is damaged or of another training.
    """
    warnings = check_demands(source, samples, validation, settings)
    for warning in warnings:
        warn(warning)
    calibration = (choose_first(samples, N_CALIBRATION),)
    facts = list_facts(
        source, samples, validation, constraints, settings, binarization, augmentation
    )
    kept = None
    if checkpoint is not None and checkpoint.exists():
        kept = load_checkpoint(checkpoint)
        check_same(checkpoint, kept[0]["training"], facts)
    run = Run(source, constraints, settings, calibration, binarization, len(samples.labels))
    if checkpoint is not None and kept is not None:
        run.restore(checkpoint, *kept)
        progress(f"{checkpoint}: goes on after epoch {run.epoch} of {settings.n_epochs}")
    while run.epoch < settings.n_epochs and not run.is_over:
        entry = run.train_epoch(samples, validation, augment, callbacks)
        progress(_describe(entry, settings.n_epochs, constraints))
        if checkpoint is not None:
            save_checkpoint(checkpoint, run.facts(facts), run.variables())
    run.keep_best()
    return Trained(trained_graph(run.student, source.graph), tuple(run.history), warnings)


def _describe(
    entry: Mapping[str, Any], n_epochs: int, constraints: Mapping[str, Mapping[str, Any]]
) -> str:
    parts = [
        f"epoch {entry['epoch']}/{n_epochs}", f"loss {entry['loss']:.4f}",
        f"accuracy {100 * entry['accuracy']:.2f} %",
    ]  # fmt: skip
    if entry["validation_accuracy"] is not None:
        parts.append(f"validation {100 * entry['validation_accuracy']:.2f} %")
    parts += [
        f"{name.replace('_', ' ')} {entry[name]:.4f} (target {options['target']:g})"
        for name, options in constraints.items() if name in entry
    ]  # fmt: skip
    return ", ".join([*parts, f"{entry['seconds']:.1f} s"])


__all__ = ["Settings", "Trained", "train"]
