from __future__ import annotations

import pytest
import torch
from helpers.stages import StagesOf
from helpers.trainers import Spy

from dgkd_search.errors import StageFailed
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.teachers import OnlineTeachers
from dgkd_search.training.trainer import Trainer


@pytest.mark.parametrize(
    ("room", "ways"),
    [(20, "--batch-size 16 fits, or"), (9, "--batch-size 8 fits"), (1, "no smaller")],
)
def test_too_little_memory_fails_with_a_batch_size_that_fits(
    stages_of: StagesOf, data: DeviceData, teacher: OnlineTeachers, room: int, ways: str
) -> None:
    def fail() -> None:
        if len(spy.rows[-1]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    spy = Spy(teacher, fail)
    with pytest.raises(StageFailed) as caught:
        Trainer(stages_of("resnet20", "resnet8")[-1], data, spy).train_epoch()
    start = "resnet8: out of memory on the device with batch size 32; "
    assert str(caught.value).startswith(start + ways)
    assert str(caught.value).endswith("raise --gpus-per-trial")
