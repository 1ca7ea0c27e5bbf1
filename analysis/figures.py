"""The tables of a study as figures: mean, 95 % interval and every seed of each row.

    python analysis/figures.py experiments/figures/plain_cifar10_small.json

Rows whose names read ``METHOD, COUNT`` (``TAKD, two``) become one line a method over the counts.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dgkd_search.utils.intervals import half_width

_COLOURS = {"TAKD": "#E69F00", "DGKD": "#0072B2"}
_COUNTS = {"none": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}


def values(row: dict[str, Any], part: str) -> list[float]:
    return [run[part] for run in row["runs"]]


def bars(axes: Any, rows: list[tuple[str, dict[str, Any]]], part: str) -> None:
    """A mark with its interval for each row, and its seeds beside it."""
    for place, (name, row) in enumerate(rows):
        points = values(row, part)
        mean = sum(points) / len(points)
        color = _COLOURS.get(name.split(",")[0], "#444444")
        axes.errorbar(place, mean, half_width(points) or 0, fmt="D", color=color, capsize=4)
        axes.scatter([place + 0.15] * len(points), points, s=12, color=color, alpha=0.5)
    axes.set_xticks(range(len(rows)), [name.replace(", ", "\n") for name, _ in rows])
    axes.set_xlim(-0.5, len(rows) - 0.3)


def lines(axes: Any, rows: list[tuple[str, dict[str, Any]]], part: str) -> None:
    """Accuracy over the number of assistants, a line a method; plain KD begins each."""
    start = [(0, row) for name, row in rows if name.startswith("none")]
    for shift, method in enumerate(_COLOURS):
        found = [
            (_COUNTS[name.split(", ")[1]], row)
            for name, row in rows
            if name.startswith(f"{method},")
        ]
        points = [(count, values(row, part)) for count, row in [*start, *found]]
        x = [count + 0.06 * shift for count, _ in points]
        means = [sum(v) / len(v) for _, v in points]
        halves = [half_width(v) or 0 for _, v in points]
        axes.errorbar(x, means, halves, fmt="D-", color=_COLOURS[method], capsize=4, label=method)
        for place, (_, v) in zip(x, points, strict=True):
            axes.scatter([place] * len(v), v, s=12, color=_COLOURS[method], alpha=0.4)
    axes.set_xticks(range(1 + max(count for count, _ in points)))
    axes.set_xlabel("number of assistants")
    axes.legend(frameon=False)


def draw(study: dict[str, Any], table: dict[str, Any], part: str, path: Path) -> None:
    by_identity = {row["identity"]: row for row in study["rows"]}
    rows = [(name, by_identity[identity]) for name, identity in table["rows"]]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    counted = any(re.fullmatch(rf"\w+, ({'|'.join(_COUNTS)})", name) for name, _ in rows)
    (lines if counted else bars)(axes, rows, part)
    axes.set_ylabel(f"{part} accuracy (%), mean and 95 % interval")
    axes.set_title(f"{study['title']}: {table['title'].lower()}", loc="left", fontsize=11)
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="JSON of experiments/tables.py")
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--out", type=Path, help="folder (that of the JSON)")
    args = parser.parse_args()
    study = json.loads(args.study.read_text())
    for table in study["tables"]:
        name = table["title"].lower().replace(" ", "_")
        path = (args.out or args.study.parent) / f"{args.study.stem}_{name}.png"
        draw(study, table, args.part, path)
        print(path)


if __name__ == "__main__":
    main()
