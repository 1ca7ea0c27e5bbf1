"""Draw the tables of a study: mean, 95 % interval and every seed of each row.

    python analysis/figures.py experiments/figures/plain_cifar10_small.json

Rows called ``METHOD, COUNT`` (``TAKD, two``) become one line per method over the counts.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgkd_search.distillation.guidances.registry import get_guidance
from dgkd_search.results.figure_parts import GRID, accuracy_axis, draw_intervals
from dgkd_search.results.looks import Look
from dgkd_search.results.marks import INTERVAL_VALUES, Interval, make_interval
from dgkd_search.results.scales import Scale, accuracy_limits, make_scale
from dgkd_search.utils.intervals import half_width

_COUNTS = {"none": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_PLAIN = Look("", "#444444", "D")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        accuracies: accuracy of each seed in percent.
    """

    name: str
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.accuracies) / len(self.accuracies)

    @property
    def half_width(self) -> float | None:
        return half_width(self.accuracies)

    @property
    def method(self) -> str:
        return self.name.split(",")[0]


@dataclass(frozen=True)
class Table:
    """A table of a study; ``part`` is the part of the data of its accuracies."""

    title: str
    part: str
    rows: tuple[Row, ...]

    @property
    def scale(self) -> Scale:
        """The scale for all seeds, and for intervals unless they would squash the seeds."""
        values = [value for row in self.rows for value in row.accuracies]
        known = [row for row in self.rows if len(row.accuracies) >= INTERVAL_VALUES]
        ends = [row.mean + s * (row.half_width or 0.0) for row in known for s in (-1, 1)]
        low, high = accuracy_limits(values, (), None, None, ends)
        return make_scale(min(low, *values), high, before=0.06, after=0.06, bounds=(0.0, 100.0))


def method_looks() -> dict[str, Look]:
    """Return color and marker of each method, as in all other figures."""
    guidances = [get_guidance(name) for name in ("sequential", "dense")]
    return {each.method: Look(each.method, each.color, each.marker) for each in guidances}


def bars(axes: Axes, table: Table) -> None:
    """Draw a mark with its interval for each row, and its seeds beside it."""
    for place, row in enumerate(table.rows):
        look = method_looks().get(row.method, _PLAIN)
        draw_row(axes, row, place, look, table.scale, aside=0.15)
    names = [row.name.replace(", ", "\n") for row in table.rows]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.3)


def lines(axes: Axes, table: Table) -> None:
    """Draw accuracy over the number of assistants, one line per method, each from plain KD."""
    start = [(0, row) for row in table.rows if row.name.startswith("none")]
    most = 0
    for shift, look in enumerate(method_looks().values()):
        own = [row for row in table.rows if row.name.startswith(f"{look.label},")]
        points = [*start, *((_COUNTS[row.name.split(", ")[1]], row) for row in own)]
        marks = [
            draw_row(axes, row, count + 0.06 * shift, look, table.scale) for count, row in points
        ]
        axes.plot([m.x for m in marks], [m.mean for m in marks], color=look.color, linewidth=1.5)
        most = max([most, *(count for count, _ in points)])
    axes.set_xticks(range(most + 1))
    axes.set_xlabel("number of assistants")
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    axes.legend(by_label.values(), by_label.keys(), frameon=False)


def draw_row(
    axes: Axes, row: Row, x: float, look: Look, scale: Scale, aside: float = 0.0
) -> Interval:
    """Draw the mean of a row with its interval, and its seeds at the offset ``aside``."""
    count = len(row.accuracies)
    interval = make_interval((x, row.mean), row.half_width, count, row.name, scale)
    draw_intervals(axes, [interval], look, 4)
    axes.scatter([x + aside] * count, row.accuracies, s=12, color=look.color, alpha=0.5)
    return interval


def draw(study: str, table: Table, path: Path) -> None:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    counted = any(re.fullmatch(rf"\w+, ({'|'.join(_COUNTS)})", row.name) for row in table.rows)
    (lines if counted else bars)(axes, table)
    accuracy_axis(axes, table.scale)
    few = any(len(row.accuracies) < INTERVAL_VALUES for row in table.rows)
    words = f", if of {INTERVAL_VALUES} seeds or more" if few else ""
    axes.set_ylabel(f"{table.part} accuracy (%), mean and 95 % interval{words}")
    axes.set_title(f"{study}: {table.title.lower()}", loc="left", fontsize=11)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def read_tables(study: Any, part: str) -> list[Table]:
    """Return the tables in the JSON of experiments/tables.py, with the accuracies of ``part``."""
    known = {row["identity"]: row["runs"] for row in study["rows"]}
    return [
        Table(
            table["title"],
            part,
            tuple(
                Row(name, tuple(run[part] for run in known[identity]))
                for name, identity in table["rows"]
            ),
        )
        for table in study["tables"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="JSON of experiments/tables.py")
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--out", type=Path, help="folder (that of the JSON)")
    args = parser.parse_args()
    study = json.loads(args.study.read_text())
    for table in read_tables(study, args.part):
        name = table.title.lower().replace(" ", "_")
        path = (args.out or args.study.parent) / f"{args.study.stem}_{name}.png"
        draw(study["title"], table, path)
        print(path)


if __name__ == "__main__":
    main()
