"""What a trial did. Plain values: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from dgkd_search.utils.records import from_plain, to_plain

_JSON_NAMES = {"retryable": "again"}  # in study.db
# Left out of JSON at these values; what a trial did is always there.
_LEFT_OUT: dict[str, object] = {
    "elapsed": None,
    "tflop": None,
    "notes": [],
    "begun": True,
    "retryable": False,
}


@dataclass(frozen=True)
class StageResult:
    """How a trial came by one of its models.

    Attributes:
        val_accuracy: in percent, after the last epoch done.
        epochs: done so far, by whomever.
        trained: how many of them this trial trained; the rest came from the store.
        seconds: spent on those.
        finished: whether the stage is; False for the one that a trial is still training, or was
            training when it was pruned, stopped or failed.
    """

    name: str
    key: str
    val_accuracy: float
    epochs: int
    trained: int
    seconds: float
    finished: bool


@dataclass(frozen=True)
class TrialStats:
    """What a trial did, in all of its attempts and sessions.

    Attributes:
        stages: one each, in training order: those it has, then the one it is training; of a
            finished trial the student is last.
        computing, waiting: seconds spent training and running teachers, and waiting for another
            trial to do so.
        taught: images that a teacher taught, over all teachers and epochs of this trial.
        forwards: images that were run through a frozen model; without stored outputs as many.
        seconds: that it held a worker.
        elapsed: seconds that its search had taken when it ended; None while it runs.
        tflop: teraoperations that training its chain takes from nothing; None unless complete.
        notes: a line for each damaged file that was met in the store, until they are logged.
        begun: False for a trial that was drawn when the search ended.
        retryable: whether a resumed search tries it again, where it failed.
    """

    stages: tuple[StageResult, ...] = ()
    computing: float = 0.0
    waiting: float = 0.0
    taught: int = 0
    forwards: int = 0
    seconds: float = 0.0
    elapsed: float | None = None
    tflop: float | None = None
    notes: tuple[str, ...] = ()
    begun: bool = True
    retryable: bool = False

    def followed_by(self, later: TrialStats) -> TrialStats:
        """Of two attempts at one trial: what either trained, the trial trained."""
        before = {stage.key: stage for stage in self.stages}
        stages: list[StageResult] = []
        for stage in later.stages:
            other = before.pop(stage.key, None)
            trained, seconds = (other.trained, other.seconds) if other is not None else (0, 0.0)
            stages.append(
                replace(stage, trained=stage.trained + trained, seconds=stage.seconds + seconds)
            )
        return replace(
            later,
            stages=(*before.values(), *stages),  # the student of a finished trial stays last
            computing=self.computing + later.computing,
            waiting=self.waiting + later.waiting,
            taught=self.taught + later.taught,
            forwards=self.forwards + later.forwards,
            seconds=self.seconds + later.seconds,
            notes=(*self.notes, *later.notes),
        )

    @property
    def trained(self) -> int:
        """Stages that were trained here, at least in part."""
        return sum(stage.trained > 0 for stage in self.stages)

    @property
    def reused(self) -> int:
        """Stages that were taken whole from the store."""
        return sum(stage.trained == 0 for stage in self.stages)

    def stage(self, name: str) -> StageResult | None:
        """The stage of the model of that name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def to_json(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            _JSON_NAMES.get(name, name): value
            for name, value in to_plain(self).items()
            if name not in _LEFT_OUT or value != _LEFT_OUT[name]
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> TrialStats:
        """What ``to_json`` gave, in this version or an earlier one.

        Raises:
            ValueError: it is something else.
        """
        names = {json_name: name for name, json_name in _JSON_NAMES.items()}
        return from_plain(cls, {names.get(name, name): each for name, each in value.items()})


@dataclass
class TrialResult:
    """What a trial knows so far; attributes as of ``TrialStats``."""

    stages: list[StageResult] = field(default_factory=list)
    computing: float = 0.0
    waiting: float = 0.0
    taught: int = 0
    forwards: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def val_accuracy(self) -> float:
        """The student's, in percent, after its last epoch."""
        return self.stages[-1].val_accuracy

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)

    @property
    def stats(self) -> TrialStats:
        """As they are now."""
        return TrialStats(
            tuple(self.stages),
            self.computing,
            self.waiting,
            self.taught,
            self.forwards,
            notes=tuple(self.notes),
        )
