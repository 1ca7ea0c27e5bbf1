"""Chains: a teacher, assistants of decreasing size, a student, and the guidance between them."""

from __future__ import annotations

from dataclasses import dataclass

from dgkd_search.distillation.guidances.registry import (
    DEFAULT_GUIDANCE,
    get_guidance,
    teachers_of,
)
from dgkd_search.errors import InputError


@dataclass(frozen=True)
class Chain:
    """The models of a chain, and the guidance that assigns teachers to them.

    Attributes:
        models: member names of one family from the teacher to the student, strictly decreasing in
            size, at least one.
        guidance: name of a ``Guidance``.

    Raises:
        InputError: there is no model, a model appears twice, or the guidance is unknown.
    """

    models: tuple[str, ...]
    guidance: str = DEFAULT_GUIDANCE

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("chain: no models; name at least a student")
        if len(set(self.models)) != len(self.models):
            raise InputError(
                f"chain {' > '.join(self.models)}: a model appears twice; "
                "sizes must strictly decrease"
            )
        get_guidance(self.guidance)

    @property
    def teacher(self) -> str:
        return self.models[0]

    @property
    def assistants(self) -> tuple[str, ...]:
        return self.models[1:-1]

    @property
    def student(self) -> str:
        return self.models[-1]

    def teachers(self, position: int) -> tuple[int, ...]:
        """Return the positions of the teachers of the model at ``position``, largest first."""
        return teachers_of(self.guidance, position)

    def canonical(self) -> Chain:
        """Return the shortest chain that gives the same student.

        Models that the student does not depend on are left out: all of them under ``none``, the
        assistants under ``teacher``. They stay if removing them would change the teachers of the
        others. With at most two models all guidances agree, and the result is ``dense``.
        """
        needed: set[int] = set()
        frontier = [len(self.models) - 1]
        while frontier:
            position = frontier.pop()
            if position not in needed:
                needed.add(position)
                frontier.extend(self.teachers(position))
        kept = sorted(needed)
        models = tuple(self.models[i] for i in kept)
        shorter = Chain(models, self.guidance if len(models) > 2 else DEFAULT_GUIDANCE)
        for index, position in enumerate(kept):
            if tuple(kept[i] for i in shorter.teachers(index)) != self.teachers(position):
                return self
        return shorter

    def __str__(self) -> str:
        return " > ".join(self.models)


def models_needed(guidance: str, assistants: int) -> int:
    """Return how many models a student depends on under a guidance, itself included, up to 3.

    The result is 1 if it only learns from labels, 2 if it depends on the teacher alone, and 3 if it
    depends on assistants.

    Args:
        guidance: name of a ``Guidance``.
        assistants: number of assistants of the longest chain to consider.
    """
    needed = 1
    for count in range(assistants + 1):
        models = "teacher", *(f"assistant {i}" for i in range(count)), "student"
        needed = max(needed, len(Chain(models, guidance).canonical().models))
        if needed > 2:
            return 3
    return needed
