from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from helpers.summaries import SUMMARY

from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.stats import StageResult, TrialStats
from dgkd_search.results.summary import Summary
from dgkd_search.results.verdict import tuned_note, tuned_values
from dgkd_search.results.work import total_work
from dgkd_search.study.baselines import teacher_accuracy
from dgkd_search.study.config import ChainSpace, StudyConfig
from dgkd_search.study.records import REFERENCE, StudentRecord
from dgkd_search.study.space import Configuration
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.training.losses.base import LossSpec
from dgkd_search.training.recipe import Distillation, Numerics, Recipe

RECIPE = Recipe(4, 32, 0.1, 1e-4, "constant", "none")
CHAIN = Chain(("resnet56", "resnet20", "resnet8"))


def lines(summary: Summary) -> dict[str, str]:
    """Return the value of each line by name."""
    return {line[:12].strip(): line[12:] for line in summary.lines()}


def with_accuracies(**values: Any) -> Summary:
    return replace(SUMMARY, accuracies=replace(SUMMARY.accuracies, **values))


def test_a_whole_summary() -> None:
    assert lines(SUMMARY) == {
        "best chain": "resnet56 > resnet20 > resnet8  (dense, drop 0.25, trial 7)",
        "validation": "80.00 % of 1600 images (95 % interval 78.0 to 81.9)",
        "test": "78.50 % (test set read once)",
        "gain": "+5.00 over labels alone (75.00), +2.75 over plain KD (77.25), "
        "-0.50 over the full chain (80.50); single runs, so part of "
        "each difference may be due to the seed",
        "trials": "12 of 12: 9 completed, 3 pruned (25 %), 1 failed",
        "stages": "20 trained, 11 cached",
        "teachers": "45,000 images run through teachers; their outputs were used 1,234,567 times",
        "time": "100 s; workers (2 at once): computing 150 s, waiting 12 s, other 36 s",
        "files": "runs/one",
    }


def test_another_loss_is_told_where_a_teacher_teaches() -> None:
    dist = replace(SUMMARY.configuration.distillation, loss=LossSpec("dist"))
    found = replace(SUMMARY, configuration=replace(SUMMARY.configuration, distillation=dist))
    assert lines(found)["best chain"].endswith("(dense, drop 0.25, loss dist, trial 7)")
    assert (found.to_dict()["loss"], SUMMARY.to_dict()["loss"]) == ("dist", "kl")
    alone = replace(found.configuration, chain=Chain(("resnet8",), "none"))
    assert "dist" not in lines(replace(found, configuration=alone))["best chain"]


def test_tuned_values_are_told_and_what_gains_are_of() -> None:
    config = StudyConfig(
        data=DataConfig("digits"),
        family="resnet",
        space=ChainSpace("resnet56", "resnet8", (), 0, tune=("kd-weight", "temperature")),
        recipe=RECIPE,
        student_recipe=RECIPE,
        distillation=Distillation(),
        numerics=Numerics(),
        budget=1,
    )
    configuration = Configuration(CHAIN, Distillation(0.8, 5.5), 0.1)
    told = tuned_values(configuration, config.space.tune), tuned_note(config, configuration)
    found = lines(replace(SUMMARY, configuration=configuration, tuned=told))
    assert found["best chain"].endswith("(dense, drop 0, kd-weight 0.8, temperature 5.5, trial 7)")
    assert found["note"].endswith("used those of the recipe (kd-weight 0.9, temperature 4)")
    assert [*found].index("note") == [*found].index("gain") + 1
    assert tuned_note(config, Configuration(CHAIN, Distillation(), 0.1)) is None, "as the recipe"
    untuned = replace(config, space=ChainSpace("resnet56", "resnet8", (), 0))
    assert tuned_note(untuned, configuration) is None
    alone = tuned_note(replace(config, reference=False), configuration)
    assert alone is not None and "labels alone" not in alone


def test_one_line_has_the_chain_its_accuracies_and_the_place() -> None:
    assert SUMMARY.line() == (
        "resnet56 > resnet20 > resnet8  (dense, drop 0.25, trial 7)  validation 80.00 %, "
        "test 78.50 %; files in runs/one"
    )
    unread = replace(with_accuracies(test=None), ended="every configuration has been tried")
    assert unread.line().endswith(
        "80.00 %; files in runs/one; ended early: every configuration has been tried"
    )


@pytest.mark.parametrize(
    ("missing", "parts"),
    [
        ("baseline", ["plain KD", "the full chain"]),
        ("kd", ["labels alone", "the full chain"]),
        ("full", ["labels alone", "plain KD"]),
    ],
)
def test_a_gain_is_told_only_over_what_was_trained(missing: str, parts: list[str]) -> None:
    gain = lines(with_accuracies(**{missing: None}))["gain"]
    assert [
        part.split("over ")[1].split(" (")[0] for part in gain.partition(";")[0].split(", ")
    ] == parts


def test_without_anything_to_compare_with_the_gain_is_unknown() -> None:
    gain = lines(with_accuracies(baseline=None, kd=None, full=None))["gain"]
    assert gain == "unknown: no baseline was trained"


def test_why_there_is_no_test_accuracy() -> None:
    unread = with_accuracies(test=None)
    assert lines(unread)["test"] == "no test set"
    damaged = replace(unread, test_problem="test/a/1.png: not an image")
    assert "could not be read" in lines(damaged)["test"]


