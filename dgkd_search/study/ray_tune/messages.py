"""What the driver tells a worker of a trial, and the worker of its progress, as Tune carries it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.errors import DgkdError
from dgkd_search.training.spec import TRAINING_VERSION, StageSpec
from dgkd_search.utils.records import from_plain, to_plain


@dataclass(frozen=True)
class TrialTask:
    """A trial for a worker that shares the folders.

    Attributes:
        data, store: prepared data and store, under paths that every worker sees.
        limit: bytes that stored outputs may take; None for no limit.
        judged: whether a pruner looks at each of the student's epochs.
    """

    stages: tuple[StageSpec, ...]
    data: Path
    store: Path
    limit: int | None = None
    judged: bool = True


def encode_task(task: TrialTask) -> str:
    """A task as one string: Tune would copy a nested one, and flatten it in its tables."""
    folders = {"data": str(task.data), "store": str(task.store)}
    specs = [stage.to_dict() for stage in task.stages]
    return json.dumps({**vars(task), **folders, "stages": specs})


def decode_task(text: str) -> TrialTask:
    """What ``encode_task`` wrote.

    Raises:
        DgkdError: another version of it did.
    """
    try:
        value = json.loads(text)
        stages = tuple(StageSpec.from_dict(spec) for spec in value["stages"])
        versions = {spec.version for spec in stages}
        if versions != {TRAINING_VERSION}:
            raise ValueError(f"training version {versions}, the worker's is {TRAINING_VERSION}")
        return from_plain(TrialTask, {**value, "stages": stages})
    except (ValueError, KeyError, TypeError, AttributeError, DgkdError) as error:
        raise DgkdError(
            f"the worker can't read its trial ({type(error).__name__}: {error}); "
            "install the same version of dgkd-search on every node"
        ) from error


@dataclass(frozen=True)
class TrialReport:
    """What a trial did since its last report.

    Attributes:
        rows: of its progress, in order.
        stats: of this attempt so far.
        attempt: which run of the trial it is: another one's stats begin at nothing.
        failure: why the trial failed after these rows, in one line; None if it didn't.
        retryable: whether a resumed search may try it again, where it failed.
    """

    rows: tuple[TrialProgress, ...] = ()
    stats: TrialStats = field(default_factory=TrialStats)
    attempt: str = ""
    failure: str | None = None
    retryable: bool = False


def encode_report(report: TrialReport) -> str:
    """A report as one string: Tune would flatten, copy and merge a nested one."""
    return json.dumps(to_plain(report))


def decode_report(text: str) -> TrialReport:
    """What ``encode_report`` wrote.

    Raises:
        ValueError: it is something else.
    """
    return from_plain(TrialReport, json.loads(text))
