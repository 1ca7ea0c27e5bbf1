from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from helpers.studies import LR, accuracy, make_space, make_study, run_trial, run_trials
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study import sampler as module
from dgkd_search.study.strategies import STARTUP_TRIALS
from dgkd_search.study.study import STUDY_NAME, ChainStudy

SMALL = make_space(("resnet20", "resnet14"), drop_probs=(0.0, 0.25, 0.5))
KINDS = make_space(("resnet20", "resnet14"), guidances=("dense", "teacher", "none", "sequential"))
BOUNDED = make_space(max_assistants=1, drop_probs=(0.0, 0.1, 0.5))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("space", [SMALL, KINDS, BOUNDED], ids=["drops", "guidances", "bound"])
def test_every_configuration_is_tried_once_and_then_none_is_left(
    space: Any, seed: int, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 3)  # sampling with TPE is slow
    study = make_study(space, epochs=1, seed=seed, sampler=sampler)
    done = run_trials(study, 1000)
    assert study.ask() is None
    assert study.exhausted
    found = [study.configuration(trial) for trial in study.trials]
    identities = [configuration.identity for configuration in found]
    assert len(set(identities)) == len(identities) == len(done)
    assert set(identities) == {
        study.space.configuration(params).identity for params in study.space.all_params()
    }
    assert max(len(c.chain.assistants) for c in found) <= space.max_assistants


def test_trials_that_run_at_once_are_different_students() -> None:
    study = make_study(KINDS)
    proposals = []
    while (proposal := study.ask()) is not None:
        proposals.append(proposal.configuration.identity)
    assert len(set(proposals)) == len(proposals) == len(list(study.space.all_params()))
    assert study.live == len(proposals)


def test_a_failed_configuration_is_not_tried_again() -> None:
    study = make_study(KINDS)
    asked = []
    while (proposal := study.ask()) is not None:
        asked.append(proposal.configuration.identity)
        study.fail(proposal.number, "broken")
    assert len(set(asked)) == len(asked) == len(list(study.space.all_params()))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_reports_give_the_same_suggestions_whatever_else_is_random(sampler: str) -> None:
    random.seed(1)
    one = run_trials(make_study(pruner="median", sampler=sampler, seed=7), 14)
    random.seed(2)
    optuna.samplers.RandomSampler()  # uses entropy of the system
    two = run_trials(make_study(pruner="median", sampler=sampler, seed=7), 14)
    other = run_trials(make_study(pruner="median", sampler=sampler, seed=8), 14)
    assert one == two
    assert one[:3] == other[:3]  # the first trials are fixed
    assert one != other


@pytest.mark.parametrize("pruner", ["median", "hyperband", "sha", "patient"])
def test_a_reopened_study_goes_on_as_if_it_had_never_been_closed(
    pruner: str, tmp_path: Path, thorough: bool
) -> None:
    if not thorough and pruner in ("sha", "patient"):
        pytest.skip("as median and hyperband; pytest --thorough")
    whole = run_trials(make_study(path=tmp_path / "whole.db", pruner=pruner), 13)
    path = tmp_path / "parts.db"
    parts = run_trials(make_study(path=path, pruner=pruner), 8)
    parts += run_trials(make_study(path=path, pruner=pruner), 5)
    assert parts == whole
    assert any(epochs < 9 for _, epochs in whole), "nothing was pruned: the test shows too little"


def test_memory_and_sqlite_give_the_same_study(tmp_path: Path) -> None:
    stored = run_trials(make_study(path=tmp_path / "study.db", pruner="hyperband"), 12)
    assert stored == run_trials(make_study(pruner="hyperband"), 12)


