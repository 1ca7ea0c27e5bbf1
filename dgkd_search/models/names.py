"""The registry of families; imports no torch, so that ``--help`` and completion start fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgkd_search.utils.registry import Registry

if TYPE_CHECKING:
    from dgkd_search.models.families import Family

# Built-in families need torch, so ``models.registry`` adds them.
FAMILIES: Registry[Family] = Registry(
    "family",
    "dgkd_search.families",
    declared=("resnet", "plain", "plain-c10", "wrn", "vgg", "resnet-imagenet", "cnn"),
)
