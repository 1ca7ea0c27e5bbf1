"""From a chain to the stages that train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dgkd_search.distillation.chain import Chain
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec

# In the place of a recipe, for weights that nobody trains here.
PRETRAINED_RECIPE = Recipe(1, 2, 1.0, 0.0, "constant", "none")


@dataclass(frozen=True)
class ChainSettings:
    """How the models of a chain are trained.

    Attributes:
        architecture: of a model of the chain, by its name.
        data: fingerprint of the prepared data.
        recipe, assistant_distillation: for the teacher and every assistant.
        student_recipe, distillation, replicate: for the final student alone, so that chains
            share their prefixes whatever is tuned.
        outputs: one of ``recipe.OUTPUTS``.
        pretrained: checksums of the weights of models that aren't trained, by name.
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
    """The stages of a chain in training order, the student's last.

    Only models that the student depends on are among them (see ``Chain.canonical``).
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
    """The stage of a model whose weights were brought along: nothing is trained."""
    return StageSpec(
        data=settings.data,
        architecture=settings.architecture(name),
        teachers=(),
        recipe=PRETRAINED_RECIPE,
        distillation=None,
        numerics=settings.numerics,
        pretrained=weights,
    )
