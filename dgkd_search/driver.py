"""A whole search, new or resumed: data, study, trials, and the report at its end."""

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
from dgkd_search.data import PreparedData, prepare
from dgkd_search.errors import InputError
from dgkd_search.files import make_folder
from dgkd_search.given import GivenTeacher, as_entry
from dgkd_search.models import get_family
from dgkd_search.observer import Observer, Observers
from dgkd_search.options import Options
from dgkd_search.planner import Planner
from dgkd_search.preview import Checked, check
from dgkd_search.reopen import Spent, begin_study, reopen_study, tell_past
from dgkd_search.resolve import to_yaml_values
from dgkd_search.results.record import Record
from dgkd_search.results.run import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.resumption import check_resumption
from dgkd_search.scheduling import Session, TableWriter, resumable
from dgkd_search.sharing import NONE, Stores, open_stores
from dgkd_search.sizes import estimate_outputs, no_room, readable
from dgkd_search.store import Store, default_root
from dgkd_search.study import ChainStudy
from dgkd_search.trackers import make_tracker
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
        Stopped: the user interrupted it; ``resume_search`` goes on.
    """
    checked = check(options)
    with resumable(checked.run), checked.run.begin():
        return _search(checked, observer or Observer(), first, None)


def resume_search(
    run: Path | str, given: Mapping[str, Any] | None = None, observer: Observer | None = None
) -> Summary:
    """Go on with a search, whatever its end was; a finished one has its results written again.

    Args:
        run: its folder.
        given: options that may change (see ``check_resumption``), in underscores, raw.
        observer: watches the search; none by default.

    Raises:
        InputError: it is no run, another driver works on it, its data are others, or an option
            would change what defines it.
        DgkdError, Stopped: as for ``run_search``.
    """
    folder = RunFolder(Path(run).expanduser())
    check_resumption(folder, given or {})
    with resumable(folder), folder.hold():
        resumption = check_resumption(folder, given or {})  # nobody changes it any more
        checked, record = resumption.checked, resumption.record
        return _search(checked, observer or Observer(), record.first, record)


def _search(
    checked: Checked,
    observer: Observer,
    first: Sequence[Mapping[str, Any]] | None,
    record: Record | None,
) -> Summary:
    """Both of the above, in a folder that is held.

    Args:
        record: of a run that goes on; None for a new one.
    """
    began = time.monotonic()
    resolved, run, resources = checked.resolved, checked.run, checked.resolved.resources
    for note in resolved.warnings:
        observer.message(f"note: {note}")
    trackers = [make_tracker(n, run.path, observer.message) for n in resolved.options.log_to]
    observer = Observers(observer, *trackers)
    shared = None if resolved.options.store == NONE else store_path(resolved.options)
    with contextlib.ExitStack() as stack:
        limit = resolved.options.store_limit
        stores, store = stack.enter_context(open_stores(shared, run.stores, limit))
        lease = None
        if store is not None:
            lease = stack.enter_context(store.lease("search", str(run.path.absolute())))
            lease.add(())  # from now on nobody removes the data either
        observer.message(f"preparing {resolved.options.dataset}")
        data = prepare(resolved.config.data, stores.data, observer.message)
        given = checked.teacher.checksum if checked.teacher else ""
        planner = Planner(resolved.config, data.info, given)
        code = get_family(resolved.config.family).code
        brought = {k: v for k, v in (("given", given), ("code", code)) if v}
        if checked.teacher is not None:
            stores = _give(checked.teacher, planner, data, stores, store, observer)
        observer.message(_room_for_outputs(planner, resources, stores, store))
        options = replace(resolved.options, store=str(stores.root) if store else NONE)
        fingerprint = data.info.fingerprint
        if record is None:
            study = begin_study(run, options, resolved.config, fingerprint, first, brought)
        else:
            study = reopen_study(record, options, resolved.config, fingerprint, observer, brought)
        before, time_budget = Spent.of(study), study.config.time_budget
        conductor = Conductor(
            study,
            planner,
            Observers(observer, TableWriter(study, run.trials)),
            resources.concurrency,
            began + time_budget - before.seconds if time_budget else None,
            store.__contains__ if store else None,
            spent=before.seconds,
        )
        if conductor.over:
            observer.message(f"{run.path} is finished; its results are written again")
        else:
            if record is not None:
                tell_past(study, before, observer)
            session = Session(conductor, resources, data.path, stores, run, lease)
            session.run(observer, before, began)
        conductor.abandon("stopped with the search")
        from dgkd_search.results.table import write_trials  # pandas is slow to import

        write_trials(study, run.trials)
        for note in store.notes if store else ():
            observer.message(note)
        observer.message("choosing the best student, writing the results")
        summary = finish(
            run,
            study,
            planner,
            stores.open,
            data,
            observer.message,
            spent=Spent.of(study),
            concurrency=resources.concurrency,
            ended=conductor.ending,
            gave_up=conductor.gave_up is not None,
            options=to_yaml_values(options),
        )
        _write_report(run, study, observer)
        return summary


def _write_report(run: RunFolder, study: ChainStudy, observer: Observer) -> None:
    """The page of what was found, without which the search is whole all the same."""
    try:
        from dgkd_search.report import write_report  # Altair is slow to import, too

        write_report([run], run.report, study)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        observer.message(
            f"{run.report} can't be written ({why}); `dgkd-search report "
            f"{shlex.quote(str(run.path))}` tries again"
        )


def _give(
    teacher: GivenTeacher,
    planner: Planner,
    data: PreparedData,
    stores: Stores,
    store: Store | None,
    observer: Observer,
) -> Stores:
    """The stores, in which every chain will find the teacher that the user has brought along."""
    spec = planner.teacher()
    given = as_entry(teacher, spec, data, store)
    observer.message(
        f"teacher {spec.architecture.name} from {teacher.path}: "
        f"{given[2]['rows'][0]['val_accuracy']:.2f} % on validation; if it was trained on these "
        "images, that is more than it is worth"
    )
    return replace(stores, given=given)


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
    make_folder(stores.root)
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


def store_path(options: Options) -> Path:
    """Where trained stages are kept, if trials share them."""
    if options.store not in (None, NONE):
        return Path(options.store)
    return default_root()
