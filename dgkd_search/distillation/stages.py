"""From a chain to the stages that train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dgkd_search.distillation.chain import Chain
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec

# In the place of a recipe, for weights that nobody trains here.
PRETRAINED_RECIPE = Recipe(1, 2, 1.0, 0.0, "constant", "none")


def chain_stages(
    chain: Chain,
    *,
    architecture: Callable[[str], Architecture],
    data: str,
    recipe: Recipe,
    student_recipe: Recipe,
    distillation: Distillation,
    assistant_distillation: Distillation,
    numerics: Numerics,
    train_seed: int = 0,
    replicate: int = 0,
    outputs: str = "stored",
    pretrained: Mapping[str, str] | None = None,
) -> tuple[StageSpec, ...]:
    """The stages of a chain in training order, the student's last.

    Only models that the student depends on are among them (see ``Chain.canonical``).

    Args:
        architecture: of a model of the chain, by its name.
        data: fingerprint of the prepared data.
        recipe, assistant_distillation: for the teacher and every assistant.
        student_recipe, distillation, replicate: for the final student alone, so that chains
            share their prefixes whatever is tuned.
        pretrained: checksums of the weights of models that aren't trained, by name.
    """
    chain = chain.canonical()
    stages: list[StageSpec] = []
    for position, name in enumerate(chain.models):
        final = position == len(chain.models) - 1
        teachers: Sequence[int] = chain.teachers(position)
        settings = distillation if final else assistant_distillation
        if weights := (pretrained or {}).get(name):
            stages.append(
                StageSpec(
                    data,
                    architecture(name),
                    (),
                    PRETRAINED_RECIPE,
                    None,
                    numerics,
                    pretrained=weights,
                )
            )
            continue
        stages.append(
            StageSpec(
                data=data,
                architecture=architecture(name),
                teachers=tuple(stages[i].key for i in teachers),
                recipe=student_recipe if final else recipe,
                distillation=settings.canonical(len(teachers)),
                numerics=numerics,
                train_seed=train_seed,
                replicate=replicate if final else 0,
                outputs=outputs,
            )
        )
    return tuple(stages)
