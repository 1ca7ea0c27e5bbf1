"""The study of a run: begun with what defines it, or opened again as it was left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from optuna.trial import TrialState

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import SearchResumed, TrialInfo, TrialOutcome
from dgkd_search.config.parse_options import ParsedOptions
from dgkd_search.errors import InputError
from dgkd_search.results.database import DamagedFile
from dgkd_search.results.definition import DEFINITION, SearchDefinition
from dgkd_search.results.manifest import (
    Manifest,
    check_same,
    open_readonly,
    open_study,
    read_manifest,
)
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.study import ChainStudy, accuracy_of
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.workflows.own_parts import check_own_parts, own_checksums
from dgkd_search.workflows.validate import ValidatedSearch, validate

_OUTCOMES: dict[TrialState, TrialOutcome] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def create_study(run: RunFolder, config: StudyConfig, definition: SearchDefinition) -> ChainStudy:
    """A new study in its run folder."""
    run.write_definition(definition)  # before there is a study, which it can make again
    study = ChainStudy(config, run.database, definition.initial_params)
    study.write(DEFINITION, definition)
    return study


def load_study(
    manifest: Manifest, config: StudyConfig, definition: SearchDefinition, callback: Callback
) -> ChainStudy:
    """The study of a run that goes on; what is damaged is set aside and made again.

    Args:
        definition: of now: where models run may be another, and a budget may have been raised.

    Raises:
        InputError: the data, or what the user has brought along, are others than the run was
            begun with.
    """
    run, damaged, begun = manifest.run, dict(manifest.damaged), manifest.definition
    if begun.data != definition.data:
        raise InputError(
            f"{run.path}: the run was begun with other data (fingerprint {begun.data}, these have "
            f"{definition.data}); bring those back, name their folder with --data-dir, or start a "
            "new run"
        )
    check_own_parts(run, begun, definition.checksums)
    study = None
    if run.database.exists() and run.database not in damaged:
        try:
            study = open_study(config, run.database, definition.initial_params)
        except DamagedFile as error:
            damaged[run.database] = str(error)
    for path, why in damaged.items():
        moved = run.quarantine(path)
        if path == run.database:  # what was left half written belongs to it
            run.quarantine(path.with_name(f"{path.name}-journal"))
        aside = f", set aside as {moved}" if moved else ""
        how = ", its trials from what is in the store" if path == run.database else ""
        callback.log(f"{path}: damaged ({why}){aside}; made again{how}")
    if study is None:
        return create_study(run, config, definition)
    run.write_definition(definition)
    study.write(DEFINITION, definition)
    return study


def report_previous_sessions(study: ChainStudy, spent: ElapsedTime, callback: Callback) -> None:
    """Tell a callback what earlier sessions have done."""
    best = study.best()
    best_so_far = None
    if best is not None:
        configuration = study.configuration(best)
        chain = configuration.chain.canonical()
        info = TrialInfo(best.number, chain.models, chain.guidance, configuration.drop_prob)
        best_so_far = info, accuracy_of(best)
    ended = Counter(_OUTCOMES[t.state] for t in study.trials if t.state in _OUTCOMES)
    callback.notify(SearchResumed(ended, best_so_far, spent.seconds))


_RAISED = ("budget", "time_budget")


@dataclass(frozen=True)
class Resumption:
    """A run that can go on."""

    manifest: Manifest
    validated: ValidatedSearch

    def lines(self) -> list[str]:
        """What is there and what is to come, in words."""
        path = self.manifest.run.path
        lines = [
            f"{file}: damaged ({why}); it will be set aside and made again"
            for file, why in self.manifest.damaged.items()
        ]
        if self.manifest.run.database in self.manifest.damaged:
            return [*lines, f"{path}: its trials begin anew, with what is in the store", ""]
        try:
            study = open_readonly(self.manifest.run)
        except InputError as error:
            return [*lines, str(error), ""]
        states = Counter(trial.state.name for trial in study.trials)
        done = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
        return [*lines, f"{path}: trials so far: {done}", ""]


def check_resumption(run: RunFolder, overrides: ParsedOptions) -> Resumption:
    """Everything that can be checked before a run goes on; nothing is written.

    Args:
        overrides: options of now. Where trials run may change (concurrency,
            GPUs, store, the place of the data), a budget may be raised, a time budget also be
            set where there was none; nothing else.

    Raises:
        InputError: it is no run, what is given would change what defines it, a part that the user
            has brought along is another, or as ``validate``.
    """
    manifest = read_manifest(run)
    options = overrides.applied_to(manifest.options)
    problems: list[str] = []
    if "out" in overrides:
        problems.append(
            f"--out {options.out}: a run that is resumed stays where it is; leave it out"
        )
    try:
        check_same(
            options,
            manifest.options,
            "--{}",
            "leave it out, or start a new run",
            [name for name in overrides.values if name not in (*_RAISED, "out")],
        )
    except InputError as error:
        problems += error.messages
    for name in _RAISED:
        now, begun = options.value(name), manifest.options.value(name)
        # A time budget where there was none takes nothing from what is finished.
        if begun is not None and now < begun:
            problems.append(
                f"--{name.replace('_', '-')} {now:g}: the run has {begun:g}; on resume it can "
                "only be raised"
            )
    if problems:
        raise InputError(problems)
    validated = validate(options, run)
    pretrained = validated.teacher.checksum if validated.teacher is not None else ""
    checksums = own_checksums(validated.resolved.config, pretrained)
    check_own_parts(run, manifest.definition, checksums)
    return Resumption(manifest, validated)
