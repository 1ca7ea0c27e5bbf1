"""Training without distillation."""

from __future__ import annotations

from dgkd_search.distillation.guidances.base import Guidance


class LabelsOnly(Guidance):
    """No model has teachers."""

    name, method, color, marker = "none", "NOKD", "#CC79A7", "P"

    def teachers(self, position: int) -> tuple[int, ...]:
        return ()
