"""The counts of the fault harness, and a short load test of a store."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module


def test_what_a_search_lost_doubled_or_changed_is_counted(
    script: Callable[[str], ModuleType],
) -> None:
    faults = script("faults")
    whole = {
        "trials": [("a", [1.0, {}, 0]), ("b", [2.0, {}, 1]), ("c", [3.0, {}, 2])],
        "running": 0,
        "stages": {"x": "1", "y": "2"},
        "student": b"s",
    }
    tally = faults.Tally()
    faults.compare(whole, whole, ["SIGINT"], tally)
    assert tally.problems == []
    found = {
        "trials": [("a", [1.0, {}, 0]), ("a", [1.0, {}, 0]), ("b", [2.0, {}, 3])],
        "running": 1,
        "stages": {"x": "3"},
        "student": b"other",
        "failed": ["2: its worker died"],
    }
    faults.compare(found, whole, ["SIGINT"], tally)
    assert "failed ['2: its worker died'], lost ['trial [2] c', 'stage y']" in tally.problems[0]
    assert tally.wrong["SIGINT"] == {"lost": 2, "doubled": 1, "wrong": 1 + 1 + 1 + 1}
    faults.compare(found, whole, ["SIGINT", "full disk"], tally)
    assert tally.wrong["SIGINT, full disk"]["wrong"] == 3


def test_a_store_under_load_keeps_what_it_was_given(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    found = script("store_load").load(tmp_path / "store", writers=4, puts=80, seed=0)
    assert (found["corrupt"], found["twice"], found["damaged"]) == (0, 0, 0)
    assert found["puts"] >= 72
    assert found["rounds of verifying and freeing"] > 0