def test_notes_follow_the_gain_and_come_before_the_trials() -> None:
    noted = replace(
        with_accuracies(validation=70.0), unreplicated=True, tuned=((), "of the tuned values, too")
    )
    names = [line[:12].strip() for line in noted.lines()]
    assert names[3:8] == ["gain", "note", "note", "note", "trials"]
    notes = [line[12:] for line in noted.lines()[4:7]]
    assert [note.split()[0] for note in notes] == ["the", "of", "no"]


def test_an_early_end_comes_first() -> None:
    work = replace(SUMMARY.work, completed=2, pruned=0)
    ended = replace(SUMMARY, ended="the time budget of 60 s is used up", work=work)
    assert ended.lines()[0] == "ended early the time budget of 60 s is used up"
    assert lines(ended)["trials"] == "2 of 12: 2 completed, 0 pruned (0 %), 1 failed"
    assert not any(line.startswith("ended early") for line in SUMMARY.lines())


def test_a_student_of_the_teacher_alone_has_neither_guidance_nor_drop() -> None:
    chain = Chain(("resnet56", "resnet20", "resnet8"), "teacher")
    kd = replace(SUMMARY, configuration=Configuration(chain, Distillation(drop_prob=0.5), 0.1))
    assert lines(kd)["best chain"] == "resnet56 > resnet8  (trial 7)"


@pytest.mark.parametrize(("accuracy", "count"), [(50.0, 100), (80.0, 1600), (0.0, 50)])
def test_the_interval_is_wilsons(accuracy: float, count: int) -> None:
    summary = replace(with_accuracies(validation=accuracy), validation_count=count)
    share, z = accuracy / 100, 1.959964
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    variance = share * (1 - share) / count + z * z / (4 * count * count)
    half = z * math.sqrt(variance) / (1 + z * z / count)
    assert summary.interval == pytest.approx((100 * (center - half), 100 * (center + half)))


@pytest.mark.parametrize("accuracy", [100.0, 100.00000001])
def test_a_perfect_share_is_not_certain(accuracy: float) -> None:
    low, high = with_accuracies(validation=accuracy).interval
    assert 99 < low < high == 100


def make_study() -> ChainStudy:
    recipe = Recipe(1, 32, 0.1, 1e-4, "cosine", "none")
    space = ChainSpace("resnet56", "resnet8", ("resnet20", "resnet14"), 2)
    config = StudyConfig(
        DataConfig("digits"), "resnet", space, recipe, recipe, Distillation(), Numerics(), 6
    )
    return ChainStudy(config)


def stage(name: str, trained: int, accuracy: float = 90.0, finished: bool = True) -> StageResult:
    return StageResult(name, f"key of {name}", accuracy, 3, trained, 1.0 * trained, finished)


def having(*stages: StageResult) -> TrialStats:
    return TrialStats(stages)


def ask(study: ChainStudy) -> int:
    proposal = study.ask()
    assert proposal is not None
    return proposal.number


def test_the_teachers_accuracy_comes_from_any_trial_that_met_it() -> None:
    study = make_study()
    assert teacher_accuracy(study) is None
    study.fail(ask(study), "broken")
    study.complete(ask(study), 70.0, having(stage("resnet8", 1)))
    assert teacher_accuracy(study) is None
    study.fail(ask(study), "broken", having(stage("resnet56", 1, 40.0, finished=False)))
    assert teacher_accuracy(study) is None
    study.fail(ask(study), "broken", having(stage("resnet56", 1, 91.5)))
    assert teacher_accuracy(study) == 91.5


def test_a_summary_counts_trials_and_the_stages_of_all_of_them() -> None:
    study = make_study()
    one, two, three, four = (ask(study) for _ in range(4))
    study.fail(four, "not begun: interrupted", TrialStats(begun=False))  # does not count as a trial
    stages = (stage("resnet56", 3), stage("resnet8", 1))
    study.complete(one, 70.0, TrialStats(stages, 5.0, 1.0, taught=700, forwards=100, seconds=7.5))
    study.report(two, 1, 50.0)
    begun = (stage("resnet56", 0), stage("resnet8", 1, finished=False))
    study.prune(two, TrialStats(begun, 2.0, 4.0, seconds=11.0))
    study.fail(three, "broken")
    reference = TrialStats((stage("resnet8", 1),), computing=1.5)
    study.write(REFERENCE, StudentRecord(reference, 60.0))
    work = total_work(study, ElapsedTime(60.0, 3 * 4.0), concurrency=3)
    assert (work.completed, work.pruned, work.failed, work.finished) == (1, 1, 1, 2)
    assert (work.trained, work.reused) == (3, 1)
    assert (work.computing, work.waiting) == (8.5, 5.0)
    assert (work.taught, work.forwards) == (700, 100)
    assert (work.starting, work.concurrency) == (3 * 4.0 + 18.5 - 8.5 - 5.0, 3)


def test_programs_read_the_names_that_they_know() -> None:
    told = SUMMARY.to_dict()
    accuracies = told["accuracies"]
    assert isinstance(accuracies, dict)
    assert [*accuracies] == ["validation", "test", "alone", "kd", "full", "teacher"]
    assert {"run", "trial", "chain", "gave_up", "ended", "repeats", "work"} <= told.keys()
