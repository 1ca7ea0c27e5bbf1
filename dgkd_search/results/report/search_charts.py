"""The charts of the page on the course of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import altair as alt
import pandas as pd

from dgkd_search.results.accuracy_data import AccuracyChart
from dgkd_search.results.looks import BEST, BEST_SO_FAR, COMPLETED, PRUNED, vega_shape
from dgkd_search.results.points import ACCURACY_TITLE, TrialPoint
from dgkd_search.results.report.chart_parts import (
    INK_NOW,
    TIPS,
    ChartBuilder,
    ChartSpec,
    Kinds,
    Row,
    accuracy_axis,
    describe,
    point_size,
    row,
    trial_scale,
)
from dgkd_search.results.scales import make_scale

_POINTS = 20_000  # limit for all curves together: more would make the page slow
_CURVE_TIPS = [
    alt.Tooltip("trial:Q"),
    alt.Tooltip("chain:N"),
    alt.Tooltip("drop:Q", title="drop probability"),
    alt.Tooltip("x:Q", title="epoch"),
    alt.Tooltip("y:Q", title="validation (%)", format=".2f"),
]


def history_spec(chart: AccuracyChart) -> ChartSpec:
    """Return the chart of accuracy versus trial number, with the best accuracy so far."""
    tops = best_so_far(chart.points)
    kinds = Kinds.of([*chart.kinds, BEST_SO_FAR] if tops else chart.kinds)
    builder = ChartBuilder(_trial_axis(), accuracy_axis(chart.scale), kinds)
    builder.add_dots([row(point, point.trial) for point in chart.points])
    if tops:
        rows: list[Row] = [{"x": p.trial, "y": top, "kind": BEST_SO_FAR.label} for p, top in tops]
        line = builder.chart(rows).mark_line(interpolate="step-after", strokeWidth=2)
        builder.add(line.encode(color=kinds.color))
    builder.add_trial_star(chart, {point.trial: float(point.trial) for point in chart.points})
    return builder.spec(describe("Validation accuracy versus trial number", chart))


def best_so_far(points: Sequence[TrialPoint]) -> list[tuple[TrialPoint, float]]:
    """Return the completed trials, each with the highest accuracy up to it."""
    completed = [point for point in points if point.completed]
    tops = accumulate((point.accuracy for point in completed), max)
    return [*zip(completed, tops, strict=True)]


def _trial_axis() -> alt.X:
    axis = alt.Axis(format="d", tickMinStep=1)
    return alt.X("x:Q", title="trial", axis=axis, scale=trial_scale())


def curves_spec(chart: AccuracyChart, steps: pd.DataFrame) -> ChartSpec | None:
    """Return the chart of the students' accuracy by epoch; None if nothing was reported.

    Args:
        steps: from ``curves_of``.
    """
    known = {point.trial: point for point in chart.points}
    epochs = _thinned(steps[steps["trial"].isin(known)])
    if not epochs:
        return None
    values = [value for _, _, value in epochs]
    scale = make_scale(min(values), max(values), before=0.05, after=0.15, bounds=(0.0, 100.0))
    axis = alt.Axis(tickMinStep=1)
    x = alt.X("x:Q", title="epoch of the student", axis=axis, scale=trial_scale())
    kinds = Kinds.of(chart.kinds)
    builder = ChartBuilder(x, accuracy_axis(scale), kinds)
    rows: list[Row] = [
        {
            "x": epoch,
            "y": value,
            "trial": trial,
            "kind": known[trial].kind,
            "chain": known[trial].chain,
            "drop": known[trial].drop,
        }
        for trial, epoch, value in epochs
    ]
    hovered = alt.selection_point(fields=["trial"], on="pointerover", empty=False, name="hovered")
    chosen = alt.selection_point(fields=["kind"], bind="legend", name="chosen")
    lines = builder.chart(rows).mark_line()
    lines = lines.encode(
        detail="trial:N",
        color=kinds.color,
        strokeWidth=alt.when(hovered).then(alt.value(3)).otherwise(alt.value(1.2)),
        opacity=alt.when(chosen).then(alt.value(0.7)).otherwise(alt.value(0.05)),
        tooltip=_CURVE_TIPS,
    )
    builder.add(lines.add_params(hovered, chosen))
    best = chart.best
    ends = {trial: (float(epoch), value) for trial, epoch, value in epochs}
    if best is not None and best.trial is not None and best.trial in ends:
        top = builder.chart(each for each in rows if each["trial"] == best.trial)
        builder.add(top.mark_line(color=BEST_SO_FAR.color, strokeWidth=3.5))
        builder.add_star(ends[best.trial], best.trial_label, "above left")
    return builder.spec(describe("Validation accuracy of the students by epoch", chart))


def _thinned(steps: pd.DataFrame) -> list[tuple[int, int, float]]:
    """Return trial, epoch and accuracy of each point.

    If there are too many points, every n-th epoch and the last one of each trial are kept.
    """
    thin = max(1, -(-len(steps) // _POINTS))
    last = steps.groupby("trial")["epoch"].transform("max")
    steps = steps[(steps["epoch"] % thin == 0) | (steps["epoch"] == last)]
    columns = (steps[name].tolist() for name in ("trial", "epoch", "val_accuracy"))
    return [*zip(*columns, strict=True)]


def drop_spec(chart: AccuracyChart) -> ChartSpec | None:
    """Return the chart of accuracy versus drop probability; None without two probabilities."""
    known = {point.trial: point.drop for point in chart.points if point.drop is not None}
    if len(set(known.values())) < 2:
        return None
    points = [point for point in chart.points if point.trial in known]
    x = alt.X("x:Q", title="drop probability of the student", scale=trial_scale())
    builder = ChartBuilder(x, accuracy_axis(chart.scale))
    names = [COMPLETED.label, PRUNED.label]
    shapes = alt.Scale(domain=names, range=[vega_shape(COMPLETED), vega_shape(PRUNED)])
    few = len({point.assistants for point in points}) <= 11
    rows = [row(point, point.drop) | {"state": names[not point.completed]} for point in points]
    marks = builder.chart(rows).mark_point(filled=True, size=point_size(len(rows)), opacity=0.9)
    builder.add(
        marks.encode(
            color=alt.Color(
                f"assistants:{'O' if few else 'Q'}",
                title="assistants",
                scale=alt.Scale(scheme="viridis"),
                legend=alt.Legend(columns=6) if few else alt.Legend(),
            ),
            shape=alt.Shape("state:N", title=None, scale=shapes),
            tooltip=TIPS,
        )
    )
    builder.add_trial_star(chart, known)
    return builder.spec(describe("Validation accuracy versus drop probability", chart), names)


def several_spec(charts: Mapping[str, AccuracyChart]) -> ChartSpec:
    """Return the chart of the best accuracy so far of several searches.

    Args:
        charts: the accuracy chart of each search, by its name.
    """
    rows: list[Row] = []
    steps: list[Row] = []  # trials that were the best so far; equal ones are included
    stars: list[Row] = []
    names: list[str] = []
    for name, chart in charts.items():
        line = best_so_far(chart.points)
        if not line:
            continue
        top = line[-1][1]
        names.append(f"{top:.2f} %, {name}")
        of_run: list[Row] = [
            row(point, point.trial) | {"y": best, "run": names[-1]} for point, best in line
        ]
        rows += of_run
        steps += [each for each in of_run if each["y"] == each["accuracy"]]
        stars.append(next(each for each in of_run if each["y"] == top))
    legend = alt.Legend(title="best, search", labelLimit=alt.ExprRef("width - 20"))
    scale = alt.Scale(domain=names, scheme="tableau20")
    color = alt.Color("run:N", scale=scale, legend=legend)
    shape = alt.Shape("run:N", scale=alt.Scale(domain=names), legend=legend)
    y = alt.Y("y:Q", title=f"best {ACCURACY_TITLE}", scale=alt.Scale(zero=False, padding=14))
    builder = ChartBuilder(_trial_axis(), y)
    best_line = builder.chart(rows).mark_line(interpolate="step-after", strokeWidth=2)
    dots = builder.chart(steps).mark_point(filled=True, size=50, opacity=1)
    star = builder.chart(stars).mark_point(
        shape=vega_shape(BEST), filled=True, size=300, stroke=INK_NOW, opacity=1
    )
    tips = [alt.Tooltip("run:N", title="search"), *TIPS]
    builder.add(
        best_line.encode(color=color),
        dots.encode(color=color, shape=shape, tooltip=tips),
        star.encode(fill=color),
    )
    return builder.spec(f"The best accuracy so far of {len(names)} searches.", names)
