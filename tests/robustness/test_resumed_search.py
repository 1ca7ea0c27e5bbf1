"""A search without training that is ended before or after any commit resumes identically.

Trials run through the controller in this process, with made-up curves instead of training.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from helpers.crashing import forked
from helpers.studies import INFO, make_config, make_space, make_study, outcome, stats_of
from optuna.trial import TrialState
from sqlalchemy.engine.default import DefaultDialect

from dgkd_search.callbacks.base import Callback
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study.planner import Planner
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.ray_tune.messages import TrialReport
from dgkd_search.study.study import ChainStudy
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.hashing import derive_seed

EPOCHS = 4
ENDED = 3


def accuracy(stages: tuple[StageSpec, ...], epoch: int) -> float:
    """Return a fixed noise of the student: good curves rise, bad ones fall."""
    height = derive_seed(stages[-1].key) % 6000 / 100
    return 30 + height + (epoch if height > 30 else -epoch) / 10


class Search:
    """A search of a few trials, stopped by its clock or by the end of the process."""

    def __init__(
        self, path: Path, concurrency: int = 1, epochs: int = EPOCHS, **config: Any
    ) -> None:
        self.epochs = epochs
        space = make_space(("resnet20", "resnet14"), drop_probs=(0.0, 0.25, 0.5))
        self.study = ChainStudy(make_config(space, epochs, **{"budget": 7} | config), path)
        self.now = 0.0
        self.controller = SearchController(
            self.study,
            Planner(self.study.config, INFO),
            Callback(),
            concurrency,
            self.study.config.time_budget,
            clock=lambda: self.now,
        )
        self.running: dict[str, tuple[tuple[StageSpec, ...], int]] = {}

    def begin(self) -> None:
        """Start all trials that may start."""
        while (stages := self.controller.next_trial(name := os.urandom(8).hex())) is not None:
            self.running[name] = stages, 0

    def step(self) -> None:
        """Run the next epoch of each trial; trials with a cached student replay it."""
        for name, (stages, before) in list(self.running.items()):
            epoch = before + 1
            metrics = EpochMetrics(epoch, 0.5, accuracy(stages, epoch), 1.0)
            row = TrialProgress("epoch", "x", 0, 1, self.epochs, metrics)
            report = TrialReport((row,), TrialStats(computing=1.0))
            stop = self.controller.on_report(name, report)
            self.running[name] = stages, epoch
            if stop or epoch == self.epochs:
                del self.running[name]
                self.controller.on_end(name)
        self.now += 1.0

    def run(self) -> ChainStudy:
        while True:
            self.begin()
            if not self.running:
                break
            self.step()
        self.controller.abandon("stopped with the search")
        return self.study


Commit = Callable[[Any, Any], None]


def end_at(k: int, after: bool) -> None:
    """Make the k-th commit from now on end this process."""
    commit: Commit = DefaultDialect.do_commit
    count = [0]

    def counted(self: Any, connection: Any) -> None:
        if count[0] == k and not after:
            os._exit(ENDED)
        commit(self, connection)
        if count[0] == k:
            os._exit(ENDED)
        count[0] += 1

    DefaultDialect.do_commit = counted  # type: ignore[method-assign]


def run_in_pieces(path: Path, lengths: list[int], after: bool, **config: Any) -> bool:
    """Run sessions that end at the given commits, then one that runs to the end.

    Returns:
        Whether a session ended earlier by itself.
    """

    def session(k: int | None) -> None:
        if k is not None:
            end_at(k, after)
        study = Search(path, **config).run()
        path.with_suffix(".json").write_text(json.dumps(outcome(study)))

    for k in lengths:
        code = forked(partial(session, k))
        assert code in (0, ENDED)
        if code == 0:
            return True
    assert forked(lambda: session(None)) == 0
    return False


def keep_each_commit(path: Path, **config: Any) -> None:
    """Run a complete search; keep the database after each of its commits as 0.db, 1.db, …"""
    commit: Commit = DefaultDialect.do_commit
    numbers = itertools.count()

    def kept(self: Any, connection: Any) -> None:
        commit(self, connection)
        shutil.copyfile(path, path.with_name(f"{next(numbers)}.db"))

    DefaultDialect.do_commit = kept  # type: ignore[method-assign]
    study = Search(path, **config).run()
    path.with_suffix(".json").write_text(json.dumps(outcome(study)))


def trials_in(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            return int(database.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
        except sqlite3.OperationalError:  # there are no tables yet
            return 0


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Import what Optuna imports late, so that forked processes need not."""
    make_study().ask()
    optuna.storages.RDBStorage("sqlite://")


