"""The report of `vgg` in a real browser: no error, every figure to be seen and read."""

import shutil

import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.runtime.report.figures import FIGURES
from spikeport.runtime.report.pareto import render_results

from .browser import Browser, find_browser
from .test_pareto import entry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="no bash, which starts the browser"),
]
TRAIN, TEST = "fashion-mnist:train", "fashion-mnist:test"
BOXES = """Object.fromEntries([...document.querySelectorAll("figure")].map(figure => {
  const box = figure.querySelector("svg").getBoundingClientRect();
  return [figure.id, [box.left, box.right, box.width, box.height]]; }))"""
TEXT_SIZE = """Math.min(...[...document.querySelectorAll("figure svg text")].map(text => {
  const matrix = text.getScreenCTM();
  return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b); }))"""
OVERLAPS = """[...document.querySelectorAll("figure svg")].flatMap(svg => {
  const texts = [...svg.querySelectorAll("text")].filter(text => text.textContent.trim());
  const boxes = texts.map(text => text.getBoundingClientRect());
  return texts.flatMap((text, i) => texts.slice(0, i).filter((_, j) =>
    Math.min(boxes[i].right, boxes[j].right) - Math.max(boxes[i].left, boxes[j].left) > 1 &&
    Math.min(boxes[i].bottom, boxes[j].bottom) - Math.max(boxes[i].top, boxes[j].top) > 2
  ).map(other => [svg.closest("figure").id, text.textContent, other.textContent])); })"""
CUT = """[...document.querySelectorAll(".card")].filter(card =>
  card.scrollWidth > card.clientWidth).map(card => card.textContent.slice(0, 40))"""
CONTRAST = """(() => {
  const parse = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = color => parse(color).map(c => c / 255).map(c =>
    c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  ).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(getComputedStyle(document.querySelector("figure")).backgroundColor);
  return Math.min(...[...document.querySelectorAll("figure svg text, figcaption")].map(text => {
    const style = getComputedStyle(text);
    const ink = light(text.closest("svg") ? style.fill : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); })); })()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for arguments in (
        ["convert", "vgg.onnx", "--calibration", TRAIN, "--shipped", "--calibration-samples", "100",
         "--n-steps", "32", "-o", f"{folder}/vgg.snn"],
        ["evaluate", f"{folder}/vgg.snn", "--data", TEST, "--shipped", "--limit", "40",
         "--ann", "vgg.onnx", "--early-exit", "0.01", "--exit-data", TRAIN, "--exit-samples", "60",
         "--report", f"{folder}/vgg.html"],
    ):  # fmt: skip
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return folder / "vgg.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_the_report_is_one_small_file(page):
    assert page.stat().st_size < 3_000_000


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_every_figure_can_be_seen_and_read(page, browser, tmp_path, width, scheme, media):
    browser.open(page.as_uri(), width=width, scheme=scheme, media=media)
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]
    boxes = browser.ask(BOXES)
    assert set(FIGURES) <= set(boxes)
    assert sum(name.startswith("example-") for name in boxes) >= 3
    for name, (left, right, box_width, height) in boxes.items():
        assert left >= 0, name
        assert right <= width, name
        assert box_width > 150, name
        assert height > 60, name
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask(OVERLAPS) == []
    assert browser.ask(CONTRAST) >= 4.5  # WCAG 2, level AA
    if media == "screen":
        assert browser.ask(TEXT_SIZE) >= 9
        assert browser.ask(CUT) == []
    picture = browser.take_picture()
    (tmp_path / f"{width}-{scheme}-{media}.png").write_bytes(picture)
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_of_a_sweep(browser, tmp_path, width):
    table = [
        entry(recipe=recipe, steps=2**power, accuracy=1 - 0.5**power - share,
              synaptic_operations=1e5 * 3.0**power * (1 - share), energy_nj=10.0 + power)
        for share, recipe in ((0.01, "rate"), (0.03, "classic")) for power in range(1, 6)
    ]  # fmt: skip
    page = tmp_path / "r.html"
    page.write_text(render_results(table, title="r.sqlite", provenance=[("command", "c")]))
    browser.open(page.as_uri(), width=width)
    assert browser.errors == []
    boxes = browser.ask(BOXES)
    assert len(boxes) == 3
    assert all(left >= 0 and right <= width for left, right, _, _ in boxes.values())
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask(OVERLAPS) == []
    assert browser.ask(CONTRAST) >= 4.5
    assert browser.ask(TEXT_SIZE) >= 9


def test_colors_follow_the_scheme(page, browser):
    colors = []
    for scheme in ("light", "dark"):
        browser.open(page.as_uri(), width=1600, scheme=scheme)
        query = 'getComputedStyle(document.querySelector("#accuracy svg text")).fill'
        colors.append(browser.ask(query))
    assert colors == ["rgb(27, 36, 48)", "rgb(230, 234, 240)"]
