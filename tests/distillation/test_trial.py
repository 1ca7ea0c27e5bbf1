from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.stages import StagesOf

from dgkd_search.data import PreparedData
from dgkd_search.distillation import teacher_outputs as supply_module
from dgkd_search.distillation import trial as trial_module
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import DgkdError, StageFailed
from dgkd_search.store.store import Store
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.train_stage import train_stage
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import load_model

HARD: dict[str, Any] = {"augment": "crop+flip", "drop_prob": 0.5, "schedule": "onecycle"}
CHAIN = ("resnet20", "resnet14", "resnet8")

TrialOf = Callable[[Sequence[StageSpec], Store | Path], Trial]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def trial_of(digits: PreparedData) -> TrialOf:
    def make(stages: Sequence[StageSpec], store: Store | Path) -> Trial:
        return Trial(stages, digits, Store(store) if isinstance(store, Path) else store)

    return make


def weights(store: Store, stages: Sequence[StageSpec]) -> list[bytes]:
    entries = [store.get(spec.key) for spec in stages]
    assert all(entries)
    return [entry.tensors for entry in entries if entry]


def outcome(rows: Iterable[TrialProgress]) -> list[tuple[Any, ...]]:
    return [(row.step, row.train_loss, row.val_accuracy) for row in rows if row.step is not None]


def folder_of(store: Store, spec: StageSpec) -> Path:
    return store.root / "stages" / spec.key[:2] / spec.key


@pytest.mark.parametrize(
    "models",
    [
        ("resnet8",),
        ("resnet14", "resnet8"),
        CHAIN,
        ("resnet32", "resnet26", "resnet20", "resnet14", "resnet8"),
    ],
    ids=len,
)
def test_a_chain_trains_each_model_once_then_never_again(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, models: tuple[str, ...]
) -> None:
    stages = stages_of(*models, student_epochs=2, drop_prob=0.25)
    first = trial_of(stages, store)
    rows = list(first)
    last = len(models) - 1
    assert [(r.event, r.stage, r.position, r.epoch, r.epochs, r.step) for r in rows] == [
        *(("epoch", name, i, 1, 1, None) for i, name in enumerate(models[:-1])),
        ("epoch", "resnet8", last, 1, 2, 1),
        ("epoch", "resnet8", last, 2, 2, 2),
    ]
    assert {row.stages for row in rows} == {len(models)}
    assert [(s.name, s.key, s.epochs, s.trained) for s in first.result.stages] == [
        (name, spec.key, n, n)
        for name, spec, n in zip(models, stages, [1] * last + [2], strict=True)
    ]
    outputs = first.result.computing - sum(s.seconds for s in first.result.stages)
    assert outputs > 1e-4 if last else outputs == pytest.approx(0)
    assert first.result.val_accuracy == rows[-1].val_accuracy
    assert list((store.root / "partial").iterdir()) == []

    before = weights(store, stages)
    second = trial_of(stages, store)
    again = list(second)
    assert [row.event for row in again] == ["replayed"] * len(rows)
    assert outcome(again) == outcome(rows)
    assert [(s.trained, s.seconds) for s in second.result.stages] == [(0, 0)] * len(models)
    assert second.result.computing == 0
    assert second.result.val_accuracy == first.result.val_accuracy
    assert second.result.notes == []
    assert weights(store, stages) == before


def test_a_trial_trains_what_stages_train_by_themselves(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, digits: PreparedData
) -> None:
    stages = stages_of(*CHAIN, epochs=2, **HARD)
    trial_of(stages, store).run()
    models: list[Any] = []
    for spec, stored in zip(stages, weights(store, stages), strict=True):
        learner = train_stage(spec, digits, models)
        assert learner.weights() == stored
        models.append(learner.model)
    assert not load_model(stages[-1], stored).training


@pytest.mark.parametrize("guidance", ["sequential", "teacher", "none"])
def test_every_guidance_runs_its_own_stages(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, guidance: str
) -> None:
    stages = stages_of(*CHAIN, guidance=guidance)
    result = trial_of(stages, store).run()
    names = {"sequential": CHAIN, "teacher": ("resnet20", "resnet8"), "none": ("resnet8",)}
    assert tuple(stage.name for stage in result.stages) == names[guidance]