def test_a_search_ended_at_any_commit_goes_on_identically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thorough: bool
) -> None:
    """Uses a pruner that stores attributes in trials: a stop may come before its decision.

    At every nineteenth commit and at every third of the last trial, which is pruned; with
    ``--thorough``, at every one.
    """
    monkeypatch.setattr("dgkd_search.study.strategies.STARTUP_TRIALS", 2)  # so that TPE samples
    config: dict[str, Any] = {"pruner": "hyperband", "budget": 5, "reference": False}
    config["epochs"] = 4 if thorough else 2  # several rungs, or one
    assert forked(lambda: keep_each_commit(tmp_path / "whole.db", **config)) == 0
    whole = json.loads((tmp_path / "whole.json").read_text())
    assert {trial[1] for trial in whole["trials"]} == {"COMPLETE", "PRUNED"}
    assert thorough or whole["trials"][-1][1] == "PRUNED"
    count = len(list(tmp_path.glob("[0-9]*.db")))
    assert count > 60
    for k in range(count):  # after one commit means before the next
        path = tmp_path / f"{k}.db"
        last = trials_in(path) == len(whole["trials"])
        if not (thorough or k % 19 == 0 or (last and k % 3 == 0)):
            continue
        if thorough:  # with a real process end, and the journal files that it leaves
            path = tmp_path / "ended" / path.name
            path.parent.mkdir(exist_ok=True)
            assert not run_in_pieces(path, [k], k % 2 == 0, **config)
        else:
            run_in_pieces(path, [], False, **config)
        assert json.loads(path.with_suffix(".json").read_text()) == whole, k


@pytest.mark.parametrize("pruner", ["median", "patient", "sha", "none"])
def test_other_pruners_go_on_identically(tmp_path: Path, pruner: str, thorough: bool) -> None:
    if not thorough and pruner != "median":
        pytest.skip("as median; pytest --thorough")
    config = {"pruner": pruner}
    run_in_pieces(tmp_path / "whole.db", [], False, **config)
    run_in_pieces(tmp_path / "pieces.db", [40, 35, 33, 20], True, **config)
    whole, pieces = (tmp_path / f"{name}.json" for name in ("whole", "pieces"))
    assert json.loads(whole.read_text()) == json.loads(pieces.read_text())


def test_a_search_ended_again_and_again_goes_on_identically(tmp_path: Path) -> None:
    config = {"pruner": "sha"}
    run_in_pieces(tmp_path / "whole.db", [], False, **config)
    run_in_pieces(tmp_path / "pieces.db", [23, 1, 30, 8, 9, 17, 2], False, **config)
    whole, pieces = ((tmp_path / f"{name}.json").read_text() for name in ("whole", "pieces"))
    assert json.loads(whole) == json.loads(pieces)


@pytest.mark.parametrize("k", [12, 25, 38, 51])
def test_at_any_concurrency_no_trial_is_lost_or_doubled(
    tmp_path: Path, k: int, thorough: bool
) -> None:
    if not thorough and k not in (25, 38):
        pytest.skip("as other commits; pytest --thorough")
    path = tmp_path / "study.db"
    run_in_pieces(path, [k, k], True, concurrency=3, pruner="median")
    found = json.loads(path.with_suffix(".json").read_text())["trials"]
    assert {trial[1] for trial in found} <= {"COMPLETE", "PRUNED"}
    assert len(found) == 7 == len({json.dumps(trial[2]) for trial in found})


def test_a_suspended_trial_goes_on_with_its_number_and_its_account(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path, reference=False)
    search.begin()
    search.step()
    search.step()
    search.controller.suspend()
    (trial,) = search.study.trials
    assert trial.state == TrialState.RUNNING
    assert stats_of(search.study, trial).computing == 1.0
    again = Search(path, reference=False)
    assert len(again.study.trials) == 1
    study = again.run()
    first = stats_of(study, study.trials[0])
    assert first.computing == 2.0, "of both attempts"
    assert (first.seconds, first.elapsed) == (2.0 + 3.0, 3.0)
    assert study.trials[0].params == trial.params


def test_what_the_time_budget_stopped_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = Search(path, time_budget=EPOCHS + 1.5, reference=False, concurrency=2)
    study = search.run()
    stopped = [t for t in study.trials if t.state == TrialState.FAIL]
    assert stopped and all(stats_of(study, trial).retryable for trial in stopped)
    assert search.controller.stop_reason == "the time budget of 5.5 s is used up"
    after = Search(path, reference=False, concurrency=2).run()
    for trial in stopped:
        again = [t for t in after.trials if t.params == trial.params and t.number != trial.number]
        assert [t.state.name in ("COMPLETE", "PRUNED") for t in again] == [True]
    assert after.finished == 7
    fresh = [t.params for t in after.trials if t.state != TrialState.FAIL]
    assert len({json.dumps(params) for params in fresh}) == 7
    unchanged = len(after.trials)
    assert len(Search(path, reference=False).run().trials) == unchanged, "tried again once"
