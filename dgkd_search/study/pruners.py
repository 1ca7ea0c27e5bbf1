"""Replay a pruner's decision for a trial that was interrupted."""

from __future__ import annotations

import copy
from typing import Any

import optuna
from optuna.study import Study


def replay_pruner(study: Study, number: int) -> tuple[bool, dict[str, Any]]:
    """Ask the study's pruner about the last step of an unfinished trial as if for the first time.

    Successive halving records its rungs in the trial. If the search was stopped after such a
    record, asking the pruner again would give another answer. So the whole curve is reported again,
    step by step, to a copy of the study in which the trial has no records.

    Returns:
        Whether the trial should be pruned, and the system attributes that the pruner set.
    """
    trials = [copy.copy(trial) for trial in study.get_trials(deepcopy=False)]
    curve = trials[number].intermediate_values
    trials[number].intermediate_values, trials[number].system_attrs = {}, {}
    # The name must be the same: Hyperband assigns trials to brackets by a hash of it.
    shadow = optuna.create_study(
        study_name=study.study_name, direction=study.direction, pruner=study.pruner
    )
    shadow.add_trials(trials)
    trial = optuna.Trial(shadow, shadow.get_trials(deepcopy=False)[number]._trial_id)
    should_prune = False
    for step in sorted(curve):
        trial.report(curve[step], step)
        should_prune = trial.should_prune()
    return should_prune, shadow.get_trials(deepcopy=False)[number].system_attrs
