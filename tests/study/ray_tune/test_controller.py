from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.controllers import EPOCHS, Search, confirmed
from helpers.progress import progress
from helpers.studies import INFO, stats_of

from dgkd_search.distillation.stats import StageResult, TrialStats
from dgkd_search.study.planner import Planner
from dgkd_search.study.ray_tune.messages import TrialReport, decode_report, encode_report
from dgkd_search.study.replication import Replication


def test_no_more_jobs_run_at_once_than_allowed() -> None:
    search = Search(concurrency=2, reference=True)
    first = search.begin()
    search.begin()
    assert search.start() is None
    assert not search.controller.is_finished
    search.finish(first)
    assert search.start() is not None
    assert search.start() is None


def test_a_reference_that_fails_is_told_and_the_search_goes_on() -> None:
    search = Search(reference=True, budget=1)
    search.fail(search.begin(), "out of memory")
    assert search.watcher.ended == [(None, "failed", None, "out of memory")]
    assert search.reference.val_accuracy is None
    search.finish(search.begin())
    assert search.controller.is_finished


@pytest.mark.parametrize("concurrency", [1, 2, 5])
@pytest.mark.parametrize("failing", [set(), {1, 2, 4}])
def test_the_budget_is_met_exactly_with_failures_replaced(
    concurrency: int, failing: set[int]
) -> None:
    search = Search(budget=6, concurrency=concurrency)
    running: list[str] = []
    ended = 0
    while not search.controller.is_finished:
        while (identifier := search.start()) is not None:
            running.append(identifier)
        assert search.study.finished + len(running) <= 6
        if ended in failing:
            search.fail(running.pop(0))
        else:
            search.finish(running.pop(0))
        ended += 1
    assert not running
    assert search.states.count("COMPLETE") == 6
    assert search.states.count("FAIL") == len(failing)
    assert search.controller.stop_reason is None


def test_three_failures_in_a_row_end_the_search() -> None:
    search = Search()
    for reason in ("one", "two"):
        search.fail(search.begin(), reason)
        assert not search.controller.is_finished
    search.fail(search.begin(), "three\nlines  of\ttext")
    assert search.controller.is_finished
    assert search.start() is None
    expected = "3 trials failed in a row, the last one: three lines of text"
    assert search.controller.stop_reason == search.controller.abort_reason == expected


def test_a_success_between_failures_starts_the_count_again() -> None:
    search = Search(concurrency=1, pruner="median")
    for _ in range(3):
        search.fail(search.begin())
        search.fail(search.begin())
        search.finish(search.begin())
    assert search.controller.abort_reason is None
    assert not search.controller.is_finished


def test_a_pruned_trial_is_stopped_and_stands_as_pruned() -> None:
    search = Search(pruner="median")
    for _ in range(5):
        search.finish(search.begin(), 60.0)
    trial = search.begin()
    assert not search.row(trial, None, 5.0)
    assert search.row(trial, 1, 10.0)
    assert search.row(trial, 2, 90.0), "a row that comes before Tune has stopped it"
    assert search.row(trial, 3, 90.0)
    search.controller.on_end(trial)
    assert search.states[-1] == "PRUNED"
    assert search.study.trials[-1].intermediate_values == {1: 10.0}
    assert search.watcher.ended[-1] == (5, "pruned", 10.0, None)
    assert search.study.finished == 6


def test_a_pruned_trial_keeps_its_place_until_tune_lets_it_go() -> None:
    search = Search(pruner="median", concurrency=1, budget=6)
    for _ in range(5):
        search.finish(search.begin(), 60.0)
    trial = search.begin()
    assert search.row(trial, 1, 10.0)
    assert search.start() is None
    search.controller.on_end(trial)
    assert search.controller.is_finished


def test_rows_of_assistants_and_of_waiting_are_shown_but_not_reported() -> None:
    search = Search()
    trial = search.begin()
    assert not search.row(trial, None, 80.0)
    assert not search.row(trial, None, None)
    assert search.study.trials[0].intermediate_values == {}
    assert search.watcher.rows == [(0, None), (0, None)]


