"""The trials of a study as a table, for pandas and as ``trials.csv``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from dgkd_search.results.trial_row import COLUMNS, TrialRow, trial_rows
from dgkd_search.study.study import ChainStudy
from dgkd_search.utils.files import write_bytes
from dgkd_search.utils.tables import Column, Table


def trials_table(study: ChainStudy) -> pd.DataFrame:
    """One row a trial, by number; the columns of ``TrialRow`` and their types, whatever rows there
    are."""
    return to_frame(trial_rows(study))


def to_frame(rows: Sequence[TrialRow]) -> pd.DataFrame:
    """Rows as a table of ``COLUMNS`` and their types."""
    cells = [row.cells() for row in rows]
    columns = {
        name: pd.Series([each[name] for each in cells], dtype=dtype)
        for name, dtype in COLUMNS.items()
    }
    return pd.DataFrame(columns)


def write_trials(study: ChainStudy, path: Path) -> None:
    """Write the trials of a study as CSV; see ``csv_text``."""
    write_bytes(path, csv_text(trial_rows(study)).encode())


def csv_text(rows: Sequence[TrialRow]) -> str:
    """Rows as CSV: numbers in six significant digits, ISO 8601 times in seconds."""
    columns = [Column(name, format=_format) for name in COLUMNS]
    return Table(columns, [[*row.cells().values()] for row in rows]).csv()


def _format(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
