"""Sweeps: files of settings, the store, resuming after a kill."""

import csv
import io
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

from spikeport.cli import main
from spikeport.converter.errors import DataError, FormatError, PassError, SimulationError
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.sweep.cells import describe, run_cell, run_sweep
from spikeport.runtime.sweep.spec import read_sweep
from spikeport.runtime.sweep.store import Row, open_store
from spikeport.runtime.sweep.table import tabulate

RANDOM = np.random.default_rng(5)


def write_model(path, seed=1, *, relus=1):
    """A network of relus + 1 layers: no TensorFlow is needed to run it."""
    random = np.random.default_rng(seed)
    weights = {"w1": (8, 12), "b1": (12,), "w2": (12, 3), "b2": (3,)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    if relus == 2:
        weights |= {"w": (12, 12), "b": (12,)}
        nodes[1:2] = [
            helper.make_node("Relu", ["h"], ["q"]),
            helper.make_node("Gemm", ["q", "w", "b"], ["i"]),
            helper.make_node("Relu", ["i"], ["r"]),
        ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(random.normal(0, 0.5, shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "net.onnx")
    x = RANDOM.uniform(0, 1, (40, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=RANDOM.integers(0, 3, 40))
    return tmp_path


HEAD = """
model = "net.onnx"
calibration = "data.npz"
data = "data.npz"
engine = "reference"
"""

CLASSIC = HEAD + 'recipe = "classic"\n'


def write(folder, text, name="sweep.toml"):
    (folder / name).write_text(text)
    return folder / name


def test_every_combination_once(folder):
    cells = read_sweep(
        write(
            folder,
            CLASSIC
            + """
            [[grid]]
            n_steps = [2, 4]
            options.normalize_weights.percentile = [99, 100.0]
            [[grid]]
            n_steps = 4
            limit = 5
            input_scale = 2
            [[grid]]
            n_steps = [4, 2]
            options.normalize_weights.percentile = 100.0
            """,
        )
    )
    assert [(cell.n_steps, cell.limit, dict(cell.options)) for cell in cells] == [
        (2, None, {"normalize_weights": {"percentile": 99}}),
        (2, None, {"normalize_weights": {"percentile": 100.0}}),
        (4, None, {"normalize_weights": {"percentile": 99}}),
        (4, None, {"normalize_weights": {"percentile": 100.0}}),
        (4, 5, {}),
    ]
    assert cells[4].input_scale == 2.0
    assert read_sweep(write(folder, HEAD))[0].n_steps == 64


def test_the_example_of_the_documentation(folder):
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text("utf-8")
    example = page.split("```toml")[1].split("```")[0]
    cells = read_sweep(write(folder, example))
    assert len(cells) == 2 * 3 + 2 * 3
    assert {cell.limit for cell in cells} == {1000}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[[", DataError, r"sweep\.toml: is not TOML \("),
        ("grid = 3", DataError, r"grid is no table, expected \[\[grid\]\]"),
        (HEAD + "recipes = 3", DataError, r"grid 1: key 'recipes': does not exist, expected one"),
        ('model = "a"', DataError, r"grid 1: calibration is missing, expected a value for every"),
        (HEAD + "n_steps = [4, 2.5]", DataError, r"grid 1: n_steps is 2\.5, expected int, or a"),
        (HEAD + "limit = true", DataError, r"limit is True, expected int"),
        (HEAD + "shipped = 1", DataError, r"shipped is 1, expected bool"),
        (HEAD + "n_steps = []", DataError, r"n_steps is an empty list, expected at least one"),
        (HEAD + "options = 3", DataError, r"options is 3, expected a table"),
        (HEAD + "options.fold = 3", DataError, r"options\.fold is 3, expected PASS\.OPTION = VAL"),
        (HEAD + f"n_steps = {[*range(1, 400)]}\nlimit = {[*range(1, 400)]}", DataError,
         r"grid 1: has 159201 cells, expected at most 100000"),
        (HEAD + 'recipe = "best"', PassError, r"recipe 'best': does not exist"),
        (CLASSIC + "options.normalize_weights.percent = 3", PassError, r"percent': does not exist"),
    ],
)  # fmt: skip
def test_files_that_are_refused(folder, text, error, message):
    with pytest.raises(error, match=message):
        read_sweep(write(folder, text))


def test_a_missing_file(folder):
    with pytest.raises(FormatError, match=r"nothing\.toml: no such file"):
        read_sweep(folder / "nothing.toml")


def test_only_what_is_missing_is_run(folder):
    cells = read_sweep(write(folder, HEAD + "n_steps = [2, 4]"))
    with open_store(folder / "r.sqlite", create=True) as store:
        outcome = run_sweep(cells, store)
        assert (outcome.n_done, outcome.n_known, outcome.failures) == (2, 0, {})
        outcome = run_sweep(cells, store)
        assert (outcome.n_done, outcome.n_known) == (0, 2)
        # the same bytes under another name are known, other weights are not
        (folder / "net.onnx").rename(folder / "same.onnx")
        same = read_sweep(write(folder, HEAD.replace("net", "same") + "n_steps = [2, 4]"))
        assert run_sweep(same, store).n_known == 2
        write_model(folder / "other.onnx", seed=2)
        other = read_sweep(write(folder, HEAD.replace("net", "other") + "n_steps = [2, 4]"))
        assert run_sweep(other, store).n_done == 2
        first, *_ = store.rows()
    assert first.settings["options"]["calibrate_neurons"]["ridge"] == 0.1
    assert first.result["n_samples"] == 40
    assert "seconds" not in first.result


def test_a_cell_that_fails_does_not_stop_the_others(folder):
    text = HEAD + "[[grid]]\ninput_scale = [0, 1]\nn_steps = 2\n"
    path, store = write(folder, text), folder / "r.sqlite"
    result = CliRunner().invoke(main, ["sweep", str(path), "--store", str(store)])
    assert result.exit_code == 1
    assert "net.onnx rate T=2: input scale 0, offset 0, expected finite numbers" in result.stderr
    assert f"{store}: 1 cells done, 0 were there, 1 failed" in result.stdout


def test_tables(folder):
    path, store = (
        write(
            folder,
            CLASSIC + "n_steps = [2, 4]\noptions.normalize_weights.percentile = [99, 100]",
        ),
        folder / "r.sqlite",
    )
    runner = CliRunner()
    done = runner.invoke(main, ["sweep", str(path), "--store", str(store)])
    assert done.exit_code == 0, done.output
    shown = runner.invoke(main, ["results", str(store)])
    assert "model: net.onnx" in shown.stdout
    assert "initial potential" not in shown.stdout  # every recipe has its own
    assert "4 results" in shown.stdout
    assert "normalize weights.percentile" in shown.stdout
    arguments = ["results", str(store), "--csv", "--where", "n_steps=4"]
    rows = list(csv.DictReader(io.StringIO(runner.invoke(main, arguments).stdout)))
    by_percentile = {row["normalize_weights.percentile"]: row for row in rows}
    assert by_percentile.keys() == {"99.0", "100.0"}
    with open_store(store, create=False) as opened:
        (entry,) = tabulate(opened.rows(), ["n_steps=4", "normalize_weights.percentile=99.0"])
    assert float(by_percentile["99.0"]["accuracy"]) == entry["accuracy"]
    for condition, message in (
        ("n_steps", "--where n_steps: expected KEY=VALUE"),
        ("colour=red", "--where 'colour': does not exist"),
    ):
        refused = runner.invoke(main, ["results", str(store), "--where", condition])
        assert refused.exit_code == 1
        assert message in refused.stderr


def test_schedules_run_as_long_as_they_take(folder):
    path = write(folder, HEAD + 'recipe = ["exact", "rate"]\nn_steps = [16, 2]\n')
    with open_store(folder / "r.sqlite", create=True) as store:
        assert run_sweep(read_sweep(path), store).n_done == 4
        table = tabulate(store.rows())
    found = [(entry["recipe"], entry["n_steps"], entry["steps"]) for entry in table]
    assert found == [("exact", 2, 2), ("exact", 16, 16), ("rate", 2, 2), ("rate", 16, 16)]


def test_seeds_are_an_axis_of_random_codes_only(folder):
    text = HEAD + 'n_steps = 4\nseed = [0, 1, 2]\ncode = ["poisson", "rate", "constant"]\n'
    path = write(folder, text)
    with open_store(folder / "r.sqlite", create=True) as store:
        outcome = run_sweep(read_sweep(path), store)
        assert (outcome.n_done, outcome.n_known, outcome.failures) == (5, 4, {})
        table = tabulate(store.rows())
        poisson = [row for row in store.rows() if row.settings.get("code") == "poisson"]
    found = [(entry["code"], entry["seed"]) for entry in table]
    assert found == [
        (None, None), ("poisson", 0), ("poisson", 1), ("poisson", 2), ("rate", None),
    ]  # fmt: skip
    assert len({str(row.result["decisions"]) for row in poisson}) > 1
    assert {row.result["seed"] for row in poisson} == {0, 1, 2}
    with pytest.raises(SimulationError, match=r"code 'morse': does not exist"):
        read_sweep(write(folder, HEAD + 'code = "morse"\n'))
    with pytest.raises(SimulationError, match=r"seed -1, expected an integer of 0"):
        read_sweep(write(folder, HEAD + "seed = -1\n"))


def test_cells_run_on_the_cluster(folder):
    class Local:
        """Gives another engine, as a cluster does; counts the graphs it is sent."""

        sent = 0

        def settings(self, graph, engine, encoder):
            self.sent += 1
            return {"runner": ENGINES[engine](graph, n_threads=1, encoder=encoder), "batch_size": 7}

    cells = read_sweep(write(folder, HEAD + "n_steps = [2, 4]\n"))
    with (
        open_store(folder / "a.sqlite", create=True) as here,
        open_store(folder / "b.sqlite", create=True) as there,
    ):
        run_sweep(cells, here)
        run_sweep(cells, there, cluster=(cluster := Local()))
        assert [row.result for row in here.rows()] == [row.result for row in there.rows()]
    assert cluster.sent == 2


def test_a_page_of_results(folder):
    path, store = write(folder, HEAD + "n_steps = [2, 4]\n"), folder / "r.sqlite"
    runner = CliRunner()
    assert runner.invoke(main, ["sweep", str(path), "--store", str(store)]).exit_code == 0
    arguments = ["results", str(store), "--where", "recipe=rate", "--report"]
    shown = runner.invoke(main, [*arguments, str(folder / "r.html")])
    assert shown.exit_code == 0, shown.output
    assert "recipe: rate" in shown.stdout
    assert "2 results" in shown.stdout
    page = (folder / "r.html").read_text()
    assert "net.onnx on data.npz, 40 of 40 samples" in page
    assert page.count("<figure ") == 3
    assert "--where recipe=rate" in page
    refused = runner.invoke(main, [*arguments, str(folder / "r.pdf")])
    assert "has the suffix '.pdf', expected '.html' or '.htm'" in refused.stderr
    refused = runner.invoke(main, [*arguments, str(folder / "r.html"), "--where", "n_steps=3"])
    assert refused.exit_code == 1
    assert "r.sqlite: has no such results, expected at least one for a report" in refused.stderr


def test_a_row_of_something_else():
    expected = r"row k: is not what a sweep keeps \(KeyError"
    with pytest.raises(DataError, match=expected):
        tabulate([Row("k", {}, {}, 0.0)])


def test_stores_that_are_refused(folder):
    def refuse(message, **options):
        with (
            pytest.raises(DataError, match=message),
            open_store(folder / "r.sqlite", create=options.get("create", True)),
        ):
            pass

    refuse(r"r\.sqlite: no such file, expected a store", create=False)
    (folder / "r.sqlite").write_bytes(b"no database at all" * 100)
    refuse(r"r\.sqlite: cannot be used as a store \(file is not a database\)")
    (folder / "r.sqlite").unlink()
    with sqlite3.connect(folder / "r.sqlite") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    refuse(r"r\.sqlite: is another program's SQLite file, expected a store")
    (folder / "r.sqlite").unlink()
    with open_store(folder / "r.sqlite", create=True):
        pass
    connection = sqlite3.connect(folder / "r.sqlite")
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()
    refuse(r"r\.sqlite: is a store of version 2, expected at most 1")


def test_a_locked_store(folder, monkeypatch):
    monkeypatch.setattr("spikeport.runtime.sweep.store.WAIT_SECONDS", 0.1)
    with open_store(folder / "r.sqlite", create=True) as store:
        other = sqlite3.connect(folder / "r.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataError, match=r"cannot be used as a store \(database is locked\)"):
            store.add(Row("k", {}, {}, 0.0))
        other.execute("ROLLBACK")
        other.close()
        store.add(Row("k", {}, {}, 0.0))
        assert store.keys() == {"k"}


def test_a_damaged_row(folder):
    with open_store(folder / "r.sqlite", create=True) as store:
        store._connection.execute("INSERT INTO cells VALUES ('k', '{', '{}', 0.0)")
        with pytest.raises(DataError, match=r"holds a row that is no JSON"):
            store.rows()


def test_where_nothing_can_be_written(folder):
    with (
        pytest.raises(DataError, match=r"cannot be used as a store \(unable to open database"),
        open_store(folder / "nowhere" / "r.sqlite", create=True),
    ):
        pass
    with open_store(folder / "r.sqlite", create=True):
        pass
    with (
        open_store(folder / "r.sqlite", create=False) as store,
        pytest.raises(DataError, match=r"attempt to write a readonly database"),
    ):
        store.add(Row("k", {}, {}, 0.0))


def start(folder, store):
    arguments = [sys.executable, "-m", "spikeport.cli", "sweep", "sweep.toml", "--store", store]
    return subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def dump(path):
    with open_store(path, create=False) as store:
        return [(row.key, row.settings, row.result) for row in store.rows()]


@pytest.mark.slow
def test_killed_ten_times_and_resumed_it_ends_in_the_same_table(folder):
    cells = f'n_steps = {[*range(1, 16)]}\nrecipe = ["classic", "diehl"]\nlimit = [10, 20]\n'
    write(folder, HEAD + cells)
    undisturbed = start(folder, "whole.sqlite")
    began = time.monotonic()
    finish(undisturbed)
    whole_time = time.monotonic() - began
    moments = random.Random(3)
    for _ in range(10):
        process = start(folder, "killed.sqlite")
        time.sleep(moments.uniform(0.2, 1.0) * whole_time)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(folder, "killed.sqlite"))
    expected = dump(folder / "whole.sqlite")
    assert len(expected) == 60
    assert dump(folder / "killed.sqlite") == expected


@pytest.mark.slow
def test_two_processes_share_a_store(folder):
    write(folder, HEAD + f"n_steps = {[*range(1, 21)]}")
    processes = [start(folder, "shared.sqlite") for _ in range(2)]
    for process in processes:
        finish(process)
    with open_store(folder / "shared.sqlite", create=False) as store:
        assert len(store.rows()) == 20
        (state,) = store._connection.execute("PRAGMA integrity_check").fetchone()
    assert state == "ok"


def test_threads_write_into_one_store(folder):
    def add(first):
        with open_store(folder / "r.sqlite", create=True) as store:
            for number in range(first, first + 20):
                store.add(Row(f"{number}", {}, {}, 0.0))

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_store(folder / "r.sqlite", create=False) as store:
        assert len(store.keys()) == 30


def test_a_schedule_runs_for_as_many_steps_as_it_takes(folder):
    write_model(folder / "deep.onnx", relus=2)
    text = HEAD.replace("net.onnx", "deep.onnx").replace("reference", "counts")
    (cell,) = read_sweep(write(folder, text + 'recipe = "exact"\nn_steps = 4\n'))
    assert run_cell(cell)["n_steps"] == 8


def test_options_that_a_pass_got_later_leave_keys_as_they_were(folder, monkeypatch):
    """The key is that of before the option existed, as long as it has its default."""
    text = HEAD + 'recipe = "rate"\nn_steps = 4\n'
    plain, zero, leaking = (
        describe(read_sweep(write(folder, text + more))[0])[0]
        for more in (
            "",
            "options.calibrate_neurons.leak = 0.0",
            "options.calibrate_neurons.leak = 0.1",
        )
    )
    assert plain == zero != leaking
    _, settings = describe(read_sweep(write(folder, text))[0])
    assert settings["options"]["calibrate_neurons"]["leak"] == 0
    monkeypatch.setattr("spikeport.runtime.sweep.cells.LATER", {})
    assert describe(read_sweep(write(folder, text))[0])[0] != plain
