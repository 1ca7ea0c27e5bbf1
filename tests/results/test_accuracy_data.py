from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from helpers.tabled import best_of, make_rows, trial

from dgkd_search.results.accuracy_data import AccuracyChart, accuracy_chart
from dgkd_search.results.points import BaselinePoint, Replicates
from dgkd_search.results.trial_row import TrialRow


def prepare(rows: tuple[TrialRow, ...], **known: float | None) -> AccuracyChart:
    lines = {"reference": None, "teacher": None} | known
    return accuracy_chart(rows, best=best_of(rows), **lines)


def again(mean: float, half: float | None, count: int = 5) -> dict[str, Any]:
    return {"repeats": count, "repeats_mean": mean, "repeats_half_width": half}


TABLE = make_rows(
    trial(0, 70.0, **again(71.0, 0.5, 3)),
    trial(1, 74.5, drop_probability=0.25),
    trial(2, 60.0, state="PRUNED", drop_probability=0.5),
    trial(1, None, state="FAIL"),
    trial(1, 72.0, state="RUNNING"),
)


def test_a_point_is_a_trial_that_ended_with_an_accuracy() -> None:
    points = prepare(TABLE).points
    assert [(point.trial, point.completed) for point in points] == [
        (0, True),
        (1, True),
        (2, False),
    ]
    assert points[1].chain == "resnet26 > resnet20 > resnet8, drop 0.25"
    assert all(abs(point.x - point.assistants) < 0.5 for point in points), "in its column"


def test_points_of_one_count_stay_apart() -> None:
    places = sorted(p.x for p in prepare(make_rows(*(trial(1, 70.0) for _ in range(30)))).points)
    assert min(b - a for a, b in pairwise(places)) > 0.005


def test_two_values_have_no_interval_and_the_chart_says_so() -> None:
    rows = make_rows(trial(1, 70.0, **again(70.5, 50.0, 2)), trial(1, 72.0))
    chart = prepare(rows)
    assert [each.span for each in (*chart.replicates, *chart.means)] == [None, None]
    assert "Intervals need at least 3 values." in chart.notes
    assert chart.scale.end - chart.scale.start < 3


def test_the_range_is_the_same_however_wide_an_interval_is() -> None:
    charts = [
        prepare(make_rows(trial(1, 70.0, **again(70.4, half)), trial(2, 71.0, **again(70.6, 0.3))))
        for half in (4.0, 400.0)
    ]
    assert charts[0].scale == charts[1].scale
    for chart in charts:
        wide, narrow = chart.replicates
        assert wide.goes_below
        assert wide.goes_above
        assert wide.caps == []
        assert wide.span is not None
        assert chart.scale.start < wide.span[0] < wide.span[1] < chart.scale.end
        assert narrow.caps == [70.6 - 0.3, 70.6 + 0.3], "one that fits is whole"
        assert "An arrowhead marks an interval that extends beyond the scale." in chart.notes


def test_the_best_is_the_trial_of_the_study_with_its_fresh_seeds() -> None:
    best = prepare(TABLE).best
    assert best is not None
    assert (best.trial, best.y, best.label) == (0, 71.0, "best 71.00 %")
    assert best.trial_label == "trial 0: 70.00 %", "where the trial's own accuracy is shown"
    assert accuracy_chart(TABLE, best=None, reference=None, teacher=None).best is None


def test_labels_alone_have_the_star_where_they_are_best() -> None:
    fresh = BaselinePoint("resnet8", 75.5, Replicates(5, 80.0, 0.4))
    chart = accuracy_chart(TABLE, best=fresh, reference=75.5, teacher=None)
    best = chart.best
    assert best is not None
    assert (best.trial, best.y, best.accuracy, best.models) == (None, 80.0, 75.5, ("resnet8",))
    assert best.headline == "best: 80.00 % (mean of 5 seeds), labels alone"
    assert chart.scale.start < best.y <= chart.scale.high, "in sight, though above every trial"
    own = next(each for each in chart.replicates if each.x == best.x)
    assert own.span == (79.6, 80.4)
    assert own.words.startswith("labels alone, mean of 5 fresh seeds")
    # Left of the column of plain KD, and the axis has room for it.
    assert chart.count_range[0] < best.x < min(point.x for point in chart.points)
    assert chart.count_range[0] < prepare(TABLE).count_range[0]
    single = BaselinePoint("resnet8", 75.5, None)
    best = accuracy_chart(TABLE, best=single, reference=75.5, teacher=None).best
    assert best is not None
    assert (best.y, best.headline) == (75.5, "best: 75.50 %, labels alone"), "on its line"


def test_what_is_no_number_is_no_line() -> None:
    assert prepare(TABLE, reference=math.nan, teacher=math.inf).lines == ()


def test_what_lies_below_the_scale_is_counted_at_its_edge() -> None:
    rows = [*(trial(1, 96 + i / 10) for i in range(8)), trial(1, 10.0), trial(1, 11.0)]
    chart = prepare(make_rows(*rows))
    (marks, mean) = chart.edge_marks
    assert (marks.text, marks.words) == ("2", "below the scale: trial 8, 9")
    assert mean.text == "79.2"
    assert marks.y < mean.y < chart.scale.low
    assert len(chart.shown) == 8


def test_many_counts_have_few_ticks() -> None:
    rows = [trial(1, 90.0, assistant_count=count) for count in range(41)]
    assert len(prepare(make_rows(*rows)).count_ticks) <= 11
