"""The trials of a study as a table (``trials.csv``), and what it says about each count."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from dgkd_search.errors import one_line
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import REASON, ChainStudy, accuracy_of
from dgkd_search.utils.files import write_bytes
from dgkd_search.utils.intervals import half_width
from dgkd_search.utils.tables import Column, Table

_TEXT, _INTEGER, _REAL, _TIME = "string", "Int64", "Float64", "datetime64[s]"

# Nullable types, so that a column has one type whatever rows there are. Text is never missing,
# it is empty: CSV couldn't tell the two apart.
COLUMNS = {
    "number": _INTEGER,
    "state": _TEXT,
    "teacher": _TEXT,
    "assistants": _TEXT,
    "student": _TEXT,
    "assistant_count": _INTEGER,
    "guidance": _TEXT,
    "drop_probability": _REAL,
    "temperature": _REAL,
    "kd_weight": _REAL,
    "lr": _REAL,
    "val_accuracy": _REAL,
    "student_epochs": _INTEGER,
    "stages_trained": _INTEGER,
    "stages_reused": _INTEGER,
    "seconds": _REAL,
    "computing_seconds": _REAL,
    "waiting_seconds": _REAL,
    "started": _TIME,
    "finished": _TIME,
    "student_key": _TEXT,
    "reason": _TEXT,
    "training_tflop": _REAL,
    "repeats": _INTEGER,
    "repeats_mean": _REAL,
    "repeats_half_width": _REAL,
}


def trials_table(study: ChainStudy) -> pd.DataFrame:
    """One row a trial, by number; the columns and types of ``COLUMNS``, whatever rows there are.

    - ``state``: COMPLETE, PRUNED, FAIL or RUNNING; ``reason``: why a trial failed, in one line.
    - ``teacher``, ``assistants`` (largest first, joined by ``>``), ``student``,
      ``assistant_count``, ``guidance``: the canonical chain, that is the models that the student
      depends on. Guidances that coincide are called ``dense``; a student of labels alone has no
      teacher and guidance ``none``. Empty for a trial that died before it was drawn.
    - ``drop_probability`` is missing where fewer than two teachers teach the student,
      ``temperature`` and ``kd_weight`` where none does; ``temperature`` also where the loss has
      none.
    - ``val_accuracy``: the student's, in percent: of the last epoch for a completed trial, of the
      latest one known for all others. ``student_epochs``: epochs that reported, from 0.
    - ``stages_trained``, ``stages_reused``: stages trained here, at least in part, and taken
      whole from the store; missing until the trial has ended.
    - ``started``, ``finished``: local times; a trial is drawn at the first and may begin later, so
      that its ``seconds`` are fewer than lie between the two. ``computing_seconds`` and
      ``waiting_seconds``: spent training, and waiting for a stage of another trial.
    - ``training_tflop``: teraoperations that training the chain takes from nothing.
    - ``repeats``, ``repeats_mean``, ``repeats_half_width``: how often it was taught again with
      fresh seeds, the mean validation accuracy of that in percent, and half of its 95% Student-t
      interval; the trial's own accuracy isn't among them.
    - ``student_key``: the store's key of a completed trial's student.
    """
    replication = Replication.from_study(study)
    if replication is not None and replication.winner is None:
        replication = None  # a mean or two of many would be taken for the best
    return _frame([_row(study, trial, replication) for trial in study.trials])


def write_trials(study: ChainStudy, path: Path) -> None:
    """Write ``trials_table`` as CSV, UTF-8: six significant digits, ISO 8601 times in seconds."""
    rows = [*trials_table(study).itertuples(index=False)]
    table = Table([Column(name, format=_format) for name in COLUMNS], rows)
    write_bytes(path, table.csv().encode())


def plottable(table: pd.DataFrame, state: str) -> pd.DataFrame:
    """The trials of a state that have an assistant count and an accuracy."""
    known = table["val_accuracy"].notna() & table["assistant_count"].notna()
    return table[(table["state"] == state) & known]


def accuracy_by_count(table: pd.DataFrame) -> pd.DataFrame:
    """Completed trials by number of assistants, ascending; a trial without a teacher stays out.

    Args:
        table: from ``trials_table``.

    Returns:
        Columns ``assistant_count``, ``completed`` (trials), ``mean`` and ``best`` (percent) and
        ``half_width``: half of the 95% Student-t confidence interval of the mean, in percentage
        points; NaN with one trial. It treats a count's trials as independent draws, while a
        sampler prefers good ones: read it as spread, not as a test.
    """
    trials = plottable(table, "COMPLETE")
    trials = trials[trials["guidance"] != "none"]
    counts = sorted({int(count) for count in trials["assistant_count"]})
    rows = []
    for count in counts:
        values = trials.loc[trials["assistant_count"] == count, "val_accuracy"].to_numpy(float)
        n = len(values)
        half = half_width([*values])
        half = math.nan if half is None else half
        rows.append((count, n, float(values.mean()), float(values.max()), half))
    columns = ["assistant_count", "completed", "mean", "best", "half_width"]
    types = {"assistant_count": int, "completed": int}
    return pd.DataFrame(rows, columns=columns, dtype=float).astype(types)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame of ``COLUMNS`` from rows that may lack any of them."""

    def column(name: str, dtype: str) -> Any:
        empty = "" if dtype == _TEXT else None
        return pd.Series([row.get(name, empty) for row in rows], dtype=dtype)

    return pd.DataFrame({name: column(name, dtype) for name, dtype in COLUMNS.items()})


