"""What the trials of a search did, added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from dgkd_search.study.replication import replicate_facts
from dgkd_search.study.study import REFERENCE, ChainStudy
from dgkd_search.study.timing import ElapsedTime


def total_work(study: ChainStudy, spent: ElapsedTime, concurrency: int) -> Work:
    """What the trials and the reference did, added up."""
    facts: list[dict[str, Any]] = [study.facts(t) for t in study.trials]
    facts += [study.attributes.get(REFERENCE, {}), *replicate_facts(study)]
    stages = [stage for fact in facts for stage in fact.get("stages", ())]
    retried_trials = study.retried_trials
    begun = [t for t in study.trials if study.facts(t).get("begun", True)]
    states = [t.state for t in begun if t.number not in retried_trials]
    computing = sum(fact.get("computing", 0.0) for fact in facts)
    waiting = sum(fact.get("waiting", 0.0) for fact in facts)
    seconds = sum(fact.get("seconds", 0.0) for fact in facts)
    return Work(
        completed=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        trained=sum(stage["trained"] > 0 and stage["finished"] for stage in stages),
        reused=sum(stage["trained"] == 0 for stage in stages),
        taught=sum(fact.get("taught", 0) for fact in facts),
        forwards=sum(fact.get("forwards", 0) for fact in facts),
        computing=computing,
        waiting=waiting,
        starting=spent.starting + max(0.0, seconds - computing - waiting),
        concurrency=concurrency,
    )


@dataclass(frozen=True)
class Work:
    """What the trials of a search did.

    Attributes:
        completed, pruned, failed: trials; a budget counts the first two.
        trained, reused: stages that a trial finished, and that it found finished.
        taught: images that a teacher taught, over all teachers and epochs.
        forwards: images that were run through a teacher for it.
        computing, waiting, starting: seconds of workers: training and running teachers; waiting for
            each other's stages; the rest of their trials (starting, loading, storing) and of the
            time until the first one could begin.
        concurrency: workers.
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
