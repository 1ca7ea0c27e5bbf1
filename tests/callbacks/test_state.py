from __future__ import annotations

from dataclasses import replace

from helpers.screens import ALONE, OTHER, TRIAL, Clock, busy, row, view

from dgkd_search.callbacks.events import (
    ReplicationStarted,
    SearchStarted,
    TrialEnded,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.state import SearchState


def test_a_job_that_ended_leaves_the_view_even_if_a_row_comes_late(clock: Clock) -> None:
    progress = busy(clock)
    progress.notify(TrialEnded(TRIAL, "complete", 98.0, None))
    progress.notify(TrialUpdated(TRIAL, row("epoch", 2, 12, val_accuracy=98.0)))
    assert not [line for line in view(progress, 120) if line.startswith("#7")]
    assert any(line.startswith("#8") for line in view(progress, 120))


def test_counts_and_best() -> None:
    state = SearchState(Clock())
    state.update(SearchStarted(5, 1, None))
    state.update(TrialEnded(ALONE, "complete", 99.9, None))  # the baseline is not a trial
    assert (state.ended.total(), state.best) == (0, None)
    state.update(TrialEnded(OTHER, "complete", 90.0, None))
    state.update(TrialEnded(TRIAL, "pruned", 95.0, None))
    state.update(TrialEnded(TRIAL, "failed", None, None))
    state.update(TrialEnded(TRIAL, "complete", 89.0, None))
    assert state.ended == {"complete": 2, "pruned": 1, "failed": 1}
    assert state.best == (OTHER, 90.0)
    assert state.count() == "3 of 5"  # another trial replaces a failed one


def test_stages_are_reused_only_if_all_their_rows_are() -> None:
    state = SearchState(Clock())
    state.update(TrialStarted(TRIAL))
    assert state.add_progress(TrialUpdated(TRIAL, row("waiting", 0)))
    assert (state.trained, state.reused) == (0, 0)
    assert not state.add_progress(TrialUpdated(TRIAL, row("replayed", 0, 12)))
    assert state.add_progress(TrialUpdated(TRIAL, row("replayed", 1, 1)))
    assert (state.trained, state.reused) == (0, 2)
    assert not state.add_progress(
        TrialUpdated(TRIAL, row("epoch", 1, 2))
    )  # a checkpoint was replayed
    assert not state.add_progress(TrialUpdated(TRIAL, row("epoch", 1, 3)))
    assert (state.trained, state.reused) == (1, 1)
    assert state.add_progress(
        TrialUpdated(OTHER, row("epoch", 1, 1))
    )  # the same position of another trial
    assert (state.trained, state.reused) == (2, 1)


def test_estimates(clock: Clock) -> None:
    state = SearchState(clock)
    assert (state.remaining(), state.elapsed) == (None, 0)
    state.update(SearchStarted(6, 2, None))
    clock.now += 30
    state.update(TrialEnded(TRIAL, "complete", 90.0, None))
    assert state.remaining() is None  # the other trial may end in a second
    state.update(TrialEnded(OTHER, "failed", None, None))
    assert state.remaining() is None  # that trial doesn't count
    state.update(TrialEnded(OTHER, "pruned", 50.0, None))
    assert state.remaining() == "about 1 min left"
    clock.now += 10
    assert (state.remaining(), state.elapsed) == ("about 1 min left", 40)
    for _ in range(3):
        state.update(TrialEnded(OTHER, "pruned", 50.0, None))
    assert state.remaining() == "about 8 s left"
    for _ in range(2):
        state.update(TrialEnded(OTHER, "pruned", 50.0, None))
    assert state.remaining() == "about 0 s left"


def test_estimates_count_the_students_that_will_be_taught_again(clock: Clock) -> None:
    state = SearchState(clock)
    state.update(SearchStarted(4, 2, None, max_replicates=10))
    for trial in (TRIAL, OTHER):
        state.update(TrialStarted(trial))
        clock.now += 4
        state.add_progress(TrialUpdated(trial, row("epoch", 0, 12)))  # its teacher
        for epoch in range(1, 13):
            clock.now += 0.5
            state.add_progress(TrialUpdated(trial, row("epoch", 2, epoch)))
        state.update(TrialEnded(trial, "complete", 90.0, None))
    # Two more trials of 10 s, and ten students of 6 s, two at once.
    assert state.remaining() == "about 50 s left"
    state.update(ReplicationStarted(6))
    state.update(TrialStarted(replace(TRIAL, replicate=1)))
    clock.now += 3
    state.update(TrialEnded(replace(TRIAL, replicate=1), "complete", 90.0, None))
    state.update(TrialEnded(replace(TRIAL, replicate=2), "complete", 90.0, None))
    assert state.remaining() == "about 6 s left"


def test_time_budget_bounds_the_estimate(clock: Clock) -> None:
    state = SearchState(clock)
    state.update(SearchStarted(1000, 1, 7200))
    clock.now += 600
    assert state.remaining() == "at most 1 h 50 min left"
    state.update(TrialEnded(TRIAL, "complete", 90.0, None))
    assert state.remaining() == "about 1 h 50 min left"
    clock.now += 9000
    assert state.remaining() == "about 0 s left"
