from __future__ import annotations

import pytest
from helpers.studies import make_study, run_trials

from dgkd_search.results.figures import best_trial
from dgkd_search.study.replication import ReplicateStats, Replication


def test_the_winner_under_fresh_seeds_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study()
    assert best_trial(study) is None
    run_trials(study, 4)
    first, second, *_ = [trial.number for trial in study.ranked()]
    assert best_trial(study) == first
    # The first has the higher mean, but one of its seeds failed: it isn't shipped, nor starred.
    stats = (
        ReplicateStats(first, {1: 90.0}, {2: "no memory"}),
        ReplicateStats(second, {1: 80.0, 2: 81.0}),
    )
    replication = Replication(stats, None, None, trials=2, complete=False)
    monkeypatch.setattr(Replication, "from_study", lambda _: replication)
    assert best_trial(study) == second
