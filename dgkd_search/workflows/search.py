"""A complete search, new or resumed: data, study, trials, and results."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from dgkd_search.callbacks.base import Callback, CallbackList
from dgkd_search.callbacks.teacher_check import TeacherCheck
from dgkd_search.callbacks.trackers import make_tracker
from dgkd_search.config.options import Options
from dgkd_search.config.parse_options import NO_OPTIONS, ParsedOptions
from dgkd_search.errors import one_line
from dgkd_search.results.manifest import Manifest
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.space import Params, check_params
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.workflows.finish import SearchEnd, finish
from dgkd_search.workflows.preparation import PreparedSearch, prepare_search
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
    initial_params: Sequence[Params] | None = None,
) -> Summary:
    """Find the best chain.

    Args:
        options: options of the search; None values get their defaults.
        callback: watches the search; none by default.
        initial_params: parameters (as in study.db) of the first trials, instead of plain KD, the
            full chain and the middle assistant alone.

    Returns:
        A summary; the complete results are in the run folder.

    Raises:
        InputError: the options or the data are invalid; nothing was written.
        DgkdError: no trial completed.
        Stopped: the user interrupted the search; ``resume_search`` resumes it.
    """
    check_params(initial_params or ())
    validated = validate(options)
    with resumable(validated.run), validated.run.begin():
        return _search(validated, callback or Callback(), initial_params, None)


def resume_search(
    run: Path | str,
    overrides: ParsedOptions = NO_OPTIONS,
    callback: Callback | None = None,
) -> Summary:
    """Resume a search, or rewrite the results of a finished one.

    Args:
        run: the run folder.
        overrides: options that may change; see ``check_resumption``.
        callback: watches the search; none by default.

    Raises:
        InputError: the folder is no run or is in use by another search, its data have changed, or
            an option would change the definition of the search.
        DgkdError, Stopped: as for ``run_search``.
    """
    folder = RunFolder(Path(run).expanduser())
    check_resumption(folder, overrides)
    with resumable(folder), folder.hold():
        resumption = check_resumption(folder, overrides)  # again, now that the folder is locked
        validated, manifest = resumption.validated, resumption.manifest
        initial_params = manifest.definition.initial_params
        return _search(validated, callback or Callback(), initial_params, manifest)


def _search(
    validated: ValidatedSearch,
    callback: Callback,
    initial_params: Sequence[Params] | None,
    manifest: Manifest | None,
) -> Summary:
    """Run a new or resumed search, whose folder is locked.

    Args:
        manifest: manifest of the resumed run; None for a new one.
    """
    callback = CallbackList(callback)  # so that only ``notify`` of a user's callback is called
    began = time.monotonic()
    resolved, run = validated.resolved, validated.run
    for note in resolved.warnings:
        callback.log(f"note: {note}")
    trackers = [make_tracker(n, run.path, callback.log) for n in resolved.options.log_to]
    callback = CallbackList(callback, *trackers)
    begun = None if manifest is None else manifest.definition
    with prepare_search(validated, initial_params, callback.log, begun) as search:
        config = resolved.config
        if manifest is None:
            study = create_study(run, config, search.definition)
        else:
            study = load_study(manifest, config, search.definition, callback)
        controller = _run_trials(search, study, callback, began, resumed=manifest is not None)
        for note in search.store.notes if search.store else ():
            callback.log(note)
        callback.log("choosing the best student, writing the results")
        aborted = controller.abort_reason is not None
        end = SearchEnd(ElapsedTime.from_study(study), controller.stop_reason, aborted)
        summary = finish(search, study, end, callback.log)
        _write_report(run, study, callback)
        return summary


def _run_trials(
    search: PreparedSearch, study: ChainStudy, callback: Callback, began: float, *, resumed: bool
) -> SearchController:
    """Run the remaining trials; afterwards all have ended, and trials.csv lists them.

    Args:
        began: start of this session, on ``time.monotonic``.
        resumed: whether earlier sessions may have run trials.
    """
    run, before, time_budget = search.run, ElapsedTime.from_study(study), study.config.time_budget
    controller = SearchController(
        study,
        search.planner,
        CallbackList(callback, TableWriter(study, run.trials), TeacherCheck(callback.log)),
        search.resources.concurrency,
        began + time_budget - before.seconds if time_budget else None,
        search.store.__contains__ if search.store else None,
        spent=before.seconds,
    )
    if controller.is_finished:
        callback.log(f"{run.path} is finished; rewriting its results")
    else:
        if resumed:
            report_previous_sessions(study, before, callback)
        session = RunSession(
            controller, search.resources, search.data.path, search.stores, run, search.lease
        )
        session.run(callback, before, began)
    controller.abandon("stopped with the search")
    from dgkd_search.results.table import write_trials  # pandas is slow to import

    write_trials(study, run.trials)
    return controller


def _write_report(run: RunFolder, study: ChainStudy, callback: Callback) -> None:
    """Write the report page; the search is complete even if that fails."""
    try:
        from dgkd_search.results.report.page import render_report  # Altair is slow to import, too

        render_report([run], run.report, study)
    except Exception as error:
        why = one_line(error, 200, with_class=True)
        callback.log(
            f"{run.report} can't be written ({why}); to try again, run `dgkd-search report "
            f"{shlex.quote(str(run.path))}`"
        )
