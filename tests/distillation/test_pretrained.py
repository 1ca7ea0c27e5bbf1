"""Pretrained teachers: read, checked, measured, never trained."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import models

from dgkd_search.distillation.pretrained import PretrainedTeacher, as_stage, measure, read_teacher
from dgkd_search.errors import InputError
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.weight_names import to_earlier_names
from dgkd_search.store.store import Store
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import from_bytes, to_bytes
from dgkd_search.utils.hashing import sha256
from dgkd_search.workflows.single_chain import plan, run_trial

RESNET20 = Architecture("resnet", "resnet20", 10, 1, 8)


@pytest.fixture(scope="module")
def tensors(trained: tuple[Trainer, Trainer]) -> dict[str, Tensor]:
    return dict(trained[0].model.state_dict())


def as_safetensors(path: Path, tensors: dict[str, Tensor]) -> Path:
    path = path.with_suffix(".safetensors")
    path.write_bytes(to_bytes(tensors))
    return path


def as_checkpoint(path: Path, value: Any) -> Path:
    torch.save(value, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


WAYS: dict[str, Callable[[Path, dict[str, Tensor]], Path]] = {
    "safetensors": as_safetensors,
    "state dict": as_checkpoint,
    "state_dict": lambda p, t: as_checkpoint(p, {"state_dict": t, "epoch": 3}),
    "model": lambda p, t: as_checkpoint(p, {"model": t, "optimizer": {"lr": 0.1}}),
    "nested": lambda p, t: as_checkpoint(p, {"model": {"state_dict": t, "name": "x"}}),
    "parallel": lambda p, t: as_checkpoint(p, {f"module.{name}": v for name, v in t.items()}),
    "compiled": lambda p, t: as_safetensors(p, {f"_orig_mod.{k}": v for k, v in t.items()}),
    "half": lambda p, t: as_safetensors(p, {k: v for k, v in t.items() if "num_batches" not in k}),
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_the_same_however_they_are_kept(
    tmp_path: Path, tensors: dict[str, Tensor], way: str
) -> None:
    found = read_teacher(WAYS[way](tmp_path / "teacher", tensors), RESNET20)
    expected = PretrainedTeacher.of(Path(), RESNET20, tensors)
    read = from_bytes(found.weights)
    assert all(
        torch.equal(read[name], value) for name, value in tensors.items() if "num_" not in name
    )
    if way != "half":  # which has no num_batches_tracked
        assert found.checksum == expected.checksum


def test_keys_do_not_change_with_the_names_of_weights(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    """The checksum is part of keys; it has the value that earlier versions gave to it."""
    earlier = to_earlier_names("resnet", tensors)
    assert "stem.0.weight" in earlier
    for names in (earlier, tensors):
        found = read_teacher(as_safetensors(tmp_path / "t", names), RESNET20)
        assert found.checksum == sha256(to_bytes(earlier))[:32]
        assert found.weights == to_bytes(tensors)


def test_what_does_not_fit_is_named(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = as_safetensors(tmp_path / "t", tensors)
    with pytest.raises(InputError) as caught:
        read_teacher(path, Architecture("resnet", "resnet20", 100, 3, 8))
    (message,) = caught.value.messages
    assert message == (
        f"--teacher-weights {path}: wrong shapes: conv1.weight [16, 1, 3, 3] instead of "
        "[16, 3, 3, 3], fc.weight [10, 64] instead of [100, 64], fc.bias [10] instead of [100]; "
        "give weights of resnet20 for 100 classes"
    )
    with pytest.raises(InputError) as caught:
        read_teacher(path, Architecture("resnet", "resnet26", 10, 1, 8))
    (message,) = caught.value.messages
    assert "missing tensors: layer1.3.conv1.weight, " in message and " more; give" in message
    with pytest.raises(InputError, match="unexpected tensors: "):
        read_teacher(path, Architecture("resnet", "resnet14", 10, 1, 8))


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pt", pickle.dumps(Harmful()), "contains more than tensors and is not read"),
        ("b.pt", b"", "is damaged or not a file of weights"),
        ("c.pt", b"nonsense", "is not read|is damaged or not a file of weights"),
        ("d.safetensors", b"nonsense", "is not a safetensors file"),
        ("missing.pt", None, "can't be read \\(No such file or directory\\)"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    reason: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"--teacher-weights .*{name}: .*({reason})") as caught:
        read_teacher(tmp_path / name, RESNET20)
    assert len(caught.value.messages) == 1 and "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_whole_model_is_refused_for_it_may_run_code(tmp_path: Path) -> None:
    path = as_checkpoint(tmp_path / "model", torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match="save a state dict of tensors alone"):
        read_teacher(path, RESNET20)
    with pytest.raises(InputError, match="contains no state dict"):
        read_teacher(as_checkpoint(tmp_path / "list", [torch.ones(1)]), RESNET20)


def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    bad = tensors | {"fc.bias": torch.full((10,), float("nan"))}
    with pytest.raises(InputError, match=r"not finite: fc\.bias"):
        read_teacher(as_safetensors(tmp_path / "t", bad), RESNET20)


def test_torchvisions_own_weights_fit(tmp_path: Path) -> None:
    network = models.resnet18(num_classes=12)
    path = as_checkpoint(tmp_path / "t", network.state_dict())
    found = read_teacher(path, Architecture("resnet-imagenet", "resnet18", 12, 3, 64))
    assert torch.equal(from_bytes(found.weights)["fc.weight"], network.fc.weight)


def test_a_chain_learns_from_it_and_it_is_never_trained(
    tmp_path: Path, trained: tuple[Trainer, Trainer], tensors: dict[str, Tensor]
) -> None:
    path = as_safetensors(tmp_path / "teacher", tensors)
    names = ["resnet20", "resnet14", "resnet8"]
    store = tmp_path / "store"
    planned = partial(plan, names, store=store, train_limit=100, batch_size=32, lr=0.05)
    stages, data = planned(teacher_weights=path, epochs=1)
    ours, _ = planned(epochs=1)
    assert [spec.pretrained != "" for spec in stages] == [True, False, False]
    assert not {spec.key for spec in stages} & {spec.key for spec in ours}
    other, _ = planned(teacher_weights=path, epochs=2)
    assert other[0].key == stages[0].key, "no recipe has to do with it"
    result = run_trial(stages, data, store)
    assert [stage.trained for stage in result.stages] == [0, 1, 1]
    entry = Store(store).get(stages[0].key)
    assert entry is not None and entry.tensors == to_bytes(tensors)
    assert result.stages[0].val_accuracy == trained[0].rows[-1].val_accuracy
    (row,) = StageRecord.from_json(stages[0], entry.meta).rows
    assert measure(stages[0], data, entry.tensors).val_accuracy == row.val_accuracy
    own = Store(store)
    own.reject(stages[0].key, "a test")
    own.put(stages[0].key, entry.tensors, {**entry.meta, "rows": []})
    teacher = read_teacher(path, stages[0].architecture)
    assert as_stage(teacher, stages[0], data, own).val_accuracy == row.val_accuracy
    assert stages[0].key not in own, "the record of something else is moved away"


def test_one_that_vanished_is_not_trained_in_its_place(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    path = as_safetensors(tmp_path / "teacher", tensors)
    stages, data = plan(
        ["resnet20", "resnet8"], teacher_weights=path, train_limit=100, store=tmp_path / "store"
    )
    with pytest.raises(Exception, match="the pretrained weights vanished"):
        run_trial(stages, data, tmp_path / "another")
