from __future__ import annotations

import pytest
import torch

from dgkd_search.data import PreparedData
from dgkd_search.models.layers import Normalize
from dgkd_search.training.batches import DeviceData


def test_training_pixels_become_mean_0_and_deviation_1(digits: PreparedData) -> None:
    data = DeviceData(digits, torch.device("cpu"))
    normalized = data.normalize(data.images)
    assert normalized.dtype == torch.float32
    assert normalized.mean().item() == pytest.approx(0, abs=1e-4)
    assert normalized.std().item() == pytest.approx(1, abs=1e-3)


def test_normalize_works_channel_by_channel() -> None:
    normalize = Normalize((0.0, 0.2, 0.6), (1.0, 0.5, 0.1))
    # (255/255 − mean) / std by hand: 1, 1.6, 4
    white = normalize(torch.full((2, 3, 2, 2), 255, dtype=torch.uint8))
    assert white.shape == (2, 3, 2, 2)
    assert white[0, :, 0, 0].tolist() == pytest.approx([1.0, 1.6, 4.0], rel=1e-5)
    assert torch.equal(white, normalize(torch.full((2, 3, 2, 2), 255.0)))
