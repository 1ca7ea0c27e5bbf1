"""Optuna's pruners: how they are set up, and what they said of a trial that was cut off."""

from __future__ import annotations

import copy
import warnings
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
from optuna.study import Study

from dgkd_search.study.sampler import STARTUP_TRIALS

_REDUCTION = 3


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


def replay_pruner(study: Study, number: int) -> tuple[bool, dict[str, Any]]:
    """Ask the study's pruner about the last step of an unfinished trial as if for the first time.

    Successive halving notes its rungs in the trial itself: a stop that came between such a note
    and the trial's end would change the answer. So the whole curve is told again, step by step,
    to a copy of the study in which the trial has no notes.

    Returns:
        Whether the trial should stop, and the notes that the pruner has made in the copy.
    """
    trials = [copy.copy(trial) for trial in study.get_trials(deepcopy=False)]
    curve = trials[number].intermediate_values
    trials[number].intermediate_values, trials[number].system_attrs = {}, {}
    # Hyperband assigns trials to brackets by a hash of the study's name and their number.
    shadow = optuna.create_study(
        study_name=study.study_name, direction=study.direction, pruner=study.pruner
    )
    shadow.add_trials(trials)
    trial = optuna.Trial(shadow, shadow.get_trials(deepcopy=False)[number]._trial_id)
    hopeless = False
    for step in sorted(curve):
        trial.report(curve[step], step)
        hopeless = trial.should_prune()
    return hopeless, shadow.get_trials(deepcopy=False)[number].system_attrs
