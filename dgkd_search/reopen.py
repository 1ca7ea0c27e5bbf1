"""The study of a run: begun with what defines it, or opened again as it was left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from dgkd_search.config import StudyConfig
from dgkd_search.confirmation import repeated_facts
from dgkd_search.errors import InputError
from dgkd_search.observer import Job, Observer
from dgkd_search.options import Options
from dgkd_search.results.record import Record, define, open_study
from dgkd_search.results.run import RunFolder
from dgkd_search.results.stored import DEFINITION, Damaged
from dgkd_search.study import ChainStudy, accuracy_of

_BROUGHT = (
    (
        "given",
        "weights of its teacher",
        "name their file with --teacher-weights, or start a new run",
    ),
    ("code", "code of its models", "put that back, or start a new run"),
)
_SPENT = "spent"  # attribute of the study
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class Spent:
    """What a search has taken so far.

    Attributes:
        seconds: of wall time, all sessions together.
        starting: seconds of workers before the first trial could begin, likewise.
    """

    seconds: float = 0.0
    starting: float = 0.0

    @classmethod
    def of(cls, study: ChainStudy) -> Spent:
        """As far as it was noted; a session that was killed counts up to its last trial's end."""
        noted = study.attributes.get(_SPENT, {})
        facts = [*map(study.facts, study.trials), *repeated_facts(study)]
        ends = [fact.get("elapsed", 0.0) for fact in facts]
        return cls(max([noted.get("seconds", 0.0), *ends]), noted.get("starting", 0.0))

    def note(self, study: ChainStudy) -> None:
        study.set_attribute(_SPENT, {"seconds": self.seconds, "starting": self.starting})


def begin_study(
    run: RunFolder,
    options: Options,
    config: StudyConfig,
    fingerprint: str,
    first: Sequence[Mapping[str, Any]] | None,
    brought: Mapping[str, str] | None = None,
) -> ChainStudy:
    """A new study in its run folder.

    Args:
        options: resolved.
        fingerprint: of the data.
        first: see ``run_search``.
        brought: see ``define``.
    """
    definition = define(options, fingerprint, first, brought)
    run.write_definition(definition)  # before there is a study, which it can make again
    study = ChainStudy(config, run.database, first)
    study.set_attribute(DEFINITION, definition)
    return study


def reopen_study(
    record: Record,
    options: Options,
    config: StudyConfig,
    fingerprint: str,
    observer: Observer,
    brought: Mapping[str, str] | None = None,
) -> ChainStudy:
    """The study of a run that goes on; what is damaged is set aside and made again.

    Raises:
        InputError: the data, or what the user has brought along, are others than the run was
            begun with.
    """
    run, damaged = record.run, dict(record.damaged)
    if record.definition["data"] != fingerprint:
        raise InputError(
            f"{run.path}: the run was begun with other data (fingerprint "
            f"{record.definition['data']}, these have {fingerprint}); bring those back, name "
            "their folder with --data-dir, or start a new run"
        )
    for name, what, way in _BROUGHT:
        if record.definition.get(name) != (brought or {}).get(name):
            raise InputError(f"{run.path}: the run was begun with other {what}; {way}")
    study = None
    if run.database.exists() and run.database not in damaged:
        try:
            study = open_study(config, run.database, record.first)
        except Damaged as error:
            damaged[run.database] = str(error)
    for path, why in damaged.items():
        moved = run.set_aside(path)
        if path == run.database:  # what was left half written belongs to it
            run.set_aside(path.with_name(f"{path.name}-journal"))
        aside = f", set aside as {moved}" if moved else ""
        how = ", its trials from what is in the store" if path == run.database else ""
        observer.message(f"{path}: damaged ({why}){aside}; made again{how}")
    if study is None:
        return begin_study(run, options, config, fingerprint, record.first, brought)
    definition = define(options, fingerprint, record.first, brought)
    run.write_definition(definition)  # a budget may have been raised
    if study.attributes.get(DEFINITION) != definition:
        study.set_attribute(DEFINITION, definition)
    return study


def tell_past(study: ChainStudy, spent: Spent, observer: Observer) -> None:
    """Tell an observer what earlier sessions have done."""
    best = study.best()
    found = None
    if best is not None:
        configuration = study.configuration(best)
        chain = configuration.chain.canonical()
        job = Job(best.number, chain.models, chain.guidance, configuration.drop_prob)
        found = job, accuracy_of(best)
    ended = Counter(_STATES[t.state] for t in study.trials if t.state in _STATES)
    observer.resumed(ended, found, spent.seconds)