def test_results_are_the_same_in_a_shared_and_in_private_stores(
    stages_of: StagesOf, trial_of: TrialOf, tmp_path: Path
) -> None:
    plans = [stages_of(*models, **HARD) for models in (("resnet20", "resnet8"), CHAIN)]
    shared = tmp_path / "shared"
    for i, stages in enumerate(plans):
        private = tmp_path / str(i)
        alone, together = trial_of(stages, private), trial_of(stages, shared)
        assert outcome(alone) == outcome(together)
        assert weights(Store(private), stages) == weights(Store(shared), stages)
        assert all(stage.trained for stage in alone.result.stages)
    assert [stage.trained for stage in together.result.stages] == [0, 1, 1]


@pytest.fixture(scope="module")
def undisturbed(
    stages_of: StagesOf, digits: PreparedData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Sequence[StageSpec], Store, list[TrialProgress]]:
    """A chain of 2 + 2 + 3 epochs, the store that it was trained in, and its reports."""
    stages = stages_of(*CHAIN, epochs=2, student_epochs=3, **HARD)
    store = Store(tmp_path_factory.mktemp("whole"))
    return stages, store, list(Trial(stages, digits, store))


@pytest.mark.parametrize("stop", [1, 2, 4, 5, 6])
def test_a_closed_trial_is_carried_on_to_the_same_weights(
    undisturbed: tuple[Sequence[StageSpec], Store, list[TrialProgress]],
    trial_of: TrialOf,
    tmp_path: Path,
    stop: int,
) -> None:
    """Closed after epoch ``stop``, mostly in the middle of a stage."""
    stages, whole, expected = undisturbed
    store = Store(tmp_path / "stopped")

    stopped = trial_of(stages, store)
    with closing(iter(stopped)) as rows:
        for _ in range(stop):
            next(rows)
    for spec in stages:
        store.lock(spec.key).acquire()  # raises if the lock is held

    later = trial_of(stages, tmp_path / "stopped")
    rows_later = list(later)
    assert sum(row.event == "epoch" for row in rows_later) == len(expected) - stop
    assert sum(stage.trained for stage in later.result.stages) == len(expected) - stop
    assert outcome(rows_later) == outcome(expected)
    assert weights(store, stages) == weights(whole, stages)


def test_a_trial_may_be_closed_by_another_thread(
    stages_of: StagesOf, trial_of: TrialOf, store: Store
) -> None:
    stages = stages_of("resnet8", epochs=2)
    rows = iter(trial_of(stages, store))
    next(rows)
    closer = threading.Thread(target=rows.close)
    closer.start()
    closer.join()
    assert trial_of(stages, store).run().stages[0].trained == 1


def test_a_failed_stage_releases_its_lock(
    stages_of: StagesOf, trial_of: TrialOf, store: Store
) -> None:
    stages = stages_of("resnet8", lr=1e30)
    for _ in range(2):
        with pytest.raises(StageFailed):
            trial_of(stages, store).run()
    store.lock(stages[0].key).acquire()
    assert stages[0].key not in store


def test_a_finished_student_is_replayed_without_its_teacher(
    stages_of: StagesOf, trial_of: TrialOf, store: Store
) -> None:
    stages = stages_of(*CHAIN, student_epochs=2)
    rows = list(trial_of(stages, store))
    shutil.rmtree(folder_of(store, stages[0]))
    again = trial_of(stages, store)
    replayed = list(again)
    assert {row.event for row in replayed} == {"replayed"}
    assert outcome(replayed) == outcome(rows)
    assert stages[0].key not in store
    # a damaged stage that is not needed is not trained again either
    (folder_of(store, stages[1]) / "weights.safetensors").write_bytes(b"")
    third = trial_of(stages, store)
    assert [row.event for row in third] == ["replayed"] * 2
    assert stages[1].key not in store
    assert len(third.result.notes) == 1


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_damaged_stage_is_made_again_the_same(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, position: int
) -> None:
    stages = stages_of(*CHAIN, **HARD)
    trial_of(stages, store).run()
    before = weights(store, stages)
    (folder_of(store, stages[position]) / "weights.safetensors").write_bytes(b"damaged")
    if position == 2:  # then its teacher is needed again
        shutil.rmtree(folder_of(store, stages[0]))
    else:
        shutil.rmtree(folder_of(store, stages[2]))
    again = trial_of(stages, store)
    result = again.run()
    remade = {position, 0} if position == 2 else {position, 2}
    assert [stage.trained > 0 for stage in result.stages] == [i in remade for i in range(3)]
    assert weights(store, stages) == before
    assert len(result.notes) == 1
    assert stages[position].key in result.notes[0]
    assert trial_of(stages, store).run().notes == []  # notes of earlier trials are not repeated


