"""The table of the trials of a study: as a pandas data frame and as ``trials.csv``."""

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
    """Return one row per trial, by number; columns and types are those of ``TrialRow``."""
    return to_frame(trial_rows(study))


def to_frame(rows: Sequence[TrialRow]) -> pd.DataFrame:
    """Convert rows to a data frame with the types of ``COLUMNS``."""
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
    """Format rows as CSV: numbers with six significant digits, ISO 8601 times in seconds."""
    columns = [Column(name, format=_format) for name in COLUMNS]
    return Table(columns, [[*row.cells().values()] for row in rows]).csv()


def _format(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
