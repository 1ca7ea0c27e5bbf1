"""The interface of guidances."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Guidance(ABC):
    """Base class of rules that assign teachers to each model of a chain.

    Attributes:
        name: the name for ``--guidance`` and tables.
        method: the name in the literature.
        color: color of its points and lines in figures, as ``#RRGGBB``.
        marker: matplotlib's marker of its points in figures.
    """

    name: str
    method: str
    color: str = "#858585"
    marker: str = "D"

    @abstractmethod
    def teachers(self, position: int) -> tuple[int, ...]:
        """Return the positions of the teachers of the model at ``position``.

        Args:
            position: 1 or more. Position 0 is the largest model, which has no teachers.

        Returns:
            Distinct positions below ``position``, ascending: the largest model first.
        """
