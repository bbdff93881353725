"""How figures look, and how they become files and parts of a page.

A figure is drawn once in the colors for paper. In a page its SVG is inlined and every color becomes
a CSS variable, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH, HEIGHT = 4.6, 3.1
"""Inches at 72 units: 331 wide, so that a telephone shows the text in its own size."""
TEXT, MUTED, GRID, PAPER = "#1b2430", "#5b6675", "#d5dbe3", "#fefefe"
SERIES = ("#1f6fb4", "#c2570c", "#2a8455", "#7a55c7", "#b5306b", "#7b6a0f")
VARIABLES = {
    TEXT: "var(--text)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    **{color: f"var(--series-{number})" for number, color in enumerate(SERIES, 1)},
}
SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "spikeport",
    "text.color": TEXT,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save inside this, whatever the user's own settings of matplotlib are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def new_figure(height: float = HEIGHT, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True)
    return figure, axes


def use_log_axis(axes: Axes, values: Iterable[float]) -> None:
    """Make the horizontal axis logarithmic, with few labels: 1 k, 20 M.

    Args:
        axes: To change.
        values: Positive; that will be drawn.
    """
    low, high = min(values := list(values)), max(values)
    few = (1.0,) if high > 100 * low else (1.0, 3.0) if high > 10 * low else (1.0, 2.0, 5.0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=few, numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def short(value: float) -> str:
    """Return a positive number with a suffix for thousands: 1500 is 1.5 k."""
    for factor, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def to_svg(figure: Figure) -> str:
    """Return a figure as an SVG file, the same text for the same figure."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "spikeport"})
    return buffer.getvalue()


def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file, 200 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": "spikeport"})
    return buffer.getvalue()


def to_inline(svg: str, name: str) -> str:
    """Return an SVG file as an element of a page: colors as variables, names of its own.

    Args:
        svg: What `to_svg` gave.
        name: Unique in the page; letters, digits and hyphens.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    text = re.sub(r"(<svg[^>]*?) height=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r"(<svg[^>]*?) width=\"[^\"]*\"", r"\1", text, count=1)
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    return text
