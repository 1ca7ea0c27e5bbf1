from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dgkd_search.training.batches import to_batches
from dgkd_search.training.evaluation import accuracy


class Reader(nn.Module):
    """Predicts the value of each image's first pixel as its class; records its modes."""

    def __init__(self, classes: int = 4, offset: float = 0.0) -> None:
        super().__init__()
        self.classes, self.offset = classes, offset
        self.modes: set[tuple[bool, bool]] = set()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.add((self.training, torch.is_inference_mode_enabled()))
        self.batches.append(len(images))
        return nn.functional.one_hot(images[:, 0, 0, 0].long(), self.classes) + self.offset


def images_of(labels: Tensor) -> Tensor:
    return labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1500])
def test_accuracy_is_the_share_of_right_answers(count: int) -> None:
    truth = torch.arange(count) % 4
    said = truth.clone()
    said[::5] = (said[::5] + 1) % 4
    model = Reader().train()
    wrong = math.ceil(count / 5)
    got = accuracy(model, to_batches(nn.Identity(), images_of(said), truth))
    assert got == pytest.approx(100 * (count - wrong) / count)
    assert model.modes == {(False, True)}  # eval mode, no autograd
    assert sum(model.batches) == count


@pytest.mark.parametrize("offset", [math.nan, math.inf])
def test_accuracy_of_a_broken_model_is_nan(offset: float) -> None:
    truth = torch.zeros(600, dtype=torch.int64)  # argmax of NaN is class 0: all would be correct
    batches = to_batches(nn.Identity(), images_of(truth), truth)
    assert math.isnan(accuracy(Reader(offset=offset), batches))
