"""What a trial says while it runs. Plain values: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dgkd_search.training.metrics import EpochMetrics

ProgressEvent = Literal["epoch", "replayed", "resumed", "waiting"]


@dataclass(frozen=True)
class TrialProgress:
    """One sign of life of a trial.

    Attributes:
        event: ``epoch`` (trained now), ``replayed`` (of a stage that the store had), ``resumed``
            (of a checkpoint that is carried on), ``waiting`` (another trial trains this stage).
        stage: name of the model.
        position: of the stage, from 0, among ``stages`` stages.
        epochs: that the stage has in all.
        metrics: of the epoch; None while waiting.
        more: whether another row follows at once, as when finished epochs are replayed.
    """

    event: ProgressEvent
    stage: str
    position: int
    stages: int
    epochs: int
    metrics: EpochMetrics | None = None
    more: bool = False

    @property
    def epoch(self) -> int:
        """Epochs of the stage done; 0 while waiting."""
        return self.metrics.epoch if self.metrics is not None else 0

    @property
    def step(self) -> int | None:
        """The student's epoch, from 1, which pruners compare; None for all other rows."""
        student = self.position == self.stages - 1
        return self.metrics.epoch if self.metrics is not None and student else None

    @property
    def train_loss(self) -> float | None:
        """Mean over the epoch's images; None while waiting."""
        return self.metrics.train_loss if self.metrics is not None else None

    @property
    def val_accuracy(self) -> float | None:
        """In percent, after the epoch; None while waiting."""
        return self.metrics.val_accuracy if self.metrics is not None else None

    @property
    def ends_stage(self) -> bool:
        """Whether this is the stage's last epoch."""
        return self.epoch == self.epochs

    def to_dict(self) -> dict[str, object]:
        """For programs that read a search's events: one level, without what is ours alone."""
        return {
            "event": self.event,
            "stage": self.stage,
            "position": self.position,
            "stages": self.stages,
            "epoch": self.epoch,
            "epochs": self.epochs,
            "step": self.step,
            "train_loss": self.train_loss,
            "val_accuracy": self.val_accuracy,
            "more": self.more,
        }
