from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from helpers.tabled import make_table
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.results.pareto import chain_of, pareto_front


def trial(accuracy: float, cost: float | None, **more: Any) -> dict[str, Any]:
    return {"val_accuracy": accuracy, "training_tflop": cost} | more


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    table = make_table(*(trial(float(accuracy), float(cost)) for accuracy, cost in points))
    found = pareto_front(table)
    chosen = {(row["val_accuracy"], row["training_tflop"]) for _, row in found.iterrows()}

    def beaten(accuracy: int, cost: int) -> bool:
        return any(a >= accuracy and c <= cost and (a, c) != (accuracy, cost) for a, c in points)

    assert chosen == {(a, c) for a, c in points if not beaten(a, c)}
    assert len(found) == len(chosen), "of equals, one"
    assert found["training_tflop"].is_monotonic_increasing


def test_trials_that_did_not_complete_are_left_out() -> None:
    table = make_table(
        trial(90.0, 5.0), trial(99.0, 1.0, state="PRUNED"), trial(98.0, None, state="FAIL")
    )
    assert pareto_front(table)["number"].tolist() == [0]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"assistants": "a>b", "drop_probability": 0.25}, "resnet26 > a > b > resnet8, drop 0.25"),
        ({}, "resnet26 > resnet8"),
    ],
)
def test_chains_in_words(row: dict[str, Any], text: str) -> None:
    table: pd.DataFrame = make_table(row)
    assert chain_of(table.iloc[0]) == text
