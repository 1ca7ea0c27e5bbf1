from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from helpers.tabled import make_table, trial

from dgkd_search.results.report import charts


def values(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """All data of a figure."""
    return list(spec["datasets"].values())


def steps(**curves: list[float]) -> pd.DataFrame:
    rows = [
        (int(name[1:]), epoch, value)
        for name, curve in curves.items()
        for epoch, value in enumerate(curve, 1)
    ]
    return pd.DataFrame(rows, columns=["trial", "epoch", "val_accuracy"])


TABLE = make_table(
    trial(0, 70.0, repeats=3, repeats_mean=71.0, repeats_half_width=0.5),
    trial(1, 74.5, drop_probability=0.25),
    trial(2, 60.0, state="PRUNED", drop_probability=0.5),
    trial(1, None, state="FAIL"),
    trial(1, 72.0, state="RUNNING"),
)


def test_a_point_is_a_trial_that_ended_with_an_accuracy() -> None:
    drawn = charts.points(TABLE)
    assert [*drawn["trial"]] == [0, 1, 2]
    assert [*drawn["state"]] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert drawn["chain"][1] == "resnet26 > resnet20 > resnet8, drop 0.25"
    assert drawn["repeats"][0] == "71.00 ± 0.50"
    assert (drawn["low"][0], drawn["high"][0]) == (70.5, 71.5)
    assert (abs(drawn["place"] - drawn["assistants"]) < 0.5).all(), "a point is in its column"


def test_intervals_of_repeats_are_in_sight() -> None:
    table = make_table(
        trial(0, 70.0, repeats=3, repeats_mean=68.0, repeats_half_width=9.0), trial(1, 71.0)
    )
    low, high = charts._limits(charts.points(table), None, None)
    assert low < 59.0
    assert high > 77.0


def test_points_of_one_count_stay_apart() -> None:
    drawn = charts.points(make_table(*(trial(1, 70.0) for _ in range(30))))
    places = sorted(drawn["place"])
    assert min(b - a for a, b in pairwise(places)) > 0.005


def test_the_best_so_far_never_falls_and_counts_completed_trials_alone() -> None:
    table = make_table(
        trial(0, 70.0), trial(1, 90.0, state="PRUNED"), trial(1, 60.0), trial(2, 75.0)
    )
    spec = charts.history(charts.points(table))
    (best,) = [rows for rows in values(spec) if rows and "best" in rows[0]]
    assert [(row["trial"], row["best"]) for row in best] == [(0, 70.0), (2, 70.0), (3, 75.0)]


def test_curves_are_thinned_but_keep_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "_POINTS", 40)
    told = steps(t0=[float(i) for i in range(95)], t1=[5.0, 6.0, 7.0])
    spec = charts.curves(charts.points(TABLE), told, 0)
    assert spec is not None
    rows = max(values(spec), key=len)
    assert len(rows) <= 42
    last = {row["trial"]: row["val_accuracy"] for row in sorted(rows, key=lambda row: row["epoch"])}
    assert last == {0: 94.0, 1: 7.0}


def test_searches_of_real_size_have_curves() -> None:
    table = make_table(*(trial(1, 70.0) for _ in range(64)))
    told = steps(**{f"t{i}": [70.0] * 240 for i in range(64)})
    spec = charts.curves(charts.points(table), told, 0)
    assert spec is not None
    assert len(max(values(spec), key=len)) == 64 * 240


def test_figures_that_would_show_nothing_are_left_out() -> None:
    drawn = charts.points(TABLE)
    assert charts.curves(drawn, steps(), 0) is None
    assert charts.drop(charts.points(make_table(trial(0, 70.0)))) is None
    assert charts.drop(drawn) is not None


def test_lines_to_compare_with_are_drawn_where_they_are_in_sight() -> None:
    drawn = charts.points(TABLE)
    shown = str(charts.accuracy_chart(drawn, 69.0, 99.0))
    assert "the student alone 69.00 %" in shown
    assert "the teacher" not in shown


def test_several_searches_are_told_apart_by_name() -> None:
    drawn = charts.points(TABLE)
    spec = charts.several({"a": drawn, "b": drawn})
    (rows,) = values(spec)
    assert {row["run"] for row in rows} == {"a", "b"}
