"""What a guidance is."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Guidance(ABC):
    """A rule for the teachers of each model in a chain.

    Attributes:
        name: what ``--guidance`` and tables call it.
        method: what the literature calls it.
        color: of its points and lines, as ``#RRGGBB``.
        marker: of its points, as matplotlib names them.
    """

    name: str
    method: str
    color: str = "#858585"
    marker: str = "D"

    @abstractmethod
    def teachers(self, position: int) -> tuple[int, ...]:
        """Positions of the models that teach the one at ``position``.

        Args:
            position: 1 or more; 0 is the largest model, which has labels alone.

        Returns:
            Different positions below it, ascending: the largest model first.
        """
