"""Densely guided knowledge distillation."""

from __future__ import annotations

from dgkd_search.distillation.guidances.base import Guidance


class Dense(Guidance):
    """All larger models are teachers (Son et al., arXiv 2009.08825, section 3)."""

    name, method, color, marker = "dense", "DGKD", "#1F86C4", "o"

    def teachers(self, position: int) -> tuple[int, ...]:
        return tuple(range(position))
