"""Messages between driver and workers, encoded as strings that Tune can carry."""

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
    """A trial for a worker.

    Attributes:
        data, store: paths of the prepared data and the store, which every worker can access.
        limit: limit for stored outputs in bytes; None for no limit.
        judged: whether a pruner judges each of the student's epochs.
    """

    stages: tuple[StageSpec, ...]
    data: Path
    store: Path
    limit: int | None = None
    judged: bool = True


def encode_task(task: TrialTask) -> str:
    """Encode a task as one string: Tune would copy and flatten a nested value."""
    folders = {"data": str(task.data), "store": str(task.store)}
    specs = [stage.to_dict() for stage in task.stages]
    return json.dumps({**vars(task), **folders, "stages": specs})


def decode_task(text: str) -> TrialTask:
    """Decode the result of ``encode_task``.

    Raises:
        DgkdError: another version wrote it.
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
    """The progress of a trial since its last report.

    Attributes:
        rows: progress rows, in order.
        stats: totals of this attempt so far.
        attempt: identifies the attempt; each attempt's stats begin at zero.
        failure: why the trial failed after these rows, in one line; None if it didn't.
        retryable: whether a resumed search may retry the trial after a failure.
    """

    rows: tuple[TrialProgress, ...] = ()
    stats: TrialStats = field(default_factory=TrialStats)
    attempt: str = ""
    failure: str | None = None
    retryable: bool = False


def encode_report(report: TrialReport) -> str:
    """Encode a report as one string: Tune would flatten, copy and merge a nested value."""
    return json.dumps(to_plain(report))


def decode_report(text: str) -> TrialReport:
    """Decode the result of ``encode_report``.

    Raises:
        ValueError: the text is malformed.
    """
    return from_plain(TrialReport, json.loads(text))
