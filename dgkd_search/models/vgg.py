"""VGG for small images (Simonyan and Zisserman, arXiv 1409.1556), with batch normalization.

As in distillation benchmarks, there is one linear layer, and only the first three blocks end in a
pool. As in the paper, the number in a name counts the convolutions and VGG's three linear layers.
Weights have the names of RepDistiller and mdistiller.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier, conv3x3

_WIDTHS = (64, 128, 256, 512, 512)
_BLOCKS = {  # convolutions in each block
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def _block(inputs: int, outputs: int, count: int) -> nn.Sequential:
    """Return convolutions with batch normalization, and a ReLU after each except the last."""
    layers: list[nn.Module] = []
    for _ in range(count):
        conv = conv3x3(inputs, outputs, bias=True)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers[:-1])


class VGG(nn.Module):
    """Five blocks of convolutions (bias, batch normalization, ReLU), average pool, classifier.

    Args:
        blocks: convolutions in each block.
        channels: image channels.
        classes: number of outputs.
    """

    def __init__(self, blocks: tuple[int, ...], channels: int, classes: int) -> None:
        super().__init__()
        inputs = (channels, *_WIDTHS)
        self.block0, self.block1, self.block2, self.block3, self.block4 = map(
            _block, inputs, _WIDTHS, blocks
        )
        self.pool0, self.pool1, self.pool2 = (nn.MaxPool2d(2) for _ in range(3))
        self.classifier = Classifier(_WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, channels, H, W], H and W at least 8, to logits [N, classes]."""
        # A pool before the ReLU gives the same values in less time (see plain.py).
        features: Tensor = _relu(self.pool0(self.block0(images)))
        features = _relu(self.pool1(self.block1(features)))
        features = _relu(self.pool2(self.block2(features)))
        features = _relu(self.block4(_relu(self.block3(features))))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def _relu(features: Tensor) -> Tensor:
    return functional.relu(features, inplace=True)


_MEMBERS = {Member(f"vgg{number}", number): blocks for number, blocks in _BLOCKS.items()}


def _build(architecture: Architecture) -> nn.Module:
    blocks = _MEMBERS[FAMILY.member(architecture.name)]
    return VGG(blocks, architecture.channels, architecture.classes)


FAMILY = Family(
    "vgg",
    tuple(_MEMBERS),
    _build,
    ends=("vgg13", "vgg8"),  # as in CIFAR-100 distillation benchmarks
    design="benchmark",
)
