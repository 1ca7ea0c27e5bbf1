"""The trials of a study as points of charts, in whichever of them they stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from dgkd_search.results.looks import COMPLETED, PRUNED, Look, guidance_looks
from dgkd_search.results.pareto import chain_of
from dgkd_search.results.table import plottable

ACCURACY_TITLE = "validation accuracy (%)"

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


def trial_points(table: pd.DataFrame) -> tuple[TrialPoint, ...]:
    """The points of all trials that ended and have an accuracy, by number.

    Args:
        table: from ``trials_table``.
    """
    completed, pruned = plottable(table, "COMPLETE"), plottable(table, "PRUNED")
    looks = _looks(completed)
    rows = pd.concat([completed, pruned]).sort_values("number")
    return tuple(_point(row, looks) for _, row in rows.iterrows())


def legend(table: pd.DataFrame) -> tuple[Look, ...]:
    """The looks of the points that there are, in the order of legends."""
    completed, looks = plottable(table, "COMPLETE"), _looks(plottable(table, "COMPLETE"))
    kinds = [*looks.values()] if looks else [COMPLETED] if len(completed) else []
    return (*kinds, PRUNED) if len(plottable(table, "PRUNED")) else tuple(kinds)


def _looks(completed: pd.DataFrame) -> dict[str, Look]:
    """Of the guidances, if they are to be told apart; without assistants all are one."""
    taught = set(completed.loc[completed["assistant_count"] > 0, "guidance"])
    several = len(taught) > 1 or "none" in set(completed["guidance"])
    return guidance_looks(completed["guidance"]) if several else {}


def _point(row: pd.Series, looks: dict[str, Look]) -> TrialPoint:
    completed, number = row["state"] == "COMPLETE", int(row["number"])
    look = looks.get(row["guidance"], COMPLETED) if completed else PRUNED
    mean, count = _number(row["repeats_mean"]), _number(row["repeats"])
    replicates = None
    if mean is not None:
        replicates = Replicates(int(count or 1), mean, _number(row["repeats_half_width"]))
    assistants = int(row["assistant_count"])
    aside = number * _GOLDEN % 1 - 0.5
    return TrialPoint(
        trial=number,
        completed=completed,
        kind=look.label,
        chain=chain_of(row),
        models=tuple(filter(None, (row["teacher"], *row["assistants"].split(">"), row["student"]))),
        guidance=row["guidance"],
        drop=_number(row["drop_probability"]),
        assistants=assistants,
        x=assistants + CLOUD + _SPREAD * aside,
        accuracy=float(row["val_accuracy"]),
        cost=_number(row["training_tflop"]),
        replicates=replicates,
    )


def _number(value: float | None) -> float | None:
    return None if pd.isna(value) or not math.isfinite(float(value)) else float(value)