def test_rows_that_a_restarted_worker_repeats_change_nothing() -> None:
    search = Search()
    trial = search.begin()
    for step, value in ((1, 40.0), (2, 45.0), (1, 40.0), (2, 45.0), (3, 50.0)):
        assert not search.row(trial, step, value)
    search.controller.on_end(trial)
    assert search.study.trials[0].intermediate_values == {1: 40.0, 2: 45.0, 3: 50.0}
    assert search.states == ["COMPLETE"]


def test_a_worker_that_dies_after_the_last_epoch_loses_nothing() -> None:
    search = Search()
    trial = search.begin()
    for step in (1, 2, 3):
        search.row(trial, step, 70.0)
    search.controller.on_end(trial, "its worker died repeatedly")
    assert search.states == ["COMPLETE"]
    assert search.watcher.ended == [(0, "complete", 70.0, None)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, "ended before its last epoch"), ("its worker died", "its worker died")],
)
def test_a_trial_that_ends_before_its_last_epoch_has_failed(error: str | None, reason: str) -> None:
    search = Search()
    trial = search.begin()
    search.row(trial, 1, 40.0)
    search.controller.on_end(trial, error)
    assert search.states == ["FAIL"]
    assert search.study.trials[0].user_attrs["reason"] == reason
    assert search.watcher.ended == [(0, "failed", 40.0, reason)]


def test_the_time_budget_stops_what_runs() -> None:
    search = Search(deadline=100.0, budget=9, reference=True)
    reference, trial = search.begin(), search.begin()
    search.now = 99.0
    assert not search.is_finished()
    assert not search.row(trial, 1)
    search.now = 100.0
    assert search.is_finished()
    assert search.start() is None
    assert search.row(trial, None, None), "a waiting trial is stopped too"
    assert search.row(reference, 1)
    search.controller.on_end(trial)
    search.controller.on_end(reference)
    assert search.states == ["FAIL"]
    assert search.study.trials[0].user_attrs["reason"] == "stopped by the time budget of 100 s"
    assert search.controller.stop_reason == "the time budget of 100 s is used up"
    assert search.controller.abort_reason is None
    assert search.reference.val_accuracy is None


def test_a_trial_whose_last_epoch_comes_late_is_complete() -> None:
    search = Search(deadline=100.0)
    trial = search.begin()
    search.row(trial, 1)
    search.row(trial, 2)
    search.now = 101.0
    assert not search.row(trial, 3)
    search.controller.on_end(trial)
    assert search.states == ["COMPLETE"]


def test_trials_stopped_by_the_time_budget_are_no_failures_in_a_row() -> None:
    search = Search(deadline=100.0, concurrency=4)
    trials = [search.begin() for _ in range(4)]
    search.now = 200.0
    for trial in trials:
        assert search.row(trial, 1)
        search.controller.on_end(trial)
    assert search.controller.stop_reason == "the time budget of 100 s is used up"


def test_an_unknown_job_ends_without_effect() -> None:
    search = Search()
    trial = search.begin()
    search.controller.on_end("stranger", "whatever")
    search.finish(trial)
    search.controller.on_end(trial)
    assert search.states == ["COMPLETE"]
    assert len(search.watcher.ended) == 1


def test_an_interrupted_search_leaves_nothing_running(tmp_path: Path) -> None:
    search = Search(concurrency=3, path=tmp_path / "study.db", reference=True)
    search.begin()
    running, done = search.begin(), search.begin()
    search.row(running, 1, 40.0)
    for step in (1, 2, 3):
        search.row(done, step, 60.0)
    search.study.ask()  # interrupted before the controller knew of it
    search.controller.abandon("interrupted")
    assert search.states == ["FAIL", "COMPLETE", "FAIL"]
    assert search.study.trials[0].user_attrs["reason"] == "interrupted"
    assert search.study.trials[0].intermediate_values == {1: 40.0}
    assert (search.controller.running, search.study.live) == (set(), 0)
    ends = [(number, state, reason) for number, state, _, reason in search.watcher.ended]
    assert ends == [
        (None, "stopped", "interrupted"),
        (0, "stopped", "interrupted"),
        (1, "complete", None),
    ]


def test_facts_stay_with_the_trial_and_notes_with_the_search() -> None:
    search = Search()
    trial = search.begin()
    search.now = 12.5
    search.finish(trial)
    stats = stats_of(search.study, search.study.trials[0])
    assert (stats.computing, stats.seconds, stats.notes) == (1.0, 12.5, ())
    assert search.watcher.messages == ["note 3"]


