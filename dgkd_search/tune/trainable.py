"""What a worker runs: one trial, its rows sent to the driver as they come."""

from __future__ import annotations

import contextlib
import functools
import json
import traceback
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from dgkd_search.data import open_prepared
from dgkd_search.errors import DgkdError
from dgkd_search.identity import TRAINING_VERSION, StageSpec
from dgkd_search.rows import TrialResult
from dgkd_search.store import Store
from dgkd_search.trial import Trial
from dgkd_search.tune.events import encode

EVENT = "event"  # the one metric that rows carry
JOB = "job"


def make_job(stages: Sequence[StageSpec], data: Path, store: Path, limit: int | None = None) -> str:
    """A trial as one string, for a worker that shares the folders.

    Args:
        data, store: prepared data and store, under paths that every worker sees.
        limit: bytes that stored outputs may take; None for no limit.
    """
    specs = [stage.to_dict() for stage in stages]
    folders = {"data": str(data), "store": str(store)}
    return json.dumps({"stages": specs, **folders, "limit": limit})


def train_trial(config: dict[str, Any]) -> None:
    """Train the trial in ``config["job"]``, reporting an event for every row.

    A trial that can't succeed (a bug, too little memory, a loss that isn't finite) reports its
    failure and ends normally: repeating it would fail again. A stop by Tune arrives as
    ``SystemExit`` from ``tune.report`` and passes through; closing the rows releases locks.

    Every event carries an ``attempt``: another one's facts start from nothing, as when Tune
    repeats a trial whose worker died.
    """
    attempt = uuid.uuid4().hex
    trial = None

    def report(**event: Any) -> None:
        facts = (trial.result if trial else TrialResult()).to_dict()
        tune.report({EVENT: encode({**event, "facts": facts, "attempt": attempt})})

    try:
        stages, data, store = _read_job(config[JOB])
        trial = Trial(stages, open_prepared(data), store())
        with contextlib.closing(iter(trial)) as rows:
            together: list[dict[str, Any]] = []  # a report takes longer than a replayed epoch
            for row in rows:
                together.append(row.to_dict())
                if not row.more:
                    report(rows=together)
                    together = []
    except DgkdError as error:
        report(failure=" ".join(str(error).split()))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        report(failure=" ".join(line.split()))


def _read_job(text: str) -> tuple[list[StageSpec], Path, Callable[[], Store]]:
    """What ``make_job`` wrote; DgkdError where another version of it did."""
    try:
        job = json.loads(text)
        stages = [StageSpec.from_dict(spec) for spec in job["stages"]]
        versions = {spec.version for spec in stages}
        if versions != {TRAINING_VERSION}:
            raise ValueError(f"training version {versions}, the worker's is {TRAINING_VERSION}")
        store = functools.partial(Store, Path(job["store"]), job["limit"])
        return stages, Path(job["data"]), store
    except (ValueError, KeyError, TypeError, AttributeError, DgkdError) as error:
        raise DgkdError(
            f"the worker can't read its job ({type(error).__name__}: {error}); "
            "install the same version of dgkd-search on every node"
        ) from error
