"""How good a spiking graph is: evaluate, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .inputs import (
    CODE_HELP,
    DATA_HELP,
    READ_OUT_HELP,
    SCHEDULER_HELP,
    connect_cluster,
    evaluate_samples,
    input_options,
    load_samples,
    open_samples,
    read_ann,
)
from .screen import make_console, show_progress, show_status

if TYPE_CHECKING:
    from ..converter.ir import Graph
    from ..models.arrays import OpenedData
    from ..models.datasets import Data
    from ..runtime.early_exit import Calibration
    from ..runtime.energy import Constants
    from ..runtime.evaluate import Evaluation


@click.command()
@click.argument("snn", type=click.Path(path_type=Path))
@click.option("--data", required=True, help=DATA_HELP)
@click.option("--ann", metavar="MODEL", help="The source network, to compare with.")
@click.option("--n-steps", type=int, help="T; default: the file's.")
@click.option("--code", default="constant", show_default=True, help=CODE_HELP)
@click.option("--seed", default=0, show_default=True, help="Of a random code.")
@click.option("--read-out", default="potential", show_default=True, help=READ_OUT_HELP)
@click.option("--delay", type=int, help="Steps left out by window.  [default: a quarter]")
@click.option("--limit", type=int, help="Only the first so many samples.")
@click.option("--batch-size", default=100, show_default=True, help="Samples at a time.")
@click.option("--engine", default="event", show_default=True, help="event, reference or counts.")
@click.option("--threads", type=int, help="To simulate on.  [default: every core]")
@click.option("--scheduler", metavar="ADDRESS", help=SCHEDULER_HELP)
@click.option("--json", "json_file", metavar="FILE", help="Write the figures as JSON; - prints.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page: OUT.html.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder: figures as SVG and PNG.")
@click.option("--energy", multiple=True, metavar="NAME=VALUE", help="A constant; repeatable.")
@click.option("--early-exit", type=float, metavar="LOSS", help="End samples that are certain.")
@click.option("--exit-data", metavar="DATA", help="Held back, to find out what certain is.")
@click.option("--exit-samples", default=5000, show_default=True, help="Of it, at most so many.")
@click.option("--exit-every", default=4, show_default=True, help="Steps between two looks.")
@input_options
def evaluate(
    snn: Path,
    data: str,
    ann: str | None,
    n_steps: int | None,
    code: str,
    seed: int,
    read_out: str,
    delay: int | None,
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
      spikeport evaluate lenet.snn --data fashion-mnist:test --code poisson --seed 1 --limit 200
      spikeport evaluate lenet.snn --data fashion-mnist:test --ann lenet --limit 200 \\
          --report lenet.html
    """  # noqa: D301
    from ..converter.exports.snn import read_snn
    from ..converter.files import sha256_of, write_atomically
    from ..converter.ir.types import DEFAULT_N_STEPS
    from ..runtime.checks import check_settings
    from ..runtime.decoding import make_decoder
    from ..runtime.early_exit import ExitRule
    from ..runtime.encoding import Recorded, is_over_time, make_encoder
    from ..runtime.energy import parse_constants
    from ..runtime.held_back import check_needs
    from ..runtime.schedule import check_run

    constants = parse_constants(energy)
    check_needs(early_exit, exit_data)
    ExitRule(0.0, exit_every)
    encoder, decoder = make_encoder(code, seed), make_decoder(read_out, delay)
    json_path = None if json_file in {None, "-"} else Path(str(json_file))
    _check_targets({"--json": json_path, "--report": report}, (snn, data, ann, exit_data))
    if plots is not None:
        from ..runtime.report.html import check_folder

        check_folder(plots)
    settings: dict[str, Any] = {"batch_size": batch_size, "engine": engine, "n_threads": threads}
    check_settings(n_steps=DEFAULT_N_STEPS if n_steps is None else n_steps, **settings)
    settings["encoder"] = encoder
    graph = read_snn(snn)
    if early_exit is not None:  # before data are read and the ANN is
        check_run(graph, n_steps or 1, early_exit=True)
    source = None if ann is None else read_ann(ann, graph, snn)
    reading |= {"n_steps": n_steps, "over_time": is_over_time(code)}
    samples = open_samples(data, graph, limit, **reading)
    if isinstance(encoder, Recorded) and samples.spiking:
        encoder = settings["encoder"] = Recorded(binary=True)
    calibration, calibrated_on = None, ""
    if early_exit is not None and exit_data is not None:
        taken = graph.metadata.get("calibration", {}).get("n_samples", 0)
        held = load_samples(exit_data, graph, max(0, exit_samples) + taken, **reading)
        calibration, calibrated_on = _calibrate_exit(
            graph, held, samples, early_exit, n_steps, exit_every, settings
        )
    recorder = None
    if report is not None or plots is not None:
        from ..runtime.report.data import RateRecorder

        recorder = RateRecorder()
    with connect_cluster(scheduler) as cluster:
        if cluster is not None:
            settings.update(cluster.settings(graph, engine, encoder))
        evaluation = evaluate_samples(
            graph, samples, source, n_steps=n_steps, observe=recorder, **settings,
            decoder=decoder,
            exit_rule=None if calibration is None else calibration.rule,
        )  # fmt: skip
    result = evaluation.to_json(graph=sha256_of(snn), data=samples.name, constants=constants)
    if calibration is not None:
        result["early_exit"]["calibration"] = {"data": calibrated_on, **calibration.to_json()}
    if recorder is not None:
        from ..runtime.report.data import gather
        from ..runtime.report.html import make_folder, render, save_figures

        with show_status("report") as show:
            content = gather(
                graph, evaluation, samples.inputs, title=f"{snn.name} on {samples.name}",
                constants=constants, ann=None if source is None else source.graph,
                rates=recorder.rates, calibration=calibration, n_threads=threads, progress=show,
                encoder=encoder,
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


@click.command()
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
    from ..converter.files import read_bounded, write_atomically
    from ..runtime.compare_runs import compare_runs
    from ..runtime.report.text import runs_table
    from ..runtime.results import MAX_FILE, read_run

    if plots is not None:
        from ..runtime.report.html import check_folder

        check_folder(plots)
    runs = [read_run(str(path), read_bounded(path, MAX_FILE)) for path in files]
    compared = compare_runs(runs, step=step)
    if plots is not None:
        from ..runtime.report.html import make_folder
        from ..runtime.report.overlay import draw_overlays

        pictures = draw_overlays(runs)
        make_folder(plots)
        for name, content in pictures.items():
            write_atomically(plots / name, content)
    if as_json:
        click.echo(json.dumps([entry.to_json() for entry in compared]))
        return
    make_console().print(runs_table(compared))
    click.echo(f"{compared[0].n_samples:,} samples: {runs[0].document.get('data')}")


def _check_targets(targets: dict[str, Path | None], sources: tuple[object, ...]) -> None:
    """Refuse to write where nothing can be written, or over what is read; by option."""
    from ..converter.errors import SpikeportError
    from ..converter.files import check_output

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
    from ..converter.convert import describe_samples
    from ..converter.ir.types import DEFAULT_N_STEPS
    from ..runtime.held_back import calibrate_exit, check_disjoint, check_enough, held_back

    skipped = held_back(graph, held.inputs, describe_samples)
    inputs = tuple(array[skipped:] for array in held.inputs)
    check_enough(len(inputs[0]), skipped)
    labels = None if held.labels is None or samples.labels is None else held.labels[skipped:]
    check_disjoint(inputs, samples.inputs)
    with show_progress("calibrating", len(inputs[0])) as show:
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
        "passes": _passes(graph.metadata.get("passes")),
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


def _passes(entries: Any) -> str:
    """Return what a graph's metadata say about its passes, as name(option=value, ...)."""
    try:
        texts = [
            f"{entry['name']}({', '.join(f'{key}={value}' for key, value in options.items())})"
            for entry in entries
            for options in [entry["options"]]
        ]
    except (TypeError, LookupError, AttributeError):  # another program's file
        return json.dumps(entries)
    return ", ".join(texts)


def _command_line() -> str:
    """Return the command as it could be typed again."""
    import shlex

    context = click.get_current_context()
    words = ["spikeport", str(context.info_name)]
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
    from ..runtime.report import text

    console = make_console()
    click.echo(title)
    console.print(text.accuracy_table(evaluation))
    console.print(text.activity_table(evaluation))
    console.print(text.energy_table(evaluation.workload, constants))
    lines = text.workload_lines(evaluation.workload, constants)
    for line in (*lines, *text.summary_lines(evaluation)):
        click.echo(line)
