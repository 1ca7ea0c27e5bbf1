"""The results with fresh seeds, as stored in best.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dgkd_search.utils.records import from_plain, to_plain


@dataclass(frozen=True)
class MeanInterval:
    """A mean, and half of its 95 % interval; None if there is a single value."""

    mean: float
    half_width: float | None


@dataclass(frozen=True)
class ReplicationRow:
    """The results of one configuration with fresh seeds.

    Attributes:
        trial: number of the trial; None for labels alone.
        chain, guidance: in canonical form; None for labels alone.
        drop_probability: of the student's teachers; None if it has fewer than two.
        interval: mean validation accuracy in percent, with its interval (Student's t).
        accuracies: validation accuracy in percent for each seed.
        failed: why other seeds failed.
        behind_by: difference of the winner's mean and this one, in points (Welch); None for the
            winner itself, or if there is no winner.
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
        """Return plain JSON types, without empty fields."""
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
        """Decode the result of ``to_json``.

        Raises:
            ValueError: the value is malformed.
        """
        optional = dict.fromkeys(("chain", "guidance", "drop_probability"))
        interval = {name: value.get(name) for name in ("mean", "half_width")}
        return from_plain(cls, {**optional, **value, "interval": interval})


@dataclass(frozen=True)
class ReplicationReport:
    """The results of all configurations that were trained again with fresh seeds.

    Attributes:
        rows: one per configuration, in the order of their rank in the search.
        complete: whether every configuration has been trained with every seed.
    """

    rows: tuple[ReplicationRow, ...]
    complete: bool

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return {
            "what": "validation accuracy in percent of students with fresh seeds; half widths of "
            "95 % intervals (Student's t, for differences Welch's)",
            "whole": self.complete,
            "configurations": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> ReplicationReport:
        """Decode the result of ``to_json``.

        Raises:
            ValueError: the value is malformed.
        """
        known = from_plain(_Report, value)
        rows = tuple(ReplicationRow.from_json(row) for row in known.configurations)
        return cls(rows, known.whole)


@dataclass(frozen=True)
class _Report:
    whole: bool
    configurations: tuple[Mapping[str, object], ...]
