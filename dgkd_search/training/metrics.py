"""What an epoch gave. Plain values: no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch of one model: the row that travels from the trainer to the study.

    Attributes:
        epoch: from 1.
        train_loss: mean over the epoch's images.
        val_accuracy: in percent, after the epoch.
        seconds: wall time of the epoch, evaluation included.
        taught: images that a teacher taught, over all teachers: an image that two teachers of a
            mini-batch taught counts twice, one whose teacher was dropped doesn't.
    """

    epoch: int
    train_loss: float
    val_accuracy: float
    seconds: float
    taught: int = 0

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)
