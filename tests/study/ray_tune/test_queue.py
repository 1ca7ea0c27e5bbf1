from __future__ import annotations

from pathlib import Path

from helpers.controllers import Search, confirmed
from helpers.studies import make_space
from optuna.trial import TrialState

from dgkd_search.callbacks.events import TrialInfo
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study.replication import Replication


def finish_stage(search: Search, identifier: str, *names: str) -> None:
    """Report that the trial ``identifier`` has trained these models."""
    search.trained |= {s.key for s in search.stages[identifier] if s.architecture.name in names}


def needed(search: Search, identifier: str) -> str:
    """Return the key of the stage that a trial trains next."""
    return search.controller._queue.needed_first(search.stages[identifier])


def test_the_reference_comes_first_and_does_not_count() -> None:
    search = Search(budget=1, reference=True)
    reference = search.begin()
    assert search.watcher.started_jobs == [TrialInfo(None, ("resnet8",), "none", None)]
    search.finish(reference, 33.0)
    assert (search.study.finished, search.states) == (0, [])
    known = search.reference
    assert (known.val_accuracy, known.stats.computing) == (33.0, 1.0)
    search.finish(search.begin())
    assert search.controller.is_finished
    assert len(search.watcher.started_jobs) == 2


def test_a_reference_that_is_known_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(reference=True, path=path, budget=1)
    search.finish(search.begin())
    again = Search(reference=True, path=path, budget=1)
    again.begin()
    assert again.watcher.started_jobs[0].number == 0


def test_a_budget_that_is_used_up_waits_for_the_reference() -> None:
    search = Search(budget=1, reference=True)
    reference, trial = search.begin(), search.begin()
    search.finish(trial)
    assert search.controller.is_finished
    assert search.controller.running == {reference}
    assert not search.row(reference, 1)
    search.finish(reference, 20.0)
    assert search.reference.val_accuracy == 20.0
    assert search.controller.stop_reason is None


def test_a_space_that_is_used_up_ends_the_search_with_trials_still_running() -> None:
    search = Search(space=make_space(("resnet20",)), concurrency=5)
    one, two = search.begin(), search.begin()
    assert search.controller.is_finished
    assert search.start() is None
    assert not search.row(one, 1)
    search.finish(one)
    search.finish(two)
    assert search.states == ["COMPLETE"] * 2
    assert search.controller.stop_reason == "every configuration of the search space has been tried"


def test_over_never_takes_itself_back() -> None:
    search = Search(space=make_space(("resnet20",)), concurrency=5)
    one, two = search.begin(), search.begin()
    search.fail(one)
    assert search.controller.is_finished  # then Tune requests no more trials
    search.finish(two)
    assert search.controller.is_finished
    assert search.study.trials[0].state == TrialState.FAIL


def test_a_trial_that_would_only_wait_lets_others_go_first() -> None:
    search = Search(concurrency=2, share=True, budget=20)
    search.trained |= {s.key for s in search.controller._planner.reference()}
    kd = search.begin()
    finish_stage(search, kd, "resnet56")
    full = search.begin()  # trains resnet44 now
    at = full
    search.finish(kd)
    others = [search.begin()]
    # The middle assistant's chain runs beside the full chain: neither waits for the other.
    assert needed(search, at) != needed(search, others[0])
    for _ in range(6):
        search.finish(others[-1])
        others.append(search.begin())
        held = {job.number for job, _ in search.controller._queue.held}
        waits = needed(search, others[-1]) == needed(search, at)
        assert not waits or len(held) == 1, "it waits only where all that was drawn would"
    assert all(trial.state.name != "FAIL" for trial in search.study.trials)


def test_a_trial_that_was_held_back_goes_as_soon_as_its_stage_is_trained() -> None:
    search = Search(concurrency=2, share=True, budget=4, space=make_space(("resnet20",)))
    kd = search.begin()
    second = search.begin()  # needs the teacher, as all do: one has to wait
    assert needed(search, kd) == needed(search, second)
    assert [job.number for job in search.watcher.started_jobs] == [0, 1]
    finish_stage(search, kd, "resnet56")
    assert needed(search, kd) != needed(search, second)


def test_held_trials_are_within_the_budget_and_all_run_in_the_end() -> None:
    search = Search(concurrency=2, share=True, budget=7)
    running: list[str] = []
    while not search.controller.is_finished:
        while (identifier := search.start()) is not None:
            running.append(identifier)
        assert search.study.finished + search.study.live <= 7
        done = running.pop(0)
        finish_stage(search, done, *(s.architecture.name for s in search.stages[done]))
        search.finish(done)
    assert search.states == ["COMPLETE"] * 7
    assert search.controller._queue.held == []


def test_an_exhausted_space_runs_what_was_held_back() -> None:
    search = Search(concurrency=3, share=True, space=make_space(("resnet32", "resnet20")))
    running: list[str] = []
    while not search.controller.is_finished or running:
        while (identifier := search.start()) is not None:
            running.append(identifier)
        done = running.pop(0)
        finish_stage(search, done, *(s.architecture.name for s in search.stages[done]))
        search.finish(done)
    assert search.states == ["COMPLETE"] * 4


def test_trials_held_back_when_a_search_stops_are_told_as_failed() -> None:
    search = Search(concurrency=2, share=True, budget=9)
    search.begin()
    search.begin()
    held = [job.number for job, _ in search.controller._queue.held]
    search.controller.abandon("interrupted")
    assert all(state == "FAIL" for state in search.states)
    for number in held:
        reason = search.study.trials[number or 0].user_attrs["reason"]
        assert reason == "not begun: interrupted"
        stats = search.study.stats(search.study.trials[number or 0])
        assert stats == TrialStats(begun=False, retryable=True)
    assert search.study.live == 0


def test_where_nothing_is_shared_nobody_is_held_back() -> None:
    search = Search(concurrency=3, budget=9)
    started = [search.begin() for _ in range(3)]
    assert [job.number for job in search.watcher.started_jobs] == [0, 1, 2]
    assert len({needed(search, s) for s in started}) == 1
    assert search.controller._queue.held == []


def test_plain_kd_and_the_student_alone_are_taught_again_while_the_last_trial_runs() -> None:
    search = Search(budget=2, reference=True, confirm_top=1, confirm_seeds=2)
    search.finish(search.begin(), 40.0)
    first, last = search.begin(), search.begin()
    search.finish(first, 60.0)
    search.finish(search.begin(), 61.0)
    beside = search.begin()
    search.finish(last, 80.0)
    search.finish(beside, 41.0)
    values = {(1, 1): 81.0, (0, 1): 61.0, (None, 1): 41.0}
    values |= {(1, 2): 82.0, (0, 2): 62.0, (None, 2): 42.0}
    confirmed(search, values)
    again = [(job.number, job.replicate) for job in search.watcher.started_jobs if job.replicate]
    assert again == [(0, 1), (None, 1), (1, 1), (1, 2), (0, 2), (None, 2)]
    assert search.watcher.confirmed == [6]
    found = Replication.from_study(search.study)
    assert found is not None
    assert [repeats.accuracies for repeats in found.stats] == [[81, 82], [61, 62], [41, 42]]