class Spy(TPESampler):
    """Records the calls of TPE."""

    relative: list[tuple[int, set[str]]]
    independent: list[int]

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        params = super().sample_relative(study, trial, search_space)
        self.relative.append((trial.number, set(params)))
        return params

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        self.independent.append(trial.number)
        return super().sample_independent(study, trial, name, distribution)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_tpe_samples_all_parameters_jointly_after_its_start(
    pruner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Spy.relative, Spy.independent = [], []
    monkeypatch.setattr("optuna.samplers.TPESampler", Spy)
    space = make_space(guidances=("dense", "sequential"), drop_probs=(0.0, 0.25, 0.5))
    study = make_study(space, pruner=pruner, epochs=2)
    run_trials(study, 16)
    names = set(study.space.distributions)
    single = [t for t in study.trials if study.configuration(t).drop_prob is None]
    assert any(t.number < STARTUP_TRIALS for t in single), "no early trial had a single source"
    if pruner == "median":
        assert set(Spy.independent) <= set(range(STARTUP_TRIALS))
        late = [found for number, found in Spy.relative if number >= STARTUP_TRIALS]
    else:  # TPE starts once in each bracket
        late = [found for _, found in Spy.relative if found]
    assert len(late) >= 5
    assert all(found == names for found in late)


def test_refused_draws_leave_nothing_in_the_storage(tmp_path: Path) -> None:
    study = make_study(BOUNDED, tmp_path / "study.db", epochs=1)
    run_trials(study, 9)
    stored = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{tmp_path}/study.db")
    assert len(stored.trials) == 9
    assert [trial.system_attrs for trial in stored.trials] == [
        {"draw": trial.params} for trial in stored.trials
    ]
    assert stored._storage.get_study_system_attrs(stored._study_id) == {}


def test_a_tuned_learning_rate_is_never_exhausted_and_never_repeats() -> None:
    space = make_space(("resnet20",), drop_probs=(0.0,), tune=("lr",))
    study = make_study(space, epochs=1)
    assert len(run_trials(study, 12)) == 12
    assert not study.exhausted
    found = [study.configuration(trial) for trial in study.trials]
    assert len({configuration.identity for configuration in found}) == 12
    assert all(LR / 4 <= configuration.lr <= LR * 4 for configuration in found)


def test_an_endless_space_goes_on_where_no_draw_keeps_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 1)  # as with many candidates, a tight limit
    study = make_study(make_space(max_assistants=0, tune=("lr",)), epochs=1)
    assert len(run_trials(study, 6)) == 6
    rates = {study.configuration(trial).lr for trial in study.trials}
    assert len(rates) == 6
    assert all(LR / 4 <= rate <= LR * 4 for rate in rates)


def test_the_pick_among_the_unseen_depends_on_seed_and_number_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    one, two = (run_trials(make_study(seed=3, epochs=1), 12) for _ in range(2))
    assert one == two
    assert one != run_trials(make_study(seed=4, epochs=1), 12)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_draw_that_is_refused_becomes_the_unseen_configuration_most_like_it(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    draws = []
    draw = module.DistinctSampler._draw

    def spied(self: Any, *arguments: Any) -> dict[str, Any]:
        draws.append(draw(self, *arguments))
        return draws[-1]

    monkeypatch.setattr(module.DistinctSampler, "_draw", spied)
    study = make_study(make_space(max_assistants=2), epochs=1, sampler=sampler)
    space, refused = study.space, 0
    while not study.exhausted:
        before = {study.configuration(trial).identity for trial in study.trials}
        draws.clear()
        run_trials(study, 1)
        found = study.trials[-1].params
        if draws and found != draws[0]:
            refused += 1
            unseen = [
                p for p in space.all_params() if space.configuration(p).identity not in before
            ]
            assert space.distance(found, draws[0]) == min(
                space.distance(params, draws[0]) for params in unseen
            )
    assert refused >= 3


def test_suggestions_learn_from_values() -> None:
    def share_of_good(sampler: str) -> int:
        space = make_space(drop_probs=tuple(i / 20 for i in range(20)))
        study = make_study(space, epochs=1, sampler=sampler)
        for _ in range(30):
            proposal = study.ask()
            assert proposal is not None
            good = "resnet32" in proposal.configuration.chain.models
            study.report(proposal.number, 1, 80.0 if good else 20.0)
            study.complete(proposal.number, 80.0 if good else 20.0, TrialStats())
        return sum(t.value == 80.0 for t in study.trials[10:])

    assert share_of_good("tpe") > share_of_good("random") + 4


def test_the_first_trials_come_first_and_in_order() -> None:
    study = make_study()
    proposals = [study.ask() for _ in range(3)]
    chains = [p.configuration.chain.assistants for p in proposals if p is not None]
    assert chains == [(), ("resnet44", "resnet32", "resnet20", "resnet14"), ("resnet20",)]
    drops = [t.params["drop_prob"] for t in study.trials]
    assert drops == [0.25] * 3


def test_a_study_with_one_configuration_runs_it_and_ends() -> None:
    study = make_study(make_space(()), epochs=1)
    assert len(run_trials(study, 5)) == 1
    assert study.ask() is None
    assert [t.state for t in study.trials] == [TrialState.COMPLETE]


def check_values(study: ChainStudy) -> None:
    for trial in study.trials:
        assert trial.value == accuracy(study.configuration(trial), 1)


def test_a_trial_between_two_others_does_not_change_their_numbers() -> None:
    study = make_study(epochs=1)
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    run_trial(study, second)
    run_trial(study, first)
    check_values(study)
