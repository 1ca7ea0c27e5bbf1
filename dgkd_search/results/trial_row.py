"""A trial as the table, the figures and the page tell it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from dgkd_search.distillation.guidances.registry import NO_GUIDANCE
from dgkd_search.errors import one_line
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import REASON, ChainStudy, accuracy_of


@dataclass(frozen=True)
class TrialRow:
    """A column of trials.csv each; what is None is missing there.

    Attributes:
        state: COMPLETE, PRUNED, FAIL or RUNNING.
        teacher, assistants, student, assistant_count, guidance: the canonical chain: the models
            that the student depends on; assistants largest first, which the table joins by ``>``.
            Guidances that coincide are called ``dense``; a student of labels alone has no teacher
            and guidance ``none``. Empty for a trial that died before it was drawn.
        drop_probability: missing where fewer than two teachers teach the student.
        temperature, kd_weight: missing where no teacher does; ``temperature`` also where the loss
            has none.
        val_accuracy: the student's, in percent: of the last epoch for a completed trial, of the
            latest one known for all others.
        student_epochs: epochs that reported, from 0.
        stages_trained, stages_reused: stages trained here, at least in part, and taken whole from
            the store; missing until the trial has ended.
        seconds: of a worker. A trial is drawn when it ``started`` and may begin later, so these
            are fewer than lie between its start and its end.
        computing_seconds, waiting_seconds: spent training, and waiting for a stage of another
            trial.
        started, finished: local times.
        student_key: the store's key of a completed trial's student.
        reason: why a trial failed, in one line.
        training_tflop: teraoperations that training the chain takes from nothing.
        repeats, repeats_mean, repeats_half_width: how often it was trained again with fresh seeds,
            the mean validation accuracy of that in percent, and half of its 95% Student-t
            interval; the trial's own accuracy isn't among them.
    """

    number: int
    state: str
    teacher: str = ""
    assistants: tuple[str, ...] = ()
    student: str = ""
    assistant_count: int | None = None
    guidance: str = ""
    drop_probability: float | None = None
    temperature: float | None = None
    kd_weight: float | None = None
    lr: float | None = None
    val_accuracy: float | None = None
    student_epochs: int = 0
    stages_trained: int | None = None
    stages_reused: int | None = None
    seconds: float | None = None
    computing_seconds: float | None = None
    waiting_seconds: float | None = None
    started: datetime | None = None
    finished: datetime | None = None
    student_key: str = ""
    reason: str = ""
    training_tflop: float | None = None
    repeats: int | None = None
    repeats_mean: float | None = None
    repeats_half_width: float | None = None

    @classmethod
    def of(cls, study: ChainStudy, trial: FrozenTrial, replication: Replication | None) -> TrialRow:
        """What is known of a trial now.

        Args:
            replication: of the study, if means of fresh seeds are to be shown.
        """
        row = cls(
            trial.number,
            trial.state.name,
            val_accuracy=_accuracy(trial),
            student_epochs=_student_epochs(study, trial),
            started=_to_second(trial.datetime_start),
            finished=_to_second(trial.datetime_complete),
            reason=_printable(trial.user_attrs.get(REASON, "")),
        )
        repeats = replication.get(trial.number) if replication else None
        if repeats is not None and repeats.values:
            row = replace(
                row,
                repeats=len(repeats.values),
                repeats_mean=repeats.mean,
                repeats_half_width=repeats.half_width,
            )
        if set(trial.params) == set(study.space.distributions):
            row = _with_settings(row, study, trial)
        return _with_stats(row, study, trial)

    @property
    def completed(self) -> bool:
        return self.state == TrialState.COMPLETE.name

    @property
    def pruned(self) -> bool:
        return self.state == TrialState.PRUNED.name

    @property
    def taught(self) -> bool:
        """Whether a teacher teaches the student; not where labels alone do."""
        return bool(self.teacher)

    @property
    def models(self) -> tuple[str, ...]:
        """Of the chain, teacher first; none for a trial that died before it was drawn."""
        return tuple(filter(None, (self.teacher, *self.assistants, self.student)))

    @property
    def chain(self) -> str:
        """The chain in words, for example ``resnet26 > resnet14 > resnet8, drop 0.25``."""
        drop = self.drop_probability
        return " > ".join(self.models) + ("" if drop is None else f", drop {drop:g}")

    def cells(self) -> dict[str, object]:
        """The values by column of trials.csv, in its order; None where one is missing."""
        return {**vars(self), "assistants": ">".join(self.assistants)}


def trial_rows(study: ChainStudy) -> tuple[TrialRow, ...]:
    """What is known of each trial now, by number."""
    replication = Replication.from_study(study)
    if replication is not None and replication.winner is None:
        replication = None  # a mean or two of many would be taken for the best
    return tuple(TrialRow.of(study, trial, replication) for trial in study.trials)


# pandas' nullable types, so that a column has one type whatever rows there are. Text is never
# missing, it is empty: CSV couldn't tell the two apart.
_DTYPES = {
    "str": "string",
    "tuple[str, ...]": "string",
    "int": "Int64",
    "float": "Float64",
    "datetime": "datetime64[s]",
}
COLUMNS = {f.name: _DTYPES[str(f.type).removesuffix(" | None")] for f in fields(TrialRow)}


def _with_settings(row: TrialRow, study: ChainStudy, trial: FrozenTrial) -> TrialRow:
    """With what the trial's parameters mean for its student."""
    configuration = study.configuration(trial)
    chain, loss = configuration.chain.canonical(), configuration.distillation
    taught = bool(chain.teachers(len(chain.models) - 1))
    return replace(
        row,
        teacher=chain.teacher if taught else "",
        assistants=chain.assistants,
        student=chain.student,
        assistant_count=len(chain.assistants),
        guidance=chain.guidance if taught else NO_GUIDANCE,
        drop_probability=configuration.drop_prob,
        temperature=loss.used_temperature if taught else None,
        kd_weight=loss.kd_weight if taught else None,
        lr=configuration.lr,
    )


