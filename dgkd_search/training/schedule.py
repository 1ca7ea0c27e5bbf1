"""The learning rate as a pure function of the step, so checkpoints need no scheduler state."""

from __future__ import annotations

import math
from fractions import Fraction

from dgkd_search.training.recipe import Recipe

_WARMUP = 0.25  # share of the steps in which ``onecycle`` increases the rate
# Shares of the epochs after which the rate is divided by 10.
_DROPS = {
    "step": (Fraction(1, 2), Fraction(3, 4)),
    "late": (Fraction(5, 8), Fraction(3, 4), Fraction(7, 8)),
    "thirds": (Fraction(3, 10), Fraction(6, 10), Fraction(9, 10)),
}


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of optimizer step ``step`` (0 is the first step of training).

    The schedules ``step``, ``late`` and ``thirds`` change between epochs, ``cosine`` and
    ``onecycle`` at every step.
    """
    total = recipe.epochs * steps_per_epoch
    progress = step / total
    match recipe.schedule:
        case "step" | "late" | "thirds":
            epoch = step // steps_per_epoch
            drops = sum(epoch >= recipe.epochs * share for share in _DROPS[recipe.schedule])
            return recipe.lr * 0.1**drops
        case "cosine":
            return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))
        case "onecycle":
            middle = (step + 0.5) / total  # so that neither the first nor the last rate is 0
            rising = middle / _WARMUP
            falling = (1 - middle) / (1 - _WARMUP)
            return recipe.lr * min(rising, falling)
        case _:
            return recipe.lr
