"""Wide residual networks ``wrn_{6n+4}_{k}`` (Zagoruyko and Komodakis, arXiv 1605.07146).

For small images and without dropout, as in distillation benchmarks. Weights have the names of
RepDistiller and mdistiller.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier, conv3x3

_STEM = 16
_WIDTHS = (16, 32, 64)


class PreActivationBlock(nn.Module):
    """Two convolutions, each after normalization and ReLU, and a shortcut.

    Maps [N, inputs, H, W] to [N, outputs, ⌈H/s⌉, ⌈W/s⌉]. If width or stride changes, the shortcut
    is a 1×1 convolution of the activated input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.convShortcut: nn.Module | None = None  # the published spelling
        if inputs != outputs or stride != 1:
            self.convShortcut = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Apply the block; see the class for shapes."""
        active = functional.relu(self.bn1(images))
        beside: Tensor = images if self.convShortcut is None else self.convShortcut(active)
        active = functional.relu(self.bn2(self.conv1(active)))
        residual: Tensor = self.conv2(active)
        return beside + residual


def _block(inputs: int, outputs: int, count: int, stride: int) -> nn.Sequential:
    rest = (PreActivationBlock(outputs, outputs, 1) for _ in range(count - 1))
    layer = nn.Sequential(PreActivationBlock(inputs, outputs, stride), *rest)
    return nn.Sequential(OrderedDict(layer=layer))  # only for the names of the weights


class WideResNet(nn.Module):
    """Stem, three stages of pre-activation blocks, normalization, average pool, classifier.

    The stages have strides 1, 2, 2.

    Args:
        depth: number of convolutions and classifier along the longest path, 6n+4 with n at least 1.
        width: multiplier of the stages' widths 16, 32 and 64.
        channels: image channels.
        classes: number of outputs.
    """

    def __init__(self, depth: int, width: int, channels: int, classes: int) -> None:
        super().__init__()
        count = (depth - 4) // 6
        first, second, third = (w * width for w in _WIDTHS)
        self.conv1 = conv3x3(channels, _STEM)
        self.block1 = _block(_STEM, first, count, stride=1)
        self.block2 = _block(first, second, count, stride=2)
        self.block3 = _block(second, third, count, stride=2)
        self.bn1 = nn.BatchNorm2d(third)
        self.fc = Classifier(third, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, channels, H, W] to logits [N, classes]."""
        features: Tensor = self.block3(self.block2(self.block1(self.conv1(images))))
        features = functional.relu(self.bn1(features))
        logits: Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


def _parameters(depth: int, width: int) -> int:
    """Return the number of parameters for 100 classes of color images, which orders the family."""
    blocks, inputs, total = (depth - 4) // 6, _STEM, 9 * 3 * _STEM
    for stage, outputs in enumerate(w * width for w in _WIDTHS):
        total += 9 * outputs * (inputs + (2 * blocks - 1) * outputs)  # convolutions
        total += inputs * outputs if stage or inputs != outputs else 0  # shortcut
        total += 2 * inputs + 2 * outputs + (blocks - 1) * 4 * outputs  # normalization
        inputs = outputs
    return total + 2 * inputs + (inputs + 1) * 100


# Depths and widths of the paper's tables and of distillation benchmarks. Members wider than 4 are
# no default candidates: each costs as much as all others together.
_MEMBERS = {
    Member(
        f"wrn_{depth}_{width}",
        _parameters(depth, width),
        default_candidate=width <= 4,
        shared_axes=frozenset({f"depth {depth}", f"width {width}"}),
    ): (depth, width)
    for depth in (10, 16, 22, 28, 34, 40)
    for width in (1, 2, 4, 8, 10)
}


def _build(architecture: Architecture) -> nn.Module:
    depth, width = _MEMBERS[FAMILY.member(architecture.name)]
    return WideResNet(depth, width, architecture.channels, architecture.classes)


FAMILY = Family(
    "wrn",
    tuple(_MEMBERS),
    _build,
    ends=("wrn_40_2", "wrn_16_2"),  # as in CIFAR-100 distillation benchmarks
    design="benchmark",
)
