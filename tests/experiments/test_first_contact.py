"""The report on ten default searches: which gains exclude zero."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def first_contact(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module("first_contact")


@pytest.mark.parametrize(
    ("mean", "half_width", "shown"),
    [
        (4.5, 2.1, "+4.5 ± 2.1 *"),
        (1.0, 2.0, "+1.0 ± 2.0"),
        (-3.0, 1.0, "-3.0 ± 1.0"),
        (2.0, None, "+2.0"),
    ],
)
def test_a_star_marks_a_gain_that_excludes_zero(
    first_contact: ModuleType, mean: float, half_width: float | None, shown: str
) -> None:
    gain = first_contact.Gain(mean, half_width)
    assert str(gain) == shown
    assert gain.excludes_zero == shown.endswith("*")


def test_a_search_is_a_row(first_contact: ModuleType) -> None:
    gain = first_contact.Gain(4.53, 2.05)
    result = first_contact.SearchResult(3, "cnn32 > cnn3", None, gain, None, 94.15, 121.3)
    (row,) = first_contact.table([result]).lines(header=False)
    assert row.split("  ")[0] == "3"
    assert "cnn32 > cnn3" in row
    assert "+4.5 ± 2.0 *" in row
    assert row.split()[-3:] == ["itself", "94.15", "121"]
