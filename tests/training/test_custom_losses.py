"""Training with custom losses: their random draws are reproducible."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.losses import Noisy
from helpers.registries import isolate

from dgkd_search.errors import InputError, StageFailed
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.losses.registry import get_loss, register_loss
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.teachers import OnlineTeachers
from dgkd_search.training.trainer import Trainer

BATCHES = 4


@pytest.fixture
def spec(stages_of: Any, monkeypatch: pytest.MonkeyPatch) -> StageSpec:
    """Return the stage of a student that is trained with a custom loss."""
    isolate(monkeypatch)
    register_loss(Noisy)
    monkeypatch.setattr(Noisy, "calls", 0)
    stage: StageSpec = stages_of("resnet20", "resnet8", epochs=3, loss=get_loss("noisy").spec)[-1]
    return stage


def test_a_loss_that_draws_is_carried_on_to_the_same_weights(
    spec: StageSpec, data: DeviceData, teacher: OnlineTeachers
) -> None:
    before = torch.get_rng_state()
    whole, stopped = (Trainer(spec, data, teacher) for _ in range(2))
    for _ in range(3):
        whole.train_epoch()
    assert Noisy.calls == 3 * BATCHES
    stopped.train_epoch()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)  # other code draws in between
    resumed = Trainer(spec, data, teacher)
    resumed.restore(stopped.checkpoint(), stopped.rows)
    for _ in range(2):
        resumed.train_epoch()
    assert resumed.weights() == whole.weights()


def test_a_loss_that_fails_in_training_is_named(
    spec: StageSpec, data: DeviceData, teacher: OnlineTeachers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ArithmeticError("no such batch")

    monkeypatch.setattr(Noisy, "divergence", fails)
    with pytest.raises(StageFailed, match=r"loss 'noisy' of helpers\.losses: fails") as caught:
        Trainer(spec, data, teacher).train_epoch()
    assert "(ArithmeticError: no such batch); fix its method" in str(caught.value)


def test_a_loss_with_other_code_trains_nothing(
    spec: StageSpec, data: DeviceData, teacher: OnlineTeachers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_loss("noisy"), "code", "c" * 32)
    with pytest.raises(InputError, match=r"loss 'noisy': its code .* differs from the code that"):
        Trainer(spec, data, teacher).train_epoch()
    assert Noisy.calls == 0
