"""The results of one trial, for the table, the figures and the report page."""

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
    """One row of trials.csv; each field is a column, and None is a missing value.

    Attributes:
        state: COMPLETE, PRUNED, FAIL or RUNNING.
        teacher, assistants, student, assistant_count, guidance: the canonical chain: the models
            that the student depends on. Assistants are largest first; the table joins them by
            ``>``. Guidances that coincide are called ``dense``; a student trained on labels alone
            has no teacher and guidance ``none``. Empty if the trial died before its parameters
            were sampled.
        drop_probability: missing if the student has fewer than two teachers.
        temperature, kd_weight: missing if the student has no teacher; ``temperature`` also if the
            loss has none.
        val_accuracy: validation accuracy of the student in percent: after the last epoch for a
            completed trial, after the latest reported epoch for all others.
        student_epochs: number of epochs that the student reported.
        stages_trained, stages_reused: number of stages that the trial trained at least in part,
            and of cached stages; missing until the trial has ended.
        seconds: duration on a worker. A trial is sampled when it ``started`` and may begin later,
            so this can be less than the time between ``started`` and ``finished``.
        computing_seconds, waiting_seconds: time spent computing, and waiting for stages of other
            trials.
        started, finished: local times.
        student_key: key of the student in the store, for a completed trial.
        reason: why the trial failed, in one line.
        training_tflop: cost of training the chain from scratch, in 10^12 operations.
        repeats, repeats_mean, repeats_half_width: number of replicates with fresh seeds, their
            mean validation accuracy in percent, and half of its 95% Student-t interval. The
            trial's own accuracy is not included.
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
        """Create the row of a trial, whatever its state.

        Args:
            replication: the results with fresh seeds, or None to show none.
        """
        row = cls(
            trial.number,
            trial.state.name,
            val_accuracy=_accuracy(trial),
            student_epochs=_student_epochs(study, trial),
            started=_to_second(trial.datetime_start),
            finished=_to_second(trial.datetime_complete),
            reason=one_line(trial.user_attrs.get(REASON, "")),
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
        """Whether the student has a teacher; False if it is trained on labels alone."""
        return bool(self.teacher)

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the chain, teacher first; empty if no parameters were sampled."""
        return tuple(filter(None, (self.teacher, *self.assistants, self.student)))

    @property
    def chain(self) -> str:
        """The chain and its drop, for example ``resnet26 > resnet14 > resnet8, drop 0.25``."""
        drop = self.drop_probability
        return " > ".join(self.models) + ("" if drop is None else f", drop {drop:g}")

    def cells(self) -> dict[str, object]:
        """Return the values by column of trials.csv, in its order; None if missing."""
        return {**vars(self), "assistants": ">".join(self.assistants)}


def trial_rows(study: ChainStudy) -> tuple[TrialRow, ...]:
    """Return the rows of all trials, by number."""
    replication = Replication.from_study(study)
    if replication is not None and replication.winner is None:
        replication = None  # with few means known, one of them would look like the best
    return tuple(TrialRow.of(study, trial, replication) for trial in study.trials)


# pandas' nullable types, so that the type of a column does not depend on the rows. Missing text is
# an empty string: CSV can't distinguish the two.
_DTYPES = {
    "str": "string",
    "tuple[str, ...]": "string",
    "int": "Int64",
    "float": "Float64",
    "datetime": "datetime64[s]",
}
COLUMNS = {f.name: _DTYPES[str(f.type).removesuffix(" | None")] for f in fields(TrialRow)}


def _with_settings(row: TrialRow, study: ChainStudy, trial: FrozenTrial) -> TrialRow:
    """Fill in the chain and settings that the trial's parameters define."""
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
    """Fill in the stages and times of a trial that has begun."""
    stats = study.stats(trial)
    if stats is None or not stats.begun:
        return row
    row = replace(row, seconds=stats.seconds, training_tflop=stats.tflop)
    if not stats.stages and not stats.computing:  # its worker died before its first report
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
    # Optuna takes no reports with two objectives; the stats of the trial have its epochs.
    stats = study.stats(trial)
    student = stats.stage(study.config.space.student) if stats is not None else None
    return student.epochs if student is not None else 0


def _accuracy(trial: FrozenTrial) -> float | None:
    """Return the accuracy in percent; None before the first epoch, or if it isn't finite."""
    value = accuracy_of(trial) if trial.state == TrialState.COMPLETE else None
    if trial.state != TrialState.COMPLETE:
        steps = trial.intermediate_values
        value = steps[max(steps)] if steps else None
    return value if value is not None and math.isfinite(value) else None


def _to_second(time: datetime | None) -> datetime | None:
    return time.replace(microsecond=0) if time else None
