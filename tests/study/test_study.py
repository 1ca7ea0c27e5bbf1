from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from helpers.curves import ask, rising, run
from helpers.studies import accuracy, make_space, make_study, stats_of
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.results.database import read_definition
from dgkd_search.study.records import REFERENCE, Attribute, StudentRecord
from dgkd_search.study.space import SearchSpace
from dgkd_search.study.study import STUDY_NAME, ChainStudy
from dgkd_search.study.timing import ElapsedTime


def test_states_and_intermediate_values_can_be_read_with_optuna_alone(tmp_path: Path) -> None:
    study = make_study(path=tmp_path / "study.db", pruner="median")
    for level in (60, 62, 64, 66, 68, 70):
        run(study, rising(level))
    number, epochs = run(study, [20.0, 19.0, 18.0] + [17.0] * 6)
    study.fail(ask(study).number, "loss is not finite")

    stored = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert stored.direction == optuna.study.StudyDirection.MAXIMIZE
    states = [trial.state for trial in stored.trials]
    assert states == [TrialState.COMPLETE] * 6 + [TrialState.PRUNED, TrialState.FAIL]
    pruned = stored.trials[number]
    assert epochs < 9
    expected = dict(enumerate([20.0, 19.0, 18.0] + [17.0] * 6, start=1))
    assert pruned.intermediate_values == {s: v for s, v in expected.items() if s <= epochs}
    assert stored.trials[0].intermediate_values == dict(enumerate(rising(60), start=1))
    assert stored.trials[0].value == 68
    assert stored.trials[7].user_attrs["reason"] == "loss is not finite"
    assert stored.trials[1].user_attrs["chain"].startswith("resnet56 > resnet44 > resnet32")
    names = {f"use_resnet{n}" for n in (44, 32, 20, 14)} | {"drop_prob"}
    assert all(set(trial.params) == names for trial in stored.trials)


def test_a_known_step_counts_once_and_the_later_value_stays(tmp_path: Path) -> None:
    study = make_study(path=tmp_path / "study.db", pruner="median")
    for level in range(60, 66):
        run(study, rising(level))
    number = ask(study).number
    assert not study.report(number, 1, 50.0)
    assert not study.report(number, 1, 50.0)
    assert study.trials[number].intermediate_values == {1: 50.0}
    assert not study.report(number, 1, 51.0)  # replayed from the store, which has checksums
    assert study.trials[number].intermediate_values == {1: 51.0}


def test_finished_counts_completed_and_pruned_trials() -> None:
    study = make_study()
    numbers = [ask(study).number for _ in range(4)]
    for number in numbers:
        study.report(number, 1, 50.0)
    assert (study.finished, study.live) == (0, 4)
    study.complete(numbers[0], 50.0, TrialStats())
    study.prune(numbers[1], TrialStats())
    study.fail(numbers[2], "broken")
    assert (study.finished, study.live) == (2, 1)


def test_facts_and_reasons_are_kept_with_their_trial() -> None:
    study = make_study()
    numbers = [ask(study).number for _ in range(3)]
    study.report(numbers[1], 1, 40.0)
    study.complete(numbers[0], 50.0, TrialStats(seconds=1.5))
    study.prune(numbers[1], TrialStats(seconds=2.5))
    study.fail(numbers[2], "broken", TrialStats(seconds=3.5))
    assert [stats_of(study, t).seconds for t in study.trials] == [1.5, 2.5, 3.5]
    assert [t.user_attrs.get("reason") for t in study.trials] == [None, None, "broken"]
    assert study.trials[1].value == 40.0


def test_of_equal_trials_the_one_with_fewer_assistants_and_then_the_earlier_is_best() -> None:
    study = make_study()
    kd, full, middle, other = (ask(study).number for _ in range(4))
    assert study.best() is None
    study.complete(full, 70.0, TrialStats())
    study.complete(middle, 70.0, TrialStats())
    best = study.best()
    assert best is not None
    assert best.number == middle
    study.complete(kd, 69.0, TrialStats())
    study.fail(other, "broken")
    best = study.best()
    assert best is not None
    assert best.number == middle


def test_equal_trials_of_one_length_rank_by_number() -> None:
    study = make_study(make_space(max_assistants=1, drop_probs=(0.0, 0.5)))
    numbers = [ask(study).number for _ in range(5)]
    for number in reversed(numbers[1:]):
        study.complete(number, 70.0, TrialStats())
    best = study.best()
    assert best is not None
    assert best.number == 1


def test_a_trial_that_was_pruned_is_never_best() -> None:
    study = make_study()
    one, two = ask(study).number, ask(study).number
    study.report(one, 1, 99.0)
    study.prune(one, TrialStats())
    study.complete(two, 10.0, TrialStats())
    best = study.best()
    assert best is not None
    assert best.number == two


def test_assistants_that_the_student_does_not_depend_on_do_not_count_for_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = make_space(("resnet20", "resnet14"), guidances=("teacher", "sequential"))
    off, on = {"use_resnet20": 0, "use_resnet14": 0}, {"use_resnet20": 1, "use_resnet14": 1}
    one = off | {"use_resnet14": 1, "guidance": "sequential"}
    params = {"one": one, "kd": on | {"guidance": "teacher"}}
    monkeypatch.setattr(SearchSpace, "initial_params", lambda self: params)
    study = make_study(space)
    for _ in params:
        study.complete(ask(study).number, 70.0, TrialStats())
    best = study.best()
    assert best is not None
    assert best.number == 1


