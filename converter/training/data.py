"""What a training is fed: checked labels, held-back samples, augmentation, an order per epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, PassError
from ..ir import Array, Graph
from ..ir.ops import Input, Transpose

Labels = npt.NDArray[np.int64]

Augment = Callable[[Array, np.random.Generator], Array]
"""(inputs [N, ...], random numbers) -> other inputs of the same shape."""

FEW_SAMPLES = 2000
"""Fewer make a warning."""


@dataclass(frozen=True)
class Samples:
    """Inputs of a network with one input, and their classes.

    Attributes:
        inputs: [N, ...].
        labels: [N].
        name: For people and for the file.
    """

    inputs: Array
    labels: Labels
    name: str


def check_samples(samples: Samples, n_classes: int) -> tuple[str, ...]:
    """Return warnings.

    Raises:
        DataError: No labels of these classes, only one class, or numbers that are not finite.
    """
    labels = samples.labels
    if len(labels) != len(samples.inputs) or not len(labels):
        raise DataError(
            f"{samples.name}: {len(samples.inputs)} samples and {len(labels)} labels, "
            "expected one label per sample",
            hint="give data with labels: an .npz with x and y, or a folder with a class each",
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n_classes:
        raise DataError(
            f"{samples.name}: has labels {low} to {high}, expected 0 to {n_classes - 1}, the "
            f"{n_classes} outputs of the network",
            hint="number the classes from 0 on, in the order of the outputs",
        )
    if low == high:
        raise DataError(
            f"{samples.name}: has class {low} only, expected several classes",
            hint="give samples of all classes, in any order",
        )
    if not np.isfinite(samples.inputs).all():
        raise DataError(
            f"{samples.name}: holds NaN or infinity, expected finite numbers",
            hint="clean the data first",
        )
    n_seen = len(np.unique(labels))
    warnings = []
    if len(labels) < FEW_SAMPLES:
        warnings.append(
            f"{samples.name}: only {len(labels)} samples to train on; expect a network that knows "
            "these by heart"
        )
    if n_seen < n_classes:
        warnings.append(f"{samples.name}: has {n_seen} of {n_classes} classes")
    return tuple(warnings)


def choose_first(samples: Samples, n_wanted: int) -> Array:
    """Return the first inputs, or as many from all over where the first ones miss a class."""
    first, n_samples = samples.inputs[:n_wanted], len(samples.labels)
    n_classes = len(np.unique(samples.labels))
    if len(first) < n_classes or len(np.unique(samples.labels[:n_wanted])) == n_classes:
        return first
    return np.asarray(samples.inputs[np.arange(n_wanted) * n_samples // n_wanted])


def hold_back(samples: Samples, n_held: int) -> tuple[Samples, Samples | None]:
    """Return the samples without the last `n_held` ones, and these.

    Raises:
        DataError: Too few would be left.
    """
    n_samples = len(samples.labels)
    if not 0 <= n_held < n_samples:
        raise DataError(
            f"{samples.name}: {n_held} of {n_samples} samples held back, expected 0 to "
            f"{n_samples - 1}",
            hint="hold back a tenth: --hold-back " + str(n_samples // 10),
        )
    if not n_held:
        return samples, None
    cut = n_samples - n_held
    first = Samples(samples.inputs[:cut], samples.labels[:cut], samples.name)
    name = f"{samples.name}, the last {n_held}"
    return first, Samples(samples.inputs[cut:], samples.labels[cut:], name)


def draw_epoch(
    samples: Samples, seed: int, epoch: int, augment: Augment | None
) -> tuple[Array, Labels]:
    """Return the samples of one epoch: their order and augmentation follow from seed and epoch."""
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(samples.labels))
    inputs = samples.inputs[order]
    if augment is not None:
        inputs = np.asarray(augment(inputs, random), np.float32)
    return inputs, samples.labels[order]


def make_augmentation(graph: Graph, shift: int, flip: bool) -> Augment | None:
    """Return a function that shifts images (zeros move in) and mirrors them left to right.

    Args:
        graph: Whose inputs are images; says which axes are height and width.
        shift: Up to so many pixels, per axis.
        flip: Mirror with probability 1/2.

    Raises:
        PassError: shift is below 0.
        DataError: The network does not take images of such a size.
    """
    if shift < 0:
        raise PassError(
            f"--shift {shift}: expected a number of pixels of at least 0",
            hint="images are shifted in all directions anyway",
        )
    if not shift and not flip:
        return None
    (name,) = graph.inputs
    shape = graph.types[name].shape
    behind = [node.op for node in graph.consumers[name] if not isinstance(node.op, Input)]
    is_last = any(isinstance(op, Transpose) for op in behind) or len(shape) == 2
    axes = (1, 2) if is_last else (2, 3)
    if len(shape) not in {2, 3} or min(shape[axis - 1] for axis in axes) <= 2 * shift:
        raise DataError(
            f"--shift {shift}, --flip: the input has the shape {list(shape)}, expected images",
            hint="leave both out",
        )

    def augment(inputs: Array, random: np.random.Generator) -> Array:
        pairs = [(0, 0)] * inputs.ndim
        pairs[axes[0]] = pairs[axes[1]] = (shift, shift)
        padded = np.pad(inputs, pairs)
        sizes = tuple(inputs.shape[axis] for axis in axes)
        windows = np.lib.stride_tricks.sliding_window_view(padded, sizes, axis=axes)
        rows, columns = random.integers(0, 2 * shift + 1, (2, len(inputs)))
        places = np.arange(len(inputs))
        picked = windows[places, rows, columns] if is_last else windows[places, :, rows, columns]
        # The window's axes are at the end; channels last want them in front of the channels.
        if is_last and inputs.ndim == 4:
            picked = np.moveaxis(picked, 1, -1)
        result = np.ascontiguousarray(picked, np.float32)
        if flip:
            mirrored = random.random(len(inputs)) < 0.5
            result[mirrored] = np.flip(result[mirrored], axis=axes[1])
        return result

    return augment
