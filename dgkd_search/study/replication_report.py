"""What fresh seeds showed, as best.yaml holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dgkd_search.utils.records import from_plain, to_plain


@dataclass(frozen=True)
class MeanInterval:
    """A mean, and half of its 95 % interval; None where there is a single value."""

    mean: float
    half_width: float | None


@dataclass(frozen=True)
class ReplicationRow:
    """One configuration under fresh seeds, as best.yaml shows it.

    Attributes:
        trial: number of the trial that it comes from; None for the student alone.
        chain, guidance: in canonical form; None for the student alone.
        drop_probability: of the student's teachers; None where it has fewer than two.
        interval: of the validation accuracy in percent (Student's t).
        accuracies: of the seeds, in percent.
        failed: why other seeds failed.
        behind_by: how far it lies behind the winner, in points (Welch); None for that itself, and
            where there is none.
    """

    trial: int | None
    chain: str | None
    guidance: str | None
    drop_probability: float | None
    interval: MeanInterval
    accuracies: tuple[float, ...]
    failed: tuple[str, ...] = ()
    behind_by: MeanInterval | None = None

    def to_json(self) -> dict[str, object]:
        """Plain JSON types, without what there is nothing to say of."""
        row: dict[str, object] = {"trial": self.trial, "student_alone": self.trial is None}
        if self.trial is not None:
            row |= {"chain": self.chain, "guidance": self.guidance}
            row["drop_probability"] = self.drop_probability
        row |= {**to_plain(self.interval), "accuracies": list(self.accuracies)}
        if self.failed:
            row["failed"] = list(self.failed)
        if self.behind_by is not None:
            row["behind_by"] = to_plain(self.behind_by)
        return row

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> ReplicationRow:
        """What ``to_json`` gave.

        Raises:
            ValueError: it is something else.
        """
        optional = dict.fromkeys(("chain", "guidance", "drop_probability"))
        interval = {name: value.get(name) for name in ("mean", "half_width")}
        return from_plain(cls, {**optional, **value, "interval": interval})


@dataclass(frozen=True)
class ReplicationReport:
    """What was taught again with fresh seeds, as best.yaml shows it.

    Attributes:
        rows: the best of the search first.
        complete: whether every configuration has been taught with every seed.
    """

    rows: tuple[ReplicationRow, ...]
    complete: bool

    def to_json(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "what": "validation accuracy in percent of students with fresh seeds; half widths of "
            "95 % intervals (Student's t, for differences Welch's)",
            "whole": self.complete,
            "configurations": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> ReplicationReport:
        """What ``to_json`` gave.

        Raises:
            ValueError: it is something else.
        """
        known = from_plain(_Report, value)
        rows = tuple(ReplicationRow.from_json(row) for row in known.configurations)
        return cls(rows, known.whole)


@dataclass(frozen=True)
class _Report:
    whole: bool
    configurations: tuple[Mapping[str, object], ...]
