from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgkd_search.results.scales import accuracy_limits, make_scale, round_numbers

_PERCENT = st.floats(0, 100)


@settings(deadline=None)
@given(
    st.lists(_PERCENT, max_size=10),
    st.lists(_PERCENT, max_size=10),
    st.none() | _PERCENT,
    st.none() | _PERCENT,
)
def test_limits_show_the_best_and_most_trials(
    completed: list[float], pruned: list[float], reference: float | None, teacher: float | None
) -> None:
    low, high = accuracy_limits(completed, pruned, reference, teacher)
    assert math.isfinite(low)
    assert high - low >= 1 - 1e-9
    assert max([*completed, *pruned], default=high) <= high
    assert sum(value >= low for value in completed) >= len(completed) / 2


def test_limits_ignore_what_would_squash_the_trials() -> None:
    completed = [96.0, 96.2, 96.4, 96.6, 96.8, 97.0, 10.0]
    assert accuracy_limits(completed, [95.9, 30.0], None, None) == (95.9, 97.0)
    assert accuracy_limits(completed, [], None, 97.5) == (96.0, 97.5)
    assert accuracy_limits(completed, [], None, 99.5) == (96.0, 97.0)
    assert accuracy_limits(completed, [], 94.5, None) == (94.5, 97.0)
    assert accuracy_limits(completed, [], 60.0, None) == (96.0, 97.0)


def test_an_interval_widens_the_limits_unless_it_squashes_the_trials() -> None:
    completed = [96.0, 96.5, 97.0]
    assert accuracy_limits(completed, [], None, None, [95.9, 97.2]) == (95.9, 97.2)
    assert accuracy_limits(completed, [], None, None, [60.0, 133.0]) == (96.0, 97.0)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_are_round_and_within(start: float, span: float) -> None:
    ticks = round_numbers(start, start + span)
    assert 2 <= len(ticks) <= 9
    assert start - 1e-6 * span <= ticks[0] < ticks[-1] <= start + span * (1 + 1e-6)
    steps = {round((b - a) / span, 4) for a, b in pairwise(ticks)}
    assert len(steps) == 1, "they are as far apart"


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 10.0, ["0", "2", "4", "6", "8", "10"]),
        (96.0, 97.0, ["96.0", "96.2", "96.4", "96.6", "96.8", "97.0"]),
        (0.0, 2.0, ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25", "1.50", "1.75", "2.00"]),
    ],
)
def test_labels_have_the_decimals_they_need(low: float, high: float, labels: list[str]) -> None:
    scale = make_scale(low, high, before=0.0, after=0.0)
    assert scale.tick_labels == labels
    assert [float(label) for label in scale.tick_labels] == [*scale.ticks]


def test_no_tick_lies_beyond_what_can_be() -> None:
    scale = make_scale(99.5, 100.0, before=0.2, after=0.4, bounds=(0.0, 100.0))
    assert scale.end > 100
    assert max(scale.ticks) == 100
    assert scale.share(scale.at(0.25)) == pytest.approx(0.25)
