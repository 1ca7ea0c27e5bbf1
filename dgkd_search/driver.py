"""A whole search: data, study, Ray and Tune, and the report at its end."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dgkd_search.closing import finish
from dgkd_search.config import Resources
from dgkd_search.data import prepare
from dgkd_search.errors import InputError, Stopped
from dgkd_search.identity import StageSpec
from dgkd_search.leases import Lease
from dgkd_search.observer import Job, Observer, Observers
from dgkd_search.options import Options
from dgkd_search.planner import Planner
from dgkd_search.preview import check
from dgkd_search.results.run import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.results.table import write_trials
from dgkd_search.sharing import NONE, Stores, open_stores, private_folder
from dgkd_search.sizes import counted, estimate_outputs, no_room, readable
from dgkd_search.store import Store, default_root
from dgkd_search.study import ChainStudy
from dgkd_search.tune.conductor import Conductor


def run_search(
    options: Options,
    observer: Observer | None = None,
    first: Sequence[Mapping[str, Any]] | None = None,
) -> Summary:
    """Find the best chain.

    Args:
        options: see ``Options``; what is None gets its default.
        observer: watches the search; none by default.
        first: parameters (those of study.db) of the trials to begin with, instead of plain KD,
            the full chain and the middle assistant.

    Returns:
        What was found; everything else lies in the run folder.

    Raises:
        InputError: something is wrong with the options or the data; nothing was written.
        DgkdError: no trial completed.
        Stopped: the user interrupted it.
    """
    began = time.monotonic()
    observer = observer or Observer()
    checked = check(options)
    resolved, run = checked.resolved, checked.run
    for note in resolved.warnings:
        observer.message(f"note: {note}")
    shared = None if options.store == NONE else store_path(options)
    private = private_folder(run.path.absolute())
    with contextlib.ExitStack() as stack:
        stores, store = stack.enter_context(open_stores(shared, private, options.store_limit))
        lease = None
        if store is not None:
            lease = stack.enter_context(store.lease("search", str(run.path.absolute())))
            lease.add(())  # from now on nobody removes the data either
        observer.message(f"preparing {resolved.options.dataset}")
        data = prepare(resolved.config.data, stores.data)
        planner = Planner(resolved.config, data.info)
        observer.message(_room_for_outputs(planner, resolved.resources, stores, store))
        # Ray reads its settings when it is first imported, so nothing imports it before this.
        from dgkd_search.tune.session import ray_session

        at_once = counted(resolved.resources.concurrency, "trial")
        observer.message(f"starting Ray for {at_once} at once")
        try:
            with ray_session(resolved.resources) as folder:
                run.create(replace(resolved.options, store=str(stores.root) if store else NONE))
                if lease is not None:
                    lease.rename(str(run.path.absolute()))  # others may have taken the name
                study = ChainStudy(resolved.config, run.database, first)
                conductor = Conductor(
                    study,
                    planner,
                    Observers(observer, _TableWriter(study, run.trials)),
                    resolved.resources.concurrency,
                    began + study.config.time_budget if study.config.time_budget else None,
                    store.__contains__ if store else None,
                )
                observer.started(
                    study.config.budget,
                    resolved.resources.concurrency,
                    study.config.time_budget,
                )
                ready = time.monotonic()
                _schedule(conductor, resolved.resources, data.path, stores, run, folder, lease)
        finally:
            observer.finished()
        for note in store.notes if store else ():
            observer.message(note)
        return finish(
            run,
            study,
            planner,
            stores.open,
            began=began,
            started=ready - began,
            concurrency=resolved.resources.concurrency,
            ended=conductor.ending,
        )


def _room_for_outputs(
    planner: Planner, resources: Resources, stores: Stores, store: Store | None
) -> str:
    """What stored outputs will take, in words.

    Raises:
        InputError: the running trials' alone don't fit.
    """
    images, classes = planner.info.train_count, len(planner.info.classes)
    need = estimate_outputs(planner.config, images, classes, resources.concurrency, stores.shared)
    if not need.total:
        return f"stored outputs: {need}"
    stores.root.mkdir(parents=True, exist_ok=True)
    # What is stored already needs no room, or gives it.
    held = sum(file.size for file in store.outputs.files()) if store else 0
    free = shutil.disk_usage(stores.root).free + held
    # The limit again: data that had to be fetched first weren't counted by ``check``.
    problems = no_room(need, "--store-limit", need.store, stores.limit)
    place = stores.root if stores.shared else NONE
    problems += no_room(need, f"--store {place}", need.running, free)
    if problems:
        raise InputError(problems)
    return f"stored outputs: {need}; the disk has room for {readable(free)}"


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
    stores: Stores,
    run: RunFolder,
    folder: Path,
    lease: Lease | None,
) -> None:
    """Have Ray run the conductor's trials until it is over; whatever comes, none stays running."""
    from dgkd_search.tune.runtime import run_tune
    from dgkd_search.tune.trainable import make_job

    def job(stages: tuple[StageSpec, ...]) -> str:
        if lease is not None:
            lease.add(stage.key for stage in stages)  # from now on nobody removes them
        place, judged = stores.of(stages), conductor.study.config.pruner != "none"
        return make_job(stages, data, place, stores.limit, judged=judged)

    try:
        run_tune(conductor, job, resources, folder)
    except KeyboardInterrupt:
        raise Stopped(_interrupted(run, stores)) from None
    finally:
        conductor.abandon("stopped with the search")
        write_trials(conductor.study, run.trials)


def _interrupted(run: RunFolder, stores: Stores) -> str:
    text = f"interrupted; {run.path} holds the trials so far"
    if not stores.shared:
        return f"{text}; what they trained is gone with their stores (--store none)"
    again = f"dgkd-search --config {shlex.quote(str(run.config))}"
    return (
        f"{text}, nothing that was trained is lost: `{again}` begins a new run that "
        "finds it in the store"
    )


def store_path(options: Options) -> Path:
    """Where trained stages are kept, if trials share them."""
    if options.store not in (None, NONE):
        return Path(options.store)
    return default_root()
