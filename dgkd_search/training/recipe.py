"""What training is: the recipe, the distillation settings and the numerics of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from dgkd_search.data.config import AUGMENTS
from dgkd_search.training.losses.base import KL, LossSpec
from dgkd_search.training.losses.registry import loss_of
from dgkd_search.utils.records import from_exact
from dgkd_search.utils.rules import OneOf, Range, check_fields

SCHEDULES = ("step", "late", "thirds", "cosine", "onecycle", "constant")
LOSS_SCALES = ("mean", "sum")
OUTPUTS = ("stored", "online")
PRECISIONS = ("auto", "fp32", "bf16")
MAX_VIEWS = 32


# Ranges that options share.
EPOCHS = Range(1, whole=True)
BATCH_SIZE = Range(2, whole=True, why="batch normalization needs two images")
WEIGHT_DECAY = Range(0)
TEMPERATURE = Range(0, open_low=True)
KD_WEIGHT = Range(0, 1)
DROP_PROB = Range(0, 1, open_high=True, why="1 would drop every teacher")
THREADS = Range(1, whole=True)


def _as_floats(owner: object, *names: str) -> None:
    """1 and 1.0, 0.0 and -0.0 are one setting, and must give one key."""
    for name in names:
        object.__setattr__(owner, name, float(getattr(owner, name)) + 0.0)


@dataclass(frozen=True)
class Recipe:
    """How one model is trained: SGD with momentum under a learning-rate schedule.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        lr: peak learning rate.
        weight_decay: L2 penalty on all parameters.
        schedule: ``step`` (divided by 10 at 1/2 and 3/4 of the epochs, as in arXiv 2009.08825),
            ``late`` (at 5/8, 3/4 and 7/8, as in the field's CIFAR-100 benchmarks), ``thirds``
            (at 3, 6 and 9 tenths, as on ImageNet), ``cosine`` (to 0), ``onecycle`` (linear up
            over the first quarter, linear down to 0) or ``constant``.
        augment: ``none``, ``crop`` (padding of an eighth of the image), ``flip``, ``crop+flip``, or
            ``resized-crop`` (a part of random size and shape, as on ImageNet) with or without it.
        views: number of banks of fixed views; epoch e trains on bank e mod views.
            0 means min(epochs, 32), or 1 where nothing is augmented.
        momentum: of SGD.

    Raises:
        InputError: every value outside its range, all at once.
    """

    epochs: Annotated[int, EPOCHS]
    batch_size: Annotated[int, BATCH_SIZE]
    lr: Annotated[float, Range(0, open_low=True)]
    weight_decay: Annotated[float, WEIGHT_DECAY]
    schedule: Annotated[str, OneOf(SCHEDULES)]
    augment: Annotated[str, OneOf(AUGMENTS)]
    views: Annotated[int, Range(0, whole=True, why=f"0 for min(epochs, {MAX_VIEWS})")] = 0
    momentum: Annotated[float, Range(0, 1, open_high=True)] = 0.9

    def __post_init__(self) -> None:
        _as_floats(self, "lr", "weight_decay", "momentum")
        check_fields(self)
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

    kd_weight: Annotated[float, KD_WEIGHT] = 0.9
    temperature: Annotated[float, TEMPERATURE] = 4.0
    loss_scale: Annotated[str, OneOf(LOSS_SCALES)] = "mean"
    drop_prob: Annotated[float, DROP_PROB] = 0.0
    loss: LossSpec = KL

    def __post_init__(self) -> None:
        _as_floats(self, "kd_weight", "temperature", "drop_prob")
        check_fields(self)

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
    def from_dict(cls, value: object) -> Distillation:
        """What ``to_dict`` gave.

        Raises:
            ValueError, InputError: it is something else.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"distillation {value!r}: is no table")
        loss = value.get("loss")
        spec = KL if loss is None else LossSpec.from_dict(loss)
        return from_exact(cls, {**value, "loss": spec})


@dataclass(frozen=True)
class Numerics:
    """What decides the last bits of the weights besides the recipe.

    Weights differ between one and two CPU threads, so ``threads`` is part of a stage's identity.
    """

    device_type: str = "cpu"
    threads: Annotated[int, THREADS] = 1
    precision: str = "fp32"
    memory_format: str = "contiguous"
    compiled: bool = False

    def __post_init__(self) -> None:
        check_fields(self, {"threads": "cpus-per-trial"})


# A fixed table, never a timing at start: identical options must mean identical weights. What it
# rests on is measured by experiments/bench_numerics.py.
NUMERICS = {
    "cpu": Numerics("cpu", 1, "fp32", "channels_last"),
    "cuda": Numerics("cuda", 1, "bf16", "channels_last"),
}
