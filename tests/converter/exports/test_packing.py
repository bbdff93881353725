"""Bits and scales: what is packed, comes back bit for bit, and is refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.converter.errors import FormatError
from spikeport.converter.exports import container
from spikeport.converter.exports.packing import pack, unpack
from spikeport.converter.exports.snn import decode_graph, encode_graph


@st.composite
def arrays(draw):
    """Rows of one magnitude each, zeros allowed or not, and now and then something else."""
    shape = tuple(draw(st.lists(st.integers(1, 20), min_size=1, max_size=3)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    entries = draw(st.sampled_from([[-1, 1], [-1, 0, 1], [-1, -0.0, 1], [-2, 1]]))
    scale = random.choice([0, 1e-38, 0.3, 7], (shape[0], *(1,) * (len(shape) - 1)))
    return (random.choice(entries, shape) * scale).astype(np.float32)


@settings(max_examples=300, deadline=None)
@given(arrays())
def test_every_array_comes_back_bit_for_bit(array):
    stored = pack("weight", array)
    (again,) = unpack(stored).values()
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()
    assert sum(part.nbytes for part in stored.values()) <= array.nbytes


@pytest.mark.parametrize(
    ("entries", "expected", "n_bytes"),
    [([-1, 1], {".scale", ".signs"}, 288), ([-1, 0, 1], {".scale", ".signs", ".nonzero"}, 576)],
)
def test_what_takes_how_much(entries, expected, n_bytes):
    random = np.random.default_rng(0)
    weight = (random.choice(entries, (16, 16, 3, 3)) * 0.25 + 0).astype(np.float32)
    stored = pack("weight", weight)
    assert set(stored) == {f"weight{suffix}" for suffix in expected}
    assert sum(part.nbytes for part in stored.values()) == n_bytes + 4 * 16
    assert stored["weight.signs"].shape == (2, 16, 3, 3)
    assert stored["weight.signs"][1, 2, 0, 1] >> 3 & 1 == (weight[11, 2, 0, 1] < 0)


@pytest.mark.parametrize("array", [np.ones(9), np.ones((9, 1)), np.full((9, 9), np.nan)])
def test_what_would_not_become_smaller_stays(array):
    stored = pack("w", array.astype(np.float32))
    assert list(stored) == ["w"]
    assert stored["w"].dtype == np.float32


SCALE, SIGNS = np.ones(9, np.float32), np.zeros((2, 4), np.uint8)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"w": SIGNS}, r"w: holds bits, expected float32"),
        ({"w.signs": SIGNS}, r"w: has \.signs uint8 \[2, 4\], expected \.scale and \.signs"),
        ({"w.scale": SCALE}, r"w: has \.scale float32 \[9\], expected \.scale and \.signs"),
        ({"w.nonzero": SIGNS}, r"w: has \.nonzero .*, expected \.scale and \.signs"),
        (
            {"w": SCALE, "w.scale": SCALE, "w.signs": SIGNS},
            r"w: is there as numbers and as bits, expected one of them",
        ),
        ({"w.scale": SCALE, "w.signs": SIGNS[:1]}, r"expected a scale per row, and bytes of bits"),
        ({"w.scale": SCALE, "w.signs": SIGNS[:, 0]}, r"expected a scale per row, and bytes of"),
        ({"w.scale": SCALE, "w.signs": SCALE}, r"w: has \.scale .*, expected a scale per row"),
        ({"w.scale": SCALE[None], "w.signs": SIGNS}, r"expected a scale per row, and bytes"),
        (
            {"w.scale": SCALE, "w.signs": SIGNS, "w.nonzero": SIGNS[:, :3]},
            r"\.nonzero uint8 \[2, 3\], expected a scale per row",
        ),
        ({"w.scale": -SCALE, "w.signs": SIGNS}, r"w\.scale: is negative or not finite, expected"),
        ({"w.scale": SCALE * np.nan, "w.signs": SIGNS}, r"w\.scale: is negative or not finite"),
        ({"w.scale": SCALE, "w.signs": SIGNS + 2}, r"w: has bits set behind its 9 rows, expected"),
        ({"w.scale": 0 * SCALE[:8], "w.signs": SIGNS[:1] + 1}, r"w: has bits for entries that are"),
        (
            {"w.scale": SCALE[:8], "w.signs": SIGNS[:1] + 1, "w.nonzero": SIGNS[:1]},
            r"w: has bits for entries that are zero, expected none",
        ),
    ],
)
def test_bits_that_break_a_rule(stored, message):
    with pytest.raises(FormatError, match=message):
        unpack(stored)


def test_bits_are_numbers_in_memory_and_take_an_eighth_of_a_byte_in_the_file(golden_bits):
    data = encode_graph(golden_bits)
    opened = container.open_document(data)
    _, stored = container.extract(data, opened)
    assert stored["1.weight.signs"].dtype == np.uint8
    assert stored["5.weight.signs"].shape == (1, 36)
    assert "7.weight.nonzero" in stored
    assert stored["8.weight"].dtype == np.float32
    for node in decode_graph(data).nodes:
        for field in dataclasses.fields(node.op):
            value = getattr(node.op, field.name)
            assert not isinstance(value, np.ndarray) or value.dtype == np.float32


def test_bits_that_would_not_fit_into_memory(golden_bits, forge, monkeypatch):
    data = encode_graph(golden_bits)
    monkeypatch.setattr(container, "MAX_NUMBERS", 1000)
    with pytest.raises(FormatError, match=r"graph: lists \d{4} numbers, expected at most 1000"):
        decode_graph(data)


def test_a_field_that_is_there_twice(golden_bits, forge):
    def change(arrays):
        arrays["1.weight"] = np.ones((9, 2, 3, 3), np.float32)

    with pytest.raises(FormatError, match=r"binary \(Conv\): weight: is there as numbers and as b"):
        decode_graph(forge(encode_graph(golden_bits), change_arrays=change))
