"""Why it is as good as it is: explain, trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .inputs import CODE_HELP, DATA_HELP, input_options, load_samples, open_samples, read_ann
from .screen import make_console, show_progress

if TYPE_CHECKING:
    from ..converter.ir import Graph


@click.command()
@click.argument("snn", type=click.Path(path_type=Path))
@click.option("--ann", required=True, metavar="MODEL", help="The source network.")
@click.option("--data", required=True, help=DATA_HELP)
@click.option("--n-steps", type=int, help="T; default: the file's.")
@click.option("--limit", default=200, show_default=True, help="Only the first so many samples.")
@click.option("--engine", default="event", show_default=True, help="event, reference or counts.")
@click.option("--threads", type=int, help="To simulate on.  [default: every core]")
@click.option("--code", default="constant", show_default=True, help=CODE_HELP)
@click.option("--seed", default=0, show_default=True, help="Of a random code.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@input_options
def explain(
    snn: Path,
    ann: str,
    data: str,
    n_steps: int | None,
    limit: int,
    engine: str,
    threads: int | None,
    code: str,
    seed: int,
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Say which layer of a spiking graph costs the accuracy, why, and what helps.

    Splits the difference between firing rates and the source's activations into clipping,
    quantisation, resets, uneven spikes, the code of the input, and what comes from earlier layers.

    \b
    Example:
      spikeport explain lenet.snn --ann lenet --data fashion-mnist:test
    """  # noqa: D301
    from ..converter.exports.snn import read_snn
    from ..converter.ir.types import DEFAULT_N_STEPS
    from ..runtime.checks import check_settings
    from ..runtime.encoding import is_over_time, make_encoder
    from ..runtime.explain import BATCH_SIZE
    from ..runtime.explain import explain as run
    from ..runtime.report.text import explanation_tables

    encoder = make_encoder(code, seed)
    graph = read_snn(snn)
    if n_steps is None:
        n_steps = graph.metadata.get("n_steps", DEFAULT_N_STEPS)
    settings: dict[str, Any] = {"n_steps": n_steps, "engine": engine, "n_threads": threads}
    check_settings(batch_size=BATCH_SIZE, **settings)
    source = read_ann(ann, graph, snn)
    reading |= {"n_steps": n_steps, "over_time": is_over_time(code)}
    samples = load_samples(data, graph, limit, labels=False, **reading)
    with show_progress("simulating", len(samples.inputs[0])) as show:
        found = run(graph, source.graph, samples.inputs, progress=show, encoder=encoder, **settings)
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    click.echo(found.sentence)
    fed = "" if encoder is None else f", code {code}"
    click.echo(f"{snn} on {samples.name}, T = {found.n_steps}{fed}")
    for table in explanation_tables(found):
        make_console().print(table)


@click.command()
@click.argument("snn", type=click.Path(path_type=Path))
@click.option("--data", required=True, help=DATA_HELP)
@click.option("--sample", default=0, show_default=True, help="Its number in DATA, from 0.")
@click.option("--nodes", multiple=True, metavar="NAME", help="Repeatable, or with commas between.")
@click.option("--neurons", default=100, show_default=True, help="At most so many of every node.")
@click.option("--n-steps", type=int, help="T; default: the file's.")
@click.option("--code", default="constant", show_default=True, help=CODE_HELP)
@click.option("--seed", default=0, show_default=True, help="Of a random code.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="OUT.npz")
@input_options
def trace(
    snn: Path,
    data: str,
    sample: int,
    nodes: tuple[str, ...],
    neurons: int,
    n_steps: int | None,
    code: str,
    seed: int,
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
    from ..converter.exports.snn import read_snn
    from ..converter.files import check_output, write_atomically
    from ..converter.ir.types import DEFAULT_N_STEPS
    from ..runtime.encoding import is_over_time, make_encoder
    from ..runtime.report.tracks import draw_trace
    from ..runtime.trace import check_sample, choose_nodes, to_npz
    from ..runtime.trace import trace as run

    encoder = make_encoder(code, seed)
    check_output(output, suffixes=[".npz"])
    for suffix in (".svg", ".png"):
        check_output(output.with_suffix(suffix))
    graph = read_snn(snn)
    names = _split_names(nodes, graph)
    choose_nodes(graph, names)
    reading |= {"n_steps": n_steps, "over_time": is_over_time(code)}
    samples = open_samples(data, graph, None, **reading)
    check_sample(sample, len(samples.inputs[0]))
    found = run(
        graph,
        tuple(array[sample : sample + 1] for array in samples.inputs),
        n_steps=graph.metadata.get("n_steps", DEFAULT_N_STEPS) if n_steps is None else n_steps,
        nodes=names,
        n_neurons=neurons,
        sample=sample,
        label=None if samples.labels is None else int(samples.labels[sample]),
        encoder=encoder,
    )
    write_atomically(output, to_npz(found))
    for suffix, picture in draw_trace(found).items():
        write_atomically(output.with_suffix(suffix), picture)
    truth = "" if found.label is None else f", its class is {found.label}"
    click.echo(f"{samples.name}: sample {sample} is decided for {found.decisions[-1]}{truth}")
    for number, node in enumerate(found.nodes):
        click.echo(f"{number}: {node.name}, {len(node.chosen):,} of {node.n_neurons:,} neurons")
    click.echo(f"{output} and the .svg and .png beside it")


def _split_names(texts: tuple[str, ...], graph: Graph) -> list[str]:
    """Return names of nodes given one by one or with commas between; a name may have commas."""
    names = []
    for text in texts:
        names += [text] if text in graph.by_name else [part for part in text.split(",") if part]
    return list(dict.fromkeys(names))
