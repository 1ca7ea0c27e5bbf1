"""The controller of a running search: processes reports, ends trials, decides when to stop.

Tune calls its scheduler before its searcher and gives the searcher no reason for a stop. Therefore
one object behind both decides. It is independent of Ray, and is called only from the driver's main
thread.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dgkd_search.callbacks.base import Callback, trial_label
from dgkd_search.callbacks.events import (
    ReplicationStarted,
    TrialEnded,
    TrialInfo,
    TrialOutcome,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.errors import one_line
from dgkd_search.study.planner import Planner
from dgkd_search.study.ray_tune.messages import TrialReport
from dgkd_search.study.ray_tune.queue import QueuedTrial, TrialQueue
from dgkd_search.study.records import REFERENCE, StudentRecord
from dgkd_search.study.replication import Replication, save_replicate
from dgkd_search.study.study import ChainStudy
from dgkd_search.training.spec import StageSpec

_FAILURES_IN_A_ROW = 3
_NEW_WORKERS = 3  # for a trial that makes no progress


@dataclass
class _Running:
    """A trial that Tune holds."""

    info: TrialInfo
    stages: tuple[StageSpec, ...]
    started: float
    attempt: str | None = None
    earlier: TrialStats = field(default_factory=TrialStats)  # of earlier attempts
    stats: TrialStats = field(default_factory=TrialStats)  # of this attempt
    values: dict[int, float] = field(default_factory=dict)  # by step
    outcome: TrialOutcome | None = None  # None while it runs
    reason: str | None = None
    retryable: bool = False  # whether a resumed search retries it after a failure
    stage: str = ""  # the stage that is being trained
    advanced: bool = False  # whether an epoch was trained

    @property
    def trial(self) -> int | None:
        """Its number in the study; None for labels alone and for replicates."""
        return None if self.info.replicate else self.info.number

    @property
    def is_stopped(self) -> bool:
        """Whether Tune must stop it before its last epoch."""
        return self.outcome not in (None, "complete")


class SearchController:
    """Controls a running search.

    Trials that an earlier session left running are resumed first.

    Args:
        concurrency: number of trials at once.
        deadline: end of the time budget, on ``clock``; None without one.
        trained: see ``TrialQueue``.
        spent: seconds that earlier sessions of the search took.

    Attributes:
        abort_reason: why the search was aborted, in one line; None if it wasn't.
    """

    def __init__(
        self,
        study: ChainStudy,
        planner: Planner,
        callback: Callback,
        concurrency: int,
        deadline: float | None = None,
        trained: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        spent: float = 0.0,
    ) -> None:
        self.abort_reason: str | None = None
        self.study = study
        self._planner = planner
        self._callback = callback
        self._concurrency = concurrency
        self._deadline = deadline
        self._clock = clock
        self._origin = clock() - spent
        self._queue = TrialQueue(
            study,
            planner,
            concurrency,
            trained,
            lambda count: callback.notify(ReplicationStarted(count)),
        )
        self._earlier = {trial.number: study.stats(trial) for trial in study.trials}
        self._running: dict[str, _Running] = {}
        self._failures: list[str] = []
        self._lost: Counter[TrialInfo] = Counter()
        # Stats of labels alone and of replicates whose workers were lost.
        self._spoilt: dict[TrialInfo, TrialStats] = {}

    @property
    def running(self) -> set[str]:
        """Identifiers of the trials that Tune holds."""
        return set(self._running)

    @property
    def is_finished(self) -> bool:
        """Whether no further trial will begin."""
        return self.abort_reason is not None or self._late or self._queue.is_finished(self._held)

    def next_trial(self, identifier: str) -> tuple[StageSpec, ...] | None:
        """Return the stages of the next trial, to be run under ``identifier``.

        None while no trial can begin: all workers are busy, or the next trial depends on those that
        are running. At the end of the search, ``is_finished`` is True.
        """
        if self.is_finished or len(self._running) >= self._concurrency:
            return None
        following = self._queue.next(self._held)
        if following is None:
            return None
        running = _Running(*following, self._clock())
        if running.trial is not None:
            running.earlier = self._earlier.pop(running.trial, None) or TrialStats()
        else:
            running.earlier = self._spoilt.pop(running.info, TrialStats())
        self._running[identifier] = running
        self._callback.notify(TrialStarted(running.info))
        return running.stages

    def on_report(self, identifier: str, report: TrialReport) -> bool:
        """Process a report of a trial.

        Returns:
            Whether Tune must stop the trial.
        """
        running = self._running[identifier]
        if running.outcome is not None:
            return True
        if report.attempt != running.attempt:
            running.earlier = running.earlier.followed_by(running.stats)
            running.attempt = report.attempt
        running.stats = report.stats
        for row in report.rows:
            if running.outcome is None:
                self._take(running, row)
        if report.failure is not None and running.outcome is None:
            running.outcome, running.reason = "failed", one_line(report.failure)
            running.retryable = report.retryable
        if running.outcome is None and self._late:
            running.outcome, running.retryable = "failed", True
            running.reason = f"stopped by the time budget of {self._budget_text()}"
        return running.is_stopped

    def on_end(self, identifier: str, error: str | None = None) -> None:
        """Record the end of a Tune trial: by itself, stopped, or with an error."""
        running = self._running.pop(identifier, None)
        if running is None:
            return
        if running.outcome is None:
            running.outcome, running.retryable = "failed", True
            running.reason = error or "ended before its last epoch"
        self._gather(running)
        value = running.values[max(running.values)] if running.values else None
        if running.trial is None:
            self._end_student(running, value)
        else:
            self._end_trial(running, running.trial, value)
        if running.trial is not None or running.info.replicate:
            self._count_failure(running)
        self._callback.notify(TrialEnded(running.info, running.outcome, value, running.reason))

    def on_lost(self, identifier: str, reason: str) -> None:
        """Requeue a trial whose worker died.

        After several lost workers without a trained epoch, the trial fails.
        """
        running = self._running.get(identifier)
        if running is None:
            return
        info = running.info
        self._lost[info] = 0 if running.advanced else self._lost[info] + 1
        often = self._lost[info] > _NEW_WORKERS
        if often:
            reason = f"{reason}, {self._lost[info]} times without an epoch of "
            reason += f"{running.stage or info.chain[0]}"
            if running.attempt is not None or reason.startswith("its worker died"):
                reason += ": a crash in its code, or too little memory"
        if running.outcome is not None or self._late or often:
            self.on_end(identifier, reason)
            return
        del self._running[identifier]
        self._gather(running)
        if running.trial is not None:
            self._earlier[running.trial] = running.stats
        else:
            self._spoilt[info] = running.stats
        self._queue.put_back((info, running.stages))
        self._callback.log(f"{trial_label(info)}: {reason}; it continues with another worker")

    def suspend(self) -> None:
        """Suspend the running trials; a later session of the search resumes them."""
        for running in self._running.values():
            self._gather(running)
            if running.trial is not None:
                self.study.save_progress(running.trial, running.stats)
            self._callback.notify(
                TrialEnded(running.info, "stopped", None, "continues when the search is resumed")
            )
        self._running.clear()
        self._queue.held.clear()

    def abandon(self, reason: str) -> None:
        """End every trial that Tune has not ended; normally there is none."""
        for identifier, running in list(self._running.items()):
            if running.outcome is None:
                running.outcome, running.reason, running.retryable = "stopped", reason, True
            self.on_end(identifier)
        for info, _ in self._queue.held:
            assert info.number is not None
            stats = self._earlier.get(info.number) or TrialStats(begun=False)
            self.study.fail(info.number, f"not begun: {reason}", replace(stats, retryable=True))
        self._queue.held.clear()
        self.study.fail_unfinished()

    @property
    def stop_reason(self) -> str | None:
        """Why the search ended before its budget was used, in one line; None if it was used."""
        if self.abort_reason is not None:
            return self.abort_reason
        done = self.study.finished >= self.study.config.budget
        if self._late and not (done and self._is_replicated):
            return f"the time budget of {self._budget_text()} is used up"
        if done:
            return None
        if self._queue.exhausted:
            return "every configuration of the search space has been tried"
        return "Tune ended it"

    @property
    def _late(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    @property
    def _is_replicated(self) -> bool:
        replication = Replication.from_study(self.study)
        return replication.complete if replication else not self.study.config.confirm_seeds

    def _budget_text(self) -> str:
        return f"{self.study.config.time_budget:g} s"

    @property
    def _held(self) -> list[QueuedTrial]:
        return [(running.info, running.stages) for running in self._running.values()]

    def _take(self, running: _Running, row: TrialProgress) -> None:
        self._callback.notify(TrialUpdated(running.info, row))
        following = row.position + row.ends_stage
        running.stage = running.info.chain[min(following, len(running.info.chain) - 1)]
        running.advanced |= row.event == "epoch"
        if row.step is None or row.val_accuracy is None:
            return
        running.values[row.step] = row.val_accuracy
        number = running.trial
        if number is not None and self.study.report(number, row.step, row.val_accuracy):
            running.outcome = "pruned"
        elif row.ends_stage:
            running.outcome = "complete"

    def _gather(self, running: _Running) -> None:
        """Add up the stats of all attempts of a trial, and log their notes."""
        now, stats = self._clock(), running.earlier.followed_by(running.stats)
        for note in stats.notes:
            self._callback.log(note)
        running.stats = replace(
            stats,
            seconds=round(running.earlier.seconds + now - running.started, 3),
            elapsed=round(now - self._origin, 3),
            notes=(),
            retryable=running.outcome not in ("complete", "pruned") and running.retryable,
        )

    def _end_student(self, running: _Running, value: float | None) -> None:
        """Record the end of labels alone or of a replicate."""
        if running.outcome == "complete" and value is not None:
            record = StudentRecord(running.stats, value)
        elif running.outcome == "failed":
            record = StudentRecord(running.stats, failure=str(running.reason))
        else:
            return
        if running.info.replicate:
            save_replicate(self.study, running.info.number, running.info.replicate, record)
        else:
            self.study.write(REFERENCE, record)

    def _end_trial(self, running: _Running, number: int, value: float | None) -> None:
        if running.outcome == "complete" and value is not None:
            stats = replace(running.stats, tflop=self._planner.tflop(running.stages))
            self.study.complete(number, value, stats)
        elif running.outcome == "pruned":
            self.study.prune(number, running.stats)
        else:
            self.study.fail(number, str(running.reason), running.stats)

    def _count_failure(self, running: _Running) -> None:
        if running.outcome != "failed":
            self._failures.clear()
        elif not self._late:
            self._failures.append(str(running.reason))
            if len(self._failures) >= _FAILURES_IN_A_ROW:
                self.abort_reason = (
                    f"{len(self._failures)} trials failed in a row, the last one: {running.reason}"
                )
