"""The Optuna study: asks for configurations, judges curves, remembers every trial. No Ray."""

from __future__ import annotations

import warnings
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
from optuna.trial import FrozenTrial, TrialState

from dgkd_search.config import StudyConfig
from dgkd_search.sampler import STARTUP_TRIALS, DistinctSampler
from dgkd_search.space import Configuration, SearchSpace

# Constant: Hyperband assigns trials to brackets by a hash of the study's name.
STUDY_NAME = "dgkd-search"
_REDUCTION = 3
REFERENCE = "reference"  # attribute of the study: the student on labels alone


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Optuna's pruner called ``name`` for curves of ``epochs`` steps, the first being 1.

    Resources are explicit: Hyperband otherwise learns its maximum from the first trials, and a
    resumed study would differ.
    """
    median = MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=max(1, epochs // 4))
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
    """

    def __init__(self, config: StudyConfig, path: Path | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.config = config
        self.space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
        self._first = {
            name: self.space.configuration(params).identity
            for name, params in self.space.first().items()
        }
        self._live: dict[int, optuna.Trial] = {}
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=f"sqlite:///{path}" if path else None,
            sampler=DistinctSampler(self.space, config.sampler, config.seed, self._seen),
            pruner=make_pruner(config.pruner, config.student_recipe.epochs),
            direction="maximize",
            load_if_exists=True,
        )

    @property
    def trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @property
    def live(self) -> int:
        """Trials asked for and not yet told."""
        return len(self._live)

    @property
    def finished(self) -> int:
        """Trials that count towards the budget: completed or pruned."""
        return sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in self.trials)

    @property
    def exhausted(self) -> bool:
        """Whether every configuration has been tried."""
        if self.space.endless:
            return False
        seen = self._seen(-1)
        return all(self.space.configuration(p).identity in seen for p in self.space.every())

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
        trial = self._study.ask(fixed_distributions=self.space.distributions)
        configuration = self.space.configuration(trial.params)
        self._live[trial.number] = trial
        trial.set_user_attr("chain", str(configuration.chain.canonical()))
        return Proposal(trial.number, configuration)

    def report(self, number: int, step: int, value: float) -> bool:
        """Record the student's validation accuracy after epoch ``step``.

        Returns:
            Whether Optuna's pruner says that the trial should stop. Never at the last epoch,
            which completes the trial. A step that is known already changes nothing.
        """
        trial = self._live[number]
        if step in self._frozen(number).intermediate_values:
            return False
        trial.report(value, step)
        if step >= self.config.student_recipe.epochs or self._is_first(trial):
            return False
        return trial.should_prune()

    def complete(self, number: int, value: float, facts: dict[str, Any]) -> None:
        self._tell(number, facts, value=value)

    def prune(self, number: int, facts: dict[str, Any]) -> None:
        """Record a pruned trial; Optuna takes its last intermediate value as its value."""
        self._tell(number, facts, state=TrialState.PRUNED)

    def fail(self, number: int, reason: str, facts: dict[str, Any] | None = None) -> None:
        """Record a failed trial with its reason, in one line."""
        self._tell(number, (facts or {}) | {"reason": reason}, state=TrialState.FAIL)

    def configuration(self, trial: FrozenTrial) -> Configuration:
        return self.space.configuration(trial.params)

    def best(self) -> FrozenTrial | None:
        """The completed trial of highest value; of equals the one with fewer assistants, then
        the earlier one."""
        complete = [t for t in self.trials if t.state == TrialState.COMPLETE]

        def rank(trial: FrozenTrial) -> tuple[float, int, int]:
            assert trial.value is not None
            return -trial.value, len(self.configuration(trial).chain.models), trial.number

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

    def _frozen(self, number: int) -> FrozenTrial:
        return self.trials[number]

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
        for name, fact in facts.items():
            trial.set_user_attr(name, fact)
        self._study.tell(trial, values=value, state=state)
