"""To other tools and from them: export, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .inputs import read_model

if TYPE_CHECKING:
    from ..converter.ir import Graph

FORMAT_HELP = "snn, onnx, onnx-step, c, nir or keras; docs/exports.md says what each can hold."
ANALOG_PASSES = ("remove_no_ops", "fold_batch_norm")
"""What is done to a trained network that is written as it is: nothing that changes outputs."""


@click.command()
@click.argument("file")
@click.option("--to", "format_name", required=True, metavar="FORMAT", help=FORMAT_HELP)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="FILE")
@click.option("--lossy", is_flag=True, help="Write also what loses part of the meaning; say what.")
@click.option("--rewrite", "rewrites", multiple=True, help="nir: another spelling; repeatable.")
def export(
    file: str, format_name: str, output: Path, lossy: bool, rewrites: tuple[str, ...]
) -> None:
    """Write a graph for other tools: ONNX, NIR, C, Keras (docs/exports.md).

    FILE is OUT.snn, or a trained network, whose batch norm is folded. What a format cannot say is
    refused, with all reasons at once.

    \b
    Example:
      spikeport export lenet.snn --to onnx -o lenet.onnx
    """  # noqa: D301
    from ..converter.errors import FormatError
    from ..converter.exports import export as run
    from ..converter.frontends.keras.run import start_keras

    if output.exists() and Path(file).exists() and output.samefile(file):
        raise FormatError(
            f"{output}: is the file to read, expected another name",
            hint="nothing was written; give another name with -o",
        )
    if format_name == "keras":
        start_keras()
    written = run(_read(file), format_name, output, lossy=lossy, rewrites=rewrites)
    for note in written.notes:
        click.echo(f"note: {note}")
    for loss in written.losses:
        click.echo(f"lost: {loss}")
    for suffix, data in written.files.items():
        click.echo(f"{output.with_suffix(suffix)}: {len(data):,} bytes")


def _read(file: str) -> Graph:
    from ..converter.exports.snn import read_snn
    from ..converter.passes import PASSES

    if Path(file).suffix.lower() == ".snn":
        return read_snn(Path(file))
    graph = read_model(file).graph
    for name in ANALOG_PASSES:
        graph = PASSES[name](graph)
    return graph


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.snn")
@click.option("--dt", type=float, help="Length of a time step.  [default: the file's, else 1]")
def import_file(file: Path, output: Path, dt: float | None) -> None:
    """Read a spiking network of another tool: FILE.nir.

    \b
    Example:
      spikeport import network.nir -o network.snn
    """  # noqa: D301
    from ..converter.exports.snn import write_snn
    from ..converter.files import check_output
    from ..converter.imports import read_graph

    check_output(output, suffixes=(".snn",))
    graph = read_graph(file, dt=dt)
    digest = write_snn(graph, output)
    click.echo(f"a time step is dt = {graph.metadata['imported']['dt']:g}")
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")
