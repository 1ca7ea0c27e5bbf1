from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.shipped import make_run
from helpers.studies import make_space, make_study, run_trials
from helpers.tabled import texts

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.results.best import load_best, write_best
from dgkd_search.results.figures import best_trial, draw_figures
from dgkd_search.results.report.content import RunReport
from dgkd_search.study.replication import ReplicateStats, Replication


def test_the_winner_under_fresh_seeds_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study()
    assert best_trial(study) is None
    run_trials(study, 4)
    first, second, *_ = [trial.number for trial in study.ranked()]
    assert best_trial(study) == first
    # The first has the higher mean, but one of its seeds failed: it is neither shipped nor starred.
    stats = (
        ReplicateStats(first, {1: 90.0}, {2: "no memory"}),
        ReplicateStats(second, {1: 80.0, 2: 81.0}),
    )
    replication = Replication(stats, None, None, trials=2, complete=False)
    monkeypatch.setattr(Replication, "from_study", lambda _: replication)
    assert best_trial(study) == second


def test_the_figure_and_the_page_star_what_is_shipped(tmp_path: Path) -> None:
    study = make_study(make_space(("resnet20",), drop_probs=(0.25,)))
    for value in (60.0, 50.0):  # plain KD, and the chain that is shipped
        proposal = study.ask()
        assert proposal is not None
        study.complete(proposal.number, value, TrialStats())
    run = make_run(tmp_path, ("resnet56", "resnet20", "resnet8"))
    best, weights = load_best(run.best), run.student.read_bytes()
    for trial, starred in ((1, 1), (7, 0)):  # there is no trial 7 in this study
        write_best(run, replace(best, trial=trial), weights)
        figure = next(path for path in draw_figures(run, study) if path.suffix == ".svg")
        assert any(f"trial {starred}, " in text for text in texts(figure))
        report = RunReport.read(run, study)
        assert report.accuracy.best is not None
        assert (report.trial, report.accuracy.best.trial) == (starred, starred)
        assert report.headline()[0][0] == ("best chain" if trial == 1 else "status")
    run.best.write_text("damaged")
    assert draw_figures(run, study)
