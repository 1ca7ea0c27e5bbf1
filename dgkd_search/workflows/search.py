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

from dgkd_search.callbacks.base import Callback, CallbackList
from dgkd_search.callbacks.trackers import make_tracker
from dgkd_search.config.options import Options
from dgkd_search.config.yaml_file import to_yaml_values
from dgkd_search.data import PreparedData, prepare
from dgkd_search.distillation.pretrained import PretrainedTeacher, as_entry
from dgkd_search.distillation.trial_stores import TrialStores, open_stores
from dgkd_search.errors import InputError, one_line
from dgkd_search.models import get_family
from dgkd_search.results.manifest import Manifest
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.store.location import NO_STORE, store_path
from dgkd_search.store.store import Store
from dgkd_search.study.config import Resources
from dgkd_search.study.disk_usage import estimate_outputs, space_errors
from dgkd_search.study.planner import Planner
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.utils.files import make_folder
from dgkd_search.utils.formatting import format_bytes
from dgkd_search.workflows.finish import finish
from dgkd_search.workflows.resume import (
    check_resumption,
    create_study,
    load_study,
    report_previous_sessions,
)
from dgkd_search.workflows.run_session import RunSession, TableWriter, resumable
from dgkd_search.workflows.validate import ValidatedSearch, validate


def run_search(
    options: Options,
    callback: Callback | None = None,
    initial_params: Sequence[Mapping[str, Any]] | None = None,
) -> Summary:
    """Find the best chain.

    Args:
        options: see ``Options``; what is None gets its default.
        callback: watches the search; none by default.
        initial_params: parameters (those of study.db) of the trials to begin with, instead of plain
            KD, the full chain and the middle assistant.

    Returns:
        What was found; everything else lies in the run folder.

    Raises:
        InputError: something is wrong with the options or the data; nothing was written.
        DgkdError: no trial completed.
        Stopped: the user interrupted it; ``resume_search`` goes on.
    """
    validated = validate(options)
    with resumable(validated.run), validated.run.begin():
        return _search(validated, callback or Callback(), initial_params, None)


def resume_search(
    run: Path | str, overrides: Mapping[str, Any] | None = None, callback: Callback | None = None
) -> Summary:
    """Go on with a search, whatever its end was; a finished one has its results written again.

    Args:
        run: its folder.
        overrides: options that may change (see ``check_resumption``), in underscores, raw.
        callback: watches the search; none by default.

    Raises:
        InputError: it is no run, another driver works on it, its data are others, or an option
            would change what defines it.
        DgkdError, Stopped: as for ``run_search``.
    """
    folder = RunFolder(Path(run).expanduser())
    check_resumption(folder, overrides or {})
    with resumable(folder), folder.hold():
        resumption = check_resumption(folder, overrides or {})  # nobody changes it any more
        validated, manifest = resumption.validated, resumption.manifest
        return _search(validated, callback or Callback(), manifest.initial_params, manifest)