def test_a_trial_refuses_stages_of_other_data(
    stages_of: StagesOf, trial_of: TrialOf, store: Store
) -> None:
    with pytest.raises(ValueError, match="different data"):
        trial_of([replace(stages_of("resnet8")[0], data="0" * 32)], store)


RUNNER = """
import json, sys, time, torch
from pathlib import Path
from dgkd_search.data import open_prepared
from dgkd_search.training.spec import StageSpec
from dgkd_search.store.store import Store
from dgkd_search.distillation.trial import Trial
assert not {"ray", "optuna"} & set(sys.modules), "a trial needs neither Ray nor Optuna"
specs = [StageSpec.from_dict(spec) for spec in json.loads(sys.argv[1])]
torch.set_num_threads(1)
trial = Trial(specs, open_prepared(Path(sys.argv[2])), Store(sys.argv[3]))
for count, row in enumerate(trial, 1):
    print(json.dumps(row.to_dict()), flush=True)
    if count == int(sys.argv[4]):
        time.sleep(60)  # in the midst of a stage
print(json.dumps(trial.result.stats.to_json()), flush=True)
"""


@contextmanager
def another_process(
    stages: Sequence[StageSpec], data: PreparedData, store: Store, sleep_after: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """Start a process that runs the trial and prints its reports, then its result."""
    specs = json.dumps([spec.to_dict() for spec in stages])
    command = [
        sys.executable,
        "-c",
        RUNNER,
        specs,
        str(data.path),
        str(store.root),
        str(sleep_after),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_two_processes_that_need_a_stage_train_it_once(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, digits: PreparedData
) -> None:
    stages = stages_of("resnet14", "resnet8", student_epochs=2, **HARD)
    mine = trial_of(stages, store)
    rows = iter(mine)
    next(rows)  # the teacher's only epoch; its lock is held until the next report is requested
    with another_process(stages, digits, store) as other:
        assert other.stdout is not None
        next(rows)  # the student's first epoch: its lock is held now
        seen = [json.loads(other.stdout.readline()) for _ in range(3)]
        assert [row["event"] for row in seen] == ["replayed", "waiting", "waiting"]
        waiting = seen[1]
        assert (waiting["stage"], waiting["step"], waiting["val_accuracy"]) == (
            "resnet8",
            None,
            None,
        )
        rest = list(rows)
        *seen, result = map(json.loads, other.stdout)
    seen = [row for row in seen if row["event"] != "waiting"]
    assert [(row["event"], row["step"]) for row in seen] == [("replayed", 1), ("replayed", 2)]
    assert seen[-1]["val_accuracy"] == rest[-1].val_accuracy
    assert [stage["trained"] for stage in result["stages"]] == [0, 0]
    assert [stage.trained for stage in mine.result.stages] == [1, 2]
    assert result["waiting"] > 1
    assert result["computing"] == 0


def test_a_killed_trial_is_carried_on_where_it_died(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, digits: PreparedData, tmp_path: Path
) -> None:
    stages = stages_of("resnet8", epochs=5, **HARD)
    with another_process(stages, digits, store, sleep_after=3) as other:
        assert other.stdout is not None
        for _ in range(3):
            assert json.loads(other.stdout.readline())["event"] == "epoch"
        other.send_signal(signal.SIGKILL)
        other.wait()
    later = trial_of(stages, store)
    later.run()
    assert later.result.stages[0].trained == 2
    assert later.result.notes == []
    whole = tmp_path / "whole"
    trial_of(stages, whole).run()
    assert weights(store, stages) == weights(Store(whole), stages)


def test_one_who_waits_carries_on_what_the_other_leaves(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_module, "_REPORT_INTERVAL", 0.0)
    stages = stages_of("resnet8", epochs=3)
    first, second = iter(trial_of(stages, store)), iter(trial_of(stages, store))
    next(first)
    assert next(second).event == "waiting"
    first.close()
    rows = [row for row in second if row.event != "waiting"]
    assert [(row.event, row.step) for row in rows] == [("resumed", 1), ("epoch", 2), ("epoch", 3)]


def test_the_stage_in_progress_is_told(
    stages_of: StagesOf, trial_of: TrialOf, store: Store
) -> None:
    stages = stages_of("resnet14", "resnet8", student_epochs=3)
    first = trial_of(stages, store)
    told: list[list[tuple[Any, ...]]] = []

    def tell(trial: Trial) -> None:
        told.append([(s.name, s.epochs, s.trained, s.finished) for s in trial.result.stages])

    with closing(iter(first)) as rows:
        for _ in range(3):
            next(rows)
            tell(first)
    teacher = ("resnet14", 1, 1, True)
    assert told == [
        [teacher],
        [teacher, ("resnet8", 1, 1, False)],
        [teacher, ("resnet8", 2, 2, False)],
    ]
    spent = sum(s.seconds for s in first.result.stages)
    assert spent < first.result.computing < spent + 5  # the teacher's outputs were computed too
    later = trial_of(stages, store)
    later.run()
    tell(later)
    assert told[-1] == [("resnet14", 1, 0, True), ("resnet8", 3, 1, True)]


def test_notes_are_there_with_the_rows(
    stages_of: StagesOf, trial_of: TrialOf, store: Store
) -> None:
    stages = stages_of("resnet8")
    trial_of(stages, store).run()
    (folder_of(store, stages[0]) / "stage.json").write_bytes(b"")
    again = trial_of(stages, store)
    assert [len(again.result.notes) for _ in again] == [1]


@pytest.mark.parametrize("end", ["finished", "closed", "failed"])
def test_models_are_gone_before_the_device_is_freed(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    learners: list[weakref.ref[Trainer]] = []
    alive: list[list[bool]] = []

    class Watched(Trainer):
        def __post_init__(self) -> None:
            super().__post_init__()
            learners.append(weakref.ref(self))

        def _accuracy(self) -> float:
            if end == "failed":
                raise torch.OutOfMemoryError("too little")
            return super()._accuracy()

    def free(_: torch.device) -> None:
        alive.append([learner() is not None for learner in learners])

    monkeypatch.setattr(trial_module, "Trainer", Watched)
    monkeypatch.setattr(trial_module, "free_cached", free)
    rows = iter(trial_of(stages_of("resnet8", epochs=2), store))
    if end == "failed":
        with pytest.raises(StageFailed, match="out of memory"):
            next(rows)
    elif end == "closed":
        next(rows)
        rows.close()
    else:
        assert len(list(rows)) == 2
    assert alive == [[False]]


def test_too_little_memory_for_a_model_is_told(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("too little")

    stages = stages_of("resnet14", "resnet8")
    for module, name in ((trial_module, "device_data"), (supply_module, "compute_outputs")):
        with monkeypatch.context() as patch, pytest.raises(StageFailed, match="gpus-per-trial"):
            patch.setattr(module, name, fail)
            trial_of(stages, store).run()
    assert stages[0].key in store
    assert trial_of(stages, store).run().stages[-1].finished


def test_a_source_that_vanishes_is_trained_again(
    stages_of: StagesOf, trial_of: TrialOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = stages_of(*CHAIN, student_epochs=2, **HARD)
    sound, store = Store(tmp_path / "sound"), Store(tmp_path / "store")
    trial_of(stages, sound).run()
    load, asked = Trial._load, []

    def lose(self: Trial, key: str) -> torch.nn.Module:
        asked.append(key)
        if asked.count(key) == 1:
            shutil.rmtree(folder_of(self.store, self._specs[key]))
        return load(self, key)

    monkeypatch.setattr(Trial, "_load", lose)
    trial = trial_of(stages, store)
    rows = list(trial)
    assert weights(store, stages) == weights(sound, stages)
    assert [row.step for row in rows if row.event == "epoch" and row.step] == [1, 2]
    # Each teacher was trained twice; a result counts the epochs of the current model.
    assert [(s.name, s.epochs, s.finished) for s in trial.result.stages] == [
        ("resnet20", 1, True),
        ("resnet14", 1, True),
        ("resnet8", 2, True),
    ]
    assert all(s.trained == s.epochs for s in trial.result.stages)


def test_a_store_that_keeps_losing_its_stages_ends_the_trial(
    stages_of: StagesOf, trial_of: TrialOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Trial._load

    def lose(self: Trial, key: str) -> torch.nn.Module:
        shutil.rmtree(folder_of(self.store, self._specs[key]))
        return load(self, key)

    monkeypatch.setattr(Trial, "_load", lose)
    with pytest.raises(DgkdError, match=r"resnet14 vanished from .* repeatedly"):
        trial_of(stages_of("resnet14", "resnet8"), store).run()
