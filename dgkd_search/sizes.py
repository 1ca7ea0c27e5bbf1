"""How much room a study's stored outputs take, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dgkd_search.config import StudyConfig

_BYTES = 2  # of a float16
_EXTRA = 4096  # of a file beside its numbers: headers, description


@dataclass(frozen=True)
class Estimate:
    """Room for stored outputs, in bytes; 0 where sources run online.

    Attributes:
        views: banks of views of a source at most.
        source: bytes of one source's outputs on all its banks.
        store: of all sources that running trials may need in one store: what its limit must hold.
        running: the same on the disk, which holds the private stores of all trials where they
            share nothing; those are kept until the search ends.
        total: of every source that the study may come by; an upper bound.
    """

    views: int
    source: int
    store: int
    running: int
    total: int

    def __str__(self) -> str:
        if not self.total:
            return "none, sources run online"
        return (
            f"up to {readable(self.source)} a source ({counted(self.views, 'view')}), "
            f"{readable(self.total)} altogether"
        )


def estimate_outputs(
    config: StudyConfig, images: int, classes: int, concurrency: int, shared: bool = True
) -> Estimate:
    """Upper bounds from the search space, the budget and the number of trials at once.

    Args:
        images: of the training part.
        shared: whether trials share a store.
    """
    space = config.space
    views = max(config.recipe.views, config.student_recipe.views)
    if config.outputs != "stored" or set(space.guidances) == {"none"}:
        return Estimate(views, 0, 0, 0, 0)
    source = views * (images * classes * _BYTES + _EXTRA)
    kinds = sum(guidance in ("dense", "sequential") for guidance in space.guidances)
    longest = space.max_assistants if kinds else 0
    # An assistant is trained for each set of larger ones before it, under each guidance.
    sets = sum(math.comb(len(space.pool), size) for size in range(1, longest + 1)) * kinds
    if space.drop_scope == "all":
        sets *= len(space.drop_probs)
    if not shared:
        chain = source * (1 + longest)
        return Estimate(views, source, chain, chain * concurrency, chain * config.budget)
    running = source * (1 + min(sets, concurrency * longest))
    total = source * (1 + min(sets, config.budget * longest))
    running = min(running, total)
    return Estimate(views, source, running, running, total)


def no_room(need: Estimate, option: str, least: int, room: int | None) -> list[str]:
    """What to say where ``least`` bytes of outputs don't fit in ``room``; None is no limit."""
    if room is None or least <= room:
        return []
    fewer = f"fewer --views (now {need.views}), " if need.views > 1 else ""
    return [
        f"{option}: stored outputs of the running trials need {readable(least)}, and there is "
        f"room for {readable(room)}; use --outputs online, {fewer}or make room"
    ]


def counted(count: int, what: str) -> str:
    """For example ``1 view`` and ``2 views``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def readable(size: float) -> str:
    """Bytes as people read them: 512 B, 1.5 MB, 20 GB (powers of 1024)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
