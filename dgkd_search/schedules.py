"""Learning rate as a pure function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from dgkd_search.recipe import Recipe

_WARMUP = 0.25  # share of a one-cycle schedule in which the rate rises


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of optimiser step ``step`` (0 is the first one of the first epoch).

    ``step`` divides by 10 at half and three quarters of the epochs (the recipe of arXiv
    2009.08825); the others move with every step.
    """
    total = recipe.epochs * steps_per_epoch
    progress = step / total
    match recipe.schedule:
        case "step":
            epoch = step // steps_per_epoch
            drops = (epoch >= recipe.epochs / 2) + (epoch >= recipe.epochs * 3 / 4)
            return recipe.lr * 0.1**drops
        case "cosine":
            return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))
        case "onecycle":
            middle = (step + 0.5) / total  # neither the first nor the last step is wasted at 0
            rising = middle / _WARMUP
            falling = (1 - middle) / (1 - _WARMUP)
            return recipe.lr * min(rising, falling)
        case _:
            return recipe.lr
