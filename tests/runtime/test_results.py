"""Evaluations as files, damaged in every way."""

import json

import numpy as np
import pytest

from spikeport.converter.errors import FormatError
from spikeport.runtime.results import decode, encode, read_run


@pytest.mark.parametrize("top", [1, 255, 256, 70_000])
def test_integers_survive_packing(top):
    values = np.array([[0, top, 3], [top, 1, 0]])
    np.testing.assert_array_equal(decode(json.loads(json.dumps(encode(values))), 2, "a"), values)


def test_decisions_of_ten_thousand_samples_are_small():
    random = np.random.default_rng(0)
    decisions = np.repeat(random.integers(0, 10, (10_000, 4)), 16, axis=1)
    assert len(encode(decisions)["zlib"]) < 60_000


@pytest.fixture
def document():
    decisions = np.array([[0, 1, 1], [1, 1, 0]])
    return {
        "format": "spikeport-evaluation", "version": 1, "n_samples": 2, "n_steps": 3,
        "decisions": encode(decisions), "labels": encode(np.array([1, 0])),
        "samples_sha256": "00",
    }  # fmt: skip


def read(document):
    return read_run("a.json", json.dumps(document).encode())


def test_a_run_is_read(document):
    run = read(document)
    assert run.name == "a.json"
    np.testing.assert_array_equal(run.decisions, [[0, 1], [1, 1], [1, 0]])
    np.testing.assert_array_equal(run.labels, [1, 0])
    assert read({**document, "labels": None}).labels is None


BOMB = {"dtype": "uint8", "shape": [2, 3], "zlib": encode(np.zeros((1, 10**7), np.int64))["zlib"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "is no evaluation, expected the format 'spikeport-evaluation'"),
        ({"version": 2}, "has version 2, expected 1"),
        ({"version": "1"}, "has version '1', expected 1"),
        ({"decisions": None}, "decisions: is not what `evaluate` packs"),
        ({"decisions": BOMB}, "decisions: is not what `evaluate` packs"),
        ({"decisions": {**BOMB, "shape": [1]}}, "decisions: is not what"),
        ({"decisions": {**BOMB, "shape": [2**40, 2**40]}}, "decisions: is not what"),
        ({"decisions": {**BOMB, "shape": [0, 3]}}, "decisions: is not what"),
        ({"decisions": {**BOMB, "shape": [2.0, 3]}}, "decisions: is not what"),
        ({"decisions": {**BOMB, "dtype": "object"}}, "decisions: is not what"),
        ({"decisions": {**BOMB, "dtype": [1]}}, "decisions: is not what"),
        ({"decisions": {**BOMB, "zlib": "AAAA"}}, "decisions: is not what"),
        ({"decisions": {**BOMB, "zlib": "ü"}}, "decisions: is not what"),
        ({"labels": encode(np.array([1, 0, 1]))}, "n_steps, n_samples and labels do not fit"),
        ({"n_steps": 4}, r"do not fit its decisions \(3, 2\)"),
        ({"samples_sha256": 3}, "does not say which samples it is about"),
    ],
)
def test_damaged_evaluations(change, message, document):
    with pytest.raises(FormatError, match=message) as caught:
        read({**document, **change})
    assert caught.value.hint


def test_negative_decisions(document):
    packed = encode(np.zeros((2, 3), np.int64)) | {"dtype": "int64"}
    packed["zlib"] = encode(np.full((2, 3 * 8), 255))["zlib"]
    with pytest.raises(FormatError, match="decisions: is not what"):
        read({**document, "decisions": packed})


def test_evaluations_of_an_older_spikeport(document):
    del document["decisions"]
    with pytest.raises(FormatError, match="holds no decisions of single samples"):
        read(document)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\xff", "[]", "3"])
def test_files_that_are_no_evaluation(text):
    with pytest.raises(FormatError, match=r"is not JSON|is no evaluation"):
        read_run("a.json", text.encode("latin-1"))
