"""The page's table of trials."""

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
        column: its title and help, and how it shows a value.
        value: of a trial: what the column shows and sorts by; None or ``""`` where there is none.
        words: what it shows of a trial that has a value, if that is more than the value.
    """

    column: Column
    value: Callable[[TrialRow], _Value]
    words: Callable[[TrialRow], str] | None = None

    def shown(self, row: TrialRow) -> str:
        """The cell of a trial; empty where it has no value."""
        value = self.value(row)
        if value is None or value == "":
            return ""
        return self.column.cell(value) if self.words is None else self.words(row)

    def sort_key(self, row: TrialRow) -> str | float:
        """What the cell of a trial sorts by; empty cells come last."""
        value = self.value(row)
        return "" if value is None else value


def _replicates(row: TrialRow) -> str:
    return plus_minus(row.repeats_mean or 0.0, row.repeats_half_width)


COLUMNS = (
    TrialColumn(Column("trial", help="number of the trial"), lambda row: row.number),
    TrialColumn(Column("state", help="complete, pruned or failed"), lambda row: row.state.lower()),
    TrialColumn(
        Column("teachers", help="the teacher and the assistants of the student"),
        lambda row: " > ".join(row.models[:-1]),
    ),
    TrialColumn(Column("guidance", help="who teaches whom"), lambda row: row.guidance),
    TrialColumn(
        Column("drop", help="drop probability of the student's teachers", format="g"),
        lambda row: row.drop_probability,
    ),
    TrialColumn(
        Column("validation", help="accuracy in percent after the last epoch", format=".2f"),
        lambda row: row.val_accuracy,
    ),
    TrialColumn(
        Column("fresh seeds", help="mean validation accuracy of repeats with fresh seeds"),
        lambda row: row.repeats_mean,
        _replicates,
    ),
    TrialColumn(Column("epochs", help="of the student"), lambda row: row.student_epochs),
    TrialColumn(
        Column("trained", help="stages trained in this trial"), lambda row: row.stages_trained
    ),
    TrialColumn(Column("found", help="stages found in the store"), lambda row: row.stages_reused),
    TrialColumn(
        Column("TFLOP", help="training the whole chain from nothing", format=".4g"),
        lambda row: row.training_tflop,
    ),
    TrialColumn(
        Column("seconds", help="that the trial took", format=".1f"), lambda row: row.seconds
    ),
    TrialColumn(Column("reason", help="why it failed"), lambda row: row.reason),
)
