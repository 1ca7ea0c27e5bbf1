"""The Optuna study: asks for configurations, judges curves, remembers every trial. No Ray."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from dgkd_search.config import StudyConfig
from dgkd_search.sampler import STARTUP_TRIALS, DistinctSampler
from dgkd_search.space import Configuration, SearchSpace

# Constant: Hyperband assigns trials to brackets by a hash of the study's name.
STUDY_NAME = "dgkd-search"
_REDUCTION = 3
REFERENCE = "reference"  # attribute of the study: the student on labels alone
FACTS = "facts"  # attribute of a trial that has ended: what it did
NOT_BEGUN = {"begun": False}  # facts of a trial that was drawn when the search ended
REASON = "reason"  # attribute of a failed trial, in one line


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Optuna's pruner called ``name`` for curves of ``epochs`` steps, the first being 1.

    Resources are explicit: Hyperband otherwise learns its maximum from the first trials, and a
    resumed study would differ.
    """
    # At a high learning rate curves cross: measured on CIFAR-10 images, accuracies of the first
    # third of the epochs pruned 14 trials of 15.
    median = MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=max(1, epochs // 2))
    least = max(1, epochs // _REDUCTION**2)
    match name:
        case "median":
            return median
        case "hyperband":
            return HyperbandPruner(least, epochs, _REDUCTION)
        case "sha":
            return SuccessiveHalvingPruner(least, _REDUCTION)
        case "patient":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return PatientPruner(median, patience=max(1, epochs // 5))
        case _:
            return NopPruner()


@dataclass(frozen=True)
class Proposal:
    """A trial to run: its number in the study and what it trains."""

    number: int
    configuration: Configuration


class ChainStudy:
    """A study of chains, stored in ``path`` (SQLite; in memory without one).

    Values and intermediate values are validation accuracies in percent, steps the student's
    epochs from 1. The first trials (plain KD, the full chain, the middle assistant) are what
    every summary compares with, so they report like all others but are never pruned.

    Args:
        path: of the database.
        first: parameters of the trials to begin with, instead of those first ones.
    """

    def __init__(
        self,
        config: StudyConfig,
        path: Path | None = None,
        first: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.config = config
        self.space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
        self._first = {
            name: self.space.configuration(params).identity
            for name, params in self.space.first().items()
        }
        self._live: dict[int, optuna.Trial] = {}
        self._steps: dict[int, set[int]] = {}  # that each live trial has reported
        self._finished: int | None = None  # asked for all the time, changed by ends alone
        self._checked, self._exhausted = -1, False
        self._drawn: int | None = None  # trials so far, where nothing was written beside us
        self._cache: list[FrozenTrial] | None = None
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=f"sqlite:///{path}" if path else None,
            sampler=DistinctSampler(
                self.space,
                config.sampler,
                config.seed,
                self._seen,
                list(self.space.first().values()) if first is None else first,
            ),
            pruner=make_pruner(config.pruner, config.student_recipe.epochs),
            direction="maximize",
            load_if_exists=True,
        )
        # Hyperband makes its brackets at the first curve that it judges, and until then takes
        # every trial for bracket 0: a reopened study would go on differently.
        self._study.pruner.prune(self._study, create_trial(state=TrialState.RUNNING))

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number; read from the storage only after something was written."""
        if self._cache is None:
            self._cache = self._study.get_trials(deepcopy=False)
        return self._cache

    @property
    def live(self) -> int:
        """Trials asked for and not yet told."""
        return len(self._live)

    @property
    def finished(self) -> int:
        """Trials that count towards the budget: completed or pruned."""
        if self._finished is None:
            ends = (TrialState.COMPLETE, TrialState.PRUNED)
            self._finished = sum(t.state in ends for t in self.trials)
        return self._finished

    @property
    def exhausted(self) -> bool:
        """Whether every configuration has been tried."""
        count = self._drawn if self._drawn is not None else len(self.trials)
        if not self.space.endless and count > self._checked:
            # Asked at every turn of the search, so looked into only when a trial has been added.
            self._checked = count
            seen = self._seen(-1)
            identities = (self.space.configuration(p).identity for p in self.space.every())
            self._exhausted = all(identity in seen for identity in identities)
        return self._exhausted

    @property
    def attributes(self) -> dict[str, Any]:
        return self._study.user_attrs

    def set_attribute(self, name: str, value: Any) -> None:
        """Remember a fact of the whole study, in plain JSON types."""
        self._study.set_user_attr(name, value)

    def ask(self) -> Proposal | None:
        """The next trial; None when no configuration is left."""
        if self.exhausted:
            return None
        self._cache = self._drawn = None
        trial = self._study.ask(fixed_distributions=self.space.distributions)
        configuration = self.space.configuration(trial.params)
        self._live[trial.number] = trial
        self._steps[trial.number] = set()
        self._drawn = trial.number + 1
        trial.set_user_attr("chain", str(configuration.chain.canonical()))
        self._cache = None
        return Proposal(trial.number, configuration)

    def report(self, number: int, step: int, value: float) -> bool:
        """Record the student's validation accuracy after epoch ``step``.

        Returns:
            Whether Optuna's pruner says that the trial should stop. Never at the last epoch,
            which completes the trial. A step that is known already changes nothing.
        """
        trial = self._live[number]
        if step in self._steps[number]:
            return False
        self._steps[number].add(step)
        self._cache = None
        trial.report(value, step)
        if step >= self.config.student_recipe.epochs:
            return False
        # Asked for the first trials too: successive halving compares with those it was asked for.
        hopeless = trial.should_prune()
        return hopeless and not self._is_first(trial)

    def complete(self, number: int, value: float, facts: dict[str, Any]) -> None:
        self._tell(number, facts, value=value)

    def prune(self, number: int, facts: dict[str, Any]) -> None:
        """Record a pruned trial; Optuna takes its last intermediate value as its value."""
        self._tell(number, facts, state=TrialState.PRUNED)

    def fail(self, number: int, reason: str, facts: dict[str, Any] | None = None) -> None:
        """Record a failed trial with its reason, in one line."""
        self._live[number].set_user_attr(REASON, reason)
        self._tell(number, facts or {}, state=TrialState.FAIL)

    def fail_unfinished(self) -> None:
        """Record every trial without an end as failed, one that was just being drawn included."""
        self._live.clear()
        self._steps.clear()
        self._cache = self._finished = None
        for trial in self.trials:
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
        self._cache = None

    def facts(self, trial: FrozenTrial) -> dict[str, Any]:
        """What was told with the trial's end; empty before, and where its search died."""
        facts: dict[str, Any] = trial.user_attrs.get(FACTS, {})
        return facts

    def configuration(self, trial: FrozenTrial) -> Configuration:
        return self.space.configuration(trial.params)

    def best(self) -> FrozenTrial | None:
        """The completed trial of highest value; of equals the one with fewer assistants, then
        the earlier one."""
        complete = [t for t in self.trials if t.state == TrialState.COMPLETE]

        def rank(trial: FrozenTrial) -> tuple[float, int, int]:
            assert trial.value is not None
            chain = self.configuration(trial).chain.canonical()
            return -trial.value, len(chain.assistants), trial.number

        return min(complete, key=rank, default=None)

    def first(self, name: str) -> FrozenTrial | None:
        """The trial of the first configuration called ``name`` (see ``SearchSpace.first``)."""
        identity = self._first.get(name)
        if identity is None:
            return None
        return next((t for t in self.drawn if self.configuration(t).identity == identity), None)

    @property
    def drawn(self) -> list[FrozenTrial]:
        """Trials that have their parameters; one that died while it was drawn has none."""
        return [t for t in self.trials if set(t.params) == set(self.space.distributions)]

    def _is_first(self, trial: optuna.Trial) -> bool:
        return self.space.configuration(trial.params).identity in self._first.values()

    def _seen(self, number: int) -> set[tuple[object, ...]]:
        """Identities of all trials but ``number``."""
        return {self.configuration(t).identity for t in self.drawn if t.number != number}

    def _tell(
        self,
        number: int,
        facts: dict[str, Any],
        value: float | None = None,
        state: TrialState | None = None,
    ) -> None:
        trial = self._live.pop(number)
        trial.set_user_attr(FACTS, facts)  # as one: each attribute is a commit, some 5 ms
        self._study.tell(trial, values=value, state=state)
        del self._steps[number]
        self._cache = self._finished = None
