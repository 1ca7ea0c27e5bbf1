"""The cost of training a chain with an empty store, in floating-point operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.spec import StageSpec

_TRAINING = 3  # forward pass plus backward pass, which takes twice as many operations


@lru_cache(maxsize=256)
def forward_flops(architecture: Architecture) -> int:
    """Return the operations of a forward pass of one image; a multiply-add counts as two."""
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    model = build(architecture, torch.Generator(), check_start=False).eval()
    image = torch.zeros(1, architecture.channels, architecture.image_size, architecture.image_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return int(counter.get_total_flops())


def training_tflop(stages: Sequence[StageSpec], images: int) -> float:
    """Return the teraoperations of training these stages with an empty store.

    They comprise a forward and a backward pass of every image in every epoch, and a forward pass of
    each teacher for every image in every stored bank of views (online teachers: in every epoch).
    Validation is not counted.

    Args:
        stages: the stages of a chain in training order.
        images: number of training images.
    """
    total = 0
    banks: dict[str, int] = {}  # number of banks with stored outputs, by the teacher's key
    flops = {stage.key: forward_flops(stage.architecture) for stage in stages}
    for stage in stages:
        if stage.pretrained:
            continue
        epochs = stage.recipe.epochs
        total += _TRAINING * flops[stage.key] * images * epochs
        for teacher in stage.teachers:
            if stage.outputs == "online":
                total += flops[teacher] * images * epochs
            else:
                banks[teacher] = max(banks.get(teacher, 0), min(stage.recipe.views, epochs))
    total += sum(flops[teacher] * images * count for teacher, count in banks.items())
    return total / 1e12
