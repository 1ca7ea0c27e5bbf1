"""What it takes to train a chain from nothing, in floating-point operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.spec import StageSpec

_TRAINING = 3  # a step is a forward pass and a backward pass of twice its operations


@lru_cache(maxsize=256)
def forward_flops(architecture: Architecture) -> int:
    """Operations of a forward pass of one image; a multiplication with its addition counts two."""
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    model = build(architecture, torch.Generator()).eval()
    image = torch.zeros(1, architecture.channels, architecture.image_size, architecture.image_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return int(counter.get_total_flops())


def training_tflop(stages: Sequence[StageSpec], images: int) -> float:
    """Teraoperations that training these stages takes, whoever has trained some of them already.

    Every image of every epoch forwards and backwards, and each teacher once for each view that is
    stored, or with every batch where teachers run online. Validation isn't counted.

    Args:
        stages: of a chain, in training order.
        images: in the training part.
    """
    total = 0
    banks: dict[str, int] = {}  # views that a teacher's outputs are stored for, by its key
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
