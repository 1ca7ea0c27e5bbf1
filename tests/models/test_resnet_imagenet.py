"""torchvision's residual networks: its parameter counts, names and outputs."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from dgkd_search.models import build, get_family, parameter_count
from dgkd_search.models.architecture import Architecture

# num_params in torchvision's documentation, for 1,000 classes.
COUNTS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_parameter_counts(name: str, count: int) -> None:
    assert parameter_count(Architecture("resnet-imagenet", name, 1000, 3, 224)) == count
    weights = models.get_model_weights(name).DEFAULT
    assert weights.meta["num_params"] == count


def test_members_go_by_depth() -> None:
    family = get_family("resnet-imagenet")
    assert [member.name for member in family.members] == list(COUNTS)
    assert family.between("resnet50", "resnet18") == ("resnet34",)


@pytest.mark.parametrize("channels", [1, 3])
def test_its_weights_are_torchvisions_by_name_shape_and_meaning(channels: int) -> None:
    architecture = Architecture("resnet-imagenet", "resnet18", 12, channels, 64)
    model = build(architecture, torch.Generator().manual_seed(0)).eval()
    theirs = models.resnet18(weights=None, num_classes=12).eval()
    if channels != 3:
        theirs.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    theirs.load_state_dict(model.state_dict())
    images = torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(images), theirs(images))
