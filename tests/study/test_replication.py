from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.studies import INFO, make_space, make_study
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study.planner import Planner
from dgkd_search.study.records import REPLICATION, StudentRecord
from dgkd_search.study.replication import (
    ReplicateStats,
    Replication,
    choose_replicates,
    replicates,
    save_replicate,
)
from dgkd_search.study.study import ChainStudy


def study_of(values: list[float | None], **config: Any) -> ChainStudy:
    """Return a study of trials with these accuracies (None: failed); the first is plain KD."""
    study = make_study(**{"confirm_top": 2, "confirm_seeds": 3, "epochs": 1} | config)
    for value in values:
        proposal = study.ask()
        assert proposal is not None
        if value is None:
            study.fail(proposal.number, "broken")
        else:
            study.report(proposal.number, 1, value)
            study.complete(proposal.number, value, TrialStats())
    return study


def known(value: float, seconds: float = 0.0) -> StudentRecord:
    return StudentRecord(TrialStats(seconds=seconds), value)


def failed(reason: str, retryable: bool) -> StudentRecord:
    return StudentRecord(TrialStats(seconds=1.0, retryable=retryable), failure=reason)


def planner(study: ChainStudy) -> Planner:
    return Planner(study.config, INFO)


def left(study: ChainStudy) -> list[tuple[int | None, int]]:
    return [(repeat.trial, repeat.replicate) for repeat in choose_replicates(study, planner(study))]


def test_the_best_plain_kd_and_the_student_alone_are_taught_again() -> None:
    study = study_of([50.0, 60.0, 80.0, 70.0])
    assert left(study) == [
        (trial, replicate) for replicate in (1, 2, 3) for trial in (2, 3, 0, None)
    ], "seed after seed"


def test_what_comes_to_the_same_student_stands_once() -> None:
    assert left(study_of([90.0, 60.0, 80.0], confirm_seeds=2)) == [
        (0, 1), (2, 1), (None, 1), (0, 2), (2, 2), (None, 2),
    ]  # fmt: skip
    # A chain with guidance "none" is the baseline on labels.
    space = make_space((), guidances=("none",), drop_probs=(0.0,))
    study = study_of([90.0], space=space)
    assert left(study) == [(0, 1), (0, 2), (0, 3)]
    found = Replication.from_study(study)
    assert found is not None
    assert found.baseline is None, "nothing is known yet"
    save_replicate(study, 0, 1, known(91.0))
    found = Replication.from_study(study)
    assert found is not None
    assert found.baseline is found.stats[0]


def test_nothing_is_described_before_anything_is_known() -> None:
    study = study_of([90.0])
    assert left(study)
    found = Replication.from_study(study)
    assert found is not None
    assert found.report(study) is None


def test_without_a_reference_or_kd_they_are_left_out() -> None:
    study = study_of([None, 60.0, 80.0], reference=False)
    assert {trial for trial, _ in left(study)} == {1, 2}
    found = Replication.from_study(study)
    assert found is not None
    assert (found.kd, found.baseline) == (None, None)


def test_nothing_is_taught_again_where_nothing_completed() -> None:
    study = study_of([None])
    assert left(study) == []
    assert study.read(REPLICATION) is None


def test_what_is_known_is_not_done_again(tmp_path: Path) -> None:
    study = study_of([50.0, 60.0], path=tmp_path / "study.db", confirm_top=1, reference=False)
    assert left(study) == [(1, 1), (0, 1), (1, 2), (0, 2), (1, 3), (0, 3)]
    save_replicate(study, 1, 1, known(61.0, 2.0))
    save_replicate(study, 0, 2, known(52.0, 3.0))
    again = make_study(
        path=tmp_path / "study.db", epochs=1, confirm_top=1, confirm_seeds=3, reference=False
    )
    assert left(again) == [(0, 1), (1, 2), (1, 3), (0, 3)]
    assert sorted(each.stats.seconds for each in replicates(again)) == [2.0, 3.0]


