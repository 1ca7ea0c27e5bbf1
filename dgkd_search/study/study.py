"""The Optuna study: samples configurations, prunes trials, stores results; it needs no Ray."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.pruners import replay_pruner
from dgkd_search.study.records import Attribute, R
from dgkd_search.study.sampler import DistinctSampler
from dgkd_search.study.space import Configuration, Params, SearchSpace
from dgkd_search.study.strategies import PRUNERS
from dgkd_search.study.trial_checksum import (
    CHECKSUM,
    FACTS,
    SAMPLED,
    facts_of,
    is_sound,
    trial_checksum,
)
from dgkd_search.utils.hashing import verify_checksum, with_checksum

# Constant: Hyperband assigns trials to brackets by a hash of the study's name.
STUDY_NAME = "dgkd-search"
REASON = "reason"  # attribute: why a trial failed, in one line
_DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)  # accuracy, cost
_CHAIN = "chain"  # attribute of every trial


@dataclass(frozen=True)
class Proposal:
    """A trial to run: its number in the study and its configuration."""

    number: int
    configuration: Configuration


class ChainStudy:
    """A study of chains, stored in SQLite.

    Values and intermediate values are validation accuracies in percent; steps are the student's
    epochs from 1. The first trials (plain KD, the full chain, the middle assistant alone) are never
    pruned, because every summary compares with them.

    Args:
        path: of the database; in memory if None.
        initial_params: parameters of the first trials, in place of the default ones.
    """

    def __init__(
        self,
        config: StudyConfig,
        path: Path | None = None,
        initial_params: Sequence[Params] | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.config = config
        self.space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
        self._first = {
            name: self.space.configuration(params).identity
            for name, params in self.space.initial_params().items()
        }
        self._live: dict[int, optuna.Trial] = {}
        self._steps: dict[int, dict[int, float]] = {}  # reported values of each live trial
        self._unjudged: dict[int, int] = {}  # last step of each resumed trial, not yet pruned
        self._finished: int | None = None  # cached, because it is read often
        self._checked, self._exhausted = -1, False
        self._drawn: int | None = None  # number of trials after the last draw of ``ask``
        self._cache: list[FrozenTrial] | None = None
        self._again: set[int] = set()  # failed trials whose configurations may be retried
        begin_with = list(
            self.space.initial_params().values() if initial_params is None else initial_params
        )
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=_storage(path) if path else None,
            sampler=DistinctSampler(
                self.space,
                config.sampler,
                config.seed,
                self._seen,
                begin_with,
                config.sampler_options,
            ),
            pruner=PRUNERS.get(config.pruner).create(
                config.student_recipe.epochs, config.pruner_options
            ),
            directions=_DIRECTIONS[: len(config.objectives)],
            load_if_exists=True,
        )
        # Hyperband creates its brackets at its first call, and until then assigns every trial to
        # bracket 0. Without this call, a reopened study would continue differently.
        self._study.pruner.prune(self._study, create_trial(state=TrialState.RUNNING))
        for trial in self.sampled_trials:
            if trial.state != TrialState.FAIL:
                continue
            stats = self.stats(trial)
            if stats is not None and stats.retryable:
                self._again.add(trial.number)
                begin_with.append(trial.params)
        self._cache = None

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number; cached until the next write."""
        if self._cache is None:
            self._cache = self._study.get_trials(deepcopy=False)
        return self._cache

    @property
    def live(self) -> int:
        """Number of trials that were asked for and have not ended."""
        return len(self._live)

    @property
    def finished(self) -> int:
        """Number of trials that count towards the budget: completed or pruned."""
        if self._finished is None:
            ends = (TrialState.COMPLETE, TrialState.PRUNED)
            self._finished = sum(t.state in ends for t in self.trials)
        return self._finished

    @property
    def exhausted(self) -> bool:
        """Whether every configuration has been tried."""
        count = self._drawn if self._drawn is not None else len(self.trials)
        if not self.space.is_continuous and count > self._checked:
            # Computed only after a trial was added, because it is read in every step of the search.
            self._checked = count
            seen = self._seen(-1)
            identities = (self.space.configuration(p).identity for p in self.space.all_params())
            self._exhausted = all(identity in seen for identity in identities)
        return self._exhausted

    def read(self, attribute: Attribute[R]) -> R | None:
        """Read a record of the study; None if there is none.

        Raises:
            ValueError: the record is damaged; see ``damage``.
        """
        name = attribute.name
        value = self._study.user_attrs.get(name)
        return None if value is None else attribute.kind.from_json(verify_checksum(value, name))

    def read_all(self, pattern: re.Pattern[str], kind: type[R]) -> dict[str, R]:
        """Read all records whose names match a pattern, by name.

        Raises:
            ValueError: a record is damaged; see ``damage``.
        """
        return {
            name: kind.from_json(verify_checksum(value, name))
            for name, value in self._study.user_attrs.items()
            if pattern.fullmatch(name)
        }

    def write(self, attribute: Attribute[R], record: R) -> None:
        """Write a record of the study; an equal one isn't written again."""
        value = with_checksum(record.to_json())
        if self._study.user_attrs.get(attribute.name) != value:
            self._study.set_user_attr(attribute.name, value)

    def ask(self) -> Proposal | None:
        """Sample the next trial; None if no configuration is left."""
        if self.exhausted:
            return None
        self._cache = self._drawn = None
        trial = self._study.ask(fixed_distributions=self.space.distributions)
        self._drawn = trial.number + 1
        return self._take(trial, {})

    def resume_running(self) -> list[Proposal]:
        """Resume the trials that an earlier session left running, by number.

        Each keeps its number, parameters and reported values. A trial whose parameters were not
        completely stored gets those that it would have got.
        """
        proposals = []
        for frozen in [t for t in self.trials if t.state == TrialState.RUNNING]:
            trial = optuna.Trial(self._study, frozen._trial_id)
            for name, distribution in self.space.distributions.items():
                if name not in frozen.params:
                    _suggest(trial, name, distribution)
            proposals.append(self._take(trial, dict(frozen.intermediate_values)))
            if frozen.intermediate_values:
                self._unjudged[frozen.number] = max(frozen.intermediate_values)
        return proposals

    def _take(self, trial: optuna.Trial, steps: dict[int, float]) -> Proposal:
        configuration = self.space.configuration(trial.params)
        self._live[trial.number], self._steps[trial.number] = trial, steps
        if _CHAIN not in trial.user_attrs:
            trial.set_user_attr(_CHAIN, str(configuration.chain.canonical()))
        if SAMPLED not in trial.user_attrs:
            trial.set_user_attr(SAMPLED, trial_checksum(trial.number, trial.params))
        if REASON in trial.user_attrs:  # left by a session that was stopped in ``fail``
            trial.set_user_attr(REASON, "")
        self._cache = None
        return Proposal(trial.number, configuration)

    def report(self, number: int, step: int, value: float) -> bool:
        """Record the student's validation accuracy after epoch ``step``.

        A step that was reported before is overwritten with the new value. The pruner is not asked
        again about it, except about the last step of a resumed trial.

        Returns:
            Whether Optuna's pruner says that the trial should stop. False at the last epoch, which
            completes the trial.
        """
        trial, last = self._live[number], step >= self.config.student_recipe.epochs
        if len(self.config.objectives) > 1:  # Optuna takes no reports with two objectives
            self._steps[number][step] = value
            return False
        if step in self._steps[number]:
            if value != self._steps[number][step]:  # trust the store, which has checksums
                self._steps[number][step] = value
                trial.storage.set_trial_intermediate_value(trial._trial_id, step, value)
                self._cache = None
            if self._unjudged.get(number) != step:
                return False
            del self._unjudged[number]
            if last:
                return False
            should_prune, notes = replay_pruner(self._study, number)
            for name, note in notes.items():
                trial.storage.set_trial_system_attr(trial._trial_id, name, note)
        else:
            self._steps[number][step] = value
            self._cache = None
            trial.report(value, step)
            if last:
                return False
            # Also called for the first trials: successive halving compares only with trials for
            # which it was called.
            should_prune = trial.should_prune()
        return should_prune and not self._is_first(trial)

    def save_progress(self, number: int, stats: TrialStats) -> None:
        """Store the stats of a trial that a later session will resume."""
        self._live[number].set_user_attr(FACTS, stats.to_json())
        self._cache = None

    def complete(self, number: int, value: float, stats: TrialStats) -> None:
        """Record a completed trial; ``stats.tflop`` is its second value if cost is an objective."""
        values = [value, stats.tflop or 0.0][: len(self.config.objectives)]
        self._tell(number, TrialState.COMPLETE, stats, values)

    def prune(self, number: int, stats: TrialStats) -> None:
        """Record a pruned trial; Optuna takes its last intermediate value as its value."""
        self._tell(number, TrialState.PRUNED, stats)

    def fail(self, number: int, reason: str, stats: TrialStats | None = None) -> None:
        """Record a failed trial with its reason, in one line."""
        self._live[number].set_user_attr(REASON, reason)
        self._tell(number, TrialState.FAIL, stats)

    def fail_unfinished(self) -> None:
        """Record every running trial as failed, including one without complete parameters."""
        self._live.clear()
        self._steps.clear()
        self._cache = self._finished = None
        for trial in self.trials:
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
        self._cache = None

    def stats(self, trial: FrozenTrial) -> TrialStats | None:
        """Return the stats of a trial, from its end or its interruption; None without any."""
        facts = facts_of(trial)
        return TrialStats.from_json(facts) if facts else None

    def configuration(self, trial: FrozenTrial) -> Configuration:
        return self.space.configuration(trial.params)

    def best(self) -> FrozenTrial | None:
        """Return the completed trial with the highest accuracy; None without any.

        Of equal trials, it is the one with fewer assistants, then the earlier one.
        """
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[FrozenTrial]:
        """Return the completed trials, the best first; see ``best``."""

        def rank(trial: FrozenTrial) -> tuple[float, int, int]:
            chain = self.configuration(trial).chain.canonical()
            return -accuracy_of(trial), len(chain.assistants), trial.number

        return sorted((t for t in self.trials if t.state == TrialState.COMPLETE), key=rank)

    def baseline_trial(self, name: str) -> FrozenTrial | None:
        """Return the trial of the configuration ``name`` of ``SearchSpace.initial_params``."""
        identity = self._first.get(name)
        if identity is None:
            return None
        matching = [t for t in self.sampled_trials if self.configuration(t).identity == identity]
        # Of a failed trial and its retry, take the retry.
        return min(matching, key=lambda trial: trial.state == TrialState.FAIL, default=None)

    @property
    def retried_trials(self) -> set[int]:
        """Numbers of failed trials that were retried."""
        last = {self.configuration(t).identity: t.number for t in self.sampled_trials}
        failed = [t for t in self.sampled_trials if t.state == TrialState.FAIL]
        return {t.number for t in failed if last[self.configuration(t).identity] != t.number}

    def damage(self) -> str | None:
        """Return a description of the first damaged trial; None if all checksums are correct.

        SQLite itself would not notice a changed number. Records of the study are verified when
        they are read; attributes that users have added are none of them.
        """
        damaged = next((trial for trial in self.trials if not is_sound(trial)), None)
        return f"trial {damaged.number} fails its checksum" if damaged is not None else None

    @property
    def sampled_trials(self) -> list[FrozenTrial]:
        """Trials with complete parameters; a session may be killed before all are stored."""
        return [t for t in self.trials if set(t.params) == set(self.space.distributions)]

    def _is_first(self, trial: optuna.Trial) -> bool:
        return self.space.configuration(trial.params).identity in self._first.values()

    def _seen(self, number: int) -> set[tuple[object, ...]]:
        """Return the identities of all trials except ``number`` and those to retry."""
        left_out = self._again | {number}
        return {
            self.configuration(t).identity for t in self.sampled_trials if t.number not in left_out
        }

    def _tell(
        self,
        number: int,
        state: TrialState,
        stats: TrialStats | None,
        values: list[float] | None = None,
    ) -> None:
        trial, steps = self._live[number], self._steps[number]
        facts = {} if stats is None else stats.to_json()
        final = values
        if state == TrialState.PRUNED and steps:
            final = [steps[max(steps)]]
        if len(self.config.objectives) > 1:
            steps = {}
        notes = trial.storage.get_trial_system_attrs(trial._trial_id)
        sound = trial_checksum(number, trial.params, final, steps, facts, state.name, notes)
        # In one attribute, because each write is a commit of about 5 ms.
        trial.set_user_attr(FACTS, {**facts, CHECKSUM: sound})
        end_state = None if state == TrialState.COMPLETE else state
        self._study.tell(trial, values=values, state=end_state)
        del self._live[number], self._steps[number]
        self._unjudged.pop(number, None)
        self._cache = self._finished = None


def accuracy_of(trial: FrozenTrial) -> float:
    """Return the final validation accuracy of a completed trial, in percent."""
    assert trial.values is not None
    return float(trial.values[0])


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> None:
    """Suggest a parameter, as ``Study.ask`` does for fixed distributions."""
    match distribution:
        case CategoricalDistribution():
            trial.suggest_categorical(name, distribution.choices)
        case IntDistribution():
            trial.suggest_int(name, distribution.low, distribution.high)
        case FloatDistribution():
            low, high, step = distribution.low, distribution.high, distribution.step
            trial.suggest_float(name, low, high, step=step, log=distribution.log)


def _storage(path: Path) -> RDBStorage:
    """Return the storage of a database file, whose path may have any characters."""
    # The address names the kind of database only: in an address, "?" and "%" have a meaning.
    connect = partial(sqlite3.connect, path.absolute(), check_same_thread=False)
    return RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect})
