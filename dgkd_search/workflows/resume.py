"""The study of a run: created with the run's definition, or loaded to resume the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from optuna.trial import TrialState

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import SearchResumed, TrialInfo, TrialOutcome
from dgkd_search.config.options import Options, scope_of
from dgkd_search.config.parse_options import ParsedOptions
from dgkd_search.data.earlier_rules import PREPARED_GONE, why_other_pixels
from dgkd_search.errors import InputError
from dgkd_search.results.database import DamagedFile, beside_database
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
from dgkd_search.utils.formatting import format_value
from dgkd_search.workflows.own_parts import check_own_parts, own_checksums
from dgkd_search.workflows.validate import ValidatedSearch, validate

_OUTCOMES: dict[TrialState, TrialOutcome] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def create_study(run: RunFolder, config: StudyConfig, definition: SearchDefinition) -> ChainStudy:
    """Create a study in its run folder."""
    run.write_definition(definition)  # first: a lost study can be restored from it
    study = ChainStudy(config, run.database, definition.initial_params)
    study.write(DEFINITION, definition)
    return study


def load_study(
    manifest: Manifest, config: StudyConfig, definition: SearchDefinition, callback: Callback
) -> ChainStudy:
    """Load the study of a run that is resumed; damaged files are moved aside and written again.

    Args:
        definition: the present definition, whose resources and budgets may have changed.

    Raises:
        InputError: the data or the user's own parts have changed since the run was started.
    """
    run, damaged, begun = manifest.run, dict(manifest.damaged), manifest.definition
    if begun.data != definition.data:
        if reason := why_other_pixels(config.data, begun.decoding_rules):
            raise InputError(f"{run.path}: {reason}; {PREPARED_GONE}")
        raise InputError(
            f"{run.path}: the run was started with other data (fingerprint {begun.data}, present "
            f"data {definition.data}); restore them, name their folder with --data-dir, or start "
            "a new run"
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
        if path == run.database:
            for beside in beside_database(path):
                run.quarantine(beside)
        aside = f", moved to {moved}" if moved else ""
        how = ", its trials restart from the store" if path == run.database else ""
        callback.log(f"{path}: damaged ({why}){aside}; written again{how}")
    if study is None:
        return create_study(run, config, definition)
    run.write_definition(definition)
    study.write(DEFINITION, definition)
    return study


def report_previous_sessions(study: ChainStudy, spent: ElapsedTime, callback: Callback) -> None:
    """Notify a callback of the results of earlier sessions."""
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
    """A run that can be resumed."""

    manifest: Manifest
    validated: ValidatedSearch

    def lines(self) -> list[str]:
        """Describe the state of the run."""
        path = self.manifest.run.path
        lines = [
            f"{file}: damaged ({why}); it will be moved aside and written again"
            for file, why in self.manifest.damaged.items()
        ]
        if self.manifest.run.database in self.manifest.damaged:
            return [*lines, f"{path}: its trials will restart from the store", ""]
        try:
            study = open_readonly(self.manifest.run)
        except InputError as error:
            return [*lines, str(error), ""]
        states = Counter(trial.state.name for trial in study.trials)
        done = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
        return [*lines, f"{path}: trials so far: {done}", ""]


def _edits(manifest: Manifest, options: Options) -> list[str]:
    """Return a message for each value of an edited config.yaml that this session doesn't have.

    Args:
        options: the options of this session.
    """
    edited, begun, config = manifest.edited, manifest.options, manifest.run.config
    problems = []
    for name in {**begun.values(), **edited.values()} if edited is not None else ():
        value = edited.value(name) if edited is not None else None
        if scope_of(name).in_config and value not in (begun.value(name), options.value(name)):
            option, text = name.replace("_", "-"), format_value(value, ",")
            problems.append(
                f"{config}: {option} {text}: the run has {format_value(begun.value(name), ',')}, "
                f"and --resume takes no values from this file; add --{option} {text}, or restore it"
            )
    return problems


def check_resumption(run: RunFolder, overrides: ParsedOptions) -> Resumption:
    """Check everything that can be checked before a run is resumed, without writing anything.

    Args:
        overrides: options for this session. Resources and paths (concurrency, GPUs, store, data
            folder) may change, budgets may be raised, and a time budget may be added.

    Raises:
        InputError: the folder is no run, an option would change the definition of the run,
            config.yaml was edited, the user's own parts have changed, or ``validate`` fails.
    """
    manifest = read_manifest(run)
    options = overrides.applied_to(manifest.options)
    problems: list[str] = []
    if "out" in overrides:
        problems.append(
            f"--out {options.out}: a resumed run stays in its folder; leave the option out"
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
        # A new time budget is allowed: it doesn't affect finished trials.
        if begun is not None and now < begun:
            problems.append(
                f"--{name.replace('_', '-')} {now:g}: the run has {begun:g}, which can only be "
                "raised; give at least that"
            )
    problems += _edits(manifest, options)
    if problems:
        raise InputError(problems)
    validated = validate(options, run)
    pretrained = validated.teacher.checksum if validated.teacher is not None else ""
    checksums = own_checksums(validated.resolved.config, pretrained, validated.start)
    check_own_parts(run, manifest.definition, checksums)
    return Resumption(manifest, validated)
