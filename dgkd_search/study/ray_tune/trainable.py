"""What a worker runs: one trial, its rows sent to the driver as they come."""

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

EVENT = "event"  # the one metric that rows carry
TRIAL = "trial"  # the one setting of a trial
_TOGETHER = 1.0  # seconds of rows that nobody waits for, in one report


def train_trial(config: Mapping[str, str]) -> None:
    """Train the trial in ``config[TRIAL]``, reporting its rows.

    A report keeps the worker waiting for the driver, as long as an epoch of a small model takes:
    rows that no pruner judges come together, those of a second in one report.

    A trial that can't succeed (a bug, too little memory, a loss that isn't finite) reports its
    failure and ends normally: repeating it would fail again. Where the disk failed, it says that
    another session of the search may try again. A stop by Tune arrives as
    ``SystemExit`` from ``tune.report`` and passes through; closing the rows releases locks.
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
    except (Unavailable, InputError) as error:  # of the data or the store, not of the trial
        report(one_line(error), retryable=True)
    except DgkdError as error:
        report(one_line(error))
    except OSError as error:  # a full disk, a folder that is gone: mended, perhaps, by tomorrow
        report(one_line(error), retryable=True)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        report(one_line(line))
