"""Worker: layers.json as curves, .svg and .png beside the .json that the argument names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

COLORS = ("#c2410c", "#4a6fa5", "#5b8c5a", "#8a5a83")


def main() -> None:
    """Draw."""
    path = Path(sys.argv[1])
    content = json.loads(path.read_text("utf-8"))
    mpl.rcParams.update({"svg.hashsalt": "spikeport", "font.size": 10})
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for (size, n_in, n_out), color in zip(content["setting"]["shapes"], COLORS, strict=False):
        rows = [row for row in content["rows"] if row["shape"] == [size, n_in, n_out]]
        axes.plot(
            [100 * row["rate"] for row in rows],
            [row["times_faster"] for row in rows],
            marker="o",
            color=color,
            label=f"{size}x{size}, {n_in} to {n_out} channels",
        )
    axes.axhline(1, color="#8a8a8a", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    rates = [100 * rate for rate in content["setting"]["rates"]]
    axes.set_xticks(rates, [f"{rate:g} %" for rate in rates])
    axes.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.set_xlabel("neurons that fire, per step")
    axes.set_ylabel("times faster than onnxruntime")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), bbox_inches="tight", dpi=150)


if __name__ == "__main__":
    main()
