"""Operators that keep, repeat or spread entries: what is read equals onnxruntime."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.converter.frontends.onnx.resizing import ROUNDINGS, TRANSFORMS

from .onnx_writer import NEWEST, Case, Writer, cases_of, check, on, op_names


def sliced(shape: tuple[int, ...], *bounds: tuple[int, int, int, int]) -> Case:
    """With (axis, start, end, step) each."""

    def build(w: Writer) -> str:
        axes, starts, ends, steps = (list(each) for each in zip(*bounds, strict=True))
        x = w.input(*shape)
        if w.opset < 10:
            return w.op("Slice", x, axes=axes, starts=starts, ends=ends)
        operands = [w.integers(*each) for each in (starts, ends, axes, steps)]
        return w.op("Slice", x, *operands[: 3 if set(steps) == {1} else 4])

    return build


def split(axis: int, *sizes: int, n: int = 0) -> Case:
    """All parts, put together again in another order."""

    def build(w: Writer) -> str:
        x, n_parts = w.input(6, 5), len(sizes) or n
        attributes = {"num_outputs": n_parts} if w.opset >= 18 and not sizes else {}
        if not sizes:
            parts = w.op("Split", x, axis=axis, n_outputs=n_parts, **attributes)
        elif w.opset >= 13:
            parts = w.op("Split", x, w.integers(*sizes), axis=axis, n_outputs=n_parts)
        else:
            parts = w.op("Split", x, axis=axis, split=list(sizes), n_outputs=n_parts)
        return w.op("Concat", *reversed(parts), axis=axis)

    return build


def last_part(w: Writer) -> str:
    return w.op("Relu", w.op("Split", w.input(6), axis=1, n_outputs=2)[1])


def gathered(indices: object, axis: int = 1) -> Case:
    return lambda w: w.op("Gather", w.input(4, 5), w.constant(indices, np.int64), axis=axis)


def expanded(*shape: int) -> Case:
    return lambda w: w.op("Expand", w.input(3, 1), w.integers(*shape))


def expanded_to_shape(w: Writer) -> str:
    """To a shape that is computed from the input's."""
    x = w.input(3, 1)
    if w.opset < 15:
        n = w.op("Slice", w.op("Shape", x), w.integers(0), w.integers(1))
    else:
        n = w.op("Shape", x, end=1)
    return w.op("Expand", x, w.op("Concat", n, w.integers(3, 4), axis=0))


def upsampled(w: Writer) -> str:
    scales = [1.0, 1.0, 2.0, 3.0]
    if w.opset < 9:
        return w.op("Upsample", w.input(2, 3, 4), scales=scales)
    return w.op("Upsample", w.input(2, 3, 4), w.constant(scales), mode="nearest")


def resized(scales: list[float], **attributes: str) -> Case:
    def build(w: Writer) -> str:
        x = w.input(2, 5, 7)
        if w.opset < 11:
            return w.op("Resize", x, w.constant(scales))
        return w.op("Resize", x, w.constant([]), w.constant(scales), **attributes)

    return build


def resized_to(*sizes: int, shape: tuple[int, ...] = (2, 5, 7), **attributes) -> Case:
    """PyTorch's interpolate: the sizes behind those of the batch and the channels."""

    def build(w: Writer) -> str:
        x = w.input(*shape)
        if "axes" in attributes:
            return w.op("Resize", x, "", "", w.integers(*sizes), **attributes)
        if w.opset < 13:
            front = w.op("Slice", w.op("Shape", x), w.integers(0), w.integers(2), w.integers(0))
            target = w.op("Concat", front, w.integers(*sizes), axis=0)
        else:
            front = w.op("Gather", w.op("Shape", x), w.integers(0, 1))
            target = w.op("Concat", front, w.integers(*sizes), axis=0)
        return w.op("Resize", x, w.constant([]), w.constant([]), target, **attributes)

    return build


