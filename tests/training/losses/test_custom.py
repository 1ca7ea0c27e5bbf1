"""Faults of custom losses are reported in one line, before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.losses import LogitMSE
from helpers.registries import isolate
from torch import Tensor

from dgkd_search.errors import InputError
from dgkd_search.training.losses.base import DistillationLoss
from dgkd_search.training.losses.custom import checked_divergence, validate_custom_loss
from dgkd_search.training.losses.registry import get_loss, loss_names, register_loss

Divergence = Callable[[Tensor, Tensor, float], Any]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)


def registered(divergence: Divergence) -> DistillationLoss:
    odd: type[DistillationLoss] = type(
        "Odd",
        (LogitMSE,),
        {"name": "odd", "divergence": lambda _, *given: divergence(*given), "__module__": "mine"},
    )
    register_loss(odd)
    return get_loss("odd")


class BadBackward(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        raise ArithmeticError("backward is not written yet")


BAD: dict[str, tuple[Divergence, str]] = {
    "raises": (
        lambda z, t, tau: 1 // 0,
        "fails on student logits [4, 10] and teacher logits [1, 4, 10] (ZeroDivisionError: ",
    ),
    "an image each": (lambda z, t, tau: (t - z).square().sum((0, 2)), "returns float32 [4], not"),
    "a number": (lambda z, t, tau: 0.5, "returns float, not one float"),
    "a count": (lambda z, t, tau: (t > z).sum(), "returns int64 [], not one float"),
    "nothing": (lambda z, t, tau: None, "returns NoneType, not one float"),
    "detached": (lambda z, t, tau: (t - z.detach()).square().mean(), "learner gets no gradient"),
    "of itself": (lambda z, t, tau: torch.ones((), requires_grad=True) * 2, "gets no gradient"),
    "not a number": (lambda z, t, tau: (z - 9).log().sum(), "returns nan for finite logits"),
    "steep": (lambda z, t, tau: (z - z).abs().sqrt().sum(), "has the gradient nan for finite"),
    "two teachers": (lambda z, t, tau: (t.squeeze(0) - z).sum((0, 1)), "returns float32 [10], not"),
    "backward": (lambda z, t, tau: BadBackward.apply(z), "its gradient fails (ArithmeticError: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_by_name(name: str) -> None:
    divergence, reason = BAD[name]
    with pytest.raises(InputError) as refusal:
        validate_custom_loss(registered(divergence), 10)
    (message,) = refusal.value.messages
    assert message.startswith("loss 'odd' of mine: ") and "\n" not in message
    assert reason in message


def test_one_that_keeps_the_contract_is_taken_and_draws_for_itself() -> None:
    before = torch.get_rng_state()
    seen: list[tuple[Any, ...]] = []

    def divergence(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
        seen.append((student.shape, teachers.shape, student.dtype, teachers.requires_grad))
        return (teachers - student).abs().sum() * torch.rand(()) / len(student)

    with torch.no_grad():
        validate_custom_loss(registered(divergence), 3)
    assert seen == [((4, 3), (k, 4, 3), torch.float32, False) for k in (1, 2)]
    assert torch.equal(torch.get_rng_state(), before)


def test_those_that_are_built_in_keep_the_contract() -> None:
    for name in loss_names():
        copy = registered(get_loss(name).divergence)
        validate_custom_loss(copy, 5)


def test_a_lack_of_memory_is_not_the_losss_fault() -> None:
    def divergence(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        checked_divergence(registered(divergence), torch.zeros(2, 3), torch.zeros(1, 2, 3), 1.0)
