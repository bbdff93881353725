import keras
import numpy as np
import pytest

from spikeport.converter.errors import FormatError
from spikeport.converter.training.checkpoint import (
    check_same,
    checkpoint_path,
    load_checkpoint,
    restore,
    save_checkpoint,
)

ENTRY = {"epoch": 1, "loss": 0.5, "validation_accuracy": None}
FACTS = {"training": {"seed": 1}, "history": [ENTRY], "best": None}


def variables():
    return [
        keras.Variable(np.arange(6.0).reshape(2, 3)),
        keras.Variable(np.int64(7), dtype="int64"),
    ]


def test_comes_back(tmp_path):
    path = checkpoint_path(tmp_path / "out.snn")
    assert path.name == "out.snn.checkpoint"
    save_checkpoint(path, FACTS, variables())
    facts, values = load_checkpoint(path)
    assert facts == FACTS
    fresh = [keras.Variable(np.zeros((2, 3))), keras.Variable(np.int64(0), dtype="int64")]
    restore(path, fresh, values)
    np.testing.assert_array_equal(fresh[0].numpy(), np.arange(6.0).reshape(2, 3))
    assert int(fresh[1].numpy()) == 7


def test_of_another_training_is_refused(tmp_path):
    path = tmp_path / "a.checkpoint"
    with pytest.raises(FormatError, match="is the checkpoint of another training: seed is 1") as e:
        check_same(path, {"seed": 1}, {"seed": 2})
    assert "begin again: rm" in e.value.hint
    with pytest.raises(FormatError, match="has 1 variables of another model, expected 2"):
        restore(path, variables(), [np.zeros(3)])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"\x93NUMPY"])
def test_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "a.checkpoint"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="is no checkpoint of a training"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        [FACTS],
        FACTS | {"training": [1]},
        {"history": [], "best": None},
        FACTS | {"history": 7},
        FACTS | {"history": [{"epoch": 1}]},
        FACTS | {"best": "high"},
        FACTS | {"best": 0.5},  # and yet its epoch was not validated
    ],
)
def test_file_that_says_something_else_is_refused(tmp_path, facts):
    path = tmp_path / "a.checkpoint"
    save_checkpoint(path, facts, variables())
    with pytest.raises(FormatError, match="is no checkpoint of a training"):
        load_checkpoint(path)


def test_numbers_that_are_none_are_refused(tmp_path):
    path = tmp_path / "a.checkpoint"
    save_checkpoint(path, FACTS, [keras.Variable(np.float32([1, np.nan]))])
    with pytest.raises(FormatError, match="is no checkpoint of a training"):
        load_checkpoint(path)
