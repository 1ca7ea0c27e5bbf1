"""The figure of accuracy versus assistant count, drawn with matplotlib."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgkd_search.errors.shown import shown
from dgkd_search.results.accuracy_data import COUNT_TITLE, NOTHING_COMPLETED, AccuracyChart
from dgkd_search.results.figure_parts import (
    GRID,
    accuracy_axis,
    draw_best,
    draw_intervals,
    draw_legend,
    draw_marks,
    draw_points,
    draw_titles,
    new_figure,
    write_figure,
)
from dgkd_search.results.looks import (
    COMPLETED_BELOW,
    COUNT_BEST,
    COUNT_MEAN,
    INK,
    MEAN_BELOW,
    PRUNED_BELOW,
    REPLICATES,
)

ACCURACY_FIGURE = "accuracy_vs_assistants"

_SOFT = "#444444"
_CHAIN_WIDTH = 72  # characters per line


def plot_accuracy(chart: AccuracyChart, folder: Path, *, title: str) -> list[Path]:
    """Write ``accuracy_vs_assistants.png`` and ``.svg``: a point for each trial that ended.

    Args:
        folder: an existing folder.

    Returns:
        The paths of the files. The same arguments give an identical SVG file.
    """
    return write_figure(lambda: draw_accuracy(chart, title), folder, ACCURACY_FIGURE)


def draw_accuracy(chart: AccuracyChart, title: str) -> Figure:
    """Draw a prepared chart."""
    figure, axes = new_figure()
    axes.set_xlim(*chart.count_range)
    ticks = chart.count_ticks
    axes.set_xticks(ticks, [f"{count}\nn = {chart.completed[count]}" for count in ticks])
    axes.set_xlabel(" ".join(COUNT_TITLE))
    accuracy_axis(axes, chart.scale)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    _lines(axes, chart)
    by_kind = {
        look.label: [(p.x, p.accuracy) for p in chart.shown if p.kind == look.label]
        for look in chart.kinds
    }
    draw_points(axes, chart.kinds, by_kind)
    _edge_marks(axes, chart)
    draw_intervals(axes, chart.replicates, REPLICATES, 4.5)
    _counts(axes, chart)
    subtitle: list[str] = []
    if chart.best is not None:
        draw_best(axes, chart.best.x, chart.best.y, chart.best.label, chart.best.side)
        # No-break spaces keep ">" on the line of the model that follows it.
        chain = textwrap.wrap(" >\u00a0".join(map(shown, chart.best.models)), _CHAIN_WIDTH)
        subtitle = [chart.best.headline, *chain]
    if not chart.completed_points:
        axes.text(0.5, 0.5, NOTHING_COMPLETED, transform=axes.transAxes, ha="center")
    draw_titles(axes, title, subtitle)
    draw_legend(figure, axes, chart.looks, chart.notes)
    return figure


def _lines(axes: Axes, chart: AccuracyChart) -> None:
    """Draw the lines of labels alone and of the teacher; their labels are right of the axes."""
    for line in chart.lines:
        if line.visible:
            axes.axhline(line.y, color=INK, linewidth=1.3, linestyle=(0, line.dash), zorder=1)
        axes.annotate(
            "\n".join(line.label),
            (1, line.y),
            (5, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va={"middle": "center"}.get(line.align, line.align),
            fontsize=8.5,
            color=INK,
        )


def _edge_marks(axes: Axes, chart: AccuracyChart) -> None:
    """Draw triangles at the bottom edge, with their numbers if there is room for them."""
    for look in (COMPLETED_BELOW, PRUNED_BELOW, MEAN_BELOW):
        marks = [mark for mark in chart.edge_marks if mark.kind == look.label]
        if not marks:
            continue
        draw_marks(axes, [(mark.x, mark.y) for mark in marks], look, 30)
        if len(chart.completed) > len(chart.count_ticks):
            continue
        for mark in marks:
            axes.annotate(
                mark.text,
                (mark.x, mark.y),
                (-5, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8,
                color=_SOFT,
            )


def _counts(axes: Axes, chart: AccuracyChart) -> None:
    """Draw the best accuracy and the mean with its interval for each count."""
    tops = chart.count_bests
    axes.hlines(
        [top.accuracy for top in tops],
        [top.left for top in tops],
        [top.right for top in tops],
        color=COUNT_BEST.color,
        linewidth=1.8,
        label=COUNT_BEST.label,
        zorder=2.5,
    )
    x, y = [mean.x for mean in chart.means], [mean.mean for mean in chart.means]
    axes.plot(x, y, color=COUNT_MEAN.color, linewidth=0.9, zorder=3.5)
    draw_intervals(axes, chart.means, COUNT_MEAN, 4)
