"""Narrow networks: counts, layers, order."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgkd_search.models import build, get_family, parameter_count
from dgkd_search.models.architecture import Architecture

WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32)


def architecture(width: int, channels: int = 1, size: int = 8, classes: int = 10) -> Architecture:
    return Architecture("cnn", f"cnn{width}", classes, channels, size)


def test_members_go_by_their_width() -> None:
    family = get_family("cnn")
    assert [member.name for member in family.members] == [f"cnn{width}" for width in WIDTHS]
    assert family.default_ends(tiny=True) == ("cnn32", "cnn3")
    assert family.between("cnn32", "cnn3") == ("cnn16", "cnn8", "cnn4")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 100)])
def test_parameters_are_those_of_three_convolutions_and_a_linear_layer(
    width: int, channels: int, classes: int
) -> None:
    convolutions = 9 * (channels * width + width * width + width * 2 * width)
    normalizations = 2 * (width + width + 2 * width)
    linear = (2 * width + 1) * classes
    count = parameter_count(architecture(width, channels, 8, classes))
    assert count == convolutions + normalizations + linear


@pytest.mark.parametrize("size", [8, 9, 32])
def test_logits_are_those_of_a_naive_network(size: int) -> None:
    model = build(architecture(3, 3, size), torch.Generator().manual_seed(0)).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    layers = [*model.modules()]
    convolutions = [each for each in layers if isinstance(each, nn.Conv2d)]
    normalizations = [each for each in layers if isinstance(each, nn.BatchNorm2d)]
    features: Tensor = images
    for i, (convolution, norm) in enumerate(zip(convolutions, normalizations, strict=True)):
        features = F.conv2d(features, convolution.weight, stride=1 + (i == 1), padding=1)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        features = (features * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
    (linear,) = (each for each in layers if isinstance(each, nn.Linear))
    assert features.shape == (2, 6, (size + 1) // 2, (size + 1) // 2)
    expected = features.flatten(2).mean(2) @ linear.weight.T + linear.bias
    torch.testing.assert_close(model(images), expected)