def test_the_first_trials_are_found_by_name() -> None:
    study = make_study()
    assert study.baseline_trial("full") is None
    numbers = {name: ask(study).number for name in ("kd", "full", "middle")}
    for name, number in numbers.items():
        found = study.baseline_trial(name)
        assert found is not None
        assert found.number == number
    assert study.baseline_trial("alone") is None


def fresh(study: ChainStudy) -> list[Any]:
    return study._study.get_trials(deepcopy=False)


def test_the_list_of_trials_is_never_stale(tmp_path: Path) -> None:
    study = make_study(path=tmp_path / "study.db", pruner="sha")
    assert study.trials == fresh(study) == []
    numbers = []
    for _ in range(4):
        numbers.append(ask(study).number)
        assert study.trials == fresh(study)
    study.report(numbers[3], 1, 50.0)
    assert study.trials == fresh(study)
    assert study.trials[3].intermediate_values == {1: 50.0}
    study.complete(numbers[0], 50.0, TrialStats(seconds=1.0))
    assert study.trials == fresh(study)
    study.report(numbers[1], 1, 40.0)
    study.prune(numbers[1], TrialStats())
    assert study.trials == fresh(study)
    study.fail(numbers[2], "broken")
    assert study.trials == fresh(study)
    study.fail_unfinished()
    assert study.trials == fresh(study)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]


def test_facts_of_the_study_survive(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    record = StudentRecord(TrialStats(seconds=2.0), 12.5)
    make_study(path=path).write(REFERENCE, record)
    again = make_study(path=path)
    assert again.read(REFERENCE) == record
    assert again.read(Attribute("another", StudentRecord)) is None


def test_a_draw_that_was_cut_off_is_finished_as_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if another configuration would be next: here, a failed one that is to be retried."""
    path = tmp_path / "study.db"
    study = make_study(path=path)
    failed = study.ask()
    assert failed is not None
    study.fail(failed.number, "the disk is full", TrialStats(retryable=True))
    with monkeypatch.context() as patch:
        tell = _CachedStorage.set_trial_param
        told: list[tuple[Any, ...]] = []

        def cut_off(*arguments: Any) -> None:
            if told:
                raise KeyboardInterrupt
            told.append(arguments)
            tell(*arguments)

        patch.setattr(_CachedStorage, "set_trial_param", cut_off)
        with pytest.raises(KeyboardInterrupt):
            study.ask()
    again = make_study(path=path)
    assert len(again.trials[1].params) == 1
    (adopted,) = again.resume_running()
    trial = again.trials[adopted.number]
    assert trial.params == trial.system_attrs["draw"]
    assert adopted.configuration != failed.configuration
    following = again.ask()
    assert following is not None and following.configuration == failed.configuration


def two_objectives(path: Path | None = None, epochs: int = 9) -> ChainStudy:
    return make_study(path=path, epochs=epochs, objectives=("accuracy", "cost"))


def test_two_objectives_can_be_read_with_optuna_alone(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = two_objectives(path, epochs=2)
    for number, (value, cost) in enumerate([(60.0, 5.0), (70.0, 9.0), (65.0, 4.0)]):
        assert ask(study).number == number
        assert not study.report(number, 1, 10.0)
        assert not study.report(number, 2, value)
        study.complete(number, value, TrialStats(tflop=cost))
    found = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{path}")
    assert [trial.values for trial in found.trials] == [[60.0, 5.0], [70.0, 9.0], [65.0, 4.0]]
    assert {trial.number for trial in found.best_trials} == {1, 2}
    best = study.best()
    assert best is not None and best.number == 1, "what is shipped is the most accurate"
    assert study.damage() is None


def test_a_study_of_two_objectives_goes_on_as_if_it_had_never_been_closed(tmp_path: Path) -> None:
    def run(study: ChainStudy, until: int) -> list[dict[str, Any]]:
        while study.finished < until and (proposal := study.ask()) is not None:
            chain = proposal.configuration.chain.canonical()
            value = accuracy(proposal.configuration, 1)
            study.complete(proposal.number, value, TrialStats(tflop=float(len(chain.models))))
        return [trial.params for trial in study.trials]

    path = tmp_path / "study.db"
    run(two_objectives(path), 9)
    assert run(two_objectives(path), 16) == run(two_objectives(), 16)


def test_a_changed_cost_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = two_objectives(path, epochs=1)
    study.ask()
    study.complete(0, 60.0, TrialStats(tflop=5.0))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE trial_values SET value = 4.0 WHERE objective = 1")
    assert two_objectives(path, epochs=1).damage() == "trial 0 fails its checksum"


@pytest.mark.parametrize("name", ["caf\udce9", "a?mode=ro", "a%20b", "a#b", "a\nb", "\x1b[2J"])
def test_a_database_is_read_from_any_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "study.db"
    path.parent.mkdir()
    proposal = ask(make_study(path=path))
    assert path.exists()
    assert [trial.number for trial in make_study(path=path).trials] == [proposal.number]
    assert read_definition(path) == {"format": 0}, "a trial, and no definition yet"


def test_attributes_of_users_are_no_damage_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = two_objectives(path, epochs=1)
    own = {"owner": "me", "repeat notes": [1], "repeat 1": {"a": 1}, "note": {"checksum": 1}}
    for name, value in own.items():
        study._study.set_user_attr(name, value)
    study.ask()
    study.complete(0, 60.0, TrialStats(tflop=5.0))
    again = two_objectives(path, epochs=1)
    assert again.damage() is None
    ElapsedTime(7.0).note(again)
    assert ElapsedTime.from_study(again).seconds == 7.0  # reads every record of the study
    assert own.items() <= two_objectives(path, epochs=1)._study.user_attrs.items()
