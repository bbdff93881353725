"""What a training needs to go on after it was killed: one file, written after every epoch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..files import read_bounded, write_atomically

MAX_BYTES = 2**33
SUFFIX = ".checkpoint"


def checkpoint_path(output: Path) -> Path:
    """Return where the checkpoint of a training lies: beside the file that it will write."""
    return output.with_name(output.name + SUFFIX)


def save_checkpoint(path: Path, facts: Mapping[str, Any], variables: list[Any]) -> None:
    """Write facts and variables so that at every moment the old file or the new one is there.

    Args:
        path: The file.
        facts: JSON values.
        variables: Keras variables, in an order that the same program gives again.
    """
    arrays = {f"v{place}": _numpy(variable) for place, variable in enumerate(variables)}
    text = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, facts=text, **arrays)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Return the facts and the values of the variables.

    Raises:
        FormatError: No such file, or it is no checkpoint.
    """
    data = read_bounded(path, MAX_BYTES)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            facts = json.loads(arrays["facts"].tobytes().decode())
            values = [arrays[f"v{place}"] for place in range(len(arrays.files) - 1)]
        _check(facts, values)
    except Exception as error:  # numpy raises all kinds for a damaged archive
        raise FormatError(
            f"{path}: is no checkpoint of a training ({type(error).__name__})",
            hint=f"begin again: rm {path}",
        ) from error
    return facts, values


def _check(facts: Any, values: list[Any]) -> None:
    """Raise whatever Python raises where facts and values are not what `save_checkpoint` gets."""
    dict(facts["training"])
    best = facts["best"]
    if best is not None and not 0 <= best <= 1:
        raise ValueError("best")
    for entry in facts["history"]:
        float(entry["loss"]), int(entry["epoch"])
        if best is not None:
            float(entry["validation_accuracy"])
    if not all(np.isfinite(value).all() for value in values):
        raise ValueError("variables")


def restore(path: Path, variables: list[Any], values: list[Any]) -> None:
    """Give the variables the values of a checkpoint.

    Raises:
        FormatError: They are others; nothing was changed.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise FormatError(
            f"{path}: has {len(values)} variables of another model, expected {len(shapes)} "
            "of the shapes of this one",
            hint=f"begin again: rm {path}; or give another -o",
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def check_same(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another training; what differs is named.

    Raises:
        FormatError: A fact differs.
    """
    for key, value in expected.items():
        if found.get(key) != value:
            raise FormatError(
                f"{path}: is the checkpoint of another training: {key} is {found.get(key)!r:.60}, "
                f"expected {value!r:.60}",
                hint=f"repeat the command it was begun with; or begin again: rm {path}",
            )


def _numpy(variable: Any) -> Any:
    import keras

    # Not ascontiguousarray, which gives a scalar an axis.
    return np.array(keras.ops.convert_to_numpy(variable), order="C")
