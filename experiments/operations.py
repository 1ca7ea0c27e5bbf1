"""Count floating-point operations of a list of chains, by hand and with everything shared.

Let F be the forward operations of one image, counted over convolutions and linear layers. Training
takes 3F per image (the backward pass counts as two forward passes), teacher outputs and evaluation
take F. If measured seconds replace operations, the results are the times if only training steps and
forward passes took time.
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
TRAINING = 3  # cost of training an image, in forward passes


@dataclass(frozen=True)
class Sizes:
    """Number of images of the training and the validation set."""

    train: int
    validation: int


@dataclass(frozen=True)
class Operations:
    """Floating-point operations by purpose.

    Attributes:
        trained, taught, evaluated: operations of training, teachers and evaluation.
        stages: number of trained models.
        forwards: number of images run through teachers.
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
    """Return F of a network as torch counts it; a multiply-add counts as two."""
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
    """Count operations if chains share only the largest model, which is trained once.

    Surviving teachers are run on every batch. The largest model and assistants are evaluated once,
    at their end; the student after each epoch.

    Args:
        cost: cost of a forward pass of one image.
        training: cost of training one image; 3 ``cost`` if None.
        teacher: whether to count the training of the largest model.
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
    """Count operations if each distinct stage is trained once, and each teacher is run once on
    every image of every bank that its learners use.

    Every model is evaluated after each of its epochs.

    Args:
        cost, training: as for ``by_hand``.
        epochs: number of epochs by key for pruned students; others have those of their recipe.
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
    """Return a teacher's probability to survive in a mini-batch: s + (1−s)^m / m of m teachers."""
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
    """Return the images of an epoch; a last mini-batch of one image is left out."""
    alone = sizes.train > stage.recipe.batch_size and sizes.train % stage.recipe.batch_size == 1
    return sizes.train - alone
