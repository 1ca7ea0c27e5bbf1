"""The trials of a study as points of charts, in whichever of them they stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dgkd_search.results.looks import COMPLETED, PRUNED, Look, guidance_looks
from dgkd_search.results.trial_row import TrialRow

ACCURACY_TITLE = "validation accuracy (%)"
MANY_POINTS = 150  # from which on they are drawn smaller

# Within the column of a count: its trials around the middle left, its mean beside them.
CLOUD, _SPREAD = -0.10, 0.34
_GOLDEN = 0.6180339887  # its multiples modulo 1 stay apart, in whatever order trials come


@dataclass(frozen=True)
class Replicates:
    """What fresh seeds gave.

    Attributes:
        count: of the seeds.
        mean: validation accuracy in percent.
        half_width: of its 95 % interval, in percentage points; None where there is none.
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
        chain: as ``resnet26 > resnet14 > resnet8, drop 0.25``.
        models: of the chain, teacher first.
        guidance: ``none`` for a student of labels alone.
        drop: probability; None where the student has fewer than two teachers.
        assistants: their number.
        x: where it stands on the axis of assistants: their number, a little aside.
        accuracy: on validation, in percent.
        cost: of training the chain from nothing, in TFLOP; None where it isn't known.
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
        """Whether a teacher teaches the student; not where labels alone do."""
        return len(self.models) > 1


def trial_points(rows: Sequence[TrialRow]) -> tuple[TrialPoint, ...]:
    """The points of all trials that ended and have an accuracy, by number."""
    looks = _looks(rows)
    points = (_point(row, looks) for row in rows if row.completed or row.pruned)
    return tuple(point for point in points if point is not None)


def legend(rows: Sequence[TrialRow]) -> tuple[Look, ...]:
    """The looks of the points that there are, in the order of legends."""
    completed, looks = [*_completed(rows)], _looks(rows)
    kinds = [*looks.values()] if looks else [COMPLETED] if completed else []
    pruned = any(row.pruned and _is_known(row) for row in rows)
    return (*kinds, PRUNED) if pruned else tuple(kinds)


def _is_known(row: TrialRow) -> bool:
    return row.assistant_count is not None and row.val_accuracy is not None


def _completed(rows: Iterable[TrialRow]) -> Iterable[TrialRow]:
    return (row for row in rows if row.completed and _is_known(row))


def _looks(rows: Iterable[TrialRow]) -> dict[str, Look]:
    """Of the guidances, if they are to be told apart; without assistants all are one."""
    completed = [*_completed(rows)]
    guidances = {row.guidance for row in completed if row.assistant_count}
    several = len(guidances) > 1 or any(not row.taught for row in completed)
    return guidance_looks(row.guidance for row in completed) if several else {}


def _point(row: TrialRow, looks: Mapping[str, Look]) -> TrialPoint | None:
    """None where the assistants or the accuracy aren't known."""
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
