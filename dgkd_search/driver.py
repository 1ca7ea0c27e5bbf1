"""A whole search: data, study, Ray and Tune, and the report at its end."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path

import platformdirs

from dgkd_search.closing import finish
from dgkd_search.config import Resources
from dgkd_search.data import prepare
from dgkd_search.errors import Stopped
from dgkd_search.observer import Job, Observer, Observers
from dgkd_search.options import Options
from dgkd_search.planner import Planner
from dgkd_search.preview import check
from dgkd_search.results.run import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.results.table import write_trials
from dgkd_search.store import Store
from dgkd_search.study import ChainStudy
from dgkd_search.tune.conductor import Conductor


def run_search(options: Options, observer: Observer | None = None) -> Summary:
    """Find the best chain.

    Args:
        options: see ``Options``; what is None gets its default.
        observer: watches the search; none by default.

    Returns:
        What was found; everything else lies in the run folder.

    Raises:
        InputError: something is wrong with the options or the data; nothing was written.
        DgkdError: no trial completed.
        Stopped: the user interrupted it.
    """
    began = time.monotonic()
    observer = observer or Observer()
    resolved, run = check(options)
    for note in resolved.warnings:
        observer.message(f"note: {note}")
    store = Store(store_path(options))
    observer.message(f"preparing {resolved.options.dataset}")
    data = prepare(resolved.config.data, store.data)
    planner = Planner(resolved.config, data.info)
    # Ray reads its settings when it is first imported, so nothing imports it before this.
    from dgkd_search.tune.session import ray_session

    observer.message(f"starting Ray for {resolved.resources.concurrency} trials at once")
    try:
        with ray_session(resolved.resources) as folder:
            run.create(replace(resolved.options, store=str(store.root)))
            study = ChainStudy(resolved.config, run.database)
            watchers = Observers(observer, _TableWriter(study, run.trials))
            deadline = began + study.config.time_budget if study.config.time_budget else None
            concurrency = resolved.resources.concurrency
            conductor = Conductor(study, planner, watchers, concurrency, deadline)
            observer.started(study.config.budget, concurrency, study.config.time_budget)
            _schedule(conductor, resolved.resources, data.path, store, run, folder)
    finally:
        observer.finished()
    for note in (*conductor.notes, *store.notes):
        observer.message(note)
    return finish(run, study, planner, store, began=began, ended=conductor.ending)


class _TableWriter(Observer):
    """Keeps trials.csv up to date as trials end."""

    def __init__(self, study: ChainStudy, path: Path) -> None:
        self._study, self._path = study, path

    def job_ended(self, job: Job, state: str, value: float | None, reason: str | None) -> None:
        write_trials(self._study, self._path)


def _schedule(
    conductor: Conductor,
    resources: Resources,
    data: Path,
    store: Store,
    run: RunFolder,
    folder: Path,
) -> None:
    """Have Ray run the conductor's trials until it is over; whatever comes, none stays running."""
    from dgkd_search.tune.runtime import run_tune

    try:
        run_tune(conductor, data, store.root, resources, folder)
    except KeyboardInterrupt:
        raise Stopped(
            f"interrupted; {run.path} holds the trials so far, nothing that was trained is lost: "
            f"`dgkd-search --config {shlex.quote(str(run.config))}` begins a new run that "
            "finds it in the store"
        ) from None
    finally:
        conductor.abandon("stopped with the search")
        write_trials(conductor.study, run.trials)


def store_path(options: Options) -> Path:
    """Where trained stages are kept."""
    if options.store is not None:
        return Path(options.store)
    return platformdirs.user_cache_path("dgkd-search") / "store"