def transposed(
    *shape: int, image: tuple[int, ...] = (4, 5, 6), bias: bool = True, **attributes
) -> Case:
    def build(w: Writer) -> str:
        n_out = shape[1] * attributes.get("group", 1)
        operands = [w.input(*image), w.draw(*shape)] + ([w.draw(n_out)] if bias else [])
        return w.op("ConvTranspose", *operands, **attributes)

    return build


def transposed_add(w: Writer) -> str:
    y = w.op("ConvTranspose", w.input(4, 5), w.draw(4, 3, 2))
    return w.op("Add", y, w.draw(3, 1))


TRANSPOSED: dict[str, Case] = {
    "transposed": transposed(4, 3, 3, 3),
    "transposed 1d": transposed(4, 3, 3, image=(4, 5), strides=[2], pads=[0, 1]),
    "transposed 3d": transposed(2, 3, 2, 3, 2, image=(2, 3, 3, 2), strides=[1, 2, 2]),
    "transposed add": transposed_add,
    "transposed dilated": transposed(4, 3, 3, 2, dilations=[2, 3], strides=[2, 1]),
    "transposed far apart": transposed(4, 3, 2, 2, strides=[4, 3], output_padding=[1, 2]),
    "transposed groups": transposed(4, 3, 3, 3, group=2, strides=[2, 2], bias=False),
    "transposed depthwise": transposed(4, 1, 3, 3, group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed lower": transposed(4, 3, 4, 3, auto_pad="SAME_LOWER", strides=[2, 2]),
    "transposed more padding than kernel": transposed(4, 3, 2, 2, pads=[2, 1, 3, 1]),
    "transposed output": transposed(4, 3, 3, 3, strides=[2, 2], output_shape=[9, 10]),
    "transposed output lower": transposed(
        4, 3, 4, 4, strides=[2, 3], output_shape=[9, 16], auto_pad="SAME_LOWER"
    ),
    "transposed output upper": transposed(
        4, 3, 4, 4, strides=[2, 3], output_shape=[9, 16], auto_pad="SAME_UPPER"
    ),
    "transposed output odd": transposed(4, 3, 3, 3, strides=[2, 2], output_shape=[10, 10]),
    "transposed padded": transposed(
        4, 3, 3, 4, strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 2]
    ),
    "transposed upper": transposed(4, 3, 3, 4, auto_pad="SAME_UPPER", strides=[2, 2]),
    "transposed valid": transposed(4, 3, 3, 4, auto_pad="VALID", kernel_shape=[3, 4]),
}

CASES = cases_of(
    (7, NEWEST, {
        **TRANSPOSED,
        "gather": gathered([0, 3, 3, 1]),
        "gather last": gathered([1, 0, 4], axis=2),
        "gather one": gathered(2),
        "gather square": gathered([[0, 1], [2, 3], [0, 0]], axis=2),
        "slice": sliced((4, 6), (1, 1, 3, 1), (2, 0, 5, 1)),
        "slice all of the batch": sliced((4, 6), (0, 0, 2**31 - 1, 1), (1, 2, 100, 1)),
        "slice everything": sliced((4, 6), (2, -6, 6, 1)),
        "slice from the end": sliced((4, 6), (1, -3, -1, 1), (2, 0, -1, 1)),
        "space to depth": on("SpaceToDepth", 3, 4, 6, blocksize=2),
        "depth to space": on("DepthToSpace", 12, 3, 2, blocksize=2),
        "split": split(1, 1, 2, 3),
        "tile": lambda w: w.op("Tile", w.input(2, 3), w.integers(1, 2, 3)),
        "tile nothing": lambda w: w.op("Tile", w.input(2, 3), w.integers(1, 1, 1)),
    }),
    (7, 17, {"split equal": split(1, n=3), "split last": last_part}),
    (7, 9, {"upsample": upsampled}),
    (8, NEWEST, {
        "expand": expanded(1, 3, 4),
        "expand fewer axes": expanded(3, 4),
        "expand nothing": expanded(1, 1, 1),
    }),
    (10, NEWEST, {
        "expand to shape": expanded_to_shape,
        "slice backwards": sliced((4, 6), (1, -1, -100, -1), (2, 5, 0, -2)),
        "slice steps": sliced((4, 6), (1, 0, 4, 2), (2, 1, 6, 3)),
    }),
    (10, 10, {
        "resize 10": resized([1.0, 1.0, 2.0, 1.5]),
        "resize 10 half": resized([1.0, 1.0, 1.0, 0.5]),
    }),
    (11, NEWEST, {
        "depth to space rows": on("DepthToSpace", 12, 3, 2, blocksize=2, mode="CRD"),
        "gather from the end": gathered([-1, 0, -4]),
        "resize linear by one": resized([1.0] * 4, mode="linear"),
        "resize to": resized_to(9, 3),
        "resize twice": resized([1.0, 1.0, 2.0, 2.0]),
        "split negative": split(-1, 2, 3),
    }),
    (18, NEWEST, {
        "resize axes": resized_to(11, 4, axes=[3, 2]),
        "split number": split(2, n=3),
        "split uneven": split(2, n=2),
    }),
)  # fmt: skip


