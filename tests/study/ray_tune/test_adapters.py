from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.progress import progress
from helpers.studies import INFO, make_study
from optuna.trial import TrialState
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from dgkd_search.callbacks.base import Callback
from dgkd_search.study.planner import Planner
from dgkd_search.study.ray_tune.adapters import DeferredError, StudyScheduler, StudySearcher
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.ray_tune.messages import TrialReport, TrialTask, encode_report, encode_task
from dgkd_search.study.ray_tune.trainable import EVENT, TRIAL
from dgkd_search.training.spec import StageSpec


class Search:
    def __init__(self, **config: Any) -> None:
        self.study = make_study(epochs=3, reference=False, **config)
        self.planner = Planner(self.study.config, INFO)
        self.controller = SearchController(self.study, self.planner, Callback(), concurrency=2)
        self.alarm = DeferredError()
        self.searcher = StudySearcher(
            self.controller,
            lambda stages: encode_task(TrialTask(stages, Path("/data"), Path("/store"))),
            self.alarm,
        )
        self.scheduler = StudyScheduler(self.controller, self.alarm)

    def row(self, identifier: str, step: int, value: float) -> str:
        report = TrialReport((progress(step, value),))
        return self.result(identifier, {EVENT: encode_report(report)})

    def result(self, identifier: str, result: dict[str, Any]) -> str:
        trial = SimpleNamespace(trial_id=identifier)
        return self.scheduler.on_trial_result(None, trial, result)

    def finish(self, identifier: str, value: float = 60.0) -> None:
        assert isinstance(self.searcher.suggest(identifier), dict)
        for step in (1, 2, 3):
            self.row(identifier, step, value)
        self.searcher.on_trial_complete(identifier, {})


def test_a_suggestion_is_the_next_trial_as_one_string() -> None:
    search = Search()
    suggestion = search.searcher.suggest("a")
    assert isinstance(suggestion, dict)
    job = json.loads(suggestion[TRIAL])
    assert (job["data"], job["store"]) == ("/data", "/store")
    stages = tuple(StageSpec.from_dict(spec) for spec in job["stages"])
    configuration = search.study.configuration(search.study.trials[0])
    assert stages == search.planner.stages(configuration)
    assert [stage.architecture.name for stage in stages] == ["resnet56", "resnet8"]


def test_the_searcher_waits_while_all_places_are_taken_and_ends_with_the_budget() -> None:
    search = Search(budget=2)
    search.searcher.suggest("a")
    search.searcher.suggest("b")
    assert search.searcher.suggest("c") is None
    for identifier in "ab":
        for step in (1, 2, 3):
            search.row(identifier, step, 50.0)
        search.searcher.on_trial_complete(identifier, {})
    assert search.searcher.suggest("c") == Searcher.FINISHED
    assert [t.state.name for t in search.study.trials] == ["COMPLETE"] * 2


def test_a_worker_that_died_again_and_again_fails_its_trial() -> None:
    search = Search()
    for identifier in "abcd":
        search.searcher.suggest(identifier)
        assert search.study.trials[0].state == TrialState.RUNNING
        search.searcher.on_trial_complete(identifier, error=True)
        search.searcher.on_trial_complete(identifier, error=True)  # reported twice
    (trial,) = search.study.trials
    assert trial.state == TrialState.FAIL
    reason = trial.user_attrs["reason"]
    assert reason.startswith("its worker died, 4 times without an epoch of resnet56: ")


def test_the_scheduler_stops_exactly_what_is_pruned() -> None:
    search = Search(pruner="median")
    for identifier in "abcde":
        search.finish(identifier)
    search.searcher.suggest("f")
    search.searcher.suggest("g")
    assert search.row("g", 1, 90.0) == TrialScheduler.CONTINUE
    assert search.row("f", 1, 10.0) == TrialScheduler.STOP
    search.searcher.on_trial_complete("f", {})
    assert [t.state.name for t in search.study.trials[-2:]] == ["PRUNED", "RUNNING"]


def test_the_scheduler_stops_what_reports_a_failure() -> None:
    search = Search()
    search.searcher.suggest("a")
    failure = {EVENT: encode_report(TrialReport(failure="loss is not finite"))}
    assert search.result("a", failure) == TrialScheduler.STOP
    search.searcher.on_trial_complete("a", {})
    assert search.study.trials[0].user_attrs["reason"] == "loss is not finite"


def test_rows_without_an_event_and_rows_after_the_end_are_ignored() -> None:
    search = Search()
    search.searcher.suggest("a")
    assert search.result("a", {"training_iteration": 1}) == TrialScheduler.CONTINUE
    search.controller.on_end("a", "gone")
    assert search.row("a", 1, 50.0) == TrialScheduler.CONTINUE
    assert search.study.trials[0].intermediate_values == {}


def test_trials_that_tune_lost_without_a_word_go_on_with_another_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = Search()
    search.searcher.suggest("a")
    search.searcher.suggest("b")
    trials = [
        SimpleNamespace(trial_id="a", status=TuneTrial.ERROR),
        SimpleNamespace(trial_id="b", status=TuneTrial.RUNNING),
        SimpleNamespace(trial_id="stranger", status=TuneTrial.ERROR),
    ]
    monkeypatch.setattr(FIFOScheduler, "choose_trial_to_run", lambda *_: trials[1])
    controller = SimpleNamespace(get_trials=lambda: trials)
    assert search.scheduler.choose_trial_to_run(controller) is trials[1]
    assert search.controller.running == {"b"}
    assert search.study.trials[0].state == TrialState.RUNNING
    search.searcher.suggest("c")
    assert search.controller.running == {"b", "c"}
    assert len(search.study.trials) == 2, "under its number"


def test_the_searcher_refuses_tunes_own_limiter_and_snapshots(tmp_path: Path) -> None:
    searcher = Search().searcher
    assert searcher.set_max_concurrency(3)
    searcher.save(str(tmp_path / "snapshot"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotImplementedError, match="resumed from its study"):
        searcher.restore("snapshot")


def test_an_error_of_the_conductor_stops_the_trial_and_is_kept_for_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = Search()
    search.searcher.suggest("a")
    search.alarm.check()

    def full(*arguments: object) -> bool:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(search.controller, "on_report", full)
    assert search.row("a", 1, 50.0) == TrialScheduler.STOP
    monkeypatch.setattr(search.controller, "on_end", lambda *arguments: 1 / 0)
    search.searcher.on_trial_complete("a", {})
    with pytest.raises(OSError, match="no space left"):
        search.alarm.check()
