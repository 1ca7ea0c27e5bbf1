from __future__ import annotations

import numpy as np
import torch

from dgkd_search.data import PreparedData
from dgkd_search.training.batches import DeviceData


def test_device_data_holds_what_was_prepared(digits: PreparedData) -> None:
    data = DeviceData(digits, torch.device("cpu"))
    train, validation = digits.train(), digits.validation()
    assert np.array_equal(data.images.numpy(), train.images)
    assert np.array_equal(data.train_labels.numpy(), train.labels)
    assert np.array_equal(data.val_images.numpy(), validation.images)
    assert np.array_equal(data.val_labels.numpy(), validation.labels)