@pytest.mark.parametrize(("case", "opset"), CASES)
def test_operator_equals_onnxruntime(case: str, opset: int, tmp_path: Path) -> None:
    w = Writer(opset)
    check(w.save(tmp_path, CASES[case, opset](w)))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_nearest_entries_as_onnxruntime_finds_them(
    transform: str, rounding: str, tmp_path: Path
) -> None:
    opset = 11 if transform == "tf_half_pixel_for_nn" else NEWEST
    modes = {"coordinate_transformation_mode": transform, "nearest_mode": rounding}
    factors = (0.25, 0.3, 0.5, 0.6, 1.0, 1.2, 1.5, 2.0, 2.7, 3.0, 4.0)
    cases = [resized([1.0, 1.0, a, b], **modes) for a, b in itertools.pairwise((*factors, 1.25))]
    sizes = ((1, 13), (3, 1), (10, 6), (4, 21), (2, 7), (10, 14), (15, 28))
    cases += [resized_to(*each, **modes) for each in sizes]
    n_refused = 0
    for case in cases:
        w = Writer(opset)
        path = w.save(tmp_path, case(w))
        try:
            read_onnx(path)
        except UnsupportedOpError as error:
            (reason,) = error.reasons
            assert "finds places between two entries of " in reason
            n_refused += 1
        else:
            check(path)
    assert n_refused < 11


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_every_whole_factor_is_read(
    transform: str, rounding: str, factor: int, tmp_path: Path
) -> None:
    w = Writer(11)
    modes = {"coordinate_transformation_mode": transform, "nearest_mode": rounding}
    path = w.save(tmp_path, resized([1.0, 1.0, factor, 1.0], **modes)(w))
    if transform == "align_corners" and rounding.startswith("round"):
        return
    check(path)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("slice", ["Select"]),
        ("slice everything", ["Identity"]),
        ("split", ["Select", "Select", "Select", "Concatenate"]),
        ("split last", ["Select", "Relu"]),
        ("gather square", ["Select", "Reshape"]),
        ("tile", ["Select"]),
        ("resize twice", ["Select"]),
        ("resize linear by one", ["Identity"]),
        ("depth to space", ["Reshape", "Transpose", "Reshape"]),
        ("transposed", ["Conv"]),
        ("transposed add", ["Conv"]),
        ("transposed far apart", ["InsertZeros", "Conv"]),
        ("transposed more padding than kernel", ["Select", "Conv"]),
    ],
)
def test_what_an_operator_becomes(case: str, expected: list[str], tmp_path: Path) -> None:
    opset = max(opset for name, opset in CASES if name == case)
    w = Writer(opset)
    assert op_names(check(w.save(tmp_path, CASES[case, opset](w))))[1:] == expected


