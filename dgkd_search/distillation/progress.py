"""What a trial says while it runs, and what it knows at its end. Plain values: no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrialProgress:
    """One sign of life of a trial.

    Attributes:
        event: ``epoch`` (trained now), ``replayed`` (of a stage that the store had), ``resumed``
            (of a checkpoint that is carried on), ``waiting`` (another trial trains this stage).
        stage: name of the model.
        position: of the stage, from 0, among ``stages`` stages.
        epoch: epochs of the stage done, of ``epochs``.
        step: the student's epoch, from 1, which pruners compare; None for all other rows.
        val_accuracy: in percent; None while waiting.
        more: whether another row follows at once, as when finished epochs are replayed.
    """

    event: str
    stage: str
    position: int
    stages: int
    epoch: int
    epochs: int
    step: int | None = None
    train_loss: float | None = None
    val_accuracy: float | None = None
    more: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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


@dataclass
class TrialResult:
    """What a trial knows so far.

    Attributes:
        stages: one each, in training order: those it has, then the one it is training; of a
            finished trial the student is last.
        computing, waiting: seconds spent training and running teachers, and waiting for another
            trial to do so.
        taught: images that a teacher taught, over all teachers and epochs of this trial.
        forwards: images that were run through a frozen model; without stored outputs as many.
        notes: one line for each damaged file that was met in the store.
    """

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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
