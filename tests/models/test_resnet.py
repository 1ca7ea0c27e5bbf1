"""CIFAR residual networks: counts, depths, shapes, shortcuts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dgkd_search.models import build, get_family, parameter_count
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.resnet import BasicBlock, ResNet

torch.set_num_threads(1)

COUNTS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet26": 375_540,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
}


def network(name: str, image_size: int = 32) -> ResNet:
    architecture = Architecture("resnet", name, 10, 3, image_size)
    model = build(architecture, torch.Generator().manual_seed(0))
    assert isinstance(model, ResNet)
    return model


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_parameter_counts(name: str, count: int) -> None:
    assert parameter_count(Architecture("resnet", name, 100, 3, 32)) == count
    fewer = 23_130 if name.endswith("x4") else 5_850  # 90 outputs of 256 or 64 weights and a bias
    assert parameter_count(Architecture("resnet", name, 10, 3, 32)) == count - fewer


def test_members_and_pool() -> None:
    members = get_family("resnet").members
    assert [m.name for m in members if m.default_candidate] == [n for n in COUNTS if "x4" not in n]
    assert [m.name for m in members if not m.default_candidate] == ["resnet8x4", "resnet32x4"]
    assert [m.size for m in members] == [8, 8, 14, 20, 26, 32, 32, 44, 56, 110]


@pytest.mark.parametrize("name", COUNTS)
def test_depth_counts_the_layers_of_the_longest_path(name: str) -> None:
    convolutions = [
        m for m in network(name).modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]
    assert len(convolutions) + 1 == get_family("resnet").member(name).size
    assert all(m.bias is None for m in convolutions)


@pytest.mark.parametrize(
    ("name", "projected"), [("resnet20", [3, 6]), ("resnet8x4", [0, 1, 2]), ("resnet8", [1, 2])]
)
def test_projection_only_where_stride_or_width_changes(name: str, projected: list[int]) -> None:
    blocks = [m for m in network(name).modules() if isinstance(m, BasicBlock)]
    assert [
        i for i, b in enumerate(blocks) if not isinstance(b.downsample, nn.Identity)
    ] == projected


@pytest.mark.parametrize(
    ("image_size", "sizes"), [(32, (32, 16, 8)), (9, (9, 5, 3)), (8, (8, 4, 2))]
)
@pytest.mark.parametrize(
    ("name", "widths"), [("resnet14", (16, 32, 64)), ("resnet8x4", (64, 128, 256))]
)
def test_stages_halve_and_widen(
    name: str, widths: tuple[int, ...], image_size: int, sizes: tuple[int, ...]
) -> None:
    model = network(name, image_size)
    features = model.bn1(model.conv1(torch.zeros(2, 3, image_size, image_size)))
    shapes = []
    for stage in (model.layer1, model.layer2, model.layer3):
        features = stage(features)
        shapes.append(tuple(features.shape))
    assert shapes == [(2, w, s, s) for w, s in zip(widths, sizes, strict=True)]


def test_a_block_adds_its_residual_to_the_shortcut() -> None:
    block = BasicBlock(4, 4, stride=1).eval()
    images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        block.bn2.weight.zero_()  # then the residual is bn2's bias
        block.bn2.bias.fill_(0.5)
        torch.testing.assert_close(block(images), (images + 0.5).clamp(min=0))


def test_a_residual_is_two_convolutions_with_relu_between() -> None:
    block = BasicBlock(1, 1, stride=1).eval()
    with torch.no_grad():
        for conv, center in ((block.conv1, -1.0), (block.conv2, 2.0)):
            conv.weight.zero_()
            conv.weight[0, 0, 1, 1] = center
        images = torch.tensor([-3.0, 5.0]).view(2, 1, 1, 1)
        # -3: relu(3)·2 - 3 = 3; 5: relu(-5)·2 + 5 = 5
        expected = torch.tensor([3.0, 5.0]).view(2, 1, 1, 1)
        torch.testing.assert_close(block(images), expected, rtol=1e-4, atol=0)


def test_logits_come_from_the_mean_over_the_image() -> None:
    model = network("resnet8").eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    features = torch.relu(model.bn1(model.conv1(images)))
    features = model.layer3(model.layer2(model.layer1(features)))
    pooled = nn.functional.adaptive_avg_pool2d(features, 1).flatten(1)
    expected = pooled @ model.fc.weight.T + model.fc.bias
    torch.testing.assert_close(model(images), expected)
