"""Chains that no other beats in both accuracy and training cost."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dgkd_search.results.trial_row import TrialRow


def pareto_front(rows: Iterable[TrialRow]) -> tuple[TrialRow, ...]:
    """Completed trials than which none is as accurate for less work, or more so for as much.

    Returns:
        Their rows, cheapest first; of equals the earlier. Each has an accuracy and a cost.
    """
    known = [
        (row.training_tflop, -row.val_accuracy, row.number, row)
        for row in rows
        if row.completed and row.training_tflop is not None and row.val_accuracy is not None
    ]
    front: list[TrialRow] = []
    best = -math.inf
    for _, negated, _, row in sorted(known, key=lambda each: each[:3]):
        if -negated > best:
            best = -negated
            front.append(row)
    return tuple(front)
