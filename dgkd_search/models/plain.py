"""Plain convolutional networks of the assistant papers, named by their number of convolutions.

The specifications are those of TAKD (Mirzadeh et al., arXiv 1902.03393) and DGKD (Son et al., arXiv
2009.08825) for CIFAR-100 (``plain``) and CIFAR-10 (``plain-c10``). The number of outputs follows
the data. Weights have the names of the public code of both.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier, conv3x3

# number: 3×3 convolution of that width; M: max-pool 2; F with number: hidden linear layer of that
# width. The classifier at the end is not listed, as its width is the number of classes.
_FOUR = "32 32 M 64 64 M"
_SIX = f"{_FOUR} 128 128"
_SPECS = {
    2: "32 M 32 M",
    3: "32 32 M 64 M",
    4: _FOUR,
    5: f"{_FOUR} 128",
    6: _SIX,
    7: f"{_SIX} M 256 M F64",
    8: f"{_SIX} M 256 256 M F64",
    9: f"{_SIX} M 256 256 256 M F512",
    10: f"{_SIX} M 256 256 256 256 M F512",
}

_FOUR_C10 = "16 16 M 32 32 M"
_SIX_C10 = f"{_FOUR_C10} 64 64 M"
_SPECS_C10 = {
    2: "16 M 16 M",
    4: _FOUR_C10,
    6: _SIX_C10,
    8: f"{_SIX_C10} 128 128 M F64",
    10: "32 32 M 64 64 M 128 128 M 256 256 256 256 M F128",
}


class PlainCNN(nn.Module):
    """Convolutions (bias, batch normalization, ReLU) and max-pools, then linear layers.

    A max-pool that would shrink the image below 1×1 is left out, so that deep members also accept
    small images.

    Args:
        spec: all layers except the classifier, as in ``_SPECS``.
        channels: image channels.
        image_size: height and width of the images in pixels.
        classes: number of outputs.
    """

    def __init__(self, spec: str, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential()
        self.fc_layers = nn.Sequential()
        width, size = channels, image_size
        inputs: int | None = None  # of the next linear layer; None until the first one
        for layer in spec.split():
            if layer == "M":
                if size >= 2:
                    # Max-pool before the ReLU: a quarter of the work, and values and gradients
                    # are the same to the last bit, as max and ReLU commute.
                    self.conv_layers.insert(len(self.conv_layers) - 1, nn.MaxPool2d(2))
                    size //= 2
            elif layer.startswith("F"):
                outputs = int(layer[1:])
                inputs = width * size * size if inputs is None else inputs
                self.fc_layers.extend((nn.Linear(inputs, outputs), nn.ReLU()))
                inputs = outputs
            else:
                conv = conv3x3(width, int(layer), bias=True)
                width = conv.out_channels
                self.conv_layers.extend((conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)))
        inputs = width * size * size if inputs is None else inputs
        self.fc_layers.append(Classifier(inputs, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, channels, image_size, image_size] to logits [N, classes]."""
        features: Tensor = self.conv_layers(images)
        logits: Tensor = self.fc_layers(features.flatten(1))
        return logits


def _family(name: str, suffix: str, specs: Mapping[int, str]) -> Family:
    members = {Member(f"plain{depth}{suffix}", depth): spec for depth, spec in specs.items()}
    by_name = {member.name: spec for member, spec in members.items()}

    def build(architecture: Architecture) -> nn.Module:
        return PlainCNN(
            by_name[architecture.name],
            architecture.channels,
            architecture.image_size,
            architecture.classes,
        )

    ends = f"plain10{suffix}", f"plain2{suffix}"
    return Family(name, tuple(members), build, ends=ends, design="plain")


FAMILY = _family("plain", "", _SPECS)
FAMILY_C10 = _family("plain-c10", "-c10", _SPECS_C10)
