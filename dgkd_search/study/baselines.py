"""Baseline accuracies of a search: the teacher, and the student trained on labels alone."""

from __future__ import annotations

from dgkd_search.study.records import REFERENCE
from dgkd_search.study.study import ChainStudy


def teacher_accuracy(study: ChainStudy) -> float | None:
    """Return the teacher's validation accuracy in percent; None if no trial has it yet."""
    name = study.config.space.teacher
    for trial in study.trials:
        stats = study.stats(trial)
        stage = stats.stage(name) if stats is not None else None
        if stage is not None and stage.finished:
            return stage.val_accuracy
    return None


def baseline_accuracy(study: ChainStudy) -> float | None:
    """Return the validation accuracy in percent of the student trained on labels alone, or None."""
    reference = study.read(REFERENCE)
    return reference.val_accuracy if reference is not None else None
