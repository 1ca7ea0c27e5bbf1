"""What a worker runs: one trial, its rows sent to the driver as they come."""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune

from dgkd_search.data import open_prepared
from dgkd_search.errors import DgkdError
from dgkd_search.identity import StageSpec
from dgkd_search.rows import TrialResult
from dgkd_search.store import Store
from dgkd_search.trial import Trial
from dgkd_search.tune.conductor import encode

EVENT = "event"  # the one metric that rows carry
JOB = "job"


def make_job(stages: Sequence[StageSpec], data: Path, store: Path) -> str:
    """A trial as one string, for a worker that shares the folders."""
    specs = [stage.to_dict() for stage in stages]
    return json.dumps({"stages": specs, "data": str(data), "store": str(store)})


def train_trial(config: dict[str, Any]) -> None:
    """Train the trial in ``config["job"]``, reporting an event for every row.

    A trial that can't succeed (a bug, too little memory, a loss that isn't finite) reports its
    failure and ends normally: repeating it would fail again. A stop by Tune arrives as
    ``SystemExit`` from ``tune.report`` and passes through; closing the rows releases locks.
    """
    job = json.loads(config[JOB])
    stages = [StageSpec.from_dict(spec) for spec in job["stages"]]
    trial = None
    try:
        trial = Trial(stages, open_prepared(Path(job["data"])), Store(job["store"]))
        with contextlib.closing(iter(trial)) as rows:
            for row in rows:
                _report({"row": row.to_dict(), "facts": trial.result.to_dict()})
    except DgkdError as error:
        _report({"failure": str(error), "facts": _facts(trial)})
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        _report({"failure": " ".join(line.split()), "facts": _facts(trial)})


def _facts(trial: Trial | None) -> dict[str, Any]:
    return (trial.result if trial else TrialResult()).to_dict()


def _report(event: dict[str, Any]) -> None:
    tune.report({EVENT: encode(event), "pid": os.getpid()})
