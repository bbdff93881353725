"""Samples batch by batch: read ahead, checked, hashed. They need not fit into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError
from ..converter.ir import Array, Samples


class SampleRecord:
    """What is known of the samples that were used: finite, their hash, their range."""

    def __init__(self, inputs: Sequence[Samples]) -> None:
        self._digests = [hashlib.sha256(repr(tuple(array.shape)).encode()) for array in inputs]
        self.low = [float("inf")] * len(inputs)
        self.high = [-float("inf")] * len(inputs)

    def add(self, batch: tuple[Array, ...]) -> None:
        """Add the next samples, [n, ...] per input.

        Raises:
            DataError: Some of them hold NaN or infinity.
        """
        for place, array in enumerate(batch):
            is_bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
            if is_bad.any():
                raise DataError(
                    f"data: {int(is_bad.sum())} samples hold NaN or infinity, expected finite "
                    "numbers",
                    hint="clean the data first",
                )
            self._digests[place].update(np.ascontiguousarray(array).data)
            self.low[place] = min(self.low[place], float(array.min()))
            self.high[place] = max(self.high[place], float(array.max()))

    def sha256(self, labels: npt.NDArray[np.int64] | None) -> str:
        """Return a hash of shapes and values of the inputs, and of the labels."""
        digest = hashlib.sha256(b"".join(each.digest() for each in self._digests))
        if labels is not None:
            digest.update(np.ascontiguousarray(labels, np.int64).data)
        return digest.hexdigest()


def batches(
    inputs: Sequence[Samples], batch_size: int
) -> Iterator[tuple[slice, tuple[Array, ...]]]:
    """Yield float32 batches with their places; the next one is read while one is worked on."""

    def read(start: int) -> tuple[Array, ...]:
        part = slice(start, start + batch_size)
        return tuple(np.asarray(array[part], np.float32) for array in inputs)

    n_samples = len(inputs[0])
    with ThreadPoolExecutor(1, "spikeport-read") as reader:
        ahead = reader.submit(read, 0)
        for start in range(0, n_samples, batch_size):
            batch = ahead.result()
            if start + batch_size < n_samples:
                ahead = reader.submit(read, start + batch_size)
            yield slice(start, min(start + batch_size, n_samples)), batch


def pick(inputs: Sequence[Samples], numbers: Sequence[int]) -> tuple[Array, ...]:
    """Return the samples of these numbers, [n, ...] per input, float32."""
    return tuple(
        np.concatenate([np.asarray(array[n : n + 1], np.float32) for n in numbers])
        for array in inputs
    )
