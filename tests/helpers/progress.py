"""Rows and reports of trials that nobody ran."""

from __future__ import annotations

from dgkd_search.distillation.progress import ProgressEvent, TrialProgress
from dgkd_search.training.metrics import EpochMetrics


def progress(
    epoch: int,
    value: float | None = 50.0,
    *,
    event: ProgressEvent = "epoch",
    stage: str = "resnet8",
    position: int = 1,
    stages: int = 2,
    epochs: int = 3,
    loss: float = 0.5,
) -> TrialProgress:
    """A row, of the student unless ``position`` says otherwise; one without a value waits."""
    metrics = None if value is None else EpochMetrics(epoch, loss, value, 1.0)
    return TrialProgress(event, stage, position, stages, epochs, metrics)
