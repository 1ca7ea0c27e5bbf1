"""Typed records that a study stores beside its trials, as user attributes in study.db."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.utils.records import from_plain, to_plain

ALONE = "alone"  # name of labels alone among the replicated configurations
_FAILED = "failed"


class Record(Protocol):
    """The interface of records that ``ChainStudy.read`` and ``write`` take."""

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types."""

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """Decode the result of ``to_json``, of this version or an earlier one.

        Raises:
            ValueError: the value is malformed.
        """


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Attribute(Generic[R]):
    """The name and type of a record.

    Attributes:
        kind: the type of the record.
    """

    name: str
    kind: type[R]


@dataclass(frozen=True)
class StudentRecord:
    """A student that was trained outside the trials: on labels alone, or with a fresh seed.

    Attributes:
        stats: statistics of its training.
        val_accuracy: validation accuracy in percent; None if the training failed.
        failure: why it failed, in one line; empty if the reason is unknown, None if it succeeded.
    """

    stats: TrialStats
    val_accuracy: float | None = None
    failure: str | None = None

    @property
    def retryable(self) -> bool:
        """Whether a resumed search retries it."""
        return self.val_accuracy is None and self.stats.retryable

    def to_json(self) -> dict[str, object]:
        facts = self.stats.to_json()
        if self.failure is not None:
            return {_FAILED: self.failure, "again": self.stats.retryable, **facts}
        return {"val_accuracy": self.val_accuracy, **facts}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> StudentRecord:
        known = from_plain(_Ends, value)
        failed = known.failed or ("" if known.val_accuracy is None else None)
        return cls(TrialStats.from_json(value), None if failed else known.val_accuracy, failed)


@dataclass(frozen=True)
class _Ends:
    val_accuracy: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class ReplicationChoice:
    """The configurations that are trained again with fresh seeds.

    Attributes:
        chosen: their names, the best first: a trial's number, or ``alone`` for labels alone.
        stands_for: the names of plain KD (key ``kd``) and of labels alone (key ``alone``).
        finished: number of finished trials when they were chosen.
        baseline_competes: whether labels alone may win; False in a search that an earlier version
            began.
    """

    chosen: tuple[str, ...]
    stands_for: Mapping[str, str]
    finished: int
    baseline_competes: bool = False

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = {
            "chosen": list(self.chosen),
            "stands for": dict(self.stands_for),
            "finished": self.finished,
        }
        if self.baseline_competes:
            value["baseline_competes"] = True
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> ReplicationChoice:
        choice = from_plain(cls, {**value, "stands_for": value.get("stands for")})
        if odd := [name for name in choice.chosen if name != ALONE and not name.isdecimal()]:
            raise ValueError(f"chosen: {odd[0]!r} is not a trial")
        return choice


@dataclass(frozen=True)
class TestReads:
    """The reads of the test set.

    Attributes:
        reads: how often it was read.
        accuracies: test accuracies in percent, by the student's key.
    """

    __test__ = False  # pytest must not collect it

    reads: int = 0
    accuracies: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return to_plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> TestReads:
        return from_plain(cls, value)


REFERENCE = Attribute("reference", StudentRecord)  # the student trained on labels alone
REPLICATION = Attribute("confirmation", ReplicationChoice)
TEST = Attribute("test", TestReads)
