"""A callback that warns, as early as possible, of a teacher no better than its student."""

from __future__ import annotations

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import Event, TrialInfo, TrialUpdated
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.utils.log import Log


class TeacherCheck(Callback):
    """Compares the teacher once with the student on labels alone.

    Args:
        log: is called with a line if the teacher isn't better.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._teacher: tuple[str, float] | None = None
        self._baseline: float | None = None
        self._done = False

    def notify(self, event: Event) -> None:
        match event:
            case TrialUpdated(trial, progress) if not self._done and progress.ends_stage:
                self._take(trial, progress)

    def _take(self, trial: TrialInfo, progress: TrialProgress) -> None:
        if progress.val_accuracy is None or trial.replicate:
            return
        if progress.position == 0 and progress.stages > 1:
            self._teacher = progress.stage, progress.val_accuracy
        elif trial.number is None:
            self._baseline = progress.val_accuracy
        if self._teacher is None or self._baseline is None:
            return
        self._done = True
        note = weak_teacher_note(*self._teacher, self._baseline)
        if note is not None:
            self._log(f"note: {note}")


def weak_teacher_note(name: str, teacher: float | None, baseline: float | None) -> str | None:
    """Return a warning if the teacher is no better than the student on labels alone, else None.

    Args:
        name: name of the teacher.
        teacher, baseline: validation accuracies in percent of the teacher and of the student on
            labels alone; None if unknown.
    """
    if teacher is None or baseline is None or teacher > baseline:
        return None
    return (
        f"the teacher {name} ({teacher:.2f} %) is no better than the student on labels alone "
        f"({baseline:.2f} %): choose a stronger --teacher, or train it with more --epochs"
    )
