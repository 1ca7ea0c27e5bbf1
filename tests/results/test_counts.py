from __future__ import annotations

import pytest
from helpers.tabled import make_rows, trial
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dgkd_search.results.counts import accuracy_by_count


def test_interval_by_hand() -> None:
    values = [97.0, 96.0, 97.5]
    rows = make_rows(*(trial(2, value) for value in values), trial(0, 95.0))
    none, two = accuracy_by_count(rows)
    assert (none.assistants, none.completed, none.best, none.half_width) == (0, 1, 95.0, None)
    assert (two.assistants, two.completed, two.best) == (2, 3, 97.5)
    assert two.mean == pytest.approx(290.5 / 3)
    low, high = stats.t.interval(0.95, 2, 290.5 / 3, stats.sem(values))
    assert two.half_width == pytest.approx((high - low) / 2)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_mean_and_best_stay_within_the_values(values: list[float]) -> None:
    (summary,) = accuracy_by_count(make_rows(*(trial(1, value) for value in values)))
    assert summary.best == max(values)
    assert min(values) - 1e-9 <= summary.mean <= max(values) + 1e-9
    assert summary.half_width is not None
    assert summary.half_width >= 0


def test_only_completed_trials_with_a_teacher_count() -> None:
    rows = make_rows(
        trial(1, 90.0),
        trial(1, 99.0, state="PRUNED"),
        trial(1, 98.0, state="RUNNING"),
        trial(1, None),
        trial(0, 97.0, teacher="", guidance="none"),
    )
    assert [(each.assistants, each.best) for each in accuracy_by_count(rows)] == [(1, 90.0)]
    assert accuracy_by_count([]) == ()
