"""What a list of chains costs in floating-point operations, by hand and with everything shared.

With F for the forward operations of one image, counted on convolutions and linear layers, training
takes 3F an image (the backward pass is counted as two forwards), teaching and evaluating take F.
Seconds measured for each network, in place of operations, give what the time would be if nothing
but its training steps and forward passes took any.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.spec import StageSpec

Chain = Sequence[StageSpec]  # in training order, teacher first, student last
Cost = Callable[[Architecture], float]
TRAINING = 3  # forwards that training an image amounts to


@dataclass(frozen=True)
class Sizes:
    """Images of the training and of the validation part."""

    train: int
    validation: int


@dataclass(frozen=True)
class Operations:
    """Floating-point operations, and what they are for.

    Attributes:
        trained, taught, evaluated: operations for training, of teachers, for evaluation.
        stages: models trained.
        forwards: images that went through a source.
    """

    trained: float = 0.0
    taught: float = 0.0
    evaluated: float = 0.0
    stages: int = 0
    forwards: float = 0.0

    @property
    def total(self) -> float:
        return self.trained + self.taught + self.evaluated

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.trained + other.trained,
            self.taught + other.taught,
            self.evaluated + other.evaluated,
            self.stages + other.stages,
            self.forwards + other.forwards,
        )


@functools.cache
def forward_operations(architecture: Architecture) -> float:
    """F of a network: of one image, as torch counts it, a multiplication and an addition as two."""
    model = build(architecture, torch.Generator()).eval()
    size = architecture.image_size
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(torch.zeros(1, architecture.channels, size, size))
    return float(counter.get_total_flops())


def by_hand(
    chains: Iterable[Chain],
    sizes: Sizes,
    cost: Cost = forward_operations,
    training: Cost | None = None,
    *,
    teacher: bool = True,
) -> Operations:
    """Every chain on its own, but for the teacher, which is trained once.

    Sources that survive are run on every batch. Teacher and assistants are evaluated once, at
    their end; the student after each epoch.

    Args:
        cost: of a forward pass of one image.
        training: of training one image; 3 ``cost`` if None.
        teacher: whether its training is counted.
    """
    training = training or _thrice(cost)
    total = Operations()
    chains = list(chains)
    if teacher and chains:
        total += _training(chains[0][0], sizes, cost, training, evaluations=1)
    for chain in chains:
        names = {stage.key: stage.architecture for stage in chain}
        for stage in chain[1:]:
            epochs = stage.recipe.epochs
            final = stage is chain[-1]
            evaluations = epochs if final else 1
            total += _training(stage, sizes, cost, training, evaluations=evaluations)
            forwards = _images(stage, sizes) * epochs * survival(stage)
            operations = sum(forwards * cost(names[key]) for key in stage.teachers)
            total += Operations(taught=operations, forwards=forwards * len(stage.teachers))
    return total


def shared(
    chains: Iterable[Chain],
    sizes: Sizes,
    cost: Cost = forward_operations,
    training: Cost | None = None,
    *,
    epochs: Mapping[str, int] | None = None,
) -> Operations:
    """Each distinct stage once, and each source once on every image of every bank it teaches on.

    Every model is evaluated after each of its epochs.

    Args:
        cost, training: as for ``by_hand``.
        epochs: done, by key, where they are not those of the recipe: of pruned students.
    """
    training = training or _thrice(cost)
    stages = {stage.key: stage for chain in chains for stage in chain}
    done = {key: stage.recipe.epochs for key, stage in stages.items()} | dict(epochs or {})
    total = Operations()
    banks = set()
    for key, stage in stages.items():
        if not done[key]:
            continue
        total += _training(stage, sizes, cost, training, evaluations=done[key], epochs=done[key])
        views = range(min(stage.recipe.views, done[key]))
        banks |= {(s, stage.recipe.augment, b) for s in stage.teachers for b in views}
    for key, _, _ in banks:
        operations = sizes.train * cost(stages[key].architecture)
        total += Operations(taught=operations, forwards=sizes.train)
    return total


def survival(stage: StageSpec) -> float:
    """The share of mini-batches in which a teacher teaches: s + (1−s)^m / m for m teachers."""
    count = len(stage.teachers)
    drop = stage.distillation.drop_prob if stage.distillation else 0.0
    return 1 - drop + drop**count / count if count else 0.0


def _thrice(cost: Cost) -> Cost:
    return lambda architecture: TRAINING * cost(architecture)


def _training(
    stage: StageSpec,
    sizes: Sizes,
    cost: Cost,
    training: Cost,
    *,
    evaluations: int,
    epochs: int | None = None,
) -> Operations:
    epochs = stage.recipe.epochs if epochs is None else epochs
    return Operations(
        trained=training(stage.architecture) * _images(stage, sizes) * epochs,
        evaluated=cost(stage.architecture) * sizes.validation * evaluations,
        stages=1,
    )


def _images(stage: StageSpec, sizes: Sizes) -> int:
    """Images of an epoch: a last mini-batch of one image is left out."""
    alone = sizes.train > stage.recipe.batch_size and sizes.train % stage.recipe.batch_size == 1
    return sizes.train - alone