REASONS: list[tuple[str, Case]] = [
    ("takes 0:1:1 of the batch, expected all of it", sliced((4,), (0, 0, 1, 1))),
    ("splits the batch, expected an axis behind it", split(0, n=2)),
    ("takes samples of the batch, expected an axis behind it", gathered([0], axis=0)),
    (
        "indices depends on the input, expected a constant",
        lambda w: w.op("Gather", w.input(3), w.input(2, name="i"), axis=1),
    ),
    (
        "repeats the batch, expected 1 for it",
        lambda w: w.op("Tile", w.input(3), w.integers(2, 1)),
    ),
    (
        "repeats [1000000000] times, expected at most 1048576 entries along an axis",
        lambda w: w.op("Tile", w.input(3), w.integers(1, 10**9)),
    ),
    ("shape [4, 1, 3, 1] moves the batch, expected fewer axes", expanded(4, 1, 3, 1)),
    ("shape [5, 3, 1] holds for one batch size only, expected 1 in front", expanded(5, 3, 1)),
    (
        "interpolates in mode 'linear', expected 'nearest'",
        resized([1.0, 1.0, 2.0, 2.0], mode="linear"),
    ),
    (
        "coordinate_transformation_mode is 'tf_crop_and_resize', expected align_corners",
        resized([1.0, 1.0, 2.0, 2.0], coordinate_transformation_mode="tf_crop_and_resize"),
    ),
    (
        "nearest_mode is 'simple', expected ceil, floor",
        resized([1.0, 1.0, 2.0, 2.0], nearest_mode="simple"),
    ),
    (
        "keep_aspect_ratio_policy is 'not_larger', expected 'stretch'",
        resized([1.0, 1.0, 2.0, 2.0], keep_aspect_ratio_policy="not_larger"),
    ),
    ("resizes the batch, expected 1 for it", resized([2.0, 1.0, 2.0, 2.0])),
    (
        "resizes the batch, expected only the axes behind it",
        resized_to(3, axes=[0]),
    ),
    (
        "has neither constant scales nor constant sizes, expected some",
        lambda w: w.op("Resize", w.input(2, 5), "", "", w.input(2, name="s")),
    ),
    (
        "has pads with auto_pad SAME_UPPER or an output_shape, expected one of them",
        transposed(4, 3, 3, 3, pads=[1] * 4, auto_pad="SAME_UPPER"),
    ),
    (
        "has pads and auto_pad VALID, expected one of them",
        transposed(4, 3, 3, 3, pads=[1] * 4, auto_pad="VALID"),
    ),
    (
        "output_shape or auto_pad gives 20 entries, more than there are, which tools",
        transposed(4, 3, 3, 3, output_shape=[20, 20]),
    ),
    (
        "pads [0, 0, -1, -1] are negative, which onnxruntime does not run; expected output_padding",
        transposed(4, 3, 3, 3, pads=[0, 0, -1, -1]),
    ),
    (
        "cuts all entries of axis 1 off, expected some that are more than the bias",
        transposed(
            2, 3, 1, 2, image=(2, 1, 4), strides=[2, 1], pads=[1, 0, 0, 0], output_padding=[1, 0]
        ),
    ),
    ("has 0 spatial axes, expected 1 to 3", transposed(4, 3, image=(4,))),
    (
        "weight depends on the input",
        lambda w: w.op("ConvTranspose", w.input(3, 3), w.input(3, 1, name="w")),
    ),
]


@pytest.mark.parametrize(("reason", "build"), REASONS, ids=[reason[:40] for reason, _ in REASONS])
def test_reason(reason: str, build: Case, tmp_path: Path) -> None:
    w = Writer(NEWEST)
    with pytest.raises(UnsupportedOpError, match=r"1 reasons why it cannot be translated") as error:
        read_onnx(w.save(tmp_path, build(w)))
    assert reason in error.value.reasons[0]


