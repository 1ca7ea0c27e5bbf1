from __future__ import annotations

from dataclasses import replace

from helpers.summaries import SUMMARY

from dgkd_search.distillation.chain import Chain
from dgkd_search.results.wording import chain_in_words, gains, read_result, trial_counts


def test_a_chain_is_told_with_what_it_was_trained_with() -> None:
    dense = Chain(("resnet20", "resnet14", "resnet8"))
    words = chain_in_words(dense, drop_prob=0.25, loss="dist", tuned=("lr 0.1",), trial=3)
    assert words == "resnet20 > resnet14 > resnet8  (dense, drop 0.25, loss dist, lr 0.1, trial 3)"
    labels = chain_in_words(Chain(("resnet8",)), drop_prob=None, loss="dist", tuned=(), trial=0)
    assert labels == "resnet8  (trial 0)", "nobody guides it, and no loss distills"


def test_a_test_set_that_was_read_again_says_so() -> None:
    assert read_result(61.504, 1) == "61.50 % (test set read once)"
    assert read_result(61.504, 3) == "61.50 % (test set read 3 times)"


def test_gains_are_over_what_was_trained_alone() -> None:
    assert gains(70.0, baseline=None, kd=71.5, full=None).startswith("-1.50 over plain KD (71.50);")
    assert gains(70.0, baseline=None, kd=None, full=None).startswith("unknown")


def test_no_share_is_told_before_a_trial_has_ended() -> None:
    none = replace(SUMMARY.work, completed=0, pruned=0)
    assert trial_counts(none, 12) == "0 of 12: 0 completed, 0 pruned, 1 failed"
