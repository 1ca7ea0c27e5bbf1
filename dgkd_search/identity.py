"""What a stage is, and the key that names its result.

A key is a hash of everything that determines a stage's weights, so two stages with one key are
one stage: whoever needs it second loads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dgkd_search.chain import Architecture, Chain
from dgkd_search.recipe import Distillation, Numerics, Recipe

# In the place of a recipe, for weights that nobody trains here.
_GIVEN = Recipe(1, 2, 1.0, 0.0, "constant", "none")

# Raised whenever the training code changes what the same settings produce.
TRAINING_VERSION = 2


def digest(value: object) -> str:
    """128 bits of SHA-256, in hex, over canonical JSON (sorted keys, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**63) that depends on every part and on nothing else."""
    return int(digest([str(part) for part in parts])[:16], 16) >> 1


@dataclass(frozen=True)
class StageSpec:
    """Everything that determines the weights of one trained model.

    Attributes:
        data: fingerprint of the prepared data (images, labels and split).
        architecture: the network.
        sources: keys of the stages that teach it, largest model first; empty for labels alone.
        recipe: how it is trained.
        distillation: the loss where there are sources, in canonical form, else None.
        numerics: device type, threads, precision, memory format.
        train_seed: seed of initialisation, order and drops.
        replicate: number of the repeat; only a final student has one above 0.
        given: checksum of the weights, where a user has brought them along: nothing is trained.
        outputs: how sources are consulted: ``stored`` (their logits on each view, computed once and
            kept in float16) or ``online`` (run on every batch).
    """

    data: str
    architecture: Architecture
    sources: tuple[str, ...]
    recipe: Recipe
    distillation: Distillation | None
    numerics: Numerics
    train_seed: int = 0
    replicate: int = 0
    outputs: str = "stored"
    given: str = ""
    version: int = TRAINING_VERSION

    @property
    def key(self) -> str:
        """32 hex digits; equal for two stages exactly if their weights are equal by design."""
        return digest(self.to_dict())

    @property
    def seed(self) -> int:
        return derive_seed("stage", self.key)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        value = asdict(self)
        value["architecture"] = self.architecture.to_dict()
        value["sources"] = list(self.sources)
        if not self.sources:
            value["outputs"] = None  # nobody is consulted
        if not self.given:
            del value["given"]
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> StageSpec:
        distillation = value["distillation"]
        return cls(
            data=value["data"],
            architecture=Architecture(**value["architecture"]),
            sources=tuple(value["sources"]),
            recipe=Recipe(**value["recipe"]),
            distillation=Distillation(**distillation) if distillation is not None else None,
            numerics=Numerics(**value["numerics"]),
            train_seed=value["train_seed"],
            replicate=value["replicate"],
            outputs=value["outputs"] or cls.outputs,
            given=value.get("given", ""),
            version=value["version"],
        )


@dataclass(frozen=True)
class OutputsSpec:
    """Everything that determines what a source says of one view of every training image.

    Attributes:
        source: key of the stage that trained it (the data's fingerprint is part of that).
        augment: one of ``recipe.AUGMENTS``.
        bank: which of each image's views, from 0.
        numerics: of the forward pass.
    """

    source: str
    augment: str
    bank: int
    numerics: Numerics
    version: int = TRAINING_VERSION

    @property
    def key(self) -> str:
        return digest(["outputs", self.to_dict()])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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
    given: Mapping[str, str] | None = None,
) -> tuple[StageSpec, ...]:
    """The stages of a chain in training order, the student's last.

    Only models that the student depends on are among them (see ``Chain.canonical``).

    Args:
        architecture: of a model of the chain, by its name.
        data: fingerprint of the prepared data.
        recipe, assistant_distillation: for the teacher and every assistant.
        student_recipe, distillation, replicate: for the final student alone, so that chains
            share their prefixes whatever is tuned.
        given: checksums of the weights of models that aren't trained, by name.
    """
    chain = chain.canonical()
    stages: list[StageSpec] = []
    for position, name in enumerate(chain.models):
        final = position == len(chain.models) - 1
        sources: Sequence[int] = chain.sources(position)
        settings = distillation if final else assistant_distillation
        if weights := (given or {}).get(name):
            stages.append(
                StageSpec(data, architecture(name), (), _GIVEN, None, numerics, given=weights)
            )
            continue
        stages.append(
            StageSpec(
                data=data,
                architecture=architecture(name),
                sources=tuple(stages[i].key for i in sources),
                recipe=student_recipe if final else recipe,
                distillation=settings.canonical(len(sources)),
                numerics=numerics,
                train_seed=train_seed,
                replicate=replicate if final else 0,
                outputs=outputs,
            )
        )
    return tuple(stages)
