"""Many evaluations: sweep, results."""

from __future__ import annotations

from pathlib import Path

import click

from .inputs import SCHEDULER_HELP, connect_cluster
from .screen import make_console, show_progress


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--store", required=True, type=click.Path(path_type=Path), help="RESULTS.sqlite")
@click.option("--threads", type=int, help="To simulate on.  [default: every core]")
@click.option("--scheduler", metavar="ADDRESS", help=SCHEDULER_HELP)
def sweep(file: Path, store: Path, threads: int | None, scheduler: str | None) -> None:
    """Convert and evaluate every combination of settings in FILE that the store lacks.

    Every finished cell is kept at once: after an interruption the same command goes on. FILE is
    TOML; a list of values is an axis, every [[grid]] has a cell per combination (docs/sweeps.md).

    \b
    Example:
      spikeport sweep sweep.toml --store results.sqlite
    """  # noqa: D301
    from ..runtime.simulation import check_threads
    from ..runtime.sweep.cells import run_sweep
    from ..runtime.sweep.spec import read_sweep
    from ..runtime.sweep.store import open_store

    if threads is not None:
        check_threads(threads)
    cells = read_sweep(file)
    with (
        open_store(store, create=True) as opened,
        connect_cluster(scheduler) as cluster,
        show_progress("cells", len(cells)) as show,
    ):
        outcome = run_sweep(cells, opened, n_threads=threads, cluster=cluster, progress=show)
    for cell, message in outcome.failures.items():
        click.echo(f"Error: {cell}: {message}", err=True)
    click.echo(
        f"{store}: {outcome.n_done} cells done, {outcome.n_known} were there, "
        f"{len(outcome.failures)} failed"
    )
    click.get_current_context().exit(1 if outcome.failures else 0)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Only such rows. Repeatable.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page: OUT.html.")
def results(store: Path, where: tuple[str, ...], as_csv: bool, report: Path | None) -> None:
    """Print the results that a sweep has put into STORE.

    --report writes a page with every result, and accuracy against steps, operations and energy
    with the front of those that no other one beats.

    \b
    Example:
      spikeport results results.sqlite --where recipe=rate --csv
      spikeport results results.sqlite --report results.html
    """  # noqa: D301
    from ..converter.errors import DataError
    from ..converter.files import check_output, write_atomically
    from ..runtime.report.text import make_table
    from ..runtime.sweep.store import open_store
    from ..runtime.sweep.table import format_rows, format_value, split_common, tabulate, to_csv

    if report is not None:
        check_output(report, suffixes=(".html", ".htm"))
    with open_store(store, create=False) as opened:
        table = tabulate(opened.rows(), where)
    if report is not None:
        from ..runtime.report.pareto import render_results

        if not table:
            raise DataError(
                f"{store}: has no such results, expected at least one for a report",
                hint="run the sweep, or ask for other rows with --where",
            )
        page = render_results(table, title=store.name, provenance=_provenance(store, where))
        write_atomically(report, page.encode())
    if as_csv:
        click.echo(to_csv(table), nl=False)
        return
    common, keys = split_common(table)
    if keys:
        make_console().print(make_table(*format_rows(table, keys)))
    for key, value in common.items():
        click.echo(f"{key.replace('_', ' ')}: {format_value(key, value)}")
    click.echo(f"{store}: {len(table)} results")


def _provenance(store: Path, where: tuple[str, ...]) -> list[tuple[str, str]]:
    import shlex
    from datetime import UTC, datetime
    from importlib.metadata import version

    from ..converter.files import sha256_of

    words = ["spikeport", "results", str(store)]
    for condition in where:
        words += ["--where", condition]
    return [
        ("command", shlex.join(words)),
        ("store", f"{store.name}, sha256 {sha256_of(store)}"),
        ("written by", f"spikeport {version('spikeport')}"),
        ("date", datetime.now(UTC).isoformat(timespec="seconds")),
    ]
