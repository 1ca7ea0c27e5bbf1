"""Wide residual networks: counts, order, shared axes, shortcuts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dgkd_search.models import build, get_family, parameter_count
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.wrn import PreActivationBlock, WideResNet

COUNTS = {"wrn_16_1": 180_916, "wrn_16_2": 703_284, "wrn_40_1": 569_780, "wrn_40_2": 2_255_156}
NAMES = [member.name for member in get_family("wrn").members]


def network(name: str, image_size: int = 32) -> WideResNet:
    model = build(Architecture("wrn", name, 10, 3, image_size), torch.Generator().manual_seed(0))
    assert isinstance(model, WideResNet)
    return model


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_parameter_counts(name: str, count: int) -> None:
    assert parameter_count(Architecture("wrn", name, 100, 3, 32)) == count


def test_the_order_is_that_of_the_parameters() -> None:
    counts = [parameter_count(Architecture("wrn", name, 100, 3, 32)) for name in NAMES]
    assert counts == [member.size for member in get_family("wrn").members]


@pytest.mark.parametrize(
    ("teacher", "student", "between"),
    [
        ("wrn_40_2", "wrn_16_2", ("wrn_34_2", "wrn_28_2", "wrn_22_2")),
        ("wrn_40_8", "wrn_40_1", ("wrn_40_4", "wrn_40_2")),
        ("wrn_22_2", "wrn_28_1", ("wrn_16_2", "wrn_40_1", "wrn_34_1")),
        ("wrn_40_1", "wrn_40_2", ()),
    ],
)
def test_a_search_chooses_along_the_width_or_depth_that_its_ends_share(
    teacher: str, student: str, between: tuple[str, ...]
) -> None:
    assert get_family("wrn").between(teacher, student) == between


@pytest.mark.parametrize(("name", "first"), [("wrn_16_1", False), ("wrn_16_2", True)])
def test_the_shortcut_is_a_bare_convolution_where_the_width_changes(name: str, first: bool) -> None:
    blocks = [m for m in network(name).modules() if isinstance(m, PreActivationBlock)]
    shortcuts = [block.convShortcut for block in blocks]
    assert [s is not None for s in shortcuts] == [first, False, True, False, True, False]
    assert all(isinstance(s, nn.Conv2d) and s.bias is None for s in shortcuts if s is not None)


def test_the_shortcut_is_fed_what_was_activated() -> None:
    block = PreActivationBlock(2, 3, 2).eval()
    assert block.convShortcut is not None
    nn.init.zeros_(block.conv2.weight)  # then only the shortcut remains
    images = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(images), block.convShortcut(torch.relu(block.bn1(images))))


@pytest.mark.parametrize("image_size", [8, 9, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_become_logits(image_size: int, channels: int) -> None:
    architecture = Architecture("wrn", "wrn_10_2", 7, channels, image_size)
    model = build(architecture, torch.Generator().manual_seed(0))
    logits = model(torch.zeros(2, channels, image_size, image_size))
    assert logits.shape == (2, 7) and logits.isfinite().all()


def test_depth_counts_the_layers_of_the_longest_path() -> None:
    convolutions = [m for m in network("wrn_22_2").modules() if isinstance(m, nn.Conv2d)]
    assert len([m for m in convolutions if m.kernel_size == (3, 3)]) + 3 == 22  # n = 3: 19 of 22
