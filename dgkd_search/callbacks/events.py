"""What happens in a search, as values that callbacks are notified of."""

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
        number: in the study, from 0; None for the student on labels alone.
        chain: model names, teacher first.
        guidance: of the chain.
        drop_prob: of the student; None where it has fewer than two teachers.
        replicate: 0 for the trial itself, from 1 where it is trained again with a fresh seed.
    """

    number: int | None
    chain: tuple[str, ...]
    guidance: str
    drop_prob: float | None
    replicate: int = 0


@dataclass(frozen=True)
class Message:
    """A line for the user: a phase of the work ("preparing the data"), a warning."""

    text: str


@dataclass(frozen=True)
class SearchResumed:
    """The search continues what earlier sessions have done; comes before ``SearchStarted``.

    Attributes:
        ended: number of trials by state, as in ``TrialEnded``.
        best: the most accurate complete trial so far, and its accuracy in percent.
        seconds: that the search has taken.
    """

    ended: Mapping[TrialOutcome, int]
    best: tuple[TrialInfo, float] | None
    seconds: float


@dataclass(frozen=True)
class SearchStarted:
    """The search begins.

    Attributes:
        budget: number of trials to finish.
        concurrency: of them at once.
        time_budget: seconds, or None.
        max_replicates: students that may be trained again with fresh seeds after them.
    """

    budget: int
    concurrency: int
    time_budget: float | None
    max_replicates: int = 0


@dataclass(frozen=True)
class ReplicationStarted:
    """The trials are over; ``count`` students are trained again with fresh seeds."""

    count: int


@dataclass(frozen=True)
class TrialStarted:
    """A trial was given to the cluster; it may still wait for a free worker."""

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
        state: ``complete``, ``pruned``, ``failed`` or, where the search ended first, ``stopped``.
        value: validation accuracy in percent (of a pruned trial, the last one reported).
        reason: of a failure or stop, in one line.
    """

    trial: TrialInfo
    state: TrialOutcome
    value: float | None
    reason: str | None


@dataclass(frozen=True)
class SearchFinished:
    """The trials are over; messages alone may follow. May come twice."""


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
