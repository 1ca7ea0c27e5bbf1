from __future__ import annotations

import json
from typing import Any

import altair as alt
import pandas as pd
import pytest
from helpers.tabled import best_of, make_rows, trial

from dgkd_search.results.accuracy_data import AccuracyChart, accuracy_chart
from dgkd_search.results.cost_data import cost_chart
from dgkd_search.results.looks import BEST, BEST_SO_FAR, vega_shape
from dgkd_search.results.plot import draw_accuracy
from dgkd_search.results.plot_cost import draw_cost
from dgkd_search.results.points import BaselinePoint, Replicates
from dgkd_search.results.report import search_charts
from dgkd_search.results.report.chart_parts import ChartSpec
from dgkd_search.results.report.charts import accuracy_spec, cost_spec
from dgkd_search.results.report.search_charts import (
    best_so_far,
    curves_spec,
    drop_spec,
    history_spec,
    several_spec,
)
from dgkd_search.results.trial_row import TrialRow


def prepare(rows: tuple[TrialRow, ...], **known: float | None) -> AccuracyChart:
    lines = {"reference": None, "teacher": None} | known
    return accuracy_chart(rows, best=best_of(rows), **lines)


def content(spec: ChartSpec | None) -> dict[str, Any]:
    """Return a specification, validated by Altair."""
    assert spec is not None
    assert "<" not in spec.json
    found: dict[str, Any] = json.loads(spec.json)
    alt.LayerChart.from_dict(found)  # raises if it is invalid
    return found


def layers(spec: dict[str, Any], mark: str, **look: Any) -> list[list[dict[str, Any]]]:
    """Return the data of each layer with that mark and look."""
    return [
        spec["datasets"][layer["data"]["name"]]
        for layer in spec["layer"]
        if layer["mark"]["type"] == mark
        and all(layer["mark"].get(name) == value for name, value in look.items())
    ]


def steps(**curves: list[float]) -> pd.DataFrame:
    rows = [
        (int(name[1:]), epoch, value)
        for name, curve in curves.items()
        for epoch, value in enumerate(curve, 1)
    ]
    return pd.DataFrame(rows, columns=["trial", "epoch", "val_accuracy"])


TABLE = make_rows(
    trial(0, 70.0, repeats=3, repeats_mean=71.0, repeats_half_width=0.5, training_tflop=4.0),
    trial(1, 74.5, drop_probability=0.25, training_tflop=5.0),
    trial(2, 60.0, state="PRUNED", drop_probability=0.5),
    trial(1, 71.0, guidance="sequential", training_tflop=5.5),
    trial(1, 71.5, guidance="sequential", training_tflop=6.5),
    trial(1, None, state="FAIL"),
    trial(1, 72.0, state="RUNNING"),
)
CHART = prepare(TABLE, reference=69.0, teacher=99.0)
SIZE = {"filled": True, "size": 70}


def offsets(figure: Any, label: str) -> set[tuple[float, float]]:
    """Return the positions where matplotlib has drawn the points of a label."""
    (axes,) = figure.axes
    return {
        (float(x), float(y))
        for collection in axes.collections
        if collection.get_label() == label
        for x, y in collection.get_offsets()
    }


@pytest.mark.parametrize("what", ["accuracy", "cost"])
def test_the_page_and_the_figure_show_the_same(what: str) -> None:
    costs = cost_chart(TABLE, CHART)
    figure = draw_accuracy(CHART, "t") if what == "accuracy" else draw_cost(costs, "t")
    spec = content(accuracy_spec(CHART) if what == "accuracy" else cost_spec(costs))
    looks = CHART.looks if what == "accuracy" else costs.looks
    (axes,) = figure.axes
    (dots,) = layers(spec, "point", **SIZE)
    kinds = {each["kind"] for each in dots}
    assert len(kinds) > 1
    for kind in kinds:
        drawn = {(each["x"], each["y"]) for each in dots if each["kind"] == kind}
        assert offsets(figure, kind) == drawn
    first = next(layer for layer in spec["layer"] if "shape" in layer["encoding"])["encoding"]
    assert first["color"]["scale"]["domain"] == [look.label for look in looks]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [look.label for look in looks], "one legend, in one order"
    assert [*axes.get_ylim()] == first["y"]["scale"]["domain"]
    assert [*axes.get_xlim()] == first["x"]["scale"]["domain"]
    assert [*axes.get_yticks()] == first["y"]["axis"]["values"]
    texts = {text.get_text() for text in axes.texts}
    labels = [each[0]["text"] for each in layers(spec, "text") if len(each) == 1]
    assert {"\n".join(t) if isinstance(t, list) else t for t in labels} <= texts


def test_intervals_are_the_same_in_both() -> None:
    spec = content(accuracy_spec(CHART))
    spans = [row for rows in layers(spec, "rule") for row in rows if "y2" in row]
    assert len(spans) == 2
    (axes,) = draw_accuracy(CHART, "t").axes
    drawn = {
        (float(x), float(low), float(high))
        for lines in axes.collections
        if hasattr(lines, "get_segments")
        for (x, low), (other, high) in lines.get_segments()
        if x == other
    }
    assert {(row["x"], row["y"], row["y2"]) for row in spans} == drawn


