"""The events of a search, of which callbacks are notified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dgkd_search.distillation.progress import TrialProgress

TrialOutcome = Literal["complete", "pruned", "failed", "stopped"]


@dataclass(frozen=True)
class TrialInfo:
    """A trial as a callback sees it.

    Attributes:
        number: number in the study, from 0; None for the baseline, the student on labels alone.
        chain: model names, teacher first.
        guidance: name of the chain's guidance.
        drop_prob: drop probability of the student; None if it has fewer than two teachers.
        replicate: 0 for the trial itself, from 1 for replicates with fresh seeds.
    """

    number: int | None
    chain: tuple[str, ...]
    guidance: str
    drop_prob: float | None
    replicate: int = 0


@dataclass(frozen=True)
class Message:
    """A line for the user, such as "preparing the data" or a warning."""

    text: str


@dataclass(frozen=True)
class SearchResumed:
    """A search is resumed; this event precedes ``SearchStarted``.

    Attributes:
        ended: number of trials by state, as in ``TrialEnded``.
        best: the most accurate complete trial so far, and its accuracy in percent.
        seconds: time that earlier sessions took.
    """

    ended: Mapping[TrialOutcome, int]
    best: tuple[TrialInfo, float] | None
    seconds: float


@dataclass(frozen=True)
class SearchStarted:
    """The search starts its trials.

    Attributes:
        budget: number of trials to finish.
        concurrency: number of concurrent trials.
        time_budget: seconds, or None.
        max_replicates: largest number of replicates that may follow the trials.
    """

    budget: int
    concurrency: int
    time_budget: float | None
    max_replicates: int = 0


@dataclass(frozen=True)
class ReplicationStarted:
    """The trials have ended; ``count`` replicates follow."""

    count: int


@dataclass(frozen=True)
class TrialStarted:
    """A trial was submitted to Ray; it may still wait for a free worker."""

    trial: TrialInfo


@dataclass(frozen=True)
class TrialUpdated:
    """A running trial made progress, or waits."""

    trial: TrialInfo
    progress: TrialProgress


@dataclass(frozen=True)
class TrialEnded:
    """A trial ended.

    Attributes:
        state: ``complete``, ``pruned``, ``failed``, or ``stopped`` if the search ended first.
        value: validation accuracy in percent; for a pruned trial the last one reported.
        reason: why the trial failed or was stopped, in one line.
    """

    trial: TrialInfo
    state: TrialOutcome
    value: float | None
    reason: str | None


@dataclass(frozen=True)
class SearchFinished:
    """Trials and replicates have ended. Only messages may follow; the event may come twice."""


Event = (
    Message
    | SearchResumed
    | SearchStarted
    | ReplicationStarted
    | TrialStarted
    | TrialUpdated
    | TrialEnded
    | SearchFinished
)
