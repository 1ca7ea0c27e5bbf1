"""The table of trials on the report page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dgkd_search.results.trial_row import TrialRow
from dgkd_search.utils.intervals import plus_minus
from dgkd_search.utils.tables import Column

_Value = str | float | None


@dataclass(frozen=True)
class TrialColumn:
    """A column of the table.

    Attributes:
        column: its title, help and format.
        value: returns the value of a trial that the column shows and sorts by; None or ``""`` if
            there is none.
        words: returns the text of a cell, if it shows more than the value.
    """

    column: Column
    value: Callable[[TrialRow], _Value]
    words: Callable[[TrialRow], str] | None = None

    def shown(self, row: TrialRow) -> str:
        """Return the text of a trial's cell; empty if the trial has no value."""
        value = self.value(row)
        if value is None or value == "":
            return ""
        return self.column.cell(value) if self.words is None else self.words(row)

    def sort_key(self, row: TrialRow) -> str | float:
        """Return the sort key of a trial's cell; empty cells come last."""
        value = self.value(row)
        return "" if value is None else value


def _replicates(row: TrialRow) -> str:
    return plus_minus(row.repeats_mean or 0.0, row.repeats_half_width)


COLUMNS = (
    TrialColumn(Column("trial", help="number of the trial"), lambda row: row.number),
    TrialColumn(Column("state", help="complete, pruned or failed"), lambda row: row.state.lower()),
    TrialColumn(
        Column("teachers", help="the teacher and the assistants"),
        lambda row: " > ".join(row.models[:-1]),
    ),
    TrialColumn(
        Column("guidance", help="which models are the teachers of each learner"),
        lambda row: row.guidance,
    ),
    TrialColumn(
        Column("drop", help="drop probability of the student's teachers", format="g"),
        lambda row: row.drop_probability,
    ),
    TrialColumn(
        Column("validation", help="validation accuracy (%) after the last epoch", format=".2f"),
        lambda row: row.val_accuracy,
    ),
    TrialColumn(
        Column("fresh seeds", help="mean validation accuracy (%) of replicates with fresh seeds"),
        lambda row: row.repeats_mean,
        _replicates,
    ),
    TrialColumn(Column("epochs", help="epochs of the student"), lambda row: row.student_epochs),
    TrialColumn(
        Column("trained", help="stages trained in this trial"), lambda row: row.stages_trained
    ),
    TrialColumn(
        Column("cached", help="stages loaded from the store"), lambda row: row.stages_reused
    ),
    TrialColumn(
        Column("TFLOP", help="cost of training the whole chain from scratch", format=".4g"),
        lambda row: row.training_tflop,
    ),
    TrialColumn(
        Column("seconds", help="duration of the trial", format=".1f"), lambda row: row.seconds
    ),
    TrialColumn(Column("reason", help="why the trial failed"), lambda row: row.reason),
)
