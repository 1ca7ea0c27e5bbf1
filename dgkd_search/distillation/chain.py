"""What a chain is: a teacher, ever smaller assistants, a student, and who teaches whom."""

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
    """Models from the teacher down to the student, and the guidance between them.

    Attributes:
        models: member names of one family, strictly decreasing in size, at least one.
        guidance: name of a ``Guidance``.

    Raises:
        InputError: no model, a repeated model, or an unknown guidance.
    """

    models: tuple[str, ...]
    guidance: str = DEFAULT_GUIDANCE

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("chain: no model given; name at least a student")
        if len(set(self.models)) != len(self.models):
            raise InputError(
                f"chain {' > '.join(self.models)}: a model stands twice; "
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
        """Positions of the frozen models that teach the model at ``position``, largest first."""
        return teachers_of(self.guidance, position)

    def canonical(self) -> Chain:
        """The shortest way of saying the same student.

        Models that the student doesn't depend on fall out (all of them under ``none``, the
        assistants under ``teacher``), and where guidances coincide the chain is ``dense``. They
        stay where the guidance would teach the rest otherwise without them.
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
        for place, position in enumerate(kept):
            if tuple(kept[i] for i in shorter.teachers(place)) != self.teachers(position):
                return self
        return shorter

    def __str__(self) -> str:
        return " > ".join(self.models)


def models_needed(guidance: str, assistants: int) -> int:
    """How many models a student depends on at most, itself included, up to 3.

    1 where labels alone teach it, 2 where the teacher does, 3 where assistants matter.

    Args:
        assistants: of the longest chain that is looked at.
    """
    needed = 1
    for count in range(assistants + 1):
        models = "teacher", *(f"assistant {i}" for i in range(count)), "student"
        needed = max(needed, len(Chain(models, guidance).canonical().models))
        if needed > 2:
            return 3
    return needed
