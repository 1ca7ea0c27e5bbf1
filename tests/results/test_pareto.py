from __future__ import annotations

from typing import Any

from helpers.tabled import make_rows
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.results.pareto import pareto_front


def trial(accuracy: float, cost: float | None, **more: Any) -> dict[str, Any]:
    return {"val_accuracy": accuracy, "training_tflop": cost} | more


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    rows = make_rows(*(trial(float(accuracy), float(cost)) for accuracy, cost in points))
    found = pareto_front(rows)
    chosen = {(row.val_accuracy, row.training_tflop) for row in found}

    def beaten(accuracy: int, cost: int) -> bool:
        return any(a >= accuracy and c <= cost and (a, c) != (accuracy, cost) for a, c in points)

    assert chosen == {(a, c) for a, c in points if not beaten(a, c)}
    assert len(found) == len(chosen), "of equals, one"
    costs = [row.training_tflop or 0.0 for row in found]
    assert costs == sorted(costs)


def test_trials_that_did_not_complete_are_left_out() -> None:
    rows = make_rows(
        trial(90.0, 5.0), trial(99.0, 1.0, state="PRUNED"), trial(98.0, None, state="FAIL")
    )
    assert pareto_front(rows) == rows[:1]