@pytest.mark.parametrize(
    ("opset", "scales"), [(10, [1.0, 1.0, 1.0, 0.4]), (13, [1.0, 1.0, 1.0, 1.1])]
)
def test_places_that_tools_round_differently(
    opset: int, scales: list[float], tmp_path: Path
) -> None:
    w = Writer(opset)
    path = w.save(tmp_path, resized(scales, nearest_mode="floor")(w))
    reason = r"finds places between two entries of 7 for [27], which tools round differently"
    with pytest.raises(UnsupportedOpError, match=reason):
        read_onnx(path)


DAMAGED: list[tuple[str, Case]] = [
    (
        "do not fit one another",
        lambda w: w.op("Slice", w.input(4), w.integers(1), w.integers(1, 2)),
    ),
    ("name an axis twice", sliced((4,), (1, 0, 1, 1), (1, 1, 2, 1))),
    ("indices of axis 0 are empty", sliced((4,), (1, 2, 2, 1))),
    ("axis 3 does not exist in an operand of 2 axes", sliced((4,), (3, 0, 1, 1))),
    ("gives parts of the sizes [4, 4] for 2 results, expected 6 entries", split(1, 4, 4)),
    (
        "gives 1099511627776 parts for 1 results, expected 6 entries",
        lambda w: w.op("Split", w.input(6), axis=1, num_outputs=2**40),
    ),
    (
        "takes 2147483646 places of an axis, expected at most 1048576",
        sliced((2**31 - 1,), (1, 1, 2**31 - 1, 1)),
    ),
    (
        "constants have shapes (2,) and (3,), which do not broadcast",
        lambda w: w.op("Sum", w.input(1), w.draw(2), w.draw(3)),
    ),
    (
        "constants give 4294967296 entries, expected 67108864",
        lambda w: w.op("Max", w.input(1), w.draw(1, 2**16), w.draw(2**16, 1)),
    ),
    ("indices lie in 0..9, expected -4..3", gathered([0, 9])),
    ("indices are missing, empty or no integers", gathered([])),
    ("repeats (2,), expected 2 numbers", lambda w: w.op("Tile", w.input(3), w.integers(2))),
    ("shape [1, 2, 5] does not fit [3, 1]", expanded(1, 2, 5)),
    ("blocksize 5 and mode 'DCR' do not fit", on("DepthToSpace", 12, 3, 2, blocksize=5)),
    ("blocksize 4 does not fit the shape", on("SpaceToDepth", 3, 4, 6, blocksize=4)),
    ("scales are not positive and finite", resized([1.0, 1.0, -1.0, 1.0])),
    ("scales are float32[3], expected 4", resized([1.0, 1.0, 2.0])),
    ("give too many entries", resized([1.0, 1.0, 1e30, 1.0])),
    ("gives the sizes [2, 0, 7], expected 1 to", resized([1.0, 1.0, 0.1, 1.0])),
    ("sizes [3] do not fit the axes [2, 3]", resized_to(3, axes=[2, 3])),
    ("axes [2, -2] name an axis twice", resized_to(3, 3, axes=[2, -2])),
    ("does not fit an operand of shape [4, 5, 6]", transposed(3, 3, 3, 3)),
    ("groups = 3 do not divide the 4 channels", transposed(4, 3, 3, 3, group=3)),
    ("kernel_shape is not that of the weight", transposed(4, 3, 3, 3, kernel_shape=[2, 2])),
    ("strides [2] or dilations [1, 1] do not fit", transposed(4, 3, 3, 3, strides=[2])),
    ("pads [1] or output_padding [0, 0] do not fit", transposed(4, 3, 3, 3, pads=[1])),
    ("auto_pad 'OTHER' is unknown", transposed(4, 3, 3, 3, auto_pad="OTHER")),
    ("output_shape [9]: expected 2 sizes", transposed(4, 3, 3, 3, output_shape=[9])),
]


@pytest.mark.parametrize(("message", "build"), DAMAGED, ids=[m[:40] for m, _ in DAMAGED])
def test_damaged(message: str, build: Case, tmp_path: Path) -> None:
    w = Writer(NEWEST)
    with pytest.raises(FormatError) as error:
        read_onnx(w.save(tmp_path, build(w)))
    assert message in str(error.value)
