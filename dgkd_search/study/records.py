"""What a study remembers beside its trials: attributes of study.db, a type each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.utils.records import from_plain, to_plain

ALONE = "alone"  # the student without any teacher, among what is trained again
_FAILED = "failed"


class Record(Protocol):
    """What ``ChainStudy.read`` and ``write`` know."""

    def to_json(self) -> dict[str, object]:
        """In plain JSON types."""

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """What ``to_json`` gave, in this version or an earlier one.

        Raises:
            ValueError: it is something else.
        """


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Attribute(Generic[R]):
    """Something that a study remembers, under a name.

    Attributes:
        kind: its type.
    """

    name: str
    kind: type[R]


@dataclass(frozen=True)
class StudentRecord:
    """A student that is trained outside the trials: on labels alone, or again with another seed.

    Attributes:
        stats: what its training did.
        val_accuracy: in percent; None where it failed.
        failure: why it failed, in one line; empty where that wasn't noted, None if it didn't.
    """

    stats: TrialStats
    val_accuracy: float | None = None
    failure: str | None = None

    @property
    def retryable(self) -> bool:
        """Whether a resumed search tries it again."""
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
    """Which configurations are trained again with fresh seeds.

    Attributes:
        chosen: their names, the best first: a trial's number, or ``alone``.
        stands_for: which of them are plain KD (``kd``) and the student on labels (``alone``).
        finished: trials that the search had finished when it chose.
        baseline_competes: whether the student alone may be the winner; not in a search that an
            earlier version has begun.
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
            raise ValueError(f"chosen: {odd[0]!r} is no trial")
        return choice


@dataclass(frozen=True)
class TestReads:
    """What was read of the test set.

    Attributes:
        reads: how often.
        accuracies: in percent, by the student's key.
    """

    __test__ = False  # no test of pytest's

    reads: int = 0
    accuracies: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return to_plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> TestReads:
        return from_plain(cls, value)


REFERENCE = Attribute("reference", StudentRecord)  # the student on labels alone
REPLICATION = Attribute("confirmation", ReplicationChoice)
TEST = Attribute("test", TestReads)
