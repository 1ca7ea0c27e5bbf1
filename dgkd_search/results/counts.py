"""Statistics of the completed trials for each number of assistants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dgkd_search.results.trial_row import TrialRow
from dgkd_search.utils.intervals import half_width


@dataclass(frozen=True)
class CountSummary:
    """The completed trials with one number of assistants.

    Attributes:
        assistants: number of assistants.
        completed: number of trials.
        mean, best: validation accuracy in percent.
        half_width: half of the 95% Student-t confidence interval of the mean, in percentage
            points; None with one trial. The interval assumes independent trials, but a sampler
            prefers good ones: read it as spread, not as a test.
    """

    assistants: int
    completed: int
    mean: float
    best: float
    half_width: float | None


def accuracy_by_count(rows: Iterable[TrialRow]) -> tuple[CountSummary, ...]:
    """Summarize completed trials by number of assistants, ascending.

    Trials without a teacher are left out.
    """
    groups: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        count, accuracy = row.assistant_count, row.val_accuracy
        if row.completed and row.taught and count is not None and accuracy is not None:
            groups[count].append(accuracy)
    return tuple(_summary(count, values) for count, values in sorted(groups.items()))


def _summary(assistants: int, values: list[float]) -> CountSummary:
    mean = float(np.mean(values))
    return CountSummary(assistants, len(values), mean, max(values), half_width(values))
