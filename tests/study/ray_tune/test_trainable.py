"""Reports of a worker, with ``tune.report`` replaced."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from helpers.stages import StagesOf
from ray import tune

from dgkd_search.data import PreparedData
from dgkd_search.distillation.trial import Trial
from dgkd_search.store.store import Store
from dgkd_search.study.ray_tune import trainable
from dgkd_search.study.ray_tune.messages import TrialReport, TrialTask, decode_report, encode_task
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.training.trainer import Trainer

Events = list[TrialReport]
Train = Callable[[Sequence[StageSpec]], None]


@pytest.fixture
def store(tmp_path: Any) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    found: Events = []

    def report(metrics: dict[str, str]) -> None:
        assert set(metrics) == {trainable.EVENT}
        found.append(decode_report(metrics[trainable.EVENT]))

    monkeypatch.setattr(tune, "report", report)
    return found


@pytest.fixture
def train(digits: PreparedData, store: Store) -> Train:
    def run(stages: Sequence[StageSpec]) -> None:
        job = encode_task(TrialTask(tuple(stages), digits.path, store.root))
        trainable.train_trial({trainable.TRIAL: job})

    return run


def test_every_row_is_reported_with_the_stats(
    stages_of: StagesOf, train: Train, events: Events
) -> None:
    stages = stages_of("resnet14", "resnet8", student_epochs=2)
    train(stages)
    assert [[row.step for row in event.rows] for event in events] == [
        [None],
        [1],
        [2],
    ]
    assert [[s.finished for s in event.stats.stages] for event in events] == [
        [True],
        [True, False],
        [True, True],
    ]
    assert events[-1].stats.stages[-1].key == stages[-1].key
    assert len({event.attempt for event in events}) == 1
    train(stages)
    again = [[row.step for row in event.rows] for event in events[3:]]
    assert again == [[None, 1, 2]]  # finished epochs are reported together
    assert len({event.attempt for event in events}) == 2


@pytest.mark.parametrize("judged", [True, False])
@pytest.mark.parametrize("pause", [0.0, 5.0])
def test_rows_that_nobody_judges_come_together(
    stages_of: StagesOf,
    digits: PreparedData,
    store: Store,
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
    judged: bool,
    pause: float,
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += pause
        return now

    monkeypatch.setattr(time, "monotonic", clock)
    stages = stages_of("resnet14", "resnet8", epochs=4, student_epochs=3)
    job = encode_task(TrialTask(stages, digits.path, store.root, judged=judged))
    trainable.train_trial({trainable.TRIAL: job})
    found = [[(row.position, row.epoch) for row in event.rows] for event in events]
    assert [row for rows in found for row in rows] == [
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
        (1, 1),
        (1, 2),
        (1, 3),
    ]
    if pause:
        assert [len(rows) for rows in found] == [1] * 7
    else:  # the first report and the end of a stage are always reported
        assert [len(rows) for rows in found] == ([1, 3, 1, 1, 1] if judged else [1, 3, 3])
    assert [event.stats.stages[-1].epochs for event in events] == [rows[-1][1] for rows in found]


def test_rows_before_a_failure_are_told_with_it(
    stages_of: StagesOf, train: Train, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch, done = Trainer.train_epoch, []

    def fail(self: Trainer) -> Any:
        done.append(self.epoch)
        if len(done) == 4:
            raise RuntimeError("odd")
        return train_epoch(self)

    monkeypatch.setattr(Trainer, "train_epoch", fail)
    monkeypatch.setattr(trainable, "_TOGETHER", 1e9)
    train(stages_of("resnet14", "resnet8", epochs=5))
    assert [[row.epoch for row in event.rows] for event in events] == [[1], [2, 3]]
    assert str(events[-1].failure).startswith("RuntimeError: odd")


def test_a_damaged_stage_is_noted_in_the_last_event(
    stages_of: StagesOf, train: Train, store: Store, events: Events
) -> None:
    stages = stages_of("resnet8")
    train(stages)
    (store.root / "stages" / stages[0].key[:2] / stages[0].key / "stage.json").write_bytes(b"")
    train(stages)
    assert events[0].stats.notes == ()
    (note,) = events[-1].stats.notes
    assert stages[0].key in note


def test_a_stage_that_fails_is_reported(stages_of: StagesOf, train: Train, events: Events) -> None:
    train(stages_of("resnet8", lr=1e30))
    (event,) = events
    assert str(event.failure).startswith("resnet8: ")
    assert event.stats.stages == ()


def test_an_unexpected_error_is_one_line(
    stages_of: StagesOf, train: Train, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(Trial, "_load", fail)
    train(stages_of("resnet14", "resnet8"))
    assert events[0].rows
    failure = str(events[-1].failure)
    assert failure.startswith("RuntimeError: two lines (test_trainable.py:")
    assert [stage.name for stage in events[-1].stats.stages] == ["resnet14"]


def test_a_stop_passes_through_and_releases_the_lock(
    stages_of: StagesOf, train: Train, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: dict[str, Any]) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(tune, "report", stop)
    stages = stages_of("resnet8", epochs=2)
    with pytest.raises(SystemExit):
        train(stages)
    with store.lock(stages[0].key):
        partial = store.get_partial(stages[0].key)
    assert partial is not None
    assert len(StageRecord.from_json(stages[0], partial.meta).rows) == 1


def _without_recipe(job: dict[str, Any]) -> None:
    del job["stages"][0]["recipe"]


def _unknown_setting(job: dict[str, Any]) -> None:
    job["stages"][0]["recipe"]["nesterov"] = True


def _another_version(job: dict[str, Any]) -> None:
    job["stages"][0]["version"] += 1


@pytest.mark.parametrize("change", [_without_recipe, _unknown_setting, _another_version, None])
def test_a_job_of_another_version_fails_in_a_clear_line(
    stages_of: StagesOf, digits: PreparedData, store: Store, events: Events, change: Any
) -> None:
    text = encode_task(TrialTask(stages_of("resnet8"), digits.path, store.root))
    if change is not None:
        job = json.loads(text)
        change(job)
        text = json.dumps(job)
    trainable.train_trial({trainable.TRIAL: text if change else text[:-5]})
    (event,) = events
    assert str(event.failure).startswith("the worker can't read its trial (")
    assert "install the same version" in str(event.failure)