def test_the_best_is_drawn_last_in_every_chart() -> None:
    told = steps(t0=[60.0, 70.0], t1=[61.0, 74.5])
    costs = cost_spec(cost_chart(TABLE, CHART))
    star = vega_shape(BEST)
    for spec in (accuracy_spec(CHART), history_spec(CHART), curves_spec(CHART, told), costs):
        marks = [layer["mark"] for layer in content(spec)["layer"]]
        (place,) = [i for i, mark in enumerate(marks) if mark.get("shape") == star]
        assert marks[place]["size"] > 4 * SIZE["size"]
        assert all(mark["type"] == "text" for mark in marks[place + 1 :]) or spec is costs


def test_labels_alone_have_the_star_in_both_where_they_are_best() -> None:
    best = BaselinePoint("resnet8", 75.5, Replicates(5, 76.0, 0.4))
    chart = accuracy_chart(TABLE, best=best, reference=75.5, teacher=None)
    assert chart.best is not None
    spec = content(accuracy_spec(chart))
    ((star,),) = layers(spec, "point", shape=vega_shape(BEST))
    figure: Any = draw_accuracy(chart, "t")
    (axes,) = figure.axes
    drawn = [
        (float(x), float(y))
        for collection in axes.collections
        if collection.get_zorder() == 6
        for x, y in collection.get_offsets()
    ]
    assert drawn == [(star["x"], star["y"])] == [(chart.best.x, 76.0)]
    assert star["text"] == "best 76.00 %"
    low, high = axes.get_xlim()
    assert low < star["x"] < min(point.x for point in chart.points) < high
    star_marks = [
        layer["mark"]
        for layer in content(history_spec(chart))["layer"]
        if layer["mark"].get("shape") == vega_shape(BEST)
    ]
    assert star_marks == [], "it is none of the trials"


def test_the_best_so_far_never_falls_and_counts_completed_trials_alone() -> None:
    rows = make_rows(trial(0, 70.0), trial(1, 90.0, state="PRUNED"), trial(1, 60.0), trial(2, 75.0))
    chart = prepare(rows)
    tops = [(point.trial, top) for point, top in best_so_far(chart.points)]
    assert tops == [(0, 70.0), (2, 70.0), (3, 75.0)]
    line = layers(content(history_spec(chart)), "line")[0]
    assert [(row["x"], row["y"]) for row in line] == tops
    assert {row["kind"] for row in line} == {BEST_SO_FAR.label}


def test_curves_are_thinned_but_keep_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_charts, "_POINTS", 40)
    told = steps(t0=[float(i) for i in range(95)], t1=[5.0, 6.0, 7.0], t5=[1.0])
    rows = layers(content(curves_spec(CHART, told)), "line")[0]
    assert len(rows) <= 42
    assert {row["trial"] for row in rows} == {0, 1}, "trial 5 failed"
    last = {row["trial"]: row["y"] for row in sorted(rows, key=lambda row: row["x"])}
    assert last == {0: 94.0, 1: 7.0}


def test_searches_of_real_size_have_curves() -> None:
    chart = prepare(make_rows(*(trial(1, 70.0) for _ in range(64))))
    told = steps(**{f"t{i}": [70.0] * 240 for i in range(64)})
    spec = curves_spec(chart, told)
    assert spec is not None
    assert len(json.loads(spec.json)["datasets"]["data0"]) == 64 * 240


def test_figures_that_would_show_nothing_are_left_out() -> None:
    assert curves_spec(CHART, steps()) is None
    assert drop_spec(prepare(make_rows(trial(0, 70.0)))) is None
    assert drop_spec(CHART) is not None
    unknown = make_rows(trial(0, 70.0))
    assert cost_spec(cost_chart(unknown, prepare(unknown))) is None


def test_lines_to_compare_with_are_drawn_where_they_are_in_sight() -> None:
    spec = content(accuracy_spec(CHART))
    dashes = [layer["mark"] for layer in spec["layer"] if "strokeDash" in layer["mark"]]
    assert len(dashes) == 1
    assert ["labels alone", "69.00 %"] in [each[0].get("text") for each in layers(spec, "text")]
    assert ["teacher ↑", "99.00 %"] in [each[0].get("text") for each in layers(spec, "text")]


def test_several_searches_are_told_apart_by_name() -> None:
    names = {"a": CHART, "<b>": CHART, "none": prepare(make_rows(trial(1, 5.0, state="PRUNED")))}
    spec = content(several_spec(names))
    (line,) = layers(spec, "line")
    assert {row["run"] for row in line} == {"74.50 %, a", "74.50 %, <b>"}
    (stars,) = layers(spec, "point", shape=vega_shape(BEST))
    assert [(row["trial"], row["y"]) for row in stars] == [(1, 74.5)] * 2


def test_a_chart_is_read_out() -> None:
    words = content(accuracy_spec(CHART))["description"]
    assert "4 completed and 1 pruned trials; best: 71.00 % (mean of 3 seeds), trial 0" in words
