"""NIR: written, read by the package nir, read back; refused and lossy graphs; hostile files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.converter.convert import convert
from spikeport.converter.errors import FormatError, PassError, UnsupportedOpError
from spikeport.converter.exports.nir import REWRITES, TRANSLATED, encode_nir
from spikeport.converter.exports.nir.hdf5 import encode_hdf5
from spikeport.converter.exports.snn import read_snn, write_snn
from spikeport.converter.imports import read_graph
from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset
from spikeport.converter.ir.ops import Add, Conv, Dense, Flatten, Input, Pad, Transpose
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.engines.reference import simulate

from .examples import EXAMPLES, Chain, conv, draw_inputs

N_STEPS = 12
SAMPLES = Path(__file__).parents[2] / "data" / "nir"
STATED = {"Scale", "Transpose", "Conv", "SumPool"}
"""Refused in their example, with a reason; test_formats.py has graphs in which they come back."""


def read_back(tmp_path, graph: Graph, **options) -> Graph:
    path = tmp_path / "graph.nir"
    path.write_bytes(encode_nir(graph, **options).files[".nir"])
    assert isinstance(nir.read(path), nir.NIRGraph)
    return read_graph(path)


def expect_same(found: Graph, graph: Graph) -> None:
    inputs = draw_inputs(graph)
    expected, result = (simulate(g, inputs, N_STEPS) for g in (graph, found))
    assert list(expected.spike_counts) == list(result.spike_counts)
    for name, counts in expected.spike_counts.items():
        np.testing.assert_array_equal(result.spike_counts[name], counts)
    for a, b in zip(result.outputs, expected.outputs, strict=True):
        np.testing.assert_array_equal(a, b)


def to_zero(graph: Graph) -> Graph:
    """The same graph with reset to zero."""
    nodes = [
        dataclasses.replace(node, op=dataclasses.replace(node.op, reset=Reset.ZERO))
        if isinstance(node.op, IntegrateFire)
        else node
        for node in graph.nodes
    ]
    return graph.replace(nodes=tuple(nodes))


@pytest.mark.parametrize("op", sorted(TRANSLATED - STATED))
def test_reset_to_zero_is_exact_without_loss(op, tmp_path):
    graph = to_zero(EXAMPLES[op]())
    assert encode_nir(graph).losses == ()
    expect_same(read_back(tmp_path, graph), graph)


@pytest.mark.parametrize("op", sorted(TRANSLATED - STATED - {"IntegrateFire"}))
@pytest.mark.parametrize("rewrite", ["", *REWRITES])
def test_lossy_files_say_the_loss_and_come_back(op, rewrite, tmp_path):
    graph, rewrites = EXAMPLES[op](), (rewrite,) if rewrite else ()
    if (op, rewrite) == ("GlobalAveragePool", "unit-thresholds"):
        with pytest.raises(UnsupportedOpError, match=r"second .*: unit-thresholds needs a layer"):
            encode_nir(graph, rewrites=rewrites)
        return
    is_old = rewrite == "nir-1.0.5"
    loss = "initial potential, NIR" if is_old else "reset by subtraction, NIR's IF is reset to v_r"
    with pytest.raises(UnsupportedOpError, match=loss):
        encode_nir(graph, rewrites=rewrites)
    export = encode_nir(graph, lossy=True, rewrites=rewrites)
    assert any("reset by subtraction" in loss for loss in export.losses) is not is_old
    has_pulse = rewrite == "initial-pulse"
    assert any("initial potential" in loss for loss in export.losses) is not has_pulse
    found = read_back(tmp_path, graph, lossy=True, rewrites=rewrites)
    expect_same(found, graph)
    stored = nir.read(tmp_path / "graph.nir")
    assert stored.metadata["lost"] == "\n".join(export.losses)
    kinds = {type(node).__name__ for node in stored.nodes.values()}
    assert ("LIF" in kinds) is (rewrite == "leakless-lif")
    assert "SumPool2d" not in kinds or rewrite == "sum-pool"
    if rewrite == "unit-thresholds":
        fires = [node for node in stored.nodes.values() if isinstance(node, nir.IF)]
        assert all(0.999 < node.v_threshold.min() <= 1 for node in fires)


def test_meaning_of_the_file_by_nirs_own_equations(tmp_path):
    """v grows by r I, fires above v_threshold, becomes v_reset: computed here from the file."""
    layer = Dense(np.array([[3.0], [2.0]], np.float32), np.zeros(2, np.float32))
    fires = IntegrateFire(np.array([8.0, 4]), np.array([1.0, 2]), Reset.ZERO)
    nodes = (Node("x", Input((1,))), Node("d", layer, ("x",)), Node("n", fires, ("d",)))
    graph = Graph(nodes, ("x",), ("n",))
    read_back(tmp_path, graph)
    stored = nir.read(tmp_path / "graph.nir").nodes
    potential, counts = np.zeros(2, np.float32), np.zeros(2)
    for _ in range(N_STEPS):
        potential = potential + stored["n"].r * (stored["d"].weight @ np.ones(1, np.float32))
        spikes = potential > stored["n"].v_threshold
        potential = np.where(spikes, stored["n"].v_reset, potential)
        counts += spikes
    expected = simulate(graph, (np.ones((1, 1), np.float32),), N_STEPS)
    np.testing.assert_array_equal(counts, expected.spike_counts["n"][0])


def test_reset_by_subtraction_is_exact_in_nir_1_0_5(tmp_path):
    """With the initial potential as a pulse nothing is lost; without our metadata, the spikes of
    neurons without initial potential are those of that version's equations.
    """
    graph = EXAMPLES["AveragePool"]()
    export = encode_nir(graph, rewrites=("nir-1.0.5", "initial-pulse"))
    assert export.losses == ()
    expect_same(read_back(tmp_path, graph, rewrites=("nir-1.0.5", "initial-pulse")), graph)
    with pytest.raises(UnsupportedOpError, match=r"reset to zero, NIR 1\.0\.5's IF is"):
        encode_nir(to_zero(graph), rewrites=("nir-1.0.5",))
    nodes = [
        dataclasses.replace(
            node,
            op=IntegrateFire(node.op.threshold, 0 * node.op.threshold, node.op.reset),
        )
        if isinstance(node.op, IntegrateFire)
        else node
        for node in graph.nodes
    ]
    plain = graph.replace(nodes=tuple(nodes))
    path = tmp_path / "plain.nir"
    path.write_bytes(encode_nir(plain, rewrites=("nir-1.0.5",)).files[".nir"])
    assert nir.serialization.read_version(path) == "1.0.5"
    with h5py.File(path, "r+") as file:
        assert "v_reset" not in file["node/nodes/first"]
        assert all("metadata" not in node for node in file["node/nodes"].values())
        del file["node/metadata"]
    found = read_graph(path)
    assert {n.op.reset for n in found.nodes if isinstance(n.op, IntegrateFire)} == {Reset.SUBTRACT}
    inputs = draw_inputs(plain)
    expected, result = (simulate(each, inputs, N_STEPS) for each in (plain, found))
    for name, counts in expected.spike_counts.items():
        np.testing.assert_array_equal(result.spike_counts[name], counts)
    with h5py.File(path, "r+") as file:
        del file["version"]
        file["version"] = "1.0.6"
    (first, *_) = (n for n in read_graph(path).nodes if isinstance(n.op, IntegrateFire))
    assert first.op.reset is Reset.ZERO


def test_layouts_and_uneven_padding_are_folded(tmp_path):
    start = Chain((6, 6, 2)).add("nchw", Transpose((2, 0, 1)))
    start.add("pad", Pad(((0, 0), (0, 1), (0, 1)))).add(
        "conv", conv(4, 2, (3, 3), strides=(2, 2), padding=((0, 1), (1, 0)))
    )
    graph = to_zero(start.fire("first").add("nhwc", Transpose((1, 2, 0))).finish())
    expect_same(read_back(tmp_path, graph), graph)
    stored = nir.read(tmp_path / "graph.nir")
    assert {type(node).__name__ for node in stored.nodes.values()} == {
        "Input", "Conv2d", "IF", "Flatten", "Affine", "Output"
    }  # fmt: skip


def test_an_operand_added_twice_and_units_come_back(tmp_path):
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first")
    graph = to_zero(start.add("twice", Add(), "first", "first").finish())
    last = dataclasses.replace(graph.nodes[-1], unit=np.array([1, 2, 0.5]))
    graph = graph.replace(nodes=(*graph.nodes[:-1], last))
    expect_same(read_back(tmp_path, graph), graph)


def test_shipped_network_comes_back(tmp_path):
    train = load_data("fashion-mnist:train", ((28, 28, 1),), shipped=True, limit=50)
    graph = convert(weights_path("resnet"), train.inputs, n_steps=4, recipe="diehl").graph
    found = read_back(tmp_path, graph)
    expected, result = (simulate(g, (train.inputs[0][:5],), 4) for g in (graph, found))
    for name, counts in expected.spike_counts.items():
        # Zeros in even padding change the order of additions, not the sums.
        assert np.mean(result.spike_counts[name] != counts) < 1e-3
    assert found.metadata["n_steps"] == 4
    assert found.metadata["imported"]["format"] == "nir"


def test_kernels_that_cannot_be_made_square():
    graph = to_zero(Chain().add("c", conv(4, 2, (2, 3))).fire("first").finish())
    with pytest.raises(UnsupportedOpError, match=r"c .*kernel \(2, 3\) is not square, as the pack"):
        encode_nir(graph)


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ("Conv", r"conv \(Conv\): padding .* differs on both sides"),
        ("SumPool", r"op \(SumPool\): padding .* differs on both sides"),
        ("Transpose", r"op \(Transpose\): NIR has none"),
        ("Scale", r"op \(Scale\): has a shift, NIR's Scale has none"),
    ],
)
def test_refused_in_some_graphs(op, reason):
    with pytest.raises(UnsupportedOpError, match=reason):
        encode_nir(EXAMPLES[op](), lossy=True)


def test_unknown_rewrite():
    with pytest.raises(PassError, match="rewrite 'sumpool': does not exist, expected one of"):
        encode_nir(EXAMPLES["AveragePool"](), rewrites=("sumpool",))


# Files of other tools.

ONE = np.ones(2, np.float32)
DENSE = {"type": "Affine", "weight": np.eye(2, dtype=np.float32), "bias": 0 * ONE}
FIRE = {"type": "IF", "r": ONE, "v_threshold": ONE, "v_reset": 0 * ONE}
NODES = {
    "in": {"type": "Input", "shape": np.array([2])},
    "a": DENSE,
    "b": FIRE,
    "out": {"type": "Output", "shape": np.array([2])},
}
EDGES = [("in", "a"), ("a", "b"), ("b", "out")]


def store(tmp_path, nodes=NODES, edges=EDGES):
    path = tmp_path / "other.nir"
    path.write_bytes(encode_hdf5(nodes, edges, {}))
    return path


def test_file_of_the_package_nir_with_a_graph_inside(tmp_path):
    inner = nir.NIRGraph(
        {
            "i": nir.Input({"input": np.array([2])}),
            "l": nir.Linear(np.array([[1, 2], [3, 4]], np.float32)),
            "f": nir.IF(2 * ONE, 3 * ONE, -ONE),
            "o": nir.Output({"output": np.array([2])}),
        },
        [("i", "l"), ("l", "f"), ("f", "o")],
    )
    outer = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([2])}),
            "sub": inner,
            "output": nir.Output({"output": np.array([2])}),
        },
        [("input", "sub"), ("sub", "output")],
        type_check=False,
    )
    nir.write(tmp_path / "n.nir", outer)
    graph = read_graph(tmp_path / "n.nir", dt=0.5)
    x = np.array([[0.5, 0.25]], np.float32)
    found = simulate(graph, (x,), 9).outputs[0][-1] * 9
    potential, counts = np.zeros(2), np.zeros(2)
    for _ in range(9):
        potential += 0.5 * 2 * np.array([[1, 2], [3, 4]]) @ x[0]
        spikes = potential > 3
        potential[spikes] = -1
        counts += spikes
    np.testing.assert_allclose(found[0], counts)


def test_files_that_norse_wrote():
    """norse 1.1.0 with nir 1.0.4: Linear, neurons, Linear, neurons; seed 0."""
    graph = read_graph(SAMPLES / "norse_iaf.nir")
    stored = nir.read(SAMPLES / "norse_iaf.nir", type_check=False).nodes
    x = np.random.default_rng(1).random((4, 6)).astype(np.float32)
    (outputs,) = simulate(graph, (x,), N_STEPS).outputs
    potentials, counts = [np.zeros((4, 5)), np.zeros((4, 3))], np.zeros((4, 3))
    for _ in range(N_STEPS):
        spikes = x
        for potential, layer, fires in zip(potentials, "02", "13", strict=True):
            potential += spikes @ stored[layer].weight.T + stored[layer].bias
            spikes = potential > stored[fires].v_threshold
            potential -= spikes * stored[fires].v_threshold  # as nir 1.0.4 defines IF
        counts += spikes
    assert counts.any()
    np.testing.assert_allclose(outputs[-1] * N_STEPS, counts, atol=1e-5)
    with pytest.raises(UnsupportedOpError, match="1 of its nodes have no meaning") as error:
        read_graph(SAMPLES / "norse_lif.nir")
    assert (
        error.value.reasons[0] == "1 (LIF): leaks, expected an IF or a time constant without effect"
    )


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ({}, [*EDGES, ("b", "a")], r"a -> b -> a: is recurrent, expected a network without cycles"),
        ({}, EDGES[1:], "a: no edge leads to it, expected one"),
        ({}, [*EDGES, ("b", "c")], "edge b -> c: there is no node 'c'"),
        ({}, [*EDGES, EDGES[0]], "edge in -> a: stands there twice"),
        ({"a": {**DENSE, "weight": np.ones((2, 3))}}, EDGES, r"a \(Affine\): operand has shape"),
        (
            {"out": {**NODES["out"], "shape": np.array([3])}},
            EDGES,
            r"out \(Output\): has the sh",
        ),
        ({"b": {**FIRE, "v_threshold": np.ones(3)}}, EDGES, r"b \(IF\): v_threshold has shape"),
        ({"b": {**FIRE, "v_threshold": -ONE}}, EDGES, r"b \(IF\): threshold is not positive"),
        ({"b": {**FIRE, "r": np.full(2, np.nan)}}, EDGES, r"b \(IF\): .*NaN or infinity"),
        ({"a": {"type": "Affine"}}, EDGES, r"a \(Affine\): has no numbers 'weight'"),
        ({"in": {**NODES["in"], "shape": np.array([2.5])}}, EDGES, r"in \(Input\): shape is"),
        ({"in": {**NODES["in"], "shape": np.array([2**40])}}, EDGES, r"in \(Input\): shape .*more"),
        ({"b": {"r": ONE}}, EDGES, "b: has no type, expected one"),
    ],
)
def test_bad_files_name_the_node(nodes, edges, message, tmp_path):
    path = store(tmp_path, {**NODES, **nodes}, edges)
    with pytest.raises(FormatError, match=message) as error:
        read_graph(path)
    assert str(error.value).startswith(f"{path}: ")
    result = CliRunner().invoke(main, ["import", str(path), "-o", str(tmp_path / "o.snn")])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "o.snn").exists()


def test_nodes_without_a_meaning_are_all_listed(tmp_path):
    leaky = {**FIRE, "type": "LIF", "tau": ONE, "v_leak": 0 * ONE}
    nodes = {**NODES, "b": leaky, "c": {"type": "Delay", "delay": ONE}}
    path = store(tmp_path, nodes, [("in", "a"), ("a", "b"), ("in", "c"), ("b", "out")])
    with pytest.raises(UnsupportedOpError, match="2 of its nodes have no meaning here") as error:
        read_graph(path)
    assert set(error.value.reasons) == {
        "c (Delay): has no meaning here",
        "b (LIF): leaks, expected an IF or a time constant without effect",
    }


def test_cut_and_changed_files(tmp_path):
    data = store(tmp_path).read_bytes()
    path = tmp_path / "cut.nir"
    for size in (0, 1, 100, len(data) // 2, len(data) - 10):
        path.write_bytes(data[:size])
        with pytest.raises(FormatError, match=r"cut\.nir: "):
            read_graph(path)
    random = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(data)
        for place in random.integers(0, len(data), 3):
            changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        try:
            read_graph(path)
        except (FormatError, UnsupportedOpError) as error:
            assert "cut.nir" in str(error)  # noqa: PT017


def test_links_cycles_and_huge_data(tmp_path):
    path = store(tmp_path)
    with h5py.File(path, "r+") as file:
        file["node/nodes/again"] = file["node"]
    with pytest.raises(FormatError, match="is nested deeper than 8 levels"):
        read_graph(path)
    path = store(tmp_path)
    with h5py.File(path, "r+") as file:
        file["node/nodes/a/extra"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(FormatError, match="extra: is a link, expected data in the file itself"):
        read_graph(path)
    path = store(tmp_path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("node/nodes/a/huge", shape=(2**40,), dtype="f8", chunks=(2**16,))
    with pytest.raises(FormatError, match="huge: declares more than the file can hold"):
        read_graph(path)


def test_other_bad_input(tmp_path):
    with pytest.raises(FormatError, match="dt -1, expected a positive number"):
        read_graph(store(tmp_path), dt=-1)
    (tmp_path / "a.txt").touch()
    with pytest.raises(FormatError, match=r"has the suffix '\.txt', expected \.nir"):
        read_graph(tmp_path / "a.txt")
    with pytest.raises(FormatError, match=r"no\.nir: no such file"):
        read_graph(tmp_path / "no.nir")


def test_command_line_there_and_back(tmp_path):
    graph = EXAMPLES["AveragePool"]()
    source, file, back = (tmp_path / name for name in ("a.snn", "a.nir", "b.snn"))
    write_snn(graph, source)
    arguments = ["export", str(source), "--to", "nir", "-o", str(file)]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 1
    assert "there are 2 reasons" in refused.output
    assert not file.exists()
    written = CliRunner().invoke(main, [*arguments, "--lossy"])
    assert written.exit_code == 0, written.output
    assert "lost: first, second: reset by subtraction, NIR's IF is reset" in written.output
    read = CliRunner().invoke(main, ["import", str(file), "-o", str(back)])
    assert read.exit_code == 0, read.output
    expect_same(read_snn(back), graph)
    arguments[3:] = ["onnx", "-o", str(tmp_path / "a.onnx"), "--rewrite", "sum-pool"]
    other = CliRunner().invoke(main, arguments)
    assert "--rewrite sum-pool: onnx has no rewrites, expected none" in other.output
    assert Flatten in {type(node.op) for node in graph.nodes}
    assert Conv in {type(node.op) for node in graph.nodes}
