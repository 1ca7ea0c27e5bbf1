from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dgkd_search.data import PreparedData
from dgkd_search.device import DeviceData, Normalise, accuracy, in_batches


class Reader(nn.Module):
    """Names as class the value of each image's first pixel; remembers how it was run."""

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


def test_training_pixels_become_mean_0_and_deviation_1(digits: PreparedData) -> None:
    data = DeviceData(digits, torch.device("cpu"))
    normalised = data.normalise(data.images)
    assert normalised.dtype == torch.float32
    assert normalised.mean().item() == pytest.approx(0, abs=1e-4)
    assert normalised.std().item() == pytest.approx(1, abs=1e-3)


def test_normalise_works_channel_by_channel() -> None:
    normalise = Normalise((0.0, 0.2, 0.6), (1.0, 0.5, 0.1))
    # (255/255 − mean) / std by hand: 1, 1.6, 4
    white = normalise(torch.full((2, 3, 2, 2), 255, dtype=torch.uint8))
    assert white.shape == (2, 3, 2, 2)
    assert white[0, :, 0, 0].tolist() == pytest.approx([1.0, 1.6, 4.0], rel=1e-5)
    assert torch.equal(white, normalise(torch.full((2, 3, 2, 2), 255.0)))


def test_device_data_holds_what_was_prepared(digits: PreparedData) -> None:
    data = DeviceData(digits, torch.device("cpu"))
    train, validation = digits.train(), digits.validation()
    assert np.array_equal(data.images.numpy(), train.images)
    assert np.array_equal(data.train_labels.numpy(), train.labels)
    assert np.array_equal(data.val_images.numpy(), validation.images)
    assert np.array_equal(data.val_labels.numpy(), validation.labels)


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1500])
def test_accuracy_is_the_share_of_right_answers(count: int) -> None:
    truth = torch.arange(count) % 4
    said = truth.clone()
    said[::5] = (said[::5] + 1) % 4
    model = Reader().train()
    wrong = math.ceil(count / 5)
    got = accuracy(model, in_batches(nn.Identity(), images_of(said), truth))
    assert got == pytest.approx(100 * (count - wrong) / count)
    assert model.modes == {(False, True)}  # eval mode, no autograd
    assert sum(model.batches) == count


@pytest.mark.parametrize("offset", [math.nan, math.inf])
def test_accuracy_of_a_broken_model_is_nan(offset: float) -> None:
    truth = torch.zeros(600, dtype=torch.int64)  # argmax of NaN is class 0: all would be right
    batches = in_batches(nn.Identity(), images_of(truth), truth)
    assert math.isnan(accuracy(Reader(offset=offset), batches))
