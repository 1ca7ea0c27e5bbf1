"""The state of a search, accumulated from its events, and its wording for progress displays."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dgkd_search.callbacks.base import arrows, trial_label
from dgkd_search.callbacks.events import (
    Event,
    ReplicationStarted,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialInfo,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.distillation.guidances.registry import DEFAULT_GUIDANCE
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.errors import one_line
from dgkd_search.utils.formatting import format_duration, pluralize

GAP = "  "


def trial_title(trial: TrialInfo) -> str:
    """Return a trial's label, chain, guidance and drop; dense guidance and no drop are omitted."""
    parts = [f"{trial_label(trial)} {arrows(trial.chain)}"]
    if trial.number is not None and trial.guidance != DEFAULT_GUIDANCE:
        parts.append(trial.guidance)
    if trial.drop_prob is not None:
        parts.append(f"drop {trial.drop_prob:g}")
    return GAP.join(parts)


def trial_outcome(event: TrialEnded, last: TrialProgress | None) -> str:
    """Describe how a trial ended, from its end and its last progress."""
    accuracy = None if event.value is None else f"{event.value:.2f} %"
    if event.state == "failed":
        return f"failed: {one_line(event.reason or 'no reason given')}"
    if event.state == "pruned":
        where = f" at epoch {last.step}" if last is not None and last.step is not None else ""
        return f"pruned{where}" + (f" ({accuracy})" if accuracy else "")
    return event.state + (f"{GAP}{accuracy}" if accuracy else "")


def replication_line(count: int) -> str:
    """Announce the replicates that follow the trials."""
    return f"the trials are finished; training {pluralize(count, 'replicate')} with fresh seeds"


@dataclass
class SearchState:
    """The state of a search. The baseline is not a trial and never counts as one.

    Attributes:
        clock: returns seconds from any origin.
        ended: number of trials by final state.
        best: the most accurate complete trial and its accuracy in percent.
        running: the last progress of each running trial, None before the first.
        max_replicates: upper bound on ``replicates``, known from the start.
        replicates, replicates_done: number of replicates to train, and of those that ended.
    """

    clock: Callable[[], float] = time.monotonic
    budget: int | None = None
    concurrency: int = 1
    time_budget: float | None = None
    ended: Counter[str] = field(default_factory=Counter)
    best: tuple[TrialInfo, float] | None = None
    running: dict[TrialInfo, TrialProgress | None] = field(default_factory=dict)
    max_replicates: int = 0
    replicates: int = 0
    replicates_done: int = 0
    _replicating: float | None = None  # when the first replicate started
    _began: float | None = None
    _before: tuple[int, float] = (0, 0.0)  # trials done and seconds spent by earlier sessions
    _moved: dict[TrialInfo, float] = field(default_factory=dict)  # when the student started
    _students: list[float] = field(default_factory=list)  # seconds per completely trained student
    _stages: dict[tuple[int | None, int, int], str] = field(default_factory=dict)

    def update(self, event: Event) -> None:
        """Update the state by an event."""
        match event:
            case SearchResumed(ended, best, seconds):
                self.ended, self.best = Counter(ended), best
                self._before = self.done, seconds
            case SearchStarted():
                self.budget, self.concurrency = event.budget, event.concurrency
                self.time_budget = event.time_budget
                self.max_replicates = event.max_replicates
                self._began = self.clock()
            case ReplicationStarted(count):
                self.replicates = count
            case TrialStarted(trial):
                if trial.replicate and self._replicating is None:
                    self._replicating = self.clock()
                self.running[trial] = None
                self._moved[trial] = self.clock()
            case TrialUpdated():
                self.add_progress(event)
            case TrialEnded():
                self.end_trial(event)

    def add_progress(self, event: TrialUpdated) -> bool:
        """Update the state by a trial's progress; return whether it is the first of its stage."""
        trial, progress = event.trial, event.progress
        if progress.step is None or progress.event != "epoch":
            self._moved[trial] = self.clock()
        elif progress.step == progress.epochs:
            self._students.append(self.clock() - self._moved.get(trial, self.clock()))
        if trial in self.running:  # progress may arrive after the trial has ended
            self.running[trial] = progress
        stage = (trial.number, trial.replicate, progress.position)
        before = self._stages.get(stage)
        if progress.event == "epoch" or before in (None, "waiting"):
            self._stages[stage] = progress.event
        return before is None

    def end_trial(self, event: TrialEnded) -> TrialProgress | None:
        """Update the state by a trial's end; return the trial's last progress."""
        trial, value = event.trial, event.value
        last = self.running.pop(trial, None)
        if trial.replicate:
            self.replicates_done += 1
        elif trial.number is not None:
            self.ended[event.state] += 1
            rival = float("-inf") if self.best is None else self.best[1]
            if event.state == "complete" and value is not None and value > rival:
                self.best = (trial, value)
        return last

    @property
    def done(self) -> int:
        """Number of trials that count toward the budget."""
        return self.ended["complete"] + self.ended["pruned"]

    @property
    def elapsed(self) -> float:
        """Seconds that the search has taken, including earlier sessions."""
        return self._before[1] + (0.0 if self._began is None else self.clock() - self._began)

    @property
    def trained(self) -> int:
        """Number of stages of which at least one epoch was trained."""
        return sum(event == "epoch" for event in self._stages.values())

    @property
    def reused(self) -> int:
        """Number of cached stages."""
        return sum(event == "replayed" for event in self._stages.values())

    def remaining(self) -> str | None:
        """Return a rough estimate of the time left, in words; None if there is none yet."""
        limit = None if self.time_budget is None else max(0.0, self.time_budget - self.elapsed)
        if self._replicating is not None and self.replicates:
            done, left = self.replicates_done, self.replicates - self.replicates_done
            elapsed = self.clock() - self._replicating
        else:
            done, left = self.done - self._before[0], max(0, (self.budget or 0) - self.done)
            elapsed = self.elapsed - self._before[1]
        # The rate is unknown until as many trials have ended as run concurrently.
        if self.budget is None or done < max(1, min(self.concurrency, self.budget)):
            return None if limit is None else f"at most {format_duration(limit)} left"
        guess = elapsed / done * left
        if self._replicating is None and self._students:
            student = sum(self._students) / len(self._students)
            guess += (
                self.max_replicates * student / max(1, min(self.concurrency, self.max_replicates))
            )
        return f"about {format_duration(guess if limit is None else min(guess, limit))} left"

    def count(self) -> str:
        """Return the count of trials or replicates, for example ``7 of 20``."""
        if self.replicates:
            return f"{self.replicates_done} of {pluralize(self.replicates, 'replicate')}"
        return str(self.done) if self.budget is None else f"{self.done} of {self.budget}"

    def summary(self) -> list[str]:
        """Return the state as a few phrases, the most important first."""
        odd = ", ".join(f"{self.ended[s]} {s}" for s in ("pruned", "failed") if self.ended[s])
        done = str(self.done) if self.budget is None else f"{self.done} of {self.budget}"
        phrases = [f"{done} trials" + (f" ({odd})" if odd else "")]
        if self.replicates:
            phrases.append(f"{self.replicates_done} of {pluralize(self.replicates, 'replicate')}")
        if self.best is not None:
            phrases.append(f"best {self.best[1]:.2f} % {arrows(self.best[0].chain)}")
        minutes, seconds = divmod(int(self.elapsed), 60)
        spent = f"{minutes // 60}:{minutes % 60:02}:{seconds:02} elapsed"
        phrases.append(", ".join(filter(None, (spent, self.remaining()))))
        phrases.append(f"stages: {self.trained} trained, {self.reused} cached")
        return phrases
