"""Progress of a running trial. Plain values: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dgkd_search.training.metrics import EpochMetrics

ProgressEvent = Literal["epoch", "replayed", "resumed", "waiting"]


@dataclass(frozen=True)
class TrialProgress:
    """One progress report of a trial.

    Attributes:
        event: ``epoch`` (trained now), ``replayed`` (an epoch of a cached stage), ``resumed`` (an
            earlier epoch of a checkpoint that training continues from) or ``waiting`` (another
            trial trains this stage).
        stage: name of the stage's model.
        position: position of the stage in the chain, from 0.
        stages: number of stages of the chain.
        epochs: number of epochs of the stage.
        metrics: results of the epoch; None while waiting.
        more: whether another report follows at once, as when finished epochs are replayed.
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
        """Number of finished epochs of the stage; 0 while waiting."""
        return self.metrics.epoch if self.metrics is not None else 0

    @property
    def step(self) -> int | None:
        """The student's epoch, from 1, which pruners compare; None for other stages."""
        student = self.position == self.stages - 1
        return self.metrics.epoch if self.metrics is not None and student else None

    @property
    def train_loss(self) -> float | None:
        """Mean loss over the epoch's images; None while waiting."""
        return self.metrics.train_loss if self.metrics is not None else None

    @property
    def val_accuracy(self) -> float | None:
        """Validation accuracy after the epoch in percent; None while waiting."""
        return self.metrics.val_accuracy if self.metrics is not None else None

    @property
    def ends_stage(self) -> bool:
        """Whether this is the stage's last epoch."""
        return self.epoch == self.epochs

    def to_dict(self) -> dict[str, object]:
        """Return the public fields as one flat level, for programs that read a search's events."""
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
