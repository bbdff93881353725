"""The report as a file: everything in it, nothing from outside, nothing that runs."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from spikeport.converter.errors import FormatError
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Dense, Input, Relu
from spikeport.runtime.early_exit import ExitRule
from spikeport.runtime.energy import Constants
from spikeport.runtime.error_split import CAUSES
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.held_back import calibrate_exit
from spikeport.runtime.report.data import RateRecorder, choose_examples, gather, to_image
from spikeport.runtime.report.examples import describe_example
from spikeport.runtime.report.figures import FIGURES, error_budget
from spikeport.runtime.report.html import make_folder, render, save_figures
from spikeport.runtime.report.style import short

NASTY = "</svg><script>alert('$x_{')</script>"
N_CLASSES = 3


def networks(name: str = "relu") -> tuple[Graph, Graph]:
    """An analog network with one hidden layer, and the spiking one that stands for it."""
    random = np.random.default_rng(0)
    first = Dense(random.normal(0, 0.2, (8, 16)).astype(np.float32), np.full(8, 0.1))
    last = Dense(random.normal(0, 1, (N_CLASSES, 8)).astype(np.float32), np.zeros(N_CLASSES))
    ones = np.ones(1, np.float32)

    def build(op):
        nodes = (Node("x", Input((16,))), Node("hidden", first, ("x",)),
                 Node(name, op, ("hidden",)), Node("out", last, (name,)))  # fmt: skip
        return Graph(nodes, ("x",), ("out",))

    return build(Relu()), build(IntegrateFire(ones, ones / 2))


def content(name: str = "relu", *, labels: bool = True, ann: bool = True, early: bool = False):
    analog, spiking = networks(name)
    x = np.random.default_rng(1).random((60, 16)).astype(np.float32)
    y = np.arange(60) % N_CLASSES if labels else None
    calibration = None
    if early:
        calibration = calibrate_exit(spiking, (x,), y, allowed_loss=0.05, n_steps=12, every=2)
    recorder = RateRecorder()
    run = evaluate(
        spiking, (x,), y, n_steps=12, observe=recorder,
        ann=(lambda inputs: (np.eye(N_CLASSES)[np.arange(len(inputs[0])) % 3],)) if ann else None,
        exit_rule=calibration.rule if calibration else None,
    )  # fmt: skip
    return gather(
        spiking, run, (x,), title=NASTY, constants=Constants(), ann=analog if ann else None,
        rates=recorder.rates, calibration=calibration,
        provenance=(("command", "spikeport <evaluate>"),),
    )  # fmt: skip


@pytest.fixture(scope="module")
def everything():
    return content(NASTY, early=True)


@pytest.fixture(scope="module")
def page(everything):
    return render(everything)


def test_every_figure_is_there(page):
    for name, plot in FIGURES.items():
        assert f'<figure id="{name}">' in page
        assert plot.title in page
    assert page.count("<figure") == len(FIGURES) + page.count('<figure id="example-')
    assert "Not shown" not in page


def test_the_error_budget_has_every_cause(everything):
    """In colors and markers of their own, however many there are."""
    layers = everything.explanation.layers
    many = [dataclasses.replace(layer, causes=dict.fromkeys(layer.causes, 0.1)) for layer in layers]
    explanation = dataclasses.replace(everything.explanation, layers=tuple(many))
    figure = error_budget(dataclasses.replace(everything, explanation=explanation))
    axes = figure.axes[0]
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert set(shown) == {"whole difference", "inherited", *CAUSES}
    assert len(set(shown)) == len(shown)
    looks = {(line.get_color(), line.get_marker()) for line in axes.get_lines()}
    assert len(looks) == 1 + len(CAUSES)
    assert max(axes.get_lines()[0].get_xdata()) == len(everything.explanation.neurons)


def test_every_block_is_there(page, everything):
    for heading in ("Accuracy", "Layers", "Operations", "Energy", "Provenance"):
        assert f"<h2>{heading}</h2>" in page
    for name in vars(Constants()):
        assert name in page
    assert "spikeport &lt;evaluate&gt;" in page
    assert everything.explanation.sentence.replace("<", "&lt;")[:5] in page


def test_nothing_comes_from_outside_and_nothing_runs(page):
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert re.search(r"\son\w+=", page) is None
    assert set(re.findall(r"\b(?:src|href)=\"([^\"#][^\":]*:?)", page)) <= {"data:"}


def test_colors_of_the_page_are_variables(page):
    assert "var(--series-1)" in page.split("</style>")[-1]
    assert "#1f6fb4" not in page.split("</style>", 1)[1]
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_names_inside_the_figures_are_unique_and_all_there(page):
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert set(re.findall(r"(?:href=\"|url\()#([^\")]+)", page)) <= set(names)


def test_the_same_content_gives_the_same_page(page, everything):
    assert render(everything) == page


def test_without_labels_and_source_what_is_missing_is_said():
    poor = render(content(labels=False, ann=False))
    assert "Not shown: Confusion matrix; it needs data with labels." in poor
    assert "Not shown: Error budget; it needs the source network: --ann MODEL, and integr" in poor
    assert "Not shown: Early exit; it needs --early-exit LOSS --exit-data DATA." in poor
    assert '<figure id="latency">' in poor
    assert '<figure id="rates">' in poor


def test_figures_as_files(everything, tmp_path):
    files = save_figures(everything, tmp_path)
    assert {path.name for path in files} >= {f"{name}.{kind}" for name in FIGURES
                                             for kind in ("svg", "png")}  # fmt: skip
    for path, data in files.items():
        if path.suffix == ".svg":
            assert ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"
            assert b"var(--" not in data
        else:
            assert data.startswith(b"\x89PNG")


@pytest.mark.parametrize("n_classes", [3, 30, 40])
def test_confusion_matrices_of_many_classes(everything, n_classes):
    from dataclasses import replace

    figure = FIGURES["confusion"].draw(replace(everything, n_classes=n_classes))
    assert bool(figure.axes[0].images) == (n_classes > 30)


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="file: is a file, expected a folder") as caught:
        make_folder(tmp_path / "file")
    assert "the name of a folder" in caught.value.hint
    with pytest.raises(FormatError, match="cannot be created"):
        make_folder(tmp_path / "file" / "inside")
    make_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()


def test_examples_are_early_late_and_wrong_ones(everything):
    run = everything.evaluation
    numbers = choose_examples(run)
    right = [run.decisions[-1, number] == run.labels[number] for number in numbers]
    assert right == sorted(right, reverse=True)
    assert len(set(numbers)) == len(numbers) <= 6
    for example in everything.examples:
        assert example.image is None
        assert example.scores.shape == (12, N_CLASSES)
        np.testing.assert_allclose(example.scores.sum(axis=1), 1, atol=1e-6)
        assert example.scores[-1].argmax() == example.decision
        sentence = describe_example(example)
        assert f"decided for class {example.decision}" in sentence
        assert ("which is right" in sentence) == (example.decision == example.label)


@pytest.mark.parametrize(
    ("shape", "image"),
    [((5, 7), (5, 7)), ((5, 7, 1), (5, 7)), ((1, 5, 7), (5, 7)), ((3, 5, 7), (5, 7, 3)),
     ((5, 7, 3), (5, 7, 3)), ((5, 7, 2), None), ((9,), None), ((1, 9), None), ((600, 600), None),
     ((2, 2, 2, 2), None)],
)  # fmt: skip
def test_inputs_that_are_images(shape, image):
    sample = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = to_image(sample)
    assert (None if found is None else found.shape) == image
    if found is not None:
        assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize(
    ("value", "text"), [(0.03, "0.03"), (1, "1"), (999, "999"), (1000, "1 k"), (2.5e6, "2.5 M"),
                        (1e9, "1 G"), (3e13, "30 T")]
)  # fmt: skip
def test_large_numbers_are_short(value, text):
    assert short(value) == text


def test_rates_of_samples_that_end_early():
    _, spiking = networks()
    x = np.random.default_rng(1).random((20, 16)).astype(np.float32)
    recorder = RateRecorder()
    run = evaluate(spiking, (x,), n_steps=12, observe=recorder, exit_rule=ExitRule(2.0, 1))
    assert run.early_exit.mean_steps < 12
    assert recorder.rates["relu"].mean() == pytest.approx(run.firing_rate["relu"], rel=1e-5)
