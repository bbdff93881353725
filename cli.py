"""The command line: parse, call one function, print.

Heavy modules are imported inside the commands, so that `spikeport --help` answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from spikeport.converter.frontends import Source
    from spikeport.converter.ir import Graph
    from spikeport.models.arrays import OpenedData
    from spikeport.models.datasets import Data
    from spikeport.runtime.early_exit import Calibration
    from spikeport.runtime.energy import Constants
    from spikeport.runtime.evaluate import Evaluation
    from spikeport.runtime.sweep.cluster import Cluster

RECIPE_HELP = (
    "rate, light, fitted, classic, diehl, exact, integer or graded; `spikeport recipes` says "
    "what they do."
)
KEEP_HELP = "Keep a node without a spiking translation analog; repeatable."
COMPILE_SECONDS = 0.3
"""How often to look whether kernels are being compiled."""
FORMAT_HELP = "snn, onnx, onnx-step, c or nir; docs/exports.md says what each can hold."
DATA_HELP = "fashion-mnist:test, fashion-mnist:train, an .npz with x (and y), or a folder of images"
OUTPUT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
SCHEDULER_HELP = "Simulate on a Dask cluster, as tcp://host:8786."
SHAPE_HELP = (
    "Sizes that an .onnx file leaves open, such as 3,224,224; several inputs: NAME=3,224,224."
)
DEMO_MODEL, DEMO_SAMPLES, DEMO_STEPS = "lenet", 200, 64


class _Commands(click.Group):
    """Prints spikeport's own errors as one message and a hint, exit code 1, without a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        if sys.stdout is None:  # Python's way to say that its caller closed it
            click.echo("Error: standard output: is closed, expected an open one", err=True)
            click.echo("Hint: send it to /dev/null if it is of no use", err=True)
            sys.exit(1)
        try:
            return super().main(*args, **options)
        except OSError as error:
            # Files are spikeport's own errors; what has no file name is the standard output.
            if error.errno not in OUTPUT_ERRORS or error.filename is not None:
                raise
            _drop_output()
            click.echo(f"Error: standard output: {error.strerror}", err=True)
            click.echo("Hint: free some space, or send the output to another place", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        from spikeport.converter.errors import SpikeportError

        try:
            return super().invoke(ctx)
        except SpikeportError as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"Error: {error}", err=True)
            if error.hint:
                click.echo(f"Hint: {error.hint}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="spikeport")
def main(debug: bool) -> None:
    """Turn trained Keras and ONNX networks into spiking networks, and measure them.

    MODEL is a .keras, .h5 or .onnx file, or the name of a shipped network (spikeport models list).
    DATA is fashion-mnist:test, fashion-mnist:train, an .npz with x and optionally y, or a folder
    with one sub-folder of images per class.

    \b
    Example:
      spikeport convert lenet --calibration fashion-mnist:train -o lenet.snn
      spikeport evaluate lenet.snn --data fashion-mnist:test --ann lenet --limit 200
    """  # noqa: D301
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _drop_output() -> None:
    """Let what is still buffered go nowhere: Python would try to write it again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how data are read; the command gets them as `reading`."""

    @functools.wraps(command)
    def gathered(*, input_scale: float | None, input_offset: float | None, **others: Any) -> Any:
        flags = {name: others.pop(name) for name in ("shipped", "skip_broken")}
        reading = {"scale": input_scale, "offset": input_offset, **flags}
        return command(reading=reading, **others)

    for option in (
        click.option("--skip-broken", is_flag=True, help="Leave out images that cannot be read."),
        click.option("--shipped", is_flag=True, help="Named data: only the shipped subset."),
        click.option("--input-offset", type=float, help="Added to the inputs behind the scale."),
        click.option("--input-scale", type=float, help="Factor; default: the .snn file's, or 1."),
    ):
        gathered = option(gathered)
    return gathered


@main.command()
@click.argument("model")
@click.option("--keep-analog", multiple=True, metavar="NODE", help=KEEP_HELP)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(model: str, keep_analog: tuple[str, ...], shapes: tuple[str, ...], as_json: bool) -> None:
    """Say what every node of MODEL becomes, without data.

    Exit code 0 if it can be converted, 1 if not; every reason is listed at once.

    \b
    Example:
      spikeport check lenet
    """  # noqa: D301
    import dataclasses

    from spikeport.converter.check import check as find
    from spikeport.converter.check import findings_of, hint_of, refusals
    from spikeport.converter.errors import UnsupportedOpError
    from spikeport.runtime.report.text import make_table

    try:
        findings = find(_read(model, shapes), keep_analog)
        refused = refusals(findings)
        hint = hint_of(findings)
    except UnsupportedOpError as error:
        if not error.reasons:
            raise
        findings, refused = findings_of(error), error.reasons
        hint = "take them out of the network, or replace them; docs/reading.md says what is read"
        if "--input-shape" in (error.hint or ""):
            hint = str(error.hint)
    if as_json:
        nodes = [dataclasses.asdict(finding) for finding in findings]
        click.echo(json.dumps({"convertible": not refused, "nodes": nodes, "reasons": refused}))
    else:
        headings = ["node", "op", "becomes", "status", "note"]
        rows = [[f.node, f.op, f.becomes, f.status, f.note] for f in findings]
        _console().print(make_table(headings, rows))
        counts = Counter(finding.status for finding in findings)
        shown = ", ".join(f"{count} {status}" for status, count in counts.items())
        click.echo(f"{model}: can{'not' if refused else ''} be converted; nodes: {shown}")
        if refused:
            click.echo(f"Hint: {hint}", err=True)
    click.get_current_context().exit(1 if refused else 0)


@main.command()
@click.argument("model")
@click.option("--calibration", required=True, metavar="DATA", help=DATA_HELP)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.snn")
@click.option("--recipe", default="rate", show_default=True, help=RECIPE_HELP)
@click.option("--n-steps", default=64, show_default=True, help="T that the network is meant for.")
@click.option("--calibration-samples", default=1000, show_default=True, help="The first so many.")
@click.option("--set", "settings", multiple=True, metavar="PASS.OPTION=VALUE", help="Repeatable.")
@click.option("--keep-analog", multiple=True, metavar="NODE", help=KEEP_HELP)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
@_input_options
def convert(
    model: str,
    calibration: str,
    output: Path,
    recipe: str,
    n_steps: int,
    calibration_samples: int,
    settings: tuple[str, ...],
    keep_analog: tuple[str, ...],
    shapes: tuple[str, ...],
    reading: dict[str, Any],
) -> None:
    """Turn MODEL into a spiking graph.

    \b
    Example:
      spikeport convert lenet --calibration fashion-mnist:train -o lenet.snn
      spikeport convert lenet --calibration fashion-mnist:train -o lenet.snn \\
          --set normalize_for_rates.clipped=10
    """  # noqa: D301
    from spikeport.converter.convert import convert as run
    from spikeport.converter.exports.snn import write_snn
    from spikeport.converter.files import check_output
    from spikeport.converter.recipes import choose_options, parse_options

    check_output(output, suffixes=(".snn",))
    options = parse_options(settings)
    choose_options(recipe, options)
    source = _read(model, shapes)
    data = _load(calibration, source.graph, calibration_samples, labels=False, **reading)
    with _status("reading") as show:
        conversion = run(
            source,
            data.inputs,
            recipe=recipe,
            n_steps=n_steps,
            options=options,
            keep_analog=keep_analog,
            calibration_name=data.name,
            preprocessing=_resolve(source.graph, reading),
            progress=show,
        )
    digest = write_snn(conversion.graph, output)
    for entry in conversion.log:
        error = "" if entry.relative_error is None else f"relative error {entry.relative_error:.1e}"
        click.echo(f"{entry.step:24} {entry.n_nodes:4} nodes {entry.seconds:7.2f} s  {error}")
    click.echo(f"calibrated on {data.name}")
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")


@main.command()
@click.argument("snn", type=click.Path(path_type=Path))
@click.option("--data", required=True, help=DATA_HELP)
@click.option("--ann", metavar="MODEL", help="The source network, to compare with.")
@click.option("--n-steps", type=int, help="T; default: the file's.")
@click.option("--limit", type=int, help="Only the first so many samples.")
@click.option("--batch-size", default=100, show_default=True, help="Samples at a time.")
@click.option("--engine", default="event", show_default=True, help="event, reference or counts.")
@click.option("--threads", type=int, help="Samples at the same time.  [default: every core]")
@click.option("--scheduler", metavar="ADDRESS", help=SCHEDULER_HELP)
@click.option("--json", "json_file", metavar="FILE", help="Write the figures as JSON; - prints.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page: OUT.html.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder: figures as SVG and PNG.")
@click.option("--energy", multiple=True, metavar="NAME=VALUE", help="A constant; repeatable.")
@click.option("--early-exit", type=float, metavar="LOSS", help="End samples that are certain.")
@click.option("--exit-data", metavar="DATA", help="Held back, to find out what certain is.")
@click.option("--exit-samples", default=5000, show_default=True, help="Of it, at most so many.")
@click.option("--exit-every", default=4, show_default=True, help="Steps between two looks.")
@_input_options
def evaluate(
    snn: Path,
    data: str,
    ann: str | None,
    n_steps: int | None,
    limit: int | None,
    batch_size: int,
    engine: str,
    threads: int | None,
    scheduler: str | None,
    json_file: str | None,
    report: Path | None,
    plots: Path | None,
    energy: tuple[str, ...],
    early_exit: float | None,
    exit_data: str | None,
    exit_samples: int,
    exit_every: int,
    reading: dict[str, Any],
) -> None:
    """Simulate a spiking graph on DATA: accuracy at every step, spikes, operations.

    --early-exit LOSS ends a sample when its leading class leads by enough, which is found out on
    --exit-data, so that the share of right decisions falls by at most LOSS (0.001: one sample in a
    thousand) there.

    \b
    Example:
      spikeport evaluate lenet.snn --data fashion-mnist:test --ann lenet --limit 200
      spikeport evaluate lenet.snn --data fashion-mnist:test --ann lenet --limit 200 \\
          --report lenet.html
    """  # noqa: D301
    from spikeport.converter.exports.snn import read_snn
    from spikeport.converter.files import sha256_of, write_atomically
    from spikeport.converter.ir.types import DEFAULT_N_STEPS
    from spikeport.runtime.early_exit import ExitRule
    from spikeport.runtime.energy import parse_constants
    from spikeport.runtime.evaluate import check_settings
    from spikeport.runtime.held_back import check_needs

    constants = parse_constants(energy)
    check_needs(early_exit, exit_data)
    ExitRule(0.0, exit_every)
    json_path = None if json_file in {None, "-"} else Path(str(json_file))
    _check_targets({"--json": json_path, "--report": report}, (snn, data, ann, exit_data))
    if plots is not None:
        from spikeport.runtime.report.html import check_folder

        check_folder(plots)
    settings: dict[str, Any] = {"batch_size": batch_size, "engine": engine, "n_threads": threads}
    check_settings(n_steps=DEFAULT_N_STEPS if n_steps is None else n_steps, **settings)
    graph = read_snn(snn)
    source = None if ann is None else _read_ann(ann, graph, snn)
    samples = _open(data, graph, limit, **reading)
    calibration, calibrated_on = None, ""
    if early_exit is not None and exit_data is not None:
        taken = graph.metadata.get("calibration", {}).get("n_samples", 0)
        held = _load(exit_data, graph, max(0, exit_samples) + taken, **reading)
        calibration, calibrated_on = _calibrate_exit(
            graph, held, samples, early_exit, n_steps, exit_every, settings
        )
    recorder = None
    if report is not None or plots is not None:
        from spikeport.runtime.report.data import RateRecorder

        recorder = RateRecorder()
    with _connect(scheduler) as cluster:
        if cluster is not None:
            settings.update(cluster.settings(graph, engine))
        evaluation = _evaluate(
            graph, samples, source, n_steps=n_steps, observe=recorder, **settings,
            exit_rule=None if calibration is None else calibration.rule,
        )  # fmt: skip
    result = evaluation.to_json(
        graph=sha256_of(snn), data=samples.name, seed=None, constants=constants
    )
    if calibration is not None:
        result["early_exit"]["calibration"] = {"data": calibrated_on, **calibration.to_json()}
    if recorder is not None:
        from spikeport.runtime.report.data import gather
        from spikeport.runtime.report.html import make_folder, render, save_figures

        with _status("report") as show:
            content = gather(
                graph, evaluation, samples.inputs, title=f"{snn.name} on {samples.name}",
                constants=constants, ann=None if source is None else source.graph,
                rates=recorder.rates, calibration=calibration, n_threads=threads, progress=show,
                provenance=_provenance(graph, result, calibrated_on),
            )  # fmt: skip
            files = {} if plots is None else save_figures(content, plots)
            if report is not None:
                files[report] = render(content).encode()
        if plots is not None:
            make_folder(plots)
        for path, content_of in files.items():
            write_atomically(path, content_of)
    if json_file == "-":
        click.echo(json.dumps(result))
        return
    if json_path is not None:
        write_atomically(json_path, (json.dumps(result, indent=2) + "\n").encode())
    _print_evaluation(f"{snn} on {samples.name}", evaluation, constants)


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--step", type=int, help="Read out after so many steps.  [default: the last]")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder: overlays as SVG and PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(files: tuple[Path, ...], step: int | None, plots: Path | None, as_json: bool) -> None:
    """Compare evaluations of the same samples with the first one, sample by sample.

    FILES are what `spikeport evaluate --json FILE` wrote. McNemar's exact test says whether a
    difference is more than chance; its p-values are adjusted for the number of comparisons (Holm).

    \b
    Example:
      spikeport compare a.json b.json --plots figures
    """  # noqa: D301
    from spikeport.converter.files import read_bounded, write_atomically
    from spikeport.runtime.compare_runs import compare_runs
    from spikeport.runtime.report.text import runs_table
    from spikeport.runtime.results import MAX_FILE, read_run

    if plots is not None:
        from spikeport.runtime.report.html import check_folder

        check_folder(plots)
    runs = [read_run(str(path), read_bounded(path, MAX_FILE)) for path in files]
    compared = compare_runs(runs, step=step)
    if plots is not None:
        from spikeport.runtime.report.html import make_folder
        from spikeport.runtime.report.overlay import draw_overlays

        pictures = draw_overlays(runs)
        make_folder(plots)
        for name, content in pictures.items():
            write_atomically(plots / name, content)
    if as_json:
        click.echo(json.dumps([entry.to_json() for entry in compared]))
        return
    _console().print(runs_table(compared))
    click.echo(f"{compared[0].n_samples:,} samples: {runs[0].document.get('data')}")


@main.command()
@click.argument("snn", type=click.Path(path_type=Path))
@click.option("--ann", required=True, metavar="MODEL", help="The source network.")
@click.option("--data", required=True, help=DATA_HELP)
@click.option("--n-steps", type=int, help="T; default: the file's.")
@click.option("--limit", default=200, show_default=True, help="Only the first so many samples.")
@click.option("--engine", default="event", show_default=True, help="event, reference or counts.")
@click.option("--threads", type=int, help="Samples at the same time.  [default: every core]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_input_options
def explain(
    snn: Path,
    ann: str,
    data: str,
    n_steps: int | None,
    limit: int,
    engine: str,
    threads: int | None,
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Say which layer of a spiking graph costs the accuracy, why, and what helps.

    Splits the difference between firing rates and the source's activations into clipping,
    quantisation, resets, uneven spikes, and what comes from earlier layers.

    \b
    Example:
      spikeport explain lenet.snn --ann lenet --data fashion-mnist:test
    """  # noqa: D301
    from spikeport.converter.exports.snn import read_snn
    from spikeport.converter.ir.types import DEFAULT_N_STEPS
    from spikeport.runtime.evaluate import check_settings
    from spikeport.runtime.explain import BATCH_SIZE
    from spikeport.runtime.explain import explain as run
    from spikeport.runtime.report.text import explanation_table

    graph = read_snn(snn)
    if n_steps is None:
        n_steps = graph.metadata.get("n_steps", DEFAULT_N_STEPS)
    settings: dict[str, Any] = {"n_steps": n_steps, "engine": engine, "n_threads": threads}
    check_settings(batch_size=BATCH_SIZE, **settings)
    source = _read_ann(ann, graph, snn)
    samples = _load(data, graph, limit, labels=False, **reading)
    with _progress("simulating", len(samples.inputs[0])) as show:
        found = run(graph, source.graph, samples.inputs, progress=show, **settings)
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    click.echo(found.sentence)
    click.echo(f"{snn} on {samples.name}, {found.n_samples} samples, T = {found.n_steps}")
    _console().print(explanation_table(found))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--store", required=True, type=click.Path(path_type=Path), help="RESULTS.sqlite")
@click.option("--threads", type=int, help="Samples at the same time.  [default: every core]")
@click.option("--scheduler", metavar="ADDRESS", help=SCHEDULER_HELP)
def sweep(file: Path, store: Path, threads: int | None, scheduler: str | None) -> None:
    """Convert and evaluate every combination of settings in FILE that the store lacks.

    Every finished cell is kept at once: after an interruption the same command goes on. FILE is
    TOML; a list of values is an axis, every [[grid]] has a cell per combination (docs/sweeps.md).

    \b
    Example:
      spikeport sweep sweep.toml --store results.sqlite
    """  # noqa: D301
    from spikeport.runtime.simulation import check_threads
    from spikeport.runtime.sweep.cells import run_sweep
    from spikeport.runtime.sweep.spec import read_sweep
    from spikeport.runtime.sweep.store import open_store

    if threads is not None:
        check_threads(threads)
    cells = read_sweep(file)
    with (
        open_store(store, create=True) as opened,
        _connect(scheduler) as cluster,
        _progress("cells", len(cells)) as show,
    ):
        outcome = run_sweep(cells, opened, n_threads=threads, cluster=cluster, progress=show)
    for cell, message in outcome.failures.items():
        click.echo(f"Error: {cell}: {message}", err=True)
    click.echo(
        f"{store}: {outcome.n_done} cells done, {outcome.n_known} were there, "
        f"{len(outcome.failures)} failed"
    )
    click.get_current_context().exit(1 if outcome.failures else 0)


@main.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Only such rows. Repeatable.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
def results(store: Path, where: tuple[str, ...], as_csv: bool) -> None:
    """Print the results that a sweep has put into STORE.

    \b
    Example:
      spikeport results results.sqlite --where recipe=rate --csv
    """  # noqa: D301
    from spikeport.runtime.report.text import make_table
    from spikeport.runtime.sweep.store import open_store
    from spikeport.runtime.sweep.table import format_rows, tabulate, to_csv

    with open_store(store, create=False) as opened:
        table = tabulate(opened.rows(), where)
    if as_csv:
        click.echo(to_csv(table), nl=False)
        return
    _console().print(make_table(*format_rows(table)))


@main.command()
@click.argument("file", type=str)
@click.option("--input-shape", "shapes", multiple=True, metavar="SIZES", help=SHAPE_HELP)
def inspect(file: str, shapes: tuple[str, ...]) -> None:
    """Print a graph: nodes, shapes, parameters, and where it comes from.

    FILE is an .snn, .keras, .h5 or .onnx file, or the name of a shipped network.

    \b
    Example:
      spikeport inspect lenet
    """  # noqa: D301
    from spikeport.converter.exports.snn import read_snn
    from spikeport.converter.ir.analog import analog_nodes
    from spikeport.converter.ir.text import count_parameters, format_graph

    is_spiking = Path(file).suffix.lower() == ".snn"
    graph = read_snn(Path(file)) if is_spiking else _read(file, shapes).graph
    click.echo(format_graph(graph))
    click.echo(f"parameters: {count_parameters(graph):,}")
    if is_spiking and analog_nodes(graph):
        click.echo(f"stays analog: {', '.join(analog_nodes(graph))}")
    for key, value in graph.metadata.items():
        click.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "format_name", required=True, metavar="FORMAT", help=FORMAT_HELP)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="FILE")
@click.option("--lossy", is_flag=True, help="Write also what loses part of the meaning; say what.")
@click.option("--rewrite", "rewrites", multiple=True, help="nir: another spelling; repeatable.")
def export(
    file: Path, format_name: str, output: Path, lossy: bool, rewrites: tuple[str, ...]
) -> None:
    """Write a spiking graph for other tools: ONNX, NIR, C (docs/exports.md).

    What a format cannot say is refused, with all reasons at once.

    \b
    Example:
      spikeport export lenet.snn --to onnx -o lenet.onnx
    """  # noqa: D301
    from spikeport.converter.errors import FormatError
    from spikeport.converter.exports import export as run
    from spikeport.converter.exports.snn import read_snn

    if output.exists() and file.exists() and output.samefile(file):
        raise FormatError(
            f"{output}: is the file to read, expected another name",
            hint="nothing was written; give another name with -o",
        )
    written = run(read_snn(file), format_name, output, lossy=lossy, rewrites=rewrites)
    for note in written.notes:
        click.echo(f"note: {note}")
    for loss in written.losses:
        click.echo(f"lost: {loss}")
    for suffix, data in written.files.items():
        click.echo(f"{output.with_suffix(suffix)}: {len(data):,} bytes")


@main.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.snn")
@click.option("--dt", type=float, help="Length of a time step.  [default: the file's, else 1]")
def import_file(file: Path, output: Path, dt: float | None) -> None:
    """Read a spiking network of another tool: FILE.nir.

    \b
    Example:
      spikeport import network.nir -o network.snn
    """  # noqa: D301
    from spikeport.converter.exports.snn import write_snn
    from spikeport.converter.files import check_output
    from spikeport.converter.imports import read_graph

    check_output(output, suffixes=(".snn",))
    graph = read_graph(file, dt=dt)
    digest = write_snn(graph, output)
    click.echo(f"a time step is dt = {graph.metadata['imported']['dt']:g}")
    click.echo(f"{output}: {output.stat().st_size:,} bytes, sha256 {digest[:16]}")


@main.command()
@click.argument("snn", type=click.Path(path_type=Path))
@click.option("--data", required=True, help=DATA_HELP)
@click.option("--sample", default=0, show_default=True, help="Its number in DATA, from 0.")
@click.option("--nodes", multiple=True, metavar="NAME", help="Repeatable, or with commas between.")
@click.option("--neurons", default=100, show_default=True, help="At most so many of every node.")
@click.option("--n-steps", type=int, help="T; default: the file's.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.npz")
@_input_options
def trace(
    snn: Path,
    data: str,
    sample: int,
    nodes: tuple[str, ...],
    neurons: int,
    n_steps: int | None,
    output: Path,
    reading: dict[str, Any],
) -> None:
    """Follow one sample: spikes, membrane potentials and the running decision.

    Writes OUT.npz, and the picture beside it as OUT.svg and OUT.png. Without --nodes, every layer
    of neurons.

    \b
    Example:
      spikeport trace lenet.snn --data fashion-mnist:test --sample 3 -o sample3.npz
    """  # noqa: D301
    from spikeport.converter.exports.snn import read_snn
    from spikeport.converter.files import check_output, write_atomically
    from spikeport.converter.ir.types import DEFAULT_N_STEPS
    from spikeport.runtime.report.tracks import draw_trace
    from spikeport.runtime.trace import check_sample, choose_nodes, to_npz
    from spikeport.runtime.trace import trace as run

    check_output(output, suffixes=[".npz"])
    for suffix in (".svg", ".png"):
        check_output(output.with_suffix(suffix))
    graph = read_snn(snn)
    names = _split_names(nodes, graph)
    choose_nodes(graph, names)
    samples = _open(data, graph, None, **reading)
    check_sample(sample, len(samples.inputs[0]))
    found = run(
        graph,
        tuple(array[sample : sample + 1] for array in samples.inputs),
        n_steps=graph.metadata.get("n_steps", DEFAULT_N_STEPS) if n_steps is None else n_steps,
        nodes=names,
        n_neurons=neurons,
        sample=sample,
        label=None if samples.labels is None else int(samples.labels[sample]),
    )
    write_atomically(output, to_npz(found))
    for suffix, picture in draw_trace(found).items():
        write_atomically(output.with_suffix(suffix), picture)
    truth = "" if found.label is None else f", its class is {found.label}"
    click.echo(f"{samples.name}: sample {sample} is decided for {found.decisions[-1]}{truth}")
    for number, node in enumerate(found.nodes):
        click.echo(f"{number}: {node.name}, {len(node.chosen):,} of {node.n_neurons:,} neurons")
    click.echo(f"{output} and the .svg and .png beside it")


@main.command()
def recipes() -> None:
    """List the recipes, their passes and the options that --set changes.

    \b
    Example:
      spikeport recipes
    """  # noqa: D301
    from spikeport.converter.recipes import RECIPES, choose_options, format_value

    for name, recipe in RECIPES.items():
        click.echo(f"{name}: {recipe.summary} ({recipe.source})")
        for pass_name, options in choose_options(name).items():
            shown = [f"{key}={format_value(value)}" for key, value in options.items()]
            click.echo(" ".join(["  " + pass_name, *shown]))


@main.group()
def models() -> None:
    """List, show or train the shipped networks.

    \b
    Example:
      spikeport models list
    """  # noqa: D301


@models.command("list")
def list_models() -> None:
    """List the shipped networks and what they reached.

    \b
    Example:
      spikeport models list
    """  # noqa: D301
    from spikeport.models.registry import MODELS, training_record
    from spikeport.runtime.report.text import make_table, percent

    rows = []
    for name, model in MODELS.items():
        record = training_record(name)
        accuracy = [percent(share) for share in record["accuracy"].values()]
        rows.append([name, model.summary, f"{record['n_parameters']:,}", *accuracy])
    headings = ["name", "network", "parameters", "training accuracy", "test accuracy"]
    _console().print(make_table(headings, rows))


@models.command("show")
@click.argument("name")
def show_model(name: str) -> None:
    """Print how the shipped network NAME was trained, and its graph.

    \b
    Example:
      spikeport models show lenet
    """  # noqa: D301
    from spikeport.converter.errors import find
    from spikeport.converter.ir.text import format_graph
    from spikeport.models.registry import MODELS, training_record, weights_path

    click.echo(f"{name}: {find(MODELS, name, 'model').summary}")
    click.echo(json.dumps(training_record(name), indent=2))
    click.echo(f"files: {weights_path(name)} and {weights_path(name, '.onnx').name} beside it")
    click.echo(format_graph(_read(name).graph))


@models.command("train")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder.  [default: NAME]")
@click.option("--n-epochs", type=click.IntRange(1), help="Instead of the schedule's number.")
def train_model(name: str, output: Path | None, n_epochs: int | None) -> None:
    """Train the network NAME as the shipped one was: minutes to an hour.

    Needs the 60000 training images of Fashion-MNIST on this machine.

    \b
    Example:
      spikeport models train mlp -o trained
    """  # noqa: D301
    from spikeport.converter.errors import find
    from spikeport.models.registry import MODELS
    from spikeport.models.training import train

    find(MODELS, name, "model")
    path = train(name, folder=output or Path(name), n_epochs=n_epochs)
    click.echo(f"{path} and the .onnx and .json beside it")


@main.command()
def demo() -> None:
    """Convert a shipped network from Keras and from ONNX, evaluate both, print the table.

    \b
    Example:
      spikeport demo
    """  # noqa: D301
    from spikeport.converter.convert import convert as run
    from spikeport.models.registry import weights_path
    from spikeport.runtime.compare import CountRecorder, compare_counts
    from spikeport.runtime.report.text import comparison_table, summary_lines

    evaluations, recorders = {}, []
    for suffix in (".keras", ".onnx"):
        source = _read(str(weights_path(DEMO_MODEL, suffix)))
        samples = _load("fashion-mnist:train", source.graph, None, shipped=True)
        with _status(f"converting {source.name}") as show:
            graph = run(source, samples.inputs, n_steps=DEMO_STEPS, progress=show).graph
        test = _load("fashion-mnist:test", source.graph, DEMO_SAMPLES, shipped=True)
        recorder = CountRecorder()
        evaluations[source.name] = _evaluate(graph, test, source, observe=recorder)
        recorders.append(recorder)
    click.echo(f"{DEMO_MODEL} as a spiking network on {test.name}")
    _console().print(comparison_table(evaluations))
    for name, evaluation in evaluations.items():
        click.echo(f"{name}: {'; '.join(summary_lines(evaluation))}")
    first, second = evaluations.values()
    n_other = int((first.decisions != second.decisions).any(axis=0).sum())
    worst = max(compare_counts(*recorders))
    click.echo(
        f"{' and '.join(evaluations)}: {DEMO_SAMPLES - n_other} of {DEMO_SAMPLES} samples with the "
        f"same decision at every step; at most {100 * worst:.4f} % of a layer's spike counts differ"
    )


@contextlib.contextmanager
def _connect(scheduler: str | None) -> Iterator[Cluster | None]:
    """Yield a connection to a Dask scheduler, None without an address."""
    if scheduler is None:
        yield None
        return
    from spikeport.runtime.sweep.cluster import connect

    with _status(f"connecting to {scheduler}"):
        opened = connect(scheduler)
    with opened as cluster:
        yield cluster


def _read(model: str, shapes: tuple[str, ...] = ()) -> Source:
    from spikeport.converter.frontends import parse_input_shapes, read
    from spikeport.models.registry import find_model

    return read(find_model(model), parse_input_shapes(shapes))


def _read_ann(model: str, graph: Graph, path: Path) -> Source:
    from spikeport.converter.errors import DataError

    converted = graph.metadata.get("source", {})
    source = _read_again(model, converted)
    if converted.get("sha256") != source.sha256:
        raise DataError(
            f"--ann {model}: sha256 {source.sha256[:16]} is not that of the network {path} was "
            f"converted from, expected {str(converted.get('sha256'))[:16]}",
            hint=f"the source was {converted.get('name')}; give that file, or convert again",
        )
    return source


def _read_again(model: str, converted: Mapping[str, Any]) -> Source:
    """Read the network that a graph was converted from, with the input shapes given then."""
    shapes = converted.get("input_shapes")
    if not isinstance(shapes, dict) or Path(model).suffix.lower() != ".onnx":
        return _read(model)
    parts = {name: sizes if isinstance(sizes, list) else [] for name, sizes in shapes.items()}
    return _read(model, tuple(f"{name}={','.join(map(str, s))}" for name, s in parts.items()))


def _load(spec: str, graph: Graph, limit: int | None = None, **reading: Any) -> Data:
    """Read data for a network into memory."""
    from spikeport.models.datasets import load_data

    return load_data(spec, _shapes(graph), limit=limit, **_resolve(graph, reading))


def _open(spec: str, graph: Graph, limit: int | None = None, **reading: Any) -> OpenedData:
    """Open data for a network, to be read in parts."""
    from spikeport.models.datasets import open_data

    return open_data(spec, _shapes(graph), limit=limit, **_resolve(graph, reading))


def _resolve(graph: Graph, reading: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the graph's scale and offset where none are given."""
    from spikeport.converter.convert import read_preprocessing

    given = {key: value for key, value in reading.items() if value is not None}
    return {**read_preprocessing(graph), **given}


def _shapes(graph: Graph) -> tuple[tuple[int, ...], ...]:
    return tuple(graph.types[name].shape for name in graph.inputs)


def _evaluate(
    graph: Graph,
    samples: Data | OpenedData,
    source: Source | None,
    **options: Any,
) -> Evaluation:
    """Evaluate with a progress bar on a terminal."""
    from spikeport.runtime.evaluate import evaluate as run

    with _progress("simulating", len(samples.inputs[0])) as show:
        return run(
            graph,
            samples.inputs,
            samples.labels,
            ann=None if source is None else source.run,
            progress=show,
            **options,
        )


def _split_names(texts: tuple[str, ...], graph: Graph) -> list[str]:
    """Return names of nodes given one by one or with commas between; a name may have commas."""
    names = []
    for text in texts:
        names += [text] if text in graph.by_name else [part for part in text.split(",") if part]
    return list(dict.fromkeys(names))


def _check_targets(targets: dict[str, Path | None], sources: tuple[object, ...]) -> None:
    """Refuse to write where nothing can be written, or over what is read; by option."""
    from spikeport.converter.errors import SpikeportError
    from spikeport.converter.files import check_output

    taken = [Path(str(source)) for source in sources if source is not None]
    taken = [path for path in taken if path.is_file()]
    for option, target in targets.items():
        if target is None:
            continue
        check_output(target, suffixes=[".html", ".htm"] if option == "--report" else ())
        if target.exists() and any(path.samefile(target) for path in taken):
            raise SpikeportError(
                f"{option} {target}: is one of the files to read, expected another name",
                hint=f"nothing was written; give a name that ends in .{option.strip('-')}",
            )


def _calibrate_exit(
    graph: Graph,
    held: Data,
    samples: Data | OpenedData,
    allowed_loss: float,
    n_steps: int | None,
    every: int,
    settings: dict[str, Any],
) -> tuple[Calibration, str]:
    """Calibrate early exit; return it and what it was calibrated on."""
    from spikeport.converter.convert import describe_samples
    from spikeport.converter.ir.types import DEFAULT_N_STEPS
    from spikeport.runtime.held_back import calibrate_exit, check_disjoint, held_back

    skipped = held_back(graph, held.inputs, describe_samples)
    inputs = tuple(array[skipped:] for array in held.inputs)
    labels = None if held.labels is None or samples.labels is None else held.labels[skipped:]
    check_disjoint(inputs, samples.inputs)
    with _progress("calibrating", len(inputs[0])) as show:
        calibration = calibrate_exit(
            graph,
            inputs,
            labels,
            allowed_loss=allowed_loss,
            n_steps=n_steps or graph.metadata.get("n_steps", DEFAULT_N_STEPS),
            every=every,
            progress=show,
            **settings,
        )
    behind = f" without the first {skipped}, which the conversion saw" if skipped else ""
    return calibration, f"{held.name}{behind}"


def _provenance(graph: Graph, result: dict[str, Any], held: str) -> tuple[tuple[str, str], ...]:
    """Return where a result comes from, as pairs of name and value."""
    import platform
    from datetime import UTC, datetime
    from importlib.metadata import version

    source, calibration = graph.metadata.get("source", {}), graph.metadata.get("calibration", {})
    calibrated = f"{calibration.get('name')}, sha256 {calibration.get('sha256')}"
    pairs = {
        "command": _command_line(),
        "network": f"{source.get('name')}, sha256 {source.get('sha256')}",
        "recipe": str(graph.metadata.get("recipe")),
        "passes": json.dumps(graph.metadata.get("passes", [])),
        "spiking graph": f"sha256 {result['graph']}",
        "calibration": calibrated,
        "data": f"{result['data']}, sha256 of the samples {result['samples_sha256']}",
        "early exit calibrated on": held,
        "seed": "none: nothing here is random" if result["seed"] is None else str(result["seed"]),
        "converted with": json.dumps(graph.metadata.get("versions", {})),
        "evaluated with": f"spikeport {version('spikeport')}, numpy {version('numpy')}, "
        f"Python {platform.python_version()} on {platform.machine()}",
        "simulation": f"{result['seconds']:.1f} s in the {result['engine']} engine",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return tuple((name, value) for name, value in pairs.items() if value)


def _command_line() -> str:
    """Return the command as it could be typed again."""
    import shlex

    context = click.get_current_context()
    words = [*context.command_path.split()]
    words[0] = "spikeport"
    for option in context.command.params:
        value = context.params.get(str(option.name))
        if isinstance(option, click.Argument):
            words.append(str(value))
        elif value in {None, False} or value == option.default:
            continue
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [option.opts[0]] if value is True else [option.opts[0], str(one)]
    return shlex.join(words)


def _print_evaluation(title: str, evaluation: Evaluation, constants: Constants) -> None:
    from spikeport.runtime.report import text

    console = _console()
    click.echo(title)
    console.print(text.accuracy_table(evaluation))
    console.print(text.activity_table(evaluation))
    console.print(text.energy_table(evaluation.workload, constants))
    lines = text.workload_lines(evaluation.workload, constants)
    for line in (*lines, *text.summary_lines(evaluation)):
        click.echo(line)


def _console(*, stderr: bool = False) -> Console:
    """A console that does not wrap a table in a pipe, unless its lines are absurdly long."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 1000, highlight=False)


@contextlib.contextmanager
def _status(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done; yield a function that changes the text."""
    console = _console(stderr=True)
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    with console.status(text) as status:
        yield lambda step: status.update(step)


@contextlib.contextmanager
def _progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield a function that sets what is done."""
    if not sys.stderr.isatty():
        yield lambda n_done: None
        return
    import threading

    from rich.progress import Progress

    from spikeport.runtime.engines.event import has_compiled

    with Progress(console=_console(stderr=True)) as bar:
        task = bar.add_task(text, total=total)
        started = threading.Event()

        def explain() -> None:
            while not started.wait(COMPILE_SECONDS):
                if has_compiled():
                    bar.update(task, description="compiling the kernels, once")

        def show(n_done: int) -> None:
            started.set()
            bar.update(task, completed=n_done, description=text)

        threading.Thread(target=explain, daemon=True).start()
        try:
            yield show
        finally:
            started.set()


if __name__ == "__main__":
    main()
