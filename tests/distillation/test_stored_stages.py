"""Entries of a store whose checksums are right, and whose contents are of something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from helpers.stages import StagesOf

from dgkd_search.data import PreparedData
from dgkd_search.distillation.stored_stages import restore_trainer, stored_model, stored_record
from dgkd_search.distillation.trial import Trial
from dgkd_search.store.store import Store
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.streaming import open_data
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import to_bytes

ROW = {"epoch": 1, "train_loss": 1.0, "val_accuracy": 50.0, "seconds": 0.1}
OTHER = to_bytes({"a": torch.zeros(3)})


@pytest.fixture
def stage(stages_of: StagesOf) -> StageSpec:
    return stages_of("resnet8", epochs=2)[0]


@pytest.mark.parametrize(
    "rows", [None, [], [ROW] * 3, [{"epoch": 1}], "rows", [ROW | {"val_accuracy": "../x"}]]
)
def test_a_stage_with_rows_of_something_else_is_moved_away(
    tmp_path: Path, stage: StageSpec, rows: object
) -> None:
    store = Store(tmp_path)
    store.put(stage.key, OTHER, {"rows": rows})
    assert stored_record(store, stage) is None
    assert stage.key not in store
    (note,) = store.notes
    assert "damaged (" in note and "moved to" in note
    store.put(stage.key, OTHER, {"rows": [ROW, ROW]})
    record = stored_record(store, stage)
    assert record is not None and record.rows[1].val_accuracy == 50.0


@pytest.mark.parametrize("tensors", [OTHER, b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_weights_of_another_network_are_moved_away(
    tmp_path: Path, stage: StageSpec, tensors: bytes
) -> None:
    store = Store(tmp_path)
    store.put(stage.key, tensors, {"rows": [ROW]})
    assert stored_model(store, stage) is None
    assert stage.key not in store
    assert stored_model(store, stage) is None  # missing
    assert len(store.notes) == 1


@pytest.mark.parametrize("meta", [{"rows": [ROW]}, {"rows": []}, {}])
def test_a_checkpoint_of_another_network_is_moved_away(
    tmp_path: Path, stage: StageSpec, digits: PreparedData, meta: Mapping[str, object]
) -> None:
    store, trainer = Store(tmp_path), Trainer(stage, open_data(digits, torch.device("cpu"), 1))
    assert restore_trainer(store, stage, trainer)  # nothing to restore
    store.put_partial(stage.key, OTHER, meta)
    assert not restore_trainer(store, stage, trainer)
    assert store.get_partial(stage.key) is None
    assert len(store.notes) == 1


def test_a_lack_of_memory_damages_nothing(
    tmp_path: Path, stage: StageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")

    store = Store(tmp_path)
    store.put(stage.key, OTHER, {"rows": [ROW]})
    monkeypatch.setattr("dgkd_search.distillation.stored_stages.load_model", load)
    with pytest.raises(RuntimeError, match="not enough memory"):
        stored_model(store, stage)
    assert stage.key in store and not store.notes


def test_a_trial_replaces_what_does_not_fit(
    tmp_path: Path, stages_of: StagesOf, digits: PreparedData
) -> None:
    """A teacher with other weights, and a student with another's checkpoint."""
    stages = stages_of("resnet14", "resnet8")
    sound, store = Store(tmp_path / "sound"), Store(tmp_path / "store")
    Trial(stages, digits, sound).run()
    store.put(stages[0].key, OTHER, {"rows": [ROW]})
    store.put_partial(stages[1].key, OTHER, {"rows": [ROW]})
    Trial(stages, digits, store).run()
    for stage in stages:
        one, other = store.get(stage.key), sound.get(stage.key)
        assert one is not None and other is not None and one.tensors == other.tensors
    assert len(store.notes) == 2
