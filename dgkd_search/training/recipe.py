"""What training is: the recipe, the distillation settings and the numerics of a stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dgkd_search.data.config import AUGMENTS
from dgkd_search.errors import InputError
from dgkd_search.training.losses.base import KL, LossSpec
from dgkd_search.training.losses.registry import loss_of

SCHEDULES = ("step", "late", "thirds", "cosine", "onecycle", "constant")
LOSS_SCALES = ("mean", "sum")
OUTPUTS = ("stored", "online")
PRECISIONS = ("auto", "fp32", "bf16")
MAX_VIEWS = 32


def _check(problems: list[str]) -> None:
    if problems:
        raise InputError(problems)


def _positive(problems: list[str], name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        problems.append(f"{name} {value}: must be a finite number above 0")


def _as_floats(owner: object, *names: str) -> None:
    """1 and 1.0, 0.0 and -0.0 are one setting, and must give one key."""
    for name in names:
        object.__setattr__(owner, name, float(getattr(owner, name)) + 0.0)


@dataclass(frozen=True)
class Recipe:
    """How one model is trained: SGD with momentum under a learning-rate schedule.

    Attributes:
        epochs: passes over the training images, at least 1.
        batch_size: images a step, at least 2 (batch normalization needs two).
        lr: peak learning rate, above 0.
        weight_decay: L2 penalty on all parameters, at least 0.
        schedule: ``step`` (divided by 10 at 1/2 and 3/4 of the epochs, as in arXiv 2009.08825),
            ``late`` (at 5/8, 3/4 and 7/8, as in the field's CIFAR-100 benchmarks), ``thirds``
            (at 3, 6 and 9 tenths, as on ImageNet), ``cosine`` (to 0), ``onecycle`` (linear up
            over the first quarter, linear down to 0) or ``constant``.
        augment: ``none``, ``crop`` (padding of an eighth of the image), ``flip``, ``crop+flip``, or
            ``resized-crop`` (a part of random size and shape, as on ImageNet) with or without it.
        views: number of banks of fixed views; epoch e trains on bank e mod views.
            0 means min(epochs, 32), or 1 where nothing is augmented.
        momentum: SGD momentum in [0, 1).

    Raises:
        InputError: every value outside its range, all at once.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    schedule: str
    augment: str
    views: int = 0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _as_floats(self, "lr", "weight_decay", "momentum")
        problems: list[str] = []
        if self.epochs < 1:
            problems.append(f"epochs {self.epochs}: must be at least 1")
        if self.batch_size < 2:
            problems.append(
                f"batch-size {self.batch_size}: must be at least 2 (batch normalization)"
            )
        _positive(problems, "lr", self.lr)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            problems.append(
                f"weight-decay {self.weight_decay}: must be a finite number of at least 0"
            )
        if not 0 <= self.momentum < 1:
            problems.append(f"momentum {self.momentum}: must lie in [0, 1)")
        if self.schedule not in SCHEDULES:
            problems.append(f"schedule {self.schedule!r}: choose from {', '.join(SCHEDULES)}")
        if self.augment not in AUGMENTS:
            problems.append(f"augment {self.augment!r}: choose from {', '.join(AUGMENTS)}")
        if self.views < 0:
            problems.append(
                f"views {self.views}: must be at least 0 (0 = min(epochs, {MAX_VIEWS}))"
            )
        _check(problems)
        views = 1 if self.augment == "none" else self.views or min(self.epochs, MAX_VIEWS)
        object.__setattr__(self, "views", min(views, self.epochs))


@dataclass(frozen=True)
class Distillation:
    """The loss of a learner with teachers: equation 7 of arXiv 2009.08825 and stochastic teaching.

    Attributes:
        kd_weight: λ, the weight of the distillation term, in [0, 1].
        temperature: τ, above 0.
        loss_scale: ``sum`` (equation 7 to the letter) or ``mean`` (divided by the number of
            teachers, so that chains of different length suit one learning rate).
        drop_prob: probability in [0, 1) that a teacher is dropped from a mini-batch.
        loss: how far a learner is from a teacher; whether it is known is checked where it is used.

    Raises:
        InputError: every value outside its range, all at once.
    """

    kd_weight: float = 0.9
    temperature: float = 4.0
    loss_scale: str = "mean"
    drop_prob: float = 0.0
    loss: LossSpec = KL

    def __post_init__(self) -> None:
        _as_floats(self, "kd_weight", "temperature", "drop_prob")
        problems: list[str] = []
        if not 0 <= self.kd_weight <= 1:
            problems.append(f"kd-weight {self.kd_weight}: must lie in [0, 1]")
        _positive(problems, "temperature", self.temperature)
        if self.loss_scale not in LOSS_SCALES:
            problems.append(f"loss-scale {self.loss_scale!r}: choose from {', '.join(LOSS_SCALES)}")
        if not 0 <= self.drop_prob < 1:
            problems.append(
                f"drop-prob {self.drop_prob}: must lie in [0, 1); 1 would drop every teacher"
            )
        _check(problems)

    def canonical(self, teachers: int) -> Distillation | None:
        """The same loss without the settings that mean nothing for ``teachers`` teachers.

        None without teachers (the loss is cross-entropy); with one teacher nothing can be dropped
        (one teacher is always kept) and ``sum`` equals ``mean``. Where the distillation term weighs
        nothing, its loss, its temperature and its drops don't matter; ``sum`` still scales the
        label term. Where the loss doesn't use the temperature, that doesn't matter either.

        Raises:
            InputError: a loss of a user's own isn't known here, or has other code.
        """
        if teachers == 0:
            return None
        settings = self
        if teachers == 1:
            settings = replace(
                self, loss_scale=Distillation.loss_scale, drop_prob=Distillation.drop_prob
            )
        if self.kd_weight == 0:
            settings = replace(settings, drop_prob=Distillation.drop_prob, loss=KL)
        if self.kd_weight == 0 or self.used_temperature is None:
            settings = replace(settings, temperature=Distillation.temperature)
        return settings

    @property
    def used_temperature(self) -> float | None:
        """τ; None where the loss doesn't use it.

        Raises:
            InputError: a loss of a user's own isn't known here, or has other code.
        """
        return self.temperature if loss_of(self.loss).uses_temperature else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; KL isn't spoken of, as before there were other losses."""
        value = asdict(self)
        if self.loss == KL:
            del value["loss"]
        else:
            value["loss"] = self.loss.to_dict()
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Distillation:
        """What ``to_dict`` gave."""
        loss = value.get("loss")
        return cls(**{**value, "loss": KL if loss is None else LossSpec(**loss)})


@dataclass(frozen=True)
class Numerics:
    """What decides the last bits of the weights besides the recipe.

    Weights differ between one and two CPU threads, so ``threads`` is part of a stage's identity.
    """

    device_type: str = "cpu"
    threads: int = 1
    precision: str = "fp32"
    memory_format: str = "contiguous"
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"cpus-per-trial {self.threads}: must be at least 1")


# A fixed table, never a timing at start: identical options must mean identical weights. What it
# rests on is measured by experiments/bench_numerics.py.
NUMERICS = {
    "cpu": Numerics("cpu", 1, "fp32", "channels_last"),
    "cuda": Numerics("cuda", 1, "bf16", "channels_last"),
}