def _with_stats(row: TrialRow, study: ChainStudy, trial: FrozenTrial) -> TrialRow:
    """With what the trial did, as far as it began."""
    stats = study.stats(trial)
    if stats is None or not stats.begun:
        return row
    row = replace(row, seconds=stats.seconds, training_tflop=stats.tflop)
    if not stats.stages and not stats.computing:  # its worker died before it said anything
        return row
    complete = trial.state == TrialState.COMPLETE and stats.stages
    return replace(
        row,
        stages_trained=stats.trained,
        stages_reused=stats.reused,
        computing_seconds=stats.computing,
        waiting_seconds=stats.waiting,
        student_key=stats.stages[-1].key if complete else "",
    )


def _student_epochs(study: ChainStudy, trial: FrozenTrial) -> int:
    if trial.intermediate_values:
        return len(trial.intermediate_values)
    # Optuna takes no reports under two objectives; what the trial did is among its facts.
    stats = study.stats(trial)
    student = stats.stage(study.config.space.student) if stats is not None else None
    return student.epochs if student is not None else 0


def _accuracy(trial: FrozenTrial) -> float | None:
    """In percent; None before the first epoch, or where training gave no number."""
    value = accuracy_of(trial) if trial.state == TrialState.COMPLETE else None
    if trial.state != TrialState.COMPLETE:
        steps = trial.intermediate_values
        value = steps[max(steps)] if steps else None
    return value if value is not None and math.isfinite(value) else None


def _to_second(time: datetime | None) -> datetime | None:
    return time.replace(microsecond=0) if time else None


def _printable(text: str) -> str:
    """Without line breaks, control characters and lone surrogates, which CSV can't carry."""
    return one_line("".join(c if c.isprintable() else " " for c in text))
