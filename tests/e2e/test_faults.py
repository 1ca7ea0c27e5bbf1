"""Searches that are interrupted or lose a worker."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from searches import TINY, start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


LONG = [*TINY, *"--budget 3 --student-epochs 12 --concurrency 1 --seed 5".split()]


def test_nothing_is_lost_whatever_ends_a_search(
    monkeypatch: pytest.MonkeyPatch, thorough: bool
) -> None:
    """The fault harness in short, on searches that take longer to end than to be disturbed.

    What they are compared with is trained without Ray; with ``--thorough``, by Ray too.
    """
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    faults = import_module("faults")
    monkeypatch.setattr(faults, "SEARCH", LONG)
    begin = faults.Search.start

    def undisturbed(search: Any) -> Any:
        if thorough or search.folder.name != "whole":
            return begin(search)
        return start(*LONG, "--out", "run", "--store", "store", cwd=search.folder, ray=False)

    monkeypatch.setattr(faults.Search, "start", undisturbed)
    plan = ["kill driver", "kill worker"]
    # Each half a second after a session's first epoch.
    tally = faults.measure(plan, seed=377, mounted=False)
    assert tally.problems == []
    assert dict(+tally.tried) == dict.fromkeys(plan, 1)
    assert max(tally.again) <= 1
    assert tally.first_epochs
