"""Estimate the disk space of a study's stored outputs before training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dgkd_search.distillation.chain import models_needed
from dgkd_search.study.config import StudyConfig
from dgkd_search.utils.formatting import format_bytes, pluralize

_BYTES = 2  # bytes of a float16
_EXTRA = 4096  # bytes of a file's headers and metadata


@dataclass(frozen=True)
class OutputsEstimate:
    """Upper bounds on the size of stored outputs in bytes; 0 if teachers run online.

    Attributes:
        views: largest number of stored views of each image.
        teacher: outputs of one teacher for all views.
        store: outputs of all teachers that running trials may need in one store; the store's limit
            must hold them.
        running: outputs that running trials need on the disk. This includes the private stores of
            all trials if they share nothing; those are kept until the search ends.
        total: outputs of every teacher that the study may use.
    """

    views: int
    teacher: int
    store: int
    running: int
    total: int

    def __str__(self) -> str:
        if not self.total:
            return "none, teachers run online"
        return (
            f"up to {format_bytes(self.teacher)} a teacher ({pluralize(self.views, 'view')}), "
            f"{format_bytes(self.total)} in total"
        )


def estimate_outputs(
    config: StudyConfig, images: int, classes: int, concurrency: int, shared: bool = True
) -> OutputsEstimate:
    """Estimate upper bounds from the search space, the budget and the number of trials at once.

    Args:
        images: number of images in the training set.
        shared: whether trials share a store.
    """
    space = config.space
    views = max(config.recipe.views, config.student_recipe.views)
    depths = [models_needed(name, space.max_assistants) for name in space.guidances]
    if config.outputs != "stored" or all(needed == 1 for needed in depths):
        return OutputsEstimate(views, 0, 0, 0, 0)
    teacher = views * (images * classes * _BYTES + _EXTRA)
    kinds = sum(needed > 2 for needed in depths)
    longest = space.max_assistants if kinds else 0
    # An assistant is trained once for each set of larger assistants before it, and each guidance.
    sets = sum(math.comb(len(space.pool), size) for size in range(1, longest + 1)) * kinds
    if space.drop_scope == "all":
        sets *= len(space.drop_probs)
    if not shared:
        chain = teacher * (1 + longest)
        return OutputsEstimate(views, teacher, chain, chain * concurrency, chain * config.budget)
    running = teacher * (1 + min(sets, concurrency * longest))
    total = teacher * (1 + min(sets, config.budget * longest))
    running = min(running, total)
    return OutputsEstimate(views, teacher, running, running, total)


def space_errors(need: OutputsEstimate, option: str, least: int, room: int | None) -> list[str]:
    """Return an error message if ``least`` bytes exceed ``room``; None means no limit."""
    if room is None or least <= room:
        return []
    fewer = f"fewer --views (now {need.views}), " if need.views > 1 else ""
    return [
        f"{option}: stored outputs of the running trials need {format_bytes(least)}, and there is "
        f"room for {format_bytes(room)}; use --outputs online, {fewer}or make room"
    ]
