"""What is offered where arrays do not fit a network: the call that makes them fit."""

import re

import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.models.datasets import load_data


@pytest.mark.parametrize(
    ("found", "wanted", "hint"),
    [
        ((4, 1, 5, 6), (5, 6, 1), "channels stand first: .*moveaxis.x, 1, -1"),
        ((4, 5, 6, 1), (1, 5, 6), "channels stand last: .*moveaxis.x, -1, 1"),
        ((4, 5, 6), (5, 6, 1), r"channel is missing: .*x\[\.\.\., None\]"),
        ((4, 5, 6), (1, 5, 6), r"channel is missing: .*x\[:, None\]"),
        ((5, 6, 1), (5, 6, 1), r"a single sample .*x\[None\]"),
        ((4, 7, 7), (5, 6, 1), "samples first, then exactly the layout"),
        ((4, 3), (5,), "samples first, then exactly the layout"),
    ],
)
def test_layouts(tmp_path, found, wanted, hint):
    np.savez(tmp_path / "d.npz", x=np.zeros(found, np.float32))
    with pytest.raises(DataError, match=r"x has shape .* expected \(N, ") as caught:
        load_data(str(tmp_path / "d.npz"), (wanted,))
    assert re.search(hint, caught.value.hint)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (np.arange(4, dtype=np.float32), "save y.astype('int64')"),
        (np.eye(4, dtype=np.float32), "save y.argmax(axis=1)"),
        (np.arange(3), "one class index per sample; leave"),
    ],
)
def test_labels(tmp_path, labels, hint):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 5), np.float32), y=labels)
    with pytest.raises(DataError, match="y has shape") as caught:
        load_data(str(tmp_path / "d.npz"), ((5,),))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("x.npy", "the folder with x.npy and y.npy"),
        ("fashion_mnist:train", "did you mean fashion-mnist:train?"),
        ("Fashion-MNIST", "did you mean fashion-mnist:test?"),
        ("mnist:train", "did you mean keras:mnist:train?"),
        ("net.onnx", "the file of a network"),
        ("images", "a folder has to exist"),
        ("a:b", "check the spelling"),
    ],
)
def test_names(spec, hint):
    with pytest.raises(DataError, match="no such data") as caught:
        load_data(spec, ((5,),))
    assert hint in caught.value.hint
