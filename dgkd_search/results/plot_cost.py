"""The figure of accuracy versus training cost, drawn with matplotlib."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from dgkd_search.results.accuracy_data import NOTHING_COMPLETED
from dgkd_search.results.cost_data import COST_TITLE, CostChart
from dgkd_search.results.figure_parts import (
    GRID,
    accuracy_axis,
    draw_best,
    draw_label,
    draw_legend,
    draw_points,
    draw_titles,
    new_figure,
    write_figure,
)
from dgkd_search.results.looks import FRONT

PARETO_FIGURE = "accuracy_vs_cost"


def plot_pareto(chart: CostChart, folder: Path, title: str) -> list[Path]:
    """Write ``accuracy_vs_cost.png`` and ``.svg``: every completed trial and the Pareto front.

    Returns:
        The paths of the files. The same arguments give an identical SVG file.
    """
    return write_figure(lambda: draw_cost(chart, title), folder, PARETO_FIGURE)


def draw_cost(chart: CostChart, title: str) -> Figure:
    """Draw a prepared chart."""
    figure, axes = new_figure()
    accuracy_axis(axes, chart.y_scale)
    axes.set_xticks(chart.x_scale.ticks, chart.x_scale.tick_labels)
    axes.set_xlim(chart.x_scale.start, chart.x_scale.end)
    axes.set_xlabel(COST_TITLE)
    axes.grid(color=GRID, linewidth=0.7)
    axes.plot(
        [each.cost for each in chart.front],
        [each.point.accuracy for each in chart.front],
        drawstyle="steps-post",
        color=FRONT.color,
        linewidth=1.8,
        label=FRONT.label,
        zorder=2,
    )
    by_kind = {
        look.label: [
            (each.cost, each.point.accuracy)
            for each in chart.points
            if each.point.kind == look.label
        ]
        for look in chart.kinds
    }
    draw_points(axes, chart.kinds, by_kind)
    for label in chart.labels:
        if label.best:
            draw_best(axes, label.cost, label.accuracy, label.text, label.side)
        else:
            draw_label(axes, (label.cost, label.accuracy), label.text, label.side)
    if not chart.points:
        axes.text(0.5, 0.5, NOTHING_COMPLETED, transform=axes.transAxes, ha="center")
    draw_titles(axes, title, [])
    draw_legend(figure, axes, chart.looks)
    return figure
