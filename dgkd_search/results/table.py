"""The trials of a study as a table (``trials.csv``), and what it says about each count."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from dgkd_search.results.trial_row import COLUMNS, TrialRow
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import ChainStudy
from dgkd_search.utils.files import write_bytes
from dgkd_search.utils.intervals import half_width
from dgkd_search.utils.tables import Column, Table


def trials_table(study: ChainStudy) -> pd.DataFrame:
    """One row a trial, by number; the columns of ``TrialRow`` and their types, whatever rows there
    are."""
    replication = Replication.from_study(study)
    if replication is not None and replication.winner is None:
        replication = None  # a mean or two of many would be taken for the best
    return _frame([TrialRow.of(study, trial, replication) for trial in study.trials])


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


def _frame(rows: list[TrialRow]) -> pd.DataFrame:
    columns = {
        name: pd.Series([getattr(row, name) for row in rows], dtype=dtype)
        for name, dtype in COLUMNS.items()
    }
    return pd.DataFrame(columns)


def _format(value: Any) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
