"""The best chain of a search beside plain KD and labels alone, with every fresh seed.

    python analysis/gains.py RUN --out gains.png [--title TEXT]

RUN is a run folder, or its best.yaml, of a search whose replication is complete. Each row is one
configuration: the validation accuracy of each of its seeds, their mean, and its 95 % interval.
"""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgkd_search import load_best
from dgkd_search.errors import InputError
from dgkd_search.results.figure_parts import GRID
from dgkd_search.results.looks import BLUE, GRAY, GREEN
from dgkd_search.study.replication_report import MeanInterval, ReplicationReport
from dgkd_search.utils.intervals import plus_minus

_WIDTH = 28  # characters of a line of a chain


@dataclass(frozen=True)
class Configuration:
    """One row of the figure.

    Attributes:
        name: how the student was trained.
        chain: its models, largest first.
        accuracies: accuracy of each seed in percent.
        interval: their mean, with half of its 95 % interval.
        is_best: whether the search ships it.
    """

    name: str
    chain: str
    accuracies: tuple[float, ...]
    interval: MeanInterval
    is_best: bool


def read_configurations(
    report: ReplicationReport | None, student: str, best: int | None
) -> list[Configuration]:
    """Return the rows of the figure: labels alone, plain KD, then the best chain.

    Other replicated chains are left out.

    Args:
        report: of the search's replication.
        student: name of the model.
        best: number of the best trial; None for labels alone.

    Raises:
        InputError: the search has no complete replication.
    """
    if report is None or not report.complete:
        raise InputError("the search has no complete replication: resume it with --confirm 3x5")
    names = {0: "labels alone", 1: "plain KD"}
    found: dict[str, Configuration] = {}
    for row in report.rows:
        chain = row.chain or student
        name = names.get(chain.count(">"), "best chain")
        if name != "best chain" or row.trial == best:
            found[name] = Configuration(
                name, chain, row.accuracies, row.interval, row.trial == best
            )
    return [found[name] for name in (*names.values(), "best chain") if name in found]


def draw(configurations: list[Configuration], title: str) -> Figure:
    """Draw one row per configuration, the first at the top."""
    figure = Figure(figsize=(7.6, 0.8 * len(configurations) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    for place, configuration in enumerate(configurations):
        _draw_row(axes, place, configuration)
    names = [f"{each.name}\n{textwrap.fill(each.chain, _WIDTH)}" for each in configurations]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(configurations) - 0.45, -0.55)
    axes.set_xlabel("validation accuracy (%): each seed, mean, 95 % interval")
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _draw_row(axes: Axes, place: int, row: Configuration) -> None:
    mean, half_width = row.interval.mean, row.interval.half_width
    color = GREEN if row.is_best else BLUE if row.name != "labels alone" else GRAY
    axes.scatter(row.accuracies, [place + 0.17] * len(row.accuracies), s=16, color=color, alpha=0.5)
    axes.errorbar(mean, place, xerr=half_width, fmt="o", color=color, capsize=4, elinewidth=2)
    axes.annotate(
        f"{plus_minus(mean, half_width)} %",
        (mean, place),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
        color=color,
        fontweight="bold" if row.is_best else "normal",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder, or its best.yaml")
    parser.add_argument("--out", type=Path, required=True, help="file for the figure")
    parser.add_argument("--title", default="Fresh seeds of the same student")
    args = parser.parse_args()
    best = load_best(args.run)
    configurations = read_configurations(best.confirmation, best.student, best.trial)
    draw(configurations, args.title).savefig(args.out, dpi=150)
    print(args.out)


if __name__ == "__main__":
    main()
