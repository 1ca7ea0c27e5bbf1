"""Converting a chain to its stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dgkd_search.distillation.chain import Chain
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec

# A placeholder for pretrained models, which are not trained.
PRETRAINED_RECIPE = Recipe(1, 2, 1.0, 0.0, "constant", "none")


@dataclass(frozen=True)
class ChainSettings:
    """Settings for training the models of a chain.

    Attributes:
        architecture: returns the architecture of a model by name.
        data: fingerprint of the prepared data.
        recipe, assistant_distillation: settings of the teacher and the assistants.
        student_recipe, distillation, replicate: settings of the student only, so that chains share
            their other models when these are tuned.
        numerics: numerics of all stages.
        train_seed: seed of all stages.
        outputs: one of ``recipe.OUTPUTS``.
        pretrained: checksums of pretrained weights by model name.
    """

    architecture: Callable[[str], Architecture]
    data: str
    recipe: Recipe
    student_recipe: Recipe
    distillation: Distillation
    assistant_distillation: Distillation
    numerics: Numerics
    train_seed: int = 0
    replicate: int = 0
    outputs: str = "stored"
    pretrained: Mapping[str, str] = field(default_factory=dict)


def chain_stages(chain: Chain, settings: ChainSettings) -> tuple[StageSpec, ...]:
    """Return the stages of a chain in training order, the student's last.

    Models that the student does not depend on are left out (see ``Chain.canonical``).
    """
    stages: list[StageSpec] = []
    chain = chain.canonical()
    for position, name in enumerate(chain.models):
        if weights := settings.pretrained.get(name):
            stages.append(_pretrained(settings, name, weights))
            continue
        final = position == len(chain.models) - 1
        teachers = tuple(stages[i].key for i in chain.teachers(position))
        loss = settings.distillation if final else settings.assistant_distillation
        stages.append(
            StageSpec(
                data=settings.data,
                architecture=settings.architecture(name),
                teachers=teachers,
                recipe=settings.student_recipe if final else settings.recipe,
                distillation=loss.canonical(len(teachers)),
                numerics=settings.numerics,
                train_seed=settings.train_seed,
                replicate=settings.replicate if final else 0,
                outputs=settings.outputs,
            )
        )
    return tuple(stages)


def _pretrained(settings: ChainSettings, name: str, weights: str) -> StageSpec:
    """Return the stage of a pretrained model, which is not trained."""
    return StageSpec(
        data=settings.data,
        architecture=settings.architecture(name),
        teachers=(),
        recipe=PRETRAINED_RECIPE,
        distillation=None,
        numerics=settings.numerics,
        pretrained=weights,
    )