def test_attempts_at_one_trial_are_added_up() -> None:
    """A worker dies after training the teacher and starting the student; Tune retries the trial."""
    search = Search()
    trial = search.begin()

    def stage(name: str, epochs: int, trained: int) -> StageResult:
        done = epochs == EPOCHS
        return StageResult(name, name, 10.0 * epochs, epochs, trained, 2.0 * trained, done)

    def event(attempt: str, step: int, note: str, *stages: StageResult) -> None:
        row = progress(step, epochs=EPOCHS)
        computing = sum(stage.seconds for stage in stages)
        stats = TrialStats(stages, computing=computing, waiting=1.0, notes=(note,))
        report = TrialReport((row,), stats, attempt)
        assert not search.controller.on_report(trial, decode_report(encode_report(report)))

    event("a", 1, "one", stage("teacher", 3, 3), stage("student", 1, 1))
    event("b", 1, "two", stage("teacher", 3, 0))
    event("b", 2, "two", stage("teacher", 3, 0), stage("student", 2, 1))
    event("c", 3, "three", stage("student", 3, 1))
    search.controller.on_end(trial)
    stats = stats_of(search.study, search.study.trials[0])
    assert stats.stages == (stage("teacher", 3, 3), stage("student", 3, 3))
    assert (stats.computing, stats.waiting) == (12.0, 3.0)
    assert search.watcher.messages == ["one", "two", "three"]


def test_the_best_are_taught_again_when_all_trials_have_ended() -> None:
    search = Search(budget=2, reference=True, confirm_top=1, confirm_seeds=2)
    search.finish(search.begin(), 40.0)  # the baseline on labels
    first, second = search.begin(), search.begin()
    search.finish(second, 80.0)
    assert search.start() is None, "the other trial may turn out best"
    assert not search.controller.is_finished
    search.finish(first, 60.0)
    expected = [(1, 1), (0, 1), (None, 1), (1, 2), (0, 2), (None, 2)]
    confirmed(search, {job: 50.0 + 10 * job[1] + (job[0] or 0) for job in expected})
    again = [job for job in search.watcher.started_jobs if job.replicate]
    assert [(job.number, job.replicate) for job in again] == expected
    assert search.watcher.confirmed == [6]
    assert search.states == ["COMPLETE", "COMPLETE"]
    assert [trial.value for trial in search.study.trials] == [60.0, 80.0], "as before"
    assert search.controller.stop_reason is None
    found = Replication.from_study(search.study)
    assert found is not None
    assert found.complete
    assert [repeats.accuracies for repeats in found.stats] == [[61, 71], [60, 70], [60, 70]]
    seeds = {stages[-1].replicate for stages in search.stages.values()}
    assert seeds == {0, 1, 2}


def test_a_finished_confirmation_is_over_at_once(tmp_path: Path) -> None:
    config: dict[str, Any] = {"budget": 1, "confirm_top": 1, "confirm_seeds": 2}
    search = Search(path=tmp_path / "study.db", **config)
    search.finish(search.begin(), 60.0)
    confirmed(search, {(0, 1): 61.0, (0, 2): 62.0})
    assert Search(path=tmp_path / "study.db", **config).controller.is_finished
    more = Search(path=tmp_path / "study.db", **config | {"confirm_seeds": 3})
    confirmed(more, {(0, 3): 63.0})
    found = Replication.from_study(more.study)
    assert found is not None
    assert found.stats[0].accuracies == [61.0, 62.0, 63.0]


def test_a_repeat_that_fails_or_is_stopped_is_done_again_by_a_resumed_search(
    tmp_path: Path,
) -> None:
    config: dict[str, Any] = {"budget": 1, "confirm_top": 1, "confirm_seeds": 2}
    search = Search(path=tmp_path / "study.db", **config)
    search.finish(search.begin(), 60.0)
    search.fail(search.begin())
    search.row(search.begin(), 1)
    search.controller.suspend()
    assert search.states == ["COMPLETE"]
    again = Search(path=tmp_path / "study.db", **config)
    confirmed(again, {(0, 1): 61.0, (0, 2): 62.0})


