from __future__ import annotations

from dataclasses import replace

from dgkd_search.results.verdict import verdict
from dgkd_search.study.replication import ReplicateStats, Replication


def confirmation(*rows: tuple[int | None, list[float]]) -> Replication:
    """Return replicates of trials by number and of the baseline; trial 0 is plain KD."""
    return of(*(ReplicateStats(trial, dict(enumerate(values, 1))) for trial, values in rows))


def of(*repeats: ReplicateStats) -> Replication:
    by_trial = {found.trial: found for found in repeats}
    trials = sum(found.trial is not None for found in repeats)
    return Replication(repeats, by_trial.get(0), by_trial.get(None), trials, True)


def test_a_clear_winner() -> None:
    rows = dict(verdict(confirmation((4, [80, 81, 82]), (0, [70, 71, 72]), (None, [60, 61, 62]))))
    assert rows["fresh seeds"] == (
        "81.00 ± 2.48 %, mean of 3 seeds; plain KD 71.00 ± 2.48; labels alone 61.00 ± 2.48"
    )
    assert rows["gain"] == (
        "+20.00 ± 2.27 over labels alone, +10.00 ± 2.27 over plain KD (95 % intervals)"
    )
    assert rows["conclusion"] == "better than labels alone and plain KD"


def test_what_cannot_be_told_apart_is_said_in_plain_words() -> None:
    rows = dict(verdict(confirmation((4, [71.5, 71, 72]), (0, [70, 71, 72]), (None, [60, 61, 62]))))
    assert rows["conclusion"].startswith(
        "better than labels alone; no significant difference from plain KD: "
    )


def test_a_student_alone_that_is_better() -> None:
    measured = confirmation((4, [60, 61, 62]), (0, [70, 71, 72]), (None, [80, 81, 82]))
    rows = dict(verdict(measured))
    assert rows["conclusion"] == "no chain is better than labels alone, so that student is shipped"
    assert rows["fresh seeds"].startswith("81.00 ± 2.48 %, mean of 3 seeds; trial 4 61.00")
    assert rows["gain"].startswith("+10.00 ± ")


def test_a_student_alone_that_was_no_candidate() -> None:
    measured = confirmation((4, [60, 61, 62]), (None, [80, 81, 82]))
    rows = dict(verdict(replace(measured, baseline_competes=False)))
    assert rows["conclusion"] == "worse than labels alone: distillation gained nothing"
    assert rows["gain"].startswith("-20.00 ± ")


def test_plain_kd_as_the_winner() -> None:
    rows = dict(verdict(confirmation((0, [80, 81, 82]), (4, [70, 71, 72]))))
    assert rows["conclusion"] == "the best chain is plain KD"
    assert "gain" not in rows
    assert "trial 4 71.00 ± 2.48" in rows["fresh seeds"]


def test_a_winner_may_be_worse_than_plain_kd_and_still_gain_from_distillation() -> None:
    """A configuration with a failed seed can't win, whatever its mean is."""
    plain_kd = ReplicateStats(0, {1: 80.0, 2: 81.0, 3: 82.0}, {4: "no memory"})
    winner = ReplicateStats(4, {1: 70.0, 2: 71.0, 3: 72.0, 4: 71.0})
    baseline = ReplicateStats(None, {1: 60.0, 2: 61.0, 3: 62.0, 4: 61.0})
    rows = dict(verdict(of(winner, plain_kd, baseline)))
    assert rows["conclusion"] == "better than labels alone; worse than plain KD"


def test_single_values_show_no_interval_and_prove_nothing() -> None:
    rows = dict(verdict(confirmation((4, [80]), (0, [70]), (None, [60]))))
    assert "±" not in rows["fresh seeds"] + rows["gain"]
    assert rows["conclusion"].startswith("no significant difference from labels alone and plain KD")


def test_nothing_is_said_before_there_is_a_winner() -> None:
    assert verdict(Replication((ReplicateStats(4, {1: 80.0}),), None, None, 2, False)) == []


def test_failures_are_told() -> None:
    repeats = (
        ReplicateStats(4, {1: 80.0, 2: 81.0}),
        ReplicateStats(7, {1: 90.0}, {2: "loss is not finite"}),
        ReplicateStats(0, {}, {1: "no memory", 2: "no memory"}),
    )
    rows = dict(verdict(of(*repeats)))
    assert rows["fresh seeds"].endswith(
        "trial 7 90.00; trial 7 failed with 1 seed (loss is not finite); "
        "plain KD failed with 2 seeds (no memory)"
    )
    assert "plain KD" not in rows["conclusion"]
