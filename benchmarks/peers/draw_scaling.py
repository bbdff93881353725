"""Worker: scaling.json as curves, .svg and .png beside the .json that the argument names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

COLORS = {1: "#4a6fa5", 2: "#c2410c"}


def main() -> None:
    """Draw."""
    path = Path(sys.argv[1])
    content = json.loads(path.read_text("utf-8"))
    mpl.rcParams.update({"svg.hashsalt": "spikeport", "font.size": 10})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6))
    for threads, color in COLORS.items():
        rows = [row for row in content["steps"] if row["threads"] == threads]
        label = f"{threads} thread" + "s" * (threads > 1)
        steps = [row["steps"] for row in rows]
        left.plot(
            steps, [row["event_cpu_ms"] for row in rows], marker="o", color=color, label=label
        )
        if threads > 1:  # waiting threads of onnxruntime spin: their CPU time says nothing
            continue
        rows = [row for row in content["batches"] if row["threads"] == threads]
        batches = [row["batch"] for row in rows]
        right.plot(
            batches, [row["cpu_passes"] for row in rows], marker="o", color=color, label=label
        )
    left.set_xscale("log", base=2)
    left.set_yscale("log", base=2)
    left.set_xticks(steps, map(str, steps))
    left.yaxis.set_major_formatter("{x:g}")
    left.set_xlabel("steps")
    left.set_ylabel("CPU ms per image")
    right.set_xscale("log", base=2)
    right.set_xticks(batches, map(str, batches))
    right.set_ylim(0, 1.4 * right.get_ylim()[1])
    right.set_xlabel("batch, T = 32")
    right.set_ylabel("CPU time in passes of onnxruntime")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), bbox_inches="tight", dpi=150)


if __name__ == "__main__":
    main()
