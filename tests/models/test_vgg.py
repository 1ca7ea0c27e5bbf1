"""VGG: counts, blocks, pools."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dgkd_search.models import build, get_family, parameter_count
from dgkd_search.models.architecture import Architecture

COUNTS = {
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_parameter_counts(name: str, count: int) -> None:
    assert parameter_count(Architecture("vgg", name, 100, 3, 32)) == count


def test_members_go_by_their_number() -> None:
    family = get_family("vgg")
    assert [member.name for member in family.members] == list(COUNTS)
    assert family.between("vgg13", "vgg8") == ("vgg11",)


@pytest.mark.parametrize("name", COUNTS)
def test_the_number_counts_convolutions_and_three_linear_layers(name: str) -> None:
    model = build(Architecture("vgg", name, 10, 3, 32), torch.Generator().manual_seed(0))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 3 == get_family("vgg").member(name).size
    assert all(m.bias is not None for m in convolutions)
    assert sum(isinstance(m, nn.MaxPool2d) for m in model.modules()) == 3
    assert sum(isinstance(m, nn.Linear) for m in model.modules()) == 1


@pytest.mark.parametrize(("image_size", "channels"), [(8, 1), (9, 3), (32, 3), (64, 3)])
def test_images_become_logits(image_size: int, channels: int) -> None:
    architecture = Architecture("vgg", "vgg8", 7, channels, image_size)
    model = build(architecture, torch.Generator().manual_seed(0))
    logits = model(torch.zeros(2, channels, image_size, image_size))
    assert logits.shape == (2, 7) and logits.isfinite().all()
