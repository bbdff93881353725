"""Integer graphs as C: compiled with every warning and sanitizer, equal to the reference engine."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.exports.c import TRANSLATED, encode_c
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Conv, Dense, Input
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.engines.reference import simulate

from .examples import EXAMPLES, MORE, draw_inputs
from .round_trips import expect_c_equal
from .runners import FLAGS, GCC, compile_all, run_program

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
GRAPHS = {op: build for op, build in {**EXAMPLES, **MORE}.items() if op in TRANSLATED | set(MORE)}
N_STEPS = 12


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if GCC is None:
        pytest.skip("there is no gcc on this machine")
    graphs = {name_in_c(op): build() for op, build in GRAPHS.items()}
    return compile_all(graphs, tmp_path_factory.mktemp("c"), *SANITIZERS)


def name_in_c(op: str) -> str:
    return f"op_{op.lower().replace(' ', '_')}"


@pytest.mark.parametrize("op", GRAPHS)
def test_every_op_gives_the_same_counts_and_sums(op, program):
    graph = GRAPHS[op]()
    inputs = draw_inputs(graph)
    given = inputs
    for node in graph.nodes:
        if type(node.op).__name__ == "Quantize":
            given = (node.op.apply(inputs[0]),)
    expect_c_equal(program, name_in_c(op), graph, inputs, given, N_STEPS)


def small_graph(**changes) -> Graph:
    one = np.ones(1, np.float32)
    fields = {"weight": np.full((2, 3), 5), "bias": np.ones(2)} | changes
    nodes = (
        Node("x", Input((3,))),
        Node("dense", Dense(**fields), ("x",)),
        Node("fires", IntegrateFire(8 * one, 4 * one), ("dense",)),
    )
    return Graph(nodes, ("x",), ("fires",))


def test_own_program_prints_sizes_and_decisions(tmp_path):
    if GCC is None:
        pytest.skip("there is no gcc on this machine")
    export = encode_c(small_graph(weight=np.array([[1, 0, 0], [0, 1, 3]])), "tiny net-2.0")
    for suffix, data in export.files.items():
        (tmp_path / f"tiny net-2.0{suffix}").write_bytes(data)
    subprocess.run(
        [GCC, *FLAGS, "-O2", "-DSPIKEPORT_MAIN", "tiny net-2.0.c", "-o", "tiny"],
        cwd=tmp_path,
        check=True,
    )
    samples = np.array([[7, 0, 0], [0, 1, 2]], np.int16).tobytes()
    done = subprocess.run([tmp_path / "tiny", "3"], input=samples, capture_output=True, check=True)
    # Potentials: two neurons and two currents of 4 bytes, two spikes, three inputs of 2 bytes.
    ram = 2 * 4 + 2 * 4 + 2 * 1 + 3 * 2 + 2 * 8 + 4
    assert done.stdout.decode().splitlines() == [
        f"static RAM {ram} bytes, constants 8 bytes",
        "sample 0: class 0, sum 3",
        "sample 1: class 1, sum 3",
    ]
    assert f"static RAM {ram} bytes, constants 8 bytes" in export.notes[0]
    failed = subprocess.run([tmp_path / "tiny", "0"], capture_output=True, check=False)
    assert failed.returncode == 1
    assert b"expected a number of steps from 1 to" in failed.stderr


def test_sizes_are_those_of_the_compiled_file(tmp_path):
    if GCC is None or shutil.which("size") is None:
        pytest.skip("there is no gcc, or no size, on this machine")
    export = encode_c(EXAMPLES["Conv"](), "net")
    for suffix, data in export.files.items():
        (tmp_path / f"net{suffix}").write_bytes(data)
    subprocess.run([GCC, *FLAGS, "-Os", "-c", "net.c"], cwd=tmp_path, check=True)
    listed = subprocess.run(["size", "net.o"], cwd=tmp_path, capture_output=True, check=True)
    _, data, bss, *_ = map(int, listed.stdout.split()[6:9])
    text = export.files[".h"].decode()
    ram = int(text.split("RAM_BYTES ")[1].split()[0])
    assert ram <= data + bss <= ram + 256  # alignment


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weight": np.full((2, 3), 0.5)}, r"dense \(Dense\): weight has numbers that are no int"),
        ({"bias": np.full(2, 0.25)}, r"dense \(Dense\): bias has numbers that are no integers"),
        ({"weight": np.full((2, 3), 4e4)}, r"weight has 40000, expected at most 32767"),
        ({"bias": np.full(2, 2.0**25)}, r"bias has 33554432, expected at most 16777216"),
    ],
)
def test_numbers_that_c_does_not_hold(changes, reason):
    with pytest.raises(UnsupportedOpError, match=reason) as error:
        encode_c(small_graph(**changes), "net")
    assert "convert with --recipe integer" in error.value.hint


def test_sums_that_may_overflow_are_refused_and_steps_bounded():
    wide = Conv(np.full((1, 1, 3000), 32767), np.zeros(1), (1,), (1,), ((0, 0),))
    one = np.ones((1, 1), np.float32)
    nodes = (
        Node("x", Input((1, 3000))),
        Node("conv", wide, ("x",)),
        Node("fires", IntegrateFire(one, one), ("conv",)),
    )
    with pytest.raises(UnsupportedOpError, match=r"conv \(Conv\): may be 3,221,028,867,000, exp"):
        encode_c(Graph(nodes, ("x",), ("fires",)), "net")
    # 3 inputs of 32767 with weight 5 and bias 1, from 4 upwards, threshold 8.
    limit = (2**31 - 1 - 4 - 8) // (3 * 32767 * 5 + 1)
    assert f"MAX_STEPS {limit} " in encode_c(small_graph(), "net").files[".h"].decode()


def test_names_of_files():
    with pytest.raises(FormatError, match=r"the name .*cannot stand in C, expected letters"):
        encode_c(small_graph(), 'net"\n')
    assert b"void net_8bit_step(void);" in encode_c(small_graph(), "8bit").files[".h"]


def test_text_of_a_graph_cannot_leave_a_comment():
    graph = small_graph()
    evil = dataclasses.replace(graph.nodes[2], name="a */ #error ??/\n")
    text = encode_c(Graph((*graph.nodes[:2], evil), ("x",), (evil.name,)), "net").files[".c"]
    assert b"/* a _ #error _/_ (IntegrateFire) */" in text


def test_analog_graphs_are_refused():
    nodes = small_graph().nodes[:2]
    with pytest.raises(UnsupportedOpError, match="graph: has no neuron, expected a spiking graph"):
        encode_c(Graph(nodes, ("x",), ("dense",)), "net")


@pytest.mark.slow
def test_lenet_in_integers_gives_identical_counts_on_20_images(tmp_path):
    if GCC is None:
        pytest.skip("there is no gcc on this machine")
    train = load_data("fashion-mnist:train", ((28, 28, 1),), shipped=True)
    images = load_data("fashion-mnist:test", ((28, 28, 1),), shipped=True, limit=20).inputs
    graph = convert(weights_path("lenet"), train.inputs, n_steps=4, recipe="integer").graph
    n_steps = graph.metadata["schedule"]["n_steps"]
    program = compile_all({"lenet": graph}, tmp_path, *SANITIZERS, "-O1")
    (quantize,) = (node.op for node in graph.nodes if type(node.op).__name__ == "Quantize")
    given = (quantize.apply(images[0]),)
    expect_c_equal(program, "lenet", graph, images, given, n_steps)
    sums, _ = run_program(program, "lenet", graph, given, n_steps)
    (outputs,) = simulate(graph, images, n_steps).outputs
    np.testing.assert_array_equal(sums.argmax(axis=2).T, outputs.argmax(axis=2))
