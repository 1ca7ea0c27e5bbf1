"""Searches that are interrupted or lose a worker."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from helpers.searches import TINY, start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


LONG = [*TINY, *"--budget 2 --concurrency 1 --seed 5 --student-epochs".split()]


def test_nothing_is_lost_whatever_ends_a_search(
    monkeypatch: pytest.MonkeyPatch, thorough: bool
) -> None:
    """The fault harness on a few searches, which take longer to end than to be disturbed.

    By default, the driver itself trains. With ``--thorough``, drivers and workers run under
    Ray (as they always do in ``test_output`` and ``test_cluster``).
    """
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    faults = import_module("faults")
    search_words = [*LONG, "12" if thorough else "6"]
    monkeypatch.setattr(faults, "SEARCH", search_words)
    if not thorough:
        words = ["--out", "run", "--store", "store"]

        def start_here(search: Any) -> Any:
            begun = (search.folder / "run" / "study.db").exists()
            options = ["--resume", "run"] if begun else [*search_words, *words]
            return start(*options, cwd=search.folder, ray=False)

        monkeypatch.setattr(faults.Search, "start", start_here)
    plan = ["kill driver", *(["kill worker"] if thorough else [])]
    # Each fault comes half a second after a session's first epoch.
    tally = faults.measure(plan, seed=377, mounted=False)
    assert tally.problems == []
    assert dict(+tally.tried) == dict.fromkeys(plan, 1)
    assert max(tally.again) <= 1
    assert tally.first_epochs
