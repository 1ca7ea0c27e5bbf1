"""CIFAR residual networks of depth 6n+2 (He et al., arXiv 1512.03385, section 4.2).

Unlike in that section, but as in distillation benchmarks, a shortcut that changes stride or width
is a projection (1×1 convolution and batch normalization).

Weights have the names of RepDistiller, mdistiller, TAKD, DGKD and pytorch-cifar-models.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier, conv3x3


class _Widths(NamedTuple):
    stem: int
    stages: tuple[int, int, int]


_PLAIN = _Widths(16, (16, 32, 64))
_X4 = _Widths(32, (64, 128, 256))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut: [N, inputs, H, W] to [N, outputs, ⌈H/s⌉, ⌈W/s⌉]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, images: Tensor) -> Tensor:
        """Apply the block; see the class for shapes."""
        residual = functional.relu(self.bn1(self.conv1(images)))
        residual = self.bn2(self.conv2(residual))
        return functional.relu(residual + self.downsample(images))


def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (BasicBlock(outputs, outputs, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(inputs, outputs, stride), *rest)


class ResNet(nn.Module):
    """Stem, three stages of basic blocks with strides 1, 2, 2, average pool, classifier.

    Args:
        depth: number of layers with weights along the longest path, 6n+2 with n at least 1.
        stem: width of the first convolution.
        stages: widths of the three stages.
        channels: image channels.
        classes: number of outputs.
    """

    def __init__(
        self, depth: int, stem: int, stages: tuple[int, int, int], channels: int, classes: int
    ) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(channels, stem)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = _layer(stem, stages[0], blocks, stride=1)
        self.layer2 = _layer(stages[0], stages[1], blocks, stride=2)
        self.layer3 = _layer(stages[1], stages[2], blocks, stride=2)
        self.fc = Classifier(stages[2], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, channels, H, W] to logits [N, classes]."""
        features: Tensor = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


_MEMBERS: dict[Member, _Widths] = {
    **{Member(f"resnet{d}", d): _PLAIN for d in (8, 14, 20, 26, 32, 44, 56, 110)},
    **{Member(f"resnet{d}x4", d, default_candidate=False): _X4 for d in (8, 32)},
}


def _build(architecture: Architecture) -> nn.Module:
    member = FAMILY.member(architecture.name)
    widths = _MEMBERS[member]
    return ResNet(
        member.size, widths.stem, widths.stages, architecture.channels, architecture.classes
    )


FAMILY = Family(
    "resnet",
    tuple(_MEMBERS),
    _build,
    ends=("resnet56", "resnet8"),  # published pairs are 56 to 20 and 26 to 8
    tiny_ends=("resnet26", "resnet8"),
)
