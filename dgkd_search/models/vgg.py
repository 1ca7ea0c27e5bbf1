"""VGG for small images (Simonyan and Zisserman, arXiv 1409.1556), with batch normalization.

As in distillation benchmarks, there is one linear layer, and only the first three blocks end in a
pool. As in the paper, the number in a name counts the convolutions and VGG's three linear layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier, conv3x3

_WIDTHS = (64, 128, 256, 512, 512)
_POOLED = 3  # number of blocks that end in a pool
_BLOCKS = {  # convolutions in each block
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """Five blocks of convolutions (bias, batch normalization, ReLU), average pool, classifier.

    Args:
        blocks: convolutions in each block.
        channels: image channels.
        classes: number of outputs.
    """

    def __init__(self, blocks: tuple[int, ...], channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        inputs = channels
        for i, (count, outputs) in enumerate(zip(blocks, _WIDTHS, strict=True)):
            for _ in range(count):
                conv = conv3x3(inputs, outputs, bias=True)
                self.features.extend((conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)))
                inputs = outputs
            if i < _POOLED:
                # Before the ReLU it gives the same values in less time (see plain.py).
                self.features.insert(len(self.features) - 1, nn.MaxPool2d(2))
        self.classifier = Classifier(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, channels, H, W], H and W at least 8, to logits [N, classes]."""
        features: Tensor = self.features(images)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


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
