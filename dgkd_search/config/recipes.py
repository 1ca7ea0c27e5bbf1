"""Default recipes by problem, with their sources; the first rule that fits applies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dgkd_search.config.parsers import ReplicationPlan
from dgkd_search.data.kinds import DatasetKind
from dgkd_search.models import Family

_REPLICATION = ReplicationPlan(3, 5)


@dataclass(frozen=True)
class DefaultRecipe:
    """Default values of options; ``Recipe`` explains them.

    Attributes:
        image_size, augment: defaults for image folders only; other datasets have their own.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    schedule: str
    image_size: int | None = None
    augment: str | None = None
    validation: float | None = None
    confirm: ReplicationPlan = _REPLICATION


@dataclass(frozen=True)
class Rule:
    """A problem and its recipe.

    Attributes:
        problem: description of the problem.
        fits: returns whether a family on a dataset is such a problem.
        source: origin of the recipe.
    """

    problem: str
    fits: Callable[[Family, DatasetKind], bool]
    recipe: DefaultRecipe
    source: str


RULES = (
    Rule(
        "narrow networks on a thousand images of 8 x 8 pixels",
        lambda family, dataset: family.design == "narrow" and dataset.tiny,
        DefaultRecipe(
            30, 64, 0.1, 5e-4, "onecycle", validation=0.35, confirm=ReplicationPlan(2, 10)
        ),
        "measured: experiments/first_contact.py",
    ),
    Rule(
        "a thousand images of 8 x 8 pixels",
        lambda family, dataset: dataset.tiny,
        DefaultRecipe(12, 64, 0.1, 5e-4, "onecycle"),
        "measured: a few epochs suffice",
    ),
    Rule(
        "networks for ImageNet",
        lambda family, dataset: family.design == "imagenet",
        DefaultRecipe(100, 512, 0.2, 1e-4, "thirds", image_size=224, augment="resized-crop+flip"),
        "common practice for ImageNet",
    ),
    Rule(
        "wide or plain networks of the field's CIFAR-100 benchmarks",
        lambda family, dataset: family.design == "benchmark",
        DefaultRecipe(240, 64, 0.05, 5e-4, "late"),
        "the field's CIFAR-100 benchmarks",
    ),
    Rule(
        "networks without shortcuts or batch normalization",
        lambda family, dataset: family.design == "plain",
        DefaultRecipe(160, 128, 0.01, 1e-4, "constant"),
        "arXiv 2009.08825, experiments",
    ),
    Rule(
        "all others, as residual networks",
        lambda family, dataset: True,
        DefaultRecipe(160, 128, 0.1, 1e-4, "step"),
        "arXiv 2009.08825, experiments",
    ),
)


def recipe_for(family: Family, dataset: DatasetKind) -> DefaultRecipe:
    """Return the recipe of the first rule that fits; the last rule always fits."""
    return next(rule.recipe for rule in RULES if rule.fits(family, dataset))