def _search(
    validated: ValidatedSearch,
    callback: Callback,
    initial_params: Sequence[Mapping[str, Any]] | None,
    manifest: Manifest | None,
) -> Summary:
    """Both of the above, in a folder that is held.

    Args:
        manifest: of a run that goes on; None for a new one.
    """
    callback = CallbackList(callback)  # of the user's own, notify alone is called
    began = time.monotonic()
    resolved, run, resources = validated.resolved, validated.run, validated.resolved.resources
    for note in resolved.warnings:
        callback.log(f"note: {note}")
    trackers = [make_tracker(n, run.path, callback.log) for n in resolved.options.log_to]
    callback = CallbackList(callback, *trackers)
    shared = None if resolved.options.store == NO_STORE else store_path(resolved.options.store)
    with contextlib.ExitStack() as stack:
        limit = resolved.options.store_limit
        stores, store = stack.enter_context(open_stores(shared, run.stores, limit))
        lease = None
        if store is not None:
            lease = stack.enter_context(store.lease("search", str(run.path.absolute())))
            lease.add(())  # from now on nobody removes the data either
        callback.log(f"preparing {resolved.options.dataset}")
        data = prepare(resolved.config.data, stores.data, callback.log)
        pretrained = validated.teacher.checksum if validated.teacher else ""
        planner = Planner(resolved.config, data.info, pretrained)
        code = get_family(resolved.config.family).code
        loss = resolved.config.distillation.loss.code
        brought = (("given", pretrained), ("code", code), ("loss", loss))
        user_checksums = {name: checksum for name, checksum in brought if checksum}
        if validated.teacher is not None:
            stores = _add_pretrained(validated.teacher, planner, data, stores, store, callback)
        callback.log(_room_for_outputs(planner, resources, stores, store))
        options = replace(resolved.options, store=str(stores.root) if store else NO_STORE)
        fingerprint = data.info.fingerprint
        if manifest is None:
            study = create_study(
                run, options, resolved.config, fingerprint, initial_params, user_checksums
            )
        else:
            study = load_study(
                manifest, options, resolved.config, fingerprint, callback, user_checksums
            )
        before, time_budget = ElapsedTime.from_study(study), study.config.time_budget
        controller = SearchController(
            study,
            planner,
            CallbackList(callback, TableWriter(study, run.trials)),
            resources.concurrency,
            began + time_budget - before.seconds if time_budget else None,
            store.__contains__ if store else None,
            spent=before.seconds,
        )
        if controller.is_finished:
            callback.log(f"{run.path} is finished; its results are written again")
        else:
            if manifest is not None:
                report_previous_sessions(study, before, callback)
            session = RunSession(controller, resources, data.path, stores, run, lease)
            session.run(callback, before, began)
        controller.abandon("stopped with the search")
        from dgkd_search.results.table import write_trials  # pandas is slow to import

        write_trials(study, run.trials)
        for note in store.notes if store else ():
            callback.log(note)
        callback.log("choosing the best student, writing the results")
        summary = finish(
            run,
            study,
            planner,
            stores.open,
            data,
            callback.log,
            spent=ElapsedTime.from_study(study),
            concurrency=resources.concurrency,
            ended=controller.stop_reason,
            aborted=controller.abort_reason is not None,
            options=to_yaml_values(options),
        )
        _write_report(run, study, callback)
        return summary


def _write_report(run: RunFolder, study: ChainStudy, callback: Callback) -> None:
    """The page of what was found, without which the search is whole all the same."""
    try:
        from dgkd_search.results.report.page import render_report  # Altair is slow to import, too

        render_report([run], run.report, study)
    except Exception as error:
        why = one_line(error, 200, with_class=True)
        callback.log(
            f"{run.report} can't be written ({why}); `dgkd-search report "
            f"{shlex.quote(str(run.path))}` tries again"
        )


def _add_pretrained(
    teacher: PretrainedTeacher,
    planner: Planner,
    data: PreparedData,
    stores: TrialStores,
    store: Store | None,
    callback: Callback,
) -> TrialStores:
    """The stores, in which every chain will find the teacher that the user has brought along."""
    spec = planner.teacher()
    pretrained = as_entry(teacher, spec, data, store)
    callback.log(
        f"teacher {spec.architecture.name} from {teacher.path}: "
        f"{pretrained[2]['rows'][0]['val_accuracy']:.2f} % on validation; if it was trained on "
        "these images, that is more than it is worth"
    )
    return replace(stores, pretrained=pretrained)


def _room_for_outputs(
    planner: Planner, resources: Resources, stores: TrialStores, store: Store | None
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
    # The limit again: data that had to be fetched first weren't counted by ``validate``.
    problems = space_errors(need, "--store-limit", need.store, stores.limit)
    location = stores.root if stores.shared else NO_STORE
    problems += space_errors(need, f"--store {location}", need.running, free)
    if problems:
        raise InputError(problems)
    return f"stored outputs: {need}; the disk has room for {format_bytes(free)}"
