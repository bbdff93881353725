"""What a training asks of network, data and checkpoint before it begins."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..check import check, refusals
from ..errors import PassError, UnsupportedOpError
from ..frontends import Source
from .data import Samples, check_samples
from .settings import Settings
from .student import Binarization


def check_demands(
    source: Source, samples: Samples, validation: Samples | None, settings: Settings
) -> tuple[str, ...]:
    """Return warnings about the samples.

    Raises:
        UnsupportedOpError: Operations of the network have no spiking translation.
        PassError: The network has no single output of classes, or there is nothing to validate on.
        DataError: The samples do not fit.
    """
    _check_convertible(source)
    n_classes = _count_classes(source)
    warnings = check_samples(samples, n_classes)
    if validation is not None:
        check_samples(validation, n_classes)
    if settings.patience is not None and validation is None:
        raise PassError(
            "--patience: there is nothing to watch, expected validation samples",
            hint="give --validation DATA, or --hold-back N",
        )
    return warnings


def list_facts(
    source: Source,
    samples: Samples,
    validation: Samples | None,
    constraints: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    binarization: Binarization | None,
    augmentation: str,
) -> dict[str, Any]:
    """Return what must be the same for a checkpoint to be continued, as JSON values."""
    # Without patience it is looked at only.
    decisive = None if settings.patience is None else validation
    return {
        "model": source.sha256,
        "samples": _hash(samples),
        "validation": None if decisive is None else _hash(decisive),
        "constraints": {name: dict(options) for name, options in constraints.items()},
        "binarization": None if binarization is None else vars(binarization),
        "augmentation": augmentation,
        **dataclasses.asdict(settings),
    }


def _hash(samples: Samples) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(samples.inputs).data)
    digest.update(np.ascontiguousarray(samples.labels).data)
    return digest.hexdigest()


def _check_convertible(source: Source) -> None:
    """Refuse before the training what could not be converted after it."""
    findings = check(source)
    reasons = refusals(findings)
    if reasons:
        raise UnsupportedOpError(
            f"{source.name}: {len(reasons)} of its operations have no spiking translation",
            reasons=reasons,
            hint="take them out of the network: what is trained must be spiking in the end",
        )


def _count_classes(source: Source) -> int:
    graph = source.graph
    shapes = [graph.types[name].shape for name in graph.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 2 or len(graph.inputs) != 1:
        raise PassError(
            f"{source.name}: has {len(graph.inputs)} inputs and outputs of shapes {shapes}, "
            "expected one input and one output of a number per class",
            hint="training is for classifiers of two classes or more",
        )
    return int(shapes[0][0])
