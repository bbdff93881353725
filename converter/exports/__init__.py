"""From a graph to a file: FORMATS, the table by name, and `export`, which writes one.

A writer says what its format can: a round trip, or a refusal that lists every reason at once. With
`lossy` it writes what can still be written, and says what is lost on the screen and in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError, SpikeportError, find
from ..files import check_output, write_atomically
from ..ir import Graph
from .snn import encode_graph
from .translation import Export


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        summary: For people.
        suffix: Of the file that is named; others lie beside it.
        encode: Returns the files of a graph; raises SpikeportErrors. `lossy` allows losses.
        rewrites: Whether `encode` takes `rewrites`.
    """

    summary: str
    suffix: str
    encode: Callable[..., Export]
    rewrites: bool = False


def _encode_snn(graph: Graph, stem: str, lossy: bool) -> Export:
    return Export({".snn": encode_graph(graph)})


def _encode_onnx(graph: Graph, stem: str, lossy: bool) -> Export:
    from .onnx import encode_run

    return encode_run(graph)


def _encode_onnx_step(graph: Graph, stem: str, lossy: bool) -> Export:
    from .onnx import encode_step

    return encode_step(graph)


def _encode_c(graph: Graph, stem: str, lossy: bool) -> Export:
    from .c import encode_c

    return encode_c(graph, stem)


def _encode_nir(graph: Graph, stem: str, lossy: bool, rewrites: tuple[str, ...] = ()) -> Export:
    from .nir import encode_nir

    return encode_nir(graph, lossy=lossy, rewrites=rewrites)


def _encode_keras(graph: Graph, stem: str, lossy: bool) -> Export:
    from .keras import encode_keras

    return encode_keras(graph, lossy=lossy)


FORMATS: dict[str, Format] = {
    "snn": Format("spikeport's own file", ".snn", _encode_snn),
    "onnx": Format("ONNX model of a whole run", ".onnx", _encode_onnx),
    "onnx-step": Format("ONNX model of one step, with its states", ".onnx", _encode_onnx_step),
    "c": Format("C99, an integer graph as a .c and a .h", ".c", _encode_c),
    "nir": Format("NIR, for other simulators", ".nir", _encode_nir, rewrites=True),
    "keras": Format("plain Keras model of the analog network", ".keras", _encode_keras),
}


def export(
    graph: Graph, name: str, path: Path, *, lossy: bool = False, rewrites: tuple[str, ...] = ()
) -> Export:
    """Write a graph in another format; every file is complete, or none was touched.

    Args:
        graph: As `read_snn` gives it.
        name: A key of FORMATS.
        path: Where to, with the format's suffix; an existing file is replaced.
        rewrites: Other spellings of the same graph, of formats that have some.
        lossy: Write also what loses part of the meaning; the result says what.

    Raises:
        UnsupportedOpError: The format cannot say what the graph means; lists all reasons.
        FormatError: No such format, another suffix, or not writable.
    """
    chosen: Format = find(FORMATS, name, "format", FormatError)
    check_output(path, suffixes=(chosen.suffix,))
    if rewrites and not chosen.rewrites:
        raise FormatError(
            f"--rewrite {rewrites[0]}: {name} has no rewrites, expected none",
            hint="nir has some, docs/exports.md lists them",
        )
    options = {"rewrites": rewrites} if chosen.rewrites else {}
    try:
        result = chosen.encode(graph, path.stem, lossy, **options)
    except SpikeportError as error:
        raise error.at(str(path)) from error
    for suffix, data in reversed(result.files.items()):
        write_atomically(path.with_suffix(suffix), data)
    return result
