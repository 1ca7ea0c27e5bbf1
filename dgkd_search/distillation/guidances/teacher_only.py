"""Knowledge distillation from the largest model."""

from __future__ import annotations

from dgkd_search.distillation.guidances.base import Guidance


class TeacherOnly(Guidance):
    """The largest model is the only teacher (Hinton et al., arXiv 1503.02531)."""

    name, method, color, marker = "teacher", "KD", "#009E73", "^"

    def teachers(self, position: int) -> tuple[int, ...]:
        return (0,)