def test_replicates_are_of_the_student_alone() -> None:
    study = study_of([50.0, 60.0])
    plans = planner(study)
    for repeat in choose_replicates(study, plans):
        own, *others = reversed(plans.stages(repeat.configuration, repeat.replicate))
        first, *shared = reversed(plans.stages(repeat.configuration))
        assert others == shared, "assistants are the search's"
        assert own.key != first.key


def test_the_winner_is_chosen_by_its_mean_and_the_first_run_does_not_count() -> None:
    study = study_of([50.0, 99.0, 80.0], reference=False)  # the lucky one is trial 1
    values = {1: (70.0, 71.0, 72.0), 2: (80.0, 79.0, 81.0), 0: (50.0, 51.0, 52.0)}
    for repeat in choose_replicates(study, planner(study)):
        found = Replication.from_study(study)
        assert found is not None
        assert not found.complete
        begun = {repeats.trial for repeats in found.stats}
        assert (found.winner is not None) == (begun == {0, 1, 2}), "not before each has a value"
        value = values[repeat.trial or 0][repeat.replicate - 1]
        save_replicate(study, repeat.trial, repeat.replicate, known(value))
    found = Replication.from_study(study)
    assert found is not None
    assert found.complete
    assert found.winner is not None
    assert (found.winner.trial, found.winner.mean) == (2, 80.0)
    assert found.winner.median == 1
    kd = found.kd
    assert kd is not None
    assert kd.trial == 0
    gain, half = found.winner.gain_over(kd)
    assert gain == 29
    # Two samples of variance 1, three values each: t(0.975, 4) = 2.776 times sqrt(2/3).
    assert half == pytest.approx(2.776 * (2 / 3) ** 0.5, abs=1e-3)


def test_a_study_without_confirmation_says_nothing() -> None:
    assert Replication.from_study(study_of([50.0])) is None
    study = study_of([50.0])
    left(study)
    off = ChainStudy(study.config)
    assert Replication.from_study(off) is None


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_the_median_replicate_has_as_many_below_as_above(values: list[float]) -> None:
    repeats = ReplicateStats(0, dict(enumerate(values, 1)))
    middle = repeats.values[repeats.median]
    below, above = sum(v < middle for v in values), sum(v > middle for v in values)
    assert below <= (len(values) - 1) // 2
    assert above <= len(values) // 2


def test_a_configuration_that_a_seed_fails_is_no_winner() -> None:
    study = study_of([50.0, 90.0, 80.0], reference=False, confirm_seeds=2)
    for repeat in choose_replicates(study, planner(study)):
        if repeat.trial == 1 and repeat.replicate == 2:
            save_replicate(study, 1, 2, failed("loss is not finite", False))
        else:
            save_replicate(study, repeat.trial, repeat.replicate, known(70.0 + (repeat.trial or 0)))
    found = Replication.from_study(study)
    assert found is not None
    assert found.winner is not None
    assert found.winner.trial == 2, "trial 1 has the higher mean of what is left"
    assert not found.complete
    unsound = found.get(1)
    assert unsound is not None and unsound.failed == {2: "loss is not finite"}
    assert left(study) == [], "it would fail again"


def test_what_a_worker_s_death_failed_is_tried_again() -> None:
    study = study_of([50.0], reference=False, confirm_seeds=2)
    assert left(study) == [(0, 1), (0, 2)]
    save_replicate(study, 0, 1, failed("its worker died", True))
    save_replicate(study, 0, 2, known(60.0))
    assert left(study) == [(0, 1)]
    save_replicate(study, 0, 1, known(61.0))
    found = Replication.from_study(study)
    assert found is not None and found.complete


def test_a_choice_of_before_the_budget_was_raised_does_not_count() -> None:
    study = study_of([50.0], reference=False, confirm_seeds=2)
    for repeat in choose_replicates(study, planner(study)):
        save_replicate(study, repeat.trial, repeat.replicate, known(60.0))
    assert Replication.from_study(study) is not None
    proposal = study.ask()
    assert proposal is not None
    study.complete(proposal.number, 99.0, TrialStats())
    assert Replication.from_study(study) is None
    assert left(study) == [(1, 1), (1, 2)], "what is known is kept"
