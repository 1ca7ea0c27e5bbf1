"""The recipe, the distillation settings and the numerics of a stage."""

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


# Ranges that are shared with command-line options.
EPOCHS = Range(1, whole=True)
BATCH_SIZE = Range(2, whole=True, why="batch normalization needs two images")
WEIGHT_DECAY = Range(0)
TEMPERATURE = Range(0, open_low=True)
KD_WEIGHT = Range(0, 1)
DROP_PROB = Range(0, 1, open_high=True, why="1 would drop every teacher")
THREADS = Range(1, whole=True)


def _as_floats(owner: object, *names: str) -> None:
    """Convert fields to float: 1 and 1.0, and 0.0 and -0.0, must give the same key."""
    for name in names:
        object.__setattr__(owner, name, float(getattr(owner, name)) + 0.0)


@dataclass(frozen=True)
class Recipe:
    """Settings for training one model: SGD with momentum and a learning-rate schedule.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        lr: peak learning rate.
        weight_decay: L2 penalty on all parameters.
        schedule: ``step`` (divided by 10 at 1/2 and 3/4 of the epochs, as in arXiv 2009.08825),
            ``late`` (at 5/8, 3/4 and 7/8, as in CIFAR-100 distillation benchmarks), ``thirds``
            (at 3/10, 6/10 and 9/10, as for ImageNet), ``cosine`` (to 0), ``onecycle`` (linear
            increase over the first quarter, linear decrease to 0) or ``constant``.
        augment: ``none``, ``crop`` (padding of an eighth of the image), ``flip``, ``crop+flip``,
            ``resized-crop`` (random area and aspect ratio, as for ImageNet) or
            ``resized-crop+flip``.
        views: number of banks of fixed views; epoch e, from 0, trains on bank e mod views.
            0 means min(epochs, 32), or 1 without augmentation.
        momentum: momentum of SGD.

    Raises:
        InputError: lists every value outside its range.
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
    """Settings of the distillation loss: equation 7 of arXiv 2009.08825, and teacher dropping.

    Attributes:
        kd_weight: λ, the weight of the distillation term, in [0, 1].
        temperature: τ, above 0.
        loss_scale: ``sum`` (equation 7) or ``mean`` (equation 7 divided by the number of teachers,
            so that one learning rate suits chains of different length).
        drop_prob: probability in [0, 1) that a teacher is dropped from a mini-batch.
        loss: the divergence between learner and teacher. Whether it is registered is checked when
            it is used.

    Raises:
        InputError: lists every value outside its range.
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
        """Return equivalent settings, with defaults for those that have no effect.

        Without teachers the result is None: the loss is cross-entropy. With one teacher, nothing
        can be dropped (one teacher is always kept) and ``sum`` equals ``mean``. If the weight of
        the distillation term is 0, its loss, temperature and drop probability have no effect, but
        ``sum`` still scales the label term. The temperature has no effect if the loss does not use
        it.

        Args:
            teachers: number of teachers.

        Raises:
            InputError: a custom loss is not registered, or its code has changed.
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
        """τ; None if the loss does not use it.

        Raises:
            InputError: a custom loss is not registered, or its code has changed.
        """
        return self.temperature if loss_of(self.loss).uses_temperature else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; KL is left out, as in files from before other losses existed."""
        value = asdict(self)
        if self.loss == KL:
            del value["loss"]
        else:
            value["loss"] = self.loss.to_dict()
        return value

    @classmethod
    def from_dict(cls, value: object) -> Distillation:
        """Build from the output of ``to_dict``.

        Raises:
            ValueError, InputError: ``value`` is not an output of ``to_dict``.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"distillation {value!r}: must be a mapping")
        loss = value.get("loss")
        spec = KL if loss is None else LossSpec.from_dict(loss)
        return from_exact(cls, {**value, "loss": spec})


@dataclass(frozen=True)
class Numerics:
    """Settings besides the recipe that affect the last bits of the weights.

    Weights differ between one and two CPU threads, so even ``threads`` is part of a stage's key.

    Attributes:
        device_type: ``cpu`` or ``cuda``.
        threads: number of CPU threads.
        precision: ``fp32`` or ``bf16`` (autocast).
        memory_format: ``contiguous`` or ``channels_last``.
        compiled: whether ``torch.compile`` compiles the model.
    """

    device_type: str = "cpu"
    threads: Annotated[int, THREADS] = 1
    precision: str = "fp32"
    memory_format: str = "contiguous"
    compiled: bool = False

    def __post_init__(self) -> None:
        check_fields(self, {"threads": "cpus-per-trial"})


# A fixed table, never a benchmark at start: equal options must give equal weights. The choices are
# measured by experiments/bench_numerics.py.
NUMERICS = {
    "cpu": Numerics("cpu", 1, "fp32", "channels_last"),
    "cuda": Numerics("cuda", 1, "bf16", "channels_last"),
}
