"""Made-up progress reports of trials."""

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
    """Return a report, by default of the student; without a value it is a waiting one."""
    metrics = None if value is None else EpochMetrics(epoch, loss, value, 1.0)
    return TrialProgress(event, stage, position, stages, epochs, metrics)
