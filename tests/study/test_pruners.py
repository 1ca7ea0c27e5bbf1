from __future__ import annotations

import pytest
from helpers.curves import ask, rising, run
from helpers.studies import make_study

PRUNERS = ("median", "hyperband", "sha", "patient")


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_pruner_stops_a_clearly_bad_curve_among_good_ones(pruner: str) -> None:
    study = make_study(pruner=pruner)
    good = [run(study, rising(60 + i))[1] for i in range(6)]
    bad = [run(study, [20.0 - step for step in range(9)])[1] for _ in range(4)]
    assert max(good[3:]) == 9, "nothing good was let through"
    assert min(bad) < 9
    if pruner != "hyperband":  # its brackets determine how early it prunes
        assert max(bad) < 9


def test_no_pruner_never_stops_anything() -> None:
    study = make_study(pruner="none")
    assert [run(study, rising(60 - 9 * i))[1] for i in range(7)] == [9] * 7


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_first_trials_are_never_pruned(pruner: str) -> None:
    # The full chain comes last, when there are enough trials to compare it with.
    study = make_study(pruner=pruner)
    first = [ask(study) for _ in range(3)]
    for level in range(60, 66):
        run(study, rising(level))
    for proposal in first:
        decisions = [study.report(proposal.number, step, 30.0 - step) for step in range(1, 10)]
        assert not any(decisions)


def test_the_first_trials_are_among_those_that_halving_compares_with() -> None:
    study = make_study(pruner="sha")
    for _ in range(3):
        run(study, rising(60))
    assert run(study, [20.0] * 9)[1] == 1


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_last_epoch_never_prunes(pruner: str) -> None:
    study = make_study(pruner=pruner)
    for level in range(60, 68):
        run(study, rising(level))
    number = ask(study).number
    assert not study.report(number, 9, 1.0)
