"""The registry of families; it imports no torch, for ``--help`` and completion list its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgkd_search.utils.registry import Registry

if TYPE_CHECKING:
    from dgkd_search.models.families import Family

# Those that are built in need torch: ``models.registry`` adds them.
FAMILIES: Registry[Family] = Registry(
    "family",
    "dgkd_search.families",
    declared=("resnet", "plain", "plain-c10", "wrn", "vgg", "resnet-imagenet", "cnn"),
)
