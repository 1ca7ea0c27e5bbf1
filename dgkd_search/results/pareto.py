"""The Pareto front of accuracy and training cost."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dgkd_search.results.trial_row import TrialRow


def pareto_front(rows: Iterable[TrialRow]) -> tuple[TrialRow, ...]:
    """Return the completed trials that no other trial dominates in accuracy and training cost.

    Returns:
        Their rows, cheapest first; of equal trials the earlier one. Each has an accuracy and a
        cost.
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
