"""From a file or a model in memory to a graph: FRONTENDS, the table by file suffix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConversionError, FormatError
from ..ir import Array, Graph

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Source:
    """A trained network as its own framework and as a graph.

    Attributes:
        graph: What was read; analog, nothing simplified.
        run: Computes the outputs [N, ...] for the inputs [N, ...] in the source's own framework.
        name: File name without folders, or the name of a model in memory.
        sha256: Of the file's bytes, or of the configuration and weights of a model in memory.
        inner: Computes what the framework has inside, by the graph's names: as much as it can, in
            the framework's order of axes. Slow, and only asked when a network was misread.
    """

    graph: Graph
    run: Callable[[tuple[Array, ...]], tuple[Array, ...]]
    name: str
    sha256: str
    inner: Callable[[tuple[Array, ...]], Mapping[str, Array]] | None = None


InputShapes = Mapping[str, tuple[int, ...]]
"""Sizes of one sample, without the batch, by the name of the input; "" for the only one."""


def _read_keras(source: keras.Model | Path, input_shapes: InputShapes) -> Source:
    from .keras import read_keras

    if input_shapes:
        raise ConversionError(
            f"input shapes {dict(input_shapes)}: are given for a Keras model, expected an .onnx "
            "file",
            hint="build the model with keras.Input(shape) of fixed sizes, and load its weights",
        )
    return read_keras(source)


def _read_onnx(path: Path, input_shapes: InputShapes) -> Source:
    from .onnx import read_onnx

    return read_onnx(path, input_shapes)


FRONTENDS: dict[str, Callable[[Path, InputShapes], Source]] = {
    ".keras": _read_keras,
    ".h5": _read_keras,
    ".hdf5": _read_keras,
    ".onnx": _read_onnx,
}


def parse_input_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes in texts such as `3,224,224` or `image=3,224,224`.

    Raises:
        ConversionError: A text says something else, or an input is named twice.
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        parts = sizes.replace("x", ",").split(",")
        if not all(part.strip().isdecimal() and 0 < len(part.strip()) < 10 for part in parts):
            raise ConversionError(
                f"--input-shape {text}: is no list of sizes, expected one such as 3,224,224",
                hint="with several inputs, name each: --input-shape image=3,224,224",
            )
        if name in found:
            raise ConversionError(f"--input-shape {text}: is given twice, expected once per input")
        found[name] = tuple(int(part) for part in parts)
    return found


def read(source: keras.Model | Path | str, input_shapes: InputShapes | None = None) -> Source:
    """Read a trained network.

    Args:
        source: Path of a file with a suffix of FRONTENDS, or a Keras model in memory.
        input_shapes: For an ONNX file that leaves sizes of its inputs open.

    Raises:
        ConversionError: The input shapes do not fit the file.
        FormatError: No such file, another suffix, or a damaged or hostile file.
        UnsupportedOpError: The network has operations without a translation; lists all of them.
    """
    if not isinstance(source, str | Path):
        return _read_keras(source, input_shapes or {})
    path = Path(source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FormatError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}), "
            f"expected a file {' '.join(FRONTENDS)}",
            hint="check the name and its permissions",
        ) from error
    if is_folder:
        raise FormatError(
            f"{path}: is a folder, expected a file {' '.join(FRONTENDS)}",
            hint="save a SavedModel as one file: model.save('name.keras')",
        )
    if not exists:
        raise FormatError(
            f"{path}: no such file, expected a file {' '.join(FRONTENDS)}",
            hint="`spikeport models list` shows the networks that can be given by name",
        )
    if path.suffix.lower() not in FRONTENDS:
        raise FormatError(
            f"{path}: has the suffix {path.suffix!r}, expected {' '.join(FRONTENDS)}",
            hint="save the model as .keras or export it as .onnx",
        )
    return FRONTENDS[path.suffix.lower()](path, input_shapes or {})
