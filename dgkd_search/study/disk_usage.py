"""How much room a study's stored outputs take, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dgkd_search.distillation.chain import models_needed
from dgkd_search.study.config import StudyConfig
from dgkd_search.utils.formatting import format_bytes, pluralize

_BYTES = 2  # of a float16
_EXTRA = 4096  # of a file beside its numbers: headers, description


@dataclass(frozen=True)
class OutputsEstimate:
    """Room for stored outputs, in bytes; 0 where teachers run online.

    Attributes:
        views: banks of views of a teacher at most.
        teacher: bytes of one teacher's outputs on all its banks.
        store: of all teachers that running trials may need in one store: what its limit must hold.
        running: the same on the disk, which holds the private stores of all trials where they
            share nothing; those are kept until the search ends.
        total: of every teacher that the study may come by; an upper bound.
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
            f"{format_bytes(self.total)} altogether"
        )


def estimate_outputs(
    config: StudyConfig, images: int, classes: int, concurrency: int, shared: bool = True
) -> OutputsEstimate:
    """Upper bounds from the search space, the budget and the number of trials at once.

    Args:
        images: of the training part.
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
    # An assistant is trained for each set of larger ones before it, under each guidance.
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
    """What to say where ``least`` bytes of outputs don't fit in ``room``; None is no limit."""
    if room is None or least <= room:
        return []
    fewer = f"fewer --views (now {need.views}), " if need.views > 1 else ""
    return [
        f"{option}: stored outputs of the running trials need {format_bytes(least)}, and there is "
        f"room for {format_bytes(room)}; use --outputs online, {fewer}or make room"
    ]
