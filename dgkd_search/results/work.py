"""Totals over the trials of a search: trials, stages, teacher outputs, time."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import TrialState

from dgkd_search.study.records import REFERENCE
from dgkd_search.study.replication import replicates
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime


def total_work(study: ChainStudy, spent: ElapsedTime, concurrency: int) -> Work:
    """Add up the work of all trials, of the baseline on labels alone, and of all replicates."""
    retried = study.retried_trials
    by_trial = {trial.number: study.stats(trial) for trial in study.trials}
    reference = study.read(REFERENCE)
    students = [*([reference] if reference is not None else []), *replicates(study)]
    known = [stats for stats in by_trial.values() if stats is not None]
    known += [student.stats for student in students]
    states = [
        trial.state
        for trial in study.trials
        if trial.number not in retried
        and ((stats := by_trial[trial.number]) is None or stats.begun)
    ]
    stages = [stage for stats in known for stage in stats.stages]
    computing = sum(stats.computing for stats in known)
    waiting = sum(stats.waiting for stats in known)
    seconds = sum(stats.seconds for stats in known)
    return Work(
        completed=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        trained=sum(stage.trained > 0 and stage.finished for stage in stages),
        reused=sum(stage.trained == 0 for stage in stages),
        taught=sum(stats.taught for stats in known),
        forwards=sum(stats.forwards for stats in known),
        computing=computing,
        waiting=waiting,
        starting=spent.starting + max(0.0, seconds - computing - waiting),
        concurrency=concurrency,
    )


@dataclass(frozen=True)
class Work:
    """The work of a search.

    Attributes:
        completed, pruned, failed: numbers of trials; a budget counts the first two.
        trained, reused: numbers of stages that trials trained to the end, and that were cached.
        taught: number of teacher outputs that learners used, over all teachers and epochs.
        forwards: number of images that were run through a teacher to compute outputs.
        computing, waiting, starting: seconds, summed over workers: training and running teachers;
            waiting for stages of other trials; the rest (starting, loading, storing, and the time
            before the first trial could begin).
        concurrency: number of workers.
    """

    completed: int
    pruned: int
    failed: int
    trained: int
    reused: int
    taught: int
    forwards: int
    computing: float
    waiting: float
    starting: float
    concurrency: int

    @property
    def finished(self) -> int:
        return self.completed + self.pruned