def test_repeats_stop_at_the_time_budget() -> None:
    search = Search(budget=1, deadline=10.0, confirm_top=1, confirm_seeds=2)
    search.finish(search.begin(), 60.0)
    search.finish(search.begin(), 61.0)
    last = search.begin()
    search.now = 11.0
    assert search.row(last, 1)
    search.controller.on_end(last)
    assert search.controller.is_finished
    assert search.controller.stop_reason == "the time budget of 10 s is used up"
    found = Replication.from_study(search.study)
    assert found is not None
    assert (found.complete, found.stats[0].accuracies) == (False, [61.0])


def test_repeats_are_never_pruned() -> None:
    search = Search(budget=4, pruner="median", confirm_top=1, confirm_seeds=2)
    while not search.watcher.confirmed:
        search.finish(search.begin(), 90.0 if search.study.finished else 95.0)
        _ = search.controller.is_finished
    confirmed(search, {(0, 1): 1.0, (0, 2): 1.0})
    assert [end[1] for end in search.watcher.ended[-2:]] == ["complete", "complete"]


def test_with_two_objectives_a_trial_is_told_with_what_its_chain_costs() -> None:
    search = Search(budget=3, objectives=("accuracy", "cost"))
    for _ in range(3):
        search.finish(search.begin(), 60.0)
    planner = Planner(search.study.config, INFO)
    for trial in search.study.trials:
        stages = planner.stages(search.study.configuration(trial))
        assert trial.values == [60.0, planner.tflop(stages)]
        assert stats_of(search.study, trial).tflop == planner.tflop(stages)
    assert len({trial.values[1] for trial in search.study.trials}) == 3


def test_a_trial_whose_worker_was_lost_goes_on_under_its_number() -> None:
    search = Search(budget=2, concurrency=1)
    first = search.begin()
    search.row(first, 1, 40.0)
    search.controller.on_lost(first, "its worker could not be started")
    assert search.states == ["RUNNING"]
    assert not search.controller.is_finished
    again = search.begin()
    assert search.watcher.started_jobs[0] == search.watcher.started_jobs[1]
    assert "#0: its worker could not be started; it continues with another worker" in (
        search.watcher.messages
    )
    search.finish(again, 40.0)
    assert search.states == ["COMPLETE"]
    assert stats_of(search.study, search.study.trials[0]).computing == 2.0, "of both attempts"
    search.finish(search.begin())
    assert search.controller.is_finished


def test_a_trial_whose_worker_is_lost_again_and_again_fails_with_the_reason() -> None:
    search = Search(budget=1, concurrency=1)
    for _ in range(4):
        assert search.states in ([], ["RUNNING"])
        search.controller.on_lost(search.begin(), "its worker could not be started")
    assert search.states == ["FAIL"]
    reason = search.study.trials[0].user_attrs["reason"]
    assert reason == "its worker could not be started, 4 times without an epoch of resnet56"


def test_a_worker_that_gets_on_may_die_often() -> None:
    search = Search(budget=1, concurrency=1)
    for epoch in range(1, EPOCHS):
        for _ in range(3):
            identifier = search.begin()
            if epoch > 1:
                search.row(identifier, epoch - 1, 40.0, event="replayed")
            search.controller.on_lost(identifier, "its worker died")
        identifier = search.begin()
        search.row(identifier, epoch, 40.0)
        search.controller.on_lost(identifier, "its worker died")
    search.finish(search.begin(), 40.0)
    assert search.states == ["COMPLETE"]


def test_the_reference_and_repeats_that_were_lost_begin_again() -> None:
    search = Search(budget=1, concurrency=1, reference=True, confirm_top=1, confirm_seeds=2)
    first = search.begin()
    search.row(first, 1, 40.0)
    search.controller.on_lost(first, "gone")
    search.finish(search.begin(), 40.0)
    assert search.reference.val_accuracy == 40.0
    assert search.reference.stats.computing == 2.0, "of both attempts"
    search.finish(search.begin(), 60.0)
    search.controller.on_lost(search.begin(), "gone")
    confirmed(search, {(0, 1): 1.0, (None, 1): 2.0, (0, 2): 3.0, (None, 2): 4.0})
    found = Replication.from_study(search.study)
    assert found is not None and found.complete
