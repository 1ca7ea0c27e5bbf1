"""torchvision's residual networks for large images.

Weights have torchvision's names, so ``--teacher-weights`` accepts its pretrained weights.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family, Member
from dgkd_search.models.layers import Classifier

_DEPTHS = (18, 34, 50, 101, 152)


def _build(architecture: Architecture) -> nn.Module:
    from torchvision import models  # slow to import, and only this family needs it

    make = getattr(models, architecture.name)
    model: nn.Module = make(weights=None, num_classes=architecture.classes)
    if architecture.channels != 3:
        model.conv1 = nn.Conv2d(
            architecture.channels, 64, kernel_size=7, stride=2, padding=3, bias=False
        )
    width = cast(nn.Linear, model.fc).in_features
    model.fc = Classifier(width, architecture.classes)
    return model


FAMILY = Family(
    "resnet-imagenet",
    tuple(Member(f"resnet{depth}", depth) for depth in _DEPTHS),
    _build,
    ends=("resnet50", "resnet18"),
    design="imagenet",
)
