"""Samples batch by batch."""

import threading

import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.runtime.samples import SampleRecord, batches


def hash_of(inputs, labels, batch_size=2):
    record = SampleRecord(inputs)
    for _, batch in batches(inputs, batch_size):
        record.add(batch)
    return record.sha256(labels)


def test_samples_have_different_hashes_whatever_the_batches():
    x, y = np.zeros((5, 3), np.float32), np.array([0, 1, 1, 0, 1])
    hashes = {
        hash_of((x,), y), hash_of((x,), None), hash_of((x,), y[::-1]),
        hash_of((x.reshape(5, 3, 1),), y), hash_of((x + 1,), y), hash_of((x, x), y),
    }  # fmt: skip
    assert len(hashes) == 6
    for batch_size in (1, 3, 5, 100):
        assert hash_of((x.copy(),), y.copy(), batch_size) == hash_of((x,), y)


def test_ranges_and_bad_samples():
    x = np.float32([[1, 2], [-3, 4], [0, 9], [np.nan, 1], [1, np.inf]])
    record = SampleRecord((x,))
    record.add((x[:2],))
    record.add((x[2:3],))
    assert (record.low, record.high) == ([-3.0], [9.0])
    with pytest.raises(DataError, match=r"data: 2 samples hold NaN or infinity, expected finite"):
        record.add((x[3:],))


class Slow:
    """Says how far it was read; one batch at a time."""

    shape = (10, 1)

    def __init__(self):
        self.read = []
        self.seen = threading.Event()

    def __len__(self):
        return 10

    def __getitem__(self, part):
        self.read.append(part.start)
        if part.start == 4:
            self.seen.set()
        return np.arange(10, dtype=np.uint8)[part, None]


def test_one_batch_is_read_ahead_and_no_more():
    samples = Slow()
    found = []
    for chosen, (batch,) in batches((samples,), 4):
        if chosen.start == 0:
            assert samples.seen.wait(5)  # the second batch, while the first is worked on
            assert samples.read == [0, 4]
        assert batch.dtype == np.float32
        found += batch[:, 0].tolist()
    assert found == list(range(10))
    assert samples.read == [0, 4, 8]


def test_an_error_while_reading_reaches_the_caller():
    class Broken(Slow):
        def __getitem__(self, part):
            if part.start:
                raise DataError("b.png: not a readable image")
            return super().__getitem__(part)

    with pytest.raises(DataError, match="not a readable image"):
        list(batches((Broken(),), 4))
