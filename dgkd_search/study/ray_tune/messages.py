"""What a worker tells the driver of its trial, as Tune carries it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.utils.records import from_plain, to_plain


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
