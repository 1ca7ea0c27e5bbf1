"""The results of an epoch. Plain values: no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """The results of one epoch of one model.

    Attributes:
        epoch: number of the epoch, from 1.
        train_loss: mean over the epoch's images.
        val_accuracy: validation accuracy after the epoch, in percent.
        seconds: wall time of the epoch, evaluation included.
        taught: number of teacher outputs used, summed over images and teachers: an image with two
            surviving teachers counts twice, one whose teachers were dropped does not count.
    """

    epoch: int
    train_loss: float
    val_accuracy: float
    seconds: float
    taught: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)
