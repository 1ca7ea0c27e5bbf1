"""Owns a running search: what runs next, what each row means, when to stop.

Tune asks its scheduler before its searcher and tells the searcher no reason for a stop, so one
object behind both decides. It knows the study and the plan, but nothing of Ray, and is called
from the driver's main thread alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dgkd_search.confirmation import Confirmation, Repeat, choose, note_repeat, rivals
from dgkd_search.identity import StageSpec
from dgkd_search.observer import Job, Observer
from dgkd_search.planner import Planner
from dgkd_search.rows import Row
from dgkd_search.study import AGAIN, NOT_BEGUN, REFERENCE, ChainStudy, Proposal
from dgkd_search.tune.events import merge

_FAILURES_IN_A_ROW = 3


@dataclass
class _Running:
    """A job that Tune holds."""

    job: Job
    stages: tuple[StageSpec, ...]
    started: float
    attempt: str | None = None
    earlier: dict[str, Any] = field(default_factory=dict)  # facts of attempts that died
    facts: dict[str, Any] = field(default_factory=dict)  # of this attempt
    values: dict[int, float] = field(default_factory=dict)  # by step
    outcome: str | None = None  # complete, pruned, failed, stopped, or None while it runs
    reason: str | None = None
    again: bool = False  # whether a failure is worth another try in a resumed search

    @property
    def trial(self) -> int | None:
        """Number of the trial, where the job is one: not the reference, no repeat."""
        return None if self.job.replicate else self.job.number


class Conductor:
    """See the module.

    Args:
        concurrency: jobs at once.
        deadline: of the time budget, on ``clock``; None without one.
        trained: says whether a stage of some key is finished, so that a trial that would only
            wait for one in training lets others go first; None where trials share no stages.
        spent: seconds that earlier sessions of the search took.

    Trials that an earlier session left without an end go on first.

    Attributes:
        gave_up: why the search stopped before its budget, in one line; None if it didn't.
    """

    def __init__(
        self,
        study: ChainStudy,
        planner: Planner,
        observer: Observer,
        concurrency: int,
        deadline: float | None = None,
        trained: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        spent: float = 0.0,
    ) -> None:
        self.gave_up: str | None = None
        self.study = study
        self._planner = planner
        self._observer = observer
        self._concurrency = concurrency
        self._deadline = deadline
        self._trained = trained
        self._clock = clock
        self._origin = clock() - spent
        # Drawn, not yet begun; or begun by an earlier session.
        self._held = [self._job(proposal) for proposal in study.adopt()]
        self._earlier = {
            trial.number: {
                k: v for k, v in study.facts(trial).items() if k not in {AGAIN, *NOT_BEGUN}
            }
            for trial in study.trials
        }
        self._running: dict[str, _Running] = {}
        self._failures: list[str] = []
        reference = study.attributes.get(REFERENCE, {AGAIN: True})
        self._reference_due = study.config.reference and reference.get(AGAIN, False)
        self._repeats: deque[Repeat] | None = None  # known once the trials are over
        self._certain: deque[Repeat] | None = None  # those of them that are known before
        self._repeated: set[tuple[int | None, int]] = set()  # trials and replicates, begun

    @property
    def running(self) -> set[str]:
        """Identifiers of the jobs that Tune holds."""
        return set(self._running)

    @property
    def over(self) -> bool:
        """Whether nothing further is to begin."""
        if self.gave_up is not None or self._late:
            return True
        if not self._searched:
            return False
        if self._repeats is None and self.study.config.confirm_seeds:
            if any(not running.job.replicate for running in self._running.values()):
                return False  # what is taught again depends on how they end
            left = choose(self.study, self._planner)
            begun = self._repeated
            self._repeats = deque(r for r in left if (r.trial, r.replicate) not in begun)
            if self._repeats or begun:
                self._observer.confirming(len(self._repeats) + len(begun))
        return not self._repeats

    def next_job(self, identifier: str) -> tuple[StageSpec, ...] | None:
        """The stages of the next job, to be run under ``identifier``.

        The student alone comes first, then the trials, and when all of them have ended, what is
        taught again; while the last trials run, what will be in any case, for Tune ends a worker
        that has nothing to do. None while nothing may begin; see ``over`` for the end.
        """
        if self.over or len(self._running) >= self._concurrency:
            return None
        if self._searched:
            return self._start_repeat(identifier)
        if self._reference_due:
            self._reference_due = False
            student = self.study.config.space.student
            job = Job(None, (student,), "none", None)
            return self._start(identifier, job, self._planner.reference())
        following = self._following()
        if following is None:
            return self._start_repeat(identifier)
        return self._start(identifier, *following)

    def on_row(self, identifier: str, event: dict[str, Any]) -> bool:
        """Take in what a trial reported.

        Args:
            event: ``rows`` (each a ``Row`` as a dict), ``failure`` (one line, where the trial
                failed after them), ``facts``, and ``attempt``: which run of the trial it is, for
                Tune repeats one whose worker died.

        Returns:
            Whether the trial is to be stopped.
        """
        running = self._running[identifier]
        if running.outcome is not None:
            return True
        attempt = event.get("attempt")
        if attempt != running.attempt:
            running.earlier, running.facts = merge(running.earlier, running.facts), {}
            running.attempt = attempt
        running.facts = event.get("facts", running.facts)
        for row in event.get("rows", ()):
            if running.outcome is None:
                self._take(running, Row(**row))
        if "failure" in event and running.outcome is None:
            running.outcome, running.reason = "failed", " ".join(event["failure"].split())
            running.again = bool(event.get("again"))
        if running.outcome is None and self._late:
            running.outcome, running.again = "failed", True
            running.reason = f"stopped by the time budget of {self._budget_text()}"
        return running.outcome is not None and running.outcome != "complete"

    def on_end(self, identifier: str, error: str | None = None) -> None:
        """A job has left Tune, by itself, stopped, or with an error of Tune's."""
        running = self._running.pop(identifier, None)
        if running is None:
            return
        if running.outcome is None:
            running.outcome, running.again = "failed", True
            running.reason = error or "ended before its last epoch"
        self._gather(running)
        value = running.values[max(running.values)] if running.values else None
        if running.job.replicate:
            self._end_repeat(running, value)
        elif running.job.number is None:
            self._end_reference(running, value)
        else:
            self._tell(running, running.job.number, value)
        self._observer.job_ended(running.job, running.outcome, value, running.reason)

    def suspend(self) -> None:
        """Leave what runs to a later session of the search."""
        for running in self._running.values():
            self._gather(running)
            if running.trial is not None:
                self.study.remember(running.trial, running.facts)
            self._observer.job_ended(running.job, "stopped", None, "goes on when it is resumed")
        self._running.clear()
        self._held.clear()

    def abandon(self, reason: str) -> None:
        """End every job that Tune has not ended; at the end of a search there should be none."""
        for identifier, running in list(self._running.items()):
            if running.outcome is None:
                running.outcome, running.reason, running.again = "stopped", reason, True
            self.on_end(identifier)
        for job, _ in self._held:
            assert job.number is not None
            facts = self._earlier.get(job.number) or NOT_BEGUN
            self.study.fail(job.number, f"not begun: {reason}", facts | {AGAIN: True})
        self._held.clear()
        self.study.fail_unfinished()

    @property
    def ending(self) -> str | None:
        """Why the search ended before its budget was used, in one line; None if it wasn't so."""
        if self.gave_up is not None:
            return self.gave_up
        done = self.study.finished >= self.study.config.budget
        if self._late and not (done and self._confirmed):
            return f"the time budget of {self._budget_text()} is used up"
        if done:
            return None
        if self._exhausted:
            return "every configuration of the search space has been tried"
        return "Tune ended it"

    @property
    def _late(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    @property
    def _searched(self) -> bool:
        """Whether no further trial is to begin, the budget of time aside."""
        done = self.study.finished >= self.study.config.budget and not self._reference_due
        return done or (self._exhausted and not self._held)

    @property
    def _confirmed(self) -> bool:
        confirmation = Confirmation.of(self.study)
        return confirmation.whole if confirmation else not self.study.config.confirm_seeds

    @property
    def _exhausted(self) -> bool:
        return not self._reference_due and self.study.exhausted

    def _budget_text(self) -> str:
        return f"{self.study.config.time_budget:g} s"

    def _following(self) -> tuple[Job, tuple[StageSpec, ...]] | None:
        """The next trial: one that can go to work at once, if a few draws find one.

        A trial that needs a stage which another is training would hold its place and wait. As
        many as run at once are held back for others; then the first of them goes, and waits.
        """
        busy = self._in_training()
        for i, (_, stages) in enumerate(self._held):
            if self._needed_first(stages) not in busy:
                return self._held.pop(i)
        while len(self._held) < self._concurrency:
            drawn = self._draw()
            if drawn is None:
                break
            if self._needed_first(drawn[1]) not in busy:
                return drawn
            self._held.append(drawn)
        return self._held.pop(0) if self._held else None

    def _draw(self) -> tuple[Job, tuple[StageSpec, ...]] | None:
        if self.study.finished + self.study.live >= self.study.config.budget:
            return None
        proposal = self.study.ask()
        return self._job(proposal) if proposal is not None else None

    def _job(self, proposal: Proposal) -> tuple[Job, tuple[StageSpec, ...]]:
        chain = proposal.configuration.chain.canonical()
        drop = proposal.configuration.drop_prob
        job = Job(proposal.number, chain.models, chain.guidance, drop)
        return job, self._planner.stages(proposal.configuration)

    def _start_repeat(self, identifier: str) -> tuple[StageSpec, ...] | None:
        queue = self._repeats
        if queue is None and self.study.config.confirm_seeds:
            if self._certain is None:
                self._certain = deque(rivals(self.study, self._planner))
            queue = self._certain
        if not queue:
            return None
        repeat = queue.popleft()
        self._repeated.add((repeat.trial, repeat.replicate))
        chain, drop = repeat.configuration.chain.canonical(), repeat.configuration.drop_prob
        job = Job(repeat.trial, chain.models, chain.guidance, drop, repeat.replicate)
        return self._start(
            identifier, job, self._planner.stages(repeat.configuration, repeat.replicate)
        )

    def _in_training(self) -> set[str]:
        """Keys of the stages that running jobs are at."""
        if self._trained is None:
            return set()
        return {self._needed_first(running.stages) for running in self._running.values()}

    def _needed_first(self, stages: tuple[StageSpec, ...]) -> str:
        """Key of the first stage that isn't trained yet; the student's where all are."""
        trained = self._trained or (lambda key: False)
        return next((s.key for s in stages if not trained(s.key)), stages[-1].key)

    def _start(
        self, identifier: str, job: Job, stages: tuple[StageSpec, ...]
    ) -> tuple[StageSpec, ...]:
        running = _Running(job, stages, self._clock())
        if running.trial is not None:
            running.earlier = self._earlier.pop(running.trial, {})
        self._running[identifier] = running
        self._observer.job_started(job)
        return stages

    def _take(self, running: _Running, row: Row) -> None:
        self._observer.row(running.job, row)
        if row.step is None or row.val_accuracy is None:
            return
        running.values[row.step] = row.val_accuracy
        number = running.trial
        if number is not None and self.study.report(number, row.step, row.val_accuracy):
            running.outcome = "pruned"
        elif row.step == row.epochs:
            running.outcome = "complete"

    def _gather(self, running: _Running) -> None:
        """Make the job's facts those of all its attempts, and tell what they noted."""
        before = running.earlier.get("seconds", 0.0)
        running.facts = merge(running.earlier, running.facts)
        running.facts["seconds"] = round(before + self._clock() - running.started, 3)
        running.facts["elapsed"] = round(self._clock() - self._origin, 3)
        for note in running.facts.pop("notes", ()):
            self._observer.message(note)

    def _end_reference(self, running: _Running, value: float | None) -> None:
        if running.outcome == "complete":
            self.study.set_attribute(REFERENCE, {"val_accuracy": value, **running.facts})
        elif running.outcome == "failed":
            self.study.set_attribute(REFERENCE, {**running.facts, AGAIN: running.again})

    def _end_repeat(self, running: _Running, value: float | None) -> None:
        if running.outcome == "complete" and value is not None:
            note_repeat(self.study, running.job.number, running.job.replicate, value, running.facts)
        self._count_failure(running)

    def _tell(self, running: _Running, number: int, value: float | None) -> None:
        if running.outcome == "complete" and value is not None:
            self.study.complete(number, value, running.facts)
        elif running.outcome == "pruned":
            self.study.prune(number, running.facts)
        else:
            again = {AGAIN: True} if running.again else {}
            self.study.fail(number, str(running.reason), running.facts | again)
        self._count_failure(running)

    def _count_failure(self, running: _Running) -> None:
        if running.outcome != "failed":
            self._failures.clear()
        elif not self._late:
            self._failures.append(str(running.reason))
            if len(self._failures) >= _FAILURES_IN_A_ROW:
                self.gave_up = (
                    f"{len(self._failures)} trials failed in a row, the last one: {running.reason}"
                )
