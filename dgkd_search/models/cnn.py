"""Narrow convolutional networks for small images, named by their width.

Three convolutions and a linear layer: a network of a thousand weights learns 8 × 8 digits in a
second, and its accuracy still depends on its width. So the effect of a chain of assistants can be
seen on a laptop.
"""

from __future__ import annotations

from torch import Tensor, nn

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier, conv3x3

_WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_CANDIDATES = (4, 8, 16)  # each twice as wide as the next: three assistants are eight chains


class NarrowCNN(nn.Module):
    """Convolutions of ``width``, ``width`` at stride 2, and twice ``width``; average pool,
    classifier.

    Args:
        width: output channels of the first convolution.
        channels: image channels.
        classes: number of outputs.
    """

    def __init__(self, width: int, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        inputs = channels
        for outputs, stride in ((width, 1), (width, 2), (2 * width, 1)):
            conv = conv3x3(inputs, outputs, stride)
            self.features.extend((conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)))
            inputs = outputs
        self.classifier = Classifier(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, channels, H, W] to logits [N, classes]."""
        features: Tensor = self.features(images)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


_MEMBERS = {
    Member(f"cnn{width}", width, default_candidate=width in _CANDIDATES): width for width in _WIDTHS
}


def _build(architecture: Architecture) -> nn.Module:
    width = _MEMBERS[FAMILY.member(architecture.name)]
    return NarrowCNN(width, architecture.channels, architecture.classes)


FAMILY = Family("cnn", tuple(_MEMBERS), _build, ends=("cnn32", "cnn3"), design="narrow")
