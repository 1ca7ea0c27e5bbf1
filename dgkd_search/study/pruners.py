"""What a pruner said of a trial that was cut off."""

from __future__ import annotations

import copy
from typing import Any

import optuna
from optuna.study import Study


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
