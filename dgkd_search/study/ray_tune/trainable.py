"""The function that a worker runs: it trains one trial and reports its progress to the driver."""

from __future__ import annotations

import contextlib
import time
import traceback
import uuid
from collections.abc import Mapping
from pathlib import Path

from ray import tune

from dgkd_search.data import open_prepared
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import DgkdError, InputError, Unavailable, one_line
from dgkd_search.models import load_families
from dgkd_search.store.store import Store
from dgkd_search.study.ray_tune.messages import TrialReport, decode_task, encode_report

EVENT = "event"  # the only metric of a report
TRIAL = "trial"  # the only key of a trial's configuration
_TOGETHER = 1.0  # seconds for which rows that need no decision are collected in one report


def train_trial(config: Mapping[str, str]) -> None:
    """Train the trial in ``config[TRIAL]`` and report its progress rows.

    A worker waits for the driver in each report, about as long as an epoch of a small model takes.
    Therefore rows that no pruner judges are collected for a second.

    A trial that can't succeed (a bug, too little memory, a loss that isn't finite) reports its
    failure and ends normally, because Tune's retry would fail too. After an error of the disk, the
    data or the store, it reports that a resumed search may retry the trial. When Tune stops the
    trial, ``tune.report`` raises ``SystemExit``, which is not caught; closing the rows releases
    locks.
    """
    attempt = uuid.uuid4().hex
    trial = None
    together: list[TrialProgress] = []

    def report(failure: str | None = None, retryable: bool = False) -> None:
        stats = trial.result.stats if trial is not None else TrialStats()
        event = TrialReport(tuple(together), stats, attempt, failure, retryable)
        tune.report({EVENT: encode_report(event)})

    try:
        task = decode_task(config[TRIAL])
        for origin in sorted({origin for spec in task.stages for origin in spec.origins}):
            load_families(origin)
        trial = Trial(task.stages, open_prepared(task.data), Store(task.store, task.limit))
        with contextlib.closing(iter(trial)) as rows:
            reported = -_TOGETHER
            for row in rows:
                together.append(row)
                awaited = (task.judged and row.step is not None) or row.ends_stage
                late = time.monotonic() - reported >= _TOGETHER
                if not row.more and (awaited or late):
                    report()
                    together, reported = [], time.monotonic()
    except (Unavailable, InputError) as error:  # caused by the data or the store
        report(one_line(error), retryable=True)
    except DgkdError as error:
        report(one_line(error))
    except OSError as error:  # a full disk or a missing folder may be fixed before a resume
        report(one_line(error), retryable=True)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        report(one_line(line))