def _row(study: ChainStudy, trial: FrozenTrial, replication: Replication | None) -> dict[str, Any]:
    stats = study.stats(trial)
    complete = trial.state == TrialState.COMPLETE
    row: dict[str, Any] = {
        "number": trial.number,
        "state": trial.state.name,
        "val_accuracy": _accuracy(trial),
        "student_epochs": _student_epochs(study, trial),
        "started": _to_second(trial.datetime_start),
        "finished": _to_second(trial.datetime_complete),
        "reason": _printable(trial.user_attrs.get(REASON, "")),
    }
    repeats = replication.get(trial.number) if replication else None
    if repeats is not None and repeats.values:
        row |= {"repeats": len(repeats.values), "repeats_mean": repeats.mean}
        row["repeats_half_width"] = repeats.half_width
    if stats is not None and stats.begun:
        row |= {
            "training_tflop": stats.tflop,
            "seconds": stats.seconds,
            "computing_seconds": stats.computing,
            "waiting_seconds": stats.waiting,
            "stages_trained": stats.trained,
            "stages_reused": stats.reused,
            "student_key": stats.stages[-1].key if complete and stats.stages else "",
        }
    if set(trial.params) == set(study.space.distributions):
        row |= _settings(study, trial)
    return row


def _student_epochs(study: ChainStudy, trial: FrozenTrial) -> int:
    if trial.intermediate_values:
        return len(trial.intermediate_values)
    # Optuna takes no reports under two objectives; what the trial did is among its facts.
    stats = study.stats(trial)
    student = stats.stage(study.config.space.student) if stats is not None else None
    return student.epochs if student is not None else 0


def _settings(study: ChainStudy, trial: FrozenTrial) -> dict[str, Any]:
    """What the trial's parameters mean for its student."""
    configuration = study.configuration(trial)
    chain = configuration.chain.canonical()
    taught = bool(chain.teachers(len(chain.models) - 1))
    return {
        "teacher": chain.teacher if taught else "",
        "assistants": ">".join(chain.assistants),
        "student": chain.student,
        "assistant_count": len(chain.assistants),
        "guidance": chain.guidance if taught else "none",
        "drop_probability": configuration.drop_prob,
        "temperature": configuration.distillation.used_temperature if taught else None,
        "kd_weight": configuration.distillation.kd_weight if taught else None,
        "lr": configuration.lr,
    }


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


def _format(value: Any) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
