"""The trials of a study as points, shared by all charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dgkd_search.results.looks import COMPLETED, PRUNED, Look, guidance_looks
from dgkd_search.results.trial_row import TrialRow

ACCURACY_TITLE = "validation accuracy (%)"
MANY_POINTS = 150  # more points than these are drawn smaller

# Center and width of the cloud of trials in the column of a count; the mean is to its right.
CLOUD, _SPREAD = -0.10, 0.34
_GOLDEN = 0.6180339887  # its multiples modulo 1 are evenly spread for any number of trials


@dataclass(frozen=True)
class Replicates:
    """Results with fresh seeds.

    Attributes:
        count: number of seeds.
        mean: validation accuracy in percent.
        half_width: half of its 95 % interval, in percentage points; None if there is none.
    """

    count: int
    mean: float
    half_width: float | None


@dataclass(frozen=True)
class BaselinePoint:
    """The student trained on labels alone, where it is the best.

    Attributes:
        model: name of the student.
        accuracy: validation accuracy in percent of the search's own run.
        replicates: results with fresh seeds, or None.
    """

    model: str
    accuracy: float
    replicates: Replicates | None


@dataclass(frozen=True)
class TrialPoint:
    """A trial that ended and has an accuracy.

    Attributes:
        kind: label of its look.
        chain: for example ``resnet26 > resnet14 > resnet8, drop 0.25``.
        models: the models of the chain, teacher first.
        guidance: ``none`` for a student trained on labels alone.
        drop: drop probability; None if the student has fewer than two teachers.
        assistants: number of assistants.
        x: position on the axis of assistants: their number plus a small offset.
        accuracy: validation accuracy in percent.
        cost: cost of training the chain from scratch, in TFLOP; None if unknown.
    """

    trial: int
    completed: bool
    kind: str
    chain: str
    models: tuple[str, ...]
    guidance: str
    drop: float | None
    assistants: int
    x: float
    accuracy: float
    cost: float | None
    replicates: Replicates | None

    @property
    def taught(self) -> bool:
        """Whether the student has a teacher; False if it is trained on labels alone."""
        return len(self.models) > 1


def trial_points(rows: Sequence[TrialRow]) -> tuple[TrialPoint, ...]:
    """Return the points of all trials that ended and have an accuracy, by number."""
    looks = _looks(rows)
    points = (_point(row, looks) for row in rows if row.completed or row.pruned)
    return tuple(point for point in points if point is not None)


def legend(rows: Sequence[TrialRow]) -> tuple[Look, ...]:
    """Return the looks of the points in the order of legends."""
    completed, looks = [*_completed(rows)], _looks(rows)
    kinds = [*looks.values()] if looks else [COMPLETED] if completed else []
    pruned = any(row.pruned and _is_known(row) for row in rows)
    return (*kinds, PRUNED) if pruned else tuple(kinds)


def _is_known(row: TrialRow) -> bool:
    return row.assistant_count is not None and row.val_accuracy is not None


def _completed(rows: Iterable[TrialRow]) -> Iterable[TrialRow]:
    return (row for row in rows if row.completed and _is_known(row))


def _looks(rows: Iterable[TrialRow]) -> dict[str, Look]:
    """Return the looks by guidance; empty if all completed trials share one look.

    Without assistants all guidances are the same.
    """
    completed = [*_completed(rows)]
    guidances = {row.guidance for row in completed if row.assistant_count}
    several = len(guidances) > 1 or any(not row.taught for row in completed)
    return guidance_looks(row.guidance for row in completed) if several else {}


def _point(row: TrialRow, looks: Mapping[str, Look]) -> TrialPoint | None:
    """Return the point of a trial; None if its assistants or its accuracy are unknown."""
    assistants, accuracy = row.assistant_count, row.val_accuracy
    if assistants is None or accuracy is None:
        return None
    look = looks.get(row.guidance, COMPLETED) if row.completed else PRUNED
    replicates = None
    if row.repeats_mean is not None:
        replicates = Replicates(row.repeats or 1, row.repeats_mean, row.repeats_half_width)
    aside = row.number * _GOLDEN % 1 - 0.5
    return TrialPoint(
        trial=row.number,
        completed=row.completed,
        kind=look.label,
        chain=row.chain,
        models=row.models,
        guidance=row.guidance,
        drop=row.drop_probability,
        assistants=assistants,
        x=assistants + CLOUD + _SPREAD * aside,
        accuracy=accuracy,
        cost=row.training_tflop,
        replicates=replicates,
    )
