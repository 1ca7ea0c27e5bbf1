"""What a chain is: a teacher, ever smaller assistants, a student, and who teaches whom."""

from __future__ import annotations

from dataclasses import dataclass

from dgkd_search.errors import InputError

GUIDANCES = ("dense", "sequential", "teacher", "none")


@dataclass(frozen=True)
class Chain:
    """Models from the teacher down to the student, and the guidance between them.

    ``dense``: every model learns from all larger ones (DGKD, arXiv 2009.08825, section 3);
    ``sequential``: from the one before it (TAKD); ``teacher``: from the first one (KD);
    ``none``: from labels alone (NOKD).

    Attributes:
        models: member names of one family, strictly decreasing in size, at least one.
        guidance: one of ``GUIDANCES``.

    Raises:
        InputError: no model, a repeated model, or an unknown guidance.
    """

    models: tuple[str, ...]
    guidance: str = "dense"

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("chain: no model given; name at least a student")
        if len(set(self.models)) != len(self.models):
            raise InputError(
                f"chain {' > '.join(self.models)}: a model stands twice; "
                "sizes must strictly decrease"
            )
        if self.guidance not in GUIDANCES:
            raise InputError(
                f"guidance {self.guidance!r}: unknown; choose from {', '.join(GUIDANCES)}"
            )

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
        if position == 0 or self.guidance == "none":
            return ()
        if self.guidance == "sequential":
            return (position - 1,)
        if self.guidance == "teacher":
            return (0,)
        return tuple(range(position))

    def canonical(self) -> Chain:
        """The shortest way of saying the same student.

        Models that the student doesn't depend on fall out (all of them under ``none``, the
        assistants under ``teacher``), and where guidances coincide the chain is ``dense``.
        """
        needed: set[int] = set()
        frontier = [len(self.models) - 1]
        while frontier:
            position = frontier.pop()
            if position not in needed:
                needed.add(position)
                frontier.extend(self.teachers(position))
        models = tuple(name for i, name in enumerate(self.models) if i in needed)
        guidance = self.guidance if len(models) > 2 else "dense"
        return Chain(models, guidance)

    def __str__(self) -> str:
        return " > ".join(self.models)
