"""A whole search, new or resumed: data, study, trials, and the report at its end."""

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
    check_params(initial_params or ())
    validated = validate(options)
    with resumable(validated.run), validated.run.begin():
        return _search(validated, callback or Callback(), initial_params, None)


def resume_search(
    run: Path | str,
    overrides: ParsedOptions = NO_OPTIONS,
    callback: Callback | None = None,
) -> Summary:
    """Go on with a search, whatever its end was; a finished one has its results written again.

    Args:
        run: its folder.
        overrides: options that may change; see ``check_resumption``.
        callback: watches the search; none by default.

    Raises:
        InputError: it is no run, another driver works on it, its data are others, or an option
            would change what defines it.
        DgkdError, Stopped: as for ``run_search``.
    """
    folder = RunFolder(Path(run).expanduser())
    check_resumption(folder, overrides)
    with resumable(folder), folder.hold():
        resumption = check_resumption(folder, overrides)  # nobody changes it any more
        validated, manifest = resumption.validated, resumption.manifest
        initial_params = manifest.definition.initial_params
        return _search(validated, callback or Callback(), initial_params, manifest)


def _search(
    validated: ValidatedSearch,
    callback: Callback,
    initial_params: Sequence[Params] | None,
    manifest: Manifest | None,
) -> Summary:
    """Both of the above, in a folder that is held.

    Args:
        manifest: of a run that goes on; None for a new one.
    """
    callback = CallbackList(callback)  # of the user's own, notify alone is called
    began = time.monotonic()
    resolved, run = validated.resolved, validated.run
    for note in resolved.warnings:
        callback.log(f"note: {note}")
    trackers = [make_tracker(n, run.path, callback.log) for n in resolved.options.log_to]
    callback = CallbackList(callback, *trackers)
    with prepare_search(validated, initial_params, callback.log) as search:
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
    """Run what is left of the trials; afterwards each has an end, and stands in trials.csv.

    Args:
        began: when this session did, on ``time.monotonic``.
        resumed: whether earlier sessions may have run some.
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
        callback.log(f"{run.path} is finished; its results are written again")
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
