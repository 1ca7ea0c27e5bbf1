"""Narrow convolutional networks for small images, named by their width.

Three convolutions and a linear layer. A network with a thousand weights learns 8 × 8 digits in a
second, and its accuracy still depends on its width, so the effect of assistants is visible on a
laptop.
"""

from __future__ import annotations

from torch import Tensor, nn

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier, conv3x3

_WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_CANDIDATES = (4, 8, 16)  # widths that double; three candidate assistants give eight chains


class NarrowCNN(nn.Module):
    """Three convolutions, average pool, classifier.

    The convolutions have ``width``, ``width`` (stride 2) and ``2 * width`` output channels.

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
