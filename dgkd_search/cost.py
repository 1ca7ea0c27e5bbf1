"""What it takes to train a chain from nothing, in floating-point operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from dgkd_search.chain import Architecture
from dgkd_search.identity import StageSpec
from dgkd_search.models import build

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

    Every image of every epoch forwards and backwards, and each source once for each view that is
    stored, or with every batch where sources run online. Validation isn't counted.

    Args:
        stages: of a chain, in training order.
        images: in the training part.
    """
    total = 0
    banks: dict[str, int] = {}  # views that a source's outputs are stored for, by its key
    flops = {stage.key: forward_flops(stage.architecture) for stage in stages}
    for stage in stages:
        if stage.given:
            continue
        epochs = stage.recipe.epochs
        total += _TRAINING * flops[stage.key] * images * epochs
        for source in stage.sources:
            if stage.outputs == "online":
                total += flops[source] * images * epochs
            else:
                banks[source] = max(banks.get(source, 0), min(stage.recipe.views, epochs))
    total += sum(flops[source] * images * count for source, count in banks.items())
    return total / 1e12
