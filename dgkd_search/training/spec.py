"""Specifications of stages and teacher outputs, and their keys.

The key of a stage is a hash of everything that determines its weights. Stages with equal keys are
trained once and then loaded from the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from dgkd_search.models.architecture import Architecture
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.utils.hashing import derive_seed, digest
from dgkd_search.utils.records import from_exact, from_plain

# Names of fields in JSON, whose canonical form is hashed to keys: they must never change.
_JSON_NAMES = {"teachers": "sources", "teacher": "source", "pretrained": "given"}

# Increase when the same settings give different weights or outputs.
TRAINING_VERSION = 2


@dataclass(frozen=True)
class StageSpec:
    """Everything that determines the weights of one trained model.

    Attributes:
        data: fingerprint of the prepared data (images, labels and split).
        architecture: the network.
        teachers: keys of its teachers' stages, largest model first; empty for labels alone.
        recipe: how it is trained.
        distillation: the distillation loss in canonical form; None without teachers.
        numerics: device type, threads, precision, memory format, compilation.
        train_seed: seed of initialization, order of images and drops.
        replicate: number of the replicate; 0 except for replicates of a student.
        outputs: ``stored`` (teacher logits on each view are computed once and stored in float16)
            or ``online`` (teachers are run on every batch).
        pretrained: checksum of pretrained weights, with which the stage is not trained; else empty.
        version: ``TRAINING_VERSION`` of the code that trains it.
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
        """32 hex digits; equal for two stages if and only if their weights must be equal."""
        return digest(self.to_dict())

    @property
    def seed(self) -> int:
        return derive_seed("stage", self.key)

    @property
    def origins(self) -> frozenset[str]:
        """Modules of the custom network and the custom loss that training runs."""
        loss = self.distillation.loss.origin if self.distillation is not None else ""
        return frozenset({self.architecture.origin, loss} - {""})

    @property
    def given(self) -> str:
        """The former name of ``pretrained``."""
        return self.pretrained

    @property
    def sources(self) -> tuple[str, ...]:
        """The former name of ``teachers``."""
        return self.teachers

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types."""
        value: dict[str, object] = {
            _JSON_NAMES.get(name, name): field for name, field in asdict(self).items()
        }
        value["architecture"] = self.architecture.to_dict()
        value["sources"] = list(self.teachers)
        if self.distillation is not None:
            value["distillation"] = self.distillation.to_dict()
        if not self.teachers:
            value["outputs"] = None  # has no effect without teachers
        if not self.pretrained:
            del value["given"]
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> StageSpec:
        """Build from the output of ``to_dict``.

        Raises:
            ValueError, LookupError, InputError: ``value`` is not an output of ``to_dict``.
        """
        settings = value["distillation"]
        names = ("data", "train_seed", "replicate", "version")
        parts = {
            **{name: value[name] for name in names},  # all required, as defaults may change
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
    """Everything that determines a teacher's outputs on one view of every training image.

    Attributes:
        teacher: key of the teacher's stage (which includes the fingerprint of the data).
        augment: one of ``data.config.AUGMENTS``.
        bank: number of the bank of views, from 0.
        numerics: numerics of the forward pass.
        version: ``TRAINING_VERSION`` of the code that computes them.
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
