"""Teacher assistant knowledge distillation."""

from __future__ import annotations

from dgkd_search.distillation.guidances.base import Guidance


class Sequential(Guidance):
    """The next larger model is the only teacher (Mirzadeh et al., arXiv 1902.03393)."""

    name, method, color, marker = "sequential", "TAKD", "#E69F00", "s"

    def teachers(self, position: int) -> tuple[int, ...]:
        return (position - 1,)
