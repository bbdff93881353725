"""The results as Markdown."""

from __future__ import annotations

from typing import Any

BUSY_CORES = 0.1
"""A measurement is disturbed where other processes kept more cores busy."""


def to_markdown(content: dict[str, Any]) -> str:
    """Return a heading line, one row per tool, and remarks.

    Args:
        content: What side_by_side.json holds.
    """
    setting, machine, rows = content["setting"], content["machine"], content["tools"]
    ann, event = rows.get("ann", {}), rows.get("event", {})
    lines = [
        f"`{setting['network']}`, T = {setting['n_steps']}, {setting['n_images']} images (batch "
        f"{setting['batch_size']}), {setting['n_threads']} threads on {machine['cores']} cores of "
        f"{machine['cpu']}, {content['date'][:10]}.",
        f"Images: {setting['data']}; calibrated on: {setting['calibration']}.",
        "Medians of at least five runs behind a warm-up, unless a remark says otherwise. Every "
        "tool's analog network gives our logits within 1e-4 of the largest.",
        "",
        "| tool | ms per image | in ANN passes | times our event engine | accuracy | same decision "
        "as the ANN |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    remarks = []
    for row in rows.values():
        if "failure" in row:
            lines.append(f"| {row['label']} | failed | | | | |")
            remarks.append(f"- {row['label']}: {row['failure']}")
            continue
        ms = row["ms_per_image"]
        lines.append(
            f"| {row['label']} | {_shorten(ms)} | {_ratio(ms, ann)} | {_ratio(ms, event)} | "
            f"{100 * row['accuracy']:.1f} % | {100 * row['agreement']:.1f} % |"
        )
        versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        remark = f"- {row['label']}: {versions}"
        if row["note"]:
            remark += f"; {row['note']}"
        if row["cores_busy_elsewhere"] > BUSY_CORES:
            remark += (
                f"; **disturbed**: other processes kept {row['cores_busy_elsewhere']:.1f} cores "
                "busy meanwhile"
            )
        remarks.append(remark)
    return "\n".join([*lines, "", *remarks]) + "\n"


def _ratio(ms: float, row: dict[str, Any]) -> str:
    return _shorten(ms / row["ms_per_image"]) if "ms_per_image" in row else ""


def _shorten(value: float) -> str:
    """Return three significant digits."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"
