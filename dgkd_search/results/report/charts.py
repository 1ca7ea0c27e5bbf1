"""The charts of the page that are also matplotlib figures, from the same prepared data."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from dgkd_search.results.accuracy_data import COUNT_TITLE, NOTHING_COMPLETED, AccuracyChart
from dgkd_search.results.cost_data import COST_TITLE, CostChart
from dgkd_search.results.looks import COUNT_BEST, COUNT_MEAN, FRONT, REPLICATES, Look
from dgkd_search.results.marks import Align, Interval
from dgkd_search.results.report.chart_parts import (
    HEIGHT,
    INK_NOW,
    PAPER_NOW,
    ChartBuilder,
    ChartSpec,
    Kinds,
    Row,
    accuracy_axis,
    color_now,
    describe,
    row,
)

# Offset of the upper of two text lines, in pixels, for each alignment of the pair.
_LINE_SHIFTS: dict[Align, float] = {"top": 8, "middle": -6.5, "bottom": -21}


def accuracy_spec(chart: AccuracyChart) -> ChartSpec:
    """Return the chart of accuracy versus number of assistants; see ``plot.draw_accuracy``."""
    kinds = Kinds.of(chart.looks)
    builder = ChartBuilder(_count_axis(chart), accuracy_axis(chart.scale), kinds)
    _add_reference_lines(builder, chart)
    tops = builder.chart(
        {"x": top.left, "x2": top.right, "y": top.accuracy, "kind": COUNT_BEST.label}
        for top in chart.count_bests
    )
    builder.add(tops.mark_rule(strokeWidth=2.2).encode(x2="x2", color=kinds.color))
    builder.add_dots([row(point, point.x) for point in chart.shown])
    _add_edge_marks(builder, chart)
    _add_intervals(builder, chart.replicates, REPLICATES)
    _add_intervals(builder, chart.means, COUNT_MEAN)
    best = chart.best
    if best is not None:
        builder.add_star((best.x, best.y), best.label, best.side)
    if not chart.completed_points:
        middle = alt.Chart(builder.data([{}]))
        builder.add(
            middle.mark_text(
                text=NOTHING_COMPLETED, x=alt.ExprRef("width / 2"), y=HEIGHT / 2, fill=INK_NOW
            )
        )
    return builder.spec(describe("Validation accuracy versus number of assistants", chart))


def _count_axis(chart: AccuracyChart) -> alt.X:
    """Return the axis of assistants, with the number of completed trials under each tick."""
    ticks = [*chart.count_ticks]
    counted = "'n = '"
    words = f"(width > {44 * len(ticks)} ? {counted} : '') + {[*chart.completed]}[datum.value]"
    return alt.X(
        "x:Q",
        title=[*COUNT_TITLE],
        scale=alt.Scale(domain=[*chart.count_range], nice=False, zero=False),
        axis=alt.Axis(
            values=ticks,
            format="d",
            labelExpr=f"[datum.label, {words}]",
            labelOverlap="greedy",
            grid=False,
        ),
    )


def _add_reference_lines(builder: ChartBuilder, chart: AccuracyChart) -> None:
    """Add the lines of labels alone and of the teacher; their labels are right of the axes."""
    for line in chart.lines:
        data = builder.data([{"y": line.y, "text": [*line.label]}])
        here = alt.Chart(data).encode(y=builder.y)
        if line.visible:
            builder.add(here.mark_rule(stroke=INK_NOW, strokeWidth=1.3, strokeDash=[*line.dash]))
        text = here.mark_text(
            x=alt.ExprRef("width"),
            dx=6,
            align="left",
            baseline="middle",
            dy=_LINE_SHIFTS[line.align],
            fontSize=11,
            fill=INK_NOW,
        )
        builder.add(text.encode(text="text:N"))


def _add_edge_marks(builder: ChartBuilder, chart: AccuracyChart) -> None:
    """Add triangles at the bottom edge, with their numbers if there is room for them."""
    if not chart.edge_marks or builder.kinds is None:
        return
    rows: list[Row] = [
        {"x": mark.x, "y": mark.y, "kind": mark.kind, "text": mark.text, "words": mark.words}
        for mark in chart.edge_marks
    ]
    marks = builder.chart(rows).encode(tooltip=[alt.Tooltip("words:N", title="below")])
    shapes = marks.mark_point(filled=True, size=60)
    numbers = marks.mark_text(
        align="right",
        baseline="middle",
        dx=-6,
        fontSize=10,
        fill=INK_NOW,
        opacity=alt.ExprRef(f"width > {36 * len(chart.completed)} ? 1 : 0"),
    )
    builder.add(
        shapes.encode(color=builder.kinds.color, shape=builder.kinds.shape),
        numbers.encode(text="text:N"),
    )


def _add_intervals(builder: ChartBuilder, intervals: Sequence[Interval], look: Look) -> None:
    """Add means with their intervals: a cap at a true end, an arrowhead at a clipped one."""
    if not intervals:
        return
    color = color_now(look)
    drawn = [(each, *each.span) for each in intervals if each.span is not None]
    spans: list[Row] = [{"x": each.x, "y": low, "y2": high} for each, low, high in drawn]
    caps: list[Row] = [{"x": each.x, "y": end} for each in intervals for end in each.caps]
    ups: list[Row] = [{"x": each.x, "y": high} for each, _, high in drawn if each.goes_above]
    downs: list[Row] = [{"x": each.x, "y": low} for each, low, _ in drawn if each.goes_below]
    middles: list[Row] = [{"x": each.x, "y": each.mean, "words": each.words} for each in intervals]
    if spans:
        rules = builder.chart(spans).mark_rule(stroke=color, strokeWidth=1.6)
        builder.add(rules.encode(y2="y2"))
    if caps:
        builder.add(builder.chart(caps).mark_tick(color=color, size=8, thickness=1.6))
    for rows, shape in ((ups, "triangle-up"), (downs, "triangle-down")):
        if rows:
            arrows = builder.chart(rows)
            builder.add(arrows.mark_point(shape=shape, filled=True, color=color, size=60))
    means = builder.chart(middles)
    if look is COUNT_MEAN:
        builder.add(means.mark_line(stroke=color, strokeWidth=1))
        marks = means.mark_point(
            shape="diamond",
            filled=True,
            size=80,
            fill=PAPER_NOW,
            stroke=color,
            strokeWidth=1.6,
            opacity=1,
        )
    else:
        marks = means.mark_tick(color=color, size=13, thickness=2.4)
    tip = alt.Tooltip("words:N", title=look.label.partition(":")[0])
    builder.add(marks.encode(tooltip=[tip]))


def cost_spec(chart: CostChart) -> ChartSpec | None:
    """Return the chart of accuracy versus training cost, or None; see ``plot_cost.draw_cost``."""
    if not chart.points:
        return None
    x = alt.X(
        "x:Q",
        title=COST_TITLE,
        scale=alt.Scale(domain=[chart.x_scale.start, chart.x_scale.end], nice=False, zero=False),
        axis=alt.Axis(
            values=[*chart.x_scale.ticks],
            format=f".{chart.x_scale.decimals}f",
            labelOverlap="greedy",
        ),
    )
    kinds = Kinds.of(chart.looks)
    builder = ChartBuilder(x, accuracy_axis(chart.y_scale), kinds)
    front = builder.chart(
        {"x": each.cost, "y": each.point.accuracy, "kind": FRONT.label} for each in chart.front
    )
    line = front.mark_line(interpolate="step-after", strokeWidth=2)
    builder.add(line.encode(color=kinds.color))
    tip = alt.Tooltip("x:Q", title="TFLOP", format=".3g")
    builder.add_dots([row(each.point, each.cost) for each in chart.points], tip)
    for label in chart.labels:
        place = label.cost, label.accuracy
        if label.best:
            builder.add_star(place, label.text, label.side)
        else:
            here = builder.chart([{"x": place[0], "y": place[1], "text": label.text}])
            builder.add_labels(here, label.side)
    words = f"Validation accuracy versus training cost: {len(chart.points)} trials"
    return builder.spec(f"{words}, {len(chart.front)} on the Pareto front.")
