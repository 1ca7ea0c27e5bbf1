"""Statistics of a trial. Plain values: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from dgkd_search.utils.records import from_plain, to_plain

_JSON_NAMES = {"retryable": "again"}  # names in study.db
# Fields that are left out of JSON if they have these values.
_LEFT_OUT: dict[str, object] = {
    "elapsed": None,
    "tflop": None,
    "notes": [],
    "begun": True,
    "retryable": False,
}


@dataclass(frozen=True)
class StageResult:
    """One stage of a trial.

    Attributes:
        name: name of the model.
        key: key of the stage.
        val_accuracy: validation accuracy after the last finished epoch, in percent.
        epochs: number of finished epochs, in this and in other trials.
        trained: number of epochs that this trial trained; the others were cached.
        seconds: time that this trial spent on them.
        finished: whether the stage is finished. False if the trial is training it, or was training
            it when it was pruned, stopped or failed.
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
    """Statistics of a trial over all of its attempts and sessions.

    Attributes:
        stages: its stages in training order: the finished ones, then the one in training. The
            student is the last one of a finished trial.
        computing: seconds spent training and running teachers.
        waiting: seconds spent waiting for another trial that did so.
        taught: number of teacher outputs used, summed over images, teachers and epochs.
        forwards: number of images run through teachers; equals ``taught`` for online teachers.
        seconds: seconds that it occupied a worker.
        elapsed: seconds from the start of the search to the end of the trial; None while it runs.
        tflop: teraoperations of training its chain with an empty store; None unless complete.
        notes: a line for each damaged entry found in the store, until the lines are logged.
        begun: False for a trial that was sampled but not started when the search ended.
        retryable: whether a resumed search retries it if it failed.
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
        """Combine two attempts at one trial by adding up what each of them trained."""
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
        """Number of stages that this trial trained, at least in part."""
        return sum(stage.trained > 0 for stage in self.stages)

    @property
    def reused(self) -> int:
        """Number of stages that were cached."""
        return sum(stage.trained == 0 for stage in self.stages)

    def stage(self, name: str) -> StageResult | None:
        """Return the stage of the model called ``name``, if any."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return {
            _JSON_NAMES.get(name, name): value
            for name, value in to_plain(self).items()
            if name not in _LEFT_OUT or value != _LEFT_OUT[name]
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> TrialStats:
        """Build from the output of ``to_json``, in this version or an earlier one.

        Raises:
            ValueError: ``value`` is not an output of ``to_json``.
        """
        names = {json_name: name for name, json_name in _JSON_NAMES.items()}
        return from_plain(cls, {names.get(name, name): each for name, each in value.items()})


@dataclass
class TrialResult:
    """The results of a trial so far; see ``TrialStats`` for attributes."""

    stages: list[StageResult] = field(default_factory=list)
    computing: float = 0.0
    waiting: float = 0.0
    taught: int = 0
    forwards: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def val_accuracy(self) -> float:
        """The student's validation accuracy after its last epoch, in percent."""
        return self.stages[-1].val_accuracy

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)

    @property
    def stats(self) -> TrialStats:
        """The current statistics."""
        return TrialStats(
            tuple(self.stages),
            self.computing,
            self.waiting,
            self.taught,
            self.forwards,
            notes=tuple(self.notes),
        )
