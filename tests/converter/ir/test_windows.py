import itertools

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import windows
from spikeport.converter.ir.windows import MAX_STEP, Window

WINDOWS = [
    Window((3,), (1,), (1,), ((0, 0),)),
    Window((3,), (2,), (2,), ((1, 2),)),
    Window((2, 3), (1, 2), (1, 1), ((0, 0), (1, 1))),
    Window((3, 2), (3, 1), (2, 3), ((2, 0), (0, 3))),
    Window((2, 1, 2), (1, 2, 2), (1, 1, 2), ((1, 0), (0, 0), (0, 1))),
]
SIZES = (7, 6, 5)


def positions(window: Window, sizes: tuple[int, ...]):
    """Every (window, entry) with the position of the operand on which the entry lies."""
    counts = window.output_sizes(sizes)
    for at in itertools.product(*map(range, counts)):
        for entry in itertools.product(*map(range, window.kernel)):
            yield (
                at,
                entry,
                tuple(
                    i * stride + k * dilation - before
                    for i, k, stride, dilation, (before, _) in zip(
                        at, entry, window.strides, window.dilation, window.padding, strict=True
                    )
                ),
            )


def is_inside(position: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    return all(0 <= p < size for p, size in zip(position, sizes, strict=True))


@pytest.mark.parametrize("window", WINDOWS)
def test_number_of_windows_is_what_fits(window):
    sizes = SIZES[: len(window.kernel)]
    for axis, n in enumerate(window.output_sizes(sizes)):
        padded = sizes[axis] + sum(window.padding[axis])
        extent = (window.kernel[axis] - 1) * window.dilation[axis] + 1
        starts = range(0, padded - extent + 1, window.strides[axis])
        assert n == len(starts)


@pytest.mark.parametrize("window", WINDOWS)
def test_patches_against_a_loop(window):
    sizes = SIZES[: len(window.kernel)]
    x = np.random.default_rng(0).normal(size=(2, 3, *sizes)).astype(np.float32)
    patches = window.patches(x, fill=-5.0)
    for at, entry, position in positions(window, sizes):
        expected = x[:, :, *position] if is_inside(position, sizes) else -5.0
        np.testing.assert_array_equal(patches[:, :, *entry, *at], expected)


@pytest.mark.parametrize("limit", [1, 64])
@pytest.mark.parametrize("window", WINDOWS)
def test_windows_are_reduced_alike_whatever_their_size(window, limit, monkeypatch):
    monkeypatch.setattr(windows, "MAX_ENTRIES", limit)
    sizes = SIZES[: len(window.kernel)]
    x = np.random.default_rng(0).normal(size=(2, 3, *sizes)).astype(np.float32)
    sums, largest = window.reduce(np.add, x, fill=0.0), window.reduce(np.maximum, x, fill=-np.inf)
    for at in itertools.product(*map(range, window.output_sizes(sizes))):
        inside = [
            x[:, :, *position]
            for place, _, position in positions(window, sizes)
            if place == at and is_inside(position, sizes)
        ]
        np.testing.assert_allclose(sums[:, :, *at], np.sum(inside, axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(largest[:, :, *at], np.max(inside, axis=0))


def test_patches_of_a_view_that_is_not_contiguous():
    x = np.arange(40, dtype=np.float32).reshape(1, 5, 8).transpose(0, 2, 1)[:, ::2]
    patches = Window((2,), (1,), (1,), ((0, 0),)).patches(x, fill=0.0)
    np.testing.assert_array_equal(patches[:, :, 1], x[:, :, 1:])


def test_patches_are_read_only():
    patches = WINDOWS[0].patches(np.zeros((1, 1, 5), np.float32), fill=0.0)
    with pytest.raises(ValueError, match="read-only"):
        patches[...] = 1


@pytest.mark.parametrize("window", WINDOWS)
def test_coverage_against_a_loop(window):
    sizes = SIZES[: len(window.kernel)]
    expected = np.zeros(sizes, np.float32)
    for _, _, position in positions(window, sizes):
        if is_inside(position, sizes):
            expected[position] += 1
    np.testing.assert_array_equal(window.coverage(sizes), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (), (), ()), r"kernel \(\): has no axes, expected at least one"),
        (((3,), (1, 1), (1,), ((0, 0),)), r"strides \(1, 1\): has 2 entries, expected 1"),
        (((3,), (1,), (), ((0, 0),)), r"dilation \(\): has 0 entries, expected 1"),
        (((3,), (1,), (1,), ()), r"padding \(\): has 0 entries, expected 1"),
        (((0,), (1,), (1,), ((0, 0),)), r"kernel \(0,\): expected sizes from 1 to 4096"),
        (((5000,), (1,), (1,), ((0, 0),)), r"kernel \(5000,\): expected sizes from 1 to 4096"),
        (((3,), (0,), (1,), ((0, 0),)), r"strides \(0,\), dilation \(1,\): expected steps from 1"),
        (((3,), (1,), (-1,), ((0, 0),)), r"dilation \(-1,\): expected steps from 1 to 1048576"),
        (((3,), (MAX_STEP + 1,), (1,), ((0, 0),)), r"strides \(1048577,\).*from 1 to 1048576"),
        (((3,), (1,), (1,), ((-1, 0),)), r"padding \(\(-1, 0\),\): expected pairs of sizes >= 0"),
        (((3,), (1,), (1,), ((1,),)), r"padding \(\(1,\),\): expected pairs"),
    ],
)
def test_geometry_without_meaning(arguments, message):
    with pytest.raises(GraphError, match=message):
        Window(*arguments)


def test_window_that_does_not_fit():
    with pytest.raises(GraphError, match=r"window \(3,\) does not fit into spatial sizes \(4,\)"):
        Window((3,), (1,), (2,), ((0, 0),)).output_sizes((4,))


def test_padding_that_a_stride_jumps_over_is_bounded_too():
    window = Window((1,), (2**20,), (1,), ((2**31, 2**31),))
    with pytest.raises(GraphError, match=r"more than 2147483648 elements"):
        window.output_sizes((8,))
