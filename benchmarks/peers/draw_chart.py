"""Worker: the results as a bar chart, .svg and .png beside the .json that the argument names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

COLORS = {"ann": "#8a8a8a", "event": "#c2410c", "reference": "#e8a87c"}
OTHER = "#4a6fa5"


def main() -> None:
    """Draw."""
    path = Path(sys.argv[1])
    content = json.loads(path.read_text("utf-8"))
    setting = content["setting"]
    rows = {key: row for key, row in content["tools"].items() if "failure" not in row}
    # the same figures give the same bytes
    mpl.rcParams.update({"svg.hashsalt": "spikeport", "font.size": 10})
    figure, axes = pyplot.subplots(figsize=(8, 0.8 + 0.45 * len(rows)))
    order = sorted(rows, key=lambda key: -rows[key]["ms_per_image"])
    values = [rows[key]["ms_per_image"] for key in order]
    bars = axes.barh(
        [rows[key]["label"] for key in order],
        values,
        color=[COLORS.get(key, OTHER) for key in order],
        height=0.65,
    )
    labels = [
        f"{rows[key]['ms_per_image']:.3g} ms, {100 * rows[key]['accuracy']:.1f} %" for key in order
    ]
    axes.bar_label(bars, labels, padding=4)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 8)
    axes.set_xlabel(
        f"ms per image and accuracy: {setting['network']}, T = {setting['n_steps']}, "
        f"{setting['n_threads']} threads"
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), bbox_inches="tight", dpi=150)


if __name__ == "__main__":
    main()
