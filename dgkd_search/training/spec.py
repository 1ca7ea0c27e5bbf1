"""What a stage is, and the key that names its result.

A key is a hash of everything that determines a stage's weights, so two stages with one key are
one stage: whoever needs it second loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from dgkd_search.models.architecture import Architecture
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.utils.hashing import derive_seed, digest
from dgkd_search.utils.records import from_exact, from_plain

# What fields are called in JSON, whose canonical form keys hash.
_JSON_NAMES = {"teachers": "sources", "teacher": "source", "pretrained": "given"}

# Raised whenever the training code changes what the same settings produce.
TRAINING_VERSION = 2


@dataclass(frozen=True)
class StageSpec:
    """Everything that determines the weights of one trained model.

    Attributes:
        data: fingerprint of the prepared data (images, labels and split).
        architecture: the network.
        teachers: keys of the stages that teach it, largest model first; empty for labels alone.
        recipe: how it is trained.
        distillation: the loss where there are teachers, in canonical form, else None.
        numerics: device type, threads, precision, memory format.
        train_seed: seed of initialization, order and drops.
        replicate: number of the repeat; only a final student has one above 0.
        pretrained: checksum of the weights, where a user has brought them along: nothing is
            trained.
        outputs: how teachers are consulted: ``stored`` (their logits on each view, computed once
            and kept in float16) or ``online`` (run on every batch).
    """

    data: str
    architecture: Architecture
    teachers: tuple[str, ...]
    recipe: Recipe
    distillation: Distillation | None
    numerics: Numerics
    train_seed: int = 0
    replicate: int = 0
    outputs: str = "stored"
    pretrained: str = ""
    version: int = TRAINING_VERSION

    @property
    def key(self) -> str:
        """32 hex digits; equal for two stages exactly if their weights are equal by design."""
        return digest(self.to_dict())

    @property
    def seed(self) -> int:
        return derive_seed("stage", self.key)

    @property
    def origins(self) -> frozenset[str]:
        """Modules of a user's own whose code training runs: the network's, the loss's."""
        loss = self.distillation.loss.origin if self.distillation is not None else ""
        return frozenset({self.architecture.origin, loss} - {""})

    @property
    def given(self) -> str:
        """An earlier name of ``pretrained``."""
        return self.pretrained

    @property
    def sources(self) -> tuple[str, ...]:
        """An earlier name of ``teachers``."""
        return self.teachers

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        value: dict[str, object] = {
            _JSON_NAMES.get(name, name): field for name, field in asdict(self).items()
        }
        value["architecture"] = self.architecture.to_dict()
        value["sources"] = list(self.teachers)
        if self.distillation is not None:
            value["distillation"] = self.distillation.to_dict()
        if not self.teachers:
            value["outputs"] = None  # nobody is consulted
        if not self.pretrained:
            del value["given"]
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> StageSpec:
        """What ``to_dict`` gave.

        Raises:
            ValueError, LookupError, InputError: it is something else.
        """
        settings = value["distillation"]
        names = ("data", "train_seed", "replicate", "version")
        parts = {
            **{name: value[name] for name in names},  # each must be there: a default may change
            "architecture": from_exact(Architecture, value["architecture"]),
            "recipe": from_exact(Recipe, value["recipe"]),
            "distillation": None if settings is None else Distillation.from_dict(settings),
            "numerics": from_exact(Numerics, value["numerics"]),
            "teachers": value["sources"],
            "outputs": value["outputs"] or cls.outputs,
            "pretrained": value.get("given", ""),
        }
        return from_plain(cls, parts)


@dataclass(frozen=True)
class OutputsSpec:
    """Everything that determines what a teacher says of one view of every training image.

    Attributes:
        teacher: key of the stage that trained it (the data's fingerprint is part of that).
        augment: one of ``data.config.AUGMENTS``.
        bank: which of each image's views, from 0.
        numerics: of the forward pass.
    """

    teacher: str
    augment: str
    bank: int
    numerics: Numerics
    version: int = TRAINING_VERSION

    @property
    def key(self) -> str:
        return digest(["outputs", self.to_dict()])

    def to_dict(self) -> dict[str, object]:
        return {_JSON_NAMES.get(name, name): field for name, field in asdict(self).items()}
