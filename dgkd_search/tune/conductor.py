"""Owns a running search: what runs next, what each row means, when to stop.

Tune asks its scheduler before its searcher and tells the searcher no reason for a stop, so one
object behind both decides. It knows the study and the plan, but nothing of Ray, and is called
from the driver's main thread alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dgkd_search.identity import StageSpec
from dgkd_search.observer import Job, Observer
from dgkd_search.planner import Planner
from dgkd_search.rows import Row
from dgkd_search.study import REFERENCE, ChainStudy

_FAILURES_IN_A_ROW = 3


@dataclass
class _Running:
    """A job that Tune holds."""

    job: Job
    started: float
    attempt: str | None = None
    earlier: dict[str, Any] = field(default_factory=dict)  # facts of attempts that died
    facts: dict[str, Any] = field(default_factory=dict)  # of this attempt
    values: dict[int, float] = field(default_factory=dict)  # by step
    outcome: str | None = None  # complete, pruned, failed, or None while it runs
    reason: str | None = None


class Conductor:
    """See the module.

    Args:
        concurrency: jobs at once.
        deadline: of the time budget, on ``clock``; None without one.

    Attributes:
        gave_up: why the search stopped before its budget, in one line; None if it didn't.
        notes: lines about damaged files that trials met in the store.
    """

    def __init__(
        self,
        study: ChainStudy,
        planner: Planner,
        observer: Observer,
        concurrency: int,
        deadline: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gave_up: str | None = None
        self.notes: list[str] = []
        self.study = study
        self._planner = planner
        self._observer = observer
        self._concurrency = concurrency
        self._deadline = deadline
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._failures: list[str] = []
        self._reference_due = study.config.reference and REFERENCE not in study.attributes

    @property
    def running(self) -> set[str]:
        """Identifiers of the jobs that Tune holds."""
        return set(self._running)

    @property
    def over(self) -> bool:
        """Whether no further trial is to begin."""
        done = self.study.finished >= self.study.config.budget and not self._reference_due
        return done or self.gave_up is not None or self._late or self._exhausted

    def next_job(self, identifier: str) -> tuple[StageSpec, ...] | None:
        """The stages of the next trial, to be run under ``identifier``.

        None while nothing may begin: all places are taken, or the running trials would fill the
        budget; see ``over`` for the end.
        """
        if self.over or len(self._running) >= self._concurrency:
            return None
        if self._reference_due:
            self._reference_due = False
            student = self.study.config.space.student
            return self._start(identifier, Job(None, (student,), "none", None))
        if self.study.finished + self.study.live >= self.study.config.budget:
            return None
        proposal = self.study.ask()
        if proposal is None:
            return None
        chain = proposal.configuration.chain.canonical()
        drop = proposal.configuration.drop_prob
        job = Job(proposal.number, chain.models, chain.guidance, drop)
        return self._start(identifier, job, self._planner.stages(proposal.configuration))

    def on_row(self, identifier: str, event: dict[str, Any]) -> bool:
        """Take in what a trial reported.

        Args:
            event: ``row`` (a ``Row`` as a dict) or ``failure`` (one line), ``facts``, and
                ``attempt``: which run of the trial it is, for Tune repeats one whose worker died.

        Returns:
            Whether the trial is to be stopped.
        """
        running = self._running[identifier]
        if running.outcome is not None:
            return True
        attempt = event.get("attempt")
        if attempt != running.attempt:
            running.earlier, running.facts = _merge(running.earlier, running.facts), {}
            running.attempt = attempt
        running.facts = event.get("facts", running.facts)
        if "failure" in event:
            running.outcome, running.reason = "failed", " ".join(event["failure"].split())
        elif "row" in event:
            self._take(running, Row(**event["row"]))
        if running.outcome is None and self._late:
            running.outcome = "failed"
            running.reason = f"stopped by the time budget of {self._budget_text()}"
        return running.outcome is not None and running.outcome != "complete"

    def on_end(self, identifier: str, error: str | None = None) -> None:
        """A job has left Tune, by itself, stopped, or with an error of Tune's."""
        running = self._running.pop(identifier, None)
        if running is None:
            return
        if running.outcome is None:
            running.outcome = "failed"
            running.reason = error or "ended before its last epoch"
        running.facts = _merge(running.earlier, running.facts)
        running.facts["seconds"] = round(self._clock() - running.started, 3)
        self.notes.extend(running.facts.pop("notes", ()))
        value = running.values[max(running.values)] if running.values else None
        if running.job.number is None:
            self._end_reference(running, value)
        else:
            self._tell(running, running.job.number, value)
        self._observer.job_ended(running.job, running.outcome, value, running.reason)

    def abandon(self, reason: str) -> None:
        """End every job that Tune has not ended; at the end of a search there should be none."""
        for identifier in list(self._running):
            self.on_end(identifier, reason)
        self.study.fail_unfinished()

    @property
    def ending(self) -> str | None:
        """Why the search ended before its budget was used, in one line; None if it wasn't so."""
        if self.study.finished >= self.study.config.budget:
            return None
        if self.gave_up is not None:
            return self.gave_up
        if self._late:
            return f"the time budget of {self._budget_text()} is used up"
        if self._exhausted:
            return "every configuration of the search space has been tried"
        return "Tune ended it"

    @property
    def _late(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    @property
    def _exhausted(self) -> bool:
        return not self._reference_due and self.study.exhausted

    def _budget_text(self) -> str:
        return f"{self.study.config.time_budget:g} s"

    def _start(
        self, identifier: str, job: Job, stages: tuple[StageSpec, ...] | None = None
    ) -> tuple[StageSpec, ...]:
        self._running[identifier] = _Running(job, self._clock())
        self._observer.job_started(job)
        return stages if stages is not None else self._planner.reference()

    def _take(self, running: _Running, row: Row) -> None:
        self._observer.row(running.job, row)
        if row.step is None or row.val_accuracy is None:
            return
        running.values[row.step] = row.val_accuracy
        number = running.job.number
        if number is not None and self.study.report(number, row.step, row.val_accuracy):
            running.outcome = "pruned"
        elif row.step == row.epochs:
            running.outcome = "complete"

    def _end_reference(self, running: _Running, value: float | None) -> None:
        if running.outcome == "complete":
            self.study.set_attribute(REFERENCE, {"val_accuracy": value, **running.facts})

    def _tell(self, running: _Running, number: int, value: float | None) -> None:
        if running.outcome == "complete" and value is not None:
            self.study.complete(number, value, running.facts)
        elif running.outcome == "pruned":
            self.study.prune(number, running.facts)
        else:
            self.study.fail(number, str(running.reason), running.facts)
        if running.outcome != "failed":
            self._failures.clear()
        elif not self._late:
            self._failures.append(str(running.reason))
            if len(self._failures) >= _FAILURES_IN_A_ROW:
                self.gave_up = (
                    f"{len(self._failures)} trials failed in a row, the last one: {running.reason}"
                )


def _merge(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """The facts of two attempts at one trial, as one: what either trained, the trial trained."""
    if not (earlier and later):
        return {**earlier, **later}
    before = {stage["key"]: stage for stage in earlier.get("stages", ())}
    stages = []
    for stage in later.get("stages", ()):
        other = before.pop(stage["key"], {})
        sums = {name: stage[name] + other.get(name, 0) for name in ("trained", "seconds")}
        stages.append({**stage, **sums})
    sums = {
        name: earlier.get(name, 0.0) + later.get(name, 0.0) for name in ("computing", "waiting")
    }
    notes = [*earlier.get("notes", ()), *later.get("notes", ())]
    # The later attempt's stages stay last: of a finished trial, the student.
    return {**earlier, **later, **sums, "stages": [*before.values(), *stages], "notes": notes}


def encode(event: dict[str, Any]) -> str:
    """An event as one string: Tune would flatten, copy and merge a nested one."""
    return json.dumps(event)


def decode(text: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(text)
    return event
